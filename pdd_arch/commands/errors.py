"""How a command ends: one line for whatever went wrong, a traceback with ``--debug``."""

import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence

import torch

from pdd_arch.distributed import processes
from pdd_arch.errors import PDDError
from pdd_arch.utils.signals import Stopped

EXIT_ERROR = 1
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
EXIT_INTERRUPTED = 130  # as a shell reports Ctrl-C


def user_error(error: BaseException) -> str | None:
    """The message for the user if the error is theirs to mend, else None.

    An error from a data worker arrives with the worker's traceback as its message; only the last line counts.
    """
    if isinstance(error, PDDError):
        lines = [line for line in str(error).strip().splitlines() if line]
        last = lines[-1] if lines else type(error).__name__
        marker = 'Error: '
        if len(lines) > 1 and last.startswith('pdd_arch.errors.') and marker in last:
            return last.split(marker, 1)[1]
        return ' '.join(lines) if lines else last
    if processes.is_lost(error):
        return 'another process of this run has ended; see its message. Continue all with --auto_resume.'
    if isinstance(error, RuntimeError) and 'DataLoader worker' in str(error):
        return (
            f'{str(error).splitlines()[0]} The system may have run out of memory: lower datasets.train.'
            'num_worker_per_gpu or use cache: none. Continue with --auto_resume.'
        )
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f' at {error.filename}' if error.filename else ' (log, curves or images)'
        return (
            f'{error.strerror}{where}. Free space or make the folder writable, then start again (a training run: with '
            '--auto_resume).'
        )
    if isinstance(error, torch.OutOfMemoryError):
        return (
            f'out of memory on the GPU: {str(error).splitlines()[0]} Reduce datasets.train.gt_size or '
            'batch_size_per_gpu (training), or the size of the images (validation).'
        )
    return None


def _unexpected(error: Exception) -> str:
    """The line for a bug, or for wrong input that nobody has thought of; where it happened goes to the run's log."""
    logger = logging.getLogger('basicsr')
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(logger.makeRecord('basicsr', logging.ERROR, '', 0, traceback.format_exc(), (), None))
    reason = ' '.join(str(error).split())[:500]
    return f'unexpected {type(error).__name__}: {reason}. This may be a bug; --debug shows where it happened.'


def run(program: str, main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Run a command and turn its outcome into an exit status."""
    try:
        return main(argv)
    except Stopped as stopped:
        sys.stderr.write(f'{program}: {stopped.message}\n')
        return stopped.code
    except KeyboardInterrupt:
        sys.stderr.write(f'{program}: interrupted\n')
        return EXIT_INTERRUPTED
    except Exception as e:
        if '--debug' in argv:
            raise
        message = user_error(e) or _unexpected(e)
        rank = os.environ.get('RANK', '0')
        who = program if rank == '0' else f'{program} [rank {rank}]'
        sys.stderr.write(f'{who}: error: {message}\n')
        return EXIT_ERROR
