"""Where images come from: a folder, a list of names (meta-info file), or an LMDB.

All of them are plain objects that can be pickled and forked: nothing stays open between two reads.
"""

import contextlib
import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from os import path as osp
from typing import Any

import lmdb
import numpy as np

from pdd_arch.data.meta_info import listed_lines, parse_meta_info, require_images
from pdd_arch.errors import DataError, MissingFileError, OptionError
from pdd_arch.images import decoding
from pdd_arch.images.names import IMAGE_EXTENSIONS, FolderContent, folder_content, is_image_name, without_extension
from pdd_arch.utils.wording import did_you_mean, one_of, shown

_IO_BACKENDS = ('disk', 'lmdb')
# enough to recognise a mistake by; listing all of a large folder would take minutes
_MANY = 10_000


class ImageSource(ABC):
    """A fixed list of images below a data folder, or keys of an LMDB.

    `key` is the option that named it, for errors: ``datasets.train.dataroot_gt``.
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
    """Image files on disk.

    Attributes:
        unread: other photographs of the folder that was listed, by name: those in formats that are not read.
    """

    def __init__(self, root: str, names: list[str], key: str, unread: Sequence[str] = ()) -> None:
        super().__init__(root, names, key)
        self.unread = unread

    def read_raw(self, index: int) -> np.ndarray:
        return decoding.read_raw(self.path(index))

    def check(self, index: int) -> tuple[int, int]:
        return decoding.image_size(self.path(index))


class LmdbSource(ImageSource):
    """Images in an LMDB made by BasicSR (``meta_info.txt`` inside, names without extension as keys).

    The database is opened for each read, which takes 40 microseconds against milliseconds of decoding. LMDB
    refuses a second handle in one process and cannot carry one through a fork, and a GT and an LQ source may
    share a database.

    `names`: use these keys (from a meta-info file) instead of all.

    Raises:
        MissingFileError, DataError: the folder is no such LMDB, is empty, or lacks one of `names`.
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
                    f'{len(missing)} of the images listed for {shown(root)} are not in it, the first is {missing[0]!r}',
                    where=key,
                    way_out=f'{hint} Correct the list.'.strip(),
                )

    @contextlib.contextmanager
    def _value(self, name: str) -> Iterator[memoryview]:
        """The encoded image, in the map of the database: valid within the block only."""

        def error(what: str, way_out: str = 'Make it anew.') -> DataError:
            return DataError(what, where=shown(osp.join(self.root, name)), way_out=way_out)

        try:
            with (
                lmdb.open(self.root, readonly=True, lock=False, readahead=False) as env,
                env.begin(buffers=True) as transaction,
            ):
                # pages beyond the end of a truncated file would kill the process
                needed = (env.info()['last_pgno'] + 1) * env.stat()['psize']
                found = osp.getsize(osp.join(self.root, 'data.mdb'))
                if found < needed:
                    what = f'the LMDB is truncated (data.mdb has {found} of {needed} bytes)'
                    raise error(what, 'Copy or make it anew.')
                value = transaction.get(name.encode('utf-8', 'surrogateescape')) if name else None
                if value is None:
                    raise error(f'meta_info.txt lists this image but the LMDB has no key {name!r}')
                yield value
        except (lmdb.Error, OSError) as e:
            what = f'the LMDB cannot be read ({" ".join(str(e).split())})'
            raise error(what, 'Make it anew, or close what holds it.') from None

    def read_encoded(self, name: str) -> bytes:
        """The file of an image as it was put in. Raises DataError where there is none."""
        with self._value(name) as value:
            return bytes(value)

    def read_raw(self, index: int) -> np.ndarray:
        return decoding.decode_raw(self.read_encoded(self.names[index]), self.path(index))

    def check(self, index: int) -> tuple[int, int]:
        with self._value(self.names[index]) as value:
            return decoding.content_size(value, self.path(index))


def open_source(opt: Mapping[str, Any], side: str, section: str = 'datasets.train') -> ImageSource:
    """Opens one side, ``gt`` or ``lq``, of a dataset.

    ``dataroot_<side>`` names a folder of images (sub-folders are not searched, as in BasicSR) or an LMDB,
    told by its ending ``.lmdb``. ``meta_info_file_<side>`` names a text file that picks images below it, one
    a line: ``name``, ``name (h,w,c)``, or ``gt, lq`` of which the first is used. ``meta_info_file`` is
    another name for ``meta_info_file_gt``.

    Raises:
        OptionError: the key is absent, or the backend is unknown or does not fit the path.
        MissingFileError: the folder or the meta-info file does not exist.
        DataError: there is no image in it, or a listed one lies outside.
    """
    root, key, _ = data_root(opt, side, section)
    root = osp.expanduser(root)
    names = (f'meta_info_file_{side}', *(['meta_info_file'] if side == 'gt' else []))
    given = [name for name in names if opt.get(name)]
    if len({opt[name] for name in given}) > 1:
        raise OptionError(f'differs from {given[0]}', where=f'{section}.{given[1]}', way_out='Remove one of the two.')
    meta = next(iter(given), None)
    meta_key = f'{section}.{meta}'
    if _is_lmdb(root):
        return LmdbSource(root, key, [name for name, _ in parse_meta_info(opt[meta], meta_key)] if meta else None)
    require_folder(root, key)
    if meta:
        lines = listed_lines(opt[meta], root, meta_key)
        require_images(root, lines, opt[meta], meta_key)
        return FileSource(root, [name for name, _ in lines], meta_key)
    return open_folder(root, key)


