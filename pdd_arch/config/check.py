"""Checks of a whole option file that can be made before anything is created, loaded or trained."""

import inspect
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pdd_arch.config.check_basicsr import (
    check_count,
    check_dataset_types,
    check_known_keys,
    check_loader,
    check_mistyped,
    check_schedule,
    check_validation,
)
from pdd_arch.config.settings import AdaptationSettings
from pdd_arch.errors import MissingFileError, OptionError
from pdd_arch.utils.registration import registered
from pdd_arch.utils.resources import resolve_bundled
from pdd_arch.utils.suggest import did_you_mean

if TYPE_CHECKING:
    from pdd_arch.losses import DistillationLoss

TRAIN_SECTIONS = ('name', 'model_type', 'num_gpu', 'datasets', 'network_g', 'path', 'train', 'logger')
TEST_SECTIONS = ('name', 'model_type', 'num_gpu', 'datasets', 'network_g', 'path', 'val')

# what a PDDModel reads from the train section besides AdaptationSettings
TRAIN_KEYS = (
    *('distill_opt', 'pixel_opt', 'perceptual_opt', 'gan_opt', 'optim_g', 'optim_d'),
    *('scheduler', 'total_iter', 'warmup_iter'),
)


def check_options(opt: Mapping, is_train: bool) -> None:
    """Check what can be known without building anything.

    Only what holds for every BasicSR run is checked for other models; the rest is for `PDDModel`.

    Raises:
        OptionError, MissingFileError, DataError: naming the option key and the way out.
    """
    for section in TRAIN_SECTIONS if is_train else TEST_SECTIONS:
        if opt.get(section) is None:
            raise OptionError(f'{section}: missing from the option file.{did_you_mean(section, opt)}')
    check_device(opt)
    if opt['model_type'] != 'PDDModel':
        return
    check_known_keys(opt)
    if is_train and 'train' not in opt['datasets']:
        raise OptionError('datasets.train: missing from the option file')
    check_count(opt, 'scale', '')
    check_dataset_types(opt, is_train)
    check_weight_files(opt)
    for key in ('network_g', 'network_teacher', 'network_d'):
        if opt.get(key):
            check_network(key, opt[key], opt['scale'] if key != 'network_d' else None)
    if is_train:
        settings = AdaptationSettings.from_options(opt)
        check_mistyped('train.', opt['train'], (*(f.name for f in fields(AdaptationSettings)), *TRAIN_KEYS))
        check_schedule(opt)
        check_loader(opt)
        check_batch(opt, check_losses(opt['train'], settings.feature_net['type']))
    check_validation(opt, is_train)
    check_datasets(opt, is_train)


def check_device(opt: Mapping) -> None:
    """CUDA must be there when it is asked for; running on the CPU instead would be a silent surprise.

    Raises:
        OptionError: ``num_gpu`` is not a count, or more than this machine has.
    """
    asked = opt['num_gpu']
    if asked == 'auto':
        return
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 0:
        raise OptionError(f"num_gpu: expected 'auto' or a whole number of at least 0, found {asked!r}")
    have = torch.cuda.device_count() if torch.cuda.is_available() else 0
    needed = 1 if opt.get('dist') else asked
    if asked and have < needed:
        raise OptionError(
            f'num_gpu: {asked} CUDA device(s) asked for, this machine has {have}. Set num_gpu: 0 to run on the CPU, '
            'or install a CUDA build of torch and a driver.'
        )


def check_network(key: str, options: Mapping, scale: int | None = None) -> None:
    """The network of a section is registered and takes the options given.

    Raises:
        OptionError: unknown type, or an option that it does not have.
    """
    from basicsr.utils.registry import ARCH_REGISTRY

    kind = options.get('type')
    network = registered(ARCH_REGISTRY, kind)
    if network is None:
        raise OptionError(f'{key}.type: no network {kind!r} is registered.{did_you_mean(kind, ARCH_REGISTRY.keys())}')
    try:
        inspect.signature(network).bind(**{k: v for k, v in options.items() if k != 'type'})
    except TypeError as e:
        raise OptionError(f'{key}: {kind}: {e}') from e
    for name in ('scale', 'upscale'):
        if scale is not None and name in options and options[name] != scale:
            raise OptionError(f'{key}.{name}: {options[name]}, but scale is {scale}. They must be the same.')


