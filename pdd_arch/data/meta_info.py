"""Lists of images in text files, as BasicSR and Real-ESRGAN write them."""

import io
import re
from collections.abc import Iterable
from os import path as osp
from pathlib import Path
from typing import NamedTuple

from pdd_arch.errors import DataError, MissingFileError
from pdd_arch.images.names import is_image_name
from pdd_arch.utils.files import open_file, similar_file
from pdd_arch.utils.wording import shown

# longer than any path, two of them, and a size
_MAX_LINE = 10_000

# 'name', 'name (h,w)', 'name (h,w,c)', 'name (h,w,c) 1': BasicSR's line, the last number a PNG compression level
_META_LINE = re.compile(r'^(?P<name>.+?)(?:\s+\((?P<h>\d+),\s*(?P<w>\d+)(?:,\s*\d+)?\)(?:\s+\S+)?)?$')


class Listed(NamedTuple):
    """A line of a list."""

    name: str
    #: (height, width), where the line has it
    size: tuple[int, int] | None
    #: the LR image of a line ``gt, lq``, as Real-ESRGAN's lists of pairs have it
    lq: str | None
    #: number of the line, from 1
    line: int


def read_list(path: str, key: str) -> list[Listed]:
    """The lines of a meta-info file that are not empty; the one place where such a file is read.

    Raises:
        MissingFileError, DataError: there is no such file, it lists nothing, or is not text; `key` is its option.
    """
    path = osp.expanduser(str(path))
    entries, number = [], 0
    try:
        # all kinds of line ends; bytes that are not UTF-8 are kept until their line can be named
        with io.TextIOWrapper(open_file(path), encoding='utf-8', errors='surrogateescape') as file:
            # not `for line in file`: the line of a file that is no text may be as long as the file
            while line := file.readline(_MAX_LINE):
                number += 1
                if number == 1 and line.startswith(_UTF16):
                    raise DataError('it is UTF-16, not UTF-8')
                if len(line) == _MAX_LINE:
                    raise DataError(f'line {number} has {_MAX_LINE} characters or more')
                if '\0' in line:
                    raise DataError(f'line {number} holds zero bytes')
                if not _is_utf8(line):
                    raise DataError(f'line {number} is not UTF-8')
                # a byte-order mark is what some editors put first; lists that were joined have it in the middle
                if text := line.lstrip('\ufeff').strip():
                    entries.append(_entry(text, number))
    except MissingFileError:
        raise MissingFileError(
            f'the file {shown(path)} does not exist', where=key, way_out='Correct the path.'
        ) from None
    except (DataError, OSError) as error:
        reason = error.what if isinstance(error, DataError) else error
        raise DataError(
            f'{shown(path)} is not read as a list of images ({reason})',
            where=key,
            way_out='Name a text file in UTF-8 with one name a line.',
        ) from None
    if not entries:
        raise DataError(
            f'{shown(path)} lists no image', where=key, way_out='Write one name a line, relative to the data folder.'
        )
    return entries


def parse_meta_info(path: str, key: str) -> list[tuple[str, tuple[int, int] | None]]:
    """Names, and sizes (height, width) where they are given, of a meta-info file. Raises as :func:`read_list`."""
    return [(entry.name, entry.size) for entry in read_list(path, key)]


def listed_names(path: str, root: str, key: str) -> list[str]:
    """Names in a meta-info file, relative to the data folder `root`; DataError where one lies outside."""
    return [name for name, _ in listed_lines(path, root, key)]


def listed_lines(path: str, root: str, key: str) -> list[tuple[str, int]]:
    """:func:`listed_names`, each with the number of its line."""
    return [(below(root, entry.name, path, entry.line, key), entry.line) for entry in read_list(path, key)]


def below(root: str, name: str, path: str, line: int, key: str) -> str:
    """A name in a line of the list `path`, relative to the data folder `root`; DataError where it lies outside.

    A list may come from somebody else: it must not choose among all files of the machine.
    """
    relative = osp.relpath(name, osp.abspath(root)) if osp.isabs(name) else osp.normpath(name)
    if relative.split(osp.sep, 1)[0] == osp.pardir:
        raise DataError(
            f'{shown(path)} line {line} lists {shown(name)}, which lies outside {shown(root)}',
            where=key,
            way_out='Correct the list, or name a folder that holds all of the images as the data folder.',
        )
    return relative


def require_images(root: str, names: Iterable[tuple[str, int]], listing: str, key: str, mend: str = 'the path') -> None:
    """MissingFileError unless all images of a list, each with the number of its line, are in the data folder `root`.

    `mend`: what may be wrong besides the list.
    """
    missing = [(path, line) for name, line in names if not osp.exists(path := osp.join(root, name))]
    if not missing:
        return
    path, line = missing[0]
    more = f' (nor do {len(missing) - 1} more of its images)' if missing[1:] else ''
    hint = similar_file(Path(path))
    form = f'A line is `name`, `name (h,w,c)` or, of pairs, `gt, lq`, with names relative to {shown(root)}.'
    raise MissingFileError(
        f'{shown(listing)} line {line} asks for {shown(path)}, which does not exist{more}',
        where=key,
        way_out=f'{hint} Correct the list or {mend}. {form}'.strip(),
    )


# of a byte-order mark in UTF-16, each byte escaped
_UTF16 = ('\udcff\udcfe', '\udcfe\udcff')


def _is_utf8(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def _entry(line: str, number: int) -> Listed:
    # one space for many: the pattern would try all of them in all ways
    match = _META_LINE.match(' '.join(line.split()) if len(line) > 500 else line)
    assert match  # any line that is not empty
    name, lq = match['name'].strip(), None
    for comma in re.finditer(r',\s*', name):  # names may hold commas, too
        if is_image_name(name[: comma.start()]):
            name, lq = name[: comma.start()], name[comma.end() :]
            break
    before = name
    while before and not is_image_name(before):  # a name with spaces and an extension is kept whole
        before = before.rpartition(' ')[0]
    name = before or name.split()[0].rstrip(',')  # BasicSR's rule
    return Listed(name, (int(match['h']), int(match['w'])) if match['h'] else None, lq, number)
