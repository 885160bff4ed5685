"""The rows of a report and their statistics: means over images, spread over seeds, what is best, what differs."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, StringConstraints
from scipy import stats

#: fewer images than this cannot show significance below 0.05 in a signed-rank test
LEAST_IMAGES = 6
SIGNIFICANT = 0.05
#: what is tested, for a legend
TEST = (
    'two-sided Wilcoxon signed-rank test over the images, seeds averaged, not corrected for the number of comparisons'
)
#: a value that is missing (not computed, or not a number) is None
Value = float | None
Name = Annotated[str, StringConstraints(min_length=1, max_length=300)]


def unit_of(metric: str) -> str:
    """The unit of a metric, by its name; empty where it has none."""
    return 'dB' if 'psnr' in metric.lower() else ''


@dataclass(frozen=True)
class Metric:
    """A column of the table; `options` are those of the metric under ``val.metrics``."""

    name: Name
    better: Literal['higher', 'lower']
    decimals: Annotated[int, Field(ge=0, le=10)] = 4
    unit: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Seed:
    """One repetition of a row."""

    scores: dict[Name, list[Value]]  # image -> a value per metric
    seed: int | str | None = None  # None for a row that is not trained
    outputs: str | None = None  # folder of the images, relative to the table
    command: str | None = None
    commit: str | None = None
    not_computed: dict[str, str] = field(default_factory=dict)  # metric -> why it has no values
    undefined: dict[str, str] = field(default_factory=dict)  # metric -> why it has none for some images


@dataclass(frozen=True)
class Row:
    """A method on a dataset. A reference (published figures, an upper bound) takes no part in "best"."""

    name: Name
    dataset: Name
    seeds: list[Seed]
    reference: bool = False


@dataclass(frozen=True)
class ImageScores:
    """Mean and standard deviation over the seeds, by metric, and the number of seeds that have the image."""

    mean: list[Value]
    std: list[Value]
    seeds: int


@dataclass(frozen=True)
class SeedMeans:
    """A seed in numbers, by metric: the mean over its images, and how many of them have a value."""

    name: str
    means: list[Value]
    counts: list[int]
    images: int
    command: str
    commit: str


@dataclass(frozen=True)
class RowStatistics:
    """A row in numbers, by metric."""

    name: str
    dataset: str
    reference: bool
    images: int  # that any seed has scores of
    seeds: list[SeedMeans]
    counts: list[int]  # images with a value in every seed
    mean: list[Value]  # over the means of the seeds
    std: list[Value]  # sample standard deviation of the means of the seeds
    p: list[Value]  # of the paired comparison with the baseline over the images, if there is one
    best: list[bool]  # whether the printed value is the best of the dataset


def mean(values: Sequence[Value]) -> Value:
    """Mean of the values that are there, None if there are none."""
    present = [v for v in values if v is not None]
    return sum(present) / len(present) if present else None


def deviation(values: Sequence[Value]) -> Value:
    """Sample standard deviation, None for fewer than two finite values."""
    present = [v for v in values if v is not None and math.isfinite(v)]
    return statistics.stdev(present) if len(present) > 1 else None


def image_scores(row: Row) -> dict[str, ImageScores]:
    """Scores by image."""
    out = {}
    for image in dict.fromkeys(image for seed in row.seeds for image in seed.scores):
        values = [seed.scores[image] for seed in row.seeds if image in seed.scores]
        columns = list(zip(*values, strict=True))
        out[image] = ImageScores([mean(c) for c in columns], [deviation(c) for c in columns], len(values))
    return out


def significance(own: Sequence[Seed], baseline: Sequence[Seed], metrics: int) -> list[Value]:
    """p of a two-sided Wilcoxon signed-rank test over the images, by metric, seeds averaged.

    None where it cannot be had: other images, fewer than six of them, or a value that is missing, or infinite in
    both rows.
    """
    images = list(baseline[0].scores) if baseline else []
    alike = own and all(set(seed.scores) == set(images) for seed in (*own, *baseline))
    if not alike or len(images) < LEAST_IMAGES:
        return [None] * metrics
    values = (np.array([[s.scores[n] for n in images] for s in seeds], float) for seeds in (own, baseline))
    ours, theirs = (v.mean(axis=0) for v in values)
    with np.errstate(invalid='ignore'):
        differences = ours - theirs
    return [None if np.isnan(d).any() else float(stats.wilcoxon(d).pvalue) if d.any() else 1.0 for d in differences.T]


def statistics_of(rows: Sequence[Row], metrics: Sequence[Metric], baseline: str | None) -> list[RowStatistics]:
    """The statistics of the rows of any number of datasets; `baseline` is the row that the others are compared with."""
    found = []
    for row in rows:
        other = next((r for r in rows if r.name == baseline and r.dataset == row.dataset and r is not row), None)
        found.append(_statistics(row, other, len(metrics)))
    for dataset in {row.dataset for row in rows}:
        ranked = [s for s in found if s.dataset == dataset and not s.reference]
        for i, metric in enumerate(metrics):
            printed = {s.name: round(v, metric.decimals) for s in ranked if (v := s.mean[i]) is not None}
            best = (max if metric.better == 'higher' else min)(printed.values(), default=None)
            for s in ranked:
                s.best[i] = len(printed) > 1 and printed.get(s.name) == best
    return found


def _statistics(row: Row, baseline: Row | None, metrics: int) -> RowStatistics:
    seeds = []
    for i, seed in enumerate(row.seeds):
        columns = list(zip(*seed.scores.values(), strict=True)) or [()] * metrics
        counts = [sum(v is not None for v in column) for column in columns]
        name = str(i if seed.seed is None else seed.seed)
        means = [mean(c) for c in columns]
        seeds.append(SeedMeans(name, means, counts, len(seed.scores), seed.command or '', seed.commit or ''))
    over_seeds = list(zip(*(s.means for s in seeds), strict=True)) or [()] * metrics
    return RowStatistics(
        name=row.name,
        dataset=row.dataset,
        reference=row.reference,
        images=len({image for seed in row.seeds for image in seed.scores}),
        seeds=seeds,
        counts=[min((s.counts[i] for s in seeds), default=0) for i in range(metrics)],
        mean=[mean(c) for c in over_seeds],
        std=[deviation(c) for c in over_seeds],
        p=significance(row.seeds, baseline.seeds if baseline else [], metrics),
        best=[False] * metrics,
    )
