"""One process at a time in a folder."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from pdd_arch.errors import OptionError
from pdd_arch.utils.atomic import writing

if sys.platform != 'win32':
    import fcntl

LOCK_FILE = '.lock'

#: held until it is closed or its process ends
Lock = contextlib.ExitStack


def lock_folder(folder: str | Path) -> Lock | None:
    """A lock on a folder; None where the folder does not exist, or its file system does not support locks.

    Raises OptionError where another process holds it.
    """
    file = Path(folder, LOCK_FILE)
    if not file.parent.is_dir():
        return None
    try:
        with Lock() as lock:
            if sys.platform == 'win32':
                lock.enter_context(FileLock(file, timeout=0))
            else:
                # record locks belong to the process: forked data workers, which may outlive it, do not inherit them
                fcntl.lockf(lock.enter_context(file.open('w')), fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock.pop_all()
    except (BlockingIOError, Timeout):
        raise OptionError(
            f'another run is writing to {os.path.relpath(folder)}',
            where='name',
            way_out='Wait for it, stop it, or choose another name.',
        ) from None
    except OSError:  # not writable (the first checkpoint will say so), or a file system without locks
        return None


@contextlib.contextmanager
def folder_held(folder: Path, taken: Exception) -> Iterator[None]:
    """Hold a folder within the block; it is made where it is missing (DataError where that fails).

    Raises `taken` where another process holds it.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = lock_folder(folder)
    except OptionError:
        raise taken from None
    with lock or contextlib.nullcontext():
        yield
