"""Where images come from: a folder, a list of names (meta-info file), an LMDB, or memory.

All of them are plain objects that can be pickled and forked: nothing stays open between two reads.
"""

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from os import path as osp

import numpy as np
import torch

from pdd_arch.data import image_io
from pdd_arch.errors import DataError, MissingFileError, OptionError
from pdd_arch.utils.suggest import did_you_mean, one_of

__all__ = [
    'IMAGE_EXTENSIONS',
    'CachedSource',
    'FileSource',
    'ImageSource',
    'LmdbSource',
    'check_io_backend',
    'is_image_name',
    'list_images',
    'open_source',
    'parse_meta_info',
    'require_folder',
]

IMAGE_EXTENSIONS = (
    *('.png', '.jpg', '.jpeg', '.jpe', '.bmp', '.dib', '.tif', '.tiff', '.webp'),
    *('.jp2', '.ppm', '.pgm', '.pbm', '.pnm'),
)
IO_BACKENDS = ('disk', 'lmdb')

# 'name', 'name (h,w)', 'name (h,w,c)', 'name (h,w,c) 1': BasicSR's line, the last number a PNG compression
# level
_META_LINE = re.compile(r'^(?P<name>.+?)(?:\s+\((?P<h>\d+),\s*(?P<w>\d+)(?:,\s*\d+)?\)(?:\s+\S+)?)?$')


class ImageSource(ABC):
    """A fixed list of images.

    Attributes:
        key: the option that named it, e.g. ``datasets.train.dataroot_gt``.
    """

    key: str

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
        return image_io.to_float32(self.read_raw(index))


class FileSource(ImageSource):
    """Image files on disk."""

    def __init__(self, paths: list[str], key: str) -> None:
        self.paths = paths
        self.key = key

    def __len__(self) -> int:
        return len(self.paths)

    def path(self, index: int) -> str:
        return self.paths[index]

    def read_raw(self, index: int) -> np.ndarray:
        return image_io.read_raw(self.paths[index])

    def check(self, index: int) -> tuple[int, int]:
        return image_io.check_image_file(self.paths[index])


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
        meta = osp.join(root, 'meta_info.txt')
        if not osp.isfile(meta) or not osp.isfile(osp.join(root, 'data.mdb')):
            raise MissingFileError(
                f'`{key}`: {root} is not an LMDB made by BasicSR: it should hold data.mdb and meta_info.txt. '
                "Make it with BasicSR's scripts/data_preparation/create_lmdb.py, or name a folder of images."
            )
        entries = [(_lmdb_key(name), size) for name, size in parse_meta_info(meta, key)]
        if names is not None:
            known = dict(entries)
            wanted = [_lmdb_key(name) for name in names]
            missing = [name for name in wanted if name not in known]
            if missing:
                raise DataError(
                    f'`{key}`: {len(missing)} of the images listed for {root} are not in it, the first is '
                    f'{missing[0]!r}.{did_you_mean(missing[0], known)} Correct the list.'
                )
            entries = [(name, known[name]) for name in wanted]
        self.names = [name for name, _ in entries]
        self._sizes = [size for _, size in entries]

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> str:
        return osp.join(self.root, self.names[index])

    def content(self, index: int) -> bytes:
        """The encoded image. Raises DataError when the database cannot be read or lacks the key."""
        import lmdb

        name = self.names[index]
        try:
            with (
                lmdb.open(self.root, readonly=True, lock=False, readahead=False) as env,
                env.begin(buffers=False) as transaction,
            ):
                content = transaction.get(name.encode())
        except lmdb.Error as error:
            raise DataError(
                f'{self.path(index)}: the LMDB cannot be read ({error}). Make it anew, or close what holds it.'
            ) from error
        if content is None:
            raise DataError(
                f'{self.path(index)}: meta_info.txt lists this image but the LMDB has no key {name!r}. Make it anew.'
            )
        return content

    def read_raw(self, index: int) -> np.ndarray:
        return image_io.decode_raw(self.content(index), self.path(index))

    def check(self, index: int) -> tuple[int, int]:
        size = self._sizes[index]
        return size if size else image_io.image_size(self.content(index), self.path(index))


