"""Reading photographs, with errors that name the file.

What a file becomes (as ``RealESRGANer`` treats its inputs):

* 8-bit values are divided by 255, 16-bit values by 65535. The depth is the one stored in the file; the
  brightness of the picture plays no part (``RealESRGANer`` takes a dark 16-bit image for an 8-bit one).
* Grayscale becomes three equal channels. Alpha is dropped, not blended.
* EXIF orientation is applied, so a phone photograph stands as every viewer shows it.

``IMREAD_COLOR | IMREAD_ANYDEPTH`` does all of this; ``IMREAD_UNCHANGED`` would leave the phone photograph
lying on its side.

OpenCV versions differ in what they make of half a file: some return grey pixels and a warning. Truncation is
therefore looked for here, in the structure of PNG, JPEG and WebP files, before anything is decoded.
"""

import io
import mmap
import os
import struct
import warnings
import zlib

import cv2
import numpy as np
from PIL import Image

from pdd_arch.errors import DataError, MissingFileError

__all__ = [
    'check_image_file',
    'decode_image',
    'decode_raw',
    'image_size',
    'read_image',
    'read_raw',
    'to_float32',
]

_PNG = b'\x89PNG\r\n\x1a\n'
_JPEG = b'\xff\xd8\xff'
_EXIF_ORIENTATION = 0x0112
_WAY_OUT = 'Replace or remove it.'
# formats whose header Pillow and OpenCV read alike; of any other, OpenCV says whether it can be read
_COMMON_FORMATS = ('PNG', 'JPEG', 'BMP', 'DIB', 'TIFF', 'WEBP', 'PPM', 'JPEG2000')


def decode_raw(content: bytes, source: str) -> np.ndarray:
    """Decodes an image file held in memory.

    Args:
        content: the bytes of the file.
        source: what to call it in an error (its path, or LMDB and key).

    Returns:
        (H, W, 3) BGR array of uint8 or uint16, upright.

    Raises:
        DataError: the content is empty, truncated, damaged, not an image, or not of 8 or 16 bits.
    """
    problem = _structural_problem(content)
    if problem:
        raise DataError(f'{source}: {problem}. {_WAY_OUT}')
    detail = ''
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        image, detail = None, f' (OpenCV: {error.err})'
    if image is None:
        raise DataError(f'{source}: {_describe_undecodable(content)}{detail}. {_WAY_OUT}')
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(
            f'{source}: has {image.dtype} pixels; images of 8 or 16 bits per channel are expected. '
            'Convert it, or remove it.'
        )
    return image


def to_float32(raw: np.ndarray) -> np.ndarray:
    """uint8 or uint16 image of any layout -> contiguous float32 in [0, 1]."""
    scaled = np.ascontiguousarray(raw, dtype=np.float32)
    scaled /= np.float32(np.iinfo(raw.dtype).max)
    return scaled


def decode_image(content: bytes, source: str) -> np.ndarray:
    """:func:`decode_raw`, then (H, W, 3) BGR float32 in [0, 1]. Raises as it does."""
    return to_float32(decode_raw(content, source))


