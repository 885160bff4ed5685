"""Losses: pure functions in ``functional``, thin classes registered with BasicSR over them."""

from pdd_arch.losses.baseline_losses import ContrastiveDistillationLoss, FeatureDistillationLoss, OutputDistillationLoss
from pdd_arch.losses.distance_loss import PairwiseDistanceLoss
from pdd_arch.losses.distillation import DistillationLoss, Views
from pdd_arch.losses.supervised import FeaturePerceptualLoss, HaarWaveletLoss

__all__ = [
    'ContrastiveDistillationLoss',
    'DistillationLoss',
    'FeatureDistillationLoss',
    'FeaturePerceptualLoss',
    'HaarWaveletLoss',
    'OutputDistillationLoss',
    'PairwiseDistanceLoss',
    'Views',
]
