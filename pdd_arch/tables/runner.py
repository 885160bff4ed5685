"""Training and measuring the cells of a table; what is finished is not done again."""

import math
import os
import queue
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import cv2
import yaml
from basicsr.data import build_dataset
from basicsr.utils import tensor2img

from pdd_arch.data.paired_check import check_paired_dataset
from pdd_arch.errors import DataError, OptionError, PDDError
from pdd_arch.inference.methods import bicubic_upscaler, network_upscaler
from pdd_arch.metrics.availability import availability, better
from pdd_arch.metrics.images import device
from pdd_arch.metrics.measuring import Image, Measure, registered_measure, value_of
from pdd_arch.tables.plan import Cell, Printing, plain, validation_set
from pdd_arch.training.subprocesses import Trainings
from pdd_arch.utils.atomic import write_json, writing
from pdd_arch.utils.files import read_json
from pdd_arch.utils.resources import PACKAGE
from pdd_arch.utils.signals import Stopped, StopRequest, signals_to
from pdd_arch.version import __version__

CELLS, OUTPUTS, LISTS = 'cells', 'outputs', 'option_files'


def commit(package: Path = PACKAGE) -> str:
    """Version of this package, with the commit where `package` is a checkout of its own repository.

    A repository that encloses an installed package tells nothing about its code.
    """

    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(['git', *arguments], cwd=package, capture_output=True, text=True)
        except OSError:  # there is no git
            return ''
        return done.stdout.strip() if done.returncode == 0 else ''

    own = git('ls-files', '--full-name', 'version.py') == f'{package.resolve().name}/version.py'
    return f'{__version__} {git("describe", "--always", "--dirty", "--abbrev=12")}'.strip() if own else __version__


def read_result(out: Path, cell: Cell) -> dict[str, Any] | None:
    """A cell's numbers, or None when it has to be measured.

    Raises:
        DataError: the numbers are damaged, or were measured with other options.
    """
    file = out / CELLS / f'{cell.name}.json'
    if not file.exists():
        return None
    result = read_json(file, 'Delete it to measure again.')
    if result.get('fingerprint') != cell.fingerprint:
        raise DataError(
            'measured with other options than the list has now',
            where=str(file),
            way_out='Delete it to measure again (a finished run with the same training options is kept), or choose '
            'another folder with -o.',
        )
    now, _ = availability({name: cell.metrics[name] for name in result.get('not_computed', {})})
    return None if now else result  # what was missing has been fetched meanwhile


class _Interruption(StopRequest):
    """Ends the table at once: what is finished is on disk."""

    def receive(self, signum: int, _frame: object = None) -> None:
        """Signal handler."""
        raise Stopped(signum, 'before the end; finished rows are kept, and the same command continues')


def run_cells(todo: Sequence[Cell], out: Path, gpus: Sequence[str], jobs: int, say: Callable[[str], None]) -> list[str]:
    """Train and measure cells, `jobs` training runs at a time, spread over `gpus` (none: a run chooses its own).

    Returns:
        A line for each cell that failed; the others are finished.

    Raises:
        Stopped: by a signal. The runs have been asked to stop, have written their states and ended.
    """
    for name in (CELLS, OUTPUTS, LISTS):
        with writing(out / name):
            (out / name).mkdir(parents=True, exist_ok=True)
    devices: queue.SimpleQueue[str | None] = queue.SimpleQueue()  # that no training run uses now
    for i in range(jobs):
        devices.put(gpus[i % len(gpus)] if gpus else None)
    failed, runs, pool = [], Trainings(), ThreadPoolExecutor(jobs)
    with signals_to(_Interruption()):
        try:
            trainings = {pool.submit(_weights, cell, out, devices, runs): cell for cell in todo}
            for training in as_completed(trainings):
                cell = trainings[training]
                try:
                    weights, command = training.result()
                    measure(cell, weights, command, out)
                    say(f'{cell.dataset}: {cell.row.name}' + ('' if cell.seed is None else f', seed {cell.seed}'))
                except Exception as e:  # the other rows do not depend on this one
                    kind = '' if isinstance(e, PDDError | OSError) else f'unexpected {type(e).__name__}: '
                    failed.append(f'{cell.name}: {kind}{" ".join(str(e).split())}')
        finally:
            runs.stop()  # none is left but after a signal
            pool.shutdown(cancel_futures=True)
    return failed


