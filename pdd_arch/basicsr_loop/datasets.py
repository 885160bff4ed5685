"""BasicSR's datasets of images: they read what the check of their options has read, and name what is unreadable.

What they draw for a training sample depends on its position only.
"""

import copy
import functools
import os
import threading
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from basicsr.data.paired_image_dataset import PairedImageDataset

from pdd_arch.data.paired_check import LmdbClient, explain_unreadable, open_pair, open_single, reads_names
from pdd_arch.data.positioned_index import PositionedIndex
from pdd_arch.data.sources import LmdbSource
from pdd_arch.utils.random_state import global_generators_seeded


def reading_as_checked(init: Callable[..., None]) -> Callable[..., None]:
    """``__init__`` of a dataset of BasicSR, which reads a list or an LMDB as the check of its options does."""

    @functools.wraps(init)
    def construct(self: Any, opt: dict[str, Any]) -> None:
        opt = copy.copy(opt)
        for flip in ('use_hflip', 'use_rot'):  # which it reads without a default
            opt.setdefault(flip, False)
        key = f'datasets.{opt.get("phase", "val")}'
        if not reads_names(opt, key):
            init(self, opt)
            return
        # from an empty list it takes nothing
        init(self, {**opt, 'meta_info_file': os.devnull, 'io_backend': {'type': 'disk'}})
        self.opt, self.io_backend_opt = opt, opt['io_backend']
        pairs = isinstance(self, PairedImageDataset)
        sides = ('gt', 'lq') if pairs else ('lq',)
        sources = dict(zip(sides, open_pair(opt, key) if pairs else (open_single(opt, key),), strict=True))
        lmdbs = {side: source for side, source in sources.items() if isinstance(source, LmdbSource)}
        if lmdbs:
            self.file_client = LmdbClient(lmdbs)
        named = {side: s.names if side in lmdbs else list(map(s.path, range(len(s)))) for side, s in sources.items()}
        self.paths = named['lq']
        if pairs:
            self.paths = [{'lq_path': lq, 'gt_path': gt} for lq, gt in zip(named['lq'], named['gt'], strict=True)]

    return construct


def naming_unreadable_images(getitem: Callable[..., Any]) -> Callable[..., Any]:
    """``__getitem__`` of a dataset of BasicSR, whose errors name the image that cannot be read."""

    @functools.wraps(getitem)
    def get(self: Any, index: int) -> Any:
        try:
            return getitem(self, index)
        except (AttributeError, TypeError, cv2.error) as e:
            entry = self.paths[index]
            paths = [v for k, v in entry.items() if k.endswith('_path')] if isinstance(entry, dict) else [entry]
            if error := explain_unreadable(e, paths):
                raise error from None
            raise

    return get


def drawing_by_position(getitem: Callable[..., Any]) -> Callable[..., Any]:
    """``__getitem__`` of a dataset of BasicSR, which draws from seed, epoch and position of a sample alone.

    It draws from the generators of NumPy and Python, whose state depends on what the data worker has drawn before.
    """

    @functools.wraps(getitem)
    def get(self: Any, index: int) -> Any:
        # a thread that prefetches shares the generators with the model
        alone = threading.current_thread() is threading.main_thread()
        if not isinstance(index, PositionedIndex) or not alone:
            return getitem(self, index)
        entropy = (self.opt.get('manual_seed') or 0, index.epoch, index.position)
        with global_generators_seeded(int(np.random.SeedSequence(entropy).generate_state(1)[0])):
            return getitem(self, index)

    return get
