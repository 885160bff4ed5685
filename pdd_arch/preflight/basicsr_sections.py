"""Checks of BasicSR's own sections, which it reads without looking and trips over in the middle of a run.

Names, types and limits are the schema's; here is what concerns several options, the machine or a registry.
"""

import importlib.util
import inspect
import os
from collections.abc import Mapping

import torch
from basicsr.utils.registry import DATASET_REGISTRY, METRIC_REGISTRY

from pdd_arch.errors import OptionError
from pdd_arch.features.feature_net import check_layers
from pdd_arch.metrics.feature_distance import DEFAULT_LAYERS
from pdd_arch.metrics.lpips_metric import TRUNKS
from pdd_arch.options.messages import validated
from pdd_arch.options.schema import SCHEDULERS, FeatureNetOptions
from pdd_arch.options.signatures import check_keywords, check_kinds
from pdd_arch.preflight.weights import METRIC_NETWORK, NAMED_WEIGHTS, require_file
from pdd_arch.utils.registration import registered
from pdd_arch.utils.wording import did_you_mean, one_of, show, show_key

#: optimizers of torch.optim that need more than a gradient
UNSUITABLE_OPTIMIZERS = ('Optimizer', 'LBFGS', 'SparseAdam')


def samples_of_a_step(opt: Mapping) -> tuple[int, int]:
    """Images of each domain that this process sees in one step, and the number of processes."""
    batch = opt['datasets']['train']['batch_size_per_gpu']
    if opt.get('dist'):
        processes = opt.get('world_size') or os.environ.get('WORLD_SIZE') or os.environ.get('SLURM_NTASKS') or '1'
        return batch, int(processes) if str(processes).isdecimal() else 1
    gpus = torch.cuda.device_count() if opt['num_gpu'] == 'auto' else opt['num_gpu']
    return batch * max(gpus, 1), 1


def check_schedule(opt: Mapping) -> None:
    """Optimizers can be built, and schedules are complete and cover the run.

    Raises:
        OptionError: naming the key.
    """
    train = opt['train']
    for key in ('optim_g', 'optim_d'):
        if train.get(key):
            check_optimizer(f'train.{key}', train[key])
    scheduler = train['scheduler']
    assert scheduler['type'] in SCHEDULERS
    if scheduler['type'] == 'CosineAnnealingRestartLR':
        _same_length(scheduler, 'periods', 'restart_weights')
        covered = sum(scheduler['periods'])
        if covered < train['total_iter']:
            raise OptionError(
                f'train.scheduler.periods: together {covered} iterations, but train.total_iter is '
                f'{train["total_iter"]}. Add periods, or make them longer.'
            )
    else:
        _same_length(scheduler, 'restarts', 'restart_weights')


def _same_length(scheduler: Mapping, first: str, second: str) -> None:
    a, b = scheduler.get(first, [0]), scheduler.get(second, [1])
    if len(a) != len(b):
        raise OptionError(f'train.scheduler.{second}: expected as many as {first} ({len(a)}), found {len(b)}')


def check_optimizer(path: str, options: Mapping) -> None:
    """The optimizer is one of ``torch.optim`` and takes the options given.

    Raises:
        OptionError: naming the key.
    """
    known = [n for n in dir(torch.optim) if isinstance(getattr(torch.optim, n), type)]
    known = [n for n in known if n not in UNSUITABLE_OPTIMIZERS]
    kind = options['type']
    if kind not in known:
        raise OptionError(
            f'{path}.type: unknown optimizer {kind!r}.{did_you_mean(kind, known)} Expected a class of torch.optim '
            'that works on gradients alone, for example Adam.'
        )
    given = {k: v for k, v in options.items() if k != 'type'}
    optimizer = getattr(torch.optim, kind)
    check_keywords(path, kind, optimizer, given, filled=('params',))
    check_kinds(path, optimizer, given)
    try:
        optimizer([torch.nn.Parameter(torch.zeros(2, 2))], **given)
    except Exception as e:  # whatever an optimizer makes of wrong values
        reason = ' '.join(str(e).split())[:200]
        raise OptionError(f'{path}: {kind}: {reason}') from None


