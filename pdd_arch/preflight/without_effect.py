"""Options of validation, log and speed that are allowed and have no effect, or another one than expected."""

from collections.abc import Iterator, Mapping
from typing import Any

from pdd_arch.metrics.assignment import metrics_of_set, unmeasured
from pdd_arch.metrics.availability import DIRECTIONS
from pdd_arch.options.run_options import RunOptions
from pdd_arch.preflight.losses import trial_device
from pdd_arch.preflight.metrics import metric_sections, validated_sets
from pdd_arch.utils.host import available_cores

#: options of a dataset that BasicSR reads for training only, and what it does in a validation
_TRAINING_ONLY = {
    'batch_size_per_gpu': 'images are validated one by one',
    'num_worker_per_gpu': 'images for validation are loaded in the main process',
    'dataset_enlarge_ratio': 'a validation takes each image once',
    'gt_size': 'images are validated whole',
    'use_hflip': 'images are validated as they are',
    'use_rot': 'images are validated as they are',
}


def options_without_effect(options: RunOptions) -> Iterator[str]:
    """A sentence for each such option of a file for a model of any kind, whose other checks have passed."""
    opt = options.for_basicsr()
    val, sets = opt.get('val'), validated_sets(options)
    if options.is_train:
        yield from _never_happens(opt, val, list(sets))
        yield from _comes_too_late(opt, val if sets else None)
        yield from _no_faster(options)
    elif not sets:
        yield 'datasets is empty: nothing is tested. Add datasets.test_1.'
    if val is None:
        return
    for phase, dataset in sets.items():
        yield from _set_without_effect(phase, dataset, options, bool(val.get('save_img')))
    yield from _metrics_without_effect(options, sets) if sets else ()
    if val.get('suffix') is not None and (options.is_train or not val.get('save_img')):
        needed = 'in `basicsr test` only' if options.is_train else 'with val.save_img: true only'
        yield f'val.suffix: {val["suffix"]!r} has an effect {needed}.'
    if val.get('tile_overlap') is not None and not val.get('tile'):
        yield f'val.tile_overlap: {val["tile_overlap"]} has an effect with val.tile only.'


def _never_happens(opt: Mapping[str, Any], val: Mapping[str, Any] | None, sets: list[str]) -> Iterator[str]:
    """One half of what a validation needs, without the other."""
    if sets and val is None:
        yield (
            f'datasets.{sets[0]} is given, but there is no section val, so that NOTHING IS VALIDATED. Add val with '
            'val_freq and save_img, or remove the dataset.'
        )
    if val is not None and not sets:
        yield 'val is given, but there is no datasets.val, so that NOTHING IS VALIDATED. Add one, or remove val.'


def _comes_too_late(opt: Mapping[str, Any], val: Mapping[str, Any] | None) -> Iterator[str]:
    """Frequencies beyond the end of the training. A checkpoint at the end alone is a usual wish."""
    if 'debug' in opt['name']:  # its frequencies are not those of the file
        return
    total = opt['train'].get('total_iter')
    happens = {
        'val.val_freq': (val, 'there is one validation only, at the end'),
        'logger.print_freq': (opt['logger'], 'no losses are logged or recorded'),
    }
    for key, (section, outcome) in happens.items():
        frequency = (section or {}).get(key.partition('.')[2])
        if _is_count(frequency) and _is_count(total) and frequency > total:
            yield f'{key}: {frequency}, but train.total_iter is {total}: {outcome}.'


def _no_faster(options: RunOptions) -> Iterator[str]:
    """Options that are there for speed and take time on the device of this run."""
    train = options.adaptation
    if train is None:
        return
    device, cores = trial_device(options), available_cores()
    if train.precision == 'fp16' and device == 'cpu':
        yield "train.precision: 'fp16' on a CPU is many times slower than 'fp32' on most; 'auto' measures 'bf16'."
    if not isinstance(train.threads, int):
        return
    if device == 'cuda':
        yield f'train.threads: {train.threads} has an effect on a CPU only.'
    elif train.threads > cores:
        yield f'train.threads: {train.threads}, but {cores} cores may be used here: more threads than cores wait.'


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _set_without_effect(phase: str, dataset: Mapping[str, Any], options: RunOptions, saved: bool) -> Iterator[str]:
    if not saved and not metrics_of_set(metric_sections(options), dataset, f'datasets.{phase}'):
        yield (
            f'datasets.{phase} has no metric and val.save_img is false: its images are upscaled, and nothing comes of '
            'it. Set val.save_img: true to look at them.'
        )
    for key, instead in _TRAINING_ONLY.items():
        if dataset.get(key) not in (None, False):
            yield f'datasets.{phase}.{key}: {dataset[key]} has no effect: {instead}.'


def _metrics_without_effect(options: RunOptions, sets: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    metrics = metric_sections(options)
    for name in unmeasured(metrics, sets.values()):
        yield f'val.metrics.{name}: no set is measured with it (datasets.{next(iter(sets))}.metrics).'
    for name, section in metrics.items():
        known = DIRECTIONS.get(section['type'])
        if known is not None and section.get('better', known) != known:
            yield (
                f'val.metrics.{name}.better: {section["better"]}, but {known} values of {section["type"]} are better: '
                'the worst result counts as the best.'
            )
