"""Images as data URLs, as good as the limit of bytes allows; what had to be given up is said.

Images are never downsampled: a comparison of super-resolution needs its pixels. First lossless, then JPEG with full
colour resolution, then a part of each image, and at last fewer images, the largest gains and losses kept.
"""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from PIL import Image, features

from pdd_arch.report.page import Page, Picture, Version

MEGABYTE = 10**6
#: sides of the part of an image that is shown, largest first
CROPS = (768, 512, 384, 256)
LOSSLESS = 0  # a "quality"
QUALITIES = (LOSSLESS, 95, 88)


@dataclass
class Embedded:
    """What the page's script reads: pictures, whose versions name images by number, and what was reduced."""

    pictures: list[dict[str, Any]] = field(default_factory=list)
    images: list[str] = field(default_factory=list)  # data URLs
    reductions: list[str] = field(default_factory=list)  # a sentence each


def data_url(image: np.ndarray, quality: int) -> str:
    """(H, W, 3) uint8 RGB as WebP or PNG (lossless) or JPEG without colour subsampling."""
    kind, how = 'png', dict[str, Any]()
    if quality != LOSSLESS:
        kind, how = 'jpeg', dict(quality=quality, subsampling=0, optimize=True)
    elif features.check('webp'):
        kind, how = 'webp', dict(lossless=True, quality=20, method=1, exact=True)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, kind, **how)
    return f'data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}'


def _at_full_size(version: Version, image: np.ndarray, picture: Picture) -> np.ndarray:
    """An RGB image in grey at the picture's size, (height, width) float32, to compare versions."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return grey if version.factor == 1 else cv2.resize(grey, (picture.width, picture.height))


def crop_box(picture: Picture, loaded: Sequence[np.ndarray], side: int) -> tuple[int, int, int, int]:
    """(left, top, width, height) of the part where the methods differ most, for better or worse.

    The corner lies on a pixel of the LR image.
    """
    factor = max(v.factor for v in picture.versions)
    width, height = (min(side, n) // factor * factor or n for n in (picture.width, picture.height))
    versions = zip(picture.versions, loaded, strict=True)
    outputs = [_at_full_size(v, image, picture) for v, image in versions if v.role == 'row']
    if len(outputs) > 1:
        interest = np.max(outputs, axis=0) - np.min(outputs, axis=0)
    else:
        last = _at_full_size(picture.versions[-1], loaded[-1], picture)
        interest = np.abs(last - cv2.GaussianBlur(last, (0, 0), 2))  # detail
    total = cv2.integral(interest)
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    grid = sums[::factor, ::factor]
    top, left = np.unravel_index(int(np.argmax(grid)), grid.shape)
    return int(left) * factor, int(top) * factor, width, height


def _encode(picture: Picture, quality: int, side: int | None) -> tuple[dict[str, Any], list[str]]:
    """A picture, or the part of it at ``corner`` (left, top), and the data URLs of its versions."""
    loaded = [version.load() for version in picture.versions]
    cropped = side is not None and max(picture.width, picture.height) > side
    box = crop_box(picture, loaded, side) if side and cropped else (0, 0, picture.width, picture.height)
    urls = []
    for version, image in zip(picture.versions, loaded, strict=True):
        left, top, width, height = (n // version.factor for n in box)
        # LR is small, and its pixels are looked at one by one
        own = LOSSLESS if version.role == 'lr' else quality
        urls.append(data_url(image[top : top + height, left : left + width], own))
    data = dict(
        name=picture.name,
        dataset=picture.dataset,
        width=box[2],
        height=box[3],
        full=[picture.width, picture.height],
        corner=box[:2] if cropped else None,
        versions=[dict(label=v.label, role=v.role, row=v.row) for v in picture.versions],
    )
    return data, urls


def _fitting(
    pictures: Iterable[Picture], quality: int, side: int | None, budget: int
) -> list[tuple[dict[str, Any], list[str]]]:
    """The first pictures, as many as fit into the budget."""
    found = []
    for picture in pictures:
        data, urls = _encode(picture, quality, side)
        budget -= sum(len(url) + 3 for url in urls)
        if budget < 0:
            break
        found.append((data, urls))
    return found


def embed(page: Page, budget: int, crop: int | None = None, limit: int | None = None) -> Embedded:
    """The pictures of `page` in at most `budget` bytes; `crop` and `limit` are those of `write_page`."""
    gains, total = page.gains(), len(page.pictures)
    # the largest gain or loss first; the order of the page among equals
    ranked = sorted(page.pictures, key=lambda p: -abs(gains.get((p.dataset, p.name), 0.0)))[:limit]
    smaller = [(QUALITIES[-1], side) for side in CROPS if crop is None or side < crop]
    for quality, side in [*((quality, crop) for quality in QUALITIES), *smaller]:
        fitting = _fitting(ranked, quality, side, budget)
        if len(fitting) == len(ranked):
            break
    shown, reductions = len(fitting), []
    if quality or side != crop or shown < len(ranked):
        left = f'{budget / MEGABYTE:.2f} MB were left for them (--max-size)'
        reductions.append(f'Images were compressed, cropped or left out: {left}.')
    if quality:
        how = f'JPEG of quality {quality}, not lossless'
        reductions.append(f'Images are stored as {how}. The scores are of the original files.')
    cropped = sum(data['corner'] is not None for data, _ in fitting)
    if cropped:
        why = 'as --crop asks' if side == crop else 'for the size of the page'
        part = f'{why}: {side} x {side} pixels at most, where the methods differ most'
        reductions.append(f'{cropped} of {shown} images are shown in part, {part}. The scores are of the whole images.')
    if shown < total:
        why = 'as --limit asks' if shown == len(ranked) else 'for the size of the page'
        kept = 'those with the largest gains and losses over the baseline' if gains else 'the first'
        reductions.append(
            f'{total - shown} of {total} images are left out, {why}, and {kept} are kept; the table and all scores are '
            'of all images.'
        )
    encoded = {id(picture): found for picture, found in zip(ranked, fitting, strict=False)}
    out = Embedded(reductions=reductions)
    for data, urls in (encoded[id(picture)] for picture in page.pictures if id(picture) in encoded):
        for version, url in zip(data['versions'], urls, strict=True):
            version['image'] = len(out.images)
            out.images.append(url)
        out.pictures.append(data)
    return out
