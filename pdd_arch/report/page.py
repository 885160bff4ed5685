"""What a report shows: `of_run` or `of_table` fills a `Page`, `html_page.write_page` makes it a file."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pdd_arch.report.scores import Metric, Row, image_scores


@dataclass(frozen=True)
class Version:
    """One of the images that can be compared."""

    label: str  # printed on the image
    role: Literal['lr', 'bicubic', 'row', 'hr']
    load: Callable[[], np.ndarray]  # (H, W, 3) uint8 RGB
    factor: int = 1  # pixels of the picture that one of its pixels covers, by side (LR: the scale)
    row: str | None = None  # name of the row of the table that it is an output of


@dataclass(frozen=True)
class Picture:
    """An image of a dataset in all its versions; `width` and `height` are those of the HR image."""

    name: str
    dataset: str
    width: int
    height: int
    versions: tuple[Version, ...]


@dataclass(frozen=True)
class Curve:
    """A chart: one metric or loss over the iterations, a series of (iteration, value) per dataset."""

    title: str
    series: dict[str, list[tuple[float, float]]]
    unit: str = ''
    better: str | None = None
    group: Literal['validation', 'training'] = 'validation'
    note: str = ''


def some_of(names: Sequence[str]) -> str:
    """The first three of a list, and how many more there are."""
    rest = len(names) - 3
    return ', '.join(names[:3]) + (f' and {rest} more' if rest > 0 else '')


@dataclass
class Page:
    """Everything on a page. `problems` are shown as loudly as what was reduced; `notes` quietly.

    `first` are parts (``notes``, ``images``, ``curves``, ``table``) that stand before the others, in this order.
    """

    title: str
    source: str
    metrics: Sequence[Metric]
    rows: Sequence[Row]
    baseline: str | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    first: tuple[str, ...] = ()

    def gains(self) -> dict[tuple[str, str], float]:
        """(dataset, image) -> the largest gain or loss of any row over the baseline, in the first metric."""
        out: dict[tuple[str, str], float] = {}
        scores = {(row.dataset, row.name): image_scores(row) for row in self.rows}
        sign = 1 if self.metrics and self.metrics[0].better == 'higher' else -1
        for row in self.rows:
            base = scores.get((row.dataset, self.baseline or ''), {})
            if row.name == self.baseline or row.reference:
                continue
            for image, own in scores[row.dataset, row.name].items():
                value, start = own.mean[0], base[image].mean[0] if image in base else None
                if start is not None and value is not None and math.isfinite(value - start):
                    key = (row.dataset, image)
                    out[key] = max(out.get(key, 0.0), sign * (value - start), key=abs)
        return out
