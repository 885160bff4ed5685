"""One process at a time in a folder."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from pdd_arch.errors import OptionError

if sys.platform != 'win32':
    import fcntl

LOCK_FILE = '.lock'


class Lock(Protocol):
    """A lock that is held until it is closed, or its process ends."""

    def close(self) -> None:
        """Release the lock."""


class _PortableLock:
    def __init__(self, file: Path) -> None:
        self._lock = FileLock(file, timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise BlockingIOError from None

    def close(self) -> None:
        self._lock.release()


def lock_folder(folder: str | Path) -> Lock | None:
    """Hold a folder for as long as this process lives, or until the returned lock is closed.

    Returns:
        The lock; None when the folder does not exist, or its file system does not support locks.

    Raises:
        OptionError: another process holds it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return None
    try:
        # POSIX record locks belong to the process: forked data workers, which may outlive it, do not inherit them
        return _PortableLock(folder / LOCK_FILE) if sys.platform == 'win32' else _record_lock(folder / LOCK_FILE)
    except BlockingIOError:
        raise OptionError(
            f'another run is writing to {os.path.relpath(folder)}',
            where='name',
            way_out='Wait for it, stop it, or choose another name.',
        ) from None
    except OSError:  # not writable (the first checkpoint will say so), or a file system without locks
        return None


def _record_lock(path: Path) -> Lock:
    file = open(path, 'w')  # noqa: SIM115  (stays open)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


@contextlib.contextmanager
def folder_held(folder: str | Path, taken: Exception) -> Iterator[None]:
    """Hold a folder within the block.

    Args:
        folder: as for `lock_folder`.
        taken: what is raised when another process holds it.
    """
    try:
        lock = lock_folder(folder)
    except OptionError:
        raise taken from None
    try:
        yield
    finally:
        if lock is not None:
            lock.close()
