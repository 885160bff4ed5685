"""One photograph through a network: its colours, its alpha, and the size of the result."""

import math
import os
from collections.abc import Callable

import cv2
import numpy as np
import torch

from pdd_arch.errors import OptionError
from pdd_arch.inference import AUTO, AdaptiveUpscaler, LoadedNetwork, load_network
from pdd_arch.photo_files.photo import Photo
from pdd_arch.utils.wording import show
from pdd_arch.weights.checkpoints import state_dict_hash

#: times the size of the input
MAX_OUTSCALE = 16
_LEVELS_OF_16_BITS = 2**16


class PhotoUpscaler:
    """A network with all that decides what becomes of a photograph.

    A gray photograph goes through the network as three equal channels and comes back as their luma. Alpha goes through
    it as a gray image, unless it is constant. 16 bits stay 16.

    Attributes:
        network: the network.
        device: device it runs on.
        outscale: how many times as large as the inputs the results are.
    """

    def __init__(
        self,
        model: str | os.PathLike | LoadedNetwork,
        *,
        tile: int | str = AUTO,
        overlap: int = 32,
        device: str | torch.device | None = None,
        half: bool = False,
        outscale: float | None = None,
        color_match: bool = False,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """
        Args:
            model: weight file, folder made by ``pdd adapt``, or name of a published network
                (`pdd_arch.inference.load_network`); or such a network, loaded.
            tile: LR pixels a side that go through the network at once; ``auto``: as many as the free memory allows; 0:
                no tiles. When memory runs out, the tile is halved.
            overlap: LR pixels that a tile takes in beyond its own (`pdd_arch.inference.TiledUpscaler`).
            device: device the network runs on: ``cpu``, ``cuda`` ...; None: a GPU where there is one.
            half: compute in fp16, on a GPU.
            outscale: how many times as large as the input the result is to be; None: the network's own scale. The
                network's output is brought to that size by area averaging, or by Lanczos interpolation where it has
                to grow.
            color_match: give every colour channel of the result the mean and the standard deviation of the input
                (`pdd_arch.utils.color.match_color`), over the whole image.
            say: called with a sentence when something is done differently from what was asked, as with smaller tiles,
                or a prefix is removed from the names in a weight file.

        Raises:
            MissingFileError, WeightsError: the model cannot be found, or read.
            OptionError: an argument is impossible.
        """
        number = isinstance(outscale, int | float) and not isinstance(outscale, bool)
        if outscale is not None and not (number and 0 < outscale <= MAX_OUTSCALE):
            expected = f'a number above 0, {MAX_OUTSCALE} at most'
            raise OptionError(where='outscale', expected=expected, found=show(outscale))
        device = torch.device('cuda' if torch.cuda.is_available() else 'cpu') if device is None else device
        if half and str(device).partition(':')[0] == 'cpu':
            what = 'computes in fp16, which needs a GPU; found the device cpu'
            raise OptionError(what, where='half', way_out='Leave it out.')
        self.network = network = model if isinstance(model, LoadedNetwork) else load_network(os.fspath(model))
        for note in network.notes:
            say(note)
        self._upscaler = AdaptiveUpscaler(
            network.net,
            network.scale,
            tile=tile,
            overlap=overlap,
            device=device,
            precision='fp16' if half else 'fp32',
            say=say,
        )
        self.device = self._upscaler.device
        self.outscale = float(network.scale if outscale is None else outscale)
        self._half, self._color_match = half, color_match
        self._weights = state_dict_hash(network.net.state_dict())

    def settings(self, quality: int) -> dict[str, object]:
        """What decides an output besides its photograph and format, up to rounding: neither tiles nor device."""
        return dict(
            weights=self._weights,
            scale=self.network.scale,
            outscale=self.outscale,
            half=self._half,
            color_match=self._color_match,
            quality=quality,
        )

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the result for an input of that size."""
        return max(1, round(height * self.outscale)), max(1, round(width * self.outscale))

    def upscale(self, photo: Photo, progress: Callable[[int, int], None] | None = None) -> Photo:
        """The photograph, `outscale` times as large.

        Args:
            photo: of any kind that `pdd_arch.photo_files` reads.
            progress: called with the number of tiles done and of all of them.

        Raises:
            NumbersError: the network gives numbers that are not finite.
            PDDError: there is too little memory even for the smallest tile.
        """
        pixels = photo.pixels
        if self._color_match and photo.bits == 8:
            # the correction is computed from, and applied to, finer levels than those that are written
            pixels = pixels.astype(np.uint16) * 257
        result = self._upscaler.upscale(pixels, progress)
        if self._color_match:
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
        height, width = self.output_size(*photo.pixels.shape[:2])
        if result.shape[:2] == (height, width):
            return result
        method = cv2.INTER_AREA if height <= result.shape[0] else cv2.INTER_LANCZOS4
        return cv2.resize(result, (width, height), interpolation=method)


def match_levels(result: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """`pdd_arch.utils.color.match_color` for whole numbers, without a copy of the image in floating point.

    Only the input differs: it has been rounded to 16 bits and clamped. Takes (H, W, 3) uint16 and what it was made
    from, (h, w, 3) uint8 or uint16; gives (H, W, 3) of the latter's type.
    """
    (mean, std), (wanted_mean, wanted_std) = _moments(result), _moments(reference)
    gain = np.divide(wanted_std, std, out=np.zeros(3), where=std > 0)
    values = np.arange(_LEVELS_OF_16_BITS)[:, None] / (_LEVELS_OF_16_BITS - 1)
    levels = np.iinfo(reference.dtype).max
    table = np.rint(((values - mean) * gain + wanted_mean).clip(0, 1) * levels).astype(reference.dtype)
    return np.dstack([table[result[..., channel], channel] for channel in range(3)])


def _moments(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased standard deviation of each of three channels, in [0, 1]."""
    mean, std = (values[:, 0] / np.iinfo(image.dtype).max for values in cv2.meanStdDev(image))
    pixels = image.shape[0] * image.shape[1]
    return mean, std * math.sqrt(pixels / max(pixels - 1, 1))  # a single pixel has no spread
