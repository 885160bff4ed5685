"""The losses of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pdd_arch.losses import DistillationLoss, FeaturePerceptualLoss
from pdd_arch.losses.build import build_distill_loss, build_extra_losses, build_perceptual_loss, build_registered
from pdd_arch.losses.extra import PAIRS, ExtraLoss

#: a loss over features: it has `layers`, `couples_images`, `terms`, `statistics` and `combine`
FeatureLoss = DistillationLoss | FeaturePerceptualLoss | ExtraLoss


@dataclass
class Losses:
    """The terms of the objective, of ``train.*_opt``; None: the term is absent."""

    distillation: DistillationLoss | None = None
    perceptual: FeaturePerceptualLoss | None = None
    pixel: nn.Module | None = None
    adversarial: nn.Module | None = None
    #: of ``train.extra_losses``
    extra: tuple[ExtraLoss, ...] = ()

    @classmethod
    def from_options(cls, train: Mapping[str, Any], device: torch.device) -> 'Losses':
        """The losses of a ``train`` section; OptionError where one is not registered, or does not take its options."""
        distillation = build_distill_loss(train['distill_opt']).to(device) if train.get('distill_opt') else None
        perceptual = build_perceptual_loss(train['perceptual_opt']) if train.get('perceptual_opt') else None
        pixel, adversarial = (
            build_registered(key, train[key]).to(device) if train.get(key) else None for key in ('pixel_opt', 'gan_opt')
        )
        extra = build_extra_losses(train.get('extra_losses') or ())
        for loss in extra:
            if isinstance(loss.loss, nn.Module):
                loss.loss.to(device)
        return cls(distillation, perceptual, pixel, adversarial, extra)

    @property
    def distils(self) -> bool:
        """Whether some loss looks at the target domain, once distillation begins."""
        return self.distillation is not None or any(loss.on == 'target' for loss in self.extra)

    @property
    def of_views(self) -> dict[str, DistillationLoss]:
        """Losses that compare the four outputs, by their place in the option file."""
        own = {} if self.distillation is None else {'train.distill_opt': self.distillation}
        return own | {x.where: x.loss for x in self.extra if isinstance(x.loss, DistillationLoss)}

    @property
    def uses_synthetic(self) -> bool:
        """Whether some loss compares outputs on synthetic input with those of the teacher."""
        return any(loss.uses_synthetic for loss in self.of_views.values())

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers of the feature network that some loss compares."""
        return tuple(layer for loss in self.over_features(True).values() for layer in loss.layers)

    @property
    def supervises_features(self) -> bool:
        """Whether some loss compares features of a synthetic pair."""
        return any('target' in self.compared_by(loss) for loss in self.over_features(True).values())

    def over_features(self, distils: bool) -> dict[str, FeatureLoss]:
        """The losses of an iteration, but those of named options that compare images alone; `distils`: it has begun."""
        found: dict[str, FeatureLoss] = {}
        if self.distillation is not None and distils:
            found['distill'] = self.distillation
        if self.perceptual is not None:
            found['perceptual'] = self.perceptual
        return found | {x.where: x for x in self.extra if distils or x.on == 'synthetic'}

    def compared_by(self, loss: FeatureLoss) -> tuple[str, ...]:
        """Images whose features a loss compares: fields of `Views`, and ``target`` (y_s)."""
        inner = loss.loss if isinstance(loss, ExtraLoss) else loss
        if isinstance(inner, DistillationLoss):
            synthetic = ('student_syn', 'teacher_syn') if inner.uses_synthetic else ()
            return ('student_real', 'teacher_real', *synthetic)
        pair = PAIRS[loss.on if isinstance(loss, ExtraLoss) else 'synthetic']
        return pair if loss.layers else ()
