"""Weight files that were read before the networks they are for are built."""

from pathlib import Path
from typing import Any

from pdd_arch.weights.checkpoints import read_checkpoint


class OpenedWeights:
    """Contents of weight files, each read once however many options name it, until they are released."""

    def __init__(self) -> None:
        self._contents: dict[str, dict[str, Any]] = {}

    def read(self, path: str | Path, option: str) -> dict[str, Any]:
        """As `read_checkpoint`; the content is shared, so it must not be changed.

        Args:
            path: the file, ``bundled:NAME`` or ``zoo:NAME``.
            option: option key that named the file, for messages.

        Raises:
            MissingFileError, WeightsError: as `read_checkpoint`.
        """
        if str(path) not in self._contents:
            self._contents[str(path)] = read_checkpoint(path, option)
        return self._contents[str(path)]

    def release(self) -> None:
        """Let go of all contents, once the networks hold them."""
        self._contents.clear()
