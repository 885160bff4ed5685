"""Option files for an adaptation: what a preset says, on the machine that is there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from pdd_arch.adaptation.workspace import Settings
from pdd_arch.errors import DataError, OptionError
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.yaml_file import load_options
from pdd_arch.preflight.memory import estimate_memory
from pdd_arch.preflight.networks import open_networks
from pdd_arch.utils.atomic import write_text
from pdd_arch.utils.host import available_cores, available_host_memory
from pdd_arch.utils.resources import option_file

# shares of the free memory that training may take, and that decoded photographs may
_TRAINING_SHARE, _CACHE_SHARE = 0.7, 0.3
# bytes that the estimate of a step leaves out (`estimate_memory`)
_OVERHEAD = 400 * 2**20


@dataclass(frozen=True)
class Preset:
    """How an adaptation is done where nothing else is asked for, from a shipped option file."""

    option_file: str
    iterations: int
    generalist: str
    features: str
    checkpoints: int  # to choose from, evenly spaced
    sizes: Mapping[str, tuple[int, int]]  # side of a crop in LR pixels, and batch of each domain, by device


_FAST, _PAPER = {'cuda': (48, 8), 'cpu': (32, 2)}, {'cuda': (48, 16), 'cpu': (48, 16)}
PRESETS = {
    'fast': Preset('pdd_city100.yml', 400, 'zoo:realesr-general-x4v3', 'squeezenet1_0', 10, _FAST),
    'paper': Preset('pdd_realsr.yml', 100_000, 'zoo:RealESRGAN_x4plus', 'vgg19', 40, _PAPER),
}
#: feature networks, each with the option file that its layers and scale are taken from
FEATURES = {'squeezenet1_0': 'pdd_city100.yml', 'vgg19': 'pdd_realsr.yml'}


@dataclass(frozen=True)
class Machine:
    """What training runs on: ``cuda`` or ``cpu``, bytes free there and on the host, processor cores."""

    device: str
    memory: int
    host_memory: int
    cores: int

    @classmethod
    def here(cls, device: str | None = None) -> 'Machine':
        """The machine that this process runs on; device None: a GPU where there is one. Raises OptionError."""
        if device not in (None, 'cpu', 'cuda'):
            raise OptionError(where='--device', expected="'cpu' or 'cuda'", found=repr(device))
        if device == 'cuda' and not torch.cuda.is_available():
            way_out = 'Use cpu, or repair the installation of CUDA.'
            raise OptionError('cuda was asked for, and torch finds no CUDA device', where='--device', way_out=way_out)
        chosen = device or ('cuda' if torch.cuda.is_available() else 'cpu')
        host = available_host_memory()
        memory = torch.cuda.mem_get_info()[0] if chosen == 'cuda' else host
        return cls(chosen, memory, host, available_cores())

    def describe(self) -> str:
        name = torch.cuda.get_device_name() if self.device == 'cuda' else f'CPU, {self.cores} cores'
        return f'{name}, {self.memory / 2**30:.1f} GiB free'


def run_options(settings: Settings, scale: int, machine: Machine, name: str, pixels: int) -> dict[str, Any]:
    """Options of a run; crop, batch and cache as the machine allows. Paths in them start at the output folder.

    `settings` has the iterations and the ratio of this run; `pixels` is their number in all training images together.
    Raises DataError where not even a batch of 1 fits into memory, and errors of weights that cannot be read.
    """
    preset, batch = PRESETS[settings.preset], settings.batch
    opt = load_options(option_file(preset.option_file))
    crop, size = preset.sizes[machine.device]
    opt.update(name=name, scale=scale, num_gpu='auto' if machine.device == 'cuda' else 0)
    opt['network_g'] = dict(type='SpandrelNet', path=settings.generalist, scale=scale)  # weights included
    opt['path'] = {'resume_state': None}
    for section in (opt, opt['datasets']):  # there is no ground truth to validate with
        section.pop('val')
    data = opt['datasets']['train']
    data.update(name='photographs', dataroot_gt='data/hr', dataroot_lq='data/photographs', gt_size=crop * scale)
    cached = 3 * pixels < _CACHE_SHARE * machine.host_memory
    # crops of decoded images cost less than talking to a worker
    workers = 0 if cached and machine.device == 'cpu' else min(max(machine.cores - 1, 1), 8)
    data.update(cache='ram' if cached else 'none', num_worker_per_gpu=workers, batch_size_per_gpu=batch or size)
    _set_training(opt['train'], preset.features, settings)
    if machine.device == 'cpu' and opt.get('network_d'):
        opt['train']['recompute'] = True
    printed, saved = (max(settings.iterations // n, 1) for n in (100, preset.checkpoints))
    opt['logger'].update(print_freq=printed, save_checkpoint_freq=saved, use_tb_logger=False)
    while not batch and not _fits(opt, machine.memory):
        size //= 2
        if not size:
            raise DataError(
                f'a training step takes more than the {machine.memory / 2**30:.1f} GiB that are free, even with one '
                'image of each domain',
                where='memory',
                way_out='Close other programs, or choose a smaller --generalist.',
            )
        data['batch_size_per_gpu'] = size
    return opt


def _set_training(train: dict[str, Any], own_features: str, settings: Settings) -> None:
    network, weights = settings.features
    if network != own_features:
        source = load_options(option_file(FEATURES[network]))['train']
        train['feature_net'] = source['feature_net']
        for loss, keys in (('distill_opt', ('inter_layers', 'intra_layers')), ('perceptual_opt', ('layer_weights',))):
            train[loss].update({key: source[loss][key] for key in keys})
    train['feature_net']['weights'] = weights
    train['distill_opt'].update(inter_weight=settings.ratio, intra_weight=1.0)
    train['total_iter'] = settings.iterations
    if train.get('net_d_init_iters'):  # in a short run the student is to learn as well
        train['net_d_init_iters'] = min(train['net_d_init_iters'], settings.iterations // 10)
    train['channels_last'] = True


def _fits(opt: Mapping[str, Any], free: int) -> bool:
    options = RunOptions.of(opt)
    memory = estimate_memory(options, open_networks(options, fetch=False))
    return memory is None or memory.total + _OVERHEAD < _TRAINING_SHARE * free


def write_options(opt: Mapping[str, Any], path: Path, comment: str) -> None:
    """Write an option file that begins with a comment. Raises DataError where that fails."""
    lines = ''.join(f'# {line}\n' for line in comment.splitlines())
    write_text(path, lines + yaml.safe_dump(dict(opt), sort_keys=False, allow_unicode=True))
