"""Where images come from: a folder, a list of names (meta-info file), or an LMDB.

All of them are plain objects that can be pickled and forked: nothing stays open between two reads.
"""

import contextlib
import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from os import path as osp
from typing import Any

import lmdb
import numpy as np

from pdd_arch.data.meta_info import listed_names, parse_meta_info
from pdd_arch.errors import DataError, MissingFileError, OptionError
from pdd_arch.images import decoding
from pdd_arch.images.names import IMAGE_EXTENSIONS, folder_content, is_image_name, without_extension
from pdd_arch.utils.wording import did_you_mean, one_of, shown

IO_BACKENDS = ('disk', 'lmdb')
# enough to recognise a mistake by; looking at all of a large folder would take minutes
_MANY = 10_000


class ImageSource(ABC):
    """A fixed list of images.

    Args:
        root: data folder, or that of the LMDB.
        names: of the images, relative to the data folder, or LMDB keys.
        key: the option that named it, e.g. ``datasets.train.dataroot_gt``.
    """

    def __init__(self, root: str, names: list[str], key: str) -> None:
        self.root, self.names, self.key = root, names, key

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> str:
        """Name of an image in logs and errors: its path, or LMDB folder and key."""
        return osp.join(self.root, self.names[index])

    @abstractmethod
    def read_raw(self, index: int) -> np.ndarray:
        """(H, W, 3) BGR uint8 or uint16, upright. Raises DataError or MissingFileError, naming the image."""

    @abstractmethod
    def check(self, index: int) -> tuple[int, int]:
        """(height, width) without decoding. Raises where the image is visibly broken, naming it."""


class FileSource(ImageSource):
    """Image files on disk."""

    def read_raw(self, index: int) -> np.ndarray:
        return decoding.read_raw(self.path(index))

    def check(self, index: int) -> tuple[int, int]:
        return decoding.image_size(self.path(index))


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
        require_folder(root, key)
        meta, data = osp.join(root, 'meta_info.txt'), osp.join(root, 'data.mdb')
        if not osp.isfile(meta) or not osp.isfile(data):
            raise MissingFileError(
                f'{shown(root)} is not an LMDB made by BasicSR: it should hold data.mdb and meta_info.txt',
                where=key,
                way_out="Make it with BasicSR's scripts/data_preparation/create_lmdb.py, or name a folder of images.",
            )
        super().__init__(root, [without_extension(name) for name, _ in parse_meta_info(meta, key)], key)
        if names is not None:
            known = dict.fromkeys(self.names)
            self.names = [without_extension(name) for name in names]
            missing = [name for name in self.names if name not in known]
            if missing:
                hint = did_you_mean(missing[0], list(known)[:_MANY])
                raise DataError(
                    f'{len(missing)} of the images listed for {shown(root)} are not in it, the first is '
                    f'{missing[0]!r}.{hint}',
                    where=key,
                    way_out='Correct the list.',
                )

    @contextlib.contextmanager
    def _value(self, index: int) -> Iterator[memoryview]:
        """The encoded image, in the map of the database: valid within the block only.

        Raises:
            DataError: the database cannot be read, or lacks the key.
        """
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
                        f'the LMDB is truncated (data.mdb has {found} of {needed} bytes)',
                        where=shown(self.path(index)),
                        way_out='Copy or make it anew.',
                    )
                value = transaction.get(name.encode('utf-8', 'surrogateescape')) if name else None
                if value is None:
                    raise DataError(
                        f'meta_info.txt lists this image but the LMDB has no key {name!r}',
                        where=shown(self.path(index)),
                        way_out='Make it anew.',
                    )
                yield value
        except (lmdb.Error, OSError) as error:
            raise DataError(
                f'the LMDB cannot be read ({" ".join(str(error).split())})',
                where=shown(self.path(index)),
                way_out='Make it anew, or close what holds it.',
            ) from None

    def read_raw(self, index: int) -> np.ndarray:
        with self._value(index) as value:
            content = bytes(value)
        return decoding.decode_raw(content, self.path(index))

    def check(self, index: int) -> tuple[int, int]:
        with self._value(index) as value:
            return decoding.content_size(value, self.path(index))


def open_source(opt: Mapping[str, Any], side: str, section: str = 'datasets.train') -> ImageSource:
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
    names = (f'meta_info_file_{side}', *(['meta_info_file'] if side == 'gt' else []))
    return _open(opt, side, section, next((name for name in names if opt.get(name)), None))


def open_for_basicsr(opt: Mapping[str, Any], side: str, section: str, meta: str | None = None) -> ImageSource:
    """Opens one side of a dataset as BasicSR's own datasets read it.

    These leave ``~`` in a path alone, read an LMDB only where ``io_backend`` says so and then know no list, and take
    every file of a folder for an image.

    Args:
        opt, side, section: as for :func:`open_source`.
        meta: name of the option that names a list of images, or None.

    Raises:
        OptionError, MissingFileError, DataError: as :func:`open_source`; or a listed image does not exist, or a file of
            the folder is no image.
    """
    return _open(opt, side, section, meta, for_basicsr=True)


