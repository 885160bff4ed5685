"""From option sections to losses, with errors that name the option."""

import contextlib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn

from pdd_arch.errors import OptionError
from pdd_arch.losses.distillation import DistillationLoss
from pdd_arch.losses.supervised import FeaturePerceptualLoss
from pdd_arch.utils.registration import registered_as

# keys of BasicSR's PerceptualLoss that belong to the shared feature network (checked against train.feature_net)
_NOT_THE_LOSS = ('type', 'vgg_type', 'use_input_norm', 'range_norm')


def build_registered(key: str, options: Mapping[str, Any]) -> nn.Module:
    """A registered loss from ``train.<key>``; OptionError for an unknown type or keyword, or an impossible value."""
    kind = options.get('type')
    loss = registered_as('loss', LOSS_REGISTRY, kind, f'train.{key}.type')
    # not BasicSR's build_loss: it logs, and options are checked before the logger exists
    with _errors_of(f'train.{key}', kind):
        built: nn.Module = loss(**{k: deepcopy(v) for k, v in options.items() if k != 'type'})
    return built


def build_distill_loss(options: Mapping[str, Any]) -> DistillationLoss:
    """The loss of ``train.distill_opt``, without a feature network of its own; raises as `build_registered`."""
    loss = build_registered('distill_opt', {k: v for k, v in options.items() if k != 'feature_net'})
    if not isinstance(loss, DistillationLoss):
        raise OptionError(
            f'{options["type"]} is not a distillation loss',
            where='train.distill_opt.type',
            expected='a subclass of pdd_arch.losses.DistillationLoss such as PairwiseDistanceLoss',
        )
    return loss


def build_perceptual_loss(options: Mapping[str, Any]) -> FeaturePerceptualLoss:
    """The loss of ``train.perceptual_opt``; raises as `build_registered`."""
    with _errors_of('train.perceptual_opt', 'PerceptualLoss'):
        return FeaturePerceptualLoss(**{k: v for k, v in options.items() if k not in _NOT_THE_LOSS})


@contextlib.contextmanager
def _errors_of(where: str, kind: object) -> Iterator[None]:
    try:
        yield
    except OptionError as e:
        raise e.within(where) from e
    except (TypeError, NotImplementedError, ValueError) as e:
        raise OptionError(f'{kind}: {e}', where=where) from e
