"""Reading photographs, with errors that name the file.

What a file becomes (as ``RealESRGANer`` treats its inputs):

* 8-bit values are divided by 255, 16-bit values by 65535. The depth is the one stored in the file; the
  brightness of the picture plays no part (``RealESRGANer`` takes a dark 16-bit image for an 8-bit one). Other depths
  (10 or 12 bits of a JPEG 2000, any maximum of a PNM) are brought to the next of these two.
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
from pdd_arch.images.names import is_camera_raw_name
from pdd_arch.images.structure import (
    CAMERA_RAW,
    FORMATS,
    Content,
    format_of,
    not_read,
    orientation,
    size_problem,
    stored_size,
    structural_problem,
    white_level,
    without_animation,
)
from pdd_arch.utils.files import REPLACE, open_file, read_content
from pdd_arch.utils.wording import shown

# OpenCV 4.10 crashes on one in ten damaged JPEG 2000 files (tests/fuzz_images.py); 4.12 and 5.0 do not
_READS_JPEG2000 = tuple(map(int, re.findall(r'\d+', cv2.__version__)[:2])) >= (4, 12)
#: ways out for photographs of formats that are not read
CONVERT = 'Convert it to PNG or TIFF, or export it as JPEG of full quality.'
DEVELOP = 'Convert it to TIFF or PNG with a raw developer (darktable, RawTherapee ...).'
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


def decode_raw(content: bytes, source: str, deep: bool = False) -> np.ndarray:
    """Decodes an image file held in memory.

    Args:
        source: what to call it in an error (its path, or LMDB and key).
        deep: verify the checksums of a PNG first, so that an error names the place of the damage.

    Returns:
        (H, W, 3) BGR array of uint8 or uint16, upright.

    Raises:
        DataError: it is empty, truncated, damaged, not an image, too large (``MAX_PIXELS``), or not of 8 or 16 bits.
    """
    kind = _require_readable(content, source, deep)
    image, detail = _imdecode(content, kind)
    if image is None:
        # TIFF files can also hold what OpenCV has no name for, such as 32-bit whole numbers
        unusual = ' or of an unusual kind, and' if kind == 'TIFF' else ' that'
        what = f'is a truncated or damaged {kind}{unusual} cannot be decoded{detail}'
        raise DataError(what, where=shown(source), way_out=REPLACE)
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(
            f'has {image.dtype} pixels; images of 8 or 16 bits per channel are expected',
            where=shown(source),
            way_out='Convert it, or remove it.',
        )
    return turned_upright(of_full_range(image, content, kind), content, kind)


def of_full_range(image: np.ndarray, content: bytes, kind: str) -> np.ndarray:
    """An image that OpenCV has decoded, of uint8 or uint16, with the white of its file as the largest value."""
    most, white = np.iinfo(image.dtype).max, white_level(content, kind)
    if not white or white == most:
        return image
    return np.rint(image * (float(most) / white)).clip(0, most).astype(image.dtype)


def _require_readable(content: Content, source: str, deep: bool = False) -> str:
    """The format of an image that may be given to the decoder; DataError for any other."""
    kind = format_of(content) or ''
    if not kind and source.lower().endswith('.tga'):  # the one format without a signature
        raise DataError(not_read('TGA'), where=shown(source), way_out=CONVERT)
    if kind == CAMERA_RAW or (kind == 'TIFF' and is_camera_raw_name(source)):
        raise DataError(not_read(CAMERA_RAW), where=shown(source), way_out=DEVELOP)
    if problem := structural_problem(content, deep) or size_problem(content):
        raise DataError(problem, where=shown(source), way_out=REPLACE if kind in ('', *FORMATS) else CONVERT)
    if kind == 'JPEG 2000' and not _READS_JPEG2000:
        raise DataError(
            f'is a JPEG 2000, which OpenCV {cv2.__version__} does not read safely',
            where=shown(source),
            way_out='Convert it, or install opencv-python 4.12 or newer.',
        )
    return kind


def _imdecode(content: bytes, kind: str) -> tuple[np.ndarray | None, str]:
    """The image as stored, or None and what the decoder says, in brackets or empty."""
    if kind == 'PNM':  # OpenCV passes over the last number of one of text, unless something follows
        content = bytes(content) + b'\n'
    if kind == 'PNG':
        content = without_animation(content)
        # with right checksums there is next to nothing to be heard, so threads need not wait for each other
        if structural_problem(content, deep=True) is None:
            image, problem = _decoded(content)
            if image is not None:
                return image, ''
    with messages_of_decoder() as messages:
        image, problem = _decoded(content)
    damage = jpeg_damage(messages, content) if kind == 'JPEG' else None
    if damage or image is None:
        return None, problem or damage or decoder_complaint(messages)
    pass_on(messages)
    return image, ''


def _decoded(content: bytes) -> tuple[np.ndarray | None, str]:
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), _FLAGS), ''
    except cv2.error as error:
        return None, f' (OpenCV: {" ".join(error.err.split())})'
    except MemoryError:
        return None, ' (out of memory)'


def turned_upright(image: np.ndarray, content: bytes, kind: str) -> np.ndarray:
    """An image, (H, W) or (H, W, C), that OpenCV has decoded without regard to orientation, turned by its EXIF data."""
    # a TIFF comes upright whatever OpenCV is told
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


def read_raw(path: str | os.PathLike) -> np.ndarray:
    """(H, W, 3) BGR uint8 or uint16 image of a file.

    Raises:
        MissingFileError: there is no such file.
        DataError: it cannot be read, or as :func:`decode_raw`.
    """
    return decode_raw(read_content(path), str(path))


def read_image(path: str | os.PathLike) -> np.ndarray:
    """(H, W, 3) BGR float32 image in [0, 1] of a file. Raises as :func:`read_raw`."""
    return to_float32(read_raw(path))


def image_size(path: str | os.PathLike, deep: bool = False) -> tuple[int, int]:
    """(height, width) of an image, upright, from its header, reading only a few pages of the file.

    Finds empty, truncated and oversized files and those that are no image; damage inside the compressed data
    shows only when it is decoded.

    `deep`: also verify the checksums of a PNG, and decode the image. Raises as :func:`read_raw` would.
    """
    with open_file(path) as file:
        try:
            if not os.fstat(file.fileno()).st_size:
                return content_size(b'', str(path))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
                return content_size(pages, str(path), deep)
        except DataError:
            raise
        except (OSError, ValueError) as error:
            raise DataError(f'cannot be read ({error})', where=shown(path), way_out=REPLACE) from None


def content_size(content: Content, source: str, deep: bool = False) -> tuple[int, int]:
    """:func:`image_size` of an image in memory; `source` is what to call it in an error."""
    if deep:
        height, width = decode_raw(bytes(content), source, deep).shape[:2]
        return height, width
    kind = _require_readable(content, source)
    size = stored_size(content, kind)
    assert size is not None  # size_problem has looked
    return size[::-1] if orientation(content, kind) in (5, 6, 7, 8) else size