def open_folder(folder: str, key: str) -> FileSource:
    """All images of a folder, as :func:`list_images` lists them."""
    content = _content_with_images(folder, key)
    return FileSource(folder, content.images, key, content.unread)


def data_root(opt: Mapping[str, Any], side: str, section: str) -> tuple[str, str, str]:
    """``dataroot_<side>`` as it stands, its option key, and the type of the ``io_backend`` (default disk), checked."""
    root, key, io_backend = opt.get(f'dataroot_{side}'), f'{section}.dataroot_{side}', opt.get('io_backend')
    if not root:
        raise OptionError('missing', where=key, expected='a folder of images or an LMDB')
    if io_backend is None:
        return str(root), key, 'disk'
    backend, where = None, f'{section}.io_backend.type'
    if isinstance(io_backend, Mapping):
        backend = io_backend.get('type', 'disk')
    if backend not in _IO_BACKENDS:
        found, way_out = repr(io_backend if backend is None else backend), did_you_mean(backend, _IO_BACKENDS)
        raise OptionError(where=where, expected=one_of(_IO_BACKENDS), found=found, way_out=way_out)
    if backend == 'lmdb' and not _is_lmdb(str(root)):
        what = f"is 'lmdb', but {key} is {root}, which does not end in .lmdb"
        raise OptionError(what, where=where, way_out="Name an LMDB, or use type 'disk'.")
    return str(root), key, backend


def _is_lmdb(root: str) -> bool:
    return root.rstrip('/\\').endswith('.lmdb')


def require_folder(folder: str, key: str) -> None:
    """Raises MissingFileError, which names the option key, where there is no such folder."""
    if osp.isdir(folder):
        return
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
    """Sorted names of the image files in a folder, by their content where they are not called so.

    Hidden files, sub-folders and photographs of formats that are not read are passed over.

    Raises:
        DataError: there is none (says what is there instead), with `only_images` any other file, or the folder cannot
            be read.
    """
    return _content_with_images(folder, key, only_images).images


def _content_with_images(folder: str, key: str, only_images: bool = False) -> FolderContent:
    try:
        content = folder_content(folder)
    except DataError as error:
        raise error.within(key, ': ') from None
    images, others, subfolders = content.images, [*content.unread, *content.others], content.folders
    if only_images:  # BasicSR passes over links to nothing
        images = [name for name in images if osp.isfile(osp.join(folder, name))]
    if images and others and only_images:
        raise DataError(
            f'{shown(osp.join(folder, others[0]))} is not an image, and BasicSR reads every file of the folder as one',
            where=key,
            way_out='Remove it or move it elsewhere.',
        )
    if images:
        return content._replace(images=images)
    with_images = [name for name in subfolders if _holds_images(osp.join(folder, name))]
    found = [f'{_counted(others, "other file")} ({_few(others)})'] if others else []
    way_out = f'Put images there ({", ".join(IMAGE_EXTENSIONS[:3])}, ...), or correct the path.'
    if content.unread:
        way_out = f'The format of {_few(content.unread)} is not read. {decoding.CONVERT}'
    if with_images:
        found.append(f'{_counted(with_images, "sub-folder")} with images ({_few(with_images)})')
        way_out = 'Sub-folders are not searched: name one of them, or list the images in a meta-info file.'
    elif subfolders:
        found.append(f'{_counted(subfolders, "sub-folder")} without images')
    what = f'no image in {shown(folder)}: found {" and ".join(found) or "nothing"}'
    raise DataError(what, where=key, way_out=way_out)


def _counted(names: list[str], noun: str) -> str:
    return f'{len(names)} {noun}{"s" * (len(names) > 1)}'


def _holds_images(folder: str) -> bool:
    walked = itertools.islice(os.walk(folder), _MANY)
    return any(is_image_name(name) for _, _, names in walked for name in names)


def _few(names: list[str]) -> str:
    return ', '.join(map(shown, names[:3])) + (', ...' if len(names) > 3 else '')
