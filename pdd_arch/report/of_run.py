"""A page out of the folder of a run: its record, its options, and the images that its validations have saved."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pdd_arch.errors import DataError, MissingFileError, PDDError
from pdd_arch.inference.methods import network_upscaler
from pdd_arch.metrics.assignment import metrics_of_set, needs_ground_truth
from pdd_arch.metrics.availability import better
from pdd_arch.metrics.measuring import value_of
from pdd_arch.options.yaml_file import load_options
from pdd_arch.report.page import Curve, ImageFolder, Location, Output, Page, Picture, Version, make_picture, some_of
from pdd_arch.report.scores import Metric, Row, Seed, Value, unit_of
from pdd_arch.training.record import RECORD, RunHistory, read_record
from pdd_arch.utils.wording import shown

SAVED = 'visualization'
#: points of a curve; more of them are averaged
MAX_POINTS = 400
BICUBIC, GENERALIST = 'bicubic', 'generalist'
_DATAROOTS = ('dataroot_lq', 'dataroot_gt')


def is_run(folder: Path) -> bool:
    """Whether a folder looks like that of a training run: a copy of the options, and a record or a log."""
    return any(folder.glob('*.yml')) and ((folder / RECORD).is_file() or any(folder.glob('train_*.log')))


def page_of_run(folder: Path, generalist: bool, say: Callable[[str], None]) -> Page:
    """The page of a run in ``experiments/NAME``, for which `is_run` holds; PDDError where something in it is broken.

    With `generalist`, the validation images are also upscaled with the network that the run adapts. `say` is told
    about what takes time.
    """
    options, history, folder = _read_options(folder), read_record(folder), folder.resolve()
    metrics = options['val'].get('metrics') or {}
    page = Page(
        title=f'Run {options.get("name", folder.name)}',
        source=folder.name,
        metrics=[
            Metric(n, 'lower' if better(o) == 'lower' else 'higher', 2 if unit_of(n) == 'dB' else 4)
            for n, o in metrics.items()
        ],
        rows=[],
        curves=_curves(history, metrics),
    )
    if not (folder / RECORD).is_file():
        page.problems.append(
            f'There is no {RECORD} in this folder (a run of plain BasicSR or of an earlier version), hence no curves.'
        )
    elif not any(history.validation.values()):  # a set without metrics is recorded as well
        page.problems.append('The record holds no validation (val.metrics, val.val_freq), hence no curves of metrics.')
    page.pictures = _pictures(options['datasets'], folder, page)
    if page.pictures and generalist:
        _add_generalist(options, page, say)
    elif page.pictures:
        page.notes.append('The generalist is not shown; `pdd report --generalist` upscales the images with it.')
    _add_scores(options['datasets'], metrics, page, say)
    return page


def _read_options(folder: Path) -> dict[str, Any]:
    """The options of a run, with absolute paths of its images and weights."""
    file = max(folder.glob('*.yml'), key=lambda p: p.stat().st_mtime)
    options = load_options(file)
    for key in ('datasets', 'val', 'train', 'path', 'network_g', 'network_teacher'):
        options[key] = options.get(key) or {}
        if not isinstance(options[key], dict):
            found = type(options[key]).__name__
            raise DataError(where=f'{shown(file)}: {key}', expected='a section', found=found)
    folder = folder.resolve()
    # experiments/NAME below the folder that the run was started in; a folder moved elsewhere: the current one
    root = folder.parent.parent if folder.parent.name == 'experiments' else Path.cwd()
    return {key: _located(value, root) for key, value in options.items()}


def _located(value: Any, root: Path, key: str = '') -> Any:
    if isinstance(value, dict):
        return {k: _located(v, root, str(k)) for k, v in value.items()}
    if isinstance(value, str):
        path = root / os.path.expanduser(value)
        may_be_file = key == 'path' or key.endswith('weights') or key.startswith('pretrain_network')
        # values of the same keys may also be names (``imagenet``)
        return str(path) if key in _DATAROOTS or (may_be_file and path.is_file()) else value
    return value


# ---------------------------------------------------------------- curves
def _curves(history: RunHistory, metrics: Mapping[str, Mapping[str, Any]]) -> list[Curve]:
    curves = []
    for name in dict.fromkeys(name for dataset in history.validation.values() for name in dataset):
        series = {d: _points(values[name]) for d, values in history.validation.items() if name in values}
        # a run may have been continued with other metrics
        curves.append(Curve(name, series, unit_of(name), better(metrics[name]) if name in metrics else None))
    for name, values in history.losses.items():
        points = _points(values)
        averaged = max(math.ceil(len(points) / MAX_POINTS), 1)
        groups = [np.mean(points[i : i + averaged], axis=0) for i in range(0, len(points), averaged)]
        note = f'Each point is the mean of {averaged} recorded values.' if averaged > 1 else ''
        curves.append(Curve(name, {'training': [(float(x), float(y)) for x, y in groups]}, group='training', note=note))
    return curves


def _points(values: Mapping[int, float]) -> list[tuple[float, float]]:
    return [(float(iteration), value) for iteration, value in sorted(values.items())]


# ---------------------------------------------------------------- images
def _pictures(datasets: Mapping[str, Any], folder: Path, page: Page) -> list[Picture]:
    """The validation images with what the first and the last validation made of them."""
    saved = _saved(folder / SAVED)
    if not saved:
        page.problems.append(
            f'There are no images: {SAVED}/ is empty. Set val.save_img: true and val.val_freq in the options.'
        )
        return []
    iterations = sorted({i for images in saved.values() for i in images})
    chosen = sorted({iterations[0], iterations[-1]})
    if len(iterations) > len(chosen):
        page.notes.append(
            f'Images were saved at {len(iterations)} iterations; those of the first ({chosen[0]}) and the last '
            f'({chosen[-1]}) are shown.'
        )
    pictures: dict[tuple[str, str], Picture] = {}
    for dataset, key, section in _validation_sets(datasets):
        for name, lq, gt in _images_of_set(key, section, page):
            # of sets that share names each has a folder of its own
            place = next((p for p in ((dataset, name), ('', name)) if p in saved), None)
            if place is None or place in pictures:
                continue
            outputs = [Output(f'iteration {i}', f'iteration {i}', saved[place][i]) for i in chosen if i in saved[place]]
            picture = make_picture(name, dataset, lq, gt, outputs, page.problems) if outputs else None
            if picture:
                pictures[place] = picture
    lost = sorted('/'.join(filter(None, place)) for place in set(saved) - set(pictures))
    if lost:
        page.problems.append(
            f'{len(lost)} of {len(saved)} images in {SAVED}/ are not shown, for no LR image of that name and size was '
            f'found in the validation sets: {some_of(lost)}'
        )
    return list(pictures.values())


def _saved(folder: Path) -> dict[tuple[str, str], dict[int, Path]]:
    """Set and image -> iteration -> file, of ``visualization/[SET/]IMAGE/IMAGE_ITERATION.png``; set '': not known."""
    out: dict[tuple[str, str], dict[int, Path]] = {}
    for path in sorted(folder.rglob('*.png')):
        name, _, iteration = path.stem.rpartition('_')
        if name == path.parent.name and iteration.isdecimal():
            of_set = path.parent.parent.relative_to(folder).as_posix()
            out.setdefault(('' if of_set == '.' else of_set, name), {})[int(iteration)] = path
    return out


def _validation_sets(datasets: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Name, key and section of each validation set."""
    for key, section in datasets.items():
        if key.startswith('val') and isinstance(section, dict):
            yield str(section.get('name') or key), key, section


