"""Losses beside the named ones, ``train.extra_losses``: any registered loss, on either domain."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pdd_arch.errors import OptionError
from pdd_arch.losses.distillation import DistillationLoss
from pdd_arch.losses.supervised import FeaturePerceptualLoss

#: images that a loss of a prediction and a target compares, by domain: the supervised pair, student against teacher
PAIRS = {'synthetic': ('student_syn', 'target'), 'target': ('student_real', 'teacher_real')}


@dataclass
class ExtraLoss:
    """A loss with a name in the log, whatever its kind.

    Attributes:
        where: its place in the option file: ``train.extra_losses[0]``.
        name: ``l_...``; where the loss has several terms, their names are put behind it.
        on: the domain, a key of `PAIRS`.
        loss: of images (any module), of features of a pair (`FeaturePerceptualLoss`), or of all four views.
        factor: weight of the terms.
    """

    where: str
    name: str
    on: str
    loss: nn.Module | FeaturePerceptualLoss
    factor: float = 1.0

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers whose features it compares; none: it compares images."""
        return self.loss.layers if isinstance(self.loss, DistillationLoss | FeaturePerceptualLoss) else ()

    @property
    def couples_images(self) -> bool:
        """As of `DistillationLoss`; a loss of images has to be a mean over them."""
        return isinstance(self.loss, DistillationLoss | FeaturePerceptualLoss) and self.loss.couples_images

    def terms(self, *inputs: Any) -> dict[str, torch.Tensor]:
        """Weighted scalar terms by their names in the log.

        `inputs` are what the kind of loss takes: prediction and target, their features, or two `Views`. Raises
        OptionError where a loss of images gives something else than a tensor.
        """
        if isinstance(self.loss, DistillationLoss | FeaturePerceptualLoss):
            return self._named(self.loss.terms(*inputs))
        value = self.loss(*(inputs if takes_target(self.loss) else inputs[:1]))
        if not isinstance(value, torch.Tensor):
            raise OptionError(f'{type(self.loss).__name__} gives a {type(value).__name__}', **self._one_number)
        return self._named({self.name: value})

    def statistics(self, *inputs: Any) -> dict[str, torch.Tensor]:
        """As of the loss, which is one that couples images."""
        assert isinstance(self.loss, DistillationLoss | FeaturePerceptualLoss)
        return self.loss.statistics(*inputs)

    def combine(self, statistics: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """:meth:`terms` of a whole batch."""
        assert isinstance(self.loss, DistillationLoss | FeaturePerceptualLoss)
        return self._named(self.loss.combine(statistics))

    def check_terms(self, terms: Mapping[str, torch.Tensor]) -> None:
        """Raises OptionError where a term is not one number, or has no gradient."""
        for name, value in terms.items():
            if value.numel() != 1:
                raise OptionError(f'{name} has shape {tuple(value.shape)}', **self._one_number)
            if not value.requires_grad:
                raise OptionError(f'{name} has no gradient: it does not depend on the prediction', where=self.where)

    @property
    def _one_number(self) -> dict[str, str]:
        return {'where': self.where, 'expected': 'one number as loss'}

    def _named(self, terms: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        single = len(terms) == 1
        named = {self.name if single else f'{self.name}_{k.removeprefix("l_")}': v for k, v in terms.items()}
        return named if self.factor == 1 else {k: self.factor * v for k, v in named.items()}


def default_name(kind: str) -> str:
    """The name of a loss without one: ``haar_wavelet`` of ``HaarWaveletLoss``."""
    return re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', kind.removesuffix('Loss') or kind).lower()


def takes_target(loss: nn.Module) -> bool:
    """Whether a loss of images compares a prediction with a target, or judges the prediction alone.

    By BasicSR's convention: ``forward(pred, target, weight=None)``, or ``forward(pred, weight=None)``.
    """
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(loss.forward).parameters.values()
    named = [p for p in parameters if p.kind in kinds]
    return any(p.kind is p.VAR_POSITIONAL for p in parameters) or (len(named) > 1 and named[1].name != 'weight')
