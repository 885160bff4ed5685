"""Measuring several methods on the same pairs, and putting the numbers into tables."""

import csv
import inspect
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.metrics import calculate_metric
from basicsr.utils.registry import METRIC_REGISTRY

from pdd_arch.errors import OptionError, PDDError
from pdd_arch.metrics.availability import better
from pdd_arch.utils.registration import registered
from pdd_arch.utils.wording import show

#: an image: (H, W, 3), uint8, BGR
Image = np.ndarray
#: method name -> image name -> one value per measure
Scores = dict[str, dict[str, list[float]]]

#: what a metric needs of an image, where its own error does not say so
_NEEDS = {'calculate_niqe': 'NIQE needs two blocks of 96x96 pixels that are not flat'}
#: no metric of BasicSR needs more pixels a side
_ENOUGH = 256


def value_of(options: Mapping[str, Any], output: Image, truth: Image | None = None) -> tuple[float, str]:
    """The number of a metric for an image, or NaN and why there is none (NIQE of a small image, for instance).

    Args:
        options: section of ``val.metrics``.
        truth: None where there is none; the metric then needs none.

    Raises:
        PDDError: the metric cannot be computed at all, whatever the image.
    """
    images = {'img': output}
    if truth is not None and _takes_truth(options['type']):
        images['img2'] = truth
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', RuntimeWarning)  # means of nothing: their outcome is said
            value = calculate_metric(images, _arguments(options))
    except (ArithmeticError, ValueError, AssertionError, RuntimeError) as e:
        if isinstance(e, PDDError | torch.OutOfMemoryError):
            raise
        reason = f'{type(e).__name__} {" ".join(str(e).split())}'[:200]
        return math.nan, ': '.join(filter(None, (_NEEDS.get(options['type']), reason)))
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        raise OptionError(where=options['type'], expected='a number for an image', found=show(value)) from None
    return number, 'not a number' if math.isnan(number) else ''


def _takes_truth(kind: str) -> bool:
    """Whether a metric can be given a ground truth, needed or not; a no-reference metric need not know of it."""
    metric = registered(METRIC_REGISTRY, kind)
    parameters = {} if metric is None else inspect.signature(metric).parameters
    return 'img2' in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Without `better`, which BasicSR passes on: a metric need not take it."""
    return {key: value for key, value in options.items() if key != 'better'}


def why_not_of_size(options: Mapping[str, Any], height: int, width: int) -> str:
    """Why a metric has no number for images of a size, empty where it has one.

    Metrics of BasicSR are tried; of others, whose networks and costs are not known, only the border is looked at.
    """
    border = options.get('crop_border', 0)
    if min(height, width) <= 2 * border:
        return f'crop_border {border} leaves nothing'
    metric, enough = registered(METRIC_REGISTRY, options['type']), _ENOUGH + 2 * border
    if min(height, width) >= enough or metric is None or not metric.__module__.startswith('basicsr.'):
        return ''
    size = [min(n, enough) for n in (height, width)]
    noise = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    try:
        return value_of(options, *noise)[1]
    except Exception as e:  # also a metric that is not made for BasicSR's validation
        return f'{type(e).__name__} {" ".join(str(e).split())}'


@dataclass(frozen=True)
class Measure:
    """A column of a table: how it is computed from output and ground truth, and how it is printed."""

    name: str
    better: str  # 'higher' | 'lower'
    compute: Callable[[Image, Image], float]
    decimals: int

    @property
    def heading(self) -> str:
        """Name with an arrow that says which way is better."""
        return f'{self.name} {"↑" if self.better == "higher" else "↓"}'


def registered_measure(name: str, options: Mapping[str, Any], decimals: int = 4) -> Measure:
    """A measure from a section of ``val.metrics``, whose metric is registered with BasicSR."""

    def compute(output: Image, truth: Image) -> float:
        return float(calculate_metric({'img': output, 'img2': truth}, _arguments(options)))

    return Measure(name, better(options), compute, decimals)


def measure_methods(
    pairs: Mapping[str, tuple[Image, Image]],
    methods: Mapping[str, Callable[[Image], Image]],
    measures: Sequence[Measure],
) -> tuple[dict[str, dict[str, Image]], Scores]:
    """Apply each method to each LR image and measure the result.

    Args:
        pairs: image name -> (LR, HR).
        methods: method name -> function from an LR image to an image of the HR size.
        measures: columns of the table.

    Returns:
        Outputs (method -> image name -> image) and scores.
    """
    outputs = {method: {name: upscale(lr) for name, (lr, _) in pairs.items()} for method, upscale in methods.items()}
    scores = {
        method: {name: [m.compute(output, pairs[name][1]) for m in measures] for name, output in images.items()}
        for method, images in outputs.items()
    }
    return outputs, scores


def mean_scores(scores: Mapping[str, Sequence[float]]) -> list[float]:
    """Mean over the images, one value per measure."""
    return [float(np.mean(column)) for column in zip(*scores.values(), strict=True)]


def format_table(
    scores: Scores, measures: Sequence[Measure], corner: str = 'mean over images', markdown: bool = False
) -> str:
    """Means as a table for a terminal or in Markdown, a line per method."""
    rows = [[corner, *(m.heading for m in measures)]]
    for method, images in scores.items():
        values = zip(mean_scores(images), measures, strict=True)
        rows.append([method, *(f'{v:.{m.decimals}f}' for v, m in values)])
    if markdown:
        rows.insert(1, ['---', *['---:'] * len(measures)])
        return ''.join(f'| {" | ".join(row)} |\n' for row in rows)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        '  '.join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    lines.insert(1, '-' * len(lines[0]))
    return '\n'.join(lines)


def write_csv(path: Path, scores: Scores, measures: Sequence[Measure]) -> None:
    """One line per image and method, then the means (image ``mean``)."""
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['method', 'image', *(m.name for m in measures)])
        for method, images in scores.items():
            for name, values in [*images.items(), ('mean', mean_scores(images))]:
                writer.writerow([method, name, *(f'{v:.6f}' for v in values)])
