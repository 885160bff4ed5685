"""How far the pixels of an input reach in the output of a network: the overlap that tiles need."""

import math
from copy import deepcopy

import numpy as np
import torch
from torch import nn

from pdd_arch.errors import DataError, OptionError
from pdd_arch.inference import required_multiple
from pdd_arch.inference.tiling import Tile, cover

#: LR pixels; wider than any gap in a kernel that networks have
_FIRST_REACH = 128


def receptive_radius(net: nn.Module, scale: int, align: int | None = None, limit: int = 1024) -> int | None:
    """Distance in LR pixels beyond which no input pixel can have any influence on an output pixel.

    Tiles with at least this overlap reproduce the untiled result, up to the rounding of floating-point sums. It is the
    structure of the network that counts, not its weights: a pixel that is not a number (NaN) makes everything that it
    can reach not a number. The probe is a long narrow image, so that also deep networks take seconds; it runs in
    float32 on the CPU, where no convolution takes the detour of a transform that would carry a NaN further. Not found
    is what lies behind a gap of more than 128 pixels (a kernel dilated as far).

    Args:
        net: maps (N, 3, h, w) to (N, 3, h * scale, w * scale). Stays as it is.
        scale: upscaling factor.
        align: multiple that sides of an input must be of; found by :func:`required_multiple` if None.
        limit: largest radius looked for.

    Returns:
        The radius; None if there is none up to `limit`: an output depends on the whole image (a mean over it, global
        attention), or on pixels further away than `limit`. Its tiles can only be nearly right.

    Raises:
        OptionError: the output has another size than `scale` says, or a pixel reaches nothing.
    """
    align = required_multiple(net) if align is None else align
    net = deepcopy(net).cpu().float().eval()
    reach = _FIRST_REACH
    while True:
        reach = min(reach, limit)
        radii = [_probe(net, scale, align, reach, upright) for upright in (False, True)]
        if max(radii) <= reach:
            return max(radii)
        if reach == limit:
            return None
        reach *= 2


def _probe(net: nn.Module, scale: int, align: int, reach: int, upright: bool) -> int:
    """Largest distance along one side, more than `reach` if it may be more than that."""
    before = -(-(reach + 1) // align) * align
    length, breadth = 2 * before + align, -(-8 // align) * align
    # one image for each position relative to the grid of the network
    images = torch.full((align, 3, breadth, length), 0.5)
    for i in range(align):
        images[i, :, :, before + i] = math.nan
    images = images.transpose(2, 3) if upright else images
    with torch.inference_mode():
        outputs = net(images)
    if outputs.shape[2:] != tuple(side * scale for side in images.shape[2:]):
        raise OptionError(
            where='scale',
            expected='that of the network',
            found=f'{scale}; it makes {tuple(outputs.shape[2:])} out of {tuple(images.shape[2:])} pixels',
        )
    outputs = outputs.transpose(2, 3) if upright else outputs
    largest = 0
    for i, output in enumerate(outputs):
        reached = output.isnan().any(0).any(0).nonzero().flatten()
        if not len(reached):
            raise OptionError(
                where='net', expected='outputs that depend on every pixel', found='one that reaches none of them'
            )
        first, last = int(reached[0]) // scale, int(reached[-1]) // scale
        largest = max(largest, before + i - first, last - before - i)
    return largest


def effective_overlap(
    net: nn.Module,
    image: np.ndarray,
    scale: int,
    tolerance: float = 1 / 255,
    tile: int = 64,
    limit: int = 64,
    align: int | None = None,
    step: int = 2,
) -> int | None:
    """Smallest overlap with which tiles of one image differ from its untiled result by no more than `tolerance`.

    Found by upscaling `image` as a whole and in tiles with less and less overlap; float32, on the device of the
    network. Choose an image of the kind to be upscaled, small enough to be upscaled as a whole: a value for one image
    is no promise for the next. Smaller than :func:`receptive_radius`, often far smaller: the influence of far pixels
    fades.

    Args:
        net: maps RGB (N, 3, h, w) in [0, 1] to (N, 3, h * scale, w * scale); in evaluation mode.
        image: (H, W, 3), uint8 or uint16, BGR.
        scale: upscaling factor.
        tolerance: of the output's range [0, 1], in which it is clamped.
        tile: LR pixels of a tile.
        limit: largest overlap tried.
        align: as for :func:`receptive_radius`.
        step: between overlaps tried.

    Returns:
        The overlap; None if `limit` is not enough.

    Raises:
        DataError: the image is too small to be cut into tiles with that overlap.
    """
    align = required_multiple(net) if align is None else align
    height, width = image.shape[:2]
    if max(height, width) <= tile + 2 * limit:
        raise DataError(
            where='image',
            expected=f'a side of more than tile + 2 * limit = {tile + 2 * limit} pixels',
            found=f'{height} x {width}',
        )
    device = next((p.device for p in net.parameters()), torch.device('cpu'))

    def run(part: Tile) -> torch.Tensor:
        pixels = np.ascontiguousarray(part.read(image)[..., ::-1], dtype=np.float32)
        values = torch.from_numpy(pixels).to(device).permute(2, 0, 1)[None] / np.iinfo(image.dtype).max
        return net(values)[0].clamp(0, 1)

    def deviation(overlap: int) -> float:
        largest = 0.0
        for rows in cover(height, tile, overlap, align, fit=False):
            for columns in cover(width, tile, overlap, align, fit=False):
                part = Tile(rows, columns)
                own, wanted = part.kept(run(part), scale), whole[(..., *part.place(scale))]
                largest = max(largest, (own - wanted).abs().max().item())
        return largest

    with torch.inference_mode():
        whole = run(Tile(cover(height, 0, 0, align)[0], cover(width, 0, 0, align)[0]))
        enough = None
        for overlap in range(limit, -1, -step):
            if deviation(overlap) > tolerance:
                break
            enough = overlap
    return enough
