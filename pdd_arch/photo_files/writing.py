"""Writing a photograph: PNG, JPEG, WebP or TIFF, with all of its metadata that the format has a place for."""

import io
import math
import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from pdd_arch.errors import DataError, OptionError
from pdd_arch.photo_files.encoders import encode_png, encode_tiff, takes_exif
from pdd_arch.photo_files.photo import EXIF_MARKER, XMP_MARKER, Metadata, Photo
from pdd_arch.utils.atomic import whole_file, writing
from pdd_arch.utils.wording import one_of, shown

#: name of the format -> extensions; the first is given to new files
EXTENSIONS = {
    'PNG': ('.png',),
    'JPEG': ('.jpg', '.jpeg', '.jpe'),
    'WebP': ('.webp',),
    'TIFF': ('.tif', '.tiff'),
}
#: default quality of JPEG and WebP
QUALITY = 95
_MAX_SIDE = {'JPEG': 65500, 'WebP': 16383}
_SEGMENT_BYTES = 65533 - 2


def format_of_name(path: str | os.PathLike) -> str | None:
    """The format that the extension of a name stands for, or None."""
    extension = os.path.splitext(path)[1].lower()
    return next((name for name, known in EXTENSIONS.items() if extension in known), None)


def check_size(width: int, height: int, kind: str) -> None:
    """Raise DataError where the format `kind` cannot hold an image of so many pixels."""
    limit = _MAX_SIDE.get(kind, math.inf)
    if max(width, height) > limit:
        what = f'a {kind} has at most {limit} pixels a side, and the result has {width} x {height}'
        raise DataError(what, way_out='Choose png or tiff.')


def encode_photo(photo: Photo, kind: str, quality: int = QUALITY) -> tuple[bytes, list[str]]:
    """The bytes of a file, and what it has no place for, a sentence each.

    PNG and TIFF are lossless, and have 8 and 16 bits, gray and alpha. JPEG has 8 bits and no alpha (which is dropped,
    not blended), and is written with full colour resolution. WebP has 8 bits and no gray; quality 100 is lossless.
    `kind` is one of ``EXTENSIONS``.

    Raises:
        DataError: the format cannot hold an image as large.
        OptionError: another format or quality.
    """
    if kind not in EXTENSIONS:
        raise OptionError(where='format', expected=one_of(EXTENSIONS), found=repr(kind))
    if not isinstance(quality, int) or isinstance(quality, bool) or not 1 <= quality <= 100:
        raise OptionError(where='quality', expected='a whole number from 1 to 100', found=repr(quality))
    check_size(photo.pixels.shape[1], photo.pixels.shape[0], kind)
    notes: list[str] = []
    image, gray = _samples(photo, kind, notes)
    metadata = _fitting_metadata(photo.metadata, kind, gray, notes)
    if kind == 'PNG':
        return encode_png(image, metadata), notes
    if kind == 'TIFF':
        return encode_tiff(image, metadata), notes
    return _encode_with_pillow(image, metadata, kind, quality), notes


def _samples(photo: Photo, kind: str, notes: list[str]) -> tuple[np.ndarray, bool]:
    """The image as the encoder of a format takes it, and whether it is gray there."""
    pixels, alpha = photo.pixels, photo.alpha
    if photo.bits == 16 and kind in ('JPEG', 'WebP'):
        notes.append(f'16 bits were reduced to 8, as a {kind} has no more')
        pixels = np.rint(pixels / 257.0).astype(np.uint8)
        alpha = None if alpha is None else np.rint(alpha / 257.0).astype(np.uint8)
    if alpha is not None and kind == 'JPEG':
        notes.append('transparency was dropped, as a JPEG has none')
        alpha = None
    # few programs read a TIFF of gray and alpha in 16 bits
    gray = photo.gray and kind != 'WebP' and not (kind == 'TIFF' and photo.bits == 16 and alpha is not None)
    if gray:
        # exact for three equal channels, as are those of a gray image that was not upscaled
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    return (pixels if alpha is None else np.dstack([pixels, alpha])), gray