def check_loader(opt: Mapping) -> None:
    """How the training data is loaded.

    Raises:
        OptionError: naming the key.
    """
    train_set, path = opt['datasets']['train'], 'datasets.train.'
    for key, least in (('num_worker_per_gpu', 0), ('batch_size_per_gpu', 1)):
        if train_set.get(key) is None:
            raise OptionError(f'{path}{key}: missing, expected a whole number of at least {least}')
    mode = train_set.get('prefetch_mode')
    if mode == 'cuda' and not torch.cuda.is_available():
        raise OptionError(f'{path}prefetch_mode: cuda, but there is no CUDA device. Set prefetch_mode: ~')
    if mode == 'cuda' and train_set.get('pin_memory') is not True:
        raise OptionError(f'{path}pin_memory: expected true with prefetch_mode: cuda, found it switched off')
    if train_set.get('persistent_workers') and not train_set['num_worker_per_gpu']:
        raise OptionError(f'{path}persistent_workers: true, but num_worker_per_gpu is 0. Set it to false.')


def check_dataset_types(opt: Mapping, is_train: bool) -> None:
    """Every dataset has a phase that BasicSR knows, a registered type for it and a name of its own.

    Raises:
        OptionError: naming the key.
    """
    names: dict[str, str] = {}
    for phase, dataset in opt['datasets'].items():
        shown = f'datasets.{show_key(phase)}'
        allowed = ('train', 'val') if is_train else ('test', 'val')
        if is_train and phase.split('_')[0] not in allowed:
            raise OptionError(f'{shown}: unknown phase, expected {one_of(allowed)}.{did_you_mean(phase, allowed)}')
        if is_train and phase.startswith('train_'):
            raise OptionError(f'{shown}: unknown phase, there is one training dataset: datasets.train')
        kind = dataset['type']
        if registered(DATASET_REGISTRY, kind) is None:
            hint = did_you_mean(kind, DATASET_REGISTRY.keys())
            raise OptionError(f'{shown}.type: no dataset {kind!r} is registered.{hint}')
        if kind == 'UnpairedAdaptationDataset' and (not is_train or phase != 'train'):
            raise OptionError(
                f'{shown}.type: UnpairedAdaptationDataset is for training only. Use PairedImageDataset (with '
                'ground truth) or SingleImageDataset (without).'
            )
        if phase == 'train' and is_train:
            continue
        name = dataset.get('name') or phase
        if name in names:
            raise OptionError(
                f'{shown}.name: {name!r} is also the name of datasets.{names[name]}; results are kept by '
                'name. Use another one.'
            )
        names[name] = phase


def check_logger(opt: Mapping) -> None:
    """What the log and the checkpoints need is there.

    Raises:
        OptionError: naming the key.
    """
    logger = opt['logger']
    project = (logger.get('wandb') or {}).get('project')
    if project is not None and not logger.get('use_tb_logger'):
        raise OptionError('logger.wandb.project: given, but logger.use_tb_logger is false. Set it to true.')
    wanted = {'wandb': project is not None, 'tensorboard': logger.get('use_tb_logger', False)}
    for package, needed in wanted.items():
        if needed and importlib.util.find_spec(package) is None:
            key = 'use_tb_logger' if package == 'tensorboard' else 'wandb.project'
            raise OptionError(f'logger.{key}: needs the package {package}. Install it with: pip install {package}')
    if logger.get('keep_best') is not None:
        _check_best(opt, logger['keep_best'])


def _check_best(opt: Mapping, best: str) -> None:
    key = 'logger.keep_best'
    sets = [d.get('name') or phase for phase, d in opt['datasets'].items() if phase.split('_')[0] == 'val']
    if opt.get('val') is None or not sets:
        raise OptionError(f'{key}: {best!r}, but nothing is validated. Add val and datasets.val, or remove {key}.')
    metrics = list(opt['val'].get('metrics') or {})
    dataset, _, metric = best.rpartition('/')
    if metric not in metrics:
        raise OptionError(
            f'{key}: no metric {metric!r} in val.metrics, expected {one_of(metrics) if metrics else "one there"}.'
            f'{did_you_mean(metric, metrics)}'
        )
    if dataset and dataset not in sets:
        raise OptionError(
            f'{key}: no validation dataset is named {dataset!r}, expected {one_of(sets)}.{did_you_mean(dataset, sets)}'
        )
    if not dataset and len(sets) > 1:
        raise OptionError(f'{key}: {best!r}, but there are {len(sets)} validation datasets. Write {sets[0]}/{metric}.')


