"""``basicsr train|test ... --check``: says what would run, and writes nothing."""

import argparse
import math
import os
import sys
from collections.abc import Iterator, Mapping

from torch import nn

from pdd_arch.errors import OptionError
from pdd_arch.options.command_line import logger_left_alone, read_options
from pdd_arch.options.settings import AdaptationSettings
from pdd_arch.preflight.basicsr_sections import samples_of_a_step
from pdd_arch.preflight.checks import check_datasets, check_options, check_plan, output_folder, plan_warnings
from pdd_arch.preflight.memory import estimate_memory
from pdd_arch.preflight.weights import check_weights, feature_layers, is_cached
from pdd_arch.training.resume import find_state
from pdd_arch.training.run_state import TrainingRun

NETWORKS = {'g': 'specialist', 'teacher': 'static teacher', 'd': 'discriminator'}


def check_run(args: argparse.Namespace, is_train: bool) -> int:
    """Check options, data and weights and write the plan of the run to standard output.

    Args:
        args: of `pdd_arch.options.command_line.build_parser`.
        is_train: train or test.

    Returns:
        0.

    Raises:
        PDDError: something is wrong.
    """
    with logger_left_alone():
        opt = read_options(args, os.getcwd(), is_train)
        if opt['model_type'] != 'PDDModel':
            check_options(opt, is_train)
            lines = [f'{opt["name"]}: {opt["model_type"]}; only what holds for every model was checked']
        else:
            check_plan(opt, is_train)
            counts = check_datasets(opt, is_train)
            networks = check_weights(opt, is_train, fetch=False)
            lines = [f'{key + ":":<16}{text}' for key, text in _plan(opt, is_train, counts, networks)]
    sys.stdout.write('\n'.join([*lines, 'No error found; nothing was written.', '']))
    return 0


def _plan(
    opt: Mapping, is_train: bool, counts: Mapping[str, int], networks: Mapping[str, nn.Module]
) -> Iterator[tuple[str, str]]:
    """(what, how) of everything that would run."""
    yield 'run', f'{opt["name"]}, scale {opt["scale"]}, {_device(opt)}'
    yield from _networks(opt, networks)
    if is_train:
        yield from _training(opt, counts)
    for phase, dataset in opt['datasets'].items():
        if phase != 'train':
            kind = {'PairedImageDataset': 'pairs', 'SingleImageDataset': 'images'}.get(dataset['type'])
            what = f'{counts[phase]} {kind}' if phase in counts else f'{dataset["type"]}, not looked at'
            yield phase, f'{dataset["name"]}: {what}'
    metrics = (opt.get('val') or {}).get('metrics')
    if metrics:
        yield 'metrics', ', '.join(f'{name} ({m["type"]})' for name, m in metrics.items())
    yield from _outputs(opt, is_train)
    if is_train:
        yield 'memory', _memory(opt, networks)
        for text in plan_warnings(opt):
            yield 'WARNING', text


def _device(opt: Mapping) -> str:
    if opt.get('dist'):
        return f'{samples_of_a_step(opt)[1]} processes'
    return {0: 'CPU', 'auto': 'all GPUs'}.get(opt['num_gpu'], f'{opt["num_gpu"]} GPU(s)')


def _networks(opt: Mapping, networks: Mapping[str, nn.Module]) -> Iterator[tuple[str, str]]:
    for letter, role in NETWORKS.items():
        net, path = networks.get(f'network_{letter}'), opt['path'].get(f'pretrain_network_{letter}')
        if net is None:
            continue
        brings = opt[f'network_{letter}'].get('path')
        start = f'weights {path or brings}' if path or brings else 'RANDOM weights'
        count = sum(p.numel() for p in net.parameters())
        yield role, f'{opt[f"network_{letter}"]["type"]}, {count:,} parameters, {start}'


