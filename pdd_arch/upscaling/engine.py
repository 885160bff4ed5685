"""One photograph through a network: its colours, its alpha, the size wanted."""

import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np
import torch

from pdd_arch.errors import OptionError
from pdd_arch.inference import AUTO, AdaptiveUpscaler, LoadedNetwork
from pdd_arch.photo_files import Photo
from pdd_arch.utils.wording import show
from pdd_arch.weights.checkpoints import state_dict_hash

#: times the size of the input
MAX_OUTSCALE = 16
_TO_16_BITS = 257
_LEVELS_OF_16_BITS = 2**16


class PhotoUpscaler:
    """A network with all that decides what becomes of a photograph.

    A gray photograph goes through the network as three equal channels and comes back as their luma. Alpha goes through
    it as a gray image, unless it is the same everywhere. 16 bits stay 16.

    Args:
        network: of `pdd_arch.inference.load_network`.
        tile: LR pixels a side; ``auto``: from the free memory; 0: no tiles.
        overlap: LR pixels that a tile sees beyond (`pdd_arch.inference.TiledUpscaler`).
        device: ``cpu``, ``cuda`` ...; None: a GPU where there is one.
        half: compute in fp16, on a GPU.
        outscale: how many times as large as the input the result shall be; None: as the network makes it. What the
            network makes is brought to that size by area averaging, or Lanczos where it must grow.
        color_match: give every colour channel of the result the mean and the spread of the input
            (`pdd_arch.utils.color.match_color`), over the whole image.
        say: called with a sentence for the user, such as that tiles became smaller.

    Raises:
        OptionError: an argument is impossible.
    """

    def __init__(
        self,
        network: LoadedNetwork,
        *,
        tile: int | str = AUTO,
        overlap: int = 32,
        device: str | torch.device | None = None,
        half: bool = False,
        outscale: float | None = None,
        color_match: bool = False,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        number = isinstance(outscale, int | float) and not isinstance(outscale, bool)
        if outscale is not None and not (number and math.isfinite(outscale) and 0 < outscale <= MAX_OUTSCALE):
            raise OptionError(f'outscale: expected a number above 0, {MAX_OUTSCALE} at most, found {show(outscale)}')
        device = torch.device('cuda' if torch.cuda.is_available() else 'cpu') if device is None else device
        if half and str(device).partition(':')[0] == 'cpu':
            raise OptionError('half: computes in fp16, which needs a GPU; found the device cpu. Leave it out.')
        options = dict(tile=tile, overlap=overlap, device=device, say=say)
        self._upscaler = AdaptiveUpscaler(network.net, network.scale, precision='fp16' if half else 'fp32', **options)
        self.network, self.half, self.color_match = network, half, color_match
        self.outscale = float(network.scale if outscale is None else outscale)
        self._weights = state_dict_hash(network.net.state_dict())

    @property
    def device(self) -> torch.device:
        """That it computes on."""
        return self._upscaler.device

    @property
    def settings(self) -> Mapping[str, object]:
        """What decides the pixels of a result, up to rounding: weights and options, but not tiles and device."""
        return dict(
            weights=self._weights,
            scale=self.network.scale,
            outscale=self.outscale,
            half=self.half,
            color_match=self.color_match,
        )

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the result for an input of that size."""
        return max(1, round(height * self.outscale)), max(1, round(width * self.outscale))

    def __call__(self, photo: Photo, progress: Callable[[int, int], None] | None = None) -> Photo:
        """The photograph `outscale` times as large.

        Args:
            photo: of any kind that `pdd_arch.photo_files` reads.
            progress: called with the number of tiles done and of all of them.

        Raises:
            NumbersError: the network gives numbers that are not finite.
            PDDError: memory does not do even for the smallest tile.
        """
        pixels = photo.pixels
        if self.color_match and photo.bits == 8:
            # the correction is computed from, and applied to, finer levels than those that are written
            pixels = pixels.astype(np.uint16) * _TO_16_BITS
        result = self._upscaler.upscale(pixels, progress)
        if self.color_match:
            result = match_levels(result, photo.pixels)
        result = self._resized(result, photo)
        if photo.gray:
            result = cv2.cvtColor(cv2.cvtColor(result, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        return photo.with_pixels(result, self._alpha(photo))

    def _alpha(self, photo: Photo) -> np.ndarray | None:
        alpha = photo.alpha
        if alpha is None:
            return None
        if alpha.min() == alpha.max():
            return np.full(self.output_size(*alpha.shape), alpha.flat[0], alpha.dtype)
        result = self._upscaler.upscale(cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR))
        return self._resized(cv2.cvtColor(result, cv2.COLOR_BGR2GRAY), photo)

    def _resized(self, result: np.ndarray, photo: Photo) -> np.ndarray:
        height, width = self.output_size(photo.height, photo.width)
        if result.shape[:2] == (height, width):
            return result
        shrinks = height <= result.shape[0]
        return cv2.resize(result, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4)


def match_levels(result: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """`pdd_arch.utils.color.match_color` for whole numbers, without a copy of the image in floating point.

    It differs from that in its input only, which is rounded to 16 bits and clamped.

    Args:
        result: (H, W, 3) uint16.
        reference: (h, w, 3) uint8 or uint16, what the result was made from.

    Returns:
        (H, W, 3), of the type of `reference`.
    """
    levels = np.iinfo(reference.dtype).max
    matched = np.empty(result.shape, reference.dtype)
    values = np.arange(_LEVELS_OF_16_BITS) / (_LEVELS_OF_16_BITS - 1)
    for channel in range(result.shape[2]):
        mean, std = _moments(result[..., channel])
        wanted_mean, wanted_std = _moments(reference[..., channel])
        gain = wanted_std / std if std > 0 else 0.0
        table = np.rint(((values - mean) * gain + wanted_mean).clip(0, 1) * levels).astype(reference.dtype)
        matched[..., channel] = table[result[..., channel]]
    return matched


def _moments(channel: np.ndarray) -> tuple[float, float]:
    """Mean and unbiased standard deviation, in [0, 1]."""
    mean, std = (float(v[0, 0]) for v in cv2.meanStdDev(np.ascontiguousarray(channel)))
    levels = np.iinfo(channel.dtype).max
    # a single pixel has no spread
    return mean / levels, std / levels * math.sqrt(channel.size / max(channel.size - 1, 1))