def check_validation(opt: Mapping, is_train: bool) -> None:
    """The ``val`` section is complete where BasicSR reads it without asking, and its metrics can be computed.

    Raises:
        OptionError, MissingFileError: naming the key.
    """
    val = opt.get('val')
    if val is None:
        return
    if is_train and val.get('val_freq') is None:
        raise OptionError('val.val_freq: missing, expected a whole number of at least 1')
    metrics = val.get('metrics') or {}
    for name, options in metrics.items():
        kind, path = options['type'], f'val.metrics.{show_key(name)}'
        metric = registered(METRIC_REGISTRY, kind)
        if metric is None:
            known = METRIC_REGISTRY.keys()
            raise OptionError(f'{path}.type: no metric {kind!r} is registered.{did_you_mean(kind, known)}')
        given = {k: v for k, v in options.items() if k not in ('type', 'better')}
        check_keywords(path, kind, metric, given, filled=('img', 'img2'))
        check_kinds(path, metric, given)
        if given.get('input_order', 'HWC') not in ('HWC', 'CHW'):
            raise OptionError(f"{path}.input_order: expected 'HWC' or 'CHW', found {show(given['input_order'])}")
        _check_metric_needs(path, kind, given)
    if metrics:
        _check_ground_truth(opt, metrics)


def _check_metric_needs(path: str, kind: str, options: Mapping) -> None:
    """What a metric of this package would miss at the first validation."""
    if kind == 'calculate_iqa' and importlib.util.find_spec('pyiqa') is None:
        raise OptionError(
            f'{path}: calculate_iqa needs the package pyiqa (non-commercial licence). Install it with: '
            'pip install pyiqa'
        )
    if kind == 'calculate_lpips':
        net, weights = options.get('net', 'alex'), options.get('weights', 'imagenet')
        if net not in TRUNKS:
            raise OptionError(f'{path}.net: expected {one_of(TRUNKS)}, found {show(net)}.{did_you_mean(net, TRUNKS)}')
        if weights != 'imagenet':
            require_file(f'{path}.weights', weights)
    if kind == 'calculate_feature_distance':
        chosen = options.get('feature_net')
        if chosen is not None:
            validated(FeatureNetOptions, chosen, f'{path}.feature_net')
        chosen = METRIC_NETWORK | (chosen or {})
        layers = options.get('layers')
        if layers is not None and (not isinstance(layers, list) or not all(isinstance(n, str) for n in layers)):
            raise OptionError(f'{path}.layers: expected a list of layer names, found {show(layers)}')
        check_layers(layers or DEFAULT_LAYERS[chosen['type']], chosen['type'], f'{path}.layers')
        if chosen['weights'] not in NAMED_WEIGHTS:
            require_file(f'{path}.feature_net.weights', chosen['weights'])


def _check_ground_truth(opt: Mapping, metrics: Mapping) -> None:
    """A metric that compares with a ground truth needs datasets that have one."""
    for phase, dataset in opt['datasets'].items():
        if dataset['type'] != 'SingleImageDataset':
            continue
        for name, options in metrics.items():
            parameter = inspect.signature(registered(METRIC_REGISTRY, options['type'])).parameters.get('img2')
            if parameter is not None and parameter.default is inspect.Parameter.empty:
                raise OptionError(
                    f'val.metrics.{name}: {options["type"]} compares with a ground truth, which datasets.{phase} '
                    '(SingleImageDataset) has not. Use PairedImageDataset, or a metric without reference.'
                )


def check_outputs(opt: Mapping) -> None:
    """The folders that the run writes to can be made.

    Raises:
        OptionError: a file is in the way, or the folder is not writable.
    """
    folders = [opt['path'].get('experiments_root') or opt['path'].get('results_root')]
    if opt.get('root_path') and (opt.get('logger') or {}).get('use_tb_logger'):
        folders.append(os.path.join(opt['root_path'], 'tb_logger', opt['name']))
    for folder in filter(None, folders):
        parent = os.path.dirname(folder)
        while not os.path.lexists(parent) and os.path.dirname(parent) != parent:
            parent = os.path.dirname(parent)
        shown = os.path.relpath(folder)
        if not os.path.isdir(parent):
            raise OptionError(
                f'name: the run writes to {shown}, but {os.path.relpath(parent)} is a file. Move it away, or start '
                'from another directory.'
            )
        if not os.access(parent, os.W_OK | os.X_OK):
            raise OptionError(
                f'name: the run writes to {shown}, but the folder {os.path.relpath(parent)} is not writable. Make it '
                'writable, or start from another directory.'
            )
