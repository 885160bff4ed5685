"""File names of images, and what a folder holds of them."""

import os
from typing import NamedTuple

from pdd_arch.errors import DataError
from pdd_arch.utils.wording import shown

IMAGE_EXTENSIONS = (
    *('.png', '.jpg', '.jpeg', '.jpe', '.bmp', '.dib', '.tif', '.tiff', '.webp'),
    *('.jp2', '.ppm', '.pgm', '.pbm', '.pnm'),
)


def is_image_name(name: str) -> bool:
    """Whether a file name has the extension of an image."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


def without_extension(name: str) -> str:
    """A name without the extension of an image; any other is left alone. So BasicSR makes the keys of an LMDB."""
    return os.path.splitext(name)[0] if is_image_name(name) else name


class FolderContent(NamedTuple):
    """Sorted names in a folder: files called as images, other files, folders."""

    images: list[str]
    others: list[str]
    folders: list[str]


def folder_content(folder: str | os.PathLike[str]) -> FolderContent:
    """What a folder holds, without names that begin with a dot, some of which macOS adds to archives.

    Raises:
        DataError: it cannot be read.
    """
    found = FolderContent([], [], [])
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith('.'):
                    continue
                files = found.images if is_image_name(entry.name) else found.others
                (found.folders if _is_folder(entry) else files).append(entry.name)
    except OSError as error:
        what = f'the folder cannot be read ({error.strerror})'
        raise DataError(what, where=shown(folder), way_out='Correct its permissions.') from None
    for names in found:
        names.sort()
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: opening it will say so
        return False
