"""TIFF: strips of compressed pixels, and a directory in which everything else has its tag.

Pillow writes the directory, with EXIF and GPS data in directories of their own, but no RGB pixels of 16 bits. Tifffile
writes those, but no directories within a directory, so that its file would have to be taken apart again to put the two
together, which takes as many lines as the strips of pixels here.
"""

import io
import warnings
import zlib

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from pdd_arch.errors import DataError
from pdd_arch.photo_files.photo import EXIF_MARKER, Metadata, descriptive_tags

_STRIP_BYTES = 2**18
_MAX_BYTES = 2**32 - 2**20  # offsets have 32 bits
_ADOBE_DEFLATE, _HORIZONTAL_DIFFERENCES, _STRAIGHT_ALPHA, _INCH = 8, 2, 2, 2


def encode_tiff(image: np.ndarray, metadata: Metadata) -> bytes:
    """A TIFF of (H, W) gray, (H, W, 2) gray and alpha, (H, W, 3) BGR or (H, W, 4) BGRA, uint8 or uint16.

    It is compressed losslessly. Texts other than EXIF's have no place in it.

    Raises:
        DataError: the file would be larger than 4 GiB.
    """
    height, width = image.shape[:2]
    samples = image if image.ndim == 3 else image[..., None]
    count = samples.shape[2]
    if count >= 3:
        samples = samples[..., [2, 1, 0, 3][:count]]
    rows = max(1, _STRIP_BYTES // (width * count * image.dtype.itemsize))
    strips = [_strip(samples[y : y + rows]) for y in range(0, height, rows)]
    lengths = [len(strip) for strip in strips]
    if sum(lengths) > _MAX_BYTES:
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
