"""Photographs of every kind, made with other programs than those under test, and a network that can be predicted."""

import functools
import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import tifffile
import torch
import torch.nn.functional as F
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from PIL import Image, ImageCms
from torch import nn

from pdd_arch.inference import LoadedNetwork

HEIGHT, WIDTH = 10, 14
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" tiff:ImageWidth="14" '
    b'exif:PixelXDimension="14"><tiff:ImageLength>10</tiff:ImageLength><xmp:Rating>4</xmp:Rating></rdf:Description>'
    b'</x:xmpmeta>'
)
MAKER_NOTE = b'Maker\0\0\0' + bytes(range(60))


class Nearest(nn.Module):
    """Repeats every pixel."""

    def __init__(self, scale=2):
        super().__init__()
        self.factor = scale

    def forward(self, x):
        return F.interpolate(x, scale_factor=self.factor, mode='nearest')


def nearest(scale=2):
    return LoadedNetwork(Nearest(scale), scale, 'nearest', 'nearest', Path('nearest'))


def save_compact(path, scale=2, seed=0):
    """A tiny network that spandrel recognises."""
    torch.manual_seed(seed)
    torch.save({'params_ema': SRVGGNetCompact(3, 3, 8, 2, scale, 'prelu').state_dict()}, path)
    return path


def pattern(channels, bits=8, height=HEIGHT, width=WIDTH):
    """(H, W, C) RGB(A) or gray(, alpha): smooth, so that JPEG changes little, and different at every corner."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [x / (width - 1), y / (height - 1), (x + y) / (width + height - 2), 1 - x * y / (width * height)]
    if channels <= 2:
        planes = [(x + 2 * y) / (width + 2 * height), planes[3]]
    values = np.stack(planes[:channels], axis=2)
    return np.rint(values * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


@functools.cache  # it holds the time when it was made
def profile(space=b'RGB '):
    """An ICC profile: of sRGB; said to be of another colour space where that is asked for."""
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes())
    made[16:20] = space
    return bytes(made)


def exif(orientation=1, thumbnail=False):
    """An EXIF block with the marker before it, as a camera writes it."""
    tags = Image.Exif()
    tags[0x010F], tags[0x0112] = 'Maker', orientation
    tags[0x8769] = {0x9003: '2024:05:06 07:08:09', 0xA002: WIDTH, 0xA003: HEIGHT, 0x927C: MAKER_NOTE}
    tags[0x8825] = {1: 'N', 2: (47.0, 22.0, 30.0)}
    block = tags.tobytes()
    if not thumbnail:
        return block
    body = bytearray(block[6:])
    order = '<' if body[:2] == b'II' else '>'
    (first,) = struct.unpack_from(f'{order}I', body, 4)
    (count,) = struct.unpack_from(f'{order}H', body, first)
    at = len(body)
    struct.pack_into(f'{order}I', body, first + 2 + 12 * count, at)
    small = b'\xff\xd8thumbnail\xff\xd9'
    body += struct.pack(f'{order}H', 2)
    body += struct.pack(f'{order}HHII', 0x0201, 4, 1, at + 30) + struct.pack(f'{order}HHII', 0x0202, 4, 1, len(small))
    body += struct.pack(f'{order}I', 0) + small
    return block[:6] + bytes(body)


def chunk(name, data):
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def png(array, extra=()):
    """A PNG of any number of channels and 8 or 16 bits, row by row."""
    height, width, channels = array.shape
    bits = 8 * array.itemsize
    rows = array.astype('>u2' if bits == 16 else 'u1').reshape(height, -1)
    body = b''.join(b'\0' + row.tobytes() for row in rows)
    header = struct.pack('>IIBBBBB', width, height, bits, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b'IHDR', header), *extra, (b'IDAT', zlib.compress(body)), (b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunk(*c) for c in chunks)


def tiff(array, orientation=1, **options):
    """A TIFF of 8 or 16 bits."""
    channels = array.shape[2]
    if channels in (2, 4):
        options = {'extrasamples': ['unassalpha']} | options
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        array if channels > 1 else array[..., 0],
        photometric='minisblack' if channels < 3 else 'rgb',
        planarconfig='contig' if channels > 1 else None,
        extratags=[(0x0112, 3, 1, orientation, True), *options.pop('extratags', ())],
        metadata=None,
        **options,
    )
    return file.getvalue()


def pillow(array, kind, **options):
    """A file that Pillow writes."""
    file = io.BytesIO()
    Image.fromarray(array.squeeze()).save(file, kind, **options)
    return file.getvalue()


def source(kind, channels, bits, orientation=1, **metadata):
    """A file of a kind, and the pixels that it holds, upright or not."""
    array = pattern(channels, bits)
    if kind == 'PNG':
        extra = [(b'eXIf', exif(orientation)[6:])]
        return png(array, extra), array
    if kind == 'TIFF':
        return tiff(array, orientation), array
    lossless = dict(lossless=True, exact=True) if kind == 'WEBP' else dict(quality=100, subsampling=0)
    return pillow(array, kind, exif=exif(orientation), **lossless, **metadata), array


def stand_upright(array, orientation):
    """By the definition of EXIF: where the first row and the first column of the file belong."""
    return {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.swapaxes(a, 0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
        8: np.rot90,
    }[orientation](array)


def doubled(array):
    return array.repeat(2, axis=0).repeat(2, axis=1)


def stored(content):
    """(H, W, C) RGB(A) or gray(, alpha) of a file, as other programs read it, without turning it."""
    if content[:2] == b'II' or content[:2] == b'MM':
        array = tifffile.imread(io.BytesIO(content))
    elif content[:4] == b'\x89PNG' and content[24] == 16:
        array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        if array.ndim == 3:
            array = array[..., [2, 1, 0, 3][: array.shape[2]]]
        if content[25] == 4:
            array = array[..., [0, 3]]
    else:
        array = np.asarray(Image.open(io.BytesIO(content)))
    return array if array.ndim == 3 else array[..., None]
