"""Training and measuring the cells of a table; what is finished is not done again."""

import json
import os
import queue
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import cv2
import numpy as np
import yaml
from basicsr.utils import tensor2img

from pdd_arch.data.paired_check import check_paired_dataset
from pdd_arch.errors import DataError, OptionError, PDDError
from pdd_arch.evaluation import Measure, bicubic_upscaler, network_upscaler, registered_measure
from pdd_arch.metrics.availability import availability
from pdd_arch.tables.plan import Cell
from pdd_arch.utils.atomic import whole_file
from pdd_arch.version import __version__

CELLS, OUTPUTS, LISTS = 'cells', 'outputs', 'option_files'


def commit() -> str:
    """Version of this package, with the commit where it is a checkout."""
    folder = Path(__file__).resolve().parents[1]
    found = subprocess.run(
        ['git', 'describe', '--always', '--dirty', '--abbrev=12'], cwd=folder, capture_output=True, text=True
    )
    return f'{__version__} {found.stdout.strip()}'.strip() if found.returncode == 0 else __version__


def result_file(out: Path, cell: Cell) -> Path:
    """Where a cell's numbers are."""
    return out / CELLS / f'{cell.name}.json'


def read_result(out: Path, cell: Cell) -> dict | None:
    """A cell's numbers, or None when it has to be measured.

    Raises:
        DataError: they are of other options.
    """
    file = result_file(out, cell)
    if not file.exists():
        return None
    result = json.loads(file.read_text(encoding='utf-8'))
    if result['fingerprint'] != cell.fingerprint:
        raise DataError(
            f'{file}: measured with other options than the list has now. Delete it to measure again, or choose another '
            'folder with -o.'
        )
    missing = result.get('not_computed', {})
    if missing:
        metrics = plain(cell.options['val']['metrics'])
        now, _ = availability({name: metrics[name] for name in missing})
        return None if now else result  # what was missing has been fetched meanwhile
    return result


def run_cells(todo: Sequence[Cell], out: Path, gpus: Sequence[str], jobs: int, say=print) -> list[str]:
    """Train and measure cells.

    Args:
        todo: cells.
        out: folder of the table.
        gpus: devices that training runs are spread over; empty: as they come.
        jobs: training runs at a time.
        say: called with a line for each finished cell.

    Returns:
        A line for each cell that failed; the others are finished.
    """
    for name in (CELLS, OUTPUTS, LISTS):
        (out / name).mkdir(parents=True, exist_ok=True)
    devices: queue.SimpleQueue = queue.SimpleQueue()
    for i in range(jobs):
        devices.put(gpus[i % len(gpus)] if gpus else None)
    failed = []
    with ThreadPoolExecutor(jobs) as pool:
        trainings = {pool.submit(_weights, cell, out, devices): cell for cell in todo}
        for training in as_completed(trainings):
            cell = trainings[training]
            try:
                weights, command = training.result()
                measure(cell, weights, command, out)
                say(f'{cell.dataset}: {cell.row.name}' + ('' if cell.seed is None else f', seed {cell.seed}'))
            except (PDDError, OSError) as e:  # the other rows do not depend on this one
                failed.append(f'{cell.name}: {" ".join(str(e).split())}')
    return failed


