"""BasicSR's ``train_pipeline`` with signals, a record of the run, and an orderly end."""

import functools
from collections.abc import Callable

from basicsr.utils.dist_util import master_only

from pdd_arch.training import processes
from pdd_arch.training.run import begin_run, current_run
from pdd_arch.training.stopping import Stopped, signals_to


def supervised(train_pipeline: Callable[[str], None]) -> Callable[[str], None]:
    """The pipeline, ended by a signal only between two iterations and with a state written.

    Raises:
        Stopped: a `SystemExit` whose code is 128 + the signal.
    """

    @functools.wraps(train_pipeline)
    def pipeline(root_path: str) -> None:
        run = begin_run()
        try:
            with signals_to(run.stop):
                train_pipeline(root_path)
        except Stopped:
            processes.close()  # all processes stop together
            raise
        finally:
            if run.close_loader is not None:
                run.close_loader()
            if run.tb_logger is not None:
                run.tb_logger.close()  # its last lines are still in memory
            begin_run()  # let go of the model

    return pipeline


@master_only
def init_tb_logger(log_dir: str):
    """As BasicSR's; curves of a resumed run go on from its state, and what a killed run drew beyond it is dropped."""
    from torch.utils.tensorboard import SummaryWriter

    run = current_run()
    run.tb_logger = SummaryWriter(log_dir=log_dir, purge_step=run.first_iteration)
    return run.tb_logger
