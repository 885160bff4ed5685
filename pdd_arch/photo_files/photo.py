"""A photograph in memory."""

from dataclasses import dataclass, field, replace

import numpy as np

from pdd_arch.photo_files.metadata import Metadata


@dataclass(frozen=True, eq=False)
class Photo:
    """Pixels, upright, with what a file says about them.

    Attributes:
        pixels: (H, W, 3) uint8 or uint16, BGR, not premultiplied by alpha; of a gray image three equal channels.
        alpha: (H, W) of the type of `pixels`, or None.
        gray: the file is a gray image, and is written as one.
        metadata: what else the file says.
        format: of the file, one of ``pdd_arch.images.structure.FORMATS``; None for pixels that came from no file.
        notes: what of the file could not be read, a sentence each.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    gray: bool = False
    metadata: Metadata = field(default_factory=Metadata)
    format: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def bits(self) -> int:
        """Bits per channel: 8 or 16."""
        return 8 * self.pixels.dtype.itemsize

    def with_pixels(self, pixels: np.ndarray, alpha: np.ndarray | None) -> 'Photo':
        """The same photograph with other pixels; metadata that state a size state the new one."""
        height, width = pixels.shape[:2]
        return replace(self, pixels=pixels, alpha=alpha, metadata=self.metadata.resized(width, height))
