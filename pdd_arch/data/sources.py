"""Where images come from: a folder, a list of names (meta-info file), or an LMDB.

All of them are plain objects that can be pickled and forked: nothing stays open between two reads.
"""

import contextlib
import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from os import path as osp

import numpy as np

from pdd_arch.data.meta_info import names_below, parse_meta_info
from pdd_arch.errors import DataError, MissingFileError, OptionError, PDDError
from pdd_arch.images import decoding
from pdd_arch.images.names import IMAGE_EXTENSIONS, is_image_name
from pdd_arch.utils.wording import did_you_mean, one_of, shown

__all__ = [
    'FileSource',
    'ImageSource',
    'LmdbSource',
    'check_io_backend',
    'list_images',
    'open_source',
    'require_folder',
]

IO_BACKENDS = ('disk', 'lmdb')
# enough to recognise a mistake by; looking at all of a large folder would take minutes
_MANY = 10_000


class ImageSource(ABC):
    """A fixed list of images.

    Attributes:
        key: the option that named it, e.g. ``datasets.train.dataroot_gt``.
        names: of the images, relative to the data folder, or LMDB keys.
    """

    key: str
    names: list[str]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def path(self, index: int) -> str:
        """Name of an image in logs and errors: its path, or LMDB folder and key."""

    @abstractmethod
    def read_raw(self, index: int) -> np.ndarray:
        """(H, W, 3) BGR uint8 or uint16, upright. Raises DataError or MissingFileError, naming the image."""

    @abstractmethod
    def check(self, index: int) -> tuple[int, int]:
        """(height, width) without decoding. Raises where the image is visibly broken, naming it."""

    def read(self, index: int) -> np.ndarray:
        """(H, W, 3) BGR float32 in [0, 1]. Raises as :meth:`read_raw`."""
        return decoding.to_float32(self.read_raw(index))


class FileSource(ImageSource):
    """Image files on disk.

    Args:
        root: data folder.
        names: of the files, relative to it.
        key: option that named them.
    """

    def __init__(self, root: str, names: list[str], key: str) -> None:
        self.root = root
        self.names = names
        self.key = key

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> str:
        return osp.join(self.root, self.names[index])

    def read_raw(self, index: int) -> np.ndarray:
        return decoding.read_raw(self.path(index))

    def check(self, index: int) -> tuple[int, int]:
        return decoding.check_image_file(self.path(index))


