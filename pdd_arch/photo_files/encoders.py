"""PNG and TIFF files of 8 and 16 bits, with all of their metadata.

Images are (H, W) gray, (H, W, 2) gray and alpha, (H, W, 3) BGR or (H, W, 4) BGRA; uint8 or uint16. OpenCV encodes most
PNGs; the chunks that it does not write are added. Of a TIFF, Pillow writes the directory, with EXIF and GPS data in
directories of their own, but no RGB pixels of 16 bits. Tifffile writes those, but no directories within a directory, so
that its file would have to be taken apart again to put the two together, which takes as many lines as the strips of
pixels here.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from pdd_arch.errors import DataError
from pdd_arch.photo_files.photo import EXIF_MARKER, XMP_KEYWORD, Metadata, descriptive_tags

_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_HEADER_END = len(_PNG_SIGNATURE) + 25
#: more than OpenCV's own, for a tenth of the time that a network takes
_PNG_COMPRESSION = 4
_STRIP_BYTES = 2**18
_MAX_TIFF_BYTES = 2**32 - 2**20  # offsets have 32 bits
_ADOBE_DEFLATE, _HORIZONTAL_DIFFERENCES, _STRAIGHT_ALPHA, _INCH = 8, 2, 2, 2


def encode_png(image: np.ndarray, metadata: Metadata) -> bytes:
    """A PNG, in which IPTC records have no place."""
    if image.ndim == 3 and image.shape[2] == 2:
        content = _encode_gray_alpha(image)
    else:
        content = cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION])[1].tobytes()
    chunks = b''.join(_chunk(name, data) for name, data in _metadata_chunks(metadata))
    return content[:_HEADER_END] + chunks + content[_HEADER_END:]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def _metadata_chunks(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    for name, data in metadata.color_chunks:
        if not (name == b'sRGB' and metadata.icc):  # the format allows one of them
            yield name, data
    if metadata.icc:
        yield b'iCCP', b'ICC profile\0\0' + zlib.compress(metadata.icc)
    if metadata.dpi:
        x, y = (round(v / 0.0254) for v in metadata.dpi)  # pixels per metre
        yield b'pHYs', struct.pack('>IIB', x, y, 1)
    if metadata.exif:
        yield b'eXIf', metadata.exif
    if metadata.xmp:
        yield b'iTXt', XMP_KEYWORD.encode() + b'\0\0\0\0\0' + metadata.xmp
    for keyword, text in metadata.texts.items():
        key = keyword.encode('latin-1', 'replace')[:79]  # as many as the format allows
        try:
            yield b'tEXt', key + b'\0' + text.encode('latin-1')
        except UnicodeEncodeError:
            yield b'iTXt', key + b'\0\0\0\0\0' + text.encode('utf-8', 'replace')


def _encode_gray_alpha(image: np.ndarray) -> bytes:
    """Gray with alpha, which OpenCV does not write. Every row is stored as its difference from the one above."""
    height, width = image.shape[:2]
    depth = 8 * image.dtype.itemsize
    rows = image.astype(image.dtype.newbyteorder('>')).view(np.uint8).reshape(height, -1)
    filtered = np.full((height, rows.shape[1] + 1), 2, np.uint8)  # 2: from the row above
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack('>IIBBBBB', width, height, depth, 4, 0, 0, 0)
    parts = ((b'IHDR', header), (b'IDAT', zlib.compress(filtered.tobytes())), (b'IEND', b''))
    return _PNG_SIGNATURE + b''.join(_chunk(name, data) for name, data in parts)


def encode_tiff(image: np.ndarray, metadata: Metadata) -> bytes:
    """A losslessly compressed TIFF, in which texts other than EXIF's have no place. DataError for more than 4 GiB."""
    height, width = image.shape[:2]
    samples = image if image.ndim == 3 else image[..., None]
    count = samples.shape[2]
    if count >= 3:
        samples = samples[..., [2, 1, 0, 3][:count]]
    rows = max(1, _STRIP_BYTES // (width * count * image.dtype.itemsize))
    strips = [_strip(samples[y : y + rows]) for y in range(0, height, rows)]
    lengths = [len(strip) for strip in strips]
    if sum(lengths) > _MAX_TIFF_BYTES:
        raise DataError(f'a TIFF cannot hold {width} x {height} pixels like these (4 GiB)', way_out='Choose PNG.')
    directory = _directory(metadata)
    directory[256], directory[257] = width, height
    directory[258] = (8 * image.dtype.itemsize,) * count
    directory[259] = _ADOBE_DEFLATE
    directory[262] = 2 if count >= 3 else 1  # RGB, or gray with 0 for black
    directory[273] = tuple(int(n) for n in np.cumsum([0, *lengths[:-1]]))  # from the end of the directory
    directory[277] = count
    directory[278] = rows
    directory[279] = tuple(lengths)
    directory[284] = 1  # channels beside one another
    directory[317] = _HORIZONTAL_DIFFERENCES
    if count in (2, 4):
        directory[338] = _STRAIGHT_ALPHA
    file = io.BytesIO()
    directory.save(file)
    return b''.join([file.getvalue(), *strips])


def _strip(samples: np.ndarray) -> bytes:
    differences = samples.astype(samples.dtype.newbyteorder('<'))
    differences[:, 1:] -= samples[:, :-1]
    return zlib.compress(differences.tobytes())


def _directory(metadata: Metadata) -> ImageFileDirectory_v2:
    directory = ImageFileDirectory_v2()
    if metadata.dpi:
        directory[282], directory[283] = metadata.dpi
        directory[296] = _INCH
    if metadata.icc:
        directory[34675] = metadata.icc
    if metadata.xmp:
        directory[700] = metadata.xmp
    if metadata.iptc:
        directory.tagtype[33723] = 7  # bytes
        directory[33723] = metadata.iptc
    if metadata.exif:
        exif = Image.Exif()
        exif.load(EXIF_MARKER + metadata.exif)
        for tag, value in descriptive_tags(exif).items():
            directory[tag] = value
    return directory


def takes_exif(block: bytes) -> bool:
    """Whether a TIFF can be written with an EXIF block: none with values of another type than their tags have."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error')  # on values that are cut off
            _directory(Metadata(exif=block)).tobytes()
    except Exception:  # Pillow raises what it likes
        return False
    return True
