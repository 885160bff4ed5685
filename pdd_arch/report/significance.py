"""Whether two rows of a table differ: a paired test over the images."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

#: fewer images than this cannot show significance below 0.05 in a signed-rank test
LEAST_IMAGES = 6
SIGNIFICANT = 0.05
#: what is tested, for a legend
TEST = (
    'two-sided Wilcoxon signed-rank test over the images, seeds averaged, not corrected for the number of comparisons'
)

#: image -> a value per metric; None where a metric was not computed
Scores = Mapping[str, Sequence[float | None]]


def per_image(seeds: Sequence[Scores]) -> dict[str, np.ndarray] | None:
    """Image -> values, each the mean over seeds; NaN where a metric was not computed.

    None without images, or where the seeds were not measured on the same ones.
    """
    if not seeds or not seeds[0] or any(set(scores) != set(seeds[0]) for scores in seeds):
        return None
    return {name: np.mean(np.array([scores[name] for scores in seeds], float), axis=0) for name in seeds[0]}


def significance(own: Sequence[Scores], baseline: Sequence[Scores], metrics: int) -> list[float | None]:
    """Two-sided Wilcoxon signed-rank test over the images, by metric; images are the sample, seeds are averaged.

    Args:
        own: scores of a row, by seed.
        baseline: scores of the row that it is compared with, by seed.
        metrics: number of metrics.

    Returns:
        p by metric. None where it cannot be had: other images, fewer than six of them, or a value that is missing or
        infinite in both rows.
    """
    ours, theirs = per_image(own), per_image(baseline)
    if ours is None or theirs is None or set(ours) != set(theirs) or len(ours) < LEAST_IMAGES:
        return [None] * metrics
    with np.errstate(invalid='ignore'):
        differences = np.array([ours[name] - theirs[name] for name in ours])
    return [_p(column) for column in differences.T]


def _p(differences: np.ndarray) -> float | None:
    if np.isnan(differences).any():
        return None
    return float(stats.wilcoxon(differences).pvalue) if np.any(differences) else 1.0
