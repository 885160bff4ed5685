"""Typed sections for classes that BasicSR builds from a dictionary: what it adds to a section is known here, too."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict

from pdd_arch.options.messages import validated
from pdd_arch.options.schema import Count, PositiveCount, Size, UnpairedAdaptationSet, ValOptions, Workers


class UnpairedSection(UnpairedAdaptationSet):
    """``datasets.train`` with what BasicSR adds; a dataset built without a training loop needs no batches."""

    model_config = ConfigDict(extra='ignore')

    type: Literal['UnpairedAdaptationDataset'] = 'UnpairedAdaptationDataset'
    num_worker_per_gpu: Workers = 0
    batch_size_per_gpu: Size = 1
    phase: str = 'train'
    scale: PositiveCount
    manual_seed: Count | None = None


class ValSection(ValOptions):
    """``val`` of a model that is built without BasicSR's validation loop, which alone needs ``save_img``."""

    model_config = ConfigDict(extra='ignore')

    save_img: bool = False


def unpaired_set(opt: Mapping[str, Any]) -> UnpairedSection:
    """The options of an `UnpairedAdaptationDataset` as BasicSR hands them over.

    Args:
        opt: the section with ``phase``, ``scale`` and ``manual_seed``; keys that the schema does not know are ignored.

    Raises:
        OptionError: naming the key below ``datasets.PHASE``.
    """
    return validated(UnpairedSection, opt, f'datasets.{opt.get("phase", "train")}')


def val_options(opt: Mapping[str, Any]) -> ValSection:
    """The ``val`` section of BasicSR's whole option dictionary; all defaults where there is none.

    Raises:
        OptionError: naming the key.
    """
    return validated(ValSection, opt.get('val') or {}, 'val')
