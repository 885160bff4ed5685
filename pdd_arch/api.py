"""Upscaling in three lines of Python.

from pdd_arch import Upscaler

upscale = Upscaler('model.pth')
upscale('photo.jpg').save('large.png')
"""

import io
import os
from collections.abc import Callable

import numpy as np
from PIL import Image

from pdd_arch.errors import DataError
from pdd_arch.photo_files.photo import Photo
from pdd_arch.photo_files.reading import decode_photo, read_photo
from pdd_arch.photo_files.writing import QUALITY, write_photo
from pdd_arch.upscaling.engine import PhotoUpscaler


class UpscaledPhoto:
    """A result: to be saved with the metadata of its source, or used as an array or a Pillow image."""

    def __init__(self, photo: Photo) -> None:
        self.photo = photo

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), as Pillow has it."""
        height, width = self.photo.pixels.shape[:2]
        return width, height

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
            path: the file to write.
            quality: of JPEG and WebP, 1 to 100.
            overwrite: whether a file there may be replaced.

        Returns:
            What the source has and the file has not, a sentence each: mostly nothing.

        Raises:
            DataError: there is a file already, or it cannot be written.
            OptionError: the extension is of another format, or the quality impossible.
        """
        return [*self.photo.notes, *write_photo(self.photo, path, quality, overwrite)]


class Upscaler(PhotoUpscaler):
    """A network that upscales photographs: files, Pillow images or arrays."""

    @property
    def scale(self) -> float:
        """How many times as large as the inputs the results are."""
        return self.outscale

    def __call__(
        self, image: str | os.PathLike | Image.Image | np.ndarray, progress: Callable[[int, int], None] | None = None
    ) -> UpscaledPhoto:
        """Upscale one image.

        Args:
            image: path of a file; a Pillow image; or an array of uint8 or uint16: gray (H, W), RGB (H, W, 3) or RGBA
                (H, W, 4), as in Pillow, scikit-image and imageio. OpenCV has BGR: ``image[..., ::-1]``.
            progress: called with the number of tiles done and of all of them.

        Raises:
            MissingFileError, DataError: the image cannot be read, or is of another kind.
            PDDError: as :meth:`upscale`.
        """
        return UpscaledPhoto(self.upscale(_as_photo(image), progress))


def _as_photo(image: object) -> Photo:
    if isinstance(image, str | os.PathLike):
        return read_photo(image)
    if isinstance(image, Image.Image):
        return _from_pillow(image)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    raise DataError(where='image', expected='a path, a Pillow image or a numpy array', found=type(image).__name__)


def _from_pillow(image: Image.Image) -> Photo:
    """As if it had been read from a file, so that Pillow's many kinds of images need not be told apart."""
    file = io.BytesIO()
    kind = 'TIFF' if image.mode == 'CMYK' else 'PNG'
    profile = image.info.get('icc_profile')
    try:
        image.save(file, kind, exif=image.getexif(), icc_profile=profile, compress_level=1)
    except (OSError, ValueError) as error:
        what = f'a Pillow image of mode {image.mode!r} is not supported ({error})'
        raise DataError(what, where='image', way_out="Convert it: image.convert('RGB')") from None
    return decode_photo(file.getvalue(), 'image')


def _from_array(array: np.ndarray) -> Photo:
    if array.dtype not in (np.uint8, np.uint16):
        expected, way_out = 'an array of uint8 or uint16', 'Values in [0, 1]: (image * 255).round().astype(numpy.uint8)'
        raise DataError(where='image', expected=expected, found=str(array.dtype), way_out=way_out)
    gray = array.ndim == 2
    if array.size == 0 or not (gray or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise DataError(where='image', expected='the shape (H, W), (H, W, 3) or (H, W, 4)', found=str(array.shape))
    if gray:
        return Photo(np.repeat(array[..., None], 3, axis=2), gray=True)
    alpha = np.ascontiguousarray(array[..., 3]) if array.shape[2] == 4 else None
    return Photo(np.ascontiguousarray(array[..., 2::-1]), alpha)
