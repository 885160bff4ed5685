"""The training data: synthetic pairs and, beside them, photographs of the target domain."""

from collections.abc import Mapping

import numpy as np
import torch
from basicsr.utils import get_root_logger
from basicsr.utils.registry import DATASET_REGISTRY

from pdd_arch.data.cache import CachedSource
from pdd_arch.data.identity import sources_identity
from pdd_arch.data.positioned_index import PositionedIndex
from pdd_arch.data.sources import ImageSource, open_source
from pdd_arch.degradations.lr_synthesis import LRSynthesis
from pdd_arch.errors import DataError, OptionError, PDDError
from pdd_arch.images.decoding import to_float32
from pdd_arch.utils.registration import register
from pdd_arch.utils.wording import did_you_mean, one_of, shown

__all__ = ['UnpairedAdaptationDataset']

CACHES = ('none', 'ram')


@register(DATASET_REGISTRY)
class UnpairedAdaptationDataset(torch.utils.data.Dataset):
    """Unpaired adaptation data (paper, sections 3.1 and 4.1).

    One sample holds a crop of an HR photograph, its synthetic LR version, and a crop of the same LR size from
    a target-domain photograph. Both photographs are drawn uniformly, each from its own source and
    independently of the sampler's index, so neither source limits the other; the length is that of the longer
    one.

    What is drawn depends on (seed, epoch, position) alone, in a generator of its own. Epoch and position come
    with the index (:class:`PositionedIndex`, which ``import pdd_arch`` makes BasicSR's sampler yield), so the
    samples are the same for any number of workers. For a plain index the position is the index and the epoch
    counts how often it was asked for; the counts lie in shared memory, so workers continue them from one
    epoch to the next. (Only an index that two workers hold at the same moment can have its two draws
    exchanged.)

    Args:
        opt: options of the dataset; not changed. As in BasicSR unless noted:

            * ``phase``: must be ``train``; ``scale``: filled in by BasicSR;
            * ``dataroot_gt``, ``dataroot_lq``, ``meta_info_file``, ``meta_info_file_gt``,
              ``meta_info_file_lq``, ``io_backend``: see :func:`pdd_arch.data.sources.open_source`;
            * ``gt_size``: side of the HR crop in pixels, divisible by the scale; LR crops are that over the
              scale;
            * ``use_hflip`` (default true), ``use_rot`` (default true: vertical flip and transpose), drawn
              separately for the two domains;
            * ``lr_synthesis``: see :class:`LRSynthesis`;
            * ``cache``: ``none`` (default) or ``ram``, see :class:`CachedSource`;
            * ``validate`` (default true): look at the header of every image now;
            * ``seed`` (default ``manual_seed``, then 0).

    Raises:
        OptionError: an option is missing or wrong; names its key.
        MissingFileError: a folder or meta-info file does not exist.
        DataError: a source has no image, or (with ``validate``) one that is broken or smaller than the crop.
    """

    def __init__(self, opt: Mapping) -> None:
        phase = opt.get('phase', 'train')
        section = f'datasets.{phase}'
        if phase != 'train':
            raise OptionError(
                f'`{section}.type` is UnpairedAdaptationDataset, which is for training only. '
                'Validate with PairedImageDataset (with ground truth) or SingleImageDataset (without).'
            )
        self.scale = _positive_int(opt, 'scale', 'the scale of the network')
        self.gt_size = _positive_int(opt, 'gt_size', f'{section}.gt_size')
        if self.gt_size % self.scale:
            low = self.gt_size // self.scale * self.scale
            near = f'{low} or {low + self.scale}' if low else str(self.scale)
            raise OptionError(
                f'`{section}.gt_size` is {self.gt_size}, which is not divisible by the scale {self.scale}. Use {near}.'
            )
        self.lq_size = self.gt_size // self.scale
        self.use_hflip = _flag(opt, 'use_hflip', section)
        self.use_rot = _flag(opt, 'use_rot', section)
        self.lr_synthesis = LRSynthesis(opt.get('lr_synthesis'), self.scale, f'{section}.lr_synthesis')
        self.seed = _seed(opt, section)
        validate = _flag(opt, 'validate', section)
        cache = opt.get('cache') or 'none'
        if cache not in CACHES:
            hint = did_you_mean(cache, CACHES)
            raise OptionError(f'`{section}.cache` is {cache!r}; expected {one_of(CACHES)}.{hint}')

        self.gt = open_source(opt, 'gt', section)
        self.lq = open_source(opt, 'lq', section)
        if validate:
            # before the cache: a wrong crop size should not cost the time of decoding everything
            self._validate(self.gt, self.gt_size)
            self._validate(self.lq, self.lq_size)
        if cache == 'ram':
            self.gt, self.lq = CachedSource(self.gt), CachedSource(self.lq)
        self._visits = torch.zeros(len(self), dtype=torch.int64).share_memory_()
        get_root_logger().info(
            f'UnpairedAdaptationDataset: {len(self.gt)} HR photographs, {len(self.lq)} of the target domain, '
            f'crops {self.gt_size} and {self.lq_size}, LR by {self.lr_synthesis}, seed '
            f'{self.seed}'
        )

    def __len__(self) -> int:
        return max(len(self.gt), len(self.lq))

    def identity(self) -> str:
        """16 hex digits that change when images of either source are added, removed or renamed."""
        return sources_identity(self.gt, self.lq)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor | str]:
        """One sample.

        Returns:
            ``lq`` (3, gt_size / scale, gt_size / scale), ``gt`` (3, gt_size, gt_size) and ``lq_real`` (shape
            of ``lq``): float32 RGB in [0, 1]; ``gt_path`` and ``lq_real_path``.

        Raises:
            DataError, MissingFileError: an image became unreadable, or is smaller than the crop; names it.
        """
        if not 0 <= index < len(self):
            raise IndexError(f'index {int(index)} of a dataset of length {len(self)}')
        if isinstance(index, PositionedIndex):
            epoch, position = index.epoch, index.position
        else:
            epoch, position = int(self._visits[index]), int(index)
            self._visits[index] += 1
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, epoch, position)))

        gt_index = int(rng.integers(len(self.gt)))
        real_index = int(rng.integers(len(self.lq)))
        gt = to_float32(self._crop(self.gt, gt_index, self.gt_size, rng))
        lq_real = to_float32(self._crop(self.lq, real_index, self.lq_size, rng))
        # after the flips, as the authors do: bicubic and bilinear sample between pixels and are not symmetric
        lq = self.lr_synthesis(gt, rng, lambda: self._random_target_crop(rng))
        return {
            'lq': _to_tensor(lq),
            'gt': _to_tensor(gt),
            'lq_real': _to_tensor(lq_real),
            'gt_path': self.gt.path(gt_index),
            'lq_real_path': self.lq.path(real_index),
        }

    def _random_target_crop(self, rng: np.random.Generator) -> np.ndarray:
        return to_float32(self._crop(self.lq, int(rng.integers(len(self.lq))), self.lq_size, rng))

    def _crop(self, source: ImageSource, index: int, side: int, rng: np.random.Generator) -> np.ndarray:
        """A random square crop, flipped and transposed at random; (side, side, 3), dtype of the source."""
        image = source.read_raw(index)
        height, width = image.shape[:2]
        if min(height, width) < side:
            raise DataError(self._too_small(source, index, height, width, side))
        top = int(rng.integers(height - side + 1))
        left = int(rng.integers(width - side + 1))
        hflip, vflip, transpose = rng.random(3) < 0.5
        crop = image[top : top + side, left : left + side]
        if self.use_hflip and hflip:
            crop = crop[:, ::-1]
        if self.use_rot and vflip:
            crop = crop[::-1]
        if self.use_rot and transpose:
            crop = crop.transpose(1, 0, 2)
        return crop

    def _validate(self, source: ImageSource, side: int) -> None:
        first, bad = None, []
        for i in range(len(source)):
            try:
                height, width = source.check(i)
                if min(height, width) < side:
                    raise DataError(self._too_small(source, i, height, width, side))
            except PDDError as error:
                first = first or error
                bad.append(shown(source.path(i)))
        if first:
            more = f' {len(bad) - 1} more of {len(source)} images cannot be used: ' if len(bad) > 1 else ''
            names = ', '.join(bad[1:4]) + (', ...' if len(bad) > 4 else '.') if more else ''
            raise type(first)(f'`{source.key}`: {first}{more}{names}')

    def _too_small(self, source: ImageSource, index: int, height: int, width: int, side: int) -> str:
        largest = min(height, width) * self.gt_size // side // self.scale * self.scale
        asked = f'`datasets.train.gt_size: {self.gt_size}`'
        if side != self.gt_size:
            asked += f' at scale {self.scale}'
        lower = f', or lower gt_size to {largest} or less' if largest else ''
        return (
            f'{shown(source.path(index))}: is {height}x{width} pixels (height x width), smaller than the '
            f'{side}x{side} crop that {asked} takes. Remove it{lower}.'
        )


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) BGR -> (3, H, W) RGB, contiguous."""
    return torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1)))


def _positive_int(opt: Mapping, name: str, key: str) -> int:
    value = opt.get(name)
    if value is None:
        raise OptionError(f'`{key}` is missing; expected a positive whole number.')
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise OptionError(f'`{key}` is {value!r}; expected a positive whole number.')
    return value


def _flag(opt: Mapping, name: str, section: str) -> bool:
    value = opt.get(name, True)
    if not isinstance(value, bool):
        raise OptionError(f'`{section}.{name}` is {value!r}; expected true or false.')
    return value


def _seed(opt: Mapping, section: str) -> int:
    name = 'manual_seed' if opt.get('seed') is None else 'seed'
    value = opt.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise OptionError(f'`{section}.{name}` is {value!r}; expected a whole number, 0 or above.')
    return value