def _open(opt: Mapping[str, Any], side: str, section: str, meta: str | None, for_basicsr: bool = False) -> ImageSource:
    key = f'{section}.dataroot_{side}'
    root = data_root(opt, side, section)
    if not for_basicsr:
        root = osp.expanduser(root)
    backend = check_io_backend(opt.get('io_backend'), f'{section}.io_backend')
    is_lmdb = root.rstrip('/\\').endswith('.lmdb')
    if backend == 'lmdb' and not is_lmdb:
        raise OptionError(
            f"is 'lmdb', but {key} is {root}, which does not end in .lmdb",
            where=f'{section}.io_backend.type',
            way_out="Name an LMDB, or use type 'disk'.",
        )
    if for_basicsr:
        is_lmdb = backend == 'lmdb'
    if is_lmdb:
        if not meta or for_basicsr:
            return LmdbSource(root, key)
        return LmdbSource(root, key, [name for name, _ in parse_meta_info(opt[meta], f'{section}.{meta}')])
    require_folder(root, key)
    if not meta:
        return FileSource(root, list_images(root, key, only_images=for_basicsr), key)
    source = FileSource(root, listed_names(opt[meta], root, f'{section}.{meta}'), f'{section}.{meta}')
    for path in map(source.path, range(len(source)) if for_basicsr else ()):
        if not osp.isfile(path):
            raise MissingFileError(
                f'{shown(opt[meta])} lists {shown(path)}, which does not exist',
                where=source.key,
                way_out='Correct the list or the path.',
            )
    return source


def data_root(opt: Mapping[str, Any], side: str, section: str) -> str:
    """``dataroot_<side>`` as it stands. Raises OptionError where it is missing."""
    root = opt.get(f'dataroot_{side}')
    if not root:
        raise OptionError('missing', where=f'{section}.dataroot_{side}', expected='a folder of images or an LMDB')
    return str(root)


def check_io_backend(io_backend: object, key: str) -> str:
    """Type of BasicSR's ``io_backend`` block (default disk). Raises OptionError when unknown."""
    if io_backend is None:
        return 'disk'
    kind = io_backend.get('type', 'disk') if isinstance(io_backend, Mapping) else None
    if kind not in IO_BACKENDS:
        raise OptionError(
            where=f'{key}.type',
            expected=one_of(IO_BACKENDS),
            found=repr(io_backend if kind is None else kind),
            way_out=did_you_mean(kind, IO_BACKENDS).strip(),
        )
    return kind


def require_folder(folder: str, key: str) -> str:
    """Returns `folder`, or raises MissingFileError that names it and its option key."""
    if osp.isdir(folder):
        return folder
    if osp.exists(folder):
        raise MissingFileError(
            f'{shown(folder)} is a file; a folder is expected', where=key, way_out='Name the folder that holds it.'
        )
    parent, name = osp.split(osp.abspath(folder))
    try:
        with os.scandir(parent) as entries:
            hint = did_you_mean(name, [entry.name for entry in itertools.islice(entries, _MANY)])
    except (OSError, ValueError):
        hint = ''
    looked = '' if osp.isabs(folder) else f' (looked for in {os.getcwd()})'
    raise MissingFileError(
        f'the folder {shown(folder)} does not exist{looked}', where=key, way_out=f'{hint} Correct the path.'.strip()
    )


def list_images(folder: str, key: str, only_images: bool = False) -> list[str]:
    """Sorted names of the image files in a folder; hidden files and sub-folders are passed over.

    Args:
        folder: to look in.
        key: option or argument that named it, for errors.
        only_images: any other file is an error.

    Raises:
        DataError: there are none; says what is there instead. Or the folder cannot be read.
    """
    try:
        images, others, subfolders = folder_content(folder)
    except DataError as error:
        raise error.within(key, ': ') from None
    if only_images:  # BasicSR passes over links to nothing
        images = [name for name in images if osp.isfile(osp.join(folder, name))]
    if images and others and only_images:
        raise DataError(
            f'{shown(osp.join(folder, others[0]))} is not an image, and BasicSR reads every file of the folder as one',
            where=key,
            way_out='Remove it or move it elsewhere.',
        )
    if images:
        return images
    with_images = [name for name in subfolders if _holds_images(osp.join(folder, name))]
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
    what = f'no image in {shown(folder)}: found {" and ".join(found) or "nothing"}'
    raise DataError(what, where=key, way_out=way_out)


def _holds_images(folder: str) -> bool:
    walked = itertools.islice(os.walk(folder), _MANY)
    return any(is_image_name(name) for _, _, names in walked for name in names)


def _few(names: list[str]) -> str:
    return ', '.join(map(shown, names[:3])) + (', ...' if len(names) > 3 else '')
