"""Distillation losses that the paper compares with, usable as ``train.distill_opt`` in the same training loop."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from basicsr.utils.registry import LOSS_REGISTRY

from pdd_arch.errors import OptionError
from pdd_arch.features import FeatureNet, Features
from pdd_arch.losses.distance_loss import INTRA_LAYERS
from pdd_arch.losses.distillation import DistillationLoss, Views, checked_layers
from pdd_arch.losses.functional import weighted_sum
from pdd_arch.utils.registration import register
from pdd_arch.utils.wording import check_choice


class _RealDomainLoss(DistillationLoss):
    """A loss of the target-domain outputs alone, with one term called ``l_distill``."""

    uses_synthetic = False

    def forward(
        self,
        student_real: torch.Tensor,
        teacher_real: torch.Tensor,
        student_syn: torch.Tensor | None = None,
        teacher_syn: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The weighted scalar loss.

        Args:
            student_real, teacher_real: outputs on target-domain input, (N, 3, H, W), [0, 1].
            student_syn, teacher_syn: accepted because all distillation losses are called alike; not used.
        """
        return self.compute(student_real, teacher_real)['l_distill']


@register(LOSS_REGISTRY)
class OutputDistillationLoss(_RealDomainLoss):
    """Plain output distillation: mean |S(x_t) - G(x_t)|.

    Args:
        loss_weight: weight of the term.
        feature_net: accepted because all distillation losses are built alike; not used.
    """

    def __init__(self, loss_weight: float = 1.0, feature_net: Mapping[str, Any] | FeatureNet | None = None) -> None:
        super().__init__(None, ())
        self.loss_weight = loss_weight

    def terms(self, images: Views[torch.Tensor], features: Views[Features]) -> dict[str, torch.Tensor]:
        return {'l_distill': self.loss_weight * F.l1_loss(images.student_real, images.teacher_real)}


@register(LOSS_REGISTRY)
class FeatureDistillationLoss(_RealDomainLoss):
    """Absolute feature distillation after FitNets (Romero et al., ICLR 2015): match f_k(t) to f_k(t') directly.

    The features are those of the frozen network phi, so no regressor between student and teacher is needed.

    Args:
        layers: layer name -> weight.
        loss_weight: weight of the term.
        criterion: ``l1`` | ``l2`` (FitNets): mean over elements.
        feature_net: see `PairwiseDistanceLoss`.
    """

    def __init__(
        self,
        layers: Mapping[str, float] = INTRA_LAYERS,
        loss_weight: float = 1.0,
        criterion: str = 'l2',
        feature_net: Mapping[str, Any] | FeatureNet | None = None,
    ) -> None:
        criteria = {'l1': F.l1_loss, 'l2': F.mse_loss}
        check_choice('criterion', criterion, criteria)
        weights = checked_layers('layers', layers)
        super().__init__(feature_net, weights)
        self.layer_weights, self.loss_weight, self.criterion = weights, loss_weight, criteria[criterion]

    def terms(self, images: Views[torch.Tensor], features: Views[Features]) -> dict[str, torch.Tensor]:
        student, teacher = features.student_real, features.teacher_real
        total = weighted_sum(self.layer_weights, lambda k: self.criterion(student[k], teacher[k]))
        return {'l_distill': self.loss_weight * total}


@register(LOSS_REGISTRY)
class ContrastiveDistillationLoss(_RealDomainLoss):
    """Contrastive distillation in the manner of CRD (Tian et al., ICLR 2020), inside the batch.

    The student's feature of an image should be closer to the teacher's feature of the same image than to the
    teacher's features of the other images. Features are averaged over positions and normalised; InfoNCE over the
    batch. Unlike the original there is no memory bank and no learned projection, so the number of negatives is the
    batch size minus one.

    Args:
        layers: layer name -> weight.
        loss_weight: weight of the term.
        temperature: temperature of the softmax (0.07 in CRD).
        feature_net: see `PairwiseDistanceLoss`.
    """

    least_batch = 2
    couples_images = True

    def __init__(
        self,
        layers: Mapping[str, float] = INTRA_LAYERS,
        loss_weight: float = 1.0,
        temperature: float = 0.07,
        feature_net: Mapping[str, Any] | FeatureNet | None = None,
    ) -> None:
        if not temperature > 0:
            raise OptionError(where='temperature', expected='a positive number', found=repr(temperature))
        weights = checked_layers('layers', layers)
        super().__init__(feature_net, weights)
        self.layer_weights, self.loss_weight, self.temperature = weights, loss_weight, temperature

    def statistics(self, images: Views[torch.Tensor], features: Views[Features]) -> dict[str, torch.Tensor]:
        """By layer and model: the normalised mean features of each image, (N, C)."""
        models = {'student': features.student_real, 'teacher': features.teacher_real}
        return {
            f'{name} {layer}': F.normalize(maps[layer].mean(dim=(2, 3)), dim=1)
            for layer in self.layer_weights
            for name, maps in models.items()
        }

    def combine(self, statistics: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        def contrast(layer: str) -> torch.Tensor:
            student, teacher = statistics[f'student {layer}'], statistics[f'teacher {layer}']
            if (n := len(student)) < 2:
                raise ValueError(
                    'ContrastiveDistillationLoss takes its negatives from the batch and needs at least 2 images, '
                    f'found {n}. Use batch_size_per_gpu >= 2.'
                )
            return F.cross_entropy(student @ teacher.T / self.temperature, torch.arange(n, device=student.device))

        return {'l_distill': self.loss_weight * weighted_sum(self.layer_weights, contrast)}
