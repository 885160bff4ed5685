"""A page out of the folder of a run: its log, its options, and the images that its validations have saved."""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from pdd_arch.errors import DataError, MissingFileError, PDDError
from pdd_arch.inference.methods import bicubic_upscaler, network_upscaler
from pdd_arch.metrics.availability import better
from pdd_arch.metrics.measuring import Measure, registered_measure
from pdd_arch.options.yaml_file import load_options
from pdd_arch.report.of_table import unit_of
from pdd_arch.report.page import Curve, Page, Picture, Version
from pdd_arch.report.pictures import ImageFolder, LmdbImage, Output, make_picture
from pdd_arch.report.run_log import RunLog, read_logs
from pdd_arch.report.scores import Metric, Row, Seed
from pdd_arch.utils.wording import shown

SAVED = 'visualization'
#: points of a curve; more of them are averaged
MAX_POINTS = 400
BICUBIC, GENERALIST = 'bicubic', 'generalist'

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Run:
    folder: Path
    options: dict
    root: Path  # where it was started: what the paths in the options are relative to


def is_run(folder: Path) -> bool:
    """Whether a folder looks like that of a training run."""
    return any(folder.glob('train_*.log')) and any(folder.glob('*.yml'))


def page_of_run(folder: Path, generalist: bool, say: Say) -> Page:
    """The page of a run.

    Args:
        folder: ``experiments/NAME``.
        generalist: also enlarge the validation images with the network that the run adapts.
        say: told about what takes time.

    Raises:
        PDDError: the folder is not that of a run, or something in it is broken.
    """
    run = _read_run(folder)
    train, val = run.options.get('train') or {}, run.options.get('val') or {}
    logs = sorted(folder.glob('train_*.log'), key=lambda p: p.stem[-15:])
    log = read_logs(logs, _whole(val.get('val_freq')), _whole(train.get('total_iter')))
    metrics = val.get('metrics') or {}
    page = Page(
        title=f'Run {run.options.get("name", folder.name)}',
        source=folder.resolve().name,
        metrics=[Metric(n, better(o), _decimals(n), unit_of(n)) for n, o in metrics.items()],
        rows=[],
        curves=_curves(log, metrics),
    )
    if not log.validation:
        page.problems.append('The log holds no validation metrics (val.metrics, val.val_freq), so there are no curves.')
    page.pictures = _pictures(run, page)
    with _directory(run.root):
        if generalist:
            _add_generalist(run, page, say)
        elif page.pictures:
            page.notes.append('The generalist is not shown; `pdd report --generalist` enlarges the images with it.')
        _add_scores(page, metrics, say)
    return page


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) and value >= 1 else None


def _decimals(metric: str) -> int:
    return 2 if 'psnr' in metric.lower() else 4


