"""BasicSR's logger before a run has one."""

import contextlib
import logging
from collections.abc import Iterator

from basicsr.utils.logger import initialized_logger


@contextlib.contextmanager
def logger_left_alone() -> Iterator[None]:
    """Undo a set-up of BasicSR's logger in the block: whoever asks first decides its log file, and that is the run."""
    known = set(initialized_logger)
    try:
        yield
    finally:
        for name in set(initialized_logger) - known:
            del initialized_logger[name]
            logger = logging.getLogger(name)
            for handler in list(logger.handlers):
                logger.removeHandler(handler)
