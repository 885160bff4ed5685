"""The section ``datasets.train`` of an ``UnpairedAdaptationDataset``: its options, its sources and their identity."""

import copy
import hashlib
import os
from collections.abc import Mapping
from dataclasses import fields
from os import path as osp
from typing import Any

from pdd_arch.data.sources import ImageSource, open_source
from pdd_arch.degradations.lr_synthesis import LRSynthesis
from pdd_arch.degradations.real_esrgan import RealESRGAN
from pdd_arch.errors import DataError, OptionError, PDDError
from pdd_arch.images.names import without_extension
from pdd_arch.options.degradation import LRSynthesisOptions, RealESRGANKernels
from pdd_arch.options.fields import Count, PositiveCount, Section
from pdd_arch.options.messages import validated
from pdd_arch.options.schema import UnpairedAdaptationSet
from pdd_arch.utils.wording import shown

#: HR photographs, and those of the target domain
Sources = tuple[ImageSource, ImageSource]

# what only BasicSR's data loader reads; somebody who builds the dataset without it need not give it
_LOADER = {'type': 'UnpairedAdaptationDataset', 'num_worker_per_gpu': 0, 'batch_size_per_gpu': 1}


class _Runtime(Section):
    """What BasicSR adds to the section."""

    phase: str | None = None
    scale: PositiveCount
    manual_seed: Count | None = None


class DatasetSection(dict[str, Any]):
    """The section with sources that were opened and validated before.

    They are handed on, not copied, by ``copy.deepcopy``, which BasicSR applies to the section.
    """

    def __init__(self, options: Mapping[str, Any], sources: Sources) -> None:
        super().__init__(options)
        self.sources = sources

    def __deepcopy__(self, memo: dict[int, Any]) -> 'DatasetSection':
        return DatasetSection({key: copy.deepcopy(value, memo) for key, value in self.items()}, self.sources)


def read_section(opt: Mapping[str, Any]) -> tuple[UnpairedAdaptationSet, int, int]:
    """The section by the schema (OptionError where it is wrong), the scale of the network, and the seed of draws."""
    runtime = validated(_Runtime, {key: opt.get(key) for key in _Runtime.model_fields})
    given = {k: v for k, v in opt.items() if k not in _Runtime.model_fields}
    given = {k: os.fspath(v) if isinstance(v, os.PathLike) else v for k, v in given.items()}
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
    """The LR synthesis that the section asks for. Raises OptionError for options that do not go together."""
    options, where = options or LRSynthesisOptions(), 'datasets.train.lr_synthesis'
    given = options.model_fields_set & {field.name for field in fields(RealESRGAN)}
    degradation = None
    if options.degradation:
        if 'resize' in options.model_fields_set:
            raise OptionError(
                f'{options.degradation!r} takes no `resize` beside it',
                where=f'{where}.degradation',
                way_out='Remove one of the two.',
            )
        for number in ('', '2'):
            check_kernels(options, number, where)
        values: dict[str, Any] = options.model_dump(include=given)
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        degradation = RealESRGAN(**values)
    elif given:
        raise OptionError(
            'without effect: it belongs to the degradation of Real-ESRGAN',
            where=f'{where}.{min(given)}',
            way_out=f'Set {where}.degradation: real_esrgan, or remove it.',
        )
    kernels = (options.resize,) if isinstance(options.resize, str) else tuple(options.resize)
    return LRSynthesis(scale, kernels, degradation, options.noise_injection)


def check_kernels(options: RealESRGANKernels, number: str, where: str) -> None:
    """Raises OptionError where a round (its `number`, with which its options end) has not a weight for each kernel."""
    kinds, weights = getattr(options, f'kernel_list{number}'), getattr(options, f'kernel_prob{number}')
    if len(kinds) != len(weights):
        raise OptionError(
            where=f'{where}.kernel_prob{number}',
            expected=f'as many as kernel_list{number} ({len(kinds)})',
            found=str(len(weights)),
        )


def open_sources(opt: Mapping[str, Any]) -> Sources:
    """The sources that a section brings or names, the latter validated if it says so; raises as the dataset does."""
    if isinstance(opt, DatasetSection):
        return opt.sources
    options, scale, _ = read_section(opt)
    lr_synthesis_of(options.lr_synthesis, scale)  # options first: validating all photographs takes time
    gt, lq = open_source(opt, 'gt'), open_source(opt, 'lq')
    if options.validate_:
        validate_sources(gt, lq, options.gt_size, scale)
    return gt, lq


def validate_sources(gt: ImageSource, lq: ImageSource, gt_size: int, scale: int) -> None:
    """Checks by its header that every photograph is whole and holds a crop.

    Raises:
        DataError, MissingFileError: one is missing, broken or too small. Names the first, and counts the others.
    """
    for source, divisor in ((gt, 1), (lq, scale)):
        errors: dict[int, PDDError] = {}
        for i in range(len(source)):
            try:
                require_size(source, i, source.check(i), gt_size, scale, divisor)
            except PDDError as error:
                errors[i] = error
        if errors:
            first, *others = errors
            found, more = errors[first], ''
            if others:
                names = ', '.join(shown(source.path(i)) for i in others[:3]) + (', ...' if len(others) > 3 else '.')
                more = f' {len(others)} more of {len(source)} images cannot be used: {names}'
            raise found.within(source.key, ': ').with_fields(way_out=f'{found.way_out}{more}')


def require_size(
    source: ImageSource, index: int, size: tuple[int, int], gt_size: int, scale: int, divisor: int
) -> None:
    """Raises DataError where an image of `size` (height, width) does not hold a crop of `gt_size` over `divisor`."""
    side = gt_size // divisor
    if min(size) >= side:
        return
    largest = min(size) * divisor // scale * scale
    raise DataError(
        f'is {size[0]}x{size[1]} pixels (height x width), smaller than the {side}x{side} crop that '
        f'`datasets.train.gt_size: {gt_size}`{f" at scale {scale}" if divisor > 1 else ""} takes',
        where=shown(source.path(index)),
        way_out=f'Remove it{f", or lower gt_size to {largest} or less" if largest else ""}.',
    )


def data_identity(opt: Mapping[str, Any]) -> str:
    """As :func:`sources_identity` of what a section brings or names; opens no image. Raises as :func:`open_source`."""
    if isinstance(opt, DatasetSection):
        return sources_identity(*opt.sources)
    return sources_identity(open_source(opt, 'gt'), open_source(opt, 'lq'))


def sources_identity(gt: ImageSource, lq: ImageSource) -> str:
    """16 hex digits of a SHA-256 over the images' names, by which a resumed run knows its data.

    Names count below the data folder and without their extension: a moved folder, and an LMDB made from a
    folder, are the same data. Pixels are not compared.
    """
    digest = hashlib.sha256()
    for side, source in (('gt', gt), ('lq', lq)):
        names = sorted(without_extension(osp.normpath(name).replace('\\', '/')) for name in source.names)
        digest.update(f'{side} {len(names)}\0'.encode())
        for name in names:
            # no file name holds a zero byte, so lists cannot be confused; names need not be valid UTF-8
            digest.update(name.encode('utf-8', 'surrogateescape') + b'\0')
    return digest.hexdigest()[:16]
