"""Files that are whole or not there."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pdd_arch.errors import DataError, PDDError
from pdd_arch.utils.wording import shown

__all__ = ['PARTIAL', 'whole_file', 'writing']

PARTIAL = '.pdd-partial'  # ending of a file that is being written


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a failure to write below `path` into an error that says so.

    Raises:
        DataError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, PDDError):  # a missing source is no failure to write
            raise
        where = error.filename2 or error.filename or path
        raise DataError(
            f'{shown(where)}: cannot be written ({error.strerror or error}). Free space, correct its permissions or '
            'choose another -o; then run the same command again, which continues.'
        ) from None


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes `path` when the block ends well."""
    partial = path.with_name(f'{path.name}{PARTIAL}')
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
