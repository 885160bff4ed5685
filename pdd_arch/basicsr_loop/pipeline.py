"""The whole training pipeline of BasicSR, bound to a run: how it starts, is stopped, fails and ends."""

import contextlib
import functools
import logging
import re
import sys
from collections.abc import Callable, Iterator

import basicsr.data
import basicsr.train
import basicsr.utils.misc
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger

from pdd_arch.basicsr_loop.data_loading import FollowedPrefetcher, PositionedSampler, create_loaders, start_worker
from pdd_arch.basicsr_loop.models import build_model_of_run
from pdd_arch.basicsr_loop.outputs import (
    RecordedMessages,
    copy_option_file,
    init_tb_logger,
    init_wandb_logger,
    mkdir_and_rename,
    time_of_a_new_log,
)
from pdd_arch.basicsr_loop.replacing import replaced
from pdd_arch.basicsr_options import parse_options
from pdd_arch.distributed import processes
from pdd_arch.errors import NumbersError, PDDError, WeightsError
from pdd_arch.training.resume import load_resume_state
from pdd_arch.training.run_state import TrainingRun
from pdd_arch.utils.signals import Stopped, signals_to

#: of a metric in the log of a validation
_BEST = re.compile(r'\s*Best: \S+ @ .* iter$', re.MULTILINE)


def explained_if_uncaught(
    pipeline: Callable[[str], None], if_uncaught: Callable[[BaseException], None]
) -> Callable[[str], None]:
    @functools.wraps(pipeline)
    def explained(root_path: str) -> None:
        try:
            pipeline(root_path)
        except BaseException as e:
            if_uncaught(e)
            raise

    return explained


def interruptible(train_pipeline: Callable[[str], None]) -> Callable[[str], None]:
    """The pipeline, ended by a signal only between two iterations and with a state written.

    Whatever else ends it between two iterations (data that cannot be read, a killed data worker, a full disk under the
    curves) leaves a state as well, if that can be written.

    Raises:
        Stopped: a `SystemExit` whose code is 128 + the signal.
    """

    @functools.wraps(train_pipeline)
    def pipeline(root_path: str) -> None:
        run = TrainingRun()
        status, error = 'failed', None
        try:
            with signals_to(run.stop), _one_line_for_a_lost_log(), _no_false_warning(run), bound_to(run):
                train_pipeline(root_path)
            status = 'finished'
        except Stopped:
            status = 'stopped'
            processes.close()  # all processes stop together
            raise
        except Exception as e:
            error = e
            _rescue(run, e)
            raise
        finally:
            if run.close_loader is not None:
                run.close_loader()
            if run.tb_logger is not None:
                with contextlib.suppress(OSError):  # a full disk has been reported
                    run.tb_logger.close()  # its last lines are still in memory
            if run.record is not None:
                run.record.end(run.finished_iteration, status, error)
            if run.lock is not None:
                run.lock.close()

    return pipeline


def _rescue(run: TrainingRun, error: Exception) -> None:
    """Save the state of the last whole iteration, unless the failure has made that impossible."""
    # several processes would have to agree on it, and one of them is in trouble
    in_step = getattr(run.model, 'in_step', run.in_step)
    if run.model is None or processes.world_size() > 1 or in_step or not run.finished_iteration:
        return
    if isinstance(error, WeightsError | NumbersError):
        return
    if run.iteration > run.finished_iteration:  # its batch was taken, and nothing came of it
        run.position.samples -= run.batch_samples
    with contextlib.suppress(PDDError):
        run.model.save(run.position.epoch, run.finished_iteration)
        get_root_logger().info(
            f'The state of iteration {run.finished_iteration} is saved; continue with --auto_resume.'
        )


def _one_line_for_a_lost_log() -> contextlib.AbstractContextManager[None]:
    """A log file that can no longer be written costs one line, not a traceback for every message."""
    lost: set[str] = set()

    def handle_error(self: logging.FileHandler, record: logging.LogRecord) -> None:
        if self.baseFilename not in lost:
            sys.stderr.write(f'warning: the log {self.baseFilename} cannot be written: {sys.exc_info()[1]}\n')
        lost.add(self.baseFilename)

    return replaced([(logging.FileHandler, 'handleError', handle_error)])


def without_best_results(test_pipeline: Callable[[str], None]) -> Callable[[str], None]:
    """The pipeline, whose log has no best results: of one validation they are its own, at the iteration ``NAME``."""

    @functools.wraps(test_pipeline)
    def pipeline(root_path: str) -> None:
        with _log_filtered_by(_take_best_out):
            test_pipeline(root_path)

    return pipeline


def _take_best_out(record: logging.LogRecord) -> bool:
    if str(record.msg).startswith('Validation '):
        record.msg = _BEST.sub('', record.msg)
    return True


@contextlib.contextmanager
def _log_filtered_by(passes: Callable[[logging.LogRecord], bool]) -> Iterator[None]:
    """Within the block BasicSR's log has only what passes."""
    logger = logging.getLogger('basicsr')
    logger.addFilter(passes)
    try:
        yield
    finally:
        logger.removeFilter(passes)


def _no_false_warning(run: TrainingRun) -> contextlib.AbstractContextManager[None]:
    """BasicSR's loop warns of several validation sets at each validation, whatever the model."""

    def is_true(record: logging.LogRecord) -> bool:
        return not (str(record.msg).startswith('Multiple validation datasets') and isinstance(run.model, SRModel))

    return _log_filtered_by(is_true)


def bound_to(run: TrainingRun) -> contextlib.AbstractContextManager[None]:
    """Within the block BasicSR's pipeline works on `run`."""
    loop = basicsr.train
    of_loop = {
        'parse_options': functools.partial(parse_options, run=run),
        'copy_opt_file': functools.partial(copy_option_file, run),
        'load_resume_state': load_resume_state,
        'mkdir_and_rename': mkdir_and_rename,
        'get_time_str': functools.partial(time_of_a_new_log, loop.get_time_str, run),
        'init_wandb_logger': init_wandb_logger,
        'init_tb_logger': functools.partial(init_tb_logger, run),
        'create_train_val_dataloader': functools.partial(create_loaders, loop.create_train_val_dataloader),
        'EnlargedSampler': functools.partial(PositionedSampler, run),
        'CPUPrefetcher': functools.partial(FollowedPrefetcher, loop.CPUPrefetcher, run),
        'CUDAPrefetcher': functools.partial(FollowedPrefetcher, loop.CUDAPrefetcher, run),
        'build_model': functools.partial(build_model_of_run, loop.build_model),
        'MessageLogger': functools.partial(RecordedMessages, run),
    }
    elsewhere = [
        (basicsr.utils.misc, 'mkdir_and_rename', mkdir_and_rename),
        (basicsr.data, 'worker_init_fn', start_worker),
    ]
    return replaced([*((loop, name, value) for name, value in of_loop.items()), *elsewhere])
