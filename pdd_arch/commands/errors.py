"""How a command ends: one line for whatever went wrong, a traceback with ``--debug``."""

import errno
import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import torch

from pdd_arch.distributed import processes
from pdd_arch.errors import PDDError
from pdd_arch.utils.signals import Stopped
from pdd_arch.utils.user_code import in_code_of_the_user
from pdd_arch.utils.user_modules import error_of_user_module
from pdd_arch.utils.wording import shown

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
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        named = [shown(name) for name in (error.filename2, error.filename) if name]
        return PDDError(
            'is a name too long for the file system', where=''.join(named[:1]), way_out='Choose a shorter one.'
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
            handler.handle(
                logger.makeRecord('basicsr', logging.ERROR, '', 0, ''.join(traceback.format_exception(error)), (), None)
            )
    place = in_code_of_the_user(error)
    cause = f'It comes from {place}' if place else 'This may be a bug'
    return of_user or PDDError(
        ' '.join(str(error).split())[:500],
        where=f'unexpected {type(error).__name__}',
        way_out=f'{cause}; --debug shows where it happened.',
    )


def explain_if_uncaught(error: BaseException) -> None:
    """Let a script of the user's own that nothing else catches `error` in end in one line, as the commands do.

    Its exit status is the one that Python gives it; ``--debug`` among its arguments leaves the traceback.
    """
    if isinstance(error, Stopped):  # of which no hook is told
        sys.stderr.write(_line(os.path.basename(sys.argv[0]), error))
        error.said = True
    if isinstance(error, SystemExit) or '--debug' in sys.argv:
        return
    error._of_pipeline = True  # type: ignore[attr-defined]
    if getattr(sys.excepthook, '__name__', '') != _say_in_one_line.__name__:
        hook = functools.partial(_say_in_one_line, sys.excepthook)
        sys.excepthook = functools.update_wrapper(hook, _say_in_one_line)


def _say_in_one_line(otherwise: Callable[..., None], kind: type[BaseException], error: BaseException, *at: Any) -> None:
    """For ``sys.excepthook``."""
    if getattr(error, '_of_pipeline', False):
        sys.stderr.write(_line(os.path.basename(sys.argv[0]), error))
    else:
        otherwise(kind, error, *at)


def _line(program: str, error: BaseException) -> str:
    """What is said of an error that ends a program."""
    if isinstance(error, Stopped):
        return f'{program}: {error.message}\n'
    if not isinstance(error, Exception):
        return f'{program}: interrupted\n'
    message = ' '.join(str(as_user_error(error)).split())
    rank = os.environ.get('RANK', '0')
    who = program if rank == '0' else f'{program} [rank {rank}]'
    return f'{who}: error: {message}\n'


def run(program: str, main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Run a command and turn its outcome into an exit status."""
    try:
        return main(argv)
    except (Stopped, KeyboardInterrupt, Exception) as e:
        if isinstance(e, Exception) and '--debug' in argv:
            raise
        if not (isinstance(e, Stopped) and e.said):
            sys.stderr.write(_line(program, e))
        if isinstance(e, Stopped):
            return e.code if isinstance(e.code, int) else EXIT_ERROR
        return EXIT_ERROR if isinstance(e, Exception) else EXIT_INTERRUPTED