def _weights(
    cell: Cell, out: Path, devices: queue.SimpleQueue[str | None], runs: Trainings
) -> tuple[Path | str | None, str]:
    """Weights to be measured (None: interpolation), trained if need be, and the command that made them."""
    method, given = cell.row.method, cell.row.checkpoint
    if method == 'bicubic':
        return None, 'bicubic interpolation'
    if method == 'start':
        given = cell.options.get('path', {}).get('pretrain_network_g')
        if given is None:
            raise OptionError('method start, but the option file has no path.pretrain_network_g', where=cell.name)
    if given is not None:
        return given, f'weights {given}'
    opt = {**cell.training_options, 'name': cell.run_name}
    opt['logger'] = {**opt.get('logger', {}), 'save_checkpoint_freq': opt['train']['total_iter']}
    file = out / LISTS / f'{cell.name}.yml'
    file.write_text(yaml.safe_dump(opt, sort_keys=False), encoding='utf-8')
    final = Path('experiments') / cell.run_name / 'models' / 'net_g_latest.pth'
    command = ['train', '-opt', os.path.relpath(file), '--auto_resume']
    shown = f'basicsr {shlex.join(command)}'
    finished = final.with_name('finished')
    if final.is_file() and finished.exists():
        return final, shown
    log = out / LISTS / f'{cell.name}.log'
    on = devices.get()
    try:
        status = runs.run(command, log, on)
    finally:
        devices.put(on)
    if status:
        last = [line for line in log.read_text(errors='replace').splitlines() if line.strip()][-1:]
        raise DataError(f'training failed: {"".join(last)} (see {log})')
    finished.touch()
    return final, shown


def measures_of(metrics: Mapping[str, Mapping[str, Any]]) -> list[Measure]:
    """The columns of a table, of ``val.metrics``."""
    own = {name: {**o, 'better': better(o)} for name, o in plain(metrics).items()}
    printing = {name: Printing.model_validate(o) for name, o in metrics.items()}
    return [registered_measure(p.label or name, own[name], p.decimals) for name, p in printing.items()]


def measure(cell: Cell, weights: Path | str | None, command: str, out: Path) -> None:
    """Measure a cell on its validation pairs, image by image, and write its result; outputs are kept as PNG.

    A metric that cannot be computed on this machine has None for its values, and the reason under ``not_computed``;
    where it gives no number for an image, the images are named under ``undefined``.
    """
    opt, metrics = cell.options, cell.metrics
    can, reasons = availability(metrics, fetch=True)
    if weights is None:
        upscale = bicubic_upscaler(opt['scale'])
    else:
        key, where, key_option = cell.row.param_key, f'rows: {cell.row.name}: checkpoint', 'param_key of that row'
        if cell.row.method == 'start':
            key = opt['path'].get('param_key_g', 'params')
            where, key_option = 'path.pretrain_network_g', 'path.param_key_g'
        target = 'cpu' if opt.get('num_gpu') == 0 else device()
        upscale = network_upscaler(opt['network_g'], weights, key, target, where, key_option)
    folder = out / OUTPUTS / cell.name
    folder.mkdir(parents=True, exist_ok=True)
    scores: dict[str, list[float | None]] = {}
    undefined: dict[str, list[str]] = {}  # metric -> images, and why
    for name, lr, truth in validation_pairs(opt):
        if name in scores:
            what = f'two validation images are called {name}'
            raise DataError(what, where='datasets', way_out='Give them different names.')
        output, file = upscale(lr), str(folder / f'{name}.png')
        if not cv2.imwrite(file, output):
            raise DataError('not written', where=file, way_out='Is the disk full, or the folder read-only?')
        scores[name] = []
        for m in metrics:
            value, reason = value_of(metrics[m], output, truth) if m in can else (math.nan, '')
            scores[name].append(None if math.isnan(value) else value)
            if reason:
                undefined.setdefault(m, []).append(f'{name}: {reason}')
    result = {
        'fingerprint': cell.fingerprint,
        'scores': scores,
        'not_computed': reasons,
        'undefined': {
            m: f'metrics.{m}: no number for {len(images)} of {len(scores)} images of {cell.title} (the first: '
            f'{images[0]}), so there is no mean'
            for m, images in undefined.items()
        },
        'outputs': str(folder.relative_to(out)),
        'command': command,
        'commit': commit(),
    }
    write_json(out / CELLS / f'{cell.name}.json', result)


def validation_pairs(opt: Mapping[str, Any]) -> Iterator[tuple[str, Image, Image]]:
    """Name, LR and ground truth, (H, W, 3) uint8 BGR, of the option file's first paired validation set, by BasicSR."""
    key, section = validation_set(opt)
    options = {**section, 'phase': 'val', 'scale': opt['scale']}
    check_paired_dataset(options, f'datasets.{key}')
    for item in build_dataset(options):
        yield Path(item['lq_path']).stem, tensor2img(item['lq']), tensor2img(item['gt'])
