"""EXIF blocks, changed where they lie: what is not understood (maker notes) stays as it is, byte for byte."""

import struct
from collections.abc import Callable
from contextlib import suppress

_ORIENTATION, _EXIF_DIRECTORY = 0x0112, 0x8769
# ImageWidth and ImageLength, of the first directory; PixelXDimension and PixelYDimension, of the EXIF directory
_WIDTHS, _HEIGHTS = (0x0100, 0xA002), (0x0101, 0xA003)
_THUMBNAIL, _THUMBNAIL_BYTES = 0x0201, 0x0202
_SHORT, _LONG = 3, 4
_JPEG = b'\xff\xd8'


def adjusted(block: bytes, width: int | None = None, height: int | None = None) -> bytes:
    """The block (TIFF's structure, without the ``Exif`` marker) of an upright image, of that size in pixels if given.

    The orientation becomes 1, sizes that are stated become those given, and the thumbnail, which shows the image as it
    was, is removed. Raises ValueError if the block is damaged.
    """
    try:
        return _adjusted(bytearray(block), width, height)
    except struct.error:
        raise ValueError('the EXIF block ends before what it points at') from None


def _adjusted(block: bytearray, width: int | None, height: int | None) -> bytes:
    order = {b'II': '<', b'MM': '>'}.get(bytes(block[:2]))
    if order is None or struct.unpack_from(f'{order}H', block, 2)[0] != 42:
        raise ValueError('the EXIF block does not begin as one')

    def entries(at: int) -> tuple[dict[int, int], int]:
        """Tag -> offset of its entry, and the offset of the pointer to the next directory."""
        (count,) = struct.unpack_from(f'{order}H', block, at)
        offsets = [at + 2 + 12 * i for i in range(count)]
        return {struct.unpack_from(f'{order}H', block, o)[0]: o for o in offsets}, at + 2 + 12 * count

    def number(entry: int) -> int:
        kind = 'H' if struct.unpack_from(f'{order}H', block, entry + 2)[0] == _SHORT else 'I'
        return struct.unpack_from(order + kind, block, entry + 8)[0]

    first, end = entries(struct.unpack_from(f'{order}I', block, 4)[0])
    if _ORIENTATION in first:
        struct.pack_into(f'{order}HIHH', block, first[_ORIENTATION] + 2, _SHORT, 1, 1, 0)
    directories = [first]
    if _EXIF_DIRECTORY in first:
        directories.append(entries(number(first[_EXIF_DIRECTORY]))[0])
    sides = dict.fromkeys(_WIDTHS, width) | dict.fromkeys(_HEIGHTS, height)
    for directory in directories:
        for tag, side in sides.items():
            if side is not None and tag in directory:
                struct.pack_into(f'{order}HII', block, directory[tag] + 2, _LONG, 1, side)
    (second,) = struct.unpack_from(f'{order}I', block, end)
    if second:
        struct.pack_into(f'{order}I', block, end, 0)
        with suppress(struct.error):  # nothing points there any more
            _remove_thumbnail(block, entries(second)[0], number)
    return bytes(block)


def _remove_thumbnail(block: bytearray, directory: dict[int, int], number: Callable[[int], int]) -> None:
    if _THUMBNAIL in directory and _THUMBNAIL_BYTES in directory:
        start, length = number(directory[_THUMBNAIL]), number(directory[_THUMBNAIL_BYTES])
        if block[start : start + 2] != _JPEG:  # what is there is something else
            return
        if start + length >= len(block) - 1:  # mostly it is the last thing there
            del block[start:]
        else:
            block[start : start + length] = bytes(length)
