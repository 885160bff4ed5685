"""Reading files that somebody else may have put there, and their digests."""

import difflib
import errno
import hashlib
import itertools
import json
import os
import re
import stat
import unicodedata
from pathlib import Path
from typing import Any, BinaryIO

from pdd_arch.errors import DataError, MissingFileError
from pdd_arch.utils.wording import shown

#: way out for a file that cannot be used
REPLACE = 'Replace or remove it.'
# an uncompressed RGB image of 16 bits and images.structure.MAX_PIXELS takes 1.5 GiB
MAX_FILE_BYTES = 2**31 - 1
_MANY = 10_000  # files; a hint is not worth comparing all names of a large folder
# POSIX has the first two, Windows the third
_FLAGS = os.O_RDONLY | sum(getattr(os, flag, 0) for flag in ('O_CLOEXEC', 'O_NONBLOCK', 'O_BINARY'))


def open_file(path: str | os.PathLike[str], way_out: str = REPLACE) -> BinaryIO:
    """Open a regular file of at most ``MAX_FILE_BYTES`` for reading; never waits, as opening a named pipe would.

    Raises:
        MissingFileError: there is no such file.
        DataError: it cannot be opened (permissions, a loop of links), is no regular file, or is too large.
    """
    where = shown(path)
    try:
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:
        way_out = 'Restore it, or correct what names it.'
        raise MissingFileError('the file does not exist (any more)', where=where, way_out=way_out) from None
    except OSError as error:
        raise DataError(f'cannot be read ({error.strerror})', where=where, way_out=way_out) from None
    except ValueError:
        raise DataError('is not the name of a file: it holds a zero byte', where=where, way_out='Correct it.') from None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_FILE_BYTES:
        return os.fdopen(descriptor, 'rb')
    os.close(descriptor)
    problem = f'has {status.st_size} bytes, more than {MAX_FILE_BYTES}'
    if not stat.S_ISREG(status.st_mode):
        problem = f'is {"a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"}, not a file'
    raise DataError(f'cannot be read (it {problem})', where=where, way_out=way_out)


def read_content(path: str | os.PathLike[str], way_out: str = REPLACE) -> bytes:
    """The bytes of a file. Raises as :func:`open_file`, and DataError where reading fails halfway."""
    with open_file(path, way_out) as file:
        try:
            return file.read()
        except OSError as error:
            raise DataError(f'cannot be read ({error.strerror})', where=shown(path), way_out=way_out) from None


def read_json(path: str | os.PathLike[str], way_out: str = REPLACE) -> dict[str, Any]:
    """The JSON object in a file. Raises as :func:`read_content`, and DataError where it holds anything else."""
    try:
        found = json.loads(read_content(path, way_out))
        if isinstance(found, dict):
            return found
        reason = f'it holds a {type(found).__name__}, not an object'
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise DataError(f'cannot be read as JSON ({reason})', where=shown(path), way_out=way_out)


def similar_file(path: Path) -> str:
    """``Did you mean 'x'?`` with the name of another file in the folder of `path`; empty where none is near."""
    try:
        with os.scandir(path.parent) as entries:
            others = [one.name for one in itertools.islice(entries, _MANY) if one.name != path.name]
    except OSError:
        return ''
    if any(unicodedata.normalize('NFC', name) == unicodedata.normalize('NFC', path.name) for name in others):
        return 'There is a file of that name with its accents in another form of Unicode (NFC, NFD): rename it.'
    # extensions are alike, and one number is not meant for another
    by_stem = {Path(n).stem.strip().lower(): n for n in others if _numbers(n) == _numbers(path.name)}
    near = difflib.get_close_matches(path.stem.strip().lower(), by_stem, n=1)
    return f'Did you mean {by_stem[near[0]]!r}?' if near else ''


def _numbers(name: str) -> list[str]:
    return re.findall(r'\d+', name)


def is_name_too_long(path: Path) -> bool:
    """Whether the file system refuses the name of a file, which need not be there, for its length.

    Not computed: file systems have different limits, in bytes or characters. The folder need not be there either.
    """
    folder = path.parent
    while not os.path.isdir(folder) and folder != folder.parent:
        folder = folder.parent
    try:
        os.lstat(folder / path.name)
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, 'rb') as file:
        return sha256_of_open(file)


def sha256_of_open(file: BinaryIO) -> str:
    """Hexadecimal SHA-256 of what is left to read of a file."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
