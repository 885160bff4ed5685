"""BasicSR's datasets of images: they read what the check of their options has read, and name what is unreadable."""

import functools
import os
from collections.abc import Callable
from typing import Any

import cv2
from basicsr.data.paired_image_dataset import PairedImageDataset

from pdd_arch.data.paired_check import LmdbClient, explain_unreadable, open_pair, open_single, reads_names
from pdd_arch.data.sources import LmdbSource


def reading_as_checked(init: Callable[..., None]) -> Callable[..., None]:
    """``__init__`` of a dataset of BasicSR, which reads a list or an LMDB as the check of its options does."""

    @functools.wraps(init)
    def construct(self: Any, opt: dict[str, Any]) -> None:
        opt = {'use_hflip': False, 'use_rot': False, **opt}  # which it reads without a default
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
