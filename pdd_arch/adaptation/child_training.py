"""Runs a training in a process of its own, with one line of progress."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tqdm import tqdm

from pdd_arch.adaptation.workspace import Workspace
from pdd_arch.errors import OptionError, PDDError
from pdd_arch.training.record import RECORD, read_record
from pdd_arch.training.subprocesses import start_training
from pdd_arch.utils.atomic import writing
from pdd_arch.utils.locks import lock_folder
from pdd_arch.utils.signals import Stopped, StopRequest, announce, signals_to
from pdd_arch.utils.wording import shown

OUTPUT = 'adapt_output.txt'
_POLL_SECONDS = 0.5
_CONTINUE = 'Give the same command to continue.'
#: exit status of a process that the system has killed, as Python and as a shell report it
_KILLED = (-9, 137)


class TrainingFailed(PDDError):
    """The training ended with an error, or was killed."""


def checkpoints(workspace: Workspace, name: str) -> dict[int, Path]:
    """Networks that a run has saved, by iteration, in ascending order."""
    return _numbered((workspace.run_folder(name) / 'models').glob('net_g_*.pth'))


def _numbered(files: Iterable[Path]) -> dict[int, Path]:
    found = {int(number): file for file in files if (number := file.stem.rpartition('_')[2]).isdecimal()}
    return dict(sorted(found.items()))


def train(
    workspace: Workspace,
    name: str,
    iterations: int,
    on_checkpoint: Callable[[int, Path], None],
    label: str = 'adapting',
) -> None:
    """Run or continue a training, whose option file is in the workspace, until its end.

    `on_checkpoint` is called with iteration and file of the newest network, in this process, while training goes on.
    Raises Stopped where a signal arrived (a state is saved, if there was one), TrainingFailed where it failed or an
    earlier one is still running, DataError where its output cannot be written.
    """
    folder, log = workspace.run_folder(name), workspace.root / OUTPUT
    if (folder / 'models' / 'net_g_latest.pth').is_file():
        return  # written at the end only
    try:
        with lock_folder(folder) or contextlib.nullcontext():
            pass  # the training itself is going to hold it
    except OptionError:
        raise TrainingFailed(
            'a training that an earlier `pdd adapt` has started here is still at work',
            way_out='Wait until it has ended, or end it; then give the same command to continue.',
        ) from None
    request, before, size, started = _PassOn(), read_record(folder), 0, time.monotonic()
    seen, done = max(checkpoints(workspace, name), default=0), before.iteration
    with signals_to(request), tqdm(total=iterations, initial=done, desc=label, unit='step', disable=None) as bar:
        with writing(log):
            arguments = ['train', '-opt', workspace.option_file(name).name, '--auto_resume']
            process = request.process = start_training(arguments, log, folder=workspace.root)
        if request.signum:  # it arrived before there was a process to pass it on to
            process.terminate()
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_SECONDS)
                with contextlib.suppress(FileNotFoundError):  # a fresh start moves an earlier folder aside
                    grown = (folder / RECORD).stat().st_size
                    if grown != size:  # read again only when there is something new
                        size = grown
                        bar.update(max(read_record(folder).iteration - bar.n, 0))
                found = checkpoints(workspace, name)
                newest = max(found, default=0)
                if newest > seen:
                    seen = newest
                    on_checkpoint(newest, found[newest])
                    _prune_states(folder)
                    if bar.disable:
                        pace = (time.monotonic() - started) / max(newest - done, 1)
                        left = tqdm.format_interval(pace * (iterations - newest))
                        sys.stderr.write(f'{label}: step {newest} of {iterations}, {left} left\n')
        finally:
            if process.poll() is None:  # something failed here: the training must not outlive this process
                process.terminate()
                process.wait()
    if request.signum:
        raise Stopped(request.signum, f'while training. {_CONTINUE}')
    if process.returncode:
        end = read_record(folder).end or {}
        told = end.get('error') if end != before.end else None
        raise _failure(told if isinstance(told, dict) else {}, process.returncode, log)


class _PassOn(StopRequest):
    """Passes signals on to a training, which saves its state and ends; a second one ends it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.deferred = True
        self.process: subprocess.Popen[bytes] | None = None

    def receive(self, signum: int, _frame: object = None) -> None:
        first, self.signum = not self.signum, self.signum or signum
        if first:
            announce(signum, 'the training finishes its step and saves its state. Once more: stop at once.')
        if self.process is not None:
            self.process.terminate()


def _prune_states(folder: Path) -> None:
    """Leave the newest two states: each is larger than its network, and nobody goes back further."""
    for old in list(_numbered((folder / 'training_states').glob('*.state')).values())[:-2]:
        old.unlink(missing_ok=True)


def _failure(error: Mapping[str, str], status: int, log: Path) -> TrainingFailed:
    """What a user of `pdd adapt` is told of a training that failed.

    `error` holds the fields of the error at the end of the record, none where the training was killed before that.
    """
    kind = error.get('kind', '')
    if kind in ('OutOfMemoryError', 'MemoryError') or (not error and status in _KILLED):
        how = 'ran out of memory' if error else 'was killed, as a rule by the system for want of memory'
        return TrainingFailed(
            f'the training {how}',
            way_out='Close other programs and give the same command to continue, or start anew with a smaller --batch '
            'and --overwrite.',
        )
    if error:
        fields = {'where': kind} | {k: error[k] for k in ('what', 'where', 'expected', 'found') if k in error}
        mended = 'Put that right; then give the same command to continue.'
        unstable = 'Start anew with --overwrite and a smaller --inter-weight.'
        return TrainingFailed(**fields, way_out=unstable if kind == 'NumbersError' else mended)
    lines = log.read_text('utf-8', 'replace').split('\n') if log.is_file() else []
    last = next((f' and the line "{line.strip()}"' for line in reversed(lines) if line.strip()), '')
    return TrainingFailed(
        f'the training ended with status {status}{last}', way_out=f'{shown(log)} has all that it printed. {_CONTINUE}'
    )
