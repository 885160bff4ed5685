"""Metrics registered with BasicSR, for ``val.metrics`` of an option file.

As in BasicSR, a metric ignores keywords that it does not know, such as ``better``.
"""

from pdd_arch.metrics.dists_metric import calculate_dists
from pdd_arch.metrics.feature_distance import calculate_feature_distance
from pdd_arch.metrics.iqa import calculate_iqa
from pdd_arch.metrics.lpips_metric import calculate_lpips

__all__ = ['calculate_dists', 'calculate_feature_distance', 'calculate_iqa', 'calculate_lpips']
