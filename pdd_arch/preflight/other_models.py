"""Training and validation of other models than `PDDModel`: losses, optimizers, schedules, and what a model needs."""

import inspect
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from basicsr.archs.vgg_arch import NAMES, VGG_PRETRAIN_PATH, insert_bn
from basicsr.losses.basic_loss import PerceptualLoss
from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn

from pdd_arch.errors import OptionError
from pdd_arch.features.feature_net import imagenet_features, imagenet_file
from pdd_arch.options.basic import AnySchedule, BasicOptions
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.schema import Optimizer
from pdd_arch.options.signatures import check_arguments, check_optimizer
from pdd_arch.options.tracked import Asked
from pdd_arch.preflight.classes import derives_from, is_published, method_of, model_of
from pdd_arch.preflight.losses import BELONG_ELSEWHERE, NOT_ADVERSARIAL, one_number, trial_device
from pdd_arch.preflight.trial import NotAtHandError, explained, trial
from pdd_arch.utils.registration import registered_as
from pdd_arch.utils.wording import did_you_mean, one_of, show

#: losses of BasicSR's models, by the option that each of them knows
_ROLES = ('pixel_opt', 'perceptual_opt', 'gan_opt')
_SCHEDULES = ('MultiStepLR', 'MultiStepRestartLR', 'CosineAnnealingRestartLR')


def check_other_training(options: RunOptions) -> None:
    """The ``train`` section has what its model needs, and its losses and optimizers can be built."""
    for key, section in loss_sections(options):
        _check_loss(key, section)
    _check_needs(options)
    model = model_of(options)
    for name, optimizer in _optimizers(options):
        if method_of(model, 'get_optimizer'):
            if optimizer.type != 'Adam':
                raise OptionError(
                    f"{optimizer.type!r}, but BasicSR's models know Adam only",
                    where=f'train.{name}.type',
                    way_out=f'{did_you_mean(optimizer.type, ["Adam"])} A class of your own may override '
                    '`get_optimizer`; PDDModel takes any optimizer.'.strip(),
                )
            check_optimizer(optimizer, f'train.{name}', trial_device(options))
    schedule = _train(options).scheduler
    if isinstance(schedule, AnySchedule) and method_of(model, 'setup_schedulers'):
        raise OptionError(
            f'unknown schedule {schedule.type!r}',
            where='train.scheduler.type',
            expected=one_of(_SCHEDULES),
            way_out=did_you_mean(schedule.type, _SCHEDULES),
        )


def check_other_validation(options: RunOptions) -> None:
    """What the validation of a model needs is there."""
    model, file = model_of(options), options.file
    sets = {phase: s for phase, s in file.datasets.items() if not options.is_train or phase.startswith('val')}
    if derives_from(model, 'StyleGAN2Model'):
        if sets:
            raise OptionError(
                f'given, but {file.model_type} validates without data',
                where=f'datasets.{next(iter(sets))}',
                way_out='Remove it; curves and checkpoints show how the training goes.',
            )
        if file.val is None:
            raise OptionError('missing, StyleGAN2Model needs it', where='val', expected='a section')
    if not sets or file.val is None or not derives_from(model, 'VideoBaseModel'):
        return
    if not method_of(model, 'dist_validation'):
        return
    if options.is_train and file.val.save_img:
        raise OptionError(
            f'true, but {file.model_type} saves no images during training', where='val.save_img', way_out='Set false.'
        )
    if file.val.metrics is None and 'metrics' not in file.val.given():
        raise OptionError(
            f'missing, {file.model_type} needs it', where='val.metrics', expected='a section per metric, or ~'
        )


def loss_sections(options: RunOptions) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, section) of every ``train.*_opt`` that names a class by ``type``."""
    for key, section in (options.for_basicsr().get('train') or {}).items():
        if key.endswith('_opt') and isinstance(section, Mapping) and isinstance(section.get('type'), str):
            yield key, dict(section)


def vgg_to_download(options: RunOptions) -> list[tuple[str, tuple[str, Path]]]:
    """The losses whose VGG weights are not on this machine yet, with the address and the place of each."""
    found = []
    for key, network in _vgg_networks(options):
        url, place = imagenet_file(network)
        if not place.is_file():
            found.append((f'train.{key}', (url, place)))
    return found


def fetch_vgg(options: RunOptions) -> None:
    """Download the VGG weights of BasicSR's perceptual losses; PDDError where they cannot be had."""
    for key, network in _vgg_networks(options):
        if not imagenet_file(network)[1].is_file():
            imagenet_features(network, f'train.{key}')


def _vgg_networks(options: RunOptions) -> Iterator[tuple[str, str]]:
    """(key, VGG network) of losses that use torchvision's weights."""
    if not options.is_train or os.path.exists(VGG_PRETRAIN_PATH):
        return
    for key, section in loss_sections(options):
        loss = registered_as('loss', LOSS_REGISTRY, section['type'], f'train.{key}.type')
        if inspect.isclass(loss) and issubclass(loss, PerceptualLoss):
            yield key, section.get('vgg_type', 'vgg19')


def _train(options: RunOptions) -> Any:
    assert isinstance(options.file, BasicOptions)
    assert options.file.train is not None
    return options.file.train


