"""Perceptual and style loss on features that have been computed.

BasicSR's ``PerceptualLoss`` runs its own VGG on both images; here the features come from the bank, so that the
student's output goes through the feature network once for this loss and the distillation together.
"""

from collections.abc import Mapping

import torch

from pdd_arch.losses.distillation import check_choice, checked_layers
from pdd_arch.losses.functional import INTRA_CRITERIA, frobenius_of_parts, gram_matrix, weighted_sum

CRITERIA = {name: INTRA_CRITERIA[name] for name in ('l1', 'l2', 'fro')}


class FeaturePerceptualLoss:
    """BasicSR's ``PerceptualLoss`` as a function of features.

    Args:
        layer_weights: layer name -> weight.
        perceptual_weight, style_weight: weights of the two terms; 0 switches a term off.
        criterion: ``l1`` | ``l2`` | ``fro``.

    Raises:
        OptionError: unknown criterion or bad layer weights.
    """

    def __init__(
        self,
        layer_weights: Mapping[str, float],
        perceptual_weight: float = 1.0,
        style_weight: float = 0.0,
        criterion: str = 'l1',
    ) -> None:
        check_choice('criterion', criterion, CRITERIA)
        self.layer_weights = checked_layers('layer_weights', layer_weights)
        self.perceptual_weight, self.style_weight = perceptual_weight, style_weight
        self.criterion = CRITERIA[criterion]
        #: as in `DistillationLoss`: a Frobenius norm of a batch is not the mean of those of its parts
        self.couples_images = criterion == 'fro'

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers whose features are compared."""
        return tuple(self.layer_weights) if self.perceptual_weight or self.style_weight else ()

    def terms(self, student: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """``l_g_percep`` and ``l_g_style``, weighted; a term of weight 0 is absent.

        Args:
            student, target: features ``{layer: (N, C, h, w)}`` of S(x_s) and y_s.
        """
        return self.combine(self.statistics(student, target))

    def statistics(
        self, student: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """By layer and term: the value of a part of a batch, (1,)."""
        found = {}
        for k in self.layer_weights:
            if self.perceptual_weight:
                found[f'percep {k}'] = self.criterion(student[k], target[k]).reshape(1)
            if self.style_weight:
                found[f'style {k}'] = self.criterion(gram_matrix(student[k]), gram_matrix(target[k])).reshape(1)
        return found

    def combine(self, statistics: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """:meth:`terms` of a whole batch from the concatenated statistics of its parts."""
        terms = {}
        if self.perceptual_weight:
            terms['l_g_percep'] = self.perceptual_weight * self._total('percep', statistics)
        if self.style_weight:
            terms['l_g_style'] = self.style_weight * self._total('style', statistics)
        return terms

    def _total(self, name: str, statistics: Mapping[str, torch.Tensor]) -> torch.Tensor:
        whole = frobenius_of_parts if self.couples_images else torch.mean
        return weighted_sum(self.layer_weights, lambda k: whole(statistics[f'{name} {k}']))
