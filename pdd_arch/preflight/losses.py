"""Checks of the losses and of the features that they compare."""

import contextlib
import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from basicsr.losses.gan_loss import GANLoss
from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn

from pdd_arch.errors import OptionError, PDDError
from pdd_arch.features.feature_net import FeatureNet, check_layers
from pdd_arch.losses.distillation import DistillationLoss
from pdd_arch.losses.extra import ExtraLoss
from pdd_arch.losses.supervised import FeaturePerceptualLoss
from pdd_arch.models.losses import Losses
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.schema import ExtraLossOptions, TrainOptions
from pdd_arch.options.settings import AdaptationSettings
from pdd_arch.options.signatures import check_arguments
from pdd_arch.utils.origin import error_in_user_code
from pdd_arch.utils.registration import registered_as

#: losses that another option is for, and which
BELONG_ELSEWHERE = {
    'PerceptualLoss': 'perceptual_opt',
    'GANLoss': 'gan_opt',
    'MultiScaleGANLoss': 'gan_opt',
    'GANFeatLoss': 'perceptual_opt',
}
NOT_ADVERSARIAL = ('L1Loss', 'MSELoss', 'CharbonnierLoss', 'WeightedTVLoss', 'HaarWaveletLoss')


def build_losses(train: TrainOptions) -> Losses:
    """The losses of the ``train`` section, on the default device and without a feature network."""
    sections = {key: getattr(train, key) for key in ('distill_opt', 'perceptual_opt', 'pixel_opt', 'gan_opt')}
    given: dict[str, Any] = {key: section.given() for key, section in sections.items() if section is not None}
    given['extra_losses'] = [section.given() for section in train.extra_losses or ()]
    try:
        return Losses.from_options(given, torch.get_default_device())
    except OptionError as e:  # what a class says of a wrong value may be long
        raise e.with_fields(what=' '.join(e.what.split())[:400]) from None


def check_losses(train: AdaptationSettings) -> Losses:
    """The losses can be built, and the feature network has the layers that they name."""
    for key in ('distill_opt', 'pixel_opt', 'gan_opt'):
        if getattr(train, key) is not None:
            _check_loss(key, getattr(train, key).given())
    for i, section in enumerate(train.extra_losses or ()):
        _check_extra(f'train.extra_losses[{i}]', section)
    losses, network = build_losses(train), train.feature_net.type
    if losses.distillation is not None:
        check_layers(losses.distillation.layers, network, 'train.distill_opt')
    if losses.perceptual is not None:
        check_layers(losses.perceptual.layers, network, 'train.perceptual_opt.layer_weights')
    if losses.pixel is not None:
        one_number(losses.pixel, 'train.pixel_opt')
    for loss in losses.extra:
        check_layers(loss.layers, network, loss.where)
    return losses


def one_number(loss: nn.Module, where: str) -> None:
    """The loss of the section at `where` is one number for an image."""
    image, shape = torch.zeros(1, 3, 16, 16), tuple[int, ...]()
    with contextlib.suppress(Exception):  # of a loss that cannot take this image, the training will tell
        shape = tuple(loss(image, image).shape)
    if math.prod(shape) != 1:
        what = 'the loss of an image has a value for each pixel' if shape == image.shape else 'the loss is no number'
        raise OptionError(f'{what}: shape {shape}', where=where, expected='one number (reduction: mean)')


def trial_device(options: RunOptions) -> str:
    """The kind of device on which a loss or an optimizer is tried before a run: that of the run."""
    return 'cuda' if options.file.num_gpu and torch.cuda.is_available() else 'cpu'


def try_out_extra(options: RunOptions, losses: Losses) -> None:
    """Extra losses of images take a prediction and a target, and give one number with a gradient."""
    side = getattr(options.pdd.datasets['train'], 'gt_size', None) or 64
    device = trial_device(options)
    for loss in losses.extra:
        if isinstance(loss.loss, nn.Module) and not isinstance(loss.loss, DistillationLoss):
            _try_out(loss, loss.loss.to(device), side, device)


