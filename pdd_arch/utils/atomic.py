"""Files that are complete or absent, also after a crash: written beside their place, flushed to disk, then renamed."""

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from pdd_arch.errors import DataError, PDDError
from pdd_arch.utils.wording import shown

#: suffix of a file that is being written; what a killed process leaves behind has it too
PARTIAL = '.pdd-partial'


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within the block an OSError becomes a DataError that names what cannot be written below `path`."""
    try:
        yield
    except OSError as error:
        if isinstance(error, PDDError):  # a missing source is not a failure to write
            raise
        named = [n for n in (error.filename2, error.filename) if n and not os.fsdecode(n).endswith(PARTIAL)]
        mend = 'Free space, correct its permissions or choose another -o'
        if error.errno == errno.ENAMETOOLONG:
            mend = 'Choose shorter names'
        raise DataError(
            f'cannot be written ({error.strerror or error})',
            where=shown([*named, path][0]),
            way_out=f'{mend}; then run the same command again, which continues.',
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


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically. Raises DataError where that fails."""
    with writing(path), whole_file(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """:func:`write_bytes` of UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: object) -> None:
    """:func:`write_text` of plain values as JSON."""
    write_text(path, json.dumps(content, indent=1) + '\n')


def temporary_beside(path: Path) -> Path:
    """A new, empty file in the folder of `path`, under a short name that nobody else uses."""
    # not by `tempfile`, whose files nobody but their owner may read
    partial = path.with_name(f'.{secrets.token_hex(6)}{PARTIAL}')
    partial.touch(exist_ok=False)
    return partial


def remove_partial_files(folder: Path) -> list[str]:
    """Remove the files that killed processes were writing to a folder; returns their names."""
    left = sorted(folder.glob(f'.*{PARTIAL}')) if folder.is_dir() else []
    for file in left:
        file.unlink(missing_ok=True)
    return [file.name for file in left]


def flush(path: Path) -> None:
    """Have a file, or the names in a folder, written to disk; folders only where the system can do that."""
    is_folder = path.is_dir()
    with contextlib.suppress(OSError) if is_folder else contextlib.nullcontext():
        handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
