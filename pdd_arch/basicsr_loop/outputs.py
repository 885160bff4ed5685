"""Folders, logs and curves of a training run."""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from basicsr.utils import MessageLogger, get_root_logger

from pdd_arch.distributed import processes
from pdd_arch.errors import OptionError
from pdd_arch.options.yaml_file import with_key
from pdd_arch.training.comparison import recorded_options
from pdd_arch.training.run_state import BasicSROptions, TrainingRun


def mkdir_and_rename(path: str) -> None:
    """Make a folder; an existing one is renamed to ``PATH_archived_TIME``, with a number where that name is taken."""
    if os.path.exists(path):
        archived = f'{path}_archived_{time.strftime("%Y%m%d_%H%M%S")}'
        names = itertools.chain([archived], (f'{archived}_{number}' for number in itertools.count(2)))
        target = next(name for name in names if not os.path.exists(name))
        sys.stdout.write(f'Path already exists. Rename it to {target}\n')
        os.rename(path, target)
    os.makedirs(path, exist_ok=True)


def copy_option_file(run: TrainingRun, opt_file: str, folder: str) -> None:
    """Copy an option file, with the modules that were imported, below a comment with the time and the command line."""
    if processes.rank():
        return
    command = ' '.join(' '.join(sys.argv).split())  # a line break in a value would end the comment
    text = Path(opt_file).read_text(encoding='utf-8-sig')
    if run.imports:
        text = with_key(text, 'import', run.imports)
    copy = f'# GENERATE TIME: {time.asctime()}\n# CMD:\n# {command}\n\n{text}'
    Path(folder, os.path.basename(opt_file)).write_text(copy, encoding='utf-8', errors='surrogateescape')


def time_of_a_new_log(get_time_str: Callable[[], str], run: TrainingRun) -> str:
    """The time in whole seconds, once no log has it in its name."""
    while run.log_folder and list(Path(run.log_folder).glob(f'train_*_{get_time_str()}.log')):
        time.sleep(0.05)
    return get_time_str()


def init_tb_logger(run: TrainingRun, log_dir: str) -> Any:
    """TensorBoard's writer, on rank 0; it drops curves beyond the state that the run resumes from."""
    if processes.rank() == 0:
        from torch.utils.tensorboard import SummaryWriter  # optional

        run.tb_logger = SummaryWriter(log_dir=log_dir, purge_step=run.first_iteration)
    return run.tb_logger


def init_wandb_logger(opt: BasicSROptions) -> None:
    """Let Weights & Biases follow TensorBoard's curves, on rank 0."""
    if processes.rank() != 0:
        return
    import wandb  # optional

    given = {k: v for k, v in opt['logger']['wandb'].items() if v is not None}
    resume_id = given.pop('resume_id', None)
    given = {'name': opt['name'], **given, 'config': json.loads(recorded_options(opt)), 'sync_tensorboard': True}
    try:
        run = wandb.init(id=resume_id, resume='allow' if resume_id else 'never', **given)
    except Exception as e:  # no network, no login, no such project
        raise OptionError(
            f'wandb cannot start ({type(e).__name__}: {" ".join(str(e).split())[:200]})',
            where='logger.wandb',
            way_out='Log in with wandb, set logger.wandb.mode: offline, or set logger.wandb.project: ~',
        ) from e
    get_root_logger().info(f'Use wandb logger with id={run.id}; project={given["project"]}.')


class RecordedMessages(MessageLogger):
    """BasicSR's log lines, each also an event of the record."""

    def __init__(self, run: TrainingRun, *args: Any) -> None:
        super().__init__(*args)
        self._record = run.record

    def __call__(self, log_vars: dict[str, Any]) -> None:
        if self._record is not None:
            losses = dict(log_vars)
            self._record.add(
                'step',
                iteration=losses.pop('iter'),
                epoch=losses.pop('epoch'),
                learning_rates=losses.pop('lrs'),
                step_seconds=losses.pop('time'),
                data_seconds=losses.pop('data_time'),
                losses=losses,
            )
        super().__call__(log_vars)
