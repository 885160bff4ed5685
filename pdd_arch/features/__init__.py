"""Features of images: the frozen network phi, and the bank that computes each feature once an iteration."""

from pdd_arch.features.feature_bank import FeatureBank, Features
from pdd_arch.features.feature_net import FeatureNet

__all__ = ['FeatureBank', 'FeatureNet', 'Features']
