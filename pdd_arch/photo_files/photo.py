"""A photograph in memory: its pixels, and its profile, EXIF, XMP, IPTC, resolution and texts."""

import re
import struct
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from pdd_arch.photo_files import exif_block

EXIF_MARKER = b'Exif\0\0'
XMP_MARKER = b'http://ns.adobe.com/xap/1.0/\0'
XMP_KEYWORD = 'XML:com.adobe.xmp'
#: tags of a TIFF that describe the photograph rather than how its pixels are stored
_DESCRIPTIVE_TAGS = frozenset((269, 270, 271, 272, 274, 285, 305, 306, 315, 316, 33432, 36867))
_EXIF_DIRECTORY, _GPS_DIRECTORY, _INTEROPERABILITY_DIRECTORY = 0x8769, 0x8825, 0xA005
_XMP_TAG, _IPTC_TAG, _RESOLUTION_TAG = 700, 33723, 282
_IPTC_RESOURCE = 0x0404
#: chunks of a PNG that say what its numbers mean as colours
_COLOR_CHUNKS = (b'gAMA', b'cHRM', b'sRGB', b'cICP')


@dataclass(frozen=True)
class Metadata:
    """Metadata of an upright image."""

    icc: bytes | None = None
    exif: bytes | None = None  #: in TIFF's structure, without a marker before it
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None  #: pixels per inch, horizontally and vertically
    texts: dict[str, str] = field(default_factory=dict)  #: comments by keyword
    color_chunks: tuple[tuple[bytes, bytes], ...] = ()  #: chunks of a PNG in place of a profile: (name, content)

    @property
    def profile_space(self) -> str | None:
        """Colour space of the profile's numbers (``RGB``, ``GRAY``, ``CMYK`` ...); None without a profile."""
        return self.icc[16:20].decode('latin-1').strip() if self.icc else None


@dataclass(frozen=True, eq=False)
class Photo:
    """Pixels, upright, with what a file says about them."""

    pixels: np.ndarray  #: (H, W, 3) uint8 or uint16, BGR, not premultiplied by alpha; if gray, three equal channels
    alpha: np.ndarray | None = None  #: (H, W) of the type of `pixels`
    gray: bool = False  #: the file is a gray image, and is written as one
    metadata: Metadata = field(default_factory=Metadata)
    format: str | None = None  #: by `pdd_arch.images.structure.format_of`; None for pixels that came from no file
    notes: tuple[str, ...] = ()  #: what could not be read of the file, a sentence each

    @property
    def bits(self) -> int:
        """Bits per channel: 8 or 16."""
        return 8 * self.pixels.dtype.itemsize

    def with_pixels(self, pixels: np.ndarray, alpha: np.ndarray | None) -> 'Photo':
        """The same photograph with other pixels; metadata that state a size state the new one."""
        height, width = pixels.shape[:2]
        exif, xmp = self.metadata.exif, self.metadata.xmp
        metadata = replace(
            self.metadata,
            exif=exif and exif_block.adjusted(exif, width, height),
            xmp=xmp and _put_in_xmp(xmp, width, height),
        )
        return replace(self, pixels=pixels, alpha=alpha, metadata=metadata)


def read_metadata(image: Image.Image, content: bytes) -> tuple[Metadata, list[str]]:
    """Metadata of an image, adjusted to an upright one, and what could not be read, a sentence each.

    `image` has been opened from `content`, and loaded: a PNG may have texts behind its pixels.
    """
    info, texts = image.info, {}
    color_chunks: tuple[tuple[bytes, bytes], ...] = ()
    exif, xmp, iptc, dpi = info.get('exif'), info.get('xmp') or info.get(XMP_KEYWORD), None, info.get('dpi')
    if isinstance(image, TiffImageFile):  # which has EXIF data among its own tags
        kept = descriptive_tags(image.getexif())
        exif = kept.tobytes() if len(kept) else None
        xmp, iptc = image.tag_v2.get(_XMP_TAG), image.tag_v2.get(_IPTC_TAG)
        if _RESOLUTION_TAG not in image.tag_v2:
            dpi = None  # Pillow says 1 where the file says nothing
    elif isinstance(image, JpegImageFile):
        packets = (data for name, data in image.applist if name == 'APP1' and data.startswith(XMP_MARKER))
        xmp = next(packets, b'').removeprefix(XMP_MARKER)
        iptc = (info.get('photoshop') or {}).get(_IPTC_RESOURCE)
        if info.get('comment'):
            texts = {'Comment': info['comment'].decode('utf-8', 'replace')}
    elif isinstance(image, PngImageFile):
        texts = {str(k): str(v) for k, v in image.text.items() if k != XMP_KEYWORD}
        color_chunks = _color_chunks(content)
    notes = []
    exif = (exif or b'').removeprefix(EXIF_MARKER) or None
    if exif:
        try:
            exif = exif_block.adjusted(exif)
        except ValueError as error:
            exif = None
            notes.append(f'its EXIF data are damaged and left out ({error})')
    if not isinstance(dpi, tuple) or len(dpi) != 2 or not all(0 < float(v) < 1e6 for v in dpi):
        dpi = None
    if xmp:
        xmp = _put_in_xmp(xmp.encode() if isinstance(xmp, str) else bytes(xmp))
    found = Metadata(
        icc=info.get('icc_profile') or None,
        exif=exif,
        xmp=xmp or None,
        iptc=iptc if iptc and isinstance(iptc, bytes) else None,
        dpi=dpi and (float(dpi[0]), float(dpi[1])),
        texts=texts,
        color_chunks=color_chunks,
    )
    return found, notes


def descriptive_tags(tags: Image.Exif) -> Image.Exif:
    """Those of an EXIF block, or of the directory of a TIFF, that describe the photograph."""
    kept = Image.Exif()
    for tag, value in tags.items():
        if tag in _DESCRIPTIVE_TAGS:
            kept[tag] = value
    for directory in (_EXIF_DIRECTORY, _GPS_DIRECTORY):
        values = dict(tags.get_ifd(directory))
        values.pop(_INTEROPERABILITY_DIRECTORY, None)
        if values:
            kept[directory] = values
    return kept


def _color_chunks(content: bytes) -> tuple[tuple[bytes, bytes], ...]:
    found, at = [], 8
    while content[at + 4 : at + 8] not in (b'IDAT', b'IEND', b''):
        (length,) = struct.unpack_from('>I', content, at)
        if content[at + 4 : at + 8] in _COLOR_CHUNKS:
            found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += length + 12
    return tuple(found)


def _put_in_xmp(xmp: bytes, width: int | None = None, height: int | None = None) -> bytes:
    """A packet for an upright image, and for one of that size where it states a size."""
    for name, value in (
        ('tiff:Orientation', 1),
        *(('tiff:ImageWidth', width), ('exif:PixelXDimension', width)),
        *(('tiff:ImageLength', height), ('exif:PixelYDimension', height)),
    ):
        if value is not None:
            # in XMP a property is an attribute or an element
            pattern = rf'(<{name}>\s*|\b{name}\s*=\s*["\'])\d+'.encode()
            xmp = re.sub(pattern, rb'\g<1>' + str(value).encode(), xmp)
    return xmp