def _check_extra(where: str, section: ExtraLossOptions) -> None:
    """A loss of ``train.extra_losses`` is registered, fits its domain, and takes the options given."""
    kind = section.type
    loss = registered_as('loss', LOSS_REGISTRY, kind, f'{where}.type')
    if not isinstance(loss, type) or not issubclass(loss, nn.Module):
        raise OptionError(f'{kind} is no class of losses (torch.nn.Module)', where=f'{where}.type')
    if issubclass(loss, GANLoss) or kind == 'GANFeatLoss':
        raise OptionError(f'{kind} does not belong here', where=f'{where}.type', way_out='Put it into train.gan_opt.')
    if issubclass(loss, DistillationLoss):
        if section.on != 'target':
            raise OptionError(
                f'synthetic, but {kind} compares student and teacher', where=f'{where}.on', way_out='Set on: target.'
            )
        if 'feature_net' in section.given():
            raise OptionError(
                'all losses share train.feature_net', where=f'{where}.feature_net', way_out='Remove it here.'
            )
    target = FeaturePerceptualLoss if kind == 'PerceptualLoss' else loss
    given = {k: v for k, v in section.given().items() if k not in ('on', 'name')}
    if 'loss_weight' not in inspect.signature(target).parameters:
        given.pop('loss_weight', None)
    check_arguments(where, target, given)


def _try_out(extra: ExtraLoss, loss: nn.Module, side: int, device: str) -> None:
    generator = torch.Generator().manual_seed(0)  # the run's own generators are left alone
    prediction, target = (torch.rand(2, 3, side, side, generator=generator).to(device) for _ in range(2))
    try:
        terms = extra.terms(prediction.requires_grad_(), target)
    except PDDError:
        raise
    except Exception as e:  # whatever a loss makes of two images
        if error := error_in_user_code(e):
            raise OptionError(error.what, where=f'{extra.where}: {error.where}', way_out=error.way_out) from e
        raise OptionError(
            f'{type(loss).__name__} fails on images of {side}x{side} pixels ({type(e).__name__}: '
            f'{" ".join(str(e).split())[:200]})',
            where=extra.where,
        ) from e
    extra.check_terms(terms)


def _check_loss(key: str, options: Mapping[str, Any]) -> None:
    """The loss of a section is registered, belongs there, and takes the options given."""
    kind, where = options['type'], f'train.{key}'
    loss = registered_as('loss', LOSS_REGISTRY, kind, f'{where}.type')
    distils = isinstance(loss, type) and issubclass(loss, DistillationLoss)
    place = 'distill_opt' if distils else BELONG_ELSEWHERE.get(kind, key)
    if place != key:
        raise OptionError(f'{kind} does not belong here', where=f'{where}.type', way_out=f'Put it into train.{place}.')
    if key == 'gan_opt' and kind in NOT_ADVERSARIAL:
        raise OptionError(
            f'{kind} is no adversarial loss', where=f'{where}.type', way_out='Use GANLoss, or train.pixel_opt.'
        )
    check_arguments(where, loss, options)


def check_feature_size(options: RunOptions, losses: Losses) -> None:
    """The crop is large enough for the deepest feature layer that a loss compares."""
    network, layers, scale = options.train.feature_net.type, losses.layers, options.pdd.scale
    size = getattr(options.pdd.datasets['train'], 'gt_size', None)
    if not layers or not isinstance(size, int):
        return
    with torch.device('meta'):
        feature_net = FeatureNet(layers, network, 'random')
    if _fits(feature_net, size):
        return
    least = next(n for n in range(size + 1, 1024) if _fits(feature_net, n))
    raise OptionError(
        f'{size} pixels leave nothing at layer {max(layers, key=check_layers(layers, network).__getitem__)} of '
        f'{network}, the deepest of the losses',
        where='datasets.train.gt_size',
        way_out=f'Use at least {-(-least // scale) * scale}, or layers nearer to the image.',
    )


def _fits(feature_net: FeatureNet, size: int) -> bool:
    """Whether an image of `size` pixels still has features at all layers."""
    try:
        return all(maps.numel() for maps in feature_net(torch.empty(1, 3, size, size, device='meta')).values())
    except RuntimeError:
        return False
