"""Reading every image of a dataset once: is it whole, of what kind and size, and does its pair fit?"""

import io
import json
import os
import struct
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from pdd_arch.errors import DataError, PDDError
from pdd_arch.images import decoding
from pdd_arch.images.structure import format_of, structural_problem
from pdd_arch.prepare.layouts import Layout
from pdd_arch.prepare.locate import FoundPart
from pdd_arch.prepare.problems import Problem
from pdd_arch.utils.atomic import writing
from pdd_arch.utils.files import open_file, read_content
from pdd_arch.utils.progress import progress
from pdd_arch.utils.wording import shown

__all__ = ['Facts', 'Journal', 'format_text', 'read_facts', 'scale_problem', 'stored_format', 'verify']

_WAY_OUT = 'Unpack or download it again.'
_HEAD = 2**20  # bytes that hold what a header says of channels and depth
# PNG colour types: grey, RGB, palette (decoded to RGB), grey and alpha, RGB and alpha
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_PIL_CHANNELS = {'L': 1, '1': 1, 'LA': 2, 'RGBA': 4, 'PA': 4, 'CMYK': 4}


@dataclass(frozen=True)
class Facts:
    """Of an image file: height and width in pixels as decoded; channels and bits per channel as stored."""

    height: int
    width: int
    channels: int
    bits: int

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


