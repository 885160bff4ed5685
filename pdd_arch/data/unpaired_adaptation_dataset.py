"""The training data: synthetic pairs and, beside them, photographs of the target domain."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from basicsr.utils import get_root_logger
from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import default_collate

from pdd_arch.data.cache import CachedSource, RecentImages
from pdd_arch.data.positioned_index import PositionedIndex
from pdd_arch.data.section import lr_synthesis_of, open_sources, read_section, require_size, sources_identity
from pdd_arch.data.sources import ImageSource
from pdd_arch.errors import OptionError
from pdd_arch.images.decoding import to_float32
from pdd_arch.utils.registration import register


@register(DATASET_REGISTRY)
class UnpairedAdaptationDataset(torch.utils.data.Dataset):
    """Unpaired adaptation data, as in the paper.

    One sample holds a crop of an HR photograph, its synthetic LR version, and a crop of the same LR size from
    a target-domain photograph. Both photographs are drawn uniformly, each from its own source and
    independently of the sampler's index, so neither source limits the other; the length is that of the longer
    one.

    What is drawn depends on (seed, epoch, position) alone, in a generator of its own. Epoch and position come
    with the index (:class:`PositionedIndex`, from the sampler that replaces BasicSR's while it trains), so the
    samples are the same for any number of workers. For a plain index the position is the index and the epoch
    counts how often it was asked for; the counts lie in shared memory, so workers continue them from one
    epoch to the next. (Only an index that two workers hold at the same moment can have its two draws
    exchanged.)

    Args:
        opt: the section ``datasets.train`` (`pdd_arch.options.schema.UnpairedAdaptationSet`) with the ``phase``,
            ``scale`` and ``manual_seed`` that BasicSR adds; not changed. A `pdd_arch.data.section.DatasetSection`
            brings sources that were opened and validated before.

    Raises:
        OptionError: an option is missing or wrong; names its key.
        MissingFileError: a folder or meta-info file does not exist.
        DataError: a source has no image, or (with ``validate``) one that is broken or smaller than the crop.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        phase = opt.get('phase', 'train')
        if phase != 'train':
            raise OptionError(
                'UnpairedAdaptationDataset is for training only',
                where=f'datasets.{phase}.type',
                way_out='Validate with PairedImageDataset (with ground truth) or SingleImageDataset (without).',
            )
        options, self.scale, self.seed = read_section(opt)
        self.gt_size, self.lq_size = options.gt_size, options.gt_size // self.scale
        self.use_hflip, self.use_rot = options.use_hflip, options.use_rot
        self._batch = options.batch_size_per_gpu
        self._of_target = options.batch_size_target_per_gpu
        self.lr_synthesis = lr_synthesis_of(options.lr_synthesis, self.scale)
        # validated before they are cached: a wrong crop size should not cost the time of decoding everything
        self.gt, self.lq = open_sources(opt)
        if options.cache == 'ram':
            self.gt, self.lq = CachedSource(self.gt), CachedSource(self.lq)
        elif self.lr_synthesis.noise_injection:
            self.lq = RecentImages(self.lq)  # which is read sixteen times for a sample
        self._visits = torch.zeros(len(self), dtype=torch.int64).share_memory_()
        get_root_logger().info(
            f'UnpairedAdaptationDataset: {len(self.gt)} HR photographs, {len(self.lq)} of the target domain, '
            f'crops {self.gt_size} and {self.lq_size}, LR by {self.lr_synthesis}, seed {self.seed}'
        )

    def __len__(self) -> int:
        return max(len(self.gt), len(self.lq))

    def identity(self) -> str:
        """16 hex digits that change when images of either source are added, removed or renamed."""
        return sources_identity(self.gt, self.lq)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One sample.

        Returns:
            ``lq`` (3, gt_size / scale, gt_size / scale), ``gt`` (3, gt_size, gt_size) and ``lq_real`` (shape
            of ``lq``): float32 RGB in [0, 1]; ``gt_path`` and ``lq_real_path``. With ``batch_size_target_per_gpu``
            the last two are a list, empty perhaps, of as many as the sample brings to its batch (see `collate`).

        Raises:
            DataError, MissingFileError: an image became unreadable, or is smaller than the crop; names it.
        """
        if not 0 <= index < len(self):
            raise IndexError(f'index {int(index)} of a dataset of length {len(self)}')
        if isinstance(index, PositionedIndex):
            epoch, position, place = index.epoch, index.position, index.place
        else:
            epoch, position, place = int(self._visits[index]), int(index), int(index)
            self._visits[index] += 1
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, epoch, position)))

        gt_index = int(rng.integers(len(self.gt)))
        real_index = int(rng.integers(len(self.lq)))
        gt = self._crop(self.gt, gt_index, self.gt_size, rng)
        lq_real = self._crop(self.lq, real_index, self.lq_size, rng)
        # after the flips, as the authors do: bicubic and bilinear sample between pixels and are not symmetric
        lq = self.lr_synthesis(gt, rng, lambda: self._crop(self.lq, int(rng.integers(len(self.lq))), self.lq_size, rng))
        sample: dict[str, Any] = {'lq': _to_tensor(lq), 'gt': _to_tensor(gt), 'gt_path': self.gt.path(gt_index)}
        if self._of_target is None:
            return {**sample, 'lq_real': _to_tensor(lq_real), 'lq_real_path': self.lq.path(real_index)}
        # more are drawn last: the synthetic pairs do not depend on how many there are
        reals, paths = [_to_tensor(lq_real)], [self.lq.path(real_index)]
        # in any `_batch` places in a row each remainder occurs once, so that they add up to a batch
        wanted = len(range(place % self._batch, self._of_target, self._batch))
        while len(reals) < wanted:
            real_index = int(rng.integers(len(self.lq)))
            reals.append(_to_tensor(self._crop(self.lq, real_index, self.lq_size, rng)))
            paths.append(self.lq.path(real_index))
        return {**sample, 'lq_real': reals[:wanted], 'lq_real_path': paths[:wanted]}

    @property
    def collate(self) -> Callable[[list[dict[str, Any]]], Any]:
        """What a data loader needs as ``collate_fn``; torch's own, but with ``batch_size_target_per_gpu``."""
        return default_collate if self._of_target is None else _with_lists_of_target

    def _crop(self, source: ImageSource, index: int, side: int, rng: np.random.Generator) -> np.ndarray:
        """A random square crop, flipped and transposed at random; (side, side, 3), float32, [0, 1]."""
        image = source.read_raw(index)
        height, width = image.shape[:2]
        require_size(source, index, (height, width), self.gt_size, self.scale, self.gt_size // side)
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
        return to_float32(crop)


def _with_lists_of_target(samples: list[dict[str, Any]]) -> Any:
    """Samples as torch collates them, but the lists of the target domain are put behind each other."""
    reals = [crop for sample in samples for crop in sample['lq_real']]
    paths = [path for sample in samples for path in sample['lq_real_path']]
    own = default_collate([{k: v for k, v in s.items() if not k.startswith('lq_real')} for s in samples])
    return {**own, 'lq_real': torch.stack(reals), 'lq_real_path': paths}


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) BGR -> (3, H, W) RGB, contiguous."""
    return torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1)))
