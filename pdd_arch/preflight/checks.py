"""Checks of a whole option file that can be made before anything is created, loaded or trained."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from basicsr.utils.registry import MODEL_REGISTRY

from pdd_arch.errors import DataError, OptionError
from pdd_arch.losses.distillation import DistillationLoss
from pdd_arch.options.messages import validated
from pdd_arch.options.networks import check_network
from pdd_arch.options.schema import BasicOptions, Options
from pdd_arch.options.settings import AdaptationSettings
from pdd_arch.preflight.basicsr_sections import (
    check_dataset_types,
    check_loader,
    check_logger,
    check_outputs,
    check_schedule,
    check_validation,
    samples_of_a_step,
)
from pdd_arch.preflight.losses import check_feature_size, check_losses
from pdd_arch.preflight.weights import check_weight_files, check_weights
from pdd_arch.utils.wording import did_you_mean

TRAIN_SECTIONS = ('train', 'logger')
TEST_SECTIONS = ('val',)

#: what BasicSR and `complete_options` add to the options of a file
DERIVED = ('auto_resume', 'is_train', 'dist', 'rank', 'world_size', 'root_path')
DERIVED_PATHS = ('experiments_root', 'models', 'training_states', 'log', 'visualization', 'results_root')
DERIVED_DATA = ('phase', 'scale', 'manual_seed')


def check_options(opt: Mapping, is_train: bool) -> None:
    """Check everything that a run needs: options, images and weights.

    Only what holds for every BasicSR run is checked for other models; the rest is for `PDDModel`.

    Raises:
        OptionError, MissingFileError, DataError, WeightsError: naming the option key and the way out.
    """
    check_plan(opt, is_train)
    if opt['model_type'] == 'PDDModel':
        check_datasets(opt, is_train)
        check_weights(opt, is_train)


def check_plan(opt: Mapping, is_train: bool) -> None:
    """Check what can be known from the options themselves and from which files exist.

    Raises:
        OptionError, MissingFileError: naming the option key and the way out.
    """
    check_file(without_derived(opt), is_train)
    check_device(opt)
    if opt['model_type'] != 'PDDModel':
        return
    check_dataset_types(opt, is_train)
    for key in ('network_g', 'network_teacher', 'network_d'):
        if opt.get(key):
            check_network(key, opt[key], opt['scale'] if key != 'network_d' else None)
    distill = None
    if is_train:
        settings = AdaptationSettings.from_options(opt)
        distill = check_losses(opt['train'], settings.feature_net['type'])
        check_feature_size(opt, distill, settings.feature_net['type'])
    check_weight_files(opt)
    if is_train:
        check_schedule(opt)
        check_loader(opt)
        check_batch(opt, distill)
        check_logger(opt)
    check_validation(opt, is_train)
    check_outputs(opt)


def check_file(opt: Mapping, is_train: bool) -> None:
    """Names, types and limits of the options as they stand in the file.

    Raises:
        OptionError: naming the key, what was expected and what was found.
    """
    ours = opt.get('model_type', 'PDDModel') == 'PDDModel'
    validated(Options if ours else BasicOptions, dict(opt))
    kind = opt['model_type']
    if kind not in MODEL_REGISTRY:
        raise OptionError(f'model_type: no model {kind!r} is registered.{did_you_mean(kind, MODEL_REGISTRY.keys())}')
    for section in TRAIN_SECTIONS if is_train else TEST_SECTIONS:
        if opt.get(section) is None:
            raise OptionError(f'{section}: missing, expected a section.{did_you_mean(section, opt)}')
    if is_train and opt['datasets'].get('train') is None:
        raise OptionError('datasets.train: missing, expected a section')


def without_derived(opt: Mapping) -> dict:
    """The options as they stood in the file."""
    found = _without(opt, DERIVED)
    if isinstance(found.get('path'), Mapping):
        found['path'] = _without(found['path'], DERIVED_PATHS)
    if isinstance(found.get('datasets'), Mapping):
        found['datasets'] = {
            phase: _without(d, DERIVED_DATA) if isinstance(d, Mapping) else d for phase, d in found['datasets'].items()
        }
    return found


def _without(section: Mapping, keys: tuple[str, ...]) -> dict[str, Any]:
    return {k: v for k, v in section.items() if k not in keys}


def check_device(opt: Mapping) -> None:
    """CUDA must be there when it is asked for; running on the CPU instead would be a silent surprise.

    Raises:
        OptionError: ``num_gpu`` is more than this machine has.
    """
    asked = opt['num_gpu']
    if asked == 'auto':
        return
    have = torch.cuda.device_count() if torch.cuda.is_available() else 0
    needed = 1 if opt.get('dist') else asked
    if asked and have < needed:
        raise OptionError(
            f'num_gpu: {asked} CUDA device(s) asked for, this machine has {have}. Set num_gpu: 0 to run on the CPU, '
            'or install a CUDA build of torch and a driver.'
        )


def check_batch(opt: Mapping, distill: DistillationLoss | None) -> None:
    """The batch can be divided as asked, and losses that compare its images with each other get enough of them.

    Raises:
        OptionError: ``batch_size_per_gpu`` or ``accumulate`` does not fit.
    """
    key, batch = 'datasets.train.batch_size_per_gpu', opt['datasets']['train']['batch_size_per_gpu']
    parts = opt['train'].get('accumulate', 1)
    mine, processes = samples_of_a_step(opt)
    if mine % parts:
        raise OptionError(
            f'train.accumulate: {parts} does not divide the {mine} images of a step ({key}: {batch}). Use a divisor.'
        )
    together = mine // parts if opt['train'].get('batch_loss') == 'local' else mine * processes
    if distill is not None and together < distill.least_batch:
        raise OptionError(
            f'{key}: {batch}, but train.distill_opt compares the images of a batch with each other (intra_pairing: '
            f'batch_matrix, or ContrastiveDistillationLoss) and needs at least {distill.least_batch}. Use a larger '
            'batch, or intra_pairing: cross_domain.'
        )


def check_datasets(opt: Mapping, is_train: bool) -> dict[str, int]:
    """The images that the options name are there and fit together.

    Returns:
        Number of images by source: ``train.gt``, ``train.lq``, and the names of the other datasets' sections.

    Raises:
        MissingFileError, DataError, OptionError: naming the dataset's key and the file.
    """
    from pdd_arch.data.paired_check import check_paired_dataset
    from pdd_arch.data.unpaired_adaptation_dataset import UnpairedAdaptationDataset

    counts = {}
    for phase, dataset in opt['datasets'].items():
        key = f'datasets.{phase}'
        if dataset.get('type') == 'UnpairedAdaptationDataset':
            found = UnpairedAdaptationDataset({**dataset, 'cache': 'none'})  # looks at every file's header
            counts |= {f'{phase}.gt': len(found.gt), f'{phase}.lq': len(found.lq)}
            length = len(found)
        elif dataset.get('type') in ('PairedImageDataset', 'SingleImageDataset'):
            length = counts[phase] = check_paired_dataset(dataset, key)
        else:
            continue
        if is_train and phase == 'train':
            check_epoch(opt, length)
    return counts


def check_epoch(opt: Mapping, length: int) -> None:
    """An epoch holds at least one batch; BasicSR drops incomplete ones and would train for zero iterations.

    Raises:
        DataError: it does not.
    """
    train_set = opt['datasets']['train']
    ratio = train_set.get('dataset_enlarge_ratio', 1)
    mine, processes = samples_of_a_step(opt)
    if length * ratio / processes < mine:
        raise DataError(
            f'datasets.train.dataset_enlarge_ratio: {ratio} makes epochs of {int(length * ratio)} samples '
            f'({length} images), fewer than the {mine * processes} of one step. Set it to '
            f'{-(-mine * processes // length)} or more, or use a smaller batch_size_per_gpu.'
        )


def plan_warnings(opt: Mapping) -> list[str]:
    """Things that are allowed and probably not meant."""
    found = []
    train = opt.get('train') or {}
    if opt['model_type'] == 'PDDModel' and train.get('distill_opt'):
        settings = AdaptationSettings.from_options(opt)
        if settings.distill_start >= train['total_iter']:
            found.append(
                f'train.total_iter: {train["total_iter"]}, but distillation begins after iteration '
                f'{settings.distill_start} (net_d_init_iters {settings.net_d_init_iters} + distill_warmup_iters '
                f'{settings.distill_warmup_iters}): nothing would be distilled.'
            )
    return found


def output_folder(opt: Mapping) -> str:
    """Where the run writes, as a path relative to the current directory where possible."""
    path = opt['path'].get('experiments_root') or opt['path'].get('results_root')
    return os.path.relpath(path) if path else ''
