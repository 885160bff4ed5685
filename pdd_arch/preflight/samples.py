"""Datasets of any kind are made and asked for a sample, as the run will do."""

import inspect
import os
from collections.abc import Mapping
from typing import Any

from basicsr.data.data_util import read_img_seq
from basicsr.data.video_test_dataset import VideoRecurrentTestDataset, VideoTestDataset

from pdd_arch.data.paired_check import check_paired_dataset
from pdd_arch.errors import DataError, OptionError
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.tracked import Asked, TrackedOptions
from pdd_arch.preflight.classes import dataset_of, is_published
from pdd_arch.preflight.real_esrgan import REAL_ESRGAN_SETS, is_real_esrgan
from pdd_arch.preflight.trial import explained, trial
from pdd_arch.utils.wording import did_you_mean, one_of, show, shown

_BENCHMARKS = ('vid4', 'reds4', 'redsofficial')
_BACKENDS = ('disk', 'lmdb', 'memcached')


def take_samples(options: RunOptions, counts: dict[str, int], asked: Asked) -> dict[str, Mapping[str, Any]]:
    """The first sample of each dataset that the model will get, by phase; `counts` gets the length of each.

    Raises the `PDDError` that fits where a dataset cannot be made, is empty, or has no sample that can be read.
    """
    samples = {}
    for phase, section in options.for_basicsr()['datasets'].items():
        where = f'datasets.{phase}'
        cls = dataset_of(section['type'], where)
        if is_published(cls):
            _check_backend(section, where)
        if section['type'] in ('PairedImageDataset', 'SingleImageDataset'):
            _check_scale(options, section)
            counts[phase] = check_paired_dataset(section, where)
        elif section['type'] == 'FFHQDataset':
            _check_ffhq(section, where)
        elif inspect.isclass(cls) and issubclass(cls, VideoTestDataset):
            _check_video(cls, section, where)
        samples[phase] = _sample(cls, section, where, counts, asked)
    return samples


def not_looked_at(options: RunOptions, counts: Mapping[str, int]) -> list[str]:
    """Datasets of which only the first sample was read, for a message."""
    looked_at = ('PairedImageDataset', 'SingleImageDataset', *(REAL_ESRGAN_SETS if is_real_esrgan(options) else ()))
    return [
        f'the samples of datasets.{phase} but the first of {counts[phase]}'
        for phase, section in options.file.datasets.items()
        if section.type not in looked_at and counts.get(phase, 0) > 1
    ]


def _check_backend(section: Mapping[str, Any], where: str) -> None:
    """``io_backend`` names a way of reading that BasicSR has."""
    backend = section.get('io_backend')
    kind = backend.get('type') if isinstance(backend, Mapping) else backend
    if kind is None:
        raise OptionError('missing', where=f'{where}.io_backend', way_out='Write `io_backend: {type: disk}`.')
    if not isinstance(backend, Mapping) or kind not in _BACKENDS:
        hint = did_you_mean(kind, _BACKENDS)
        raise OptionError(where=f'{where}.io_backend.type', expected=one_of(_BACKENDS), found=show(kind), way_out=hint)


def _check_scale(options: RunOptions, section: Mapping[str, Any]) -> None:
    if section['type'] == 'PairedImageDataset' and options.file.scale is None:
        raise OptionError('missing, PairedImageDataset needs it', where='scale', expected='a whole number from 1 to 64')


def _check_ffhq(section: Mapping[str, Any], where: str) -> None:
    """Its dataset reads 70,000 images by their number, and draws another where one is missing."""
    root, backend = section.get('dataroot_gt'), section['io_backend']['type']
    if not isinstance(root, str) or backend != 'disk' or not os.path.isdir(root):
        return
    there = {entry.name for entry in os.scandir(root)}
    missing = [name for name in (f'{number:08d}.png' for number in range(70_000)) if name not in there]
    if missing:
        raise DataError(
            f'{len(missing)} of the 70000 images that FFHQDataset reads are not in {shown(root)}, the first is '
            f'{missing[0]}',
            where=f'{where}.dataroot_gt',
            way_out='Add them, or use an LMDB of the images that there are (io_backend: {type: lmdb}).',
        )


def _check_video(cls: type, section: Mapping[str, Any], where: str) -> None:
    """Test sets of videos know three benchmarks by their name."""
    name = str(section.get('name')).lower()
    if name not in _BENCHMARKS:
        raise OptionError(
            where=f'{where}.name',
            expected=f'the benchmark whose layout {section["type"]} reads: {one_of(_BENCHMARKS)}, in any case',
            found=show(section.get('name')),
            way_out=did_you_mean(name, _BENCHMARKS),
        )
    if issubclass(cls, VideoRecurrentTestDataset) and section.get('cache_data') is False:
        raise OptionError(where=f'{where}.cache_data', expected=f'true with {section["type"]}', found='false')


def _sample(cls: Any, section: dict[str, Any], where: str, counts: dict[str, int], asked: Asked) -> Mapping[str, Any]:
    """Make the dataset of a section and take its first sample."""
    name, asked.last = section['type'], ()
    if 'cache_data' in section and inspect.isclass(cls) and issubclass(cls, VideoTestDataset):
        section |= {'cache_data': False}  # all frames would be read now; here they are only listed
    opt = TrackedOptions(section, asked, tuple(where.split('.')))
    doing, reading = 'cannot be made with these options', False
    try:
        with trial():
            dataset = cls(opt)
            length = len(dataset)
            counts.setdefault(where.partition('.')[2], length)
            if not length:
                raise DataError(f'{name} finds no image', where=where, way_out='Correct its folders or lists.')
            doing, reading = 'cannot read its first sample', True
            sample = _first_of(dataset)
    except Exception as e:  # whatever a class makes of its options and of what is there
        key = _named_in(str(e), section, None if reading else asked.last[-1:])
        raise explained(e, name, asked, doing, f'{where}.{key}' if key else where) from e
    if not isinstance(sample, Mapping):
        raise OptionError(
            f'a sample of {name} is a {type(sample).__name__}', where=f'{where}.type', expected='a dictionary'
        )
    return sample


def _named_in(text: str, section: Mapping[str, Any], last: tuple[str, ...] | None) -> str:
    """The option of a section that an exception names, by key or value, or the file that the class opened last."""
    own = {key: value for key, value in section.items() if key not in ('type', 'name', 'scale', 'phase')}
    named = [key for key in own if key in text]
    named += [key for key, value in own.items() if isinstance(value, str) and len(value) > 3 and value in text]
    if last and last[0].startswith(('meta_info', 'dataroot')):
        named += last
    return named[0] if named else ''


def _first_of(dataset: Any) -> Any:
    """The first sample; of a dataset of whole videos, its first frame in place of all of them."""
    if not isinstance(dataset, VideoRecurrentTestDataset):
        return dataset[0]
    folder = dataset.folders[0]
    videos = {side: frames[folder] for side, frames in (('lq', dataset.imgs_lq), ('gt', dataset.imgs_gt))}
    return {'folder': folder} | {
        side: read_img_seq(frames[:1]).expand(len(frames), -1, -1, -1) for side, frames in videos.items()
    }
