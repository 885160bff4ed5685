"""What a dataset holds, set by set: counts, sizes, kinds of files, damage, and how well its pairs fit."""

import itertools
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import path as osp
from pathlib import Path
from typing import Any

import numpy as np

from pdd_arch.data.meta_info import listed_names, parse_meta_info, read_list
from pdd_arch.data.paired_check import lq_name, open_single, scale_problem
from pdd_arch.data.sources import (
    FileSource,
    ImageSource,
    LmdbSource,
    list_images,
    open_folder,
    open_source,
    require_folder,
)
from pdd_arch.errors import DataError, MissingFileError, PDDError
from pdd_arch.images.decoding import image_size
from pdd_arch.options.yaml_file import load_options
from pdd_arch.prepare.measures import Fit, Thumbnails, fit_of_pair
from pdd_arch.prepare.problems import Problem, broken_file
from pdd_arch.prepare.verify import Facts, facts_of, format_problems, read_whole, size_range
from pdd_arch.prepare.write import JOURNAL, MANIFEST
from pdd_arch.utils.files import read_json
from pdd_arch.utils.output import progress
from pdd_arch.utils.wording import shown


@dataclass
class ImageSet:
    """Images to inspect. Where it has both sources, ``hr`` and ``lr``, images of the same index are a pair."""

    name: str
    role: str  # train or test
    scale: int
    sources: dict[str, ImageSource]
    problems: list[Problem] = field(default_factory=list)  # found while it was opened


@dataclass(frozen=True)
class Limits:
    """Beyond what a pair or an image is wrong; see :mod:`pdd_arch.prepare.measures` for the numbers."""

    shift: float  # LR pixels
    colour: float  # levels of 255, in the mean of a channel
    distance: int  # bits of the hash
    sample: int | None  # pairs of a set that are compared, evenly spread; None for all


def open_sets(target: str) -> list[ImageSet]:
    """Sets of a prepared dataset, of an option file, or of a folder of images; raises PDDError for anything else."""
    path = Path(target).expanduser()
    if path.suffix in ('.yml', '.yaml'):
        return _of_options(str(path))
    if path.name == MANIFEST and path.is_file():
        path = path.parent
    if not path.is_dir():
        raise MissingFileError(
            'no such folder',
            where=shown(target),
            way_out='Name a folder that `pdd prepare` has made, a folder of images, an LMDB or an option file (.yml).',
        )
    if (path / MANIFEST).is_file():
        return _of_manifest(path)
    if path.suffix == '.lmdb':
        return [ImageSet(path.name, 'train', 1, {'lr': LmdbSource(str(path), shown(path))})]
    if (path / JOURNAL).exists():
        raise DataError(
            f'is not complete: {MANIFEST}, which is written last, is not there',
            where=shown(path),
            way_out='Run the same `pdd prepare` again, which continues.',
        )
    return [ImageSet(path.name, 'train', 1, {'lr': open_folder(str(path), shown(path))})]


def _of_manifest(home: Path) -> list[ImageSet]:
    way_out = 'Run `pdd prepare` again.'
    manifest = read_json(home / MANIFEST, way_out)
    try:
        # sub-images are as the images that they were cut from
        return [_of_description(home, one) for one in manifest['sets'] if not one.get('derived')]
    except (KeyError, TypeError) as error:
        what = f'lacks what `pdd prepare` writes ({error})'
        raise DataError(what, where=shown(home / MANIFEST), way_out=way_out) from None


def _of_description(home: Path, one: Mapping[str, Any]) -> ImageSet:
    made = ImageSet(one['name'], one['role'], int(one['scale']), {})
    for key in ('hr', 'lr'):
        if key in one:
            root, listed = osp.normpath(home / one[key]['folder']), str(home / one[key]['meta_info'])
            where = f'{one["name"]} {key.upper()}'
            require_folder(root, where)
            names = listed_names(listed, root, where)
            made.sources[key] = FileSource(root, names, where)
            made.problems += _unlisted(root, names, listed)
    return made


