"""Checks of the losses and of the features that they look at."""

from collections.abc import Iterable, Mapping

import torch
import torchvision
from basicsr.utils.registry import LOSS_REGISTRY

from pdd_arch.errors import OptionError
from pdd_arch.features.feature_net import check_layers
from pdd_arch.losses.build import build_distill_loss, build_perceptual_loss, build_registered
from pdd_arch.losses.distillation import DistillationLoss
from pdd_arch.options.signatures import check_keywords, check_kinds
from pdd_arch.utils.registration import registered
from pdd_arch.utils.wording import did_you_mean

#: losses that another option is for, and which
BELONG_ELSEWHERE = {
    'PerceptualLoss': 'perceptual_opt',
    'GANLoss': 'gan_opt',
    'MultiScaleGANLoss': 'gan_opt',
    'GANFeatLoss': 'perceptual_opt',
}


def check_losses(train: Mapping, feature_net: str) -> DistillationLoss | None:
    """The losses can be built, and the feature network has the layers that they name.

    Returns:
        The distillation loss, if there is one.

    Raises:
        OptionError: naming the option.
    """
    for key in ('distill_opt', 'pixel_opt', 'gan_opt'):
        if train.get(key):
            check_loss(key, train[key])
    distill = build_distill_loss(train['distill_opt']) if train.get('distill_opt') else None
    if distill is not None:
        check_layers(distill.layers, feature_net, 'train.distill_opt')
    if train.get('perceptual_opt'):
        layers = build_perceptual_loss(train['perceptual_opt']).layers
        check_layers(layers, feature_net, 'train.perceptual_opt.layer_weights')
    for key in ('pixel_opt', 'gan_opt'):
        if train.get(key):
            _build(key, train[key])
    return distill


def _build(key: str, options: Mapping) -> None:
    """Build a loss to see whether it can be built; what its class says of a wrong value may be long."""
    try:
        build_registered(key, options)
    except OptionError as e:
        raise OptionError(' '.join(str(e).split())[:400]) from None


def check_loss(key: str, options: Mapping) -> None:
    """The loss of a section is registered, belongs there, and takes the options given.

    Raises:
        OptionError: naming the option.
    """
    kind = options['type']
    loss = registered(LOSS_REGISTRY, kind)
    if loss is None:
        raise OptionError(
            f'train.{key}.type: no loss {kind!r} is registered.{did_you_mean(kind, LOSS_REGISTRY.keys())}'
        )
    distils = isinstance(loss, type) and issubclass(loss, DistillationLoss)
    place = 'distill_opt' if distils else BELONG_ELSEWHERE.get(kind, key)
    if place != key:
        raise OptionError(f'train.{key}.type: {kind} does not belong here. Put it into train.{place}.')
    if key == 'gan_opt' and kind in ('L1Loss', 'MSELoss', 'CharbonnierLoss', 'WeightedTVLoss', 'HaarWaveletLoss'):
        raise OptionError(f'train.gan_opt.type: {kind} is no adversarial loss. Use GANLoss, or train.pixel_opt.')
    given = {k: v for k, v in options.items() if k != 'type'}
    check_keywords(f'train.{key}', kind, loss, given)
    check_kinds(f'train.{key}', loss, given)


def deepest_layer(layers: Iterable[str], network: str) -> tuple[str, int]:
    """The last of the layers that an image reaches, and its position."""
    positions = check_layers(layers, network)
    return max(((name, positions[name]) for name in layers), key=lambda item: item[1])


def check_feature_size(opt: Mapping, distill: DistillationLoss | None, network: str) -> None:
    """The crop is large enough for the deepest feature layer that a loss looks at.

    Raises:
        OptionError: naming ``gt_size`` and the layer.
    """
    train = opt['train']
    layers = dict.fromkeys(distill.layers if distill is not None else ())
    if train.get('perceptual_opt'):
        layers |= dict.fromkeys(build_perceptual_loss(train['perceptual_opt']).layers)
    size = opt['datasets']['train'].get('gt_size')
    if not layers or type(size) is not int or fits(network, layers, size):
        return
    name, _ = deepest_layer(layers, network)
    least = next(n for n in range(size + 1, 1024) if fits(network, layers, n))
    least = -(-least // opt['scale']) * opt['scale']
    raise OptionError(
        f'datasets.train.gt_size: {size} pixels leave nothing at layer {name} of {network}, the deepest of the losses. '
        f'Use at least {least}, or layers nearer to the image.'
    )


def fits(network: str, layers: Iterable[str], size: int) -> bool:
    """Whether an image of `size` pixels still has features at the deepest of the layers."""
    _, position = deepest_layer(layers, network)
    with torch.device('meta'):
        features = getattr(torchvision.models, network)(weights=None).features[: position + 1]
        try:
            return features(torch.empty(1, 3, size, size)).numel() > 0
        except RuntimeError:
            return False
