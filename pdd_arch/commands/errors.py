"""How a command ends: one line for whatever went wrong, a traceback with ``--debug``."""

import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from pdd_arch.commands.foreign_errors import explained
from pdd_arch.errors import PDDError
from pdd_arch.utils.origin import origin_of
from pdd_arch.utils.signals import Stopped

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130  # as a shell reports Ctrl-C


def as_user_error(error: Exception) -> PDDError:
    """What a user is told of an error: a foreign one that they can mend, or a bug, is put into our terms.

    Where a bug, or an error of other code, happened goes to the run's log.
    """
    explanation = explained(error)
    if isinstance(error, PDDError):
        return explanation or error
    if explanation is None or origin_of(error).owner in ('user', 'basicsr'):
        _log_traceback(error)
    return explanation or PDDError(
        ' '.join(str(error).split())[:500],
        where=f'unexpected {type(error).__name__}',
        way_out='This may be a bug; --debug shows where it happened.',
    )


def _log_traceback(error: Exception) -> None:
    for handler in logging.getLogger('basicsr').handlers:
        if isinstance(handler, logging.FileHandler):
            text = ''.join(traceback.format_exception(error))
            handler.handle(logging.getLogger('basicsr').makeRecord('basicsr', logging.ERROR, '', 0, text, (), None))


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
    """What is said of an error that ends a program, on one line; before it, of the user's own code, its traceback."""
    if isinstance(error, Stopped):
        return f'{program}: {error.message}\n'
    if not isinstance(error, Exception):
        return f'{program}: interrupted\n'
    message = ' '.join(str(as_user_error(error)).split())
    rank = os.environ.get('RANK', '0')
    who = program if rank == '0' else f'{program} [rank {rank}]'
    own = '' if isinstance(error, PDDError) else origin_of(error).traceback
    return f'{own}{who}: error: {message}\n'


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
