"""Reading a photograph with all that belongs to it.

Pixels come from the project's checked reader (`pdd_arch.images.decoding`), which settles damage, size and orientation;
alpha, whether the image is gray, and metadata come from Pillow. Files of formats that only Pillow reads, some of them
not on every machine (GIF, AVIF; HEIC with a plugin), become a PNG in memory first, and need no rules of their own.
Tifffile reads some TIFFs that these two do not, but none with LZW unless imagecodecs is installed.
"""

import io
import os
import re
import warnings
from contextlib import suppress
from dataclasses import replace

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import TiffImageFile

from pdd_arch.errors import DataError
from pdd_arch.images.decoder_messages import messages_of_decoder
from pdd_arch.images.decoding import CONVERT, decode_raw, image_size, of_full_range, turned_upright
from pdd_arch.images.structure import FORMATS, HEAD_BYTES, MAX_PIXELS, format_of, not_read, without_animation
from pdd_arch.photo_files.photo import XMP_KEYWORD, Metadata, Photo, read_metadata
from pdd_arch.utils.files import REPLACE, open_file, read_content
from pdd_arch.utils.wording import shown

_GRAY_MODES = ('1', 'L', 'LA', 'La', 'I', 'F', 'I;16', 'I;16B', 'I;16L', 'I;16N')
_ALPHA_MODES = ('LA', 'La', 'PA', 'RGBA', 'RGBa')
_EXTRA_SAMPLES, _PREMULTIPLIED = 338, 1
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_MOST = 2**16 - 1  # of 16 bits
# format -> the extension under which Pillow knows it where it can decode it
_BY_PILLOW = {'GIF': '.gif', 'AVIF': '.avif', 'HEIC': '.heic'}
_HIGH_BIT_DEPTH = re.compile(rb'av1C..[\x40-\x7f\xc0-\xff]', re.DOTALL)  # the second bit of the third byte


def is_readable(kind: str | None) -> bool:
    """Whether photographs of a format (`pdd_arch.images.structure.format_of`) can be read on this machine."""
    return kind in FORMATS or _BY_PILLOW.get(kind or '') in Image.registered_extensions()