class CachedSource(ImageSource):
    """All images of another source, decoded once, in memory that forked and spawned workers share.

    A broken image is found here, before training starts. Under torchrun each process holds a cache of its
    own.

    Args:
        source: what to read.
        chunk_bytes: images are gathered into shared tensors of about this size: one each would run into the
            limit on open files, one for all would need twice the memory while it is filled.

    Raises:
        DataError: an image cannot be read, or all together are larger than the memory that is free.
    """

    def __init__(self, source: ImageSource, chunk_bytes: int = 512 * 2**20) -> None:
        from basicsr.utils import get_root_logger

        logger = get_root_logger()
        self.key = source.key
        self._paths = [source.path(i) for i in range(len(source))]
        self._chunks: list[torch.Tensor] = []
        self._entries: list[tuple[int, int, tuple[int, ...], str]] = []
        least = sum(3 * h * w for h, w in map(source.check, range(len(source))))
        free = _available_memory()
        if free is not None and least > free:
            raise DataError(
                f'`{self.key}`: {len(source)} images take {_gib(least)} decoded but only {_gib(free)} of '
                'memory are free. Set `cache: none` (an LMDB is the next fastest), or cut the images into '
                'smaller sets.'
            )
        sharing = least <= _available_shared_memory()
        if not sharing:
            logger.warning(
                f'{self.key}: shared memory (/dev/shm) has no room for {_gib(least)}; the RAM cache uses '
                'ordinary memory, which forked workers share too (in Docker: --shm-size).'
            )
        started = reported = time.monotonic()
        pending: list[np.ndarray] = []
        pending_bytes = total_bytes = 0
        for i in range(len(source)):
            image = source.read_raw(i)
            self._entries.append((len(self._chunks), pending_bytes, image.shape, image.dtype.str))
            # 16-bit images are viewed in place, so every image begins at an even byte
            flat = np.ascontiguousarray(image).reshape(-1).view(np.uint8)
            pending.append(np.pad(flat, (0, 1)) if flat.size % 2 else flat)
            pending_bytes += pending[-1].size
            total_bytes += flat.size
            if pending_bytes >= chunk_bytes or i + 1 == len(source):
                chunk = torch.from_numpy(np.concatenate(pending))
                self._chunks.append(chunk.share_memory_() if sharing else chunk)
                pending, pending_bytes = [], 0
            if time.monotonic() - reported > 10:
                reported = time.monotonic()
                logger.info(f'{self.key}: {i + 1} of {len(source)} images in memory, {_gib(total_bytes)}')
        logger.info(
            f'{self.key}: {len(source)} images in memory, {_gib(total_bytes)}, '
            f'decoded in {time.monotonic() - started:.1f} s'
        )

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """The uint8 tensors that hold the pixels."""
        return tuple(self._chunks)

    def __len__(self) -> int:
        return len(self._entries)

    def path(self, index: int) -> str:
        return self._paths[index]

    def read_raw(self, index: int) -> np.ndarray:
        """As the source's own, without a copy: never write to what this returns."""
        chunk, start, shape, dtype = self._entries[index]
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self._chunks[chunk].numpy()[start : start + count].view(dtype).reshape(shape)

    def check(self, index: int) -> tuple[int, int]:
        height, width, _ = self._entries[index][2]
        return height, width


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
        DataError: there is no image in it.
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
        return FileSource([osp.join(root, name) for name in names], meta_key)
    return FileSource(list_images(root, key), key)


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


def is_image_name(name: str) -> bool:
    """Whether a file name has the extension of an image."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


def require_folder(folder: str, key: str) -> str:
    """Returns `folder`, or raises MissingFileError that names it and its option key."""
    if osp.isdir(folder):
        return folder
    if osp.exists(folder):
        raise MissingFileError(f'`{key}`: {folder} is a file; a folder is expected. Name the folder that holds it.')
    parent = osp.dirname(osp.abspath(folder))
    hint = did_you_mean(osp.basename(osp.abspath(folder)), os.listdir(parent)) if osp.isdir(parent) else ''
    where = '' if osp.isabs(folder) else f' (looked for in {os.getcwd()})'
    raise MissingFileError(f'`{key}`: the folder {folder} does not exist{where}.{hint} Correct the path.')


def list_images(folder: str, key: str) -> list[str]:
    """Sorted paths of the image files in a folder; hidden files and sub-folders are passed over.

    Raises:
        DataError: there are none; says what is there instead.
    """
    others, subfolders, images = [], [], []
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name.startswith('.'):
            continue
        if entry.is_dir():
            subfolders.append(entry)
        elif is_image_name(entry.name):
            images.append(entry.path)
        else:
            others.append(entry.name)
    if images:
        return images
    with_images = [
        d.name for d in subfolders if any(is_image_name(name) for _, _, names in os.walk(d.path) for name in names)
    ]
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
    raise DataError(f'`{key}`: no image in {folder}: found {" and ".join(found) or "nothing"}. {way_out}')


def parse_meta_info(path: str, key: str) -> list[tuple[str, tuple[int, int] | None]]:
    """Names, and sizes (height, width) where they are given, of a meta-info file.

    Raises:
        MissingFileError: there is no such file.
        DataError: it lists nothing, or is not text.
    """
    path = osp.expanduser(str(path))
    try:
        with open(path, encoding='utf-8') as file:
            lines = [line.strip() for line in file]
    except FileNotFoundError:
        raise MissingFileError(f'`{key}`: the file {path} does not exist. Correct the path.') from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'`{key}`: {path} cannot be read as a list of images ({error}).') from error
    entries = []
    for line in lines:
        if not line:
            continue
        match = _META_LINE.match(line)
        name = match['name'].split(', ')[0].strip()
        if not is_image_name(name):
            name = name.split()[0]  # BasicSR's rule; a name with spaces and an extension is kept whole
        entries.append((name, (int(match['h']), int(match['w'])) if match['h'] else None))
    if not entries:
        raise DataError(f'`{key}`: {path} lists no image. Write one name a line, relative to the data folder.')
    return entries


def _lmdb_key(name: str) -> str:
    return osp.splitext(name)[0] if is_image_name(name) else name


def _few(names: list[str]) -> str:
    return ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')


def _gib(size: int) -> str:
    return f'{size / 2**30:.1f} GiB' if size >= 2**30 else f'{size / 2**20:.1f} MiB'


def _available_memory() -> int | None:
    """Bytes of memory that can still be had (Linux), or None where that is not known."""
    try:
        with open('/proc/meminfo') as file:
            for line in file:
                if line.startswith('MemAvailable:'):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def _available_shared_memory() -> float:
    """Free bytes of /dev/shm; writing past them kills the process with a bus error."""
    try:
        state = os.statvfs('/dev/shm')
    except (OSError, AttributeError):
        return float('inf')
    return state.f_bavail * state.f_frsize