@contextmanager
def _directory(folder: Path) -> Iterator[None]:
    """The current directory for a while: options name weights relative to where the run was started."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _read_run(folder: Path) -> _Run:
    files = sorted(folder.glob('*.yml'), key=lambda p: p.stat().st_mtime)
    if not files or not any(folder.glob('train_*.log')):
        raise MissingFileError(
            f'{shown(folder)}: expected the folder of a run, with a copy of its options (*.yml) and its log '
            '(train_*.log); found neither or only one. Give experiments/NAME.'
        )
    options = load_options(files[-1])
    for key in ('datasets', 'val', 'train', 'path'):
        if not isinstance(options.get(key) or {}, dict):
            raise DataError(f'{shown(files[-1])}: {key}: expected a section, found {type(options[key]).__name__}')
    folder = folder.resolve()
    # experiments/NAME below the folder that the run was started in; a folder moved elsewhere: the current one
    root = folder.parent.parent if folder.parent.name == 'experiments' else Path.cwd()
    return _Run(folder, options, root)


# ---------------------------------------------------------------- curves
def _curves(log: RunLog, metrics: Mapping) -> list[Curve]:
    curves = []
    names = dict.fromkeys(name for dataset in log.validation.values() for name in dataset)
    for name in names:
        series = {d: sorted(values[name].items()) for d, values in log.validation.items() if name in values}
        curves.append(Curve(name, series, unit_of(name), better(metrics.get(name) or {})))
    for name, values in log.losses.items():
        points, averaged = _thinned(sorted(values.items()))
        note = f'Each point is the mean of {averaged} logged values.' if averaged > 1 else ''
        curves.append(Curve(name, {'training': points}, group='training', note=note))
    return curves


def _thinned(points: list[tuple[int, float]]) -> tuple[list[tuple[float, float]], int]:
    """At most `MAX_POINTS` points, means of so many neighbours each."""
    size = -(-len(points) // MAX_POINTS)
    if size <= 1:
        return points, 1
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(float(np.mean([x for x, _ in g])), float(np.mean([y for _, y in g]))) for g in groups], size


# ---------------------------------------------------------------- images
def _pictures(run: _Run, page: Page) -> list[Picture]:
    """The validation images with what the first and the last validation made of them."""
    saved = _saved(run.folder / SAVED)
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
    pictures, taken = [], set()
    for key, dataset in (run.options.get('datasets') or {}).items():
        if key.startswith('val') and isinstance(dataset, dict):
            for name, lq, gt in _validation_set(run, key, dataset, page):
                outputs = [
                    Output(f'iteration {i}', f'iteration {i}', saved[name][i])
                    for i in chosen
                    if i in saved.get(name, {})
                ]
                picture = name not in taken and make_picture(
                    name, str(dataset.get('name', key)), lq, gt, outputs, page.problems
                )
                if outputs and picture:
                    pictures.append(picture)
                    taken.add(name)
    lost = sorted(set(saved) - taken)
    if lost:
        page.problems.append(
            f'{len(lost)} of {len(saved)} images in {SAVED}/ are not shown, for no LR image of that name and size was '
            f'found in the validation sets: {", ".join(lost[:3])}{" ..." if len(lost) > 3 else ""}'
        )
    return pictures


def _saved(folder: Path) -> dict[str, dict[int, Path]]:
    """image -> iteration -> file, of ``visualization/IMAGE/IMAGE_ITERATION.png``."""
    out: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.glob('*/*.png')):
        match = re.fullmatch(re.escape(path.parent.name) + r'_(\d+)', path.stem)
        if match:
            out.setdefault(path.parent.name, {})[int(match[1])] = path
    return out


def _validation_set(
    run: _Run, key: str, dataset: Mapping, page: Page
) -> Iterator[tuple[str, Path | LmdbImage, Path | LmdbImage | None]]:
    """Name, LR and HR file of each image of a validation set; BasicSR saves under the name of the LR file."""
    folders = {}
    for option in ('dataroot_lq', 'dataroot_gt'):
        text = dataset.get(option)
        if text is None:
            continue
        path = run.root / Path(str(text)).expanduser()
        try:
            folders[option] = ImageFolder(path, f'datasets.{key}.{option}')
        except MissingFileError as error:
            page.problems.append(f'Images are not shown: {error}')
            return
    if 'dataroot_lq' not in folders:
        return
    hr = folders.get('dataroot_gt')
    for name, lq in folders['dataroot_lq'].exact.items():
        yield lq.stem, lq, hr.find(name) if hr else None


def _add_generalist(run: _Run, page: Page, say: Say) -> None:
    """The teacher of a static run, else the network that the run has started from, on every image."""
    if not page.pictures:
        return
    say(f'Enlarging {len(page.pictures)} images with the generalist (left out without --generalist) ...')
    upscale = _generalist(run.options)
    for i, picture in enumerate(page.pictures):
        lr = next(v for v in picture.versions if v.role == 'lr').load()
        made = upscale(np.ascontiguousarray(lr[..., ::-1]))[..., ::-1]
        if made.shape[:2] != (picture.height, picture.width):
            raise DataError(
                f'{picture.name}: the generalist makes {made.shape[1]} x {made.shape[0]} pixels of it, expected '
                f'{picture.width} x {picture.height}. Leave --generalist out.'
            )
        version = Version(GENERALIST, 'row', partial(np.ascontiguousarray, made), row=GENERALIST)
        at = next(n for n, v in enumerate(picture.versions) if v.role == 'row')
        versions = (*picture.versions[:at], version, *picture.versions[at:])
        page.pictures[i] = Picture(picture.name, picture.dataset, picture.width, picture.height, versions)


def _generalist(options: Mapping) -> Callable[[np.ndarray], np.ndarray]:
    path = options.get('path') or {}
    static = (options.get('train') or {}).get('teacher') == 'static' and options.get('network_teacher')
    letter = 'teacher' if static else 'g'
    network, weights = options.get(f'network_{letter}'), path.get(f'pretrain_network_{letter}')
    if network and (weights or network.get('path')):  # `SpandrelNet` brings its weights
        return network_upscaler(network, weights, path.get(f'param_key_{letter}', 'params'))
    raise MissingFileError(
        f'--generalist: the options name no weights that the run has started from (path.pretrain_network_{letter}), so '
        'there is no generalist. Leave --generalist out.'
    )


# ---------------------------------------------------------------- scores
def _measures(page: Page, metrics: Mapping) -> list[Measure]:
    return [registered_measure(m.name, dict(metrics[m.name]), m.decimals) for m in page.metrics]


def _add_scores(page: Page, metrics: Mapping, say: Say) -> None:
    """Values per image, which the log does not have: computed from the saved images with the run's own metrics."""
    pictures = [p for p in page.pictures if any(v.role == 'hr' for v in p.versions)]
    if not pictures or not page.metrics:
        if page.pictures:
            page.notes.append('There are no scores per image: they need HR images and val.metrics in the options.')
        return
    measures = _measures(page, metrics)
    say(f'Measuring {len(pictures)} images: {", ".join(m.name for m in measures)} ...')
    scores: dict[tuple[str, str], dict[str, list[float | None]]] = {}
    broken: dict[str, str] = {}
    for picture in pictures:
        truth = _bgr(next(v for v in picture.versions if v.role == 'hr').load())
        for version in picture.versions:
            if version.role == 'lr' and version.factor > 1:
                image = bicubic_upscaler(version.factor)(_bgr(version.load()))
                name = BICUBIC
            elif version.role == 'row':
                image, name = _bgr(version.load()), version.row
            else:
                continue
            values = [_value(m, image, truth, broken) for m in measures]
            scores.setdefault((name, picture.dataset), {})[picture.name] = values
    page.problems += [f'{name} was not computed: {reason}' for name, reason in broken.items()]
    order = [BICUBIC, GENERALIST]
    names = sorted(scores, key=lambda k: order.index(k[0]) if k[0] in order else len(order))
    page.rows = [Row(name, dataset, (Seed('', scores[name, dataset]),)) for name, dataset in names]
    present = [name for name, _ in names]
    page.baseline = next(
        (n for n in (GENERALIST, present[-2] if len(set(present)) > 2 else BICUBIC) if n in present), None
    )
    page.notes.append(
        f'Scores are computed from the saved images of {len(pictures)} pictures with the metrics of the run; gains are '
        f'over "{page.baseline}".'
    )


def _bgr(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2BGR)


def _value(measure: Measure, image: np.ndarray, truth: np.ndarray, broken: dict[str, str]) -> float | None:
    """A value, or None where the metric cannot be computed: the page says why, once."""
    if measure.name in broken:
        return None
    try:
        return measure.compute(image, truth)
    except (PDDError, OSError, RuntimeError, ValueError, KeyError, TypeError, ImportError) as error:
        broken[measure.name] = ' '.join(str(error).split())[:300]
        return None
