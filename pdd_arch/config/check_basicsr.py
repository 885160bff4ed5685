"""Checks of BasicSR's own sections, which it reads without looking and trips over in the middle of a run."""

import inspect
from collections.abc import Iterable, Mapping

import torch
from basicsr.utils.registry import DATASET_REGISTRY, METRIC_REGISTRY

from pdd_arch.errors import OptionError
from pdd_arch.utils.registration import registered
from pdd_arch.utils.suggest import did_you_mean, one_of

TOP_LEVEL = (
    *('name', 'model_type', 'scale', 'num_gpu', 'manual_seed', 'find_unused_parameters', 'dist_params'),
    *('datasets', 'network_g', 'network_d', 'network_teacher', 'path', 'train', 'val', 'logger'),
)
PATH_KEYS = (
    *(f'{kind}_{net}' for kind in ('param_key', 'strict_load') for net in ('g', 'd', 'teacher')),
    *(f'pretrain_network_{net}' for net in ('g', 'd', 'teacher')),
    *('resume_state', 'ignore_resume_networks'),
)
TRAIN_SET_KEYS = (
    *('name', 'type', 'dataroot_gt', 'dataroot_lq', 'meta_info_file', 'meta_info_file_gt', 'meta_info_file_lq'),
    *('io_backend', 'gt_size', 'lr_synthesis', 'use_hflip', 'use_rot', 'cache', 'validate', 'seed', 'manual_seed'),
    *('num_worker_per_gpu', 'batch_size_per_gpu', 'dataset_enlarge_ratio', 'prefetch_mode', 'num_prefetch_queue'),
    *('pin_memory', 'persistent_workers', 'phase', 'scale'),
)
VAL_KEYS = ('val_freq', 'save_img', 'suffix', 'pbar', 'metrics', 'color_correction')
LOGGER_KEYS = ('print_freq', 'save_checkpoint_freq', 'use_tb_logger', 'wandb')

SCHEDULERS = ('MultiStepLR', 'MultiStepRestartLR', 'CosineAnnealingRestartLR')
PREFETCH_MODES = (None, 'cpu', 'cuda')


def check_mistyped(section: str, given: Iterable, known: Iterable[str]) -> None:
    """No key is a mistyped one; keys unlike any known one may belong to somebody's own model or dataset.

    Raises:
        OptionError: naming the key and the one that was probably meant.
    """
    known = list(known)
    for key in given:
        if not isinstance(key, str):
            raise OptionError(f'{section}{key!r}: expected words as keys')
        if key not in known and did_you_mean(key, known):
            raise OptionError(f'{section}{key}: unknown key.{did_you_mean(key, known)}')


def check_sections(opt: Mapping) -> None:
    """What should be a section is one.

    Raises:
        OptionError: naming the key.
    """
    sections = {k: opt[k] for k in opt if k in ('val', 'logger', 'dist_params') or str(k).startswith('network_')}
    train = opt.get('train') if isinstance(opt.get('train'), Mapping) else {}
    for key, value in train.items():
        if str(key).endswith('_opt') or key in ('optim_g', 'optim_d', 'scheduler', 'feature_net'):
            sections[f'train.{key}'] = value
    for key, value in sections.items():
        if value is not None and not isinstance(value, Mapping):
            raise OptionError(f'{key}: expected a section, found {value!r}')
    seed = opt.get('manual_seed')
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
        raise OptionError(f'manual_seed: expected a whole number of at least 0, found {seed!r}')
    for phase, dataset in opt['datasets'].items():
        for key in ('dataroot_gt', 'dataroot_lq'):
            if not isinstance(dataset.get(key, ''), str):
                raise OptionError(f'datasets.{phase}.{key}: expected a path, found {dataset[key]!r}')
    for key, value in opt['path'].items():
        if value is not None and str(key).startswith(('pretrain_', 'resume_')) and not isinstance(value, str):
            raise OptionError(f'path.{key}: expected a path, found {value!r}')


def check_known_keys(opt: Mapping) -> None:
    """No key of BasicSR's sections is mistyped.

    Raises:
        OptionError: naming the key.
    """
    check_mistyped('', opt, (*TOP_LEVEL, 'auto_resume', 'is_train', 'dist', 'rank', 'world_size', 'root_path'))
    outputs = ('experiments_root', 'models', 'training_states', 'log', 'visualization', 'results_root')
    check_mistyped('path.', opt['path'], (*PATH_KEYS, *outputs))
    check_mistyped('val.', opt.get('val') or {}, VAL_KEYS)
    check_mistyped('logger.', opt.get('logger') or {}, LOGGER_KEYS)
    train_set = opt['datasets'].get('train') or {}
    if train_set.get('type') == 'UnpairedAdaptationDataset':
        check_mistyped('datasets.train.', train_set, TRAIN_SET_KEYS)


def check_count(section: Mapping, key: str, path: str, least: int = 1) -> None:
    """``section[key]`` is a whole number of at least `least`.

    Raises:
        OptionError: naming ``path`` + ``key``.
    """
    value = section.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        found = 'missing' if key not in section else f'found {value!r}'
        raise OptionError(f'{path}{key}: expected a whole number of at least {least}, {found}')


