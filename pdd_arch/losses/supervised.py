"""Supervised losses of the synthetic domain: on the Haar transform of images, and on features of the shared network."""

from collections.abc import Mapping, Sequence

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn

from pdd_arch.errors import OptionError
from pdd_arch.features import Features
from pdd_arch.losses.distillation import checked_layers
from pdd_arch.losses.functional import INTRA_CRITERIA, frobenius_of_parts, gram_matrix, haar_transform, weighted_sum
from pdd_arch.utils.registration import register
from pdd_arch.utils.wording import check_choice

CRITERIA = {name: INTRA_CRITERIA[name] for name in ('l1', 'l2', 'fro')}


@register(LOSS_REGISTRY)
class HaarWaveletLoss(nn.Module):
    """``loss_weight * (w0 mean|LL| + w1 mean|HL, LH| + w2 mean|HH|)`` of the difference.

    Args:
        loss_weight: weight of the whole term (0.5 in the paper's option files).
        weights: weights of the low, the mixed and the high band ([1, 0.1, 0.01] in the paper's option files).

    Raises:
        OptionError: `weights` are not three numbers.
    """

    def __init__(self, loss_weight: float = 1.0, weights: Sequence[float] = (1.0, 0.5, 0.1)) -> None:
        super().__init__()
        if isinstance(weights, str) or not isinstance(weights, Sequence) or len(weights) != 3:
            raise OptionError(where='weights', expected='three numbers [LL, HL and LH, HH]', found=repr(weights))
        self.loss_weight = loss_weight
        self.weights = (float(weights[0]), float(weights[1]), float(weights[2]))

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Scalar loss of images (N, C, H, W) with even H and W."""
        # the transform is linear: the transform of the difference is the difference of the transforms
        ll, hl, lh, hh = haar_transform(pred - target)
        low, mixed, high = self.weights
        loss = low * ll.abs().mean() + mixed * torch.cat((hl, lh), dim=1).abs().mean() + high * hh.abs().mean()
        return self.loss_weight * loss


class FeaturePerceptualLoss:
    """BasicSR's ``PerceptualLoss`` as a function of features that have been computed.

    BasicSR's runs its own VGG on both images; here the student's output goes through the feature network once for this
    loss and the distillation together.

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

    def terms(self, student: Features, target: Features) -> dict[str, torch.Tensor]:
        """``l_g_percep`` and ``l_g_style``, weighted, of the features of S(x_s) and y_s; without terms of weight 0."""
        return self.combine(self.statistics(student, target))

    def statistics(self, student: Features, target: Features) -> dict[str, torch.Tensor]:
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
        whole = frobenius_of_parts if self.couples_images else torch.mean

        def total(term: str) -> torch.Tensor:
            return weighted_sum(self.layer_weights, lambda k: whole(statistics[f'{term} {k}']))

        weights = {'percep': self.perceptual_weight, 'style': self.style_weight}
        return {f'l_g_{term}': weight * total(term) for term, weight in weights.items() if weight}
