"""Training runs as processes of their own, which end when the command that started them does."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

PROGRAM = ('-m', 'pdd_arch')


class Trainings:
    """Starts ``pdd_arch train`` processes and knows those that run, so that they can be asked to stop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopping = False

    def run(self, arguments: Sequence[str], log: Path, device: str | None, folder: Path | None = None) -> int:
        """Train; waits for the end.

        Args:
            arguments: of ``python -m pdd_arch``.
            log: file for what it prints.
            device: value of ``CUDA_VISIBLE_DEVICES``; None: as it is.
            folder: to run it in; None: the current one.

        Returns:
            The exit status.
        """
        environment = os.environ if device is None else {**os.environ, 'CUDA_VISIBLE_DEVICES': device}
        command = [sys.executable, *PROGRAM, *arguments]
        with log.open('w') as stream:
            with self._lock:
                if self._stopping:
                    raise InterruptedError('stopped')
                # a session of its own: Ctrl-C comes to it from here alone, and a second one would end it at once
                process = subprocess.Popen(
                    command,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=folder,
                    start_new_session=True,
                )
                self._running.add(process)
            try:
                return process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)

    def stop(self) -> None:
        """Start no more, and ask the running ones to write a state and end."""
        with self._lock:
            self._stopping = True
            for process in self._running:
                process.terminate()
