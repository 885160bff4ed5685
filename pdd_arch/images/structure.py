"""What can be told of an image file without decoding it: its format, its size, whether the end is missing.

OpenCV versions differ in what they make of half a file: some return grey pixels and a warning. Truncation is
therefore looked for here, in the structure of PNG, JPEG and WebP files. Sizes are read before anything is
decoded, because a file of a hundred bytes can declare an image that no memory holds.
"""

import mmap
import re
import struct
import zlib
from collections.abc import Iterator

Content = bytes | mmap.mmap | memoryview

#: width times height; the largest cameras have 200 million pixels
MAX_PIXELS = 2**28
#: scans of a progressive JPEG times its pixels: each scan goes over all of the image, and some ten are usual
MAX_SCANNED_PIXELS = 32 * MAX_PIXELS

FORMATS = ('PNG', 'JPEG', 'WebP', 'TIFF', 'BMP', 'JPEG 2000', 'PNM')
#: what cameras write before anything is developed: sensor values, and previews that are no photographs to work with
CAMERA_RAW = "a camera's raw file"
#: beginnings of files by format; the first that fits counts
_SIGNATURES = (
    ('PNG', rb'\x89PNG\r\n\x1a\n'),
    ('JPEG', rb'\xff\xd8\xff'),
    ('WebP', rb'RIFF....WEBP'),
    # Canon (CR2, CR3), Fujifilm, Olympus, Panasonic, Minolta, Sigma; others are TIFF files: see `format_of`
    (CAMERA_RAW, rb'II\*\0....CR|....ftypcrx |FUJIFILMCCD-RAW|IIR[OS]|IIU\0|\0MRM|FOVb'),
    ('TIFF', rb'II[*+]\0|MM\0[*+]'),
    ('BMP', rb'BM'),
    ('JPEG 2000', rb'\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51'),
    ('PNM', rb'P[1-6]\s'),
    # seen under the names of images, and not read: OpenCV's support for them depends on its version
    ('GIF', rb'GIF8'),
    # `mif1` and `msf1` are brands of both; the list of brands behind them decides
    ('AVIF', rb'....ftyp(avi[fs]|m[is]f1....(....)*?avi[fs])'),
    ('HEIC', rb'....ftyp(hei[cmsx]|hev[cmsx]|m[is]f1)'),
    ('JPEG XL', rb'\xff\x0a|\0\0\0\x0cJXL '),
    ('OpenEXR', rb'\x76\x2f\x31\x01'),
    ('Radiance HDR', rb'#\?RADIANCE|#\?RGBE'),
    ('PFM', rb'P[Ff]\s'),
    ('Photoshop', rb'8BPS'),
)
_VIDEO = re.compile(rb'....ftyp|\x1aE\xdf\xa3|RIFF....AVI |....(moov|mdat|wide)|\0\0\1\xba', re.DOTALL)
_PATTERNS = tuple((name, re.compile(pattern, re.DOTALL)) for name, pattern in _SIGNATURES)
_EXIF = b'Exif\0\0'
_ANIMATION = (b'acTL', b'fcTL', b'fdAT')
#: as many bytes tell the format of a file
HEAD_BYTES = 64
# beginnings so short that any file may have them: for a photograph only together with the name of one
_SHORT_SIGNATURES = ('BMP', 'PNM', 'PFM')
_DNG_VERSION, _NEW_SUBFILE_TYPE, _SUB_DIRECTORIES, _REDUCED = 50706, 254, 330, 1
# comments may stand between the numbers
_PNM_HEADER = re.compile(rb'P[1-6](?:\s|#[^\n]*\n)+(\d{1,10})(?:\s|#[^\n]*\n)+(\d{1,10})')
_PNM_WHITE = re.compile(rb'P([2356])' + rb'(?:\s|#[^\n]*\n)+(\d{1,10})' * 3)
_JPEG2000_START = b'\xff\x4f\xff\x51'


def format_of(content: Content) -> str | None:
    """Name of the format by the file's content (one of ``FORMATS`` or another known one), or None.

    The beginning of a file is enough for all but a TIFF, of which some are a camera's raw files, with a preview where
    other programs have the image.
    """
    head = bytes(content[:HEAD_BYTES])
    kind = next((name for name, pattern in _PATTERNS if pattern.match(head)), None)
    return CAMERA_RAW if kind == 'TIFF' and _is_camera_raw(content) else kind


