"""From option sections to losses, with errors that name the option."""

import contextlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn

from pdd_arch.errors import OptionError
from pdd_arch.losses.distillation import DistillationLoss
from pdd_arch.losses.extra import ExtraLoss, default_name
from pdd_arch.losses.supervised import FeaturePerceptualLoss
from pdd_arch.utils.registration import registered_as

# keys of BasicSR's PerceptualLoss that belong to the shared feature network (checked against train.feature_net)
_NOT_THE_LOSS = ('type', 'vgg_type', 'use_input_norm', 'range_norm')

#: names in the log of the losses that have options of their own
RESERVED = (
    *('l_inter', 'l_intra', 'l_distill', 'l_g_pix', 'l_g_percep', 'l_g_style'),
    *('l_g_gan', 'l_d_real', 'l_d_fake'),
)


def build_registered(key: str, options: Mapping[str, Any]) -> nn.Module:
    """A registered loss from ``train.<key>``; OptionError for an unknown type or keyword, or an impossible value."""
    return _registered(f'train.{key}', options)


def _registered(where: str, options: Mapping[str, Any]) -> nn.Module:
    kind = options.get('type')
    loss = registered_as('loss', LOSS_REGISTRY, kind, f'{where}.type')
    # not BasicSR's build_loss: it logs, and options are checked before the logger exists
    with _errors_of(where, kind):
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
    return _perceptual_loss('train.perceptual_opt', options)


def _perceptual_loss(where: str, options: Mapping[str, Any]) -> FeaturePerceptualLoss:
    with _errors_of(where, 'PerceptualLoss'):
        return FeaturePerceptualLoss(**{k: v for k, v in options.items() if k not in _NOT_THE_LOSS})


def build_extra_losses(sections: Sequence[Mapping[str, Any]]) -> tuple[ExtraLoss, ...]:
    """The losses of ``train.extra_losses``; raises as `build_registered`, and where two have one name."""
    built: list[ExtraLoss] = []
    for i, section in enumerate(sections):
        where, kind = f'train.extra_losses[{i}]', section['type']
        name = str(section.get('name') or default_name(kind))
        name = name if name.startswith('l_') else f'l_{name}'
        taken = next((f'{other.where} is' for other in built if other.name == name), None)
        if name in RESERVED:
            taken = 'a loss of another option is'
        if taken is not None:
            raise OptionError(
                f'it would be logged as {name}, as {taken}', where=where, way_out='Give it a `name` of its own.'
            )
        given = {k: v for k, v in section.items() if k not in ('type', 'on', 'name')}
        # most losses have this keyword; to the others it is a factor
        own = FeaturePerceptualLoss if kind == 'PerceptualLoss' else registered_as('loss', LOSS_REGISTRY, kind, where)
        factor = 1.0 if 'loss_weight' in inspect.signature(own).parameters else float(given.pop('loss_weight', 1.0))
        loss: nn.Module | FeaturePerceptualLoss
        if kind == 'PerceptualLoss':
            loss = _perceptual_loss(where, given)
        else:
            loss = _registered(where, {'type': kind, **given})
        built.append(ExtraLoss(where, name, section.get('on', 'synthetic'), loss, factor))
    return tuple(built)


@contextlib.contextmanager
def _errors_of(where: str, kind: object) -> Iterator[None]:
    try:
        yield
    except OptionError as e:
        raise e.within(where) from e
    except (TypeError, NotImplementedError, ValueError) as e:
        raise OptionError(f'{kind}: {e}', where=where) from e
