"""Weight files that several parts of a run need, read once."""

from pathlib import Path
from typing import Any

from pdd_arch.weights import zoo
from pdd_arch.weights.checkpoints import read_checkpoint, weight_file


class OpenedWeights:
    """Keeps the content of weight files until it is released; a file that has changed is read again."""

    def __init__(self) -> None:
        self._held: dict[tuple[object, ...], dict[str, Any]] = {}

    def read(self, path: str | Path, where: str) -> dict[str, Any]:
        """As `pdd_arch.weights.checkpoints.read_checkpoint`. The content is shared: its tensors must not be changed.

        Raises:
            MissingFileError, WeightsError: see there.
        """
        file = weight_file(path, where)
        status = file.stat()
        key = (zoo.is_zoo(path), file.resolve(), status.st_size, status.st_mtime_ns)
        if key not in self._held:
            self._held[key] = read_checkpoint(path, where)
        return self._held[key]

    def release(self) -> None:
        """Forget everything, so that the memory is free."""
        self._held.clear()
