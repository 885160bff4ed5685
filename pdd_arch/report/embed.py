"""Images as data URLs, as good as the limit of bytes allows; what had to be given up is said.

Images are never downsampled: a comparison of super-resolution needs its pixels. First lossless, then JPEG with full
colour resolution, then a part of each image, and at last fewer images, the largest gains and losses kept.
"""

import base64
import io
from collections.abc import Sequence
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


@dataclass(frozen=True)
class EmbeddedPicture:
    """A picture, or a part of it.

    Attributes:
        picture: the whole.
        box: (left, top, width, height) of the part that is shown.
        urls: data URL of each version.
    """

    picture: Picture
    box: tuple[int, int, int, int]
    urls: list[str]

    @property
    def cropped(self) -> bool:
        """Whether only a part is shown."""
        return self.box[2:] != (self.picture.width, self.picture.height)

    @property
    def size(self) -> int:
        """Bytes of the images on the page."""
        return sum(len(url) + 3 for url in self.urls)


@dataclass
class Embedded:
    """Pictures for the page's script, and what was reduced, a sentence each."""

    pictures: list[EmbeddedPicture] = field(default_factory=list)
    reductions: list[str] = field(default_factory=list)

    @property
    def images(self) -> list[str]:
        """All data URLs; :meth:`picture_data` names them by number."""
        return [url for p in self.pictures for url in p.urls]

    def picture_data(self) -> list[dict[str, Any]]:
        """The pictures as the page's script reads them."""
        data, images = [], 0
        for shown in self.pictures:
            picture, (left, top, width, height) = shown.picture, shown.box
            versions = [
                dict(label=v.label, role=v.role, row=v.row, image=images + i) for i, v in enumerate(picture.versions)
            ]
            images += len(versions)
            data.append(
                dict(
                    name=picture.name,
                    dataset=picture.dataset,
                    width=width,
                    height=height,
                    versions=versions,
                    full=[picture.width, picture.height],
                    corner=[left, top] if shown.cropped else None,
                )
            )
        return data


@dataclass(frozen=True)
class _Plan:
    quality: int
    crop: int | None


def data_url(image: np.ndarray, quality: int) -> str:
    """(H, W, 3) uint8 RGB as WebP or PNG (lossless) or JPEG without colour subsampling."""
    file = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(image))
    if quality == LOSSLESS and features.check('webp'):
        kind = 'webp'
        picture.save(file, 'WEBP', lossless=True, quality=20, method=1, exact=True)
    elif quality == LOSSLESS:
        kind = 'png'
        picture.save(file, 'PNG')
    else:
        kind = 'jpeg'
        picture.save(file, 'JPEG', quality=quality, subsampling=0, optimize=True)
    return f'data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}'


def _at_full_size(version: Version, image: np.ndarray, picture: Picture) -> np.ndarray:
    """An image at the picture's size, grey, as floating point: to compare versions with."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return grey if version.factor == 1 else cv2.resize(grey, (picture.width, picture.height))


def crop_box(picture: Picture, loaded: Sequence[np.ndarray], side: int) -> tuple[int, int, int, int]:
    """(left, top, width, height) of the part where the methods differ most, the whole where it is no larger.

    Differences count rather than gains, so that the part shows what changed, for better or worse. The corner lies on
    a pixel of the LR image.
    """
    if picture.width <= side and picture.height <= side:
        return 0, 0, picture.width, picture.height
    factor = max(v.factor for v in picture.versions)
    width, height = (min(side, n) // factor * factor or n for n in (picture.width, picture.height))
    images = list(zip(picture.versions, loaded, strict=True))
    outputs = [_at_full_size(v, image, picture) for v, image in images if v.role == 'row']
    if len(outputs) > 1:
        interest = np.max(outputs, axis=0) - np.min(outputs, axis=0)
    else:
        last = _at_full_size(*images[-1], picture)
        interest = np.abs(last - cv2.GaussianBlur(last, (0, 0), 2))  # detail
    total = cv2.integral(interest)
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    grid = sums[::factor, ::factor]
    top, left = np.unravel_index(int(np.argmax(grid)), grid.shape)
    return int(left) * factor, int(top) * factor, width, height


def _encode(picture: Picture, plan: _Plan) -> EmbeddedPicture:
    loaded = [version.load() for version in picture.versions]
    box = crop_box(picture, loaded, plan.crop or max(picture.width, picture.height))
    urls = []
    for version, image in zip(picture.versions, loaded, strict=True):
        x, y, w, h = (n // version.factor for n in box)
        # LR is small, and its pixels are looked at one by one
        quality = LOSSLESS if version.role == 'lr' else plan.quality
        urls.append(data_url(image[y : y + h, x : x + w], quality))
    return EmbeddedPicture(picture, box, urls)


def _fitting(page: Page, order: Sequence[int], plan: _Plan, budget: int) -> dict[int, EmbeddedPicture]:
    """The first pictures of an order, as many as fit into the budget."""
    found: dict[int, EmbeddedPicture] = {}
    for position in order:
        encoded = _encode(page.pictures[position], plan)
        budget -= encoded.size
        if budget < 0:
            break
        found[position] = encoded
    return found


def embed(page: Page, budget: int, crop: int | None = None, limit: int | None = None) -> Embedded:
    """The pictures of `page`, in as many bytes as `budget` at most, with what was given up for it.

    Args:
        page: its pictures may be of any number.
        budget: bytes for the images.
        crop, limit: as for `write_page`.
    """
    gains = page.gains()
    # those with the largest gain or loss first; the order of the page among equals
    order = sorted(
        range(len(page.pictures)),
        key=lambda i: -abs(gains.get((page.pictures[i].dataset, page.pictures[i].name), 0.0)),
    )[:limit]
    smaller = [side for side in CROPS if crop is None or side < crop]
    for plan in [*(_Plan(q, crop) for q in QUALITIES), *(_Plan(QUALITIES[-1], side) for side in smaller)]:
        fitting = _fitting(page, order, plan, budget)
        if len(fitting) == len(order):
            break
    out = Embedded([fitting[i] for i in sorted(fitting)])
    out.reductions = _reductions(page, out.pictures, plan, budget, crop, limit)
    return out


def _reductions(
    page: Page,
    pictures: Sequence[EmbeddedPicture],
    plan: _Plan,
    budget: int,
    crop: int | None,
    limit: int | None,
) -> list[str]:
    """What was given up, a sentence each."""
    shown, total = len(pictures), len(page.pictures)
    asked = min(limit or total, total)
    said = []
    if plan.quality or plan.crop != crop or shown < asked:
        said.append(
            f'Images were reduced for the size of the page: {budget / MEGABYTE:.2f} MB were left for them (--max-size).'
        )
    if plan.quality:
        said.append(
            f'Images are stored as JPEG of quality {plan.quality}, not lossless. The scores are of the original files.'
        )
    cropped = sum(p.cropped for p in pictures)
    if cropped:
        why = 'as --crop asks' if plan.crop == crop else 'for the size of the page'
        said.append(
            f'{cropped} of {shown} images are shown in part, {why}: {plan.crop} x {plan.crop} pixels at most, where '
            'the methods differ most. The scores are of the whole images.'
        )
    if shown < total:
        why = 'as --limit asks' if shown == asked else 'for the size of the page'
        kept = 'those with the largest gains and losses over the baseline' if page.gains() else 'the first'
        said.append(
            f'{total - shown} of {total} images are left out, {why}. Kept are {kept}; the table and all scores are of '
            'all images.'
        )
    return said
