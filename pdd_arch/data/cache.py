"""Decoded images kept in memory: all of them, shared by the workers, or those that were read last."""

import os
import time
from collections import OrderedDict

import numpy as np
import torch
from basicsr.utils import get_root_logger

from pdd_arch.data.sources import ImageSource
from pdd_arch.errors import DataError
from pdd_arch.utils.host import available_host_memory


class CachedSource(ImageSource):
    """All images of another source, decoded once, in memory that forked and spawned workers share.

    A broken image is found here, before training starts. Under torchrun each process holds a cache of its own.
    Images are gathered into shared tensors of about `chunk_bytes`: one each would run into the limit on open files,
    one for all would need twice the memory while it is filled.

    Raises:
        DataError: an image cannot be read, or all together are larger than the memory that is free.
    """

    def __init__(self, source: ImageSource, chunk_bytes: int = 512 * 2**20) -> None:
        logger = get_root_logger()
        super().__init__(source.root, source.names, source.key)
        #: uint8 tensors that hold the pixels
        self.tensors: list[torch.Tensor] = []
        self._entries: list[tuple[int, int, tuple[int, ...], str]] = []
        least = sum(3 * h * w for h, w in map(source.check, range(len(source))))
        free = available_host_memory()
        if least > free:
            raise DataError(
                f'{len(source)} images take {_gib(least)} decoded but only {_gib(free)} of memory are free',
                where=self.key,
                way_out='Set `cache: none` (an LMDB is the next fastest), or cut the images into smaller sets.',
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
            self._entries.append((len(self.tensors), pending_bytes, image.shape, image.dtype.str))
            # 16-bit images are viewed in place, so every image begins at an even byte
            flat = np.ascontiguousarray(image).reshape(-1).view(np.uint8)
            pending.append(np.pad(flat, (0, 1)) if flat.size % 2 else flat)
            pending_bytes += pending[-1].size
            total_bytes += flat.size
            if pending_bytes >= chunk_bytes or i + 1 == len(source):
                chunk = torch.from_numpy(np.concatenate(pending))
                self.tensors.append(chunk.share_memory_() if sharing else chunk)
                pending, pending_bytes = [], 0
            if time.monotonic() - reported > 10:
                reported = time.monotonic()
                logger.info(f'{self.key}: {i + 1} of {len(source)} images in memory, {_gib(total_bytes)}')
        logger.info(
            f'{self.key}: {len(source)} images in memory, {_gib(total_bytes)}, '
            f'decoded in {time.monotonic() - started:.1f} s'
        )

    def read_raw(self, index: int) -> np.ndarray:
        """As the source's own, without a copy: never write to what this returns."""
        chunk, start, shape, dtype = self._entries[index]
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self.tensors[chunk].numpy()[start : start + count].view(dtype).reshape(shape)

    def check(self, index: int) -> tuple[int, int]:
        height, width, _ = self._entries[index][2]
        return height, width


class RecentImages(ImageSource):
    """Another source, of which each process keeps the images that it read last, up to `limit` bytes of pixels."""

    def __init__(self, source: ImageSource, limit: int = 256 * 2**20) -> None:
        super().__init__(source.root, source.names, source.key)
        self._source, self._limit = source, limit
        self._images: OrderedDict[int, np.ndarray] = OrderedDict()

    def read_raw(self, index: int) -> np.ndarray:
        image = self._images.pop(index, None)
        if image is None:
            image = self._source.read_raw(index)
        self._images[index] = image
        while sum(kept.nbytes for kept in self._images.values()) > self._limit:
            self._images.popitem(last=False)
        return image

    def check(self, index: int) -> tuple[int, int]:
        return self._source.check(index)


def _gib(size: int) -> str:
    return f'{size / 2**30:.1f} GiB' if size >= 2**30 else f'{size / 2**20:.1f} MiB'


def _available_shared_memory() -> float:
    """Free bytes of /dev/shm; writing past them kills the process with a bus error."""
    try:
        state = os.statvfs('/dev/shm')
    except (OSError, AttributeError):
        return float('inf')
    return state.f_bavail * state.f_frsize
