"""The section of an option file that an ``UnpairedAdaptationDataset`` is built from."""

import copy
import os
from collections.abc import Mapping
from typing import Any

from pdd_arch.data.sources import ImageSource
from pdd_arch.degradations.lr_synthesis import LRSynthesis
from pdd_arch.errors import OptionError
from pdd_arch.options.messages import validated
from pdd_arch.options.schema import Count, LRSynthesisOptions, PositiveCount, Section, UnpairedAdaptationSet

#: what BasicSR adds to the section
RUNTIME = ('phase', 'scale', 'manual_seed')
# what only BasicSR's data loader reads; somebody who builds the dataset without it need not give it
_LOADER = {'type': 'UnpairedAdaptationDataset', 'num_worker_per_gpu': 0, 'batch_size_per_gpu': 1}


class _Runtime(Section):
    scale: PositiveCount
    manual_seed: Count | None = None


class DatasetSection(dict[str, Any]):
    """Options of the dataset, with sources that were opened and validated before.

    Args:
        options: the section as BasicSR hands it to the dataset.
        sources: HR photographs and those of the target domain. They are handed on, not copied, by ``copy.deepcopy``,
            which BasicSR applies to the section.
    """

    def __init__(self, options: Mapping[str, Any], sources: tuple[ImageSource, ImageSource]) -> None:
        super().__init__(options)
        self.sources = sources

    def __deepcopy__(self, memo: dict[int, Any]) -> 'DatasetSection':
        return DatasetSection({key: copy.deepcopy(value, memo) for key, value in self.items()}, self.sources)


def read_section(opt: Mapping[str, Any]) -> tuple[UnpairedAdaptationSet, int, int]:
    """The section by the schema, the scale of the network, and the seed of what is drawn.

    Args:
        opt: the section with what BasicSR adds; not changed.

    Raises:
        OptionError: a key is missing, unknown or wrong, or ``gt_size`` is not divisible by the scale.
    """
    runtime = validated(_Runtime, {key: opt.get(key) for key in _Runtime.model_fields})
    given = {k: os.fspath(v) if isinstance(v, os.PathLike) else v for k, v in opt.items() if k not in RUNTIME}
    section = validated(UnpairedAdaptationSet, {**_LOADER, **given}, 'datasets.train')
    size, scale = section.gt_size, runtime.scale
    if size % scale:
        low = size // scale * scale
        near = f'{low} or {low + scale}' if low else str(scale)
        raise OptionError(
            f'{size} is not divisible by the scale {scale}', where='datasets.train.gt_size', way_out=f'Use {near}.'
        )
    seed = runtime.manual_seed if section.seed is None else section.seed
    return section, scale, seed or 0


def lr_synthesis_of(options: LRSynthesisOptions | None, scale: int) -> LRSynthesis:
    """The LR synthesis that the section asks for.

    Raises:
        OptionError: kernels are named beside another degradation.
    """
    options = options or LRSynthesisOptions()
    if options.degradation and 'resize' in options.model_fields_set:
        raise OptionError(
            f'{options.degradation!r} takes no `resize` beside it',
            where='datasets.train.lr_synthesis.degradation',
            way_out='Remove one of the two.',
        )
    kernels = (options.resize,) if isinstance(options.resize, str) else tuple(options.resize)
    return LRSynthesis(scale, kernels, options.degradation, options.noise_injection)