def is_certainly_an_image(content: Content) -> bool:
    """Whether the content alone tells that a file is an image, of a format that is read here or not."""
    kind = format_of(content)
    if kind not in _SHORT_SIGNATURES:
        return kind is not None
    return kind in FORMATS and size_problem(content) is None


def is_video(content: Content) -> bool:
    """Whether a file begins as a video does: of those whose beginning is also that of an image, none."""
    return format_of(content) is None and _VIDEO.match(bytes(content[:HEAD_BYTES])) is not None


def _is_camera_raw(content: Content) -> bool:
    try:
        entries = {tag for tag, _, _, _ in _tiff_entries(content)}
        reduced = tiff_tags(content).get(_NEW_SUBFILE_TYPE, 0) & _REDUCED
    except (struct.error, OverflowError):
        return False
    return _DNG_VERSION in entries or (bool(reduced) and _SUB_DIRECTORIES in entries)


def not_read(kind: str) -> str:
    """The predicate of a sentence about a file of a format that is not among ``FORMATS``."""
    named = kind if kind == CAMERA_RAW else f'in the format {kind}'
    return f'is {named}, which is not read here; expected {", ".join(FORMATS)}'


def structural_problem(content: Content, deep: bool = False) -> str | None:
    """What is visibly wrong with a file, as the predicate of a sentence, or None; touches few pages of a mapped one.

    `deep`: also verify the checksums of a PNG, which reads all of it.
    """
    size = len(content)
    if not size:
        return 'is empty (0 bytes), an image is expected'
    kind = format_of(content)
    if kind not in FORMATS:
        if kind:
            return not_read(kind)
        if is_video(content):
            return 'is a video, not an image'
        return f'is not an image ({size} bytes, beginning with {bytes(content[:12])!r})'
    if kind == 'PNG':
        return _png_problem(content, size, deep)
    if kind == 'JPEG':
        scan = _jpeg_layout(content, size)[0]
        # inside a scan every FF is followed by 00 or a restart marker, so FF D9 there is the end of the image
        if scan is None or _rfind(content, b'\xff\xd9') < scan:
            return f'is a truncated JPEG ({size} bytes, no end-of-image marker)'
    elif kind == 'WebP':
        declared = struct.unpack('<I', content[4:8])[0] + 8
        if declared > size:
            return f'is a truncated WebP ({size} of {declared} bytes)'
    return None


def size_problem(content: Content) -> str | None:
    """What in its header forbids decoding an image of a known format, as the predicate of a sentence, or None."""
    kind = format_of(content) or ''
    try:
        size = stored_size(content, kind)
    except (struct.error, LookupError, ValueError, OverflowError):  # the file ends within its header
        size = None
    if size is None:
        return f'is a truncated or damaged {kind}: its header holds no size'
    height, width = size
    pixels = height * width
    if not pixels:
        return f'is a damaged {kind}: its header says {height}x{width} pixels (height x width)'
    if pixels > MAX_PIXELS:
        found = f'{height}x{width} pixels (height x width)'
        return f'is too large: its header says {found}, and at most {MAX_PIXELS} are read'
    # a scan has ten bytes at least, so that few files need be searched
    if kind == 'JPEG' and len(content) // 10 * pixels > MAX_SCANNED_PIXELS:
        scans = scan_count(content)
        if scans * pixels > MAX_SCANNED_PIXELS:
            return f'is a JPEG of {scans} scans, which would take minutes to decode'
    return None


def without_animation(content: bytes) -> bytes:
    """A PNG without the chunks that animate it, which leaves its first frame.

    OpenCV 5.0.0 reads behind its memory when such a chunk is damaged, and nothing but that frame is wanted.
    """
    chunks = list(_png_chunks(content, len(content)))
    if not any(name in _ANIMATION for name, _, _ in chunks):
        return content
    kept = (content[start - 8 : end + 4] for name, start, end in chunks if name not in _ANIMATION)
    return content[:8] + b''.join(kept)


