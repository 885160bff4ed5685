"""One run at a time in a folder of experiments."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pdd_arch.errors import OptionError

LOCK_FILE = '.lock'


def lock_folder(folder: str | Path) -> IO | None:
    """Hold a folder of experiments for as long as this process lives, or the returned file is open.

    Returns:
        The open file; None when the folder does not exist, or its file system knows no locks.

    Raises:
        OptionError: another process holds it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return None
    try:
        file = open(folder / LOCK_FILE, 'w')  # noqa: SIM115  (stays open)
    except OSError:  # not writable: the first checkpoint will say so
        return None
    try:
        # of the process, not of the file: data workers do not inherit it
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise OptionError(
            f'name: another run is writing to {os.path.relpath(folder)}. Wait for it, stop it, or choose another name.'
        ) from None
    except OSError:
        file.close()
        return None
    return file


@contextlib.contextmanager
def folder_held(folder: str | Path, taken: Exception) -> Iterator[None]:
    """Hold a folder within the block.

    Args:
        folder: as for :func:`lock_folder`.
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
