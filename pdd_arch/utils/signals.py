"""Signals: finish the iteration, write a state, exit with a code that says so; a second one ends at once."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

# Ctrl-C; what batch systems and `kill` send; SLURM's early warning (``#SBATCH --signal=USR1@120``); a closed terminal.
# Windows has the first two only
_NAMES = ('SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGHUP')
SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
# torchrun passes on a Ctrl-C that the terminal has already sent to all: the same signal, at most seconds later
_ECHO_SECONDS = 5.0
# how long a data worker may outlive the main process
_WATCH_SECONDS = 2.0
# macOS cannot tell who has sent a signal
_TELLS_SENDER = hasattr(signal, 'sigtimedwait')


class Stopped(SystemExit):
    """The run ended because it was asked to. Uncaught, it ends the program with 128 + signal, as shells report it.

    Attributes:
        said: whether the user has been shown the message.
    """

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(128 + signum)
        self.message = f'stopped by {signal.Signals(signum).name} {message}'
        self.said = False


class StopRequest:
    """Remembers that a run was asked to stop, until its loop is between two iterations.

    Attributes:
        signum: the signal that arrived; 0: none.
        deferred: whether the loop will check it. Otherwise (during start-up) a signal ends the program at once.
    """

    def __init__(self) -> None:
        self.signum, self.deferred, self._since = 0, False, 0.0
        # set by torchrun for the processes that it starts
        self._launcher = os.getppid() if 'TORCHELASTIC_RUN_ID' in os.environ else None

    def receive(self, signum: int, _frame: FrameType | None = None) -> None:
        """Signal handler."""
        first, self.signum = not self.signum, self.signum or signum
        if not self.deferred:
            # also remembered, since Python drops exceptions where it starts a process
            raise Stopped(signum, 'before the first iteration; no state was written')
        if first:
            self._since = time.monotonic()
            announce(signum, 'finishing this iteration, then writing a state. Once more: stop at once.')
            return
        if self._launcher is not None and time.monotonic() - self._since < _ECHO_SECONDS:
            return
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)

    def watch_launcher(self) -> None:
        """Ask for a stop when torchrun, which started this process, is gone without a word."""
        if self._launcher is not None and os.getppid() != self._launcher and not self.signum:
            self.signum = signal.SIGHUP


def announce(signum: int, text: str) -> None:
    """Say on standard error what a signal leads to, from within its handler."""
    # not through the file object: the handler may have interrupted a write to it in the middle of a line
    os.write(2, f'\n{signal.Signals(signum).name}: {text}\n'.encode())


@contextlib.contextmanager
def signals_to(request: StopRequest) -> Iterator[None]:
    """Hand :data:`SIGNALS` to `request` within the block; signals that are ignored already (nohup) stay ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {s: signal.getsignal(s) for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN}
    try:
        for signum in before:
            signal.signal(signum, request.receive)
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextlib.contextmanager
def signals_blocked_for_new_processes() -> Iterator[None]:
    """Start data workers within this block: they inherit that signals are blocked, in all of their threads.

    A library may start a thread of its own as soon as a process is forked, and SIGTERM goes to any thread that does not
    block it; any signal may arrive before a worker has said that it leaves them to the main process.
    """
    if not _TELLS_SENDER:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_the_main_process() -> None:
    """For data workers: a terminal or a batch system signals all processes, while the loop still needs its next batch.

    A worker ends when the main process tells it to or is gone, even one that was still starting at that moment, which
    torch's own watch does not notice. It has to be started within :func:`signals_blocked_for_new_processes`.
    """
    ignored = [signum for signum in SIGNALS if signum != signal.SIGTERM]
    for signum in ignored:
        signal.signal(signum, signal.SIG_IGN)  # one that has arrived is dropped
    parent = multiprocessing.parent_process()
    if parent is None or not _TELLS_SENDER:
        return
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ignored)
    threading.Thread(target=_end_with, args=(parent.pid,), name='watch of the main process', daemon=True).start()


def _end_with(main_process: int) -> None:
    # only a thread that waits for the signal learns who has sent it
    while os.getppid() == main_process:
        received = signal.sigtimedwait({signal.SIGTERM}, _WATCH_SECONDS)
        if received is not None and received.si_pid == main_process:
            break
    os._exit(0)
