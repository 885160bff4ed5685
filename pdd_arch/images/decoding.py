"""Reading photographs, with errors that name the file.

What a file becomes (as ``RealESRGANer`` treats its inputs):

* 8-bit values are divided by 255, 16-bit values by 65535. The depth is the one stored in the file; the
  brightness of the picture plays no part (``RealESRGANer`` takes a dark 16-bit image for an 8-bit one).
* Grayscale becomes three equal channels. Alpha is dropped, not blended.
* EXIF orientation is applied, so a phone photograph stands as every viewer shows it.
* The format is told by the content, whatever the file is called. Of several pages or frames the first is read.

``IMREAD_COLOR | IMREAD_ANYDEPTH`` does all of this but the turning, which depends on OpenCV's version (4.10 turns no
WebP, and no JPEG that has its EXIF behind XMP) and is done here.

Damage in the middle of a file is found where the format allows it: always in a PNG (checksums), in a JPEG when
the decoder loses its place, hardly ever in a BMP, TIFF or WebP: they have no checksums, or OpenCV passes over
what they say.
"""

import mmap
import os
import re

import cv2
import numpy as np

from pdd_arch.errors import DataError
from pdd_arch.images.decoder_messages import decoder_complaint, jpeg_damage, messages_of_decoder, pass_on
from pdd_arch.images.structure import (
    format_of,
    orientation,
    size_problem,
    stored_size,
    structural_problem,
    without_animation,
)
from pdd_arch.utils.files import open_file, read_content
from pdd_arch.utils.wording import shown

__all__ = [
    'check_content',
    'check_image_file',
    'decode_image',
    'decode_raw',
    'image_size',
    'read_image',
    'read_raw',
    'to_float32',
    'turned_upright',
]

_WAY_OUT = 'Replace or remove it.'
# OpenCV 4.10 crashes on one in ten damaged JPEG 2000 files (tests/fuzz_images.py); 4.12 and 5.0 do not
_READS_JPEG2000 = tuple(map(int, re.findall(r'\d+', cv2.__version__)[:2])) >= (4, 12)


def decode_raw(content: bytes, source: str) -> np.ndarray:
    """Decodes an image file held in memory.

    Args:
        content: the bytes of the file.
        source: what to call it in an error (its path, or LMDB and key).

    Returns:
        (H, W, 3) BGR array of uint8 or uint16, upright.

    Raises:
        DataError: the content is empty, truncated, damaged, not an image, too large (``MAX_PIXELS``), or not of 8
            or 16 bits.
    """
    kind = _require_readable(content, source)
    image, detail = _imdecode(content, kind)
    if image is None:
        # TIFF files can also hold what OpenCV has no name for, such as 32-bit whole numbers
        unusual = ' or of an unusual kind, and' if kind == 'TIFF' else ' that'
        raise DataError(
            f'{shown(source)}: is a truncated or damaged {kind}{unusual} cannot be decoded{detail}. {_WAY_OUT}'
        )
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(
            f'{shown(source)}: has {image.dtype} pixels; images of 8 or 16 bits per channel are expected. '
            'Convert it, or remove it.'
        )
    return image


def _require_readable(content: bytes | mmap.mmap | memoryview, source: str, deep: bool = False) -> str:
    """The format of an image that may be given to the decoder; DataError for any other."""
    problem = structural_problem(content, deep) or size_problem(content)
    if problem:
        raise DataError(f'{shown(source)}: {problem}. {_WAY_OUT}')
    kind = format_of(content)
    if kind == 'JPEG 2000' and not _READS_JPEG2000:
        raise DataError(
            f'{shown(source)}: is a JPEG 2000, which OpenCV {cv2.__version__} does not read safely. Convert it, or '
            'install opencv-python 4.12 or newer.'
        )
    return kind


