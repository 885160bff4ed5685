"""Supervised pixel loss of the paper: L1 on one level of the Haar transform."""

from collections.abc import Sequence

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn

from pdd_arch.errors import OptionError
from pdd_arch.losses.functional import haar_wavelet_loss
from pdd_arch.utils.registration import register


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
        return self.loss_weight * haar_wavelet_loss(pred, target, self.weights)