def _unlisted(root: str, names: Sequence[str], listed: str) -> Iterator[Problem]:
    # one folder may hold two sets (DF2K): only lists that name none of it speak against it
    lists = Path(listed).parent.glob('*.txt')
    known = {*names, *(name for meta in lists for name, _ in parse_meta_info(str(meta), 'meta_info'))}
    text = 'is in the folder but in no list; BasicSR reads it where no list is named. Remove it, or prepare again.'
    for name in list_images(root, root):
        if name not in known:
            yield Problem('count', osp.join(root, name), text)


def _of_options(path: str) -> list[ImageSet]:
    options = load_options(path)
    sets = []
    for phase, opt in (options.get('datasets') or {}).items():
        section, role = f'datasets.{phase}', 'train' if phase == 'train' else 'test'
        kind, scale = opt.get('type'), opt.get('scale', options.get('scale', 1))
        if kind == 'UnpairedAdaptationDataset':
            for key, side in (('hr', 'gt'), ('lr', 'lq')):
                sets.append(ImageSet(f'{phase}.{key}', role, scale, {key: open_source(opt, side, section)}))
        elif kind == 'PairedImageDataset':
            sets.append(_paired(opt, phase, role, scale))
        elif kind == 'SingleImageDataset':
            source = open_single(opt, section) if 'meta_info_file' in opt else open_source(opt, 'lq', section)
            sets.append(ImageSet(phase, role, scale, {'lr': source}))
        else:
            text = f'`{section}.type` is {kind}, which is not inspected here.'
            sets.append(ImageSet(phase, role, scale, {}, [Problem('count', path, text, is_error=False)]))
    if not sets:
        raise DataError('names no dataset', where=shown(path), way_out='Name an option file with a `datasets` section.')
    return sets


def _paired(opt: Mapping[str, Any], phase: str, role: str, scale: int) -> ImageSet:
    section, problems, pairs = f'datasets.{phase}', [], {}
    hr, lr = (open_source(opt, side, section) for side in ('gt', 'lq'))
    known, listing = set(lr.names), opt.get('meta_info_file')
    # LR images that a list names itself
    own = [entry.lq for entry in read_list(listing, f'{section}.meta_info_file')] if listing else [None] * len(hr)
    for i, (name, partner) in enumerate(zip(hr.names, own, strict=True)):
        wanted = lq_name(name, opt.get('filename_tmpl', '{}'), section) if isinstance(hr, FileSource) else name
        wanted = osp.normpath(partner) if partner else wanted
        if wanted in known or (partner and osp.isfile(osp.join(lr.root, wanted))):
            pairs[name] = wanted
        else:
            text = f'has no LR image {wanted} in {shown(lr.root)}. Add it, or correct `{section}.filename_tmpl`.'
            problems.append(Problem('pair', hr.path(i), text))
    hr.names, lr.names = list(pairs), list(pairs.values())
    return ImageSet(phase, role, scale, {'hr': hr, 'lr': lr}, problems)


def inspect(one: ImageSet, limits: Limits, thumbnails: Thumbnails) -> tuple[dict[str, Any], list[Problem]]:
    """What a set holds, in plain values, and what is wrong; all of it is read.

    `thumbnails` grows by its images (of pairs: HR), for the search for duplicates.
    """
    problems = [*one.problems, *itertools.chain.from_iterable(map(_unread, one.sources.values()))]
    facts: dict[str, list[Facts]] = {key: [] for key in one.sources}
    broken: Counter[str] = Counter()
    fits: list[tuple[str, Fit]] = []
    count = max((len(s) for s in one.sources.values()), default=0)
    measured = set(range(count)) if not limits.sample else set(np.linspace(0, count - 1, limits.sample).astype(int))
    for i in progress(range(count), count, one.name):
        images: dict[str, np.ndarray] = {}
        kinds: dict[str, Facts] = {}
        for key, source in one.sources.items():
            try:
                images[key], kinds[key] = _read(source, i)
                facts[key].append(kinds[key])
                problems += format_problems(source.path(i), kinds[key], None)
            except PDDError as error:
                broken[key] += 1
                problems.append(broken_file(source.path(i), error))
        if images:
            key = 'hr' if 'hr' in images else 'lr'
            thumbnails.add(one.sources[key].path(i), images[key])
        if len(images) == 2:
            wrong = list(_pair_problems(one, i, kinds))
            problems += wrong
            if i in measured and not any(p.kind == 'scale' for p in wrong):
                fits.append((one.sources['lr'].path(i), fit_of_pair(images['lr'], images['hr'])))
    problems += _mixture(one, facts)
    problems += [p for path, fit in fits for p in _fit_problems(path, fit, limits)]
    images_held = {key: _summary(source, facts[key], broken[key]) for key, source in one.sources.items()}
    held = {'name': one.name, 'role': one.role, 'scale': one.scale, 'images': images_held}
    return held | (_fit_summary([fit for _, fit in fits]) if fits else {}), problems


