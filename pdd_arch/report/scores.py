"""The rows of a report and their statistics: means over images, spread over seeds, what is best, what differs."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pdd_arch.tables.significance import significance

#: a value that is missing (not computed, or not a number) is None
Value = float | None


@dataclass(frozen=True)
class Metric:
    """A column of the table."""

    name: str
    better: str  # 'higher' | 'lower'
    decimals: int = 4
    unit: str = ''


@dataclass(frozen=True)
class Seed:
    """One repetition of a row: a value per metric for every image, and where they come from."""

    name: str
    scores: dict[str, list[Value]]
    command: str = ''
    commit: str = ''


@dataclass(frozen=True)
class Row:
    """A method on a data set. A reference (published figures, an upper bound) takes no part in "best"."""

    name: str
    dataset: str
    seeds: tuple[Seed, ...]
    reference: bool = False


def mean(values: Sequence[Value]) -> Value:
    """Mean of the values that are there, None if there are none."""
    present = [v for v in values if v is not None]
    return sum(present) / len(present) if present else None


def deviation(values: Sequence[Value]) -> Value:
    """Sample standard deviation, None for fewer than two finite values."""
    present = [v for v in values if v is not None and math.isfinite(v)]
    return statistics.stdev(present) if len(present) > 1 else None


def image_scores(row: Row) -> dict[str, dict]:
    """image -> mean and standard deviation over the seeds, one value per metric, and the seeds that have the image."""
    images = dict.fromkeys(image for seed in row.seeds for image in seed.scores)
    out = {}
    for image in images:
        columns = list(zip(*(seed.scores[image] for seed in row.seeds if image in seed.scores), strict=True))
        out[image] = dict(
            mean=[mean(c) for c in columns],
            std=[deviation(c) for c in columns],
            seeds=sum(image in seed.scores for seed in row.seeds),
        )
    return out


def row_data(row: Row, metrics: Sequence[Metric]) -> dict:
    """A row of the table: per seed the mean over its images, then mean and deviation over the seeds."""
    seeds = []
    for seed in row.seeds:
        columns = list(zip(*seed.scores.values(), strict=True)) or [()] * len(metrics)
        counts = [sum(v is not None for v in column) for column in columns]
        seeds.append(
            dict(name=seed.name, means=[mean(c) for c in columns], counts=counts)
            | dict(command=seed.command, commit=seed.commit)
        )
    columns = list(zip(*(s['means'] for s in seeds), strict=True)) or [()] * len(metrics)
    return dict(
        name=row.name,
        dataset=row.dataset,
        reference=row.reference,
        seeds=seeds,
        images=len({image for seed in row.seeds for image in seed.scores}),
        counts=[min((s['counts'][i] for s in seeds), default=0) for i in range(len(metrics))],
        mean=[mean(c) for c in columns],
        std=[deviation(c) for c in columns],
        best=[False] * len(metrics),
    )


def against(row: Row, rows: Sequence[Row], baseline: str | None) -> list[Value]:
    """p of the comparison with the row named `baseline` on the same data set, by metric."""
    count = len(next(iter(row.seeds[0].scores.values()), ())) if row.seeds else 0
    other = [r for r in rows if r.name == baseline and r.dataset == row.dataset and r is not row]
    if not other:
        return [None] * count
    return significance([s.scores for s in row.seeds], [s.scores for s in other[0].seeds], count)


def mark_best(rows: Sequence[dict], metrics: Sequence[Metric]) -> None:
    """Marks, within each data set, the rows whose printed value is the best; references do not compete."""
    for dataset in {row['dataset'] for row in rows}:
        ranked = [row for row in rows if row['dataset'] == dataset and not row['reference']]
        for i, metric in enumerate(metrics):
            values = {j: round(r['mean'][i], metric.decimals) for j, r in enumerate(ranked) if r['mean'][i] is not None}
            if len(values) > 1:
                best = (max if metric.better == 'higher' else min)(values.values())
                for j, value in values.items():
                    ranked[j]['best'][i] = value == best
