"""Features of images: the frozen network phi, which computes each feature once an iteration."""

from pdd_arch.features.feature_net import FeatureNet, Features

__all__ = ['FeatureNet', 'Features']
