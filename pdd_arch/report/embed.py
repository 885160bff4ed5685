"""Images into data URLs, as good as the limit of bytes allows; what had to be given up is said.

Images are never made smaller by resampling: a comparison of super-resolution needs its pixels. First lossless, then
JPEG with full colour resolution, then a part of each image, and at last fewer images, the largest gains and losses
kept.
"""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import Image, features

from pdd_arch.report.page import MEGABYTE, Page, Picture, Version

#: sides of the part of an image that is shown, largest first
CROPS = (768, 512, 384, 256)
LOSSLESS = 0  # a "quality"
QUALITIES = (LOSSLESS, 95, 88)


@dataclass
class Embedded:
    """Pictures for the page's script, which name `images` (data URLs) by number, and what was reduced."""

    pictures: list[dict] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    reductions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Plan:
    quality: int
    crop: int | None


class _TooLarge(Exception):
    """The images of a plan exceed the limit."""


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


def _as_picture(version: Version, image: np.ndarray, picture: Picture) -> np.ndarray:
    """An image at the picture's size, grey, as floating point: to compare versions with."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return grey if version.factor == 1 else cv2.resize(grey, (picture.width, picture.height))


def crop_box(picture: Picture, loaded: Sequence[np.ndarray], side: int) -> tuple[int, int, int, int] | None:
    """(left, top, width, height) of the part where the methods differ most, None where the image is no larger.

    Differences are looked at rather than gains, so that the part shows what changed, for better or worse. The corner
    lies on a pixel of the LR image.
    """
    if picture.width <= side and picture.height <= side:
        return None
    factor = max(v.factor for v in picture.versions)
    width, height = (min(side, n) // factor * factor or n for n in (picture.width, picture.height))
    outputs = [
        _as_picture(v, image, picture) for v, image in zip(picture.versions, loaded, strict=True) if v.role == 'row'
    ]
    if len(outputs) > 1:
        interest = np.max(outputs, axis=0) - np.min(outputs, axis=0)
    else:
        last = _as_picture(picture.versions[-1], loaded[-1], picture)
        interest = np.abs(last - cv2.GaussianBlur(last, (0, 0), 2))  # detail
    total = cv2.integral(interest)
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    grid = sums[::factor, ::factor]
    top, left = np.unravel_index(int(np.argmax(grid)), grid.shape)
    return int(left) * factor, int(top) * factor, width, height


def _encode(pictures: Sequence[Picture], plan: _Plan, budget: int) -> Embedded:
    """All pictures under a plan; `_TooLarge` as soon as the limit is passed."""
    out, used = Embedded(), 0
    for picture in pictures:
        loaded = [version.load() for version in picture.versions]
        box = crop_box(picture, loaded, plan.crop) if plan.crop else None
        left, top, width, height = box or (0, 0, picture.width, picture.height)
        versions = []
        for version, image in zip(picture.versions, loaded, strict=True):
            x, y, w, h = (n // version.factor for n in (left, top, width, height))
            # LR is small, and its pixels are looked at one by one
            quality = LOSSLESS if version.role == 'lr' else plan.quality
            url = data_url(image[y : y + h, x : x + w], quality)
            used += len(url) + 3
            if used > budget:
                raise _TooLarge
            versions.append(dict(label=version.label, role=version.role, row=version.row, image=len(out.images)))
            out.images.append(url)
        out.pictures.append(
            dict(name=picture.name, dataset=picture.dataset, width=width, height=height, versions=versions)
            | dict(full=[picture.width, picture.height], corner=[left, top] if box else None)
        )
    return out


def _plans(crop: int | None) -> Iterator[_Plan]:
    for quality in QUALITIES:
        yield _Plan(quality, crop)
    for side in CROPS:
        if crop is None or side < crop:
            yield _Plan(QUALITIES[-1], side)


def _by_interest(page: Page) -> list[Picture]:
    """Pictures, those with the largest gain or loss first; the order of the table among equals."""
    gains = page.gains()
    return sorted(page.pictures, key=lambda p: -abs(gains.get((p.dataset, p.name), 0.0)))


def _kept(page: Page, count: int) -> list[Picture]:
    """The `count` pictures of most interest, in the order of the page."""
    chosen = {id(p) for p in _by_interest(page)[:count]}
    return [p for p in page.pictures if id(p) in chosen]


def embed(page: Page, budget: int, crop: int | None = None, limit: int | None = None) -> Embedded:
    """The pictures of `page`, in as many bytes as `budget` at most, with what was given up for it."""
    total = len(page.pictures)
    if not total:
        return Embedded()
    pictures = _kept(page, limit) if limit else list(page.pictures)
    plan = None
    for plan in _plans(crop):
        try:
            out = _encode(pictures, plan, budget)
            break
        except _TooLarge:
            continue
    else:
        out = _fewer(page, pictures, plan, budget)
    for_size = [
        f'Images were reduced for the size of the page: {budget / MEGABYTE:.2f} MB were left for them (--max-size).'
    ]
    said = []
    if plan.quality:
        said.append(
            f'Images are stored as JPEG of quality {plan.quality}, not lossless. The scores are of the original files.'
        )
    cropped = sum(p['corner'] is not None for p in out.pictures)
    if cropped:
        why = 'as --crop asks' if plan.crop == crop else 'for the size of the page'
        said.append(
            f'{cropped} of {len(out.pictures)} images are shown in part, {why}: {plan.crop} x {plan.crop} pixels at '
            'most, where the methods differ most. The scores are of the whole images.'
        )
    shown = len(out.pictures)
    if shown < total:
        ranked = bool(page.gains())
        kept = 'Kept are those with the largest gains and losses over the baseline' if ranked else 'Kept are the first'
        why = 'as --limit asks' if limit and shown == min(limit, total) else 'for the size of the page'
        said.append(
            f'{total - shown} of {total} images are left out, {why}. {kept}; the table and all scores are of all '
            'images.'
        )
    for_the_page = plan.quality or (plan.crop and plan.crop != crop) or shown < len(pictures)
    out.reductions = [*(for_size if for_the_page else ()), *said]
    return out


def _fewer(page: Page, pictures: Sequence[Picture], plan: _Plan, budget: int) -> Embedded:
    """As many of the pictures as fit, those of most interest first; in the order of the page."""
    allowed = {id(p) for p in pictures}
    fitting, left = [], budget
    for picture in (p for p in _by_interest(page) if id(p) in allowed):
        try:
            one = _encode([picture], plan, left)
        except _TooLarge:
            break
        fitting.append(id(picture))
        left -= sum(len(url) + 3 for url in one.images)
    return _encode([p for p in pictures if id(p) in fitting], plan, budget)
