"""A network as a function from images to images, in bounded memory."""

import math
import warnings
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch
from torch import nn

from pdd_arch.errors import DataError, NumbersError, OptionError, PDDWarning
from pdd_arch.inference.tensors import required_multiple
from pdd_arch.inference.tiling import Tile, plan_tiles
from pdd_arch.utils.wording import one_of, show

#: name -> type that the network computes in
PRECISIONS = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}


class TiledUpscaler:
    """Upscales images of any size, window by window.

    On the host there are the image, the result (both of whole numbers) and one batch of windows, never the whole image
    in floating point; on the device one batch of windows and what the network makes of it. An image that fits into one
    window is upscaled as a whole.

    With ``overlap`` at least the radius of the network's receptive field, the result is the untiled one up to the
    rounding of sums, image borders included. Less does nearly as well, as the influence of far pixels fades.
    The default of 32 is for realesr-general-x4v3 (radius 34): on eight photographs in tiles of 64, the largest
    difference from the untiled result was 1 level of 255 from 28 pixels on, 3 with 24, 15 with 16 and 33 with
    the 10 of Real-ESRGAN's scripts. ``experiments/benchmark/receptive_field.py`` measures both for other networks.

    Args:
        net: maps RGB (N, 3, h, w) in [0, 1] to (N, 3, h * scale, w * scale). Used in evaluation mode; a copy is made,
            and `net` stays as it is.
        scale: upscaling factor of the network.
        tile: LR pixels that a window contributes per side. 0: no tiles.
        overlap: LR pixels that a window takes in beyond that, on every side where the image goes on.
        batch: windows that go through the network at once.
        device: device the network runs on: ``cpu``, ``cuda`` ...
        precision: ``fp32``, ``fp16`` or ``bf16``. The network's weights are converted. Half precision is for GPUs
            and, as ``bf16``, for processors that have instructions for it.
        compile: run the network through ``torch.compile``. All images that are not smaller than a window then have
            windows of one shape, and the last batch is filled up: one compilation does for all of them.
        channels_last: memory layout in which convolutions are faster on almost all devices.
        align: what sides of an input must be a multiple of; None: from
            :func:`~pdd_arch.inference.required_multiple`. Images of other sizes are continued by their mirror image.

    Raises:
        OptionError: an argument is impossible.
    """

    def __init__(
        self,
        net: nn.Module,
        scale: int,
        *,
        tile: int = 256,
        overlap: int = 32,
        batch: int = 1,
        device: str | torch.device = 'cpu',
        precision: str = 'fp32',
        compile: bool = False,
        channels_last: bool = True,
        align: int | None = None,
    ) -> None:
        if not isinstance(net, nn.Module):
            raise OptionError(where='net', expected='a torch.nn.Module', found=type(net).__name__)
        align = required_multiple(net) if align is None else align
        self.scale, self.tile, self.overlap, self.batch, self.align = scale, tile, overlap, batch, align
        for name, least in dict(scale=1, tile=0, overlap=0, batch=1, align=1).items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise OptionError(where=name, expected=f'a whole number of at least {least}', found=show(value))
        if not isinstance(precision, str) or precision not in PRECISIONS:
            raise OptionError(where='precision', expected=one_of(PRECISIONS), found=show(precision))
        self.precision, self.compile = precision, compile
        self.device = _usable_device(device)
        if precision == 'fp16' and self.device.type == 'cpu':
            warnings.warn(
                "precision: 'fp16' on a CPU is ten to hundreds of times slower than 'fp32' on most; use 'bf16'",
                PDDWarning,
                stacklevel=2,
            )
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._dtype = PRECISIONS[precision]
        self._net = deepcopy(net).eval().requires_grad_(False)
        self._net.to(device=self.device, dtype=self._dtype).to(memory_format=self._layout)
        if compile:
            self._net.compile(dynamic=False)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """As :meth:`upscale`."""
        return self.upscale(image)

    def plan(self, height: int, width: int) -> list[Tile]:
        """The windows into which an image of that many LR pixels is cut."""
        return plan_tiles(height, width, self.tile, self.overlap, self.align, fit=not self.compile)

    def upscale(self, image: np.ndarray, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """Upscale an image.

        Args:
            image: (H, W, 3), uint8 or uint16, BGR, as OpenCV reads it.
            progress: called after every batch with the number of windows done and of all of them.

        Returns:
            (H * scale, W * scale, 3), of the type of `image`, BGR; rounded to the nearest level, as BasicSR's
            ``tensor2img`` does.

        Raises:
            DataError: the image is of another shape or type.
            OptionError: the size of the network's output is not what `scale` says.
            NumbersError: the network gives numbers that are not finite (in fp16, beyond 65504).
        """
        _check_image(image)
        plan = self.plan(*image.shape[:2])
        result = np.empty((image.shape[0] * self.scale, image.shape[1] * self.scale, 3), image.dtype)
        size = min(self.batch, len(plan))
        for done in range(0, len(plan), size):
            tiles = plan[done : done + size]
            self._upscale_batch(image, tiles, result, size if self.compile else len(tiles))
            if progress is not None:
                progress(done + len(tiles), len(plan))
        return result

    @torch.inference_mode()
    def _upscale_batch(self, image: np.ndarray, tiles: list[Tile], result: np.ndarray, size: int) -> None:
        """Write what `tiles` contribute into `result`; the batch is filled up to `size` with repetitions."""
        windows = np.stack([tile.read(image) for tile in tiles + tiles[-1:] * (size - len(tiles))])
        levels = np.iinfo(image.dtype).max
        outputs = self._run_network(self._to_tensor(windows, levels))
        if not torch.isfinite(outputs).all():
            raise NumbersError(
                where='net',
                expected=f'finite outputs in {self.precision}',
                found='others',
                way_out="Use precision 'bf16' or 'fp32'." if self.precision == 'fp16' else '',
            )
        for tile, output in zip(tiles, outputs, strict=False):
            result[tile.place(self.scale)] = _to_levels(tile.kept(output, self.scale), levels)

    def _to_tensor(self, windows: np.ndarray, levels: int) -> torch.Tensor:
        """(N, h, w, 3) whole numbers, BGR -> (N, 3, h, w) in [0, 1], RGB, on the device."""
        # 8 bits travel as they are, a quarter of the bytes; torch does little with 16 of them
        numbers = torch.from_numpy(windows if windows.dtype == np.uint8 else windows.astype(np.float32))
        values = numbers.to(self.device).permute(0, 3, 1, 2).flip(1).float().div_(levels)
        return values.to(dtype=self._dtype, memory_format=self._layout)

    def _run_network(self, windows: torch.Tensor) -> torch.Tensor:
        outputs = self._net(windows)
        count, _, height, width = windows.shape
        expected = (count, 3, height * self.scale, width * self.scale)
        found = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        if found != expected:
            raise OptionError(
                where='scale',
                expected=f'{expected} from the network with scale {self.scale} for an input of {tuple(windows.shape)}',
                found=str(found),
            )
        return outputs


def _to_levels(values: torch.Tensor, levels: int) -> np.ndarray:
    """(3, h, w) in [0, 1] and around, RGB -> (h, w, 3) whole numbers, BGR."""
    # float() first: 65535 is beyond fp16, and bf16 does not have all of 256 levels to round to
    rounded = values.float().clamp(0, 1).mul_(levels).round_().flip(0).permute(1, 2, 0)
    if levels == np.iinfo(np.uint8).max:
        return rounded.to(torch.uint8).contiguous().cpu().numpy()
    return rounded.contiguous().cpu().numpy().astype(np.uint16)


def _check_image(image: object) -> None:
    if not isinstance(image, np.ndarray):
        raise DataError(where='image', expected='a numpy array', found=type(image).__name__)
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(where='image', expected='uint8 or uint16', found=str(image.dtype))
    if image.ndim != 3 or image.shape[2] != 3 or math.prod(image.shape) == 0:
        raise DataError(where='image', expected='the shape (height, width, 3)', found=str(image.shape))


def _usable_device(device: str | torch.device) -> torch.device:
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise OptionError(
            where='device', expected="a device of torch such as 'cpu' or 'cuda'", found=show(device)
        ) from None
    if found.type == 'cuda' and (not torch.cuda.is_available() or (found.index or 0) >= torch.cuda.device_count()):
        there = torch.cuda.device_count() if torch.cuda.is_available() else 0
        devices = f"'cpu' or one of 'cuda:0' to 'cuda:{there - 1}'" if there else "'cpu', as torch finds no CUDA device"
        raise OptionError(where='device', expected=devices, found=f"'{found}'")
    try:
        torch.zeros(1, device=found).item()
    except (
        Exception
    ) as error:  # `meta` computes nothing, others are not built into this torch, which says so in all ways
        reason = ' '.join(str(error).split())[:150]
        what = f'torch cannot compute on {str(found)!r} here ({reason})'
        raise OptionError(what, where='device', way_out='Use cpu or cuda.') from None
    return found
