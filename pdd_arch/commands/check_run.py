"""``basicsr train|test ... --check``: says what would run, and writes nothing."""

import argparse
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict

from pdd_arch.errors import OptionError
from pdd_arch.features.feature_net import to_download
from pdd_arch.options.command_line import read_options
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.schema import CosineAnnealing, Options, OtherSchedule, Section
from pdd_arch.options.settings import AdaptationSettings
from pdd_arch.preflight.data import samples_of_a_step
from pdd_arch.preflight.memory import estimate_memory
from pdd_arch.preflight.run import Preflight, check, plan_warnings
from pdd_arch.training.resume import find_state
from pdd_arch.training.run_state import TrainingRun
from pdd_arch.utils.user_modules import error_of_user_module


def check_run(args: argparse.Namespace, is_train: bool) -> int:
    """Check options, data and weights and write the plan of the run to standard output. Returns the exit status 0."""
    options = read_options(args, os.getcwd(), is_train)
    opened = check(options, fetch=False)
    if isinstance(options.file, Options):
        lines = [f'{key + ":":<16}{text}' for key, text in _plan(opened)]
    else:
        lines = [f'{options.name}: {options.file.model_type}; only what holds for every model was checked']
    sys.stdout.write('\n'.join([*lines, 'No error found; nothing was written.', '']))
    return 0


def _plan(opened: Preflight) -> Iterator[tuple[str, str]]:
    """(what, how) of everything that would run."""
    options = opened.options
    yield 'run', f'{options.name}, scale {options.pdd.scale}, {_device(options)}'
    if imported := options.pdd.import_:
        yield 'imports', imported if isinstance(imported, str) else ', '.join(imported)
    for letter, role in (('g', 'student'), ('teacher', 'static teacher'), ('d', 'discriminator')):
        net, section = opened.networks.get(f'network_{letter}'), getattr(options.pdd, f'network_{letter}')
        if net is not None:
            weights = getattr(options.pdd.path, f'pretrain_network_{letter}') or getattr(section, 'path', None)
            count = sum(p.numel() for p in net.parameters())
            start = f'weights {weights}' if weights else 'RANDOM weights'
            yield role, f'{section.type}, {count:,} parameters, {start}'
    if options.is_train:
        yield from _training(opened)
    for phase, dataset in options.pdd.datasets.items():
        if phase != 'train':
            kind = {'PairedImageDataset': 'pairs', 'SingleImageDataset': 'images'}.get(dataset.type)
            what = f'{opened.counts[phase]} {kind}' if phase in opened.counts else f'{dataset.type}, not looked at'
            yield phase, f'{options.dataset_name(phase)}: {what}'
    val = options.pdd.val
    if val is not None and val.metrics:
        yield 'metrics', ', '.join(f'{name} ({metric.type})' for name, metric in val.metrics.items())
    yield from _outputs(options)
    if options.is_train:
        yield 'memory', _memory(opened)
        for text in plan_warnings(options):
            yield 'WARNING', text


def _device(options: RunOptions) -> str:
    if options.distributed:
        return f'{samples_of_a_step(options)[1]} processes'
    asked = options.pdd.num_gpu
    return 'all GPUs' if asked == 'auto' else f'{asked} GPU(s)' if asked else 'CPU'


