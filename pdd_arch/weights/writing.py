"""Weight files and training states are written atomically.

A reader sees the old file or the new one, never half of one, also after a power failure.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from pdd_arch.errors import WeightsError
from pdd_arch.utils.atomic import flush, temporary_beside
from pdd_arch.utils.files import sha256_of


class CheckpointWriter:
    """Writes files that belong together: all of them are on disk before the first becomes visible.

    In a ``with`` block, :meth:`add` every file, then :meth:`publish`. Whatever goes wrong in between, no temporary file
    is left and nothing that was there before is touched.
    """

    def __init__(self) -> None:
        self._staged: list[tuple[Path, Path]] = []

    def __enter__(self) -> 'CheckpointWriter':
        return self

    def __exit__(self, *_error: object) -> None:
        for temporary, _ in self._staged:
            temporary.unlink(missing_ok=True)
        self._staged.clear()

    def add(self, content: Mapping[str, object], path: str | Path) -> str:
        """Write `content` beside its final place, flushed to disk; gives the file's SHA-256. Raises WeightsError."""
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = temporary_beside(path)
            self._staged.append((temporary, path))
            with temporary.open('wb') as file:  # given a path, torch does not tell why it cannot write
                torch.save(dict(content), file)
            flush(temporary)
            return sha256_of(temporary)
        except (OSError, RuntimeError) as e:  # torch reports a failed write as RuntimeError
            raise _not_written(path, e) from e

    def publish(self, replacing: Path | None = None) -> None:
        """Give every file its name, in the order of :meth:`add`.

        An older file that vouches for the others (a training state), `replacing`, goes before they change. Raises
        WeightsError where a file cannot be renamed.
        """
        path = replacing
        try:
            if replacing is not None and replacing.exists():
                replacing.unlink()
                flush(replacing.parent)
            while self._staged:
                temporary, path = self._staged[0]
                os.replace(temporary, path)
                self._staged.pop(0)
                # the name must be on disk before that of a file that vouches for it
                flush(path.parent)
        except OSError as e:
            raise _not_written(path, e) from e


def write_checkpoint(content: Mapping[str, object], path: str | Path) -> None:
    """Write one file atomically; after a WeightsError (disk full, read-only ...) an older file is untouched."""
    with CheckpointWriter() as writer:
        writer.add(content, path)
        writer.publish()


def _not_written(path: Path | None, error: Exception) -> WeightsError:
    # torch wraps the reason of the system in its own complaint
    cause = error if isinstance(error, OSError) else error.__context__ or error
    reason = str(cause).strip().split('\n')[0]
    return WeightsError(
        f'could not be written: {reason}',
        where=str(path),
        way_out='Free space or make the folder writable, then start again with --auto_resume; earlier checkpoints are '
        'untouched.',
    )
