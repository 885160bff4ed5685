"""The losses of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pdd_arch.losses import DistillationLoss, FeaturePerceptualLoss
from pdd_arch.losses.build import build_distill_loss, build_perceptual_loss, build_registered


@dataclass
class Losses:
    """The terms of the objective (paper, section 3), of ``train.*_opt``; None: the term is absent."""

    distillation: DistillationLoss | None = None
    perceptual: FeaturePerceptualLoss | None = None
    pixel: nn.Module | None = None
    adversarial: nn.Module | None = None

    @classmethod
    def from_options(cls, train: Mapping[str, Any], device: torch.device) -> 'Losses':
        """The losses of a ``train`` section; OptionError where one is not registered, or does not take its options."""
        distillation = build_distill_loss(train['distill_opt']).to(device) if train.get('distill_opt') else None
        perceptual = build_perceptual_loss(train['perceptual_opt']) if train.get('perceptual_opt') else None
        pixel, adversarial = (
            build_registered(key, train[key]).to(device) if train.get(key) else None for key in ('pixel_opt', 'gan_opt')
        )
        return cls(distillation, perceptual, pixel, adversarial)

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers of the feature network that some loss compares."""
        return tuple(
            layer for loss in (self.distillation, self.perceptual) if loss is not None for layer in loss.layers
        )