def _training(opened: Preflight) -> Iterator[tuple[str, str]]:
    options = opened.options
    train, data = options.train, options.pdd.datasets['train']
    if train.distils:
        own = f'moving average of the student, decay {train.ema_decay}'
        yield 'teacher', own if train.teacher == 'ema' else 'static: a second, frozen network'
    for key in ('distill_opt', 'pixel_opt', 'perceptual_opt', 'gan_opt'):
        if getattr(train, key) is not None:
            begins = f'; from iteration {train.distill_start + 1}' if key == 'distill_opt' else ''
            yield key, _loss(getattr(train, key)) + begins
    for loss in opened.losses.extra if opened.losses is not None else ():
        begins = f'; from iteration {train.distill_start + 1}' if loss.on == 'target' else ''
        yield 'extra loss', f'{type(loss.loss).__name__} on {loss.on}, in the log as {loss.name}{begins}'
    if opened.losses is not None and opened.losses.layers:
        net = train.feature_net
        missing = ' (to be downloaded)' if to_download(net.type, net.weights) else ''
        yield 'feature_net', f'{net.type}, weights {net.weights}{missing}'
    images = f'{opened.counts["train"]} pairs' if 'train' in opened.counts else 'not looked at'
    if 'train' in opened.sources:
        images = '{} HR, {} target LR'.format(*map(len, opened.sources['train']))
    mine, processes = samples_of_a_step(options)
    size = getattr(data, 'gt_size', None)
    crop = f'HR crop {size}, ' if size else ''
    parts = f' in {train.accumulate} parts' if train.accumulate > 1 else ''
    if (of_target := getattr(data, 'batch_size_target_per_gpu', None)) is not None:
        parts = f' and {of_target * mine // (data.batch_size_per_gpu or 1) * processes} of the target domain{parts}'
    yield 'data', f'{images}; {crop}batch {mine * processes}{parts}'
    length = opened.counts.get('train', 0)
    per_epoch = max(int(length * data.dataset_enlarge_ratio / (mine * processes)), 1)
    epochs = f', {math.ceil(train.total_iter / per_epoch):,} epochs of {per_epoch:,}' if length else ''
    yield 'iterations', f'{train.total_iter:,}{epochs}'
    yield 'learning rate', _schedule(train)
    yield 'precision', train.precision


def _loss(section: Section) -> str:
    given = section.given()
    text = str(given.get('type', 'PerceptualLoss'))
    for name in ('inter_layers', 'intra_layers', 'layers', 'layer_weights'):
        if (weights := given.get(name)) is not None:
            listed = weights if isinstance(weights, list) else [f'{k} {v:g}' for k, v in weights.items()]
            text += f'; {name}: {", ".join(listed)}'
    return text


def _schedule(train: AdaptationSettings) -> str:
    scheduler, rate = train.scheduler, f'{train.optim_g.lr:g} ({train.optim_g.type})'
    if isinstance(scheduler, CosineAnnealing):
        periods = ', '.join(map(str, scheduler.periods))
        return f'{rate}, falls by half a cosine to {scheduler.eta_min:g} over {periods} iterations'
    if isinstance(scheduler, OtherSchedule):
        arguments = ', '.join(f'{k}: {v}' for k, v in scheduler.given().items() if k != 'type')
        return f'{rate}, by {scheduler.type} ({arguments})'
    reached = [m for m in scheduler.milestones if m < train.total_iter]
    if not reached:
        return f'{rate}, constant'
    return f'{rate}, times {scheduler.gamma:g} at iteration {", ".join(map(str, reached))}'


def _outputs(options: RunOptions) -> Iterator[tuple[str, str]]:
    run = TrainingRun(seed_drawn=options.seed_drawn)
    found = find_state(options.for_basicsr(), run) if options.is_train else None
    for note in run.notes:
        yield 'note', note
    if found is not None:
        yield 'resumes', f'from {os.path.relpath(found[0])}, iteration {found[1]["iter"]}'
    elif options.is_train:
        yield 'resumes', 'no: a fresh start'
    moved = found is None and os.path.isdir(options.output_folder)
    archived = ' (the one that is there would be renamed to ..._archived_TIME)' if moved else ''
    yield 'writes to', f'{os.path.relpath(options.output_folder)}{archived}'


def _memory(opened: Preflight) -> str:
    try:
        found = estimate_memory(opened.options, opened.networks)
    except OptionError:
        raise
    except Exception as e:
        if error := error_of_user_module(e):  # its code need not be able to do without data
            return f'no estimate: in a pass without data, {error.where}: {error.what}'
        if isinstance(e, NotImplementedError):  # an operation that cannot do without data
            return f'no estimate: {type(e).__name__} in a pass without data'
        size, reason = getattr(opened.options.pdd.datasets['train'], 'gt_size', None), ' '.join(str(e).split())[:300]
        raise OptionError(
            f'a training step with datasets.train.gt_size {size} fails ({type(e).__name__}: {reason})',
            where='network_g, network_d',
            way_out='Correct their options.',
        ) from None
    if found is None:
        return 'no estimate: datasets.train.gt_size is not set'
    listed = ', '.join(f'{name} {_size(value)}' for name, value in asdict(found).items())
    return f'about {_size(found.total)} on each device (an ESTIMATE: {listed}; without workspaces)'


def _size(count: int) -> str:
    return f'{count / 2**30:.1f} GiB' if count >= 2**30 else f'{count / 2**20:.0f} MiB'