def read_content(path: str | os.PathLike) -> bytes:
    """The bytes of a file.

    Raises:
        MissingFileError: there is no such file.
        DataError: it cannot be read (permissions, a folder, a failing disk).
    """
    try:
        with open(path, 'rb') as file:
            return file.read()
    except FileNotFoundError:
        raise MissingFileError(
            f'{path}: the file does not exist (any more). Restore it, or remove it from the data.'
        ) from None
    except OSError as error:
        raise DataError(f'{path}: cannot be read ({error.strerror}). {_WAY_OUT}') from error


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
        DataError, MissingFileError: the header cannot be read.
    """
    if isinstance(image, bytes):
        return _header_size(io.BytesIO(image), image, source or 'image')
    try:
        with open(image, 'rb') as file:
            return _header_size(file, None, str(image))
    except FileNotFoundError:
        raise MissingFileError(f'{image}: the file does not exist. Correct the path.') from None
    except OSError as error:
        raise DataError(f'{image}: cannot be read ({error.strerror}). {_WAY_OUT}') from error


def check_image_file(path: str | os.PathLike, deep: bool = False) -> tuple[int, int]:
    """Looks for a broken file without decoding it, reading only a few pages of it.

    Finds empty and truncated files and those that are no image; damage inside the compressed data shows only
    when it is decoded.

    Args:
        path: image file.
        deep: also verify the checksums of a PNG, which reads all of it.

    Returns:
        (height, width), as :func:`image_size`.

    Raises:
        DataError, MissingFileError: as :func:`read_image` would.
    """
    try:
        with open(path, 'rb') as file:
            if os.fstat(file.fileno()).st_size:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
                    problem = _structural_problem(pages, deep)
            else:
                problem = _structural_problem(b'')
    except FileNotFoundError:
        raise MissingFileError(f'{path}: the file does not exist. Restore it, or correct the path.') from None
    except OSError as error:
        raise DataError(f'{path}: cannot be read ({error.strerror}). {_WAY_OUT}') from error
    if problem:
        raise DataError(f'{path}: {problem}. {_WAY_OUT}')
    return image_size(path)


def _header_size(file, content: bytes | None, source: str) -> tuple[int, int]:
    try:
        with warnings.catch_warnings():
            # a large photograph is no attack here, and odd EXIF blocks are common
            warnings.simplefilter('ignore')
            with Image.open(file, formats=_COMMON_FORMATS) as image:
                if image.format == 'TIFF':
                    # newer versions of Pillow swap the size of a turned TIFF themselves; the tags never
                    # change
                    width, height = image.tag_v2[256], image.tag_v2[257]
                    orientation = image.tag_v2.get(_EXIF_ORIENTATION, 1)
                else:
                    width, height = image.size
                    # not getexif(): it decodes a whole PNG and also believes XMP, which OpenCV ignores
                    exif = Image.Exif()
                    exif.load(image.info.get('exif') or b'')
                    orientation = exif.get(_EXIF_ORIENTATION, 1)
        return (width, height) if orientation in (5, 6, 7, 8) else (height, width)
    except Exception:  # Pillow raises many kinds for broken headers; OpenCV has the last word
        if content is None:
            file.seek(0)
            content = file.read()
        return decode_raw(content, source).shape[:2]


def _structural_problem(content: bytes | mmap.mmap, deep: bool = False) -> str | None:
    """What is visibly wrong with a file, as the predicate of a sentence, or None."""
    size = len(content)
    if size == 0:
        return 'is empty (0 bytes), an image is expected'
    if content[:8] == _PNG:
        return _png_problem(content, size, deep)
    if content[:3] == _JPEG:
        scan = _first_scan(content, size)
        # inside a scan every FF is followed by 00 or a restart marker, so FF D9 there is the end of the image
        if scan is None or content.rfind(b'\xff\xd9') < scan:
            return f'is a truncated JPEG ({size} bytes, no end-of-image marker)'
    elif content[:4] == b'RIFF' and content[8:12] == b'WEBP':
        declared = struct.unpack('<I', content[4:8])[0] + 8
        if declared > size:
            return f'is a truncated WebP ({size} of {declared} bytes)'
    return None


def _png_problem(content: bytes | mmap.mmap, size: int, deep: bool) -> str | None:
    start = 8
    while start + 12 <= size:
        (length,) = struct.unpack('>I', content[start : start + 4])
        kind = content[start + 4 : start + 8]
        end = start + 12 + length
        if end > size:
            break
        if deep and zlib.crc32(content[start + 4 : end - 4]) != struct.unpack('>I', content[end - 4 : end])[0]:
            return f'is a damaged PNG (wrong checksum at byte {start})'
        if kind == b'IEND':
            return None
        start = end
    return f'is a truncated PNG ({size} bytes, no end chunk)'


def _first_scan(content: bytes | mmap.mmap, size: int) -> int | None:
    """Offset of a JPEG's first scan: the thumbnail in its EXIF block has an end marker of its own."""
    at = 2
    while at + 4 <= size:
        if content[at] != 0xFF:
            return max(content.find(b'\xff\xda', at), 2)
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker == 0xDA:
            return at
        elif 0xD0 <= marker <= 0xD8 or marker == 0x01:
            at += 2
        else:
            at += 2 + struct.unpack('>H', content[at + 2 : at + 4])[0]
    return None


def _describe_undecodable(content: bytes) -> str:
    for magic, name in (
        (_PNG, 'PNG'),
        (_JPEG, 'JPEG'),
        (b'BM', 'BMP'),
        (b'II*\0', 'TIFF'),
        (b'MM\0*', 'TIFF'),
    ):
        if content.startswith(magic):
            return f'is a truncated or damaged {name} that cannot be decoded'
    return f'is not an image that OpenCV can read ({len(content)} bytes, beginning with {content[:12]!r})'
