"""Images of any size through networks that only take sides of a certain multiple."""

from collections.abc import Callable

import torch
import torch.nn.functional as F


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
