"""From option sections to losses, with errors that name the option."""

from collections.abc import Mapping
from copy import deepcopy

from basicsr.utils.registry import LOSS_REGISTRY

from pdd_arch.errors import OptionError
from pdd_arch.losses.distillation import DistillationLoss
from pdd_arch.losses.perceptual import FeaturePerceptualLoss
from pdd_arch.utils.registration import registered
from pdd_arch.utils.wording import did_you_mean

# keys of BasicSR's PerceptualLoss that belong to the shared feature network (checked against train.feature_net)
_NOT_THE_LOSS = ('type', 'vgg_type', 'use_input_norm', 'range_norm')


def build_registered(key: str, options: Mapping):
    """A registered loss from ``train.<key>``.

    Raises:
        OptionError: unknown type, unknown keyword or impossible value, naming the option.
    """
    kind = options.get('type')
    loss = registered(LOSS_REGISTRY, kind)
    if loss is None:
        raise OptionError(
            f'train.{key}.type: no loss {kind!r} is registered.{did_you_mean(kind, LOSS_REGISTRY.keys())}'
        )
    try:
        # not BasicSR's build_loss: it logs, and options are checked before the logger exists
        return loss(**{k: deepcopy(v) for k, v in options.items() if k != 'type'})
    except OptionError as e:
        raise OptionError(f'train.{key}.{e}') from e
    except (TypeError, NotImplementedError, ValueError) as e:
        raise OptionError(f'train.{key}: {kind}: {e}') from e


def build_distill_loss(options: Mapping) -> DistillationLoss:
    """The loss of ``train.distill_opt``, without a feature network of its own.

    Raises:
        OptionError: as `build_registered`, or the loss is not a `DistillationLoss`.
    """
    loss = build_registered('distill_opt', {k: v for k, v in options.items() if k != 'feature_net'})
    if not isinstance(loss, DistillationLoss):
        raise OptionError(
            f'train.distill_opt.type: {options["type"]} is not a distillation loss, expected a subclass of '
            'pdd_arch.losses.DistillationLoss such as PairwiseDistanceLoss'
        )
    return loss


def build_perceptual_loss(options: Mapping) -> FeaturePerceptualLoss:
    """The loss of ``train.perceptual_opt``.

    Raises:
        OptionError: unknown keyword or impossible value.
    """
    try:
        return FeaturePerceptualLoss(**{k: v for k, v in options.items() if k not in _NOT_THE_LOSS})
    except TypeError as e:
        raise OptionError(f'train.perceptual_opt: {e}') from e