def _weights(cell: Cell, out: Path, devices: queue.SimpleQueue) -> tuple[Path | None, str]:
    """Weights to be measured, trained if need be, and the command that made them."""
    row, path = cell.row, cell.options.get('path', {})
    if row.method == 'bicubic':
        return None, 'bicubic interpolation'
    if row.method == 'start':
        if path.get('pretrain_network_g') is None:
            raise OptionError(f'{cell.name}: method start, but the option file has no path.pretrain_network_g')
        return path['pretrain_network_g'], f'weights {path["pretrain_network_g"]}'
    if row.checkpoint is not None:
        return row.checkpoint, f'weights {row.checkpoint}'
    # a run of its own for other options: continuing one with them would end with a mixture of both
    run_name = f'{cell.name}_{cell.fingerprint[:8]}'
    opt = {**cell.options, 'name': run_name}
    opt['logger'] = {**opt.get('logger', {}), 'save_checkpoint_freq': opt['train']['total_iter']}
    # measured here afterwards, all rows alike
    opt['datasets'] = {k: v for k, v in opt['datasets'].items() if not k.startswith('val')}
    opt.pop('val', None)
    file = out / LISTS / f'{cell.name}.yml'
    file.write_text(yaml.safe_dump(opt, sort_keys=False), encoding='utf-8')
    final = Path('experiments') / run_name / 'models' / 'net_g_latest.pth'
    command = ['train', '-opt', os.path.relpath(file), '--auto_resume']
    shown = f'basicsr {shlex.join(command)}'
    finished = final.with_name('finished')
    if final.is_file() and finished.exists():
        return final, shown
    device = devices.get()
    try:
        environment = os.environ if device is None else {**os.environ, 'CUDA_VISIBLE_DEVICES': device}
        log = out / LISTS / f'{cell.name}.log'
        with log.open('w') as stream:
            ended = subprocess.run(
                [sys.executable, '-m', 'pdd_arch', *command], stdout=stream, stderr=subprocess.STDOUT, env=environment
            )
    finally:
        devices.put(device)
    if ended.returncode:
        last = [line for line in log.read_text(errors='replace').splitlines() if line.strip()][-1:]
        raise DataError(f'training failed: {"".join(last)} (see {log})')
    finished.touch()
    return final, shown


def plain(metrics: dict) -> dict:
    """``val.metrics`` without what is for printing."""
    return {name: {k: v for k, v in o.items() if k not in ('decimals', 'label')} for name, o in metrics.items()}


def measures_of(metrics: dict) -> list[Measure]:
    """Columns, out of ``val.metrics``; ``decimals`` and ``label`` are for printing."""
    own = plain(metrics)
    return [registered_measure(o.get('label', name), own[name], o.get('decimals', 4)) for name, o in metrics.items()]


def measure(cell: Cell, weights: Path | str | None, command: str, out: Path) -> dict:
    """Measure a cell on its validation pairs and write its result; outputs are kept as PNG.

    Image by image, so that a set of large photographs does not have to fit into memory. A metric that cannot be
    computed on this machine has None for its values, and the reason under ``not_computed``.
    """
    opt = cell.options
    metrics = opt['val']['metrics']
    can, reasons = availability(plain(metrics), fetch=True)
    measures = {m: measure for m, measure in zip(metrics, measures_of(metrics), strict=True) if m in can}
    key = opt['path'].get('param_key_g', 'params') if cell.row.method == 'start' else cell.row.param_key
    upscale = bicubic_upscaler(opt['scale']) if weights is None else network_upscaler(opt['network_g'], weights, key)
    folder = out / OUTPUTS / cell.name
    folder.mkdir(parents=True, exist_ok=True)
    scores = {}
    for name, lr, truth in validation_pairs(opt):
        output = upscale(lr)
        if not cv2.imwrite(str(folder / f'{name}.png'), output):
            raise DataError(f'{folder / name}.png: not written. Is the disk full, or the folder read-only?')
        scores[name] = [measures[m].compute(output, truth) if m in measures else None for m in metrics]
    result = {
        'fingerprint': cell.fingerprint,
        'scores': scores,
        'not_computed': reasons,
        'outputs': str(folder.relative_to(out)),
        'command': command,
        'commit': commit(),
    }
    file = result_file(out, cell)
    with whole_file(file) as partial:
        partial.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    return result


def validation_pairs(opt: dict) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, LR and ground truth, (H, W, 3) uint8 BGR, of the option file's first validation set, read by BasicSR."""
    from basicsr.data import build_dataset

    key = next(k for k in opt['datasets'] if k.startswith('val'))
    options = {**opt['datasets'][key], 'phase': 'val', 'scale': opt['scale']}
    check_paired_dataset(options, f'datasets.{key}')
    for item in build_dataset(options):
        yield Path(item['lq_path']).stem, tensor2img(item['lq']), tensor2img(item['gt'])
