"""File names of images, and what a folder holds of them."""

import itertools
import mmap
import os
from collections import Counter, defaultdict
from collections.abc import Collection
from typing import NamedTuple

from pdd_arch.errors import DataError, PDDError
from pdd_arch.images.structure import FORMATS, format_of, is_certainly_an_image, is_video
from pdd_arch.utils.files import open_file
from pdd_arch.utils.wording import shown

IMAGE_EXTENSIONS = (
    *('.png', '.jpg', '.jpeg', '.jpe', '.bmp', '.dib', '.tif', '.tiff', '.webp'),
    *('.jp2', '.ppm', '.pgm', '.pbm', '.pnm'),
)
#: what a file is called by its format
EXTENSION_OF = {
    **{'PNG': '.png', 'JPEG': '.jpg', 'WebP': '.webp', 'TIFF': '.tif', 'BMP': '.bmp'},
    **{'JPEG 2000': '.jp2', 'PNM': '.pnm'},
}
_CAMERA_RAW_EXTENSIONS = (
    *('.dng', '.cr2', '.cr3', '.crw', '.nef', '.nrw', '.arw', '.srf', '.sr2', '.raf', '.orf', '.rw2', '.rwl', '.pef'),
    *('.srw', '.3fr', '.fff', '.iiq', '.erf', '.mrw', '.x3f', '.gpr', '.kdc', '.dcr', '.mef'),
)
#: of photographs in formats that are not read everywhere, or nowhere; a damaged one is not known by its content
_OTHER_PHOTOGRAPHS = (
    *('.heic', '.heif', '.hif', '.avif', '.jxl', '.gif', '.jfif', '.pjpeg', '.mpo', '.apng', '.jxr', '.psd', '.tga'),
    *('.exr', '.pfm'),
)
# what lies beside photographs, in words, and the endings of the names
_OTHER_FILES = {
    'video': '.mp4 .mov .m4v .avi .mkv .webm .mts .m2ts .3gp .wmv .mpg .mpeg .lrv .insv',
    'sidecar': '.xmp .aae .thm .pp3 .dop .cos .vrd .on1 .arp .rrdata .json .csv',
}
_SHOWN = 5


def is_image_name(name: str) -> bool:
    """Whether a file name has the extension of an image."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


def is_photograph_name(name: str) -> bool:
    """Whether a file name has the extension of a photograph, also in a format that is not read here."""
    return is_image_name(name) or is_camera_raw_name(name) or name.lower().endswith(_OTHER_PHOTOGRAPHS)


def is_camera_raw_name(name: str) -> bool:
    """Whether a file name has the extension of what cameras write before anything is developed."""
    return name.lower().endswith(_CAMERA_RAW_EXTENSIONS)


def without_extension(name: str) -> str:
    """A name without the extension of an image; any other is left alone. So BasicSR makes the keys of an LMDB."""
    return os.path.splitext(name)[0] if is_image_name(name) else name


class Look(NamedTuple):
    """What a file is: by its content, and by its name where the content tells nothing."""

    kind: str | None  #: format of the content, where that is known
    is_photograph: bool  #: whether it is an image, one of a format that is not read here, or called like one
    other: str  #: what it is instead, in a word or two; empty where that is not known


def look_at(path: str | os.PathLike[str]) -> Look:
    """What a file is; reads a few of its bytes, and raises nothing."""
    name = os.path.basename(os.fspath(path)).lower()
    called_so = is_photograph_name(name)
    other = next((word for word, endings in _OTHER_FILES.items() if name.endswith(tuple(endings.split()))), '')
    try:
        with open_file(path) as file:
            if not os.fstat(file.fileno()).st_size:
                return Look(None, called_so, other or 'empty')
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                if is_certainly_an_image(content):
                    return Look(format_of(content), True, '')
                other = 'video' if is_video(content) else other
                return Look(format_of(content) if called_so else None, called_so, other)
    except (PDDError, OSError, ValueError) as error:  # ValueError: it cannot be mapped
        what = error.what if isinstance(error, PDDError) else 'cannot be read'
        return Look(None, called_so, other or what)


def with_image_extension(path: str | os.PathLike[str], name: str) -> str:
    """`name` with the extension of the image file `path`, lower case: that of its format where it is not called so."""
    extension = os.path.splitext(path)[1].lower()
    return f'{name}{extension if is_image_name(extension) else EXTENSION_OF.get(look_at(path).kind or "", extension)}'


def described(paths: Collection[str | os.PathLike[str]]) -> str:
    """Names of files that are no photographs, by what they are: ``2 video (a.mp4, b.mov), 1 other (notes.txt)``."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        kinds[look_at(path).other or 'other'].append(os.path.basename(os.fspath(path)))
    return ', '.join(f'{len(names)} {kind} ({first_of(names)})' for kind, names in kinds.items())


def first_of(names: Collection[str | os.PathLike[str]]) -> str:
    """The first few of many names."""
    more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return f'{", ".join(map(shown, itertools.islice(names, _SHOWN)))}{more}'


class FolderContent(NamedTuple):
    """Sorted names in a folder."""

    images: list[str]  #: files that are images of the formats read here, or called so
    unread: list[str]  #: other photographs: those of formats that are not read here
    others: list[str]  #: other files
    folders: list[str]

    def describe_unread(self) -> str:
        """How many photographs of which kinds cannot be read: ``2 .heic, 1 .dng``."""
        counts = Counter(os.path.splitext(name)[1].lower() or 'without an extension' for name in self.unread)
        return ', '.join(f'{n} {kind}' for kind, n in counts.most_common())


def folder_content(folder: str | os.PathLike[str]) -> FolderContent:
    """What a folder holds, without names that begin with a dot, some of which macOS adds to archives.

    Files that are not called as images are looked into.

    Raises:
        DataError: it cannot be read.
    """
    found = FolderContent([], [], [], [])
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith('.'):
                    continue
                names = found.folders if _is_folder(entry) else _place(found, entry)
                names.append(entry.name)
    except OSError as error:
        what = f'the folder cannot be read ({error.strerror})'
        raise DataError(what, where=shown(folder), way_out='Correct its permissions.') from None
    for names in found:
        names.sort()
    return found


def _place(found: FolderContent, entry: os.DirEntry[str]) -> list[str]:
    if is_image_name(entry.name):
        return found.images
    look = look_at(entry.path)
    if look.is_photograph:
        return found.images if look.kind in FORMATS and not is_camera_raw_name(entry.name) else found.unread
    return found.others


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: opening it will say so
        return False
