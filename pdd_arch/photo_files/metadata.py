"""What belongs to a photograph besides its pixels: profile, EXIF, XMP, IPTC, resolution, texts."""

import io
import re
import struct
from dataclasses import dataclass, field, replace

from PIL import Image

from pdd_arch.photo_files import exif_block

EXIF_MARKER = b'Exif\0\0'
XMP_MARKER = b'http://ns.adobe.com/xap/1.0/\0'
XMP_KEYWORD = 'XML:com.adobe.xmp'
EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY_DIRECTORY = 0x8769, 0x8825, 0xA005
#: tags of a TIFF that describe the photograph rather than how its pixels are stored
DESCRIPTIVE_TAGS = frozenset(
    (269, 270, 271, 272, 274, 285, 305, 306, 315, 316, 33432, 36867, EXIF_DIRECTORY, GPS_DIRECTORY)
)
_XMP_TAG, _IPTC_TAG, _RESOLUTION_TAG = 700, 33723, 282
_IPTC_RESOURCE = 0x0404
#: chunks of a PNG that say what its numbers mean as colours
_COLOR_CHUNKS = (b'gAMA', b'cHRM', b'sRGB', b'cICP')
# in XMP a property is an attribute or an element
_XMP_SIZES = {'tiff:ImageWidth': 0, 'exif:PixelXDimension': 0, 'tiff:ImageLength': 1, 'exif:PixelYDimension': 1}


@dataclass(frozen=True)
class Metadata:
    """Of an upright image.

    Attributes:
        icc: ICC profile.
        exif: EXIF block in TIFF's structure, without a marker before it.
        xmp: XMP packet.
        iptc: IPTC records.
        dpi: pixels per inch, horizontally and vertically.
        texts: comments by keyword.
        color_chunks: chunks of a PNG in place of a profile: (name, content).
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    texts: dict[str, str] = field(default_factory=dict)
    color_chunks: tuple[tuple[bytes, bytes], ...] = ()

    def resized(self, width: int, height: int) -> 'Metadata':
        """The same for another number of pixels; `dpi` stays."""
        exif = self.exif and exif_block.adjusted(self.exif, width, height)
        return replace(self, exif=exif, xmp=self.xmp and _put_in_xmp(self.xmp, width, height))

    @property
    def profile_space(self) -> str | None:
        """Colour space of the profile's numbers (``RGB``, ``GRAY``, ``CMYK`` ...); None without a profile."""
        return self.icc[16:20].decode('latin-1').strip() if self.icc else None


def read_metadata(image: Image.Image, content: bytes, kind: str) -> tuple[Metadata, list[str]]:
    """Metadata of an opened image, as those of an upright one, and what could not be read, a sentence each.

    Args:
        image: opened with Pillow, and loaded: a PNG may have texts behind its pixels.
        content: the file.
        kind: its format.
    """
    info, notes = image.info, []
    exif, xmp, iptc = _exif(image, kind), _xmp(image, kind), _iptc(image, kind)
    if exif:
        try:
            exif = exif_block.adjusted(exif)
        except ValueError as error:
            exif = None
            notes.append(f'its EXIF data are damaged and left out ({error})')
    # Pillow says 1 where a TIFF says nothing
    dpi = None if kind == 'TIFF' and _RESOLUTION_TAG not in image.tag_v2 else info.get('dpi')
    usable = isinstance(dpi, tuple) and len(dpi) == 2 and all(0 < float(v) < 1e6 for v in dpi)
    found = Metadata(
        icc=info.get('icc_profile') or None,
        exif=exif,
        xmp=_put_in_xmp(xmp) if xmp else None,
        iptc=iptc,
        dpi=(float(dpi[0]), float(dpi[1])) if usable else None,
        texts=_texts(image, kind),
        color_chunks=_color_chunks(content) if kind == 'PNG' else (),
    )
    return found, notes


def _exif(image: Image.Image, kind: str) -> bytes | None:
    if kind != 'TIFF':
        return (image.info.get('exif') or b'').removeprefix(EXIF_MARKER) or None
    # a TIFF has them among its own tags
    tags, kept = image.getexif(), Image.Exif()
    for tag, value in tags.items():
        if tag in DESCRIPTIVE_TAGS:
            kept[tag] = value
    for directory in (EXIF_DIRECTORY, GPS_DIRECTORY):
        values = dict(tags.get_ifd(directory))
        values.pop(INTEROPERABILITY_DIRECTORY, None)
        kept.pop(directory, None)
        if values:
            kept[directory] = values
    return kept.tobytes().removeprefix(EXIF_MARKER) if len(kept) else None


def _xmp(image: Image.Image, kind: str) -> bytes | None:
    if kind == 'JPEG':
        found = next((data for name, data in image.applist if name == 'APP1' and data.startswith(XMP_MARKER)), b'')
        return found.removeprefix(XMP_MARKER) or None
    found = image.tag_v2.get(_XMP_TAG) if kind == 'TIFF' else image.info.get('xmp') or image.info.get(XMP_KEYWORD)
    if isinstance(found, str):
        return found.encode()
    return bytes(found) if found else None


def _iptc(image: Image.Image, kind: str) -> bytes | None:
    if kind == 'JPEG':
        return (image.info.get('photoshop') or {}).get(_IPTC_RESOURCE) or None
    found = image.tag_v2.get(_IPTC_TAG) if kind == 'TIFF' else None
    return found if isinstance(found, bytes) else None


def _texts(image: Image.Image, kind: str) -> dict[str, str]:
    if kind == 'JPEG':
        comment = image.info.get('comment')
        return {'Comment': comment.decode('utf-8', 'replace')} if comment else {}
    if kind != 'PNG':
        return {}
    return {str(k): str(v) for k, v in image.text.items() if k != XMP_KEYWORD}


def _color_chunks(content: bytes) -> tuple[tuple[bytes, bytes], ...]:
    found, at = [], 8
    while content[at + 4 : at + 8] not in (b'IDAT', b'IEND', b''):
        (length,) = struct.unpack_from('>I', content, at)
        if content[at + 4 : at + 8] in _COLOR_CHUNKS:
            found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += length + 12
    return tuple(found)


def _put_in_xmp(xmp: bytes, width: int | None = None, height: int | None = None) -> bytes:
    """An upright image's packet, and of that size where it states one."""
    values: dict[str, int | None] = {'tiff:Orientation': 1}
    values |= {name: (width, height)[side] for name, side in _XMP_SIZES.items()}
    for name, value in values.items():
        if value is not None:
            pattern = rf'(<{name}>\s*|\b{name}\s*=\s*["\'])\d+'.encode()
            xmp = re.sub(pattern, rb'\g<1>' + str(value).encode(), xmp)
    return xmp


def srgb_profile() -> bytes:
    """An ICC profile of sRGB."""
    from PIL import ImageCms

    profile = io.BytesIO(ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes())
    return profile.getvalue()