class Journal:
    """What is known of files, kept on disk so that an interrupted run need not read them again.

    A line is appended for each file; a last line that was cut off is passed over. A file counts as known while
    its size and time of change are the same.

    Args:
        path: of the journal; None keeps it in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._known: dict[str, dict] = {}
        if path and path.is_file():
            for line in path.read_text('utf-8', 'replace').splitlines():
                try:
                    entry = json.loads(line)
                    self._known[entry['key']] = entry
                except (ValueError, KeyError, TypeError):
                    continue

    def get(self, key: str, file: Path) -> dict | None:
        """The entry of a key, if `file` has not changed since."""
        entry = self._known.get(key)
        return entry if entry and entry.get('stamp') == _stamp(file) else None

    def put(self, key: str, file: Path, **facts: object) -> None:
        """Remembers facts that hold while `file` does not change."""
        entry = {'key': key, 'stamp': _stamp(file), **facts}
        self._known[key] = entry
        if self.path:
            # the line break comes first: a line that was cut off must not spoil this one
            with writing(self.path), self.path.open('a', encoding='utf-8') as log:
                log.write(f'\n{json.dumps(entry)}')


def _stamp(file: Path) -> list[int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def read_facts(path: str | os.PathLike, deep: bool = True) -> Facts:
    """Facts of a file.

    Args:
        path: image file.
        deep: verify checksums and decode it; otherwise only its structure and header are looked at.

    Raises:
        DataError, MissingFileError: it is missing, broken, or no image.
    """
    if not deep:
        size = decoding.check_image_file(path)
        with open_file(path) as file:
            head = file.read(_HEAD)
        return Facts(*size, *stored_format(read_content(path) if format_of(head) == 'TIFF' else head))
    content = read_content(path)
    # before decoding, which repairs what it can
    problem = structural_problem(content, deep=True)
    if problem:
        raise DataError(f'{shown(path)}: {problem}. {_WAY_OUT}')
    height, width = decoding.decode_raw(content, str(path)).shape[:2]
    return Facts(height, width, *stored_format(content))


def stored_format(content: bytes) -> tuple[int, int]:
    """(channels, bits per channel) as an image file stores them."""
    if format_of(content) == 'PNG':
        bits, colour = struct.unpack('>BB', content[24:26])
        return _PNG_CHANNELS.get(colour, 3), 8 if colour == 3 else bits
    if format_of(content) == 'TIFF':  # PIL's modes do not tell 16-bit RGB
        raw = decoding.decode_raw(content, 'image')
        return 3, raw.dtype.itemsize * 8
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with Image.open(io.BytesIO(content)) as image:
                return _PIL_CHANNELS.get(image.mode, 3), 16 if image.mode.startswith('I') else 8
    except (OSError, ValueError, SyntaxError):
        return 3, 8


def format_text(channels: int, bits: int) -> str:
    """``8-bit RGB`` and the like."""
    names = {1: 'grayscale', 2: 'grayscale with alpha', 3: 'RGB', 4: 'RGB with alpha, or CMYK'}
    return f'{bits}-bit {names.get(channels, f"{channels} channels")}'


def verify(
    found: Sequence[FoundPart], layout: Layout, journal: Journal, deep: bool = True
) -> tuple[dict[Path, Facts], list[Problem]]:
    """Reads every file, and compares the sizes of pairs.

    Returns:
        Facts of the files that are whole, and what is wrong.
    """
    todo = [path for part in found for images in part.files.values() for path in images.values()]
    todo = list(dict.fromkeys(todo))
    facts: dict[Path, Facts] = {}
    problems = []
    for path in progress(todo, len(todo), 'verifying'):
        try:
            facts[path] = _known_facts(path, journal, deep)
        except PDDError as error:
            problems.append(Problem('broken', str(path), _without_name(error, path)))
            continue
        problems += format_problems(path, facts[path], layout.published_format)
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


def _without_name(error: PDDError, path: Path) -> str:
    text = str(error).removeprefix(f'{shown(path)}: ')
    return text.replace('Replace or remove it.', _WAY_OUT)


def format_problems(path: Path | str, facts: Facts, expected: tuple[int, int] | None) -> Iterable[Problem]:
    """Whether a file is stored as expected; None expects RGB without alpha, of any depth."""
    found = (facts.channels, facts.bits)
    if expected and found != expected:
        text = (
            f'is {format_text(*found)}; {format_text(*expected)} is expected, as published. Has it been converted? '
            f'{_WAY_OUT}'
        )
        yield Problem('format', str(path), text)
    elif not expected and facts.channels in (2, 4):
        text = (
            f'is {format_text(*found)}; alpha is dropped when it is read, and CMYK converted without its profile. Save '
            'it as RGB, if that is not meant.'
        )
        yield Problem('format', str(path), text, is_error=False)


def scale_problem(hr: tuple[int, int], lr: tuple[int, int], scale: int, slack: int) -> str | None:
    """What is wrong with the sizes (height, width) of a pair, or None.

    HR may be up to `slack` pixels larger, which BasicSR cuts off in validation.
    """
    expected = (lr[0] * scale, lr[1] * scale)
    if all(0 <= h - e <= slack for h, e in zip(hr, expected, strict=True)):
        return None
    if all(0 <= n - h * scale <= slack for h, n in zip(hr, lr, strict=True)):
        return (
            f'is {lr[0]}x{lr[1]} pixels (height x width) and its HR image {hr[0]}x{hr[1]}: HR and LR are swapped. Name '
            'each by what it is.'
        )
    fitting = (s for s in range(1, 17) if s != scale and all(0 <= h - n * s < s for h, n in zip(hr, lr, strict=True)))
    other = next(fitting, None)
    hint = f' These two fit scale {other}.' if other else ''
    return (
        f'is {lr[0]}x{lr[1]} pixels (height x width) and its HR image {hr[0]}x{hr[1]}; at scale {scale} HR is expected '
        f'to be {expected[0]}x{expected[1]}.{hint}'
    )


def _scale_problems(found: FoundPart, facts: dict[Path, Facts]) -> Iterable[Problem]:
    if len(found.files) < 2:
        return
    part = found.part
    scale = part.source_scale or part.scale
    # BasicSR's rule: training pairs fit exactly
    slack = 0 if part.role == 'train' else scale - 1
    for name in found.names:
        hr, lr = (found.files[key][name] for key in ('hr', 'lr'))
        if hr in facts and lr in facts:
            text = scale_problem(facts[hr].size, facts[lr].size, scale, slack)
            if text:
                yield Problem('scale', str(lr), f'{text} {_WAY_OUT}')
