"""How a `Page` becomes one HTML file.

Everything that comes from outside (names, notes, commands) travels as JSON inside a ``<script>`` that is not executed,
and the page's own script, which alone is allowed to run, puts it into text nodes: nothing of it is ever read as HTML.
"""

import base64
import hashlib
import html
import json
import math
import re
from dataclasses import asdict
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

from pdd_arch.errors import OptionError
from pdd_arch.report.embed import MEGABYTE, Embedded, embed
from pdd_arch.report.page import Page
from pdd_arch.report.scores import LEAST_IMAGES, SIGNIFICANT, TEST, image_scores, statistics_of, unit_of
from pdd_arch.utils.atomic import whole_file, writing
from pdd_arch.utils.wording import shown
from pdd_arch.version import __version__

#: the page says who made it; only such a file is ever overwritten
GENERATOR = '<meta name="generator" content="pdd report'
SCRIPTS = ('util.js', 'curves.js', 'table.js', 'viewer.js', 'card.js', 'gallery.js', 'main.js')


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


def page_data(page: Page) -> dict[str, Any]:
    """Everything but the images, as the page's script reads it."""
    scores: dict[str, dict[str, Any]] = {}
    for row in page.rows:
        scores.setdefault(row.dataset, {})[row.name] = {k: asdict(v) for k, v in image_scores(row).items()}
    as_it_is = ('title', 'source', 'notes', 'problems', 'baseline', 'first')
    return {name: getattr(page, name) for name in as_it_is} | dict(
        test=dict(name=TEST, significant=SIGNIFICANT, least=LEAST_IMAGES),
        made=f'{datetime.now():%Y-%m-%d %H:%M}, pdd_arch {__version__}',
        metrics=[
            dict(name=m.name, better=m.better, decimals=m.decimals, unit=unit_of(m.name) if m.unit is None else m.unit)
            for m in page.metrics
        ],
        rows=[asdict(row) for row in statistics_of(page.rows, page.metrics, page.baseline)],
        scores=scores,
        curves=[asdict(c) for c in page.curves],
    )


def _asset(name: str) -> str:
    return resources.files('pdd_arch.report').joinpath('static').joinpath(name).read_text(encoding='utf-8')


def _hash(text: str) -> str:
    """As a content security policy names a script or style that it allows."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def render(page: Page, embedded: Embedded | None = None) -> str:
    """The HTML of a page, with its images or with none."""
    embedded = embedded or Embedded()
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
        'data': script_json(page_data(page) | dict(pictures=embedded.pictures, reductions=embedded.reductions)),
        'images': script_json(embedded.images),
    }
    # in one pass, so that a name which looks like a placeholder stays a name
    return re.sub(r'{{(\w+)}}', lambda found: parts[found[1]], _asset('page.html'))


def check_target(path: Path) -> None:
    """Raise an OptionError for a place that cannot be written to, or a file there that is not a report."""
    where = f'-o {shown(path)}'
    if path.is_dir():
        raise OptionError('is a folder', where=where, expected=f'a file, for example {shown(path / "report.html")}')
    if not path.parent.is_dir():
        what = f'there is no folder {shown(path.parent)}'
        raise OptionError(what, where=where, way_out='Make it, or give another file.')
    if path.exists():
        with path.open('rb') as file:
            if GENERATOR.encode() not in file.read(4096):
                what = 'exists and is not a report of pdd, so it is not overwritten'
                raise OptionError(what, where=where, way_out='Remove it, or give another file.')


def write_page(
    page: Page, path: Path, max_bytes: int = 20 * MEGABYTE, crop: int | None = None, limit: int | None = None
) -> tuple[int, list[str]]:
    """Write a page that is no larger than `max_bytes`; an earlier report at `path` is replaced.

    Images are compressed, cropped and at last left out until the limit holds. `crop` is the largest side of an image
    in pixels, `limit` the largest number of images.

    Returns:
        How many images are shown, and what was reduced or left out, a sentence each; the page says the same.

    Raises:
        OptionError: the limit cannot be held, or `path` cannot be written.
        DataError: an image cannot be read.
    """
    check_target(path)
    # the sentences on what was reduced and the images' own names come on top
    empty = len(render(page).encode()) + 2000 + sum(300 + 120 * len(p.versions) for p in page.pictures)
    if empty > max_bytes:
        size = f'{empty / MEGABYTE:.2f} MB without a single image, more than the {max_bytes / MEGABYTE:g} MB allowed'
        raise OptionError(f'the page has {size}', where='--max-size', way_out='Give a larger size.')
    embedded = embed(page, max_bytes - empty, crop, limit)
    text = render(page, embedded).encode()
    if len(text) > max_bytes:  # names longer than allowed for: never write more than was asked for
        what = f'the page has {len(text) / MEGABYTE:.2f} MB'
        raise OptionError(what, where='--max-size', way_out='Give a larger size, or --limit.')
    with writing(path), whole_file(path) as partial:
        partial.write_bytes(text)
    return len(embedded.pictures), embedded.reductions