def _imdecode(content: bytes, kind: str) -> tuple[np.ndarray | None, str]:
    """The image, or None and what the decoder says, in brackets or empty."""
    content = without_animation(content) if kind == 'PNG' else content
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    with messages_of_decoder() as messages:
        try:
            image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        except cv2.error as error:
            return None, f' (OpenCV: {" ".join(error.err.split())})'
        except MemoryError:
            return None, ' (out of memory)'
    damage = jpeg_damage(messages, content) if kind == 'JPEG' else None
    if damage or image is None:
        return None, damage or decoder_complaint(messages)
    pass_on(messages)
    return turned_upright(image, content, kind), ''


def turned_upright(image: np.ndarray, content: bytes, kind: str) -> np.ndarray:
    """What OpenCV has decoded without regard to orientation, as it stands by the EXIF data of its file.

    Args:
        image: (H, W) or (H, W, C).
        content, kind: the file and its format. A TIFF comes upright whatever OpenCV is told.
    """
    turn = 1 if kind == 'TIFF' else orientation(content, kind)
    if turn in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if turn in (2, 3, 6, 7):
        image = image[:, ::-1]
    if turn in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def to_float32(raw: np.ndarray) -> np.ndarray:
    """uint8 or uint16 image of any layout -> contiguous float32 in [0, 1]."""
    scaled = np.ascontiguousarray(raw, dtype=np.float32)
    scaled /= np.float32(np.iinfo(raw.dtype).max)
    return scaled


def decode_image(content: bytes, source: str) -> np.ndarray:
    """:func:`decode_raw`, then (H, W, 3) BGR float32 in [0, 1]. Raises as it does."""
    return to_float32(decode_raw(content, source))


def read_raw(path: str | os.PathLike) -> np.ndarray:
    """(H, W, 3) BGR uint8 or uint16 image of a file. Raises as :func:`read_image`."""
    return decode_raw(read_content(path), str(path))


def read_image(path: str | os.PathLike) -> np.ndarray:
    """(H, W, 3) BGR float32 image in [0, 1] of a file.

    Raises:
        MissingFileError: there is no such file.
        DataError: it cannot be read, or as :func:`decode_raw`.
    """
    return to_float32(read_raw(path))


def image_size(image: str | os.PathLike | bytes, source: str | None = None) -> tuple[int, int]:
    """(height, width) in pixels as :func:`decode_raw` will return them, from the file's header alone.

    Args:
        image: path of a file, or the bytes of one.
        source: what to call bytes in an error.

    Raises:
        DataError, MissingFileError: the header cannot be read, or says more than ``MAX_PIXELS``.
    """
    if isinstance(image, bytes):
        return check_content(image, source or 'image')
    return check_image_file(image)


def check_image_file(path: str | os.PathLike, deep: bool = False) -> tuple[int, int]:
    """Looks for a broken file without decoding it, reading only a few pages of it.

    Finds empty, truncated and oversized files and those that are no image; damage inside the compressed data
    shows only when it is decoded.

    Args:
        path: image file.
        deep: also verify the checksums of a PNG, and decode the image.

    Returns:
        (height, width), as :func:`decode_raw` will return.

    Raises:
        DataError, MissingFileError: as :func:`read_image` would.
    """
    with open_file(path) as file:
        try:
            if not os.fstat(file.fileno()).st_size:
                return check_content(b'', str(path))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
                return check_content(pages, str(path), deep)
        except (OSError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f'{shown(path)}: cannot be read ({error}). {_WAY_OUT}') from None


def check_content(content: bytes | mmap.mmap | memoryview, source: str, deep: bool = False) -> tuple[int, int]:
    """:func:`check_image_file` of an image in memory; `source` is what to call it in an error."""
    kind = _require_readable(content, source, deep)
    if deep:
        return decode_raw(bytes(content), source).shape[:2]
    height, width = stored_size(content, kind)
    return (width, height) if orientation(content, kind) in (5, 6, 7, 8) else (height, width)
