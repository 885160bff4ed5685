"""Training runs as processes of their own, which end when the command that started them does."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

PROGRAM = ('-m', 'pdd_arch')


def start_training(
    arguments: Sequence[str], log: Path, device: str | None = None, folder: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start ``python -m pdd_arch`` in a session of its own: Ctrl-C reaches it through this process alone.

    What it prints goes to `log` (OSError where that cannot be written); `device` is its ``CUDA_VISIBLE_DEVICES``.
    """
    environment = os.environ if device is None else {**os.environ, 'CUDA_VISIBLE_DEVICES': device}
    with log.open('w') as stream:
        return subprocess.Popen(
            [sys.executable, *PROGRAM, *arguments],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )


class Trainings:
    """Trainings that several threads run at the same time, and that can be asked to stop together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started: list[subprocess.Popen[bytes]] = []
        self._stopping = False

    def run(self, arguments: Sequence[str], log: Path, device: str | None) -> int:
        """The exit status of :func:`start_training`, after its end; InterruptedError after :meth:`stop`."""
        with self._lock:
            if self._stopping:
                raise InterruptedError('stopped')
            process = start_training(arguments, log, device)
            self._started.append(process)
        return process.wait()

    def stop(self) -> None:
        """Start no more, and ask the running ones to write a state and end."""
        with self._lock:
            self._stopping = True
            for process in self._started:
                process.terminate()  # does nothing to one that has ended