class LmdbSource(ImageSource):
    """Images in an LMDB made by BasicSR (``meta_info.txt`` inside, names without extension as keys).

    The database is opened for each read, which takes 40 microseconds against milliseconds of decoding. LMDB
    refuses a second handle in one process and cannot carry one through a fork, and a GT and an LQ source may
    share a database.

    Args:
        root: folder that ends in ``.lmdb``.
        key: option that named it.
        names: use these keys (from a meta-info file) instead of all.

    Raises:
        MissingFileError: the folder or its ``meta_info.txt`` does not exist.
        DataError: ``meta_info.txt`` lists no image.
    """

    def __init__(self, root: str, key: str, names: list[str] | None = None) -> None:
        self.root = require_folder(root, key)
        self.key = key
        meta, data = osp.join(root, 'meta_info.txt'), osp.join(root, 'data.mdb')
        if not osp.isfile(meta) or not osp.isfile(data):
            raise MissingFileError(
                f'`{key}`: {shown(root)} is not an LMDB made by BasicSR: it should hold data.mdb and meta_info.txt. '
                "Make it with BasicSR's scripts/data_preparation/create_lmdb.py, or name a folder of images."
            )
        entries = [(_lmdb_key(name), size) for name, size in parse_meta_info(meta, key)]
        if names is not None:
            known = dict(entries)
            wanted = [_lmdb_key(name) for name in names]
            missing = [name for name in wanted if name not in known]
            if missing:
                raise DataError(
                    f'`{key}`: {len(missing)} of the images listed for {shown(root)} are not in it, the first is '
                    f'{missing[0]!r}.{did_you_mean(missing[0], list(known)[:_MANY])} Correct the list.'
                )
            entries = [(name, known[name]) for name in wanted]
        self.names = [name for name, _ in entries]
        self._sizes = [size for _, size in entries]

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> str:
        return osp.join(self.root, self.names[index])

    @contextlib.contextmanager
    def _value(self, index: int) -> Iterator[memoryview]:
        """The encoded image, in the map of the database: valid within the block only.

        Raises:
            DataError: the database cannot be read, or lacks the key.
        """
        import lmdb

        name = self.names[index]
        try:
            with (
                lmdb.open(self.root, readonly=True, lock=False, readahead=False) as env,
                env.begin(buffers=True) as transaction,
            ):
                # pages beyond the end of a truncated file would kill the process
                needed = (env.info()['last_pgno'] + 1) * env.stat()['psize']
                found = osp.getsize(osp.join(self.root, 'data.mdb'))
                if found < needed:
                    raise DataError(
                        f'{shown(self.path(index))}: the LMDB is truncated (data.mdb has {found} of {needed} bytes). '
                        'Copy or make it anew.'
                    )
                value = transaction.get(name.encode('utf-8', 'surrogateescape')) if name else None
                if value is None:
                    raise DataError(
                        f'{shown(self.path(index))}: meta_info.txt lists this image but the LMDB has no key {name!r}. '
                        'Make it anew.'
                    )
                yield value
        except (lmdb.Error, OSError) as error:
            if isinstance(error, PDDError):
                raise
            raise DataError(
                f'{shown(self.path(index))}: the LMDB cannot be read ({_reason(error, self.root)}). '
                'Make it anew, or close what holds it.'
            ) from None

    def read_raw(self, index: int) -> np.ndarray:
        with self._value(index) as value:
            content = bytes(value)
        return decoding.decode_raw(content, self.path(index))

    def check(self, index: int) -> tuple[int, int]:
        with self._value(index) as value:
            return decoding.check_content(value, self.path(index))


def open_source(opt: Mapping, side: str, section: str = 'datasets.train') -> ImageSource:
    """Opens one side of a dataset.

    ``dataroot_<side>`` names a folder of images (sub-folders are not searched, as in BasicSR) or an LMDB,
    told by its ending ``.lmdb``. ``meta_info_file_<side>`` names a text file that picks images below it, one
    a line: ``name``, ``name (h,w,c)``, or ``gt, lq`` of which the first is used. ``meta_info_file`` is
    another name for ``meta_info_file_gt``.

    Args:
        opt: options of the dataset; not changed.
        side: ``gt`` or ``lq``.
        section: the dataset's place in the option file, for errors.

    Raises:
        OptionError: the key is absent, or the backend is unknown or does not fit the path.
        MissingFileError: the folder or the meta-info file does not exist.
        DataError: there is no image in it, or a listed one lies outside.
    """
    key = f'{section}.dataroot_{side}'
    root = opt.get(f'dataroot_{side}')
    if not root:
        raise OptionError(f'`{key}` is missing; expected a folder of images or an LMDB.')
    root = osp.expanduser(str(root))
    backend = check_io_backend(opt.get('io_backend'), f'{section}.io_backend')
    is_lmdb = root.rstrip('/\\').endswith('.lmdb')
    if backend == 'lmdb' and not is_lmdb:
        raise OptionError(
            f"`{section}.io_backend.type` is 'lmdb' but `{key}` is {root}, which does not end in .lmdb. "
            "Name an LMDB, or use type 'disk' (under which a path that ends in .lmdb is still read as LMDB)."
        )
    meta_key, meta = f'{section}.meta_info_file_{side}', opt.get(f'meta_info_file_{side}')
    if side == 'gt' and not meta:
        meta_key, meta = f'{section}.meta_info_file', opt.get('meta_info_file')
    names = [name for name, _ in parse_meta_info(meta, meta_key)] if meta else None
    if is_lmdb:
        return LmdbSource(root, key, names)
    require_folder(root, key)
    if names is not None:
        return FileSource(root, names_below(names, root, meta, meta_key), meta_key)
    return FileSource(root, list_images(root, key), key)