def _images_of_set(key: str, dataset: Mapping[str, Any], page: Page) -> Iterator[tuple[str, Location, Location | None]]:
    """Name, LR and HR file of each image of a validation set; BasicSR saves under the name of the LR file."""
    given = [option for option in _DATAROOTS if dataset.get(option) is not None]
    try:
        folders = {o: ImageFolder(Path(str(dataset[o])), f'datasets.{key}.{o}') for o in given}
    except MissingFileError as error:
        page.problems.append(f'Images are not shown: {error}')
        return
    lr, hr = map(folders.get, _DATAROOTS)
    for name, lq in lr.exact.items() if lr else ():
        yield lq.stem, lq, hr.find(name) if hr else None


def _add_generalist(opt: Mapping[str, Any], page: Page, say: Callable[[str], None]) -> None:
    """The teacher of a static run, else the network that the run has started from, on every image."""
    say(f'Upscaling {len(page.pictures)} images with the generalist (left out without --generalist) ...')
    letter = 'teacher' if opt['train'].get('teacher') == 'static' and opt['network_teacher'] else 'g'
    path, network = opt['path'], opt[f'network_{letter}']
    weights = path.get(f'pretrain_network_{letter}')
    way_out = 'Leave --generalist out.'
    if not network or not (weights or network.get('path')):  # `SpandrelNet` brings its weights
        what = f'the options name no weights that the run has started from (path.pretrain_network_{letter})'
        raise MissingFileError(what, where='--generalist', way_out=way_out)
    key = path.get(f'param_key_{letter}', 'params')
    upscale = network_upscaler(network, weights, key, where=f'path.pretrain_network_{letter}')
    for i, picture in enumerate(page.pictures):
        made = _swapped(upscale(_swapped(next(v for v in picture.versions if v.role == 'lr').load())))
        expected, found = (f'{w} x {h}' for h, w in ((picture.height, picture.width), made.shape[:2]))
        if found != expected:
            what = 'the output of the generalist has the wrong size'
            raise DataError(what, where=picture.name, expected=expected, found=found, way_out=way_out)
        version = Version(GENERALIST, 'row', partial(np.asarray, made), row=GENERALIST)
        at = sum(v.role in ('lr', 'bicubic') for v in picture.versions)
        page.pictures[i] = replace(picture, versions=(*picture.versions[:at], version, *picture.versions[at:]))


