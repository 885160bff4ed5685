"""How an image is cut into windows: geometry only, no networks.

A window is the input of one forward pass, its kept part is what it contributes to the output. Kept parts partition the
image. All windows of an image have one shape, so that they can be batched and a compiled network is compiled once. A
window never reaches over a border of the image, and ends exactly there where its kept part does: how a network pads
beyond a border (with zeros, mostly) is then the same as without tiles.
"""

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import torch


@dataclass(frozen=True)
class Span:
    """A window along one side, in LR pixels: it takes in ``[start, stop)`` and contributes ``[keep_start, keep_stop)``.

    `stop` may lie up to ``align - 1`` pixels behind the end of the image, where the image is mirrored.
    """

    start: int
    stop: int
    keep_start: int
    keep_stop: int

    def kept_of_output(self, scale: int) -> slice:
        """The part contributed, in the network's output for this window."""
        return slice((self.keep_start - self.start) * scale, (self.keep_stop - self.start) * scale)


@dataclass(frozen=True)
class Tile:
    """A window: its rows and columns."""

    rows: Span
    columns: Span

    def read(self, image: np.ndarray) -> np.ndarray:
        """The pixels of the window, from an (H, W, C) image; mirrored at its end where they reach over it."""
        height, width = image.shape[:2]
        rows, columns = self.rows, self.columns
        if rows.stop <= height and columns.stop <= width:
            return image[rows.start : rows.stop, columns.start : columns.stop]
        return image[np.ix_(_mirrored(rows, height), _mirrored(columns, width))]

    def kept(self, output: torch.Tensor, scale: int) -> torch.Tensor:
        """The part that the window contributes of the network's output for it, (..., h * scale, w * scale)."""
        return output[..., self.rows.kept_of_output(scale), self.columns.kept_of_output(scale)]

    def place(self, scale: int) -> tuple[slice, slice]:
        """Rows and columns of the upscaled image to which that part belongs."""
        rows, columns = (slice(s.keep_start * scale, s.keep_stop * scale) for s in (self.rows, self.columns))
        return rows, columns


def plan_tiles(height: int, width: int, tile: int, overlap: int, align: int = 1, fit: bool = True) -> list[Tile]:
    """The windows of an image, all of one shape, row by row; see :func:`cover`."""
    rows, columns = (cover(length, tile, overlap, align, fit) for length in (height, width))
    return [Tile(*spans) for spans in product(rows, columns)]


def cover(length: int, tile: int, overlap: int, align: int = 1, fit: bool = True) -> tuple[Span, ...]:
    """Windows along one side of an image, all of one length.

    Args:
        length: length of the side in LR pixels, at least 1.
        tile: LR pixels that a window contributes at most, rounded up to `align`; 0 for one window over the whole side.
        overlap: LR pixels that a window takes in, at least, beyond what it contributes, except where the image ends.
        align: windows begin at multiples of it and are multiples of it long. The image is thought to be continued by
            its mirror image to the next multiple.
        fit: make the windows as short as their number allows. Otherwise all sides that are not shorter than a window
            get windows of the same length, whatever their own.

    Returns:
        From the beginning of the side to its end. A single one where a window can take in all of the side.
    """
    padded = _round_up(length, align)
    shared = _round_up(2 * overlap, align)
    step = _round_up(tile, align)
    if tile == 0 or padded <= step + shared:
        return (Span(0, padded, 0, length),)
    number = -(-(padded - shared) // step)
    if fit:
        step = _round_up(-(-(padded - shared) // number), align)
        number = -(-(padded - shared) // step)  # fewer, if rounding up has made up for one
    window = step + shared
    # the last one is moved back to end where the image does
    starts = [min(i * step, padded - window) for i in range(number)]
    # each gives way to the next in the middle of what both take in
    middles = [(following + start + window) // 2 for start, following in pairwise(starts)]
    return tuple(
        Span(start, start + window, cut, next_cut)
        for start, (cut, next_cut) in zip(starts, pairwise([0, *middles, length]), strict=True)
    )


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _mirrored(span: Span, length: int) -> np.ndarray:
    """Indices of a span in a side that is continued by its mirror image, the last pixel not repeated."""
    return np.pad(np.arange(length), (0, max(0, span.stop - length)), 'reflect')[span.start : span.stop]