def check_io_backend(io_backend: object, key: str) -> str:
    """Type of BasicSR's ``io_backend`` block (default disk). Raises OptionError when unknown."""
    if io_backend is None:
        return 'disk'
    kind = io_backend.get('type', 'disk') if isinstance(io_backend, Mapping) else None
    if kind not in IO_BACKENDS:
        shown = io_backend if kind is None else kind
        raise OptionError(
            f'`{key}.type` is {shown!r}; expected {one_of(IO_BACKENDS)}.{did_you_mean(kind, IO_BACKENDS)}'
        )
    return kind


def require_folder(folder: str, key: str) -> str:
    """Returns `folder`, or raises MissingFileError that names it and its option key."""
    if osp.isdir(folder):
        return folder
    if osp.exists(folder):
        raise MissingFileError(
            f'`{key}`: {shown(folder)} is a file; a folder is expected. Name the folder that holds it.'
        )
    parent, name = osp.split(osp.abspath(folder))
    try:
        with os.scandir(parent) as entries:
            hint = did_you_mean(name, [entry.name for entry in itertools.islice(entries, _MANY)])
    except (OSError, ValueError):
        hint = ''
    where = '' if osp.isabs(folder) else f' (looked for in {os.getcwd()})'
    raise MissingFileError(f'`{key}`: the folder {shown(folder)} does not exist{where}.{hint} Correct the path.')


def list_images(folder: str, key: str) -> list[str]:
    """Sorted names of the image files in a folder; hidden files and sub-folders are passed over.

    Raises:
        DataError: there are none; says what is there instead. Or the folder cannot be read.
    """
    others, subfolders, images = [], [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith('.'):
                    continue
                if _is_folder(entry):
                    subfolders.append(entry.name)
                elif is_image_name(entry.name):
                    images.append(entry.name)
                else:
                    others.append(entry.name)
    except OSError as error:
        raise DataError(
            f'`{key}`: the folder {shown(folder)} cannot be read ({error.strerror}). Correct its permissions.'
        ) from None
    if images:
        return sorted(images)
    others.sort()
    with_images = [name for name in sorted(subfolders) if _holds_images(osp.join(folder, name))]
    found = []
    if others:
        found.append(f'{len(others)} other file{"s" * (len(others) > 1)} ({_few(others)})')
    if with_images:
        found.append(f'{len(with_images)} sub-folder{"s" * (len(with_images) > 1)} with images ({_few(with_images)})')
    elif subfolders:
        found.append(f'{len(subfolders)} sub-folder{"s" * (len(subfolders) > 1)} without images')
    if with_images:
        way_out = 'Sub-folders are not searched: name one of them, or list the images in a meta-info file.'
    else:
        way_out = f'Put images there ({", ".join(IMAGE_EXTENSIONS[:3])}, ...), or correct the path.'
    raise DataError(f'`{key}`: no image in {shown(folder)}: found {" and ".join(found) or "nothing"}. {way_out}')


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: opening it will say so
        return False


def _holds_images(folder: str) -> bool:
    walked = itertools.islice(os.walk(folder), _MANY)
    return any(is_image_name(name) for _, _, names in walked for name in names)


def _lmdb_key(name: str) -> str:
    return osp.splitext(name)[0] if is_image_name(name) else name


def _reason(error: Exception, root: str) -> str:
    """LMDB begins its messages with the path, which the error names already."""
    return ' '.join(str(error).removeprefix(f'{root}: ').split())


def _few(names: list[str]) -> str:
    return ', '.join(map(shown, names[:3])) + (', ...' if len(names) > 3 else '')
