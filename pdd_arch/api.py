"""Upscaling in three lines of Python.

from pdd_arch import Upscaler

upscale = Upscaler('model.pth')
upscale('photo.jpg').save('large.png')
"""

import io
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pdd_arch.errors import DataError
from pdd_arch.inference import AUTO, LoadedNetwork, load_network
from pdd_arch.photo_files import QUALITY, Photo, decode_photo, read_photo, write_photo
from pdd_arch.upscaling import PhotoUpscaler

__all__ = ['UpscaledPhoto', 'Upscaler']


class UpscaledPhoto:
    """A result: to be saved with the metadata of its source, or used as an array or a Pillow image."""

    def __init__(self, photo: Photo) -> None:
        self.photo = photo

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), as Pillow has it."""
        return self.photo.width, self.photo.height

    @property
    def array(self) -> np.ndarray:
        """RGB (H, W, 3) uint8 or uint16; RGBA with alpha; of a gray image (H, W), or (H, W, 2) with alpha."""
        pixels = self.photo.pixels[..., 0] if self.photo.gray else self.photo.pixels[..., ::-1]
        if self.photo.alpha is not None:
            pixels = np.dstack([pixels, self.photo.alpha])
        return np.ascontiguousarray(pixels)

    @property
    def image(self) -> Image.Image:
        """A Pillow image with the colour profile; 16 bits become 8, which is what Pillow has for colours."""
        array = self.array
        if array.dtype == np.uint16:
            array = np.rint(array / 257.0).astype(np.uint8)
        image = Image.fromarray(array)
        if self.photo.metadata.icc:
            image.info['icc_profile'] = self.photo.metadata.icc
        return image

    def save(self, path: str | os.PathLike, quality: int = QUALITY, overwrite: bool = False) -> list[str]:
        """Write a PNG, JPEG, WebP or TIFF, by the extension, with profile and metadata.

        Args:
            path: of the file.
            quality: of JPEG and WebP, 1 to 100.
            overwrite: whether a file there may be replaced.

        Returns:
            What the source had and the file has not, a sentence each: mostly nothing.

        Raises:
            DataError: there is a file already, or it cannot be written.
            OptionError: the extension is of another format, or the quality impossible.
        """
        return [*self.photo.notes, *write_photo(self.photo, path, quality, overwrite)]


class Upscaler:
    """A network that upscales photographs: files, Pillow images or arrays.

    Args:
        model: weight file, folder made by ``pdd adapt``, or name of a published network
            (`pdd_arch.inference.load_network`).
        tile: LR pixels a side that go through the network at once; ``auto``: from the free memory; 0: no tiles. After
            an error for want of memory the tile is halved.
        overlap: LR pixels that a tile sees beyond.
        device: ``cpu``, ``cuda`` ...; None: a GPU where there is one.
        half: compute in fp16, on a GPU.
        outscale: how many times as large the result shall be; None: as the network makes it.
        color_match: give the result the input's mean and spread of every colour channel.
        say: called with a sentence when something is done otherwise than asked, such as with smaller tiles.

    Raises:
        MissingFileError, WeightsError: the model cannot be found, or read.
        OptionError: an argument is impossible.
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
        network = model if isinstance(model, LoadedNetwork) else load_network(os.fspath(model))
        options = dict(outscale=outscale, color_match=color_match, say=say)
        self._upscale = PhotoUpscaler(network, tile=tile, overlap=overlap, device=device, half=half, **options)

    @property
    def scale(self) -> float:
        """How many times as large the results are."""
        return self._upscale.outscale

    @property
    def device(self) -> torch.device:
        """That it computes on."""
        return self._upscale.device

    def __call__(
        self, image: str | os.PathLike | Image.Image | np.ndarray, progress: Callable[[int, int], None] | None = None
    ) -> UpscaledPhoto:
        """Upscale one image.

        Args:
            image: path of a file; a Pillow image; or an array of uint8 or uint16: gray (H, W), RGB (H, W, 3) or RGBA
                (H, W, 4). RGB as Pillow, scikit-image and imageio have it; an image of OpenCV is BGR:
                ``image[..., ::-1]``.
            progress: called with the number of tiles done and of all of them.

        Raises:
            MissingFileError, DataError: the image cannot be read, or is of another kind.
            NumbersError: the network gives numbers that are not finite.
        """
        return UpscaledPhoto(self._upscale(_as_photo(image), progress))


def _as_photo(image: object) -> Photo:
    if isinstance(image, str | Path | os.PathLike):
        return read_photo(image)
    if isinstance(image, Image.Image):
        return _from_pillow(image)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    raise DataError(f'image: expected a path, a Pillow image or a numpy array, found {type(image).__name__}')


def _from_pillow(image: Image.Image) -> Photo:
    """As if it had been read from a file, which makes one of Pillow's many kinds of images."""
    file = io.BytesIO()
    save = partial(image.save, file, exif=image.getexif(), icc_profile=image.info.get('icc_profile'))
    try:
        if image.mode == 'CMYK':
            save('TIFF')
        else:
            save('PNG', compress_level=1)
    except (OSError, ValueError) as error:
        raise DataError(
            f"image: a Pillow image of mode {image.mode!r} is not supported ({error}). Convert it: image.convert('RGB')"
        ) from None
    return decode_photo(file.getvalue(), 'image')


def _from_array(array: np.ndarray) -> Photo:
    if array.dtype not in (np.uint8, np.uint16):
        raise DataError(
            f'image: expected an array of uint8 or uint16, found {array.dtype}. Values in [0, 1]: '
            '(image * 255).round().astype(numpy.uint8)'
        )
    gray = array.ndim == 2
    if array.size == 0 or not (gray or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise DataError(f'image: expected the shape (H, W), (H, W, 3) or (H, W, 4), found {array.shape}')
    if gray:
        return Photo(np.repeat(array[..., None], 3, axis=2), gray=True)
    alpha = np.ascontiguousarray(array[..., 3]) if array.shape[2] == 4 else None
    return Photo(np.ascontiguousarray(array[..., 2::-1]), alpha)