def check_losses(train: Mapping, feature_net: str) -> 'DistillationLoss | None':
    """The losses can be built, and the feature network has the layers that they name.

    Returns:
        The distillation loss, if there is one.

    Raises:
        OptionError: naming the option.
    """
    from pdd_arch.features.feature_net import check_layers
    from pdd_arch.losses.build import build_distill_loss, build_perceptual_loss, build_registered

    distill = build_distill_loss(train['distill_opt']) if train.get('distill_opt') else None
    if distill is not None:
        check_layers(distill.layers, feature_net, 'train.distill_opt')
    if train.get('perceptual_opt'):
        layers = build_perceptual_loss(train['perceptual_opt']).layers
        check_layers(layers, feature_net, 'train.perceptual_opt.layer_weights')
    for key in ('pixel_opt', 'gan_opt'):
        if train.get(key):
            build_registered(key, train[key])
    return distill


def check_weight_files(opt: Mapping) -> None:
    """Every weight file that an option names exists.

    Raises:
        MissingFileError: one does not.
        OptionError: weights for a network that is not there.
    """
    for key, value in opt['path'].items():
        if not key.startswith('pretrain_network') or value is None:
            continue
        network = key.removeprefix('pretrain_')
        if not opt.get(network):
            raise OptionError(f'path.{key}: given, but there is no {network} in the option file')
        _require_file(f'path.{key}', value)
    for network in ('network_g', 'network_teacher'):
        if (opt.get(network) or {}).get('path') is not None:
            _require_file(f'{network}.path', opt[network]['path'])
    feature_net = (opt.get('train') or {}).get('feature_net') or {}
    weights = feature_net.get('weights')
    if weights is not None and weights not in ('imagenet', 'random'):
        _require_file('train.feature_net.weights', weights)


def _require_file(key: str, value: str) -> None:
    if not Path(resolve_bundled(os.path.expanduser(str(value)))).is_file():
        raise MissingFileError(
            f'{key}: {value} does not exist (looked from {os.getcwd()}). Give the path of an existing weight file.'
        )


def check_batch(opt: Mapping, distill: 'DistillationLoss | None') -> None:
    """Losses that compare the images of a batch with each other need at least two of them.

    Raises:
        OptionError: ``batch_size_per_gpu`` is missing, not a count, or too small.
    """
    train_set = opt['datasets']['train']
    check_count(train_set, 'batch_size_per_gpu', 'datasets.train.')
    key, batch = 'datasets.train.batch_size_per_gpu', train_set['batch_size_per_gpu']
    if distill is not None and batch < distill.least_batch:
        raise OptionError(
            f'{key}: {batch}, but train.distill_opt compares the images of a batch with each other (intra_pairing: '
            f'batch_matrix, or ContrastiveDistillationLoss) and needs at least {distill.least_batch}. Use a larger '
            'batch, or intra_pairing: cross_domain.'
        )


def check_datasets(opt: Mapping, is_train: bool) -> None:
    """The images that the options name are there and fit together.

    Raises:
        MissingFileError, DataError, OptionError: naming the dataset's key and the file.
    """
    from pdd_arch.data.paired_check import check_paired_dataset
    from pdd_arch.data.unpaired_adaptation_dataset import UnpairedAdaptationDataset

    for phase, dataset in opt['datasets'].items():
        key = f'datasets.{phase}'
        if dataset.get('type') == 'UnpairedAdaptationDataset':
            if is_train:
                UnpairedAdaptationDataset({**dataset, 'cache': 'none'})  # looks at every file's header
        elif dataset.get('type') in ('PairedImageDataset', 'SingleImageDataset'):
            check_paired_dataset(dataset, key)