def stored_size(content: Content, kind: str) -> tuple[int, int] | None:
    """(height, width) before any EXIF rotation, as the header of the format says; None where it says nothing.

    Raises:
        struct.error, LookupError, ValueError, OverflowError: the file ends before what its header tells or points at.
    """
    if kind == 'PNG':
        width, height = struct.unpack('>II', content[16:24])
    elif kind == 'JPEG':
        return _jpeg_layout(content, len(content))[1]
    elif kind == 'BMP':
        # the oldest header has 16-bit sizes; a negative height means top to bottom
        old = content[14:18] == b'\x0c\0\0\0'
        width, height = struct.unpack('<HH' if old else '<ii', content[18:22] if old else content[18:26])
    elif kind == 'WebP':
        return _webp_size(content)
    elif kind == 'TIFF':
        tags = tiff_tags(content)
        width, height = tags[256], tags[257]
    elif kind == 'JPEG 2000':
        # in a file with boxes, the codestream is behind some of them
        head = bytes(content[: 2**16])
        at = head.index(_JPEG2000_START) + 8
        right, bottom, left, top = struct.unpack_from('>IIII', head, at)
        width, height = right - left, bottom - top
    else:
        match = _PNM_HEADER.match(bytes(content[: 2**12]))
        if match is None:
            return None
        width, height = int(match[1]), int(match[2])
    return abs(height), abs(width)


def white_level(content: Content, kind: str) -> int | None:
    """The largest value of samples that a PNM or JPEG 2000 says it has, which may lie between those of 8 and 16 bits.

    None for other formats, and where it does not say.
    """
    if kind == 'PNM':
        match = _PNM_WHITE.match(bytes(content[: 2**12]))
        # OpenCV itself brings those of text to the full range, if 8 bits hold it
        return None if match is None or (match[1] in (b'2', b'3') and int(match[4]) < 256) else int(match[4])
    if kind == 'JPEG 2000':
        head = bytes(content[: 2**16])
        at = head.index(_JPEG2000_START) + 40
        (components,) = struct.unpack_from('>H', head, at)
        return 2 ** max(head[at + 2 + 3 * i] % 128 + 1 for i in range(components)) - 1
    return None


def orientation(content: Content, kind: str) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none, or none that can be read.

    OpenCV may see another one in a damaged block, and then turn the image otherwise than this tells.
    """
    try:
        block = content if kind == 'TIFF' else _exif_block(content, kind)
        return tiff_tags(block).get(274, 1) if block else 1
    except (struct.error, OverflowError):
        return 1


def tiff_tags(content: Content) -> dict[int, int]:
    """Whole numbers in the first directory of a TIFF or BigTIFF: width 256, height 257, orientation 274, kind 254."""
    order = '<' if content[:2] == b'II' else '>'
    tags: dict[int, int] = {}
    for tag, kind, number, value in _tiff_entries(content):
        if tag in (_NEW_SUBFILE_TYPE, 256, 257, 274) and tag not in tags and kind in (3, 4, 16) and number == 1:
            (tags[tag],) = struct.unpack_from(order + {3: 'H', 4: 'I', 16: 'Q'}[kind], content, value)
    return tags


def _tiff_entries(content: Content) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type, number of values and offset of the value, of the entries of the first directory."""
    order = '<' if content[:2] == b'II' else '>'
    big = struct.unpack(f'{order}H', content[2:4])[0] == 43
    at_offset, offset, count = (8, 'Q', 'Q') if big else (4, 'I', 'H')
    (at,) = struct.unpack_from(f'{order}{offset}', content, at_offset)
    (entries,) = struct.unpack_from(f'{order}{count}', content, at)
    at += struct.calcsize(count)
    length, value = (20, 12) if big else (12, 8)
    entries = min(entries, 2**16)  # a BigTIFF can claim any number
    for start in range(at, min(at + length * entries, len(content) - length + 1), length):
        tag, kind, number = struct.unpack_from(f'{order}HH{"Q" if big else "I"}', content, start)
        yield tag, kind, number, start + value


def scan_count(content: Content) -> int:
    """Scans of a JPEG: 1, or some ten in a progressive one."""
    whole = content if isinstance(content, bytes) else bytes(content)
    return whole.count(b'\xff\xda')