def _training(opt: Mapping, counts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    train, data, settings = opt['train'], opt['datasets']['train'], AdaptationSettings.from_options(opt)
    if train.get('distill_opt'):
        own = f'moving average of the specialist, decay {settings.ema_decay}'
        yield 'teacher', own if settings.teacher == 'ema' else 'static: a second, frozen network'
    for key in ('distill_opt', 'pixel_opt', 'perceptual_opt', 'gan_opt'):
        if train.get(key):
            yield key, _loss(train[key], settings if key == 'distill_opt' else None)
    if feature_layers(train):
        net = settings.feature_net
        missing = net['weights'] == 'imagenet' and not is_cached(net['type'])
        yield 'feature_net', f'{net["type"]}, weights {net["weights"]}' + (' (to be downloaded)' if missing else '')
    images = [f'{counts["train.gt"]} HR, {counts["train.lq"]} target LR'] if 'train.gt' in counts else []
    images += [f'{counts["train"]} pairs'] if 'train' in counts else []
    mine, processes = samples_of_a_step(opt)
    crop = f'HR crop {data.get("gt_size")}, ' if data.get('gt_size') else ''
    parts = f' in {settings.accumulate} parts' if settings.accumulate > 1 else ''
    yield 'data', f'{"".join(images) or "not looked at"}; {crop}batch {mine * processes}{parts}'
    yield 'iterations', _length(opt, counts, mine * processes)
    yield 'learning rate', _schedule(train)
    yield 'precision', settings.precision


def _loss(options: Mapping, settings: AdaptationSettings | None) -> str:
    layers = {k: v for k, v in options.items() if k in ('inter_layers', 'intra_layers', 'layers', 'layer_weights')}
    text = options.get('type', 'PerceptualLoss')
    for name, weights in layers.items():
        listed = weights if isinstance(weights, list) else [f'{k} {v:g}' for k, v in weights.items()]
        text += f'; {name}: {", ".join(listed)}'
    return text + (f'; from iteration {settings.distill_start + 1}' if settings else '')


def _length(opt: Mapping, counts: Mapping[str, int], step: int) -> str:
    length = max((counts[k] for k in ('train.gt', 'train.lq', 'train') if k in counts), default=0)
    total = opt['train']['total_iter']
    if not length:
        return f'{total:,}'
    per_epoch = max(int(length * opt['datasets']['train'].get('dataset_enlarge_ratio', 1) / step), 1)
    return f'{total:,}, {math.ceil(total / per_epoch):,} epochs of {per_epoch:,}'


def _schedule(train: Mapping) -> str:
    scheduler, rate = train['scheduler'], f'{train["optim_g"]["lr"]:g} ({train["optim_g"]["type"]})'
    if scheduler['type'] == 'CosineAnnealingRestartLR':
        periods = ', '.join(map(str, scheduler['periods']))
        return f'{rate}, falls by half a cosine to {scheduler.get("eta_min", 0):g} over {periods} iterations'
    reached = [m for m in scheduler['milestones'] if m < train['total_iter']]
    if not reached:
        return f'{rate}, constant'
    return f'{rate}, times {scheduler.get("gamma", 0.1):g} at iteration {", ".join(map(str, reached))}'


def _outputs(opt: Mapping, is_train: bool) -> Iterator[tuple[str, str]]:
    folder = output_folder(opt)
    run = TrainingRun()
    found = find_state(opt, run) if is_train else None
    exists = os.path.isdir(folder)
    for note in run.notes:
        yield 'note', note
    if found is not None:
        yield 'resumes', f'from {os.path.relpath(found[0])}, iteration {found[1]["iter"]}'
    elif is_train:
        yield 'resumes', 'no: a fresh start'
    moved = ' (the one that is there would be renamed to ..._archived_TIME)' if exists and found is None else ''
    yield 'writes to', f'{folder}{moved}'


def _memory(opt: Mapping, networks: Mapping[str, nn.Module]) -> str:
    if opt['datasets']['train'].get('gt_size') is None:
        return 'no estimate: datasets.train.gt_size is not set'
    try:
        found = estimate_memory(opt, networks)
    except OptionError:
        raise
    except NotImplementedError as e:  # an operation that cannot do without data
        return f'no estimate: {type(e).__name__} in a pass without data'
    except Exception as e:
        reason = ' '.join(str(e).split())[:300]
        raise OptionError(
            f'network_g, network_d: a training step with datasets.train.gt_size '
            f'{opt["datasets"]["train"]["gt_size"]} fails ({type(e).__name__}: {reason}). Correct their options.'
        ) from None
    parts = {name: getattr(found, name) for name in ('weights', 'gradients', 'optimizers', 'activations', 'passing')}
    listed = ', '.join(f'{name} {_size(value)}' for name, value in parts.items())
    return f'about {_size(found.total)} on each device (an ESTIMATE: {listed}; without workspaces)'


def _size(count: int) -> str:
    return f'{count / 2**30:.1f} GiB' if count >= 2**30 else f'{count / 2**20:.0f} MiB'
