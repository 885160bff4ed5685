"""Tensors of any size through a network: padded to what it takes, in windows where memory is short."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from pdd_arch.inference.tiling import plan_tiles


def forward_padded(net: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, multiple: int) -> torch.Tensor:
    """``net(x)`` for an `x` of any size: continued by its mirror image to the right and below, and cut afterwards.

    Args:
        net: maps (N, C, h, w) to (N, C, h * scale, w * scale).
        x: (N, C, h, w).
        multiple: of `pdd_arch.inference.required_multiple`.

    Returns:
        (N, C, h * scale, w * scale).
    """
    height, width = x.shape[-2:]
    below, right = -height % multiple, -width % multiple
    if not (below or right):
        return net(x)
    # an image smaller than its own border has no mirror image that large
    mode = 'reflect' if below < height and right < width else 'replicate'
    y = net(F.pad(x, (0, right, 0, below), mode=mode))
    scale = y.shape[-1] // (width + right)
    return y[..., : height * scale, : width * scale]


def forward_tiled(
    net: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, multiple: int, tile: int = 0, overlap: int = 32
) -> torch.Tensor:
    """:func:`forward_padded` in windows: what the network needs on the way is that of one window.

    Args:
        net, x, multiple: as there.
        tile: LR pixels that a window contributes per side; 0: no windows.
        overlap: LR pixels that it sees beyond (`pdd_arch.inference.TiledUpscaler` says what networks need).

    Returns:
        (N, C, h * scale, w * scale), on the device of `x`.
    """
    height, width = x.shape[-2:]
    if tile == 0:
        return forward_padded(net, x, multiple)
    result = None
    for part in plan_tiles(height, width, tile, overlap, multiple):
        rows, columns = part.rows, part.columns
        # a window may reach over the end of the image, where it is continued
        window = x[..., rows.start : min(rows.stop, height), columns.start : min(columns.stop, width)]
        output = forward_padded(net, window, multiple)
        scale = output.shape[-1] // window.shape[-1]
        if result is None:
            result = output.new_empty((*output.shape[:-2], height * scale, width * scale))
        kept = output[..., rows.kept_of_output(scale), columns.kept_of_output(scale)]
        above, left = rows.keep_start * scale, columns.keep_start * scale
        result[..., above : above + kept.shape[-2], left : left + kept.shape[-1]] = kept
    return result