def photo_size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) of a photograph, upright, without decoding it; raises as :func:`read_photo`."""
    with open_file(path) as file:
        kind = format_of(file.read(HEAD_BYTES))
    if kind not in _BY_PILLOW:
        return image_size(path)
    image, turned = _opened_by_pillow(read_content(path), kind, shown(path)), False
    exif = Image.Exif()  # not `getexif`, which takes the orientation in the XMP data for that of the pixels
    with suppress(Exception):  # Pillow raises what it likes for damaged metadata
        exif.load(image.info.get('exif') or b'')
        turned = exif.get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    width, height = image.size
    return (width, height) if turned else (height, width)


def read_photo(path: str | os.PathLike) -> Photo:
    """:func:`decode_photo` for a file; raises MissingFileError if there is none."""
    return decode_photo(read_content(path), str(path))


def decode_photo(content: bytes, source: str) -> Photo:
    """A photograph from the bytes of a file.

    The pixels stand upright, and no metadata say otherwise. The values are those of the file: a profile is kept, not
    applied. Exceptions are CMYK, which becomes sRGB (through its profile, if it has one), and premultiplied alpha,
    which is divided out. Images of fewer than 8 bits get 8, of 9 to 15 bits 16; a palette becomes colours.

    Raises:
        DataError: it cannot be read (`pdd_arch.images.decoding.decode_raw`), or is of a kind that would lose its
            meaning (Lab, a TIFF of gray and alpha in 16 bits); calls it `source`.
    """
    kind, where = format_of(content) or '', shown(source)
    if kind in _BY_PILLOW:
        notes: list[str] = []
        photo = decode_photo(_as_png(content, kind, where, notes), source)
        return replace(photo, format=kind, notes=(*notes, *photo.notes))
    pixels = decode_raw(content, source)
    image, reason = _opened(content)
    if image is None:
        if kind == 'TIFF':
            what = 'is a TIFF of a kind that is not read (of several channels in 16 bits, only RGB and RGBA are; '
            raise DataError(f'{what}{reason})', where=where, way_out='Convert it, for example to PNG.')
        note = f'its metadata, and transparency if it has any, cannot be read and are left out ({reason})'
        return Photo(pixels, format=kind, notes=(note,))
    if image.mode == 'LAB':
        raise DataError('is a Lab image; RGB or gray is expected', where=where, way_out='Convert it, or remove it.')
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    if pixels.dtype == np.uint16 and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        pixels = ~pixels  # OpenCV does so for 8 bits only
    notes = _frames_note(image, kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            metadata, problems = read_metadata(image, content)
        notes += problems
    except Exception as error:  # Pillow raises what it likes for damaged metadata; the pixels are whole
        metadata = Metadata()
        notes.append(f'its metadata are damaged and left out ({type(error).__name__}: {error})')
    alpha = None
    if image.mode == 'CMYK':
        pixels, profile, note = _from_cmyk(image, metadata, where)
        pixels, metadata = turned_upright(pixels, content, kind), replace(metadata, icc=profile)
        notes.append(note)
    elif image.mode in _ALPHA_MODES or 'transparency' in image.info:
        pixels, alpha = _with_alpha(image, content, kind, pixels, where)
        if pixels.dtype == np.uint16 and tags.get(_EXTRA_SAMPLES, (0,))[0] == _PREMULTIPLIED:
            straight = pixels.astype(np.float64) * _MOST / np.maximum(alpha, 1)[..., None]
            pixels = np.rint(straight).clip(0, _MOST).astype(np.uint16)
    # Pillow makes RGBA of a PNG of gray with alpha in 16 bits
    gray = content[25] in (0, 4) if kind == 'PNG' else image.mode in _GRAY_MODES
    return Photo(pixels, alpha, gray, metadata, kind, tuple(notes))


def _opened_by_pillow(content: bytes, kind: str, where: str) -> Image.Image:
    """A file of a format in ``_BY_PILLOW``, not loaded yet. Raises DataError: it cannot be, or is too large."""
    if not is_readable(kind):
        way_out = 'Install Pillow 11.3 or newer, or convert it to PNG.' if kind == 'AVIF' else CONVERT
        raise DataError(not_read(kind), where=where, way_out=way_out)
    image, reason = _opened(content, load=False)
    if image is None:
        what = f'is a truncated or damaged {kind} that cannot be decoded ({reason})'
        raise DataError(what, where=where, way_out=REPLACE)
    if image.width * image.height > MAX_PIXELS:
        what = f'is too large: {image.height}x{image.width} pixels (height x width), and at most {MAX_PIXELS} are read'
        raise DataError(what, where=where, way_out=REPLACE)
    return image


def _as_png(content: bytes, kind: str, where: str, notes: list[str]) -> bytes:
    """The first frame of a file of a format in ``_BY_PILLOW`` with its metadata; `notes` gets what is lost."""
    image = _opened_by_pillow(content, kind, where)
    if kind == 'AVIF' and _HIGH_BIT_DEPTH.search(content):
        notes.append('its 10 or 12 bits were reduced to 8')
    notes += _frames_note(image, kind)
    info, texts, file = image.info, PngInfo(), io.BytesIO()
    if info.get('xmp'):
        texts.add_itxt(XMP_KEYWORD, info['xmp'].decode('utf-8', 'replace'))
    if info.get('comment'):
        texts.add_itxt('Comment', info['comment'].decode('utf-8', 'replace'))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            image.save(file, 'PNG', exif=info.get('exif') or b'', pnginfo=texts, compress_level=1)
    except Exception as error:  # Pillow raises what it likes for damaged files
        what = f'is a truncated or damaged {kind} that cannot be decoded ({type(error).__name__}: {error})'
        raise DataError(what, where=where, way_out=REPLACE) from None
    return file.getvalue()


def _opened(content: bytes, load: bool = True) -> tuple[Image.Image | None, str]:
    """The image, loaded unless `load` is False, or None and why not."""
    # Pillow's own limit is lower than that of `pdd_arch.images.structure`, which has been held
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # on metadata; what cannot be read is said
            image = Image.open(io.BytesIO(content))
            if load:
                image.load()  # which turns a TIFF upright
    except UnidentifiedImageError:  # its message is about an object in memory
        return None, 'Pillow cannot identify it'
    except Exception as error:
        return None, ' '.join(f'{type(error).__name__}: {error}'.split())[:120]
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    return image, ''


def _frames_note(image: Image.Image, kind: str) -> list[str]:
    try:
        frames = getattr(image, 'n_frames', 1)
    except Exception:  # Pillow raises what it likes for damaged pages
        return ['it seems to have further pages, which are damaged; only the first is upscaled and written']
    if frames < 2:
        return []
    if kind == 'JPEG':
        return [f'it holds {frames} pictures (a gain map, depth or preview); only the main one is upscaled and written']
    what = 'pages' if kind == 'TIFF' else 'frames'
    return [f'it has {frames} {what}; only the first is upscaled and written']


def _from_cmyk(image: Image.Image, metadata: Metadata, where: str) -> tuple[np.ndarray, bytes, str]:
    """(H, W, 3) BGR in sRGB as the file has it, the profile that says so, and a note."""
    from PIL import ImageCms  # some builds of Pillow lack it

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB'))
    if metadata.icc and metadata.profile_space == 'CMYK':
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(metadata.icc))
            rgb = ImageCms.profileToProfile(image, profile, srgb, outputMode='RGB')
        except ImageCms.PyCMSError as error:
            what = f'is CMYK with a profile that cannot be used ({error})'
            raise DataError(what, where=where, way_out='Convert it to RGB.') from None
        note = 'it is CMYK and was converted to sRGB with its profile'
    else:
        rgb = image.convert('RGB')
        note = 'it is CMYK without a profile and was converted to sRGB by the plain formula; colours may be off'
    return np.asarray(rgb)[..., ::-1], srgb.tobytes(), note


def _with_alpha(
    image: Image.Image, content: bytes, kind: str, pixels: np.ndarray, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Colours as the file has them, and alpha; both upright."""
    if pixels.dtype == np.uint16:
        alpha = _alpha_of_16_bits(image, content, kind)
    else:
        rgba = turned_upright(np.asarray(image.convert('RGBA')), content, kind)
        alpha = np.ascontiguousarray(rgba[..., 3])
        if kind == 'TIFF':  # OpenCV multiplies its colours by its alpha
            pixels = np.ascontiguousarray(rgba[..., 2::-1])
    if alpha.shape != pixels.shape[:2]:
        sizes = [f'{channels.shape[1]} x {channels.shape[0]}' for channels in (alpha, pixels)]
        what = f'its alpha has {sizes[0]} pixels, its colours {sizes[1]}'
        raise DataError(what, where=where, way_out='Save it anew with another program.')
    return pixels, alpha


def _alpha_of_16_bits(image: Image.Image, content: bytes, kind: str) -> np.ndarray:
    """OpenCV has it in 16 bits, Pillow does not."""
    numbers = np.frombuffer(without_animation(content) if kind == 'PNG' else content, np.uint8)
    with messages_of_decoder():  # which have been passed on before
        raw = cv2.imdecode(numbers, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    assert raw is not None  # its colours have been decoded
    raw = of_full_range(raw, content, kind)
    if raw.ndim == 3 and raw.shape[2] == 4:
        alpha = raw[..., 3]
    else:  # a gray image with one transparent level
        alpha = np.where(raw == image.info['transparency'], 0, _MOST).astype(np.uint16)
    return turned_upright(alpha, content, kind)
