"""Opening files that somebody else may have put there."""

import os
import stat
from typing import BinaryIO

from pdd_arch.errors import DataError, MissingFileError
from pdd_arch.utils.wording import shown

#: way out for a file that cannot be used
REPLACE = 'Replace or remove it.'
# an uncompressed RGB image of 16 bits and images.structure.MAX_PIXELS takes 1.5 GiB
MAX_FILE_BYTES = 2**31 - 1
# POSIX has the first two, Windows the third
_FLAGS = os.O_RDONLY | sum(getattr(os, flag, 0) for flag in ('O_CLOEXEC', 'O_NONBLOCK', 'O_BINARY'))


def open_file(path: str | os.PathLike[str], way_out: str = REPLACE) -> BinaryIO:
    """Open a regular file for reading; never waits, as opening a named pipe would.

    Raises:
        MissingFileError: there is no such file.
        DataError: it cannot be opened (permissions, a loop of links), is not a file (a folder, pipe or device), or
            is larger than ``MAX_FILE_BYTES``.
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
    problem = None
    if not stat.S_ISREG(status.st_mode):
        kind = 'a folder' if stat.S_ISDIR(status.st_mode) else 'a pipe or device'
        problem = f'cannot be read (it is {kind}, not a file)'
    elif status.st_size > MAX_FILE_BYTES:
        problem = f'cannot be read (it has {status.st_size} bytes, more than {MAX_FILE_BYTES})'
    if problem:
        os.close(descriptor)
        raise DataError(problem, where=where, way_out=way_out)
    return os.fdopen(descriptor, 'rb')


def read_content(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file. Raises as :func:`open_file`, and DataError where reading fails halfway."""
    with open_file(path) as file:
        try:
            return file.read()
        except OSError as error:
            raise DataError(f'cannot be read ({error.strerror})', where=shown(path), way_out=REPLACE) from None