def _optimizers(options: RunOptions) -> Iterator[tuple[str, Optimizer]]:
    train = _train(options)
    for key in train.given():
        section = getattr(train, key)
        if key.startswith('optim_') and section is not None:
            yield key, section if isinstance(section, Optimizer) else Optimizer.model_validate(section)


# ---------------------------------------------------------------- losses
def _check_loss(key: str, options: Mapping[str, Any]) -> None:
    """The loss of a section is registered, is one for that option, takes what is given, and gives one number."""
    kind, where = options['type'], f'train.{key}'
    loss = registered_as('loss', LOSS_REGISTRY, kind, f'{where}.type')
    place = BELONG_ELSEWHERE.get(kind, key)
    if key in _ROLES and place != key and is_published(loss):
        raise OptionError(f'{kind} does not belong here', where=f'{where}.type', way_out=f'Put it into train.{place}.')
    if key == 'gan_opt' and kind in NOT_ADVERSARIAL:
        raise OptionError(
            f'{kind} is no adversarial loss', where=f'{where}.type', way_out='Use GANLoss, or train.pixel_opt.'
        )
    if key == 'perceptual_opt' and is_published(loss) and kind != 'PerceptualLoss':
        raise OptionError(f'{kind} compares no features', where=f'{where}.type', way_out='Put it into train.pixel_opt.')
    given = check_arguments(where, loss, options)
    if inspect.isclass(loss) and issubclass(loss, PerceptualLoss):
        _check_vgg(given, where)
        return
    asked = Asked()
    try:
        with trial():
            built = loss(**given)
    except NotAtHandError:
        return  # a class of the user's own, which the run lets download
    except Exception as e:  # whatever a class makes of wrong values
        raise explained(e, kind, asked, 'cannot be built with these options', where) from e
    if key == 'pixel_opt' and isinstance(built, nn.Module):
        one_number(built, where)


def _check_vgg(given: Mapping[str, Any], where: str) -> None:
    """BasicSR's feature extractor has the network and the layers."""
    network, layers = given.get('vgg_type', 'vgg19'), given.get('layer_weights')
    known = [*NAMES, *(f'{name}_bn' for name in NAMES)]
    if network not in known:
        hint = did_you_mean(network, known)
        raise OptionError(where=f'{where}.vgg_type', expected=one_of(known), found=show(network), way_out=hint)
    if not isinstance(layers, Mapping) or not layers:
        raise OptionError(
            where=f'{where}.layer_weights', expected='a mapping of layer names to weights', found=show(layers)
        )
    names = insert_bn(NAMES[network[:-3]]) if network.endswith('_bn') else NAMES[network]
    for name, weight in layers.items():
        if name not in names:
            hint = did_you_mean(name, names)
            raise OptionError(
                f'unknown layer {name!r} of {network}; known: {names[0]} ... {names[-1]}',
                where=f'{where}.layer_weights',
                way_out=hint,
            )
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise OptionError(where=f'{where}.layer_weights.{name}', expected='a number', found=show(weight))
    criterion = given.get('criterion', 'l1')
    if criterion not in ('l1', 'fro'):  # BasicSR's l2 fails for a misspelt name of torch's
        raise OptionError(
            where=f'{where}.criterion',
            expected=one_of(('l1', 'fro')),
            found=show(criterion),
            way_out=f'BasicSR {"has an error in l2" if criterion == "l2" else "knows no other"}.',
        )


# ---------------------------------------------------------------- what a model needs
def _check_needs(options: RunOptions) -> None:
    """What a model looks for without saying so clearly where it is missing."""
    model, train, name = model_of(options), _train(options), options.file.model_type
    begins = method_of(model, 'init_training_settings')
    if not begins:
        return
    if begins.startswith(('SRModel', 'HiFaceGANModel')) and train.pixel_opt is None and train.perceptual_opt is None:
        raise OptionError(
            'no loss to train with',
            where='train',
            expected=f'pixel_opt or perceptual_opt, of which {name} needs one',
            way_out=did_you_mean('pixel_opt', (key for key in train.given() if key.endswith('opt'))),
        )
    if derives_from(model, 'SRGANModel', 'VideoRecurrentGANModel', 'HiFaceGANModel', 'StyleGAN2Model'):
        for key in ('network_d', 'gan_opt', 'optim_d'):
            missing = (options.file.network_d if key == 'network_d' else getattr(train, key)) is None
            if missing:
                prefix = '' if key == 'network_d' else 'train.'
                raise OptionError(
                    f'missing, {name} trains with a discriminator',
                    where=f'{prefix}{key}',
                    expected='a section',
                    way_out='network_d, train.optim_d and train.gan_opt belong together; SRModel trains without them.',
                )
    of_windows = derives_from(model, 'SwinIRModel') and method_of(model, 'test')
    if of_windows and 'window_size' not in options.file.network_g.given():
        raise OptionError(
            f'missing, {name} needs it',
            where='network_g.window_size',
            expected='the side of the windows, of which images become multiples',
        )
    for key in ('optim_g', 'scheduler'):
        if getattr(train, key) is None:
            raise OptionError(f'missing, {name} needs it', where=f'train.{key}', expected='a section')
