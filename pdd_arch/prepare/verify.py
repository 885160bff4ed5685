"""Reading every image of a dataset once: is it whole, of what kind and size, and does its pair fit?"""

import io
import os
import struct
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pdd_arch.data.paired_check import scale_problem
from pdd_arch.errors import PDDError
from pdd_arch.images.decoding import decode_raw, image_size
from pdd_arch.images.structure import format_of
from pdd_arch.prepare.journal import Journal
from pdd_arch.prepare.layouts import Layout
from pdd_arch.prepare.locate import FoundPart
from pdd_arch.prepare.problems import Problem, broken_file
from pdd_arch.utils.files import open_file, read_content
from pdd_arch.utils.output import progress

_WAY_OUT = 'Unpack or download it again.'
_HEAD = 2**20  # bytes that hold what a header says of channels and depth
# PNG colour types: grey, RGB, palette (decoded to RGB), grey and alpha, RGB and alpha
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_CHANNELS = {1: 'grayscale', 2: 'grayscale with alpha', 3: 'RGB', 4: 'RGB with alpha, or CMYK'}
_PIL_CHANNELS = {'L': 1, '1': 1, 'LA': 2, 'RGBA': 4, 'PA': 4, 'CMYK': 4}


@dataclass(frozen=True)
class Facts:
    """Height and width of an image in pixels, as decoded; channels and bits per channel as stored."""

    height: int
    width: int
    channels: int
    bits: int

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def kind(self) -> str:
        """``8-bit RGB`` and the like."""
        return f'{self.bits}-bit {_CHANNELS.get(self.channels, f"{self.channels} channels")}'


def size_range(facts: Iterable[Facts]) -> list[tuple[int, int]]:
    """The different sizes (height, width), smallest area first."""
    return sorted({f.size for f in facts}, key=lambda size: (size[0] * size[1], size))


def read_facts(path: Path, deep: bool) -> Facts:
    """Facts of a file; `deep`: checksums are verified and it is decoded, else only structure and header are read."""
    if not deep:
        with open_file(path) as file:
            head = file.read(_HEAD)
        if format_of(head) != 'TIFF':
            return Facts(*image_size(path), *_stored_format(head))
    return read_whole(path)[1]


def read_whole(path: str | os.PathLike[str]) -> tuple[np.ndarray, Facts]:
    """An image, as `pdd_arch.images.decoding.decode_raw` returns it, and the facts of its file. Raises as there."""
    content = read_content(path)
    image = decode_raw(content, str(path), deep=True)
    facts = facts_of(image)
    # of a TIFF the decoded depth counts: PIL's modes do not tell 16-bit RGB
    return image, facts if format_of(content) == 'TIFF' else Facts(*facts.size, *_stored_format(content))


def facts_of(image: np.ndarray) -> Facts:
    """Facts of an (H, W, 3) image of uint8 or uint16 whose file is not known."""
    height, width, channels = image.shape
    return Facts(height, width, channels, image.dtype.itemsize * 8)


def _stored_format(content: bytes) -> tuple[int, int]:
    """(channels, bits per channel) as an image file stores them."""
    if format_of(content) == 'PNG':
        bits, colour = struct.unpack('>BB', content[24:26])
        return _PNG_CHANNELS.get(colour, 3), 8 if colour == 3 else bits
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with Image.open(io.BytesIO(content)) as image:
                return _PIL_CHANNELS.get(image.mode, 3), 16 if image.mode.startswith('I') else 8
    except (OSError, ValueError, SyntaxError):
        return 3, 8


def verify(
    found: Sequence[FoundPart], layout: Layout, journal: Journal, deep: bool = True
) -> tuple[dict[Path, Facts], list[Problem]]:
    """Facts of the files that are whole, and what is wrong; every file is read, and the sizes of pairs are compared."""
    files = dict.fromkeys(path for part in found for images in part.files.values() for path in images.values())
    facts: dict[Path, Facts] = {}
    problems: list[Problem] = []
    for path in progress(files, len(files), 'verifying'):
        try:
            facts[path] = _known_facts(path, journal, deep)
            problems += format_problems(path, facts[path], layout.published_format)
        except PDDError as error:
            problems.append(broken_file(str(path), error, _WAY_OUT))
    for part in found:
        problems += _scale_problems(part, facts)
    return facts, problems


def _known_facts(path: Path, journal: Journal, deep: bool) -> Facts:
    entry = journal.get(f'read {path}', path)
    if entry and (entry['deep'] or not deep):
        return Facts(**entry['facts'])
    facts = read_facts(path, deep)
    journal.put(f'read {path}', path, facts=asdict(facts), deep=deep)
    return facts


def format_problems(path: Path | str, facts: Facts, expected: tuple[int, int] | None) -> Iterator[Problem]:
    """Whether a file is stored as expected, (channels, bits); None expects RGB without alpha, of any depth."""
    if expected and expected != (facts.channels, facts.bits):
        wanted = Facts(*facts.size, *expected).kind
        text = f'is {facts.kind}; {wanted} is expected, as published. Has it been converted? {_WAY_OUT}'
        yield Problem('format', str(path), text)
    elif not expected and facts.channels in (2, 4):
        text = (
            f'is {facts.kind}; alpha is dropped when it is read, and CMYK converted without its profile. Save it as '
            'RGB, if that is not meant.'
        )
        yield Problem('format', str(path), text, is_error=False)


def _scale_problems(found: FoundPart, facts: Mapping[Path, Facts]) -> Iterator[Problem]:
    part = found.part
    scale = part.source_scale or part.scale
    for name in found.names if len(found.files) == 2 else ():
        hr, lr = (found.files[key][name] for key in ('hr', 'lr'))
        if hr in facts and lr in facts:
            text = scale_problem(facts[hr].size, facts[lr].size, scale, part.role == 'train')
            if text:
                yield Problem('scale', str(lr), f'{text} {_WAY_OUT}')
