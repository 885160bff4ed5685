"""What would run, in words: ``--check``."""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pdd_arch.errors import OptionError
from pdd_arch.features.feature_net import to_download
from pdd_arch.metrics.assignment import metrics_of_set
from pdd_arch.metrics.availability import missing_weights
from pdd_arch.options.basic import AnySchedule, BasicOptions
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.schema import CosineAnnealing, MultiStep, Optimizer, Options, OtherSchedule
from pdd_arch.preflight.data import data_warnings, launched_processes, samples_of_a_step
from pdd_arch.preflight.memory import estimate_memory
from pdd_arch.preflight.metrics import metric_sections, validated_sets
from pdd_arch.preflight.networks import crop_size, weights_to_fetch
from pdd_arch.preflight.other_models import loss_sections, vgg_to_download
from pdd_arch.preflight.run import Preflight, plan_warnings
from pdd_arch.training.resume import find_state
from pdd_arch.training.run_state import TrainingRun
from pdd_arch.utils.origin import error_in_user_code
from pdd_arch.utils.wording import show_key

_ROLES = {'network_g': 'student', 'network_teacher': 'static teacher', 'network_d': 'discriminator'}


def plan(opened: Preflight) -> str:
    """The plan of a run whose checks have found no error (`fetch=False`), a line each.

    Raises:
        OptionError: a training step would fail, which only its estimate of memory finds.
    """
    lines = [f'{key + ":":<16}{text}' for key, text in _plan(opened)]
    return '\n'.join([*lines, _result(opened), ''])


def _result(opened: Preflight) -> str:
    """The last line, which says what was looked at and what was not."""
    if isinstance(opened.options.file, Options):
        return 'No error found; nothing was written.'
    last = 'a training step' if opened.options.is_train else 'a first image'
    unchecked = f'; not checked: {", ".join(opened.unchecked)}' if opened.unchecked else ''
    return f'No error found in options, networks, weights, data and {last}{unchecked}; nothing was written.'


def _plan(opened: Preflight) -> Iterator[tuple[str, str]]:
    """(what, how) of everything that would run."""
    options, file = opened.options, opened.options.file
    model = '' if isinstance(file, Options) else f'{file.model_type}, '
    yield 'run', f'{options.name}, {model}scale {options.scale}, {_device(options)}'
    if imported := file.import_:
        yield 'imports', imported if isinstance(imported, str) else ', '.join(imported)
    for key, net in opened.networks.items():
        section = file.networks[key]
        weights = getattr(file.path, f'pretrain_{key}', None) or getattr(section, 'path', None)
        count = sum(p.numel() for p in net.parameters())
        start = f'weights {weights}' if weights else 'RANDOM weights'
        role = _ROLES[key] if isinstance(file, Options) else key
        yield role, f'{section.type}, {count:,} parameters, {start}'
    if options.is_train:
        yield from _training(opened) if options.adaptation is not None else _other_training(opened)
    for phase, dataset in file.datasets.items():
        if phase != 'train':
            kind = {'PairedImageDataset': 'pairs', 'SingleImageDataset': 'images'}.get(dataset.type, 'samples')
            what = f'{opened.counts[phase]} {kind}' if phase in opened.counts else f'{dataset.type}, not looked at'
            yield phase, f'{options.dataset_name(phase)}: {what}'
    yield from _metrics(options)
    for text in _downloads(opened):
        yield 'download', text
    yield from _outputs(options)
    if options.adaptation is not None:
        yield 'memory', _memory(opened)
    for text in [*plan_warnings(options), *data_warnings(opened.sources)]:
        yield 'WARNING', text


def _metrics(options: RunOptions) -> Iterator[tuple[str, str]]:
    """What is measured, and on which set where they differ in it."""
    metrics, sets = metric_sections(options), validated_sets(options)
    own = {s['name']: metrics_of_set(metrics, s, f'datasets.{phase}') for phase, s in sets.items()}
    if metrics:
        yield 'metrics', ', '.join(f'{name} ({metric["type"]})' for name, metric in metrics.items())
    if any(len(measured) < len(metrics) for measured in own.values()):
        for name, measured in own.items():
            yield 'measured', f'{name}: {", ".join(measured) or "nothing, its images are only upscaled"}'


def _device(options: RunOptions) -> str:
    """What will be used, not what was asked for."""
    there, asked = torch.cuda.device_count(), options.file.num_gpu
    if options.distributed:  # each process takes one, whatever their number in the file
        devices = f'{there} GPU(s) of this machine' if there and asked else 'CPU'
        return f'{launched_processes()} processes, {devices}'
    count = there if asked == 'auto' else asked
    devices = f'{count} GPU(s)' if count else 'CPU'
    if asked != 'auto':
        return devices
    return f'{devices} (num_gpu: auto, {"all of this machine" if there else "and this machine has no CUDA GPU"})'


def _downloads(opened: Preflight) -> Iterator[str]:
    """What the run would fetch first, each file once: the address, its place, and the options that need it."""
    options, needed = opened.options, dict[tuple[str, Path], list[str]]()
    files: list[tuple[str, tuple[str, Path] | None]] = [*weights_to_fetch(options)]
    if opened.losses is not None and opened.losses.layers:
        net = options.train.feature_net
        files.append(('train.feature_net', to_download(net.type, net.weights)))
    if options.adaptation is None and options.is_train:
        files += vgg_to_download(options)
    unknown = []
    for name, metric in ((options.file.val and options.file.val.metrics) or {}).items():
        where = f'val.metrics.{show_key(name)}'
        files += [(where, file) for file in missing_weights(metric.given())]
        unknown += [where] if metric.type == 'calculate_iqa' else []
    for where, file in files:
        if file is not None:
            needed.setdefault(file, []).append(where)
    for (url, place), of in needed.items():
        yield f'{url} to {place}, for {", ".join(of)}'
    for where in unknown:
        yield f'what pyiqa fetches itself for {where}; whether it is there was not looked at'


