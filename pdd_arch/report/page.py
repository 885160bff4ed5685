"""What a report shows, and how files become its pictures.

`of_run` or `of_table` fills a `Page`; `html_page.write_page` makes it a file.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from pdd_arch.data.sources import LmdbSource
from pdd_arch.errors import MissingFileError
from pdd_arch.images.decoding import image_size, read_raw
from pdd_arch.images.names import is_image_name
from pdd_arch.report.scores import Metric, Row, image_scores
from pdd_arch.utils.wording import shown

# what datasets append to the name of an image for its resolution: 0801x4, Canon_001_LR4, 001_HR
_RESOLUTION = re.compile(r'(?:[_-]?x\d+|[_-](?:LR|HR|GT)\d*|[_-]x?\d?(?:LR|HR|GT))$', re.IGNORECASE)


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
    """Everything on a page."""

    title: str
    source: str
    metrics: Sequence[Metric]
    rows: Sequence[Row]
    baseline: str | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # shown as prominently as what was reduced
    pictures: list[Picture] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    first: tuple[str, ...] = ()  # of ``notes``, ``images``, ``curves``, ``table``: those before the others, in order

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


@dataclass(frozen=True)
class Output:
    """An image that a row of the table has written."""

    label: str
    row: str
    path: Path


@dataclass(frozen=True)
class LmdbImage:
    """An image of a database; `stem` is its name, as BasicSR makes it of the key."""

    source: LmdbSource
    index: int

    @property
    def stem(self) -> str:
        return Path(self.source.names[self.index]).stem


Location = Path | LmdbImage


def _size(image: Location) -> tuple[int, int]:
    return image.source.check(image.index) if isinstance(image, LmdbImage) else image_size(image)


def read_rgb(image: Location) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a file or of a database's image, 16 bits rounded to 8."""
    return as_rgb(image.source.read_raw(image.index) if isinstance(image, LmdbImage) else read_raw(image))


def as_rgb(raw: np.ndarray) -> np.ndarray:
    """(H, W, 3) BGR uint8 or uint16 -> uint8 RGB, 16 bits rounded to 8."""
    if raw.dtype == np.uint16:
        raw = np.rint(raw / 257.0).astype(np.uint8)
    return np.ascontiguousarray(raw[..., ::-1])


def read_bicubic(image: Location, height: int, width: int) -> np.ndarray:
    """An image upscaled to `height` x `width` by bicubic interpolation, (height, width, 3) uint8 RGB."""
    return cv2.resize(read_rgb(image), (width, height), interpolation=cv2.INTER_CUBIC)


def plain_name(stem: str) -> str:
    """The name of an image without the suffix that tells its resolution."""
    return _RESOLUTION.sub('', stem)


class ImageFolder:
    """Finds images by name, with or without a suffix such as ``x4`` or ``_LR4``, below a folder or in BasicSR's LMDB.

    Raises:
        MissingFileError: there is no such folder, or no database in a folder called ``.lmdb``.
        DataError: the database lists no image.
    """

    def __init__(self, folder: Path, option: str) -> None:
        if not folder.is_dir():
            way_out = 'Correct the path, or run the command from the folder that it is relative to.'
            raise MissingFileError(f'there is no folder {shown(folder)}', where=option, way_out=way_out)
        self.exact: dict[str, Location]
        if folder.suffix == '.lmdb':
            source = LmdbSource(str(folder), option)
            self.exact = {name: LmdbImage(source, i) for i, name in enumerate(source.names)}
        else:
            files = sorted(p for p in folder.rglob('*') if p.is_file() and is_image_name(p.name))
            self.exact = {p.relative_to(folder).with_suffix('').as_posix(): p for p in files}
        self.plain: dict[str, set[Location]] = {}
        for name, image in self.exact.items():
            for known_as in (plain_name(name), plain_name(Path(name).name)):
                self.plain.setdefault(known_as, set()).add(image)

    def find(self, name: str) -> Location | None:
        """The image called `name`; None if there is none, or more than one that it might be."""
        candidates = self.plain.get(plain_name(name), set())
        return self.exact.get(name) or (next(iter(candidates)) if len(candidates) == 1 else None)


def make_picture(
    name: str,
    dataset: str,
    lq: Location | None,
    gt: Location | None,
    outputs: Sequence[Output],
    problems: list[str],
) -> Picture | None:
    """A picture out of the files that there are; None if fewer than two versions could be compared.

    Files of the wrong size are left out and named in `problems`.
    """
    largest = gt or (outputs[0].path if outputs else None)
    if largest is None:
        return None
    scale, (height, width) = 1, _size(largest)
    if lq:
        low = _size(lq)
        # the ground truth may have a few rows and columns more than the LR image stands for
        scale = max(1, round(height / low[0]))
        rest = [n - scale * m for n, m in zip((height, width), low, strict=True)]
        if not all(0 <= n < 2 * scale for n in rest):
            problems.append(
                f'{dataset}, {name}: not shown: the LR image has {low[1]} x {low[0]} pixels, the HR image '
                f'{width} x {height}, which is not a whole multiple.'
            )
            return None
        height, width = (scale * n for n in low)
    versions = []
    if lq and scale > 1:
        versions.append(Version('LR', 'lr', partial(read_rgb, lq), scale))
        if not any(o.row.lower() == 'bicubic' for o in outputs):
            versions.append(Version('bicubic', 'bicubic', partial(read_bicubic, lq, height, width)))
    elif lq:
        versions.append(Version('input', 'lr', partial(read_rgb, lq)))
    for output in outputs:
        size = _size(output.path)
        if size == (height, width):
            versions.append(Version(output.label, 'row', partial(read_rgb, output.path), row=output.row))
        else:
            problems.append(
                f'{dataset}, {name}: {output.label} is not shown: {shown(output.path)} has {size[1]} x {size[0]} '
                f'pixels, expected {width} x {height}.'
            )
    if gt:
        # BasicSR cuts a ground truth that is no multiple of the scale like this
        versions.append(Version('HR', 'hr', lambda: read_rgb(gt)[:height, :width]))
    return Picture(name, dataset, width, height, tuple(versions)) if len(versions) > 1 else None