def _unread(source: ImageSource) -> Iterator[Problem]:
    """Photographs in a folder that its source leaves out."""
    for name in source.unread if isinstance(source, FileSource) else ():
        path = osp.join(source.root, name)
        try:
            image_size(path)
        except PDDError as error:
            yield broken_file(path, error)


def _read(source: ImageSource, index: int) -> tuple[np.ndarray, Facts]:
    if isinstance(source, FileSource):
        return read_whole(source.path(index))
    image = source.read_raw(index)
    return image, facts_of(image)


def _pair_problems(one: ImageSet, index: int, kinds: Mapping[str, Facts]) -> Iterator[Problem]:
    where = one.sources['lr'].path(index)
    hr, lr = kinds['hr'], kinds['lr']
    text = scale_problem(hr.size, lr.size, one.scale, one.role == 'train')
    if text:
        yield Problem('scale', where, f'{text} Replace the pair, or correct the scale.')
    if hr.bits != lr.bits:
        text = f'is {lr.kind} and its HR image {hr.kind}; one depth is expected. Save both alike.'
        yield Problem('format', where, text)


def _mixture(one: ImageSet, facts: Mapping[str, Sequence[Facts]]) -> Iterator[Problem]:
    for key, known in facts.items():
        kinds = Counter(f.kind for f in known)
        if len(kinds) > 1:
            counts = ', '.join(f'{n} {kind}' for kind, n in kinds.most_common())
            text = f'{key.upper()} images of {counts}; one kind is expected. Convert those that differ.'
            yield Problem('format', one.name, text, is_error=len({f.bits for f in known}) > 1)


def _fit_problems(path: str, fit: Fit, limits: Limits) -> Iterator[Problem]:
    if fit.shift and max(map(abs, fit.shift)) > limits.shift:
        text = (
            f'lies {fit.shift[0]:+.1f} pixels to the right and {fit.shift[1]:+.1f} down of its HR image (in LR pixels; '
            f'at most {limits.shift:g} is expected). Register the pair anew, or leave it out.'
        )
        yield Problem('shift', path, text)
    if max(map(abs, fit.mean)) > limits.colour:
        text = (
            f'differs from its HR image by {", ".join(f"{v:+.1f}" for v in fit.mean)} levels of 255 in mean R, G, B '
            f'(at most {limits.colour:g} is expected). Match the colours of the pair, or leave it out.'
        )
        yield Problem('colour', path, text)


def _summary(source: ImageSource, facts: Sequence[Facts], broken: int) -> dict[str, Any]:
    sizes = size_range(facts)
    return {
        **{'where': source.root, 'count': len(source), 'broken': broken, 'different_sizes': len(sizes)},
        **({'sizes': {'min': list(sizes[0]), 'max': list(sizes[-1])}} if sizes else {}),
        'formats': dict(Counter(f.kind for f in facts).most_common()),
    }


def _fit_summary(fits: Sequence[Fit]) -> dict[str, Any]:
    shifts = [max(map(abs, fit.shift)) for fit in fits if fit.shift]
    held: dict[str, Any] = {'compared': len(fits), 'shift_not_measurable': len(fits) - len(shifts)}
    if shifts:
        held['shift'] = {'median': round(statistics.median(shifts), 2), 'max': round(max(shifts), 2)}
    means, absolutes = (np.array([getattr(fit, name) for fit in fits]) for name in ('mean', 'absolute'))
    held['colour'] = {
        'mean': means.mean(0).round(2).tolist(),
        'absolute': absolutes.mean(0).round(2).tolist(),
        'max': round(float(np.abs(means).max()), 2),
    }
    return held
