"""BasicSR's ``train_pipeline`` with signals, a record of the run, and an orderly end."""

import contextlib
import functools
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only

from pdd_arch.distributed import processes
from pdd_arch.errors import NumbersError, PDDError, WeightsError
from pdd_arch.training.run_state import TrainingRun, begin_run, current_run
from pdd_arch.utils.signals import Stopped, signals_to


def supervised(train_pipeline: Callable[[str], None]) -> Callable[[str], None]:
    """The pipeline, ended by a signal only between two iterations and with a state written.

    Whatever else ends it between two iterations (data that cannot be read, a killed data worker, a full disk under the
    curves) leaves a state as well, if that can be written.

    Raises:
        Stopped: a `SystemExit` whose code is 128 + the signal.
    """

    @functools.wraps(train_pipeline)
    def pipeline(root_path: str) -> None:
        run = begin_run()
        try:
            with signals_to(run.stop), _one_line_for_a_lost_log():
                train_pipeline(root_path)
        except Stopped:
            processes.close()  # all processes stop together
            raise
        except Exception as e:
            _rescue(run, e)
            raise
        finally:
            if run.close_loader is not None:
                run.close_loader()
            if run.tb_logger is not None:
                with contextlib.suppress(OSError):  # a full disk has been reported
                    run.tb_logger.close()  # its last lines are still in memory
            if run.lock is not None:
                run.lock.close()
            begin_run()  # let go of the model

    return pipeline


def _rescue(run: TrainingRun, error: Exception) -> None:
    """Save the state of the last whole iteration, unless the failure has made that impossible."""
    # several processes would have to agree on it, and one of them is in trouble
    in_step = getattr(run.model, 'in_step', True)
    if processes.world_size() > 1 or in_step or not run.finished_iteration:
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


@contextlib.contextmanager
def _one_line_for_a_lost_log() -> Iterator[None]:
    """A log file that cannot be written any more costs one line, not a traceback for every message."""
    plain, lost = logging.FileHandler.handleError, []

    def handle_error(self: logging.FileHandler, record: logging.LogRecord) -> None:
        if not lost:
            sys.stderr.write(f'warning: the log {self.baseFilename} cannot be written: {sys.exc_info()[1]}\n')
        lost.append(record)

    logging.FileHandler.handleError = handle_error
    try:
        yield
    finally:
        logging.FileHandler.handleError = plain


def log_time(plain: Callable[[], str]) -> Callable[[], str]:
    """BasicSR's ``get_time_str`` for the name of a log, waiting for one that no log has: it counts whole seconds."""

    @functools.wraps(plain)
    def get_time_str() -> str:
        run = current_run()
        while run.log_folder and list(Path(run.log_folder).glob(f'train_*_{plain()}.log')):
            time.sleep(0.05)
        return plain()

    return get_time_str


def mkdir_and_rename(path: str) -> None:
    """BasicSR's, which fails when it archived a folder of that name within the same second."""
    if os.path.exists(path):
        archived = f'{path}_archived_{time.strftime("%Y%m%d_%H%M%S")}'
        number, target = 1, archived
        while os.path.exists(target):
            number += 1
            target = f'{archived}_{number}'
        sys.stdout.write(f'Path already exists. Rename it to {target}\n')
        os.rename(path, target)
    os.makedirs(path, exist_ok=True)


def remembering(build_model: Callable[[dict], object]) -> Callable[[dict], object]:
    """BasicSR's ``build_model``; the model is known to the run, and what was found while resuming goes to the log."""

    @functools.wraps(build_model)
    def build(opt: dict) -> object:
        run = current_run()
        run.model = build_model(opt)
        for note in run.notes:
            get_root_logger().warning(note)
        return run.model

    return build


@master_only
def init_tb_logger(log_dir: str):
    """As BasicSR's; curves of a resumed run go on from its state, and what a killed run drew beyond it is dropped."""
    from torch.utils.tensorboard import SummaryWriter

    run = current_run()
    run.tb_logger = SummaryWriter(log_dir=log_dir, purge_step=run.first_iteration)
    return run.tb_logger
