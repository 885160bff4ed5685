"""Files that are complete or absent, also after a crash: written beside their place, flushed to disk, then renamed."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pdd_arch.errors import DataError, PDDError
from pdd_arch.utils.wording import shown

#: suffix of a file that is being written; what a killed process leaves behind has it too
PARTIAL = '.pdd-partial'


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write below `path` into an error that says so.

    Raises:
        DataError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, PDDError):  # a missing source is not a failure to write
            raise
        raise DataError(
            f'cannot be written ({error.strerror or error})',
            where=shown(error.filename2 or error.filename or path),
            way_out='Free space, correct its permissions or choose another -o; then run the same command again, which '
            'continues.',
        ) from None


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` to write to, which replaces `path` when the block ends without an exception."""
    partial = temporary_beside(path)
    try:
        yield partial
        flush(partial)
        os.replace(partial, path)
        flush(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically.

    Raises:
        DataError: it cannot be written.
    """
    with writing(path), whole_file(path) as partial:
        partial.write_text(text, encoding='utf-8')


def write_json(path: Path, content: object) -> None:
    """Write plain values as JSON, atomically.

    Raises:
        DataError: the file cannot be written.
    """
    write_text(path, json.dumps(content, indent=1) + '\n')


def temporary_beside(path: Path) -> Path:
    """A new, empty file in the folder of `path`, under a short name that nobody else uses.

    It gets the permissions of an ordinary new file; `tempfile` makes it private.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix='.', suffix=PARTIAL)
    os.close(handle)
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(name, 0o666 & ~mask)
    return Path(name)


def remove_partial_files(folder: Path) -> list[str]:
    """Remove what killed processes left of files that they were writing to a folder; returns the names."""
    left = sorted(folder.glob(f'.*{PARTIAL}')) if folder.is_dir() else []
    for file in left:
        file.unlink(missing_ok=True)
    return [file.name for file in left]


def flush(path: Path) -> None:
    """Have a file, or the names in a folder, written to disk; folders where the system can do that."""
    is_folder = path.is_dir()
    try:
        handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    except OSError:
        if is_folder:
            return
        raise
    try:
        os.fsync(handle)
    except OSError:
        if not is_folder:
            raise
    finally:
        os.close(handle)
