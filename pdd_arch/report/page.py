"""What a report shows, and how it becomes one HTML file.

A collector (`of_run`, `of_table`) fills a `Page`; `write_page` computes the statistics, embeds the images within a
limit of bytes and puts template, style and scripts together. Everything that comes from outside (names, notes,
commands) travels as JSON inside a ``<script>`` that is not executed, and the page's own script, which alone is
allowed to run, puts it into text nodes: nothing of it is ever read as HTML.
"""

import base64
import hashlib
import html
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from pathlib import Path

import numpy as np

from pdd_arch.errors import OptionError, PDDError
from pdd_arch.report.scores import Metric, Row, against, image_scores, mark_best, row_data
from pdd_arch.tables.significance import LEAST_IMAGES, SIGNIFICANT, TEST
from pdd_arch.utils.atomic import whole_file, writing
from pdd_arch.utils.wording import shown
from pdd_arch.version import __version__

MEGABYTE = 10**6
#: the page says who made it; only such a file is ever overwritten
GENERATOR = '<meta name="generator" content="pdd report'
SCRIPTS = ('util.js', 'curves.js', 'table.js', 'viewer.js', 'card.js', 'gallery.js', 'main.js')


@dataclass(frozen=True)
class Version:
    """One of the images that can be compared: `load` gives (H, W, 3) uint8 RGB.

    `factor` is how many pixels of the picture one of its pixels covers (LR: the scale), and `row` the row of the
    table that it is an output of.
    """

    label: str
    role: str  # 'lr' | 'bicubic' | 'row' | 'hr'
    load: Callable[[], np.ndarray]
    factor: int = 1
    row: str | None = None


@dataclass(frozen=True)
class Picture:
    """An image of a data set in all its versions; `width` and `height` are those of the HR image."""

    name: str
    dataset: str
    width: int
    height: int
    versions: tuple[Version, ...]


@dataclass(frozen=True)
class Curve:
    """A chart: one metric or loss over the iterations, a series per data set."""

    title: str
    series: dict[str, list[tuple[float, float]]]
    unit: str = ''
    better: str | None = None
    group: str = 'validation'  # 'validation' | 'training'
    note: str = ''


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

    def gains(self, metric: int = 0) -> dict[tuple[str, str], float]:
        """(dataset, image) -> the largest gain or loss, by magnitude, of any row over the baseline."""
        out: dict[tuple[str, str], float] = {}
        base = {row.dataset: image_scores(row) for row in self.rows if row.name == self.baseline}
        sign = 1 if self.metrics and self.metrics[metric].better == 'higher' else -1
        for row in self.rows:
            if row.name == self.baseline or row.reference:
                continue
            for image, values in image_scores(row).items():
                start = base.get(row.dataset, {}).get(image, {}).get('mean', [None] * (metric + 1))[metric]
                value = values['mean'][metric]
                if start is None or value is None or not math.isfinite(value - start):
                    continue
                key, gain = (row.dataset, image), sign * (value - start)
                out[key] = max(out.get(key, 0.0), gain, key=abs)
        return out


def _plain(value: object) -> object:
    """`value` for JSON, which knows no infinity and no NaN: the first as a mark for the page's script."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else {'$infinite': 1 if value > 0 else -1}
    return value


def script_json(value: object) -> str:
    """JSON that cannot end the ``<script>`` it stands in, nor open a comment there."""
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, separators=(',', ':'))
    for character in '<>&\u2028\u2029':
        text = text.replace(character, f'\\u{ord(character):04x}')
    # a lone half of a surrogate pair (of a file name) cannot be written as UTF-8
    return text.encode('utf-8', 'replace').decode('utf-8')


def page_data(page: Page) -> dict:
    """Everything but the images, as the page's script reads it."""
    rows = [row_data(row, page.metrics) | dict(p=against(row, page.rows, page.baseline)) for row in page.rows]
    mark_best(rows, page.metrics)
    scores: dict[str, dict[str, dict]] = {}
    for row in page.rows:
        scores.setdefault(row.dataset, {})[row.name] = image_scores(row)
    return dict(
        title=page.title,
        source=page.source,
        test=dict(name=TEST, significant=SIGNIFICANT, least=LEAST_IMAGES),
        made=f'{datetime.now():%Y-%m-%d %H:%M}, pdd_arch {__version__}',
        notes=page.notes,
        problems=page.problems,
        metrics=[vars(m) for m in page.metrics],
        baseline=page.baseline,
        rows=rows,
        scores=scores,
        curves=[vars(c) for c in page.curves],
        first=page.first,
    )


