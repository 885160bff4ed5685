"""Photographs as people have them: pixels, and everything that belongs to them."""

from pdd_arch.photo_files.metadata import Metadata
from pdd_arch.photo_files.photo import Photo
from pdd_arch.photo_files.reading import decode_photo, read_photo
from pdd_arch.photo_files.writing import (
    EXTENSIONS,
    QUALITY,
    WRITTEN_FORMATS,
    encode_photo,
    format_of_name,
    side_problem,
    write_photo,
)

__all__ = [
    'EXTENSIONS',
    'QUALITY',
    'WRITTEN_FORMATS',
    'Metadata',
    'Photo',
    'decode_photo',
    'encode_photo',
    'format_of_name',
    'read_photo',
    'side_problem',
    'write_photo',
]