def check_schedule(opt: Mapping) -> None:
    """Lengths, frequencies, learning rates and schedules.

    Raises:
        OptionError: naming the key.
    """
    train = opt['train']
    check_count(train, 'total_iter', 'train.')
    check_count(opt['logger'], 'print_freq', 'logger.')
    check_count(opt['logger'], 'save_checkpoint_freq', 'logger.')
    for key in ('optim_g', 'optim_d'):
        rate = (train.get(key) or {'lr': 1}).get('lr')
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < float('inf'):
            raise OptionError(f'train.{key}.lr: expected a positive number, found {rate!r}')
    scheduler = train.get('scheduler') or {}
    if scheduler.get('type') not in SCHEDULERS:
        raise OptionError(
            f'train.scheduler.type: expected {one_of(SCHEDULERS)}, found {scheduler.get("type")!r}.'
            f'{did_you_mean(scheduler.get("type"), SCHEDULERS)}'
        )
    if scheduler['type'].startswith('MultiStep'):
        milestones = scheduler.get('milestones')
        if not isinstance(milestones, list) or not all(type(m) is int for m in milestones):
            raise OptionError(f'train.scheduler.milestones: expected a list of iterations, found {milestones!r}')


def check_loader(opt: Mapping) -> None:
    """How the training data is loaded.

    Raises:
        OptionError: naming the key.
    """
    train_set, path = opt['datasets']['train'], 'datasets.train.'
    check_count(train_set, 'num_worker_per_gpu', path, least=0)
    ratio = train_set.get('dataset_enlarge_ratio', 1)
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not ratio > 0:
        raise OptionError(f'{path}dataset_enlarge_ratio: expected a positive number, found {ratio!r}')
    mode = train_set.get('prefetch_mode')
    if mode not in PREFETCH_MODES:
        raise OptionError(f"{path}prefetch_mode: expected ~, 'cpu' or 'cuda', found {mode!r}")
    if mode == 'cuda' and not torch.cuda.is_available():
        raise OptionError(f'{path}prefetch_mode: cuda, but there is no CUDA device. Set prefetch_mode: ~')


def check_dataset_types(opt: Mapping, is_train: bool) -> None:
    """Every dataset has a phase that BasicSR knows and a registered type for it.

    Raises:
        OptionError: naming the key.
    """
    for phase, dataset in opt['datasets'].items():
        allowed = ('train', 'val') if is_train else ('test', 'val')
        if is_train and str(phase).split('_')[0] not in allowed:
            raise OptionError(
                f'datasets.{phase}: unknown phase, expected {one_of(allowed)}.{did_you_mean(phase, allowed)}'
            )
        kind = dataset.get('type')
        if registered(DATASET_REGISTRY, kind) is None:
            hint = did_you_mean(kind, DATASET_REGISTRY.keys())
            raise OptionError(f'datasets.{phase}.type: no dataset {kind!r} is registered.{hint}')
        if kind == 'UnpairedAdaptationDataset' and (not is_train or phase != 'train'):
            raise OptionError(
                f'datasets.{phase}.type: UnpairedAdaptationDataset is for training only. Use PairedImageDataset (with '
                'ground truth) or SingleImageDataset (without).'
            )


def check_validation(opt: Mapping, is_train: bool) -> None:
    """The ``val`` section is complete where BasicSR reads it without asking, and its metrics can be called.

    Raises:
        OptionError: naming the key.
    """
    val = opt.get('val')
    if val is None:
        return
    if is_train:
        check_count(val, 'val_freq', 'val.')
    for key in ('save_img', 'color_correction'):
        if not isinstance(val.get(key, None if key == 'save_img' else False), bool):
            raise OptionError(f'val.{key}: expected true or false, found {val.get(key)!r}')
    metrics = val.get('metrics') or {}
    if not isinstance(metrics, Mapping) or not all(isinstance(m, Mapping) for m in metrics.values()):
        raise OptionError(f'val.metrics: expected a section per metric, found {metrics!r}')
    for name, options in metrics.items():
        kind = options.get('type')
        metric = registered(METRIC_REGISTRY, kind)
        if metric is None:
            known = METRIC_REGISTRY.keys()
            raise OptionError(f'val.metrics.{name}.type: no metric {kind!r} is registered.{did_you_mean(kind, known)}')
        signature = inspect.signature(metric)
        own = {k: v for k, v in options.items() if k != 'type'}
        try:
            signature.bind(**dict.fromkeys(('img', 'img2') if 'img2' in signature.parameters else ('img',)), **own)
        except TypeError as e:
            raise OptionError(f'val.metrics.{name}: {kind}: {e}') from e
    if metrics:
        _check_ground_truth(opt, metrics)


def _check_ground_truth(opt: Mapping, metrics: Mapping) -> None:
    """A metric that compares with a ground truth needs datasets that have one."""
    for phase, dataset in opt['datasets'].items():
        if dataset.get('type') != 'SingleImageDataset':
            continue
        for name, options in metrics.items():
            parameter = inspect.signature(registered(METRIC_REGISTRY, options['type'])).parameters.get('img2')
            if parameter is not None and parameter.default is inspect.Parameter.empty:
                raise OptionError(
                    f'val.metrics.{name}: {options["type"]} compares with a ground truth, which datasets.{phase} '
                    '(SingleImageDataset) has not. Use PairedImageDataset, or a metric without reference.'
                )