def _asset(name: str) -> str:
    return resources.files('pdd_arch.report').joinpath('static', name).read_text(encoding='utf-8')


def _hash(text: str) -> str:
    """As a content security policy names a script or style that it allows."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def render(
    page: Page, pictures: Sequence[dict] = (), images: Sequence[str] = (), reductions: Sequence[str] = ()
) -> str:
    """The HTML of a page.

    Args:
        page: what it shows.
        pictures: of `embed.Embedded`; they name `images` by number.
        images: data URLs.
        reductions: what was reduced or left out, a sentence each.
    """
    style = _asset('style.css')
    script = '(() => {\n"use strict";\n' + '\n'.join(_asset(name) for name in SCRIPTS) + '\n})();\n'
    # nothing can be fetched from anywhere, and no script but the page's own runs, whatever the names say
    policy = f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'"
    parts = {
        'title': html.escape(page.title.encode('utf-8', 'replace').decode()),
        'version': html.escape(__version__),
        'policy': html.escape(policy, quote=True),
        'style': style,
        'script': script,
        'data': script_json(page_data(page) | dict(pictures=list(pictures), reductions=list(reductions))),
        'images': script_json(list(images)),
    }
    text = _asset('page.html')
    # in pieces, so that a name which looks like a placeholder stays a name
    out = []
    for piece in text.split('{{'):
        key, sign, rest = piece.partition('}}')
        out.append(parts[key] + rest if sign else piece)
    return ''.join(out)


def check_target(path: Path) -> None:
    """Refuses a place that cannot be written, or a file that is no report.

    Raises:
        OptionError
    """
    if path.is_dir():
        raise OptionError(f'-o {shown(path)}: is a folder; expected a file, for example {shown(path / "report.html")}')
    if not path.parent.is_dir():
        raise OptionError(f'-o {shown(path)}: there is no folder {shown(path.parent)}. Make it, or give another file.')
    if path.exists():
        with path.open('rb') as file:
            if GENERATOR.encode() not in file.read(4096):
                raise OptionError(
                    f'-o {shown(path)}: exists and is not a report of pdd, so it is not overwritten. Remove it, or '
                    'give another file.'
                )


def write_page(
    page: Page, path: Path, max_bytes: int = 20 * MEGABYTE, crop: int | None = None, limit: int | None = None
) -> tuple[int, list[str]]:
    """Write a page that is no larger than `max_bytes`.

    Args:
        page: what it shows.
        path: the HTML file; an earlier report there is replaced.
        max_bytes: limit of the file. Images are compressed, cropped and at last left out until it holds.
        crop: show at most so many pixels of each side of an image.
        limit: show at most so many images.

    Returns:
        How many images are shown, and what was reduced or left out, a sentence each; the page says the same.

    Raises:
        OptionError: the limit cannot be held, or `path` cannot be written.
        DataError: an image cannot be read.
    """
    from pdd_arch.report.embed import embed  # needs the classes above

    check_target(path)
    # the sentences on what was reduced and the images' own names come on top
    empty = len(render(page).encode()) + 2000 + sum(300 + 120 * len(p.versions) for p in page.pictures)
    if empty > max_bytes:
        raise OptionError(
            f'--max-size: the page has {empty / MEGABYTE:.2f} MB without a single image, more than the '
            f'{max_bytes / MEGABYTE:g} MB allowed. Give a larger size.'
        )
    embedded = embed(page, max_bytes - empty, crop, limit)
    text = render(page, embedded.pictures, embedded.images, embedded.reductions).encode()
    if len(text) > max_bytes:  # cannot happen unless the allowance above is wrong: never write what was not allowed
        raise PDDError(f'--max-size: the page has {len(text) / MEGABYTE:.2f} MB. Give a larger size, or --limit.')
    with writing(path), whole_file(path) as partial:
        partial.write_bytes(text)
    return len(embedded.pictures), embedded.reductions
