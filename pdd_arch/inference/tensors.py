"""Tensors of any size through a network: padded to the sizes that it takes, in windows where memory is short."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from pdd_arch.inference.tiling import plan_tiles


def required_multiple(net: nn.Module) -> int:
    """What sides of an input must be a multiple of, as far as the network tells by its attributes.

    ``window_size`` of transformers with windows (SwinIR, HAT ...); 2 and 4 for an x2 and x1 RRDBNet, which fold pixels
    into channels; 1 for all others.
    """
    size = getattr(net, 'window_size', None)
    sides = [size] if isinstance(size, int) else list(size) if isinstance(size, Sequence) else []
    if type(net).__name__ == 'SwinIR':  # BasicSR's has it in its layers only
        sides += [getattr(module, 'window_size', None) for module in net.modules()]
    sides = [s for s in sides if isinstance(s, int) and s > 0]
    if type(net).__name__ == 'RRDBNet':
        # BasicSR's own, and spandrel's
        folded = getattr(net, 'shuffle_factor', None) or {2: 2, 1: 4}.get(getattr(net, 'scale', 0))
        sides += [folded] if isinstance(folded, int) else []
    return math.lcm(*sides) if sides else 1


def forward_padded(net: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, multiple: int) -> torch.Tensor:
    """``net(x)``, (N, C, h * scale, w * scale), for an `x` (N, C, h, w) of any size.

    It is continued by its mirror image to the right and below to a multiple of `multiple`; the output is cut.
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
    """:func:`forward_padded` in windows (tile 0: none), so that the network needs memory for one window only.

    `tile` and `overlap` are LR pixels a side, as for `pdd_arch.inference.TiledUpscaler`.
    """
    height, width = x.shape[-2:]
    if tile == 0:
        return forward_padded(net, x, multiple)
    result: torch.Tensor | None = None
    for part in plan_tiles(height, width, tile, overlap, multiple):
        # a window that reaches over the end of the image is cut there, and continued by `forward_padded`
        window = x[..., part.rows.start : part.rows.stop, part.columns.start : part.columns.stop]
        output = forward_padded(net, window, multiple)
        scale = output.shape[-1] // window.shape[-1]
        if result is None:
            result = output.new_empty((*output.shape[:-2], height * scale, width * scale))
        place = (..., *part.place(scale))
        result[place] = part.kept(output, scale)
    assert result is not None  # there is a window at least
    return result