def _fitting_metadata(metadata: Metadata, kind: str, gray: bool, notes: list[str]) -> Metadata:
    """The metadata that the format has a place for; `notes` gets a sentence on the rest."""
    space = metadata.profile_space
    if space not in (None, 'GRAY' if gray else 'RGB'):
        notes.append(f'its colour profile is one for {space}, does not fit the file written, and is left out')
        metadata = replace(metadata, icc=None)
    if metadata.color_chunks and kind != 'PNG':
        if not metadata.icc and any(name != b'sRGB' for name, _ in metadata.color_chunks):
            notes.append(f'its gamma and primaries are left out, for which a {kind} has no place')
        metadata = replace(metadata, color_chunks=())
    if metadata.iptc and kind in ('PNG', 'WebP'):
        notes.append(f'IPTC records are left out, for which a {kind} has no place')
        metadata = replace(metadata, iptc=None)
    if metadata.exif and kind == 'TIFF' and not takes_exif(metadata.exif):
        notes.append('its EXIF data hold values of wrong types and are left out')
        metadata = replace(metadata, exif=None)
    if metadata.dpi and kind == 'WebP' and not metadata.exif:
        notes.append('its resolution (dpi) is left out, for which a WebP has no place')
    kept = {k: v for k, v in metadata.texts.items() if kind == 'PNG' or (kind == 'JPEG' and k == 'Comment')}
    if kept != metadata.texts:
        lost = ', '.join(sorted(metadata.texts.keys() - kept.keys())[:5])
        notes.append(f'texts are left out, for which a {kind} has no place: {lost}')
        metadata = replace(metadata, texts=kept)
    return _fitting_segments(metadata, notes) if kind == 'JPEG' else metadata


def _fitting_segments(metadata: Metadata, notes: list[str]) -> Metadata:
    """The metadata without what exceeds the 64 KiB that a JPEG gives to each kind."""
    left_out: dict[str, Any] = {}
    for field, name, segment in (
        ('exif', 'EXIF data', EXIF_MARKER + (metadata.exif or b'')),
        ('xmp', 'XMP data', XMP_MARKER + (metadata.xmp or b'')),
        ('iptc', 'IPTC records', _photoshop(metadata.iptc or b'')),
        ('texts', 'comments', metadata.texts.get('Comment', '').encode()),
    ):
        if len(segment) > _SEGMENT_BYTES:
            notes.append(f'its {name} exceed the 64 KiB that a JPEG has for them and are left out')
            left_out[field] = {} if field == 'texts' else None
    return replace(metadata, **left_out)


def _encode_with_pillow(image: np.ndarray, metadata: Metadata, kind: str, quality: int) -> bytes:
    rgb = image if image.ndim == 2 else image[..., [2, 1, 0, 3][: image.shape[2]]]
    exif = EXIF_MARKER + metadata.exif if metadata.exif else b''
    options: dict[str, Any] = dict(quality=quality, icc_profile=metadata.icc, exif=exif)
    if kind == 'JPEG':
        segments = b''  # Pillow writes them behind the first ones (JFIF, EXIF), where readers look for them
        if metadata.xmp:
            segments += _segment(b'\xff\xe1', XMP_MARKER + metadata.xmp)
        if metadata.iptc:
            segments += _segment(b'\xff\xed', _photoshop(metadata.iptc))
        comment = metadata.texts.get('Comment', '').encode()
        options |= dict(subsampling=0, optimize=True, comment=comment, extra=segments, dpi=metadata.dpi or (0, 0))
    else:
        # exact: colours are kept also where alpha hides them
        options |= dict(xmp=metadata.xmp or b'', exact=True)
        if quality == 100:  # a lossy WebP halves the resolution of colours
            options |= dict(lossless=True, quality=75)  # which is effort here
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(file, kind.upper(), **options)
    return file.getvalue()


def _segment(marker: bytes, data: bytes) -> bytes:
    return marker + struct.pack('>H', len(data) + 2) + data


def _photoshop(iptc: bytes) -> bytes:
    """IPTC records as the Photoshop resource that holds them in a JPEG."""
    return b'Photoshop 3.0\x008BIM\x04\x04\0\0' + struct.pack('>I', len(iptc)) + iptc + b'\0' * (len(iptc) % 2)


def write_photo(photo: Photo, path: str | os.PathLike, quality: int = QUALITY, overwrite: bool = False) -> list[str]:
    """Write a photograph to a file, in the format of its extension, whole or not at all.

    Returns what could not be kept, a sentence each.

    Raises:
        DataError: there is a file already, or it cannot be written.
        OptionError: the extension is of another format, or the quality is impossible.
    """
    path, kind = Path(path), format_of_name(path)
    if kind is None:
        known = ', '.join(e for extensions in EXTENSIONS.values() for e in extensions)
        raise OptionError(where=shown(path), expected=f'a name that ends in one of {known}')
    if path.exists() and not overwrite:
        way_out = 'Choose another name, or allow it (overwrite).'
        raise DataError('exists and is not overwritten', where=shown(path), way_out=way_out)
    content, notes = encode_photo(photo, kind, quality)
    with writing(path), whole_file(path) as partial:
        partial.write_bytes(content)
    return notes
