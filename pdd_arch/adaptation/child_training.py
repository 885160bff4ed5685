"""Runs training in a process of its own, with one line of progress."""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tqdm import tqdm

from pdd_arch.adaptation.workspace import Workspace
from pdd_arch.errors import PDDError
from pdd_arch.training.subprocesses import Trainings
from pdd_arch.utils.atomic import writing
from pdd_arch.utils.signals import Stopped, StopRequest, signals_to
from pdd_arch.utils.wording import shown

__all__ = ['TrainingFailed', 'candidates', 'checkpoints', 'train']

OUTPUT = 'adapt_output.txt'
_ITERATION = re.compile(r'\[epoch:\s*\d+, iter:\s*([\d,]+), lr:')
_CHECKPOINT = re.compile(r'net_g_(\d+)\.pth$')
# the line that ends a command of BasicSR, and the advice in it that is for its own users
_ERROR = re.compile(r'basicsr(?: \[rank \d+\])?: error: (.*)')
_RESUMING = re.compile(
    r'Continue(?: all)? with --auto_resume\.|, then start again (?:with --auto_resume|\([^)]*resume\))'
)
_POLL_SECONDS = 0.5
_TAIL = 20_000  # bytes of a log that hold its last line of losses


class TrainingFailed(PDDError):
    """The training ended before its end."""


def checkpoints(workspace: Workspace, name: str) -> dict[int, Path]:
    """Networks that a run has saved, by iteration."""
    folder = workspace.run_folder(name) / 'models'
    found = {int(m[1]): file for file in folder.glob('net_g_*.pth') if (m := _CHECKPOINT.search(file.name))}
    return dict(sorted(found.items()))


def candidates(workspace: Workspace, name: str, opt: Mapping) -> dict[int, Path]:
    """Those of `checkpoints` that a run without interruption has as well: a stop saves one where it happens to be."""
    every, last = opt['logger']['save_checkpoint_freq'], opt['train']['total_iter']
    return {k: path for k, path in checkpoints(workspace, name).items() if k % every == 0 or k == last}


def train(
    workspace: Workspace,
    name: str,
    iterations: int,
    on_checkpoint: Callable[[int, Path], None],
    label: str = 'adapting',
) -> None:
    """Run or continue a training until its end.

    Args:
        workspace: whose folder it runs in; the option file is there.
        name: of the run.
        iterations: of it.
        on_checkpoint: called for the newest network when there is one, in this process, while training goes on.
        label: of the line of progress.

    Raises:
        Stopped: a signal came; the training has saved its state, if it had one.
        TrainingFailed: it ended otherwise.
        DataError: its output cannot be written.
    """
    if (workspace.run_folder(name) / 'models' / 'net_g_latest.pth').is_file():
        return  # written at the end only
    trainings, outcome = Trainings(), []
    request = _Passing(trainings)
    arguments = ['train', '-opt', workspace.option_file(name).name, '--auto_resume']
    log = workspace.root / OUTPUT

    def work() -> None:
        try:
            outcome.append(trainings.run(arguments, log, None, workspace.root))
        except Exception as error:  # shown by the thread that waits
            outcome.append(error)

    thread = threading.Thread(target=work)
    seen, done = max(checkpoints(workspace, name), default=0), _iteration(workspace, name)
    started = time.monotonic()
    with (
        signals_to(request),
        tqdm(total=iterations, initial=done, desc=label, unit='step', disable=None) as bar,
    ):
        thread.start()
        try:
            while thread.is_alive():
                thread.join(_POLL_SECONDS)
                now = _iteration(workspace, name)
                bar.update(max(now - bar.n, 0))
                newest, path = next(reversed(checkpoints(workspace, name).items()), (0, None))
                if newest > seen and path is not None:
                    seen = newest
                    on_checkpoint(newest, path)
                    _prune_states(workspace, name)
                    if bar.disable:
                        left = _time_left(time.monotonic() - started, newest - done, iterations - newest)
                        sys.stderr.write(f'{label}: step {newest} of {iterations}{left}\n')
        finally:
            if thread.is_alive():  # something failed here: the training must not outlive this process
                trainings.stop()
                thread.join()
    if request.signum:
        raise Stopped(request.signum, 'while training. Give the same command to continue.')
    if isinstance(outcome[0], Exception):
        with writing(log):
            raise outcome[0]
    if outcome[0]:
        raise TrainingFailed(_reason(log, outcome[0]))


class _Passing(StopRequest):
    """Hands signals on to the training, which saves its state and ends; a second one ends it at once."""

    def __init__(self, trainings: Trainings) -> None:
        super().__init__()
        self.deferred = True
        self._trainings = trainings

    def receive(self, signum: int, _frame: object = None) -> None:
        """Signal handler."""
        first, self.signum = not self.signum, self.signum or signum
        if first:
            text = 'the training finishes its step and saves its state. Once more: stop at once.'
            # not by the file object, which the code that was interrupted may be writing to
            os.write(2, f'\n{signal.Signals(signum).name}: {text}\n'.encode())
        # not here: what it takes may be held by the code that was interrupted
        threading.Thread(target=self._trainings.stop).start()


def _prune_states(workspace: Workspace, name: str) -> None:
    """Leaves the newest two states: each is larger than its network, and nobody goes back further."""
    states = (workspace.run_folder(name) / 'training_states').glob('*.state')
    for old in sorted((p for p in states if p.stem.isdecimal()), key=lambda p: int(p.stem))[:-2]:
        old.unlink(missing_ok=True)


def _time_left(seconds: float, steps: int, left: int) -> str:
    """For the lines that stand in for a bar."""
    if steps <= 0 or left <= 0:
        return ''
    return f', {tqdm.format_interval(seconds / steps * left)} left'


def _iteration(workspace: Workspace, name: str) -> int:
    """The last one that the newest log tells of."""
    logs = sorted(workspace.run_folder(name).glob('train_*.log'), key=lambda p: p.stat().st_mtime)
    if not logs:
        return 0
    with logs[-1].open('rb') as stream:
        stream.seek(max(logs[-1].stat().st_size - _TAIL, 0))
        found = _ITERATION.findall(stream.read().decode('utf-8', 'replace'))
    return int(found[-1].replace(',', '')) if found else 0


def _reason(log: Path, status: int) -> str:
    """What a training that failed has said, in words of `pdd adapt`."""
    lines = log.read_text('utf-8', 'replace').splitlines() if log.is_file() else []
    said = next((m[1] for line in reversed(lines) if (m := _ERROR.match(line))), '')
    if 'another run is writing' in said:
        return (
            'a training that an earlier `pdd adapt` has started here is still at work. Wait until it has ended, or end '
            'it; then give the same command to continue.'
        )
    if 'out of memory' in said or status in (-9, 137):
        what = (
            'ran out of memory' if 'out of memory' in said else 'was killed, as a rule by the system for want of memory'
        )
        return (
            f'the training {what}. Close other programs and give the same command to continue, or start anew with a '
            'smaller --batch and --overwrite.'
        )
    if said:
        return f'{_RESUMING.sub("", said).strip()} Then give the same command to continue.'
    return f'the training ended with status {status}; {shown(log)} says why. The same command continues it.'
