"""What a folder of photographs holds, and what speaks against adapting to them."""

import hashlib
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pdd_arch.data.sources import list_images, require_folder
from pdd_arch.errors import DataError, PDDError
from pdd_arch.images.decoding import CONVERT, decode_raw, image_size, to_float32
from pdd_arch.images.names import folder_content
from pdd_arch.images.structure import format_of
from pdd_arch.prepare.measures import Thumbnails, near_duplicates
from pdd_arch.selection.signals import middle
from pdd_arch.utils.files import read_content
from pdd_arch.utils.output import progress
from pdd_arch.utils.wording import shown

#: quality of a JPEG below which its blocks are plainly visible
LOW_QUALITY = 60
#: mean error of halving and doubling an image, relative to its mean gradient. 40 photographs: 0.20 or more, 0.15 with a
#: blur of 3 pixels before downsampling by 4; upscaled by 2 or more with any common filter: 0.17 or less, 0.13 mostly
UPSCALED = 0.14
#: with 5 photographs the result lost structure (SSIM) in one of two trials, from 10 on in none
#: (experiments/results/photographs)
FEW = 10
# mean of the luma table in annex K of the JPEG standard, which is libjpeg's quality 50
_STANDARD_MEAN = 57.625
_SHOWN = 5


@dataclass(frozen=True)
class Photograph:
    """A file that can be used, and an earlier file that is nearly the same, if any.

    Attributes:
        height, width: in pixels, when upright.
        size: in bytes.
    """

    path: Path
    height: int
    width: int
    twin: Path | None = None
    size: int = 0


@dataclass(frozen=True)
class Finding:
    """Something that speaks against photographs."""

    text: str  # for people; without names of files, since it goes into the record that is published
    names: tuple[str, ...] = ()  # of the files it is about, some with what is wrong with them

    def __str__(self) -> str:
        if not self.names:
            return self.text
        more = f' and {len(self.names) - _SHOWN} more' if len(self.names) > _SHOWN else ''
        return f'{self.text.rstrip(".")}: {", ".join(self.names[:_SHOWN])}{more}'


@dataclass
class PhotographSet:
    """What was found in a folder.

    Attributes:
        usable: the files that can be used, by name.
        findings: what speaks against them, the worst first.
        unreadable: why others cannot be read; `where` names the photograph.
    """

    folder: Path
    usable: list[Photograph] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unreadable: list[PDDError] = field(default_factory=list)

    def describe(self) -> str:
        sizes = sorted((p.height * p.width, p.width, p.height) for p in self.usable)
        (_, w0, h0), (_, w1, h1) = sizes[0], sizes[-1]
        size = f'{w0} x {h0}' if (w0, h0) == (w1, h1) else f'{w0} x {h0} to {w1} x {h1}'
        return f'{len(self.usable)} usable image{"s" * (len(self.usable) > 1)} of {size} pixels'


def inspect_photographs(folder: str | Path, what: str, least: int, target: bool) -> PhotographSet:
    """Read all images of a folder, but not of its sub-folders.

    The shorter side must have `least` pixels. Photographs of the camera (`target`) and HR images are judged by
    different standards. Raises MissingFileError, or DataError where no image can be used; `what` named the folder.
    """
    folder = Path(folder).expanduser()
    names, unread, others = _names(folder, what)
    found, thumbnails = PhotographSet(folder, unreadable=list(map(_unread, unread))), Thumbnails()
    named: dict[str, list[str]] = defaultdict(list)
    for name in progress(names, len(names), what):
        path = folder / name
        try:
            content = read_content(path)
            image = decode_raw(content, name)
        except PDDError as error:
            found.unreadable.append(error.with_fields(where=shown(path)))
            named['broken'].append(str(error.with_fields(where=shown(name), way_out='')))
            continue
        height, width = image.shape[:2]
        if min(height, width) < least:
            named['small'].append(f'{shown(name)} ({width} x {height})')
            continue
        twin, quality = _twin(thumbnails, path, image), jpeg_quality(content)
        found.usable.append(Photograph(path, height, width, twin, len(content)))
        if twin:
            named['twins'].append(shown(name))
        if _looks_upscaled(image):
            named['upscaled'].append(shown(name))
        if quality is not None and quality < LOW_QUALITY:
            named['low'].append(f'{shown(name)} ({quality})')
        if _is_gray(image):
            named['gray'].append(shown(name))
    if not found.usable:
        broken, small = named['broken'], named['small']
        first = f'; the first: {broken[0]}' if broken else ''
        raise DataError(
            f'{shown(folder)} holds no usable image: {len(broken)} broken, {len(small)} with a side below {least} '
            f'pixels{first}',
            where=what,
            way_out='Name a folder of larger, whole images.',
        )
    few = target and len(found.usable) < FEW
    found.findings = _findings(named, others, few, least, target)
    return found


def identity(*sets: PhotographSet) -> str:
    """A digest of the names and sizes of all usable files, which changes when the images do."""
    entries = [(p.path.name, p.height, p.width, p.size) for found in sets for p in found.usable]
    return hashlib.sha256(repr(entries).encode('utf-8', 'surrogateescape')).hexdigest()[:16]