def _training(opened: Preflight) -> Iterator[tuple[str, str]]:
    options = opened.options
    train, data = options.train, options.pdd.datasets['train']
    if train.distils:
        own = f'moving average of the student, decay {train.ema_decay}'
        yield 'teacher', own if train.teacher == 'ema' else 'static: a second, frozen network'
    for key in ('distill_opt', 'pixel_opt', 'perceptual_opt', 'gan_opt'):
        if getattr(train, key) is not None:
            begins = f'; from iteration {train.distill_start + 1}' if key == 'distill_opt' else ''
            yield key, _loss(getattr(train, key).given()) + begins
    for loss in opened.losses.extra if opened.losses is not None else ():
        begins = f'; from iteration {train.distill_start + 1}' if loss.on == 'target' else ''
        yield 'extra loss', f'{type(loss.loss).__name__} on {loss.on}, in the log as {loss.name}{begins}'
    if opened.losses is not None and opened.losses.layers:
        net = train.feature_net
        missing = ' (to be downloaded)' if to_download(net.type, net.weights) else ''
        yield 'feature_net', f'{net.type}, weights {net.weights}{missing}'
    mine, processes = samples_of_a_step(options)
    parts = f' in {train.accumulate} parts' if train.accumulate > 1 else ''
    if (of_target := getattr(data, 'batch_size_target_per_gpu', None)) is not None:
        parts = f' and {of_target * mine // (data.batch_size_per_gpu or 1) * processes} of the target domain{parts}'
    yield from _data_and_length(opened, parts, train.total_iter)
    yield 'learning rate', _schedule(train.scheduler, train.optim_g, train.total_iter)
    automatic = ' (fp32 or bf16, measured when the run starts)' if train.precision == 'auto' else ''
    yield 'precision', f'{train.precision}{automatic}'
    if train.threads is not None:
        automatic = ' (one or all, measured when the run starts)' if train.threads == 'auto' else ''
        yield 'threads', f'{train.threads}{automatic}'


def _other_training(opened: Preflight) -> Iterator[tuple[str, str]]:
    """The training of another model than `PDDModel`."""
    options = opened.options
    assert isinstance(options.file, BasicOptions)
    assert options.file.train is not None
    train = options.file.train
    for key, section in loss_sections(options):
        yield key, _loss(section)
    yield from _data_and_length(opened, '', train.total_iter)
    if train.optim_g is not None and train.scheduler is not None:
        yield 'learning rate', _schedule(train.scheduler, train.optim_g, train.total_iter)


def _data_and_length(opened: Preflight, parts: str, total: int) -> Iterator[tuple[str, str]]:
    """`parts`: how the batch is divided."""
    options = opened.options
    data, length = options.file.datasets['train'], opened.counts.get('train', 0)
    kind = 'pairs' if data.type == 'PairedImageDataset' else 'samples'
    images = f'{length} {kind}' if length else 'not looked at'
    if 'train' in opened.sources:
        images = '{} HR, {} target LR'.format(*map(len, opened.sources['train']))
    mine, processes = samples_of_a_step(options)
    size = crop_size(options)[1]
    crop = f'HR crop {size}, ' if size else ''
    yield 'data', f'{images}; {crop}batch {mine * processes}{parts}'
    per_epoch = max(int(length * data.dataset_enlarge_ratio / (mine * processes)), 1)
    epochs = f', {math.ceil(total / per_epoch):,} epochs of {per_epoch:,}' if length else ''
    yield 'iterations', f'{total:,}{epochs}'


def _loss(given: Mapping[str, Any]) -> str:
    text = str(given.get('type', 'PerceptualLoss'))
    for name in ('inter_layers', 'intra_layers', 'layers', 'layer_weights'):
        if (weights := given.get(name)) is not None:
            listed = weights if isinstance(weights, list) else [f'{k} {v:g}' for k, v in weights.items()]
            text += f'; {name}: {", ".join(listed)}'
    return text


def _schedule(
    scheduler: MultiStep | CosineAnnealing | OtherSchedule | AnySchedule, optimizer: Optimizer, total: int
) -> str:
    rate = f'{optimizer.lr:g} ({optimizer.type})'
    if isinstance(scheduler, CosineAnnealing):
        periods = ', '.join(map(str, scheduler.periods))
        return f'{rate}, falls by half a cosine to {scheduler.eta_min:g} over {periods} iterations'
    if isinstance(scheduler, OtherSchedule | AnySchedule):
        arguments = ', '.join(f'{k}: {v}' for k, v in scheduler.given().items() if k != 'type')
        return f'{rate}, by {scheduler.type} ({arguments})'
    reached = [m for m in scheduler.milestones if m < total]
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
        of_user = error_in_user_code(e)
        # an operation that cannot do without data; torch names its device without data then
        if isinstance(e, NotImplementedError) or 'meta' in str(e):
            what = f'{of_user.where}: {of_user.what}' if of_user else type(e).__name__
            return f'no estimate: in a pass without data, {what}'
        if of_user:
            raise
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
