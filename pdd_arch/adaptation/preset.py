"""Option files for an adaptation: what a preset says, on the machine that is there."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from pdd_arch.adaptation.workspace import Workspace
from pdd_arch.errors import DataError, OptionError
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.yaml_file import load_options
from pdd_arch.preflight.memory import estimate_memory
from pdd_arch.preflight.networks import open_networks
from pdd_arch.utils.atomic import whole_file, writing
from pdd_arch.utils.host_memory import available_host_memory
from pdd_arch.utils.resources import option_file

__all__ = ['FEATURES', 'PRESETS', 'Machine', 'Preset', 'run_options', 'write_options']

#: share of the free memory that training may take, and that decoded photographs may
_TRAINING_SHARE, _CACHE_SHARE = 0.7, 0.3
#: what its estimate leaves out (`estimate_memory`)
_OVERHEAD = 400 * 2**20


@dataclass(frozen=True)
class Preset:
    """How an adaptation is done.

    Attributes:
        option_file: shipped one that it starts from.
        iterations: of training.
        generalist: network to adapt where none is named.
        features: type of the feature network.
        checkpoints: to choose from, at equal distances.
        on_gpu, on_cpu: (LR crop, batch of each domain).
    """

    option_file: str
    iterations: int
    generalist: str
    features: str
    checkpoints: int
    on_gpu: tuple[int, int]
    on_cpu: tuple[int, int]


PRESETS = {
    'fast': Preset('pdd_city100.yml', 400, 'zoo:realesr-general-x4v3', 'squeezenet1_0', 10, (48, 8), (32, 2)),
    'paper': Preset('pdd_realsr.yml', 100_000, 'zoo:RealESRGAN_x4plus', 'vgg19', 40, (48, 16), (48, 16)),
}
#: layers and scale of a feature network are those of the option file that uses it
FEATURES = {'squeezenet1_0': 'pdd_city100.yml', 'vgg19': 'pdd_realsr.yml'}


@dataclass(frozen=True)
class Machine:
    """What training runs on.

    Attributes:
        device: ``cuda`` or ``cpu``.
        memory: bytes free there; None: not known.
        host_memory: bytes free for decoded photographs; None: not known.
        cores: of the processor.
    """

    device: str
    memory: int | None
    host_memory: int | None
    cores: int

    @classmethod
    def here(cls, device: str | None = None) -> 'Machine':
        """This one.

        Args:
            device: ``cuda``, ``cpu``, or None: a GPU where there is one.

        Raises:
            OptionError: there is no such device.
        """
        if device not in (None, 'cpu', 'cuda'):
            raise OptionError(f"--device: expected 'cpu' or 'cuda', found {device!r}")
        if device == 'cuda' and not torch.cuda.is_available():
            raise OptionError('--device: cuda was asked for, and torch finds no CUDA device. Use cpu, or mend CUDA.')
        chosen = device or ('cuda' if torch.cuda.is_available() else 'cpu')
        host = available_host_memory()
        memory = torch.cuda.mem_get_info()[0] if chosen == 'cuda' else host
        cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
        return cls(chosen, memory, host, cores)

    def describe(self) -> str:
        """For people."""
        name = torch.cuda.get_device_name() if self.device == 'cuda' else f'CPU, {self.cores} cores'
        return name if self.memory is None else f'{name}, {self.memory / 2**30:.1f} GiB free'


def run_options(
    preset: Preset,
    machine: Machine,
    workspace: Workspace,
    name: str,
    generalist: tuple[str, int],
    features: tuple[str, str],
    pixels: int,
    iterations: int,
    inter_weight: float | None,
    batch: int | None = None,
) -> dict:
    """Options of a run of `workspace`, patch, batch and cache as the machine allows.

    Args:
        preset: to start from.
        machine: to run on.
        workspace: folder with the links to images; paths in the options start there.
        name: of the run.
        generalist: weights (absolute path or ``zoo:NAME``) and scale.
        features: type of the feature network and its weights (absolute path or ``imagenet``).
        pixels: of all images to train with.
        iterations: of training.
        inter_weight: of the inter-model distance, the intra-model distance having 1; None: 1.
        batch: of each domain; None: as the preset says, or less where memory is short.

    Raises:
        DataError: not even a batch of 1 fits into memory.
        PDDError: the weights cannot be read.
    """
    opt = load_options(option_file(preset.option_file))
    weights, scale = generalist
    own_crop, own_batch = preset.on_gpu if machine.device == 'cuda' else preset.on_cpu
    cached = machine.host_memory is not None and 3 * pixels < _CACHE_SHARE * machine.host_memory
    opt.update(name=name, scale=scale, num_gpu='auto' if machine.device == 'cuda' else 0)
    opt['network_g'] = dict(type='SpandrelNet', path=weights, scale=scale)  # weights included
    opt['path'] = {k: v for k, v in opt['path'].items() if not k.endswith('network_g') and k != 'param_key_g'}
    opt['path'].pop('strict_load_g', None)
    _set_data(opt['datasets'], own_crop * scale, cached, machine)
    opt.pop('val', None)  # there is no ground truth to validate with
    _set_training(opt, preset, machine, features, iterations, inter_weight)
    opt['logger'].update(print_freq=max(iterations // 100, 1), use_tb_logger=False)
    opt['logger']['save_checkpoint_freq'] = max(iterations // preset.checkpoints, 1)
    for tried in [batch] if batch else _smaller(own_batch):
        opt['datasets']['train']['batch_size_per_gpu'] = tried
        if batch or _fits(opt, machine, workspace):
            return opt
    raise DataError(
        f'memory: a training step takes more than the {machine.memory / 2**30:.1f} GiB that are free, even with one '
        'image of each kind. Close other programs, or choose a smaller --generalist.'
    )


def _set_data(datasets: dict, gt_size: int, cached: bool, machine: Machine) -> None:
    datasets.pop('val', None)
    train = datasets['train']
    for key in ('meta_info_file', 'meta_info_file_gt', 'meta_info_file_lq'):
        train.pop(key, None)
    train.update(name='photographs', dataroot_gt='data/hr', dataroot_lq='data/photographs', gt_size=gt_size)
    # crops of decoded images cost less than talking to a worker
    workers = 0 if cached and machine.device == 'cpu' else min(max(machine.cores - 1, 1), 8)
    train.update(cache='ram' if cached else 'none', num_worker_per_gpu=workers)


def _set_training(
    opt: dict,
    preset: Preset,
    machine: Machine,
    features: tuple[str, str],
    iterations: int,
    inter_weight: float | None,
) -> None:
    train = opt['train']
    network, weights = features
    if network != preset.features:
        source = load_options(option_file(FEATURES[network]))['train']
        train['feature_net'] = source['feature_net']
        for loss, keys in (('distill_opt', ('inter_layers', 'intra_layers')), ('perceptual_opt', ('layer_weights',))):
            train[loss].update({key: source[loss][key] for key in keys})
    train['feature_net']['weights'] = weights
    train['distill_opt'].update(inter_weight=1.0 if inter_weight is None else inter_weight, intra_weight=1.0)
    train['total_iter'] = iterations
    if train.get('net_d_init_iters'):  # in a short run the network is to learn as well
        train['net_d_init_iters'] = min(train['net_d_init_iters'], iterations // 10)
    train['channels_last'] = True
    # half precision was measured on CPUs only (experiments/results/benchmark), where it is slower
    train['precision'] = 'fp32'
    if machine.device == 'cpu' and opt.get('network_d'):
        train['recompute'] = True


def _smaller(batch: int):
    while batch >= 1:
        yield batch
        batch //= 2


def _fits(opt: Mapping, machine: Machine, workspace: Workspace) -> bool:
    if machine.memory is None:
        return True
    options = RunOptions.of(opt)
    memory = estimate_memory(options, open_networks(options, fetch=False))
    return memory is None or memory.total + _OVERHEAD < _TRAINING_SHARE * machine.memory


def write_options(opt: Mapping, path: Path, comment: str) -> None:
    """Write an option file, whole or not at all.

    Args:
        opt: options.
        path: of the file.
        comment: put at its beginning, a line of the file each.
    """
    lines = ''.join(f'# {line}\n' for line in comment.splitlines())
    with writing(path), whole_file(path) as partial:
        partial.write_text(lines + yaml.safe_dump(dict(opt), sort_keys=False, allow_unicode=True), encoding='utf-8')
