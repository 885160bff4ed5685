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
from pdd_arch.utils.user_modules import error_of_user_module

EXIT_ERROR = 1
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
EXIT_INTERRUPTED = 130  # as a shell reports Ctrl-C


def as_user_error(error: Exception) -> PDDError:
    """What a user is told of an error: a foreign one that they can mend, or a bug, is put into our terms.

    Where a bug happened goes to the run's log.
    """
    if isinstance(error, PDDError):
        return error
    first = str(error).partition('\n')[0]
    if processes.is_lost(error):
        return PDDError(
            'another process of this run has ended; see its message', way_out='Continue all with --auto_resume.'
        )
    if isinstance(error, RuntimeError) and 'DataLoader worker' in str(error):
        return PDDError(
            first,
            way_out='The system may have run out of memory: lower datasets.train.num_worker_per_gpu or set '
            'datasets.train.cache: none. Continue with --auto_resume.',
        )
    if isinstance(error, OSError) and error.errno in _DISK:
        return PDDError(
            f'{error.strerror} at {error.filename}' if error.filename else f'{error.strerror} (log, curves or images)',
            way_out='Free space or make the folder writable, then start again (a training run: with --auto_resume).',
        )
    if isinstance(error, torch.OutOfMemoryError):
        return PDDError(
            first,
            where='out of memory on the GPU',
            way_out='Reduce datasets.train.gt_size or datasets.train.batch_size_per_gpu (training), or set val.tile '
            '(validation).',
        )
    logger, of_user = logging.getLogger('basicsr'), error_of_user_module(error)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(logger.makeRecord('basicsr', logging.ERROR, '', 0, traceback.format_exc(), (), None))
    return of_user or PDDError(
        ' '.join(str(error).split())[:500],
        where=f'unexpected {type(error).__name__}',
        way_out='This may be a bug; --debug shows where it happened.',
    )


def run(program: str, main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Run a command and turn its outcome into an exit status."""
    try:
        return main(argv)
    except Stopped as stopped:
        sys.stderr.write(f'{program}: {stopped.message}\n')
        return stopped.code if isinstance(stopped.code, int) else EXIT_ERROR
    except KeyboardInterrupt:
        sys.stderr.write(f'{program}: interrupted\n')
        return EXIT_INTERRUPTED
    except Exception as e:
        if '--debug' in argv:
            raise
        message = ' '.join(str(as_user_error(e)).split())
        rank = os.environ.get('RANK', '0')
        who = program if rank == '0' else f'{program} [rank {rank}]'
        sys.stderr.write(f'{who}: error: {message}\n')
        return EXIT_ERROR