def _swapped(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) with the channels in reverse order: BGR of RGB, and the other way round."""
    return np.ascontiguousarray(image[..., ::-1])


# ---------------------------------------------------------------- scores
def _add_scores(
    datasets: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Any]], page: Page, say: Callable[[str], None]
) -> None:
    """Values per image, which the record does not have: computed from the saved images with their set's own metrics."""
    names, pictures = [m.name for m in page.metrics], list(_measurable(datasets, metrics, page.pictures))
    if not pictures:
        if page.pictures:
            page.notes.append('There are no scores per image: they need val.metrics, and most of these HR images.')
        return
    say(f'Measuring {len(pictures)} images: {", ".join(names)} ...')
    scores: dict[tuple[str, str], dict[str, list[Value]]] = {}
    broken: dict[str, dict[str, str]] = {}  # metric -> image -> why it has no number for it
    for picture, own in pictures:
        last = picture.versions[-1]
        truth = _swapped(last.load()) if last.role == 'hr' else None
        for version in picture.versions:
            if version.role in ('bicubic', 'row'):
                missing: dict[str, str] = {}
                image = _swapped(version.load())
                values = [_value(own[n], image, truth, n, missing) if n in own else None for n in names]
                scores.setdefault((version.row or BICUBIC, picture.dataset), {})[picture.name] = values
                for name, reason in missing.items():
                    broken.setdefault(name, {})[f'{picture.name} ({version.label})'] = reason
    for name, images in broken.items():
        first, reason = next(iter(images.items()))
        page.problems.append(f'{name} was not computed for {len(images)} images, the first is {first}: {reason}')
    # interpolation and the generalist before the iterations
    keys = sorted(scores, key=lambda key: (key[0] != BICUBIC, key[0] not in (BICUBIC, GENERALIST)))
    page.rows = [Row(name, dataset, [Seed(scores[name, dataset], seed='')]) for name, dataset in keys]
    rows = list(dict.fromkeys(name for name, _ in keys))
    page.baseline = GENERALIST if GENERALIST in rows else next(iter(rows[-2:-1]), None)
    page.notes.append(
        f'Scores are computed from the saved images of {len(pictures)} pictures with the metrics of the run'
        + (f'; gains are over "{page.baseline}".' if page.baseline else '.')
    )


def _measurable(
    datasets: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Any]], pictures: Sequence[Picture]
) -> Iterator[tuple[Picture, dict[str, dict[str, Any]]]]:
    """Pictures that their set's metrics can measure, with those that can: without the HR image some cannot."""
    sets = _validation_sets(datasets)
    of_set = {name: metrics_of_set(metrics, section, f'datasets.{key}') for name, key, section in sets}
    for picture in pictures:
        has_truth = picture.versions[-1].role == 'hr'
        own = {n: o for n, o in of_set[picture.dataset].items() if has_truth or not needs_ground_truth(o)}
        if own:
            yield picture, own


def _value(
    options: Mapping[str, Any], image: np.ndarray, truth: np.ndarray | None, name: str, missing: dict[str, str]
) -> Value:
    """A value, or None where the metric `name` cannot be computed; `missing` then says why."""
    try:
        value, reason = value_of(options, image, truth)
    except (PDDError, OSError, RuntimeError, KeyError, TypeError, ImportError) as error:
        value, reason = math.nan, ' '.join(str(error).split())[:300]
    if not reason:
        return value
    missing[name] = reason
    return None