def _exif_block(content: Content, kind: str) -> bytes:
    if kind == 'PNG':  # has no prefix
        return next((bytes(content[s:e]) for name, s, e in _png_chunks(content, len(content)) if name == b'eXIf'), b'')
    blocks: Iterator[tuple[int, int]] = iter(())
    if kind == 'JPEG':
        segments = _jpeg_segments(content, len(content))
        blocks = ((s, e) for m, s, e in segments if m == 0xE1 and content[s : s + 6] == _EXIF)
    elif kind == 'WebP':
        blocks = ((s, e) for name, s, e in _riff_chunks(content) if name == b'EXIF')
    start, end = next(blocks, (0, 0))
    return bytes(content[start:end]).removeprefix(_EXIF)


def _riff_chunks(content: Content) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the data of each complete chunk of a WebP."""
    at = 12
    while at + 8 <= len(content):
        start, (length,) = at + 8, struct.unpack('<I', content[at + 4 : at + 8])
        if start + length > len(content):
            return
        yield bytes(content[at : at + 4]), start, start + length
        at = start + length + length % 2


def _webp_size(content: Content) -> tuple[int, int] | None:
    kind, body = bytes(content[12:16]), bytes(content[20:32])
    if kind == b'VP8X':
        width, height = (1 + int.from_bytes(body[i : i + 3], 'little') for i in (4, 7))
    elif kind == b'VP8L' and body[:1] == b'\x2f':
        packed = int.from_bytes(body[1:5], 'little')
        width, height = 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    elif kind == b'VP8 ' and body[3:6] == b'\x9d\x01\x2a':
        width, height = (size & 0x3FFF for size in struct.unpack('<HH', body[6:10]))
    else:
        return None
    return height, width


def _png_problem(content: Content, size: int, deep: bool) -> str | None:
    if content[12:16] != b'IHDR':
        return 'is a truncated or damaged PNG (it does not begin with its header)'
    for name, start, end in _png_chunks(content, size):
        if deep and zlib.crc32(content[start - 4 : end]) != struct.unpack('>I', content[end : end + 4])[0]:
            return f'is a damaged PNG (wrong checksum at byte {start - 8})'
        if name == b'IEND':
            return None
    return f'is a truncated PNG ({size} bytes, no end chunk)'


def _png_chunks(content: Content, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the data of each complete chunk."""
    at = 8
    while at + 12 <= size:
        (length,) = struct.unpack('>I', content[at : at + 4])
        start, end = at + 8, at + 8 + length
        if end + 4 > size:
            return
        yield bytes(content[at + 4 : start]), start, end
        at = end + 4


def _jpeg_segments(content: Content, size: int) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the data of each segment, up to that of the first scan.

    The thumbnail in an EXIF block has a size and an end marker of its own, so segments are walked.
    """
    at = 2
    while at + 4 <= size:
        marker = content[at + 1]
        if content[at] != 0xFF or marker in (0xFF, 0x00):
            at += 1  # bytes between segments are skipped, as libjpeg does
        elif 0xD0 <= marker <= 0xD8 or marker == 0x01:
            at += 2
        else:
            start, end = at + 4, at + 2 + struct.unpack('>H', content[at + 2 : at + 4])[0]
            yield marker, start, end
            if marker == 0xDA:
                return
            at = end


def _jpeg_layout(content: Content, size: int) -> tuple[int | None, tuple[int, int] | None]:
    """Offset of the first scan, and (height, width) of the frame."""
    frame = None
    for marker, start, _ in _jpeg_segments(content, size):
        if marker == 0xDA:
            return start, frame
        # C0 to CF are frames, but for tables (C4, CC) and an extension (C8)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and start + 5 <= size:
            frame = struct.unpack('>HH', content[start + 1 : start + 5])
    return None, frame


def _rfind(content: Content, wanted: bytes) -> int:
    """Last place of some bytes. The end is looked at first, so that little of a mapped file is read."""
    tail_start = max(len(content) - 2**16, 0)
    found = bytes(content[tail_start:]).rfind(wanted)
    if found >= 0:
        return tail_start + found
    return bytes(content).rfind(wanted)