def _unread(path: Path) -> PDDError:
    """Why a photograph of a format that is not read here cannot be read."""
    try:
        image_size(path)
    except PDDError as error:
        return error.with_fields(where=shown(path))
    return DataError('is in a format that is not read here', where=shown(path), way_out=CONVERT)


def _names(folder: Path, what: str) -> tuple[list[str], list[Path], list[Finding]]:
    """Names of the images in a folder, photographs in formats that are not read, and findings about what it holds."""
    require_folder(str(folder), what)
    try:
        content = folder_content(folder)
    except DataError as error:
        raise error.within(what, ': ') from None
    findings = []
    if content.unread:
        advice = 'which cannot be read here. Convert them to PNG or TIFF, or export JPEG of full quality.'
        unread = Finding(f'It holds {content.describe_unread()}, {advice}', tuple(map(shown, content.unread)))
        if not content.images:
            raise DataError(f'no image in {shown(folder)}', where=what, way_out=unread.text)
        findings.append(unread)
    if content.others:
        count = len(content.others)
        text = '1 file is no photograph and is' if count == 1 else f'{count} files are no photographs and are'
        findings.append(Finding(f'{text} left out', tuple(map(shown, content.others))))
    try:
        return list_images(str(folder), what), [folder / name for name in content.unread], findings
    except DataError as error:
        raise error.with_fields(
            way_out='Name a folder that holds images, or copy the images into one folder: sub-folders are not searched.'
        ) from None


def _twin(thumbnails: Thumbnails, path: Path, image: np.ndarray) -> Path | None:
    own = Thumbnails()
    own.add(str(path), image)
    twins = near_duplicates(thumbnails, own)
    thumbnails.add(str(path), image)
    return Path(twins[0].train) if twins else None


def _findings(
    named: Mapping[str, list[str]], others: Sequence[Finding], few: bool, least: int, target: bool
) -> list[Finding]:
    """What speaks against the photographs, the worst first; `named` are the files that are broken, small, and so on."""
    side = f'a side below {least} pixels and'
    upscaled = 'Use the originals: the upscaling would be learned as well' if target else 'They teach no detail'
    low = 'if the camera does not do that, use the originals' if target else 'HR images should be clean'
    gray = 'what is learned from gray is learned without colours' if target else 'gray teaches nothing of colours'
    too_few = f'few images: from {FEW} on results lost no structure where that was measured, with 5 they did'
    return [
        *_about(named['broken'], 'cannot be read and is left out', 'cannot be read and are left out'),
        *_about(named['small'], f'has {side} is left out', f'have {side} are left out'),
        *others,
        *([Finding(too_few)] if few else []),
        *_about(named['twins'], 'is nearly the same as another', 'are nearly the same as others', ': they count twice'),
        *_about(
            named['upscaled'],
            'shows no more than half its size could',
            'show no more than half their size could',
            f', having been upscaled already, or being very blurred. {upscaled}',
        ),
        *_about(named['low'], 'is a JPEG of a quality', 'are JPEGs of a quality', f' below {LOW_QUALITY}; {low}'),
        *_about(named['gray'], 'is gray', 'are gray', f'; {gray}'),
    ]


def _about(names: Sequence[str], one: str, several: str, rest: str = '') -> list[Finding]:
    """The finding about some images; empty where there are none."""
    subject = f'1 image {one}' if len(names) == 1 else f'{len(names)} images {several}'
    return [Finding(f'{subject}{rest}', tuple(names))] if names else []


def jpeg_quality(content: bytes) -> int | None:
    """The quality setting of libjpeg that comes nearest to a JPEG's luma table; None for other formats."""
    if format_of(content) != 'JPEG':
        return None
    with Image.open(io.BytesIO(content)) as image:
        table = getattr(image, 'quantization', {}).get(0)
    if not table:
        return None
    percent = 100 * float(np.mean(table)) / _STANDARD_MEAN
    return round(np.clip((200 - percent) / 2 if percent <= 100 else 5000 / percent, 1, 100))


def _is_gray(image: np.ndarray) -> bool:
    small = _levels(image[:: max(image.shape[0] // 256, 1), :: max(image.shape[1] // 256, 1)])
    return float(np.abs(small - small[..., :1]).max()) <= 2


def _levels(image: np.ndarray) -> np.ndarray:
    """float32, in [0, 255]."""
    return to_float32(image) * np.float32(255)


def _looks_upscaled(image: np.ndarray) -> bool:
    """Whether halving and doubling costs less than it costs a photograph."""
    luma = cv2.cvtColor(_levels(middle(image, 1024, 1)), cv2.COLOR_BGR2GRAY)
    height, width = (n // 2 * 2 for n in luma.shape)
    luma = luma[:height, :width]
    halved = cv2.resize(luma, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    doubled = cv2.resize(halved, (width, height), interpolation=cv2.INTER_CUBIC)
    gradient = np.abs(np.diff(luma, axis=0)).mean() + np.abs(np.diff(luma, axis=1)).mean()
    return bool(gradient > 0.5 and np.abs(luma - doubled).mean() / gradient < UPSCALED)
