"""Python programs in processes of their own that need not import torch and BasicSR anew, which takes five seconds.

They are forked from a server process that has done it once. Tests of the import itself, and one test of each way to
start the commands, start a fresh interpreter instead.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_server = multiprocessing.get_context('forkserver')
_server.set_forkserver_preload(['pdd_arch.commands.basicsr_cli', 'pdd_arch.commands.pdd_cli', 'realesrgan'])


class Program:
    """``python ARGUMENTS``, ``-m MODULE ...`` or ``SCRIPT ...``, with the interface of `subprocess.Popen`.

    Args:
        folder: current directory of the program.
        output: file for all that it prints; otherwise it is collected, see `completed`.
        environment: variables that it has beside those of this process.
    """

    def __init__(
        self,
        *arguments: object,
        folder: Path | None = None,
        output: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.args = [str(argument) for argument in arguments]
        self._printed = [tempfile.NamedTemporaryFile(mode='r') for _ in range(0 if output else 2)]  # noqa: SIM115
        streams = [str(output.absolute())] * 2 if output else [file.name for file in self._printed]
        variables = {**os.environ, **(environment or {})}
        self._process = _server.Process(target=_run, args=(self.args, str(folder or Path.cwd()), variables, streams))
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._process.exitcode

    poll = returncode.fget

    def wait(self, timeout: float | None = None) -> int:
        """The exit status at its end; `subprocess.TimeoutExpired` where it has none after `timeout` seconds."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def terminate(self) -> None:
        """Send SIGTERM, unless it has ended."""
        if self.returncode is None:
            self._process.terminate()

    def completed(self, timeout: float = 170) -> subprocess.CompletedProcess[str]:
        """What it has printed and its exit status, at its end."""
        status = self.wait(timeout)
        return subprocess.CompletedProcess(self.args, status, *(file.read() for file in self._printed))


def python(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; see `Program`."""
    return Program(*arguments, **options).completed()


def _run(arguments: list[str], folder: str, variables: dict[str, str], streams: list[str]) -> None:
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)  # the default
    for number, name in enumerate(streams, 1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT), number)
    status = 0
    try:
        if arguments[0] == '-m':
            sys.argv[:] = arguments[1:]
            sys.path.insert(0, folder)
            runpy.run_module(arguments[1], run_name='__main__', alter_sys=True)
        else:
            sys.argv[:] = arguments
            script = Path(arguments[0]).absolute()
            sys.path.insert(0, str(script.parent))
            runpy.run_path(str(script), run_name='__main__')
    except SystemExit as e:
        status = e.code if isinstance(e.code, int) else int(e.code is not None)
        if isinstance(e.code, str):
            sys.stderr.write(f'{e.code}\n')
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
