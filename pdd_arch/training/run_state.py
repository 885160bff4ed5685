"""What BasicSR's training loop keeps in local variables, where the model, the loader and the command can see it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from pdd_arch.distributed import processes
from pdd_arch.utils.random_state import restore_random_state
from pdd_arch.utils.signals import Stopped, StopRequest

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from pdd_arch.models import PDDModel


@dataclass
class DataPosition:
    """How far the training has come in its data.

    Attributes:
        epoch: number of the epoch, from 0.
        samples: how many samples of the epoch the finished and current iterations were made of, over all processes.
    """

    epoch: int = 0
    samples: int = 0


@dataclass
class TrainingRun:
    """One run of BasicSR's ``train_pipeline``.

    Attributes:
        position: of the batch that was handed out last.
        started: whether the loop has begun, so that the position means something.
        resumed: where a resumed run continues; None for a fresh one.
        random: this process's generators to continue once the data loader stands, or None.
        notes: what was found while resuming, for the log that does not exist yet.
        model: once it is built.
        first_epoch, first_iteration: with which the loop begins.
        iteration: whose batch was handed out last; 0 before the first.
        batch_samples: samples of a batch, over all processes.
        total_iterations: of the whole run, 0 while unknown; its end gets a state as well, to go on from.
        pending_validation: iteration whose validation an interruption has prevented, or None.
        val_loaders: of the validation sets.
        close_loader: ends the workers of the training set.
        lock: open for as long as the run holds its folder.
        log_folder: where the log will be.
        seed_drawn: whether ``manual_seed`` was drawn at this start, not given; a resumed run takes the state's.
        tb_logger: the writer of curves, if there is one.
        data_identity: names the training images; None when unknown.
        stop: whether somebody asked the run to end.
    """

    position: DataPosition = field(default_factory=DataPosition)
    started: bool = False
    resumed: DataPosition | None = None
    random: dict | None = None
    notes: list[str] = field(default_factory=list)
    model: 'PDDModel | None' = None
    first_epoch: int = 0
    first_iteration: int = 1
    iteration: int = 0
    batch_samples: int = 0
    total_iterations: int = 0
    pending_validation: int | None = None
    val_loaders: list = field(default_factory=list)
    close_loader: Callable[[], None] | None = None
    seed_drawn: bool = False
    lock: IO | None = None
    log_folder: str | None = None
    tb_logger: 'SummaryWriter | None' = None
    stop: StopRequest = field(default_factory=StopRequest)
    data_identity: str | None = None

    def samples_to_skip(self, epoch: int) -> int:
        """Samples of an epoch, over all processes, that an earlier part of the run has consumed."""
        return self.resumed.samples if self.resumed is not None and self.resumed.epoch == epoch else 0

    def begin_epoch(self, epoch: int) -> None:
        """Called when the loader of an epoch starts, before its first batch."""
        self.position, self.started = DataPosition(epoch, self.samples_to_skip(epoch)), True
        if self.random is not None:
            # after the loader's start, which draws a seed; before the first batch, which may draw in this process
            restore_random_state(self.random)
            self.random = None

    def validate_what_was_saved(self) -> None:
        """Make up for the validation that an interruption kept from following the state that the run resumes from."""
        pending, self.pending_validation = self.pending_validation, None
        if pending is not None and self.model is not None:
            for loader in self.val_loaders:
                self.model.validation(loader, pending, self.tb_logger, self.model.opt['val']['save_img'])

    def between_iterations(self) -> None:
        """Called when an iteration is finished (logged, saved, validated) and before the next batch is taken.

        Raises:
            Stopped: a signal has arrived, here or in another process; a state has been written.
        """
        finished = self.finished_iteration
        if 0 < self.total_iterations <= finished and hasattr(self.model, 'iteration'):
            # here and not with the last networks: until then BasicSR's loop has begun another epoch
            self.model.save(self.position.epoch, finished)
        self.stop.watch_launcher()
        signum = processes.largest(self.stop.signum)
        if signum:
            self.save_and_stop(signum)

    def stop_during_validation(self) -> None:
        """Called before each validation image of a run of one process: who is asked to stop may not have long.

        The state says that the validation is still to be done.

        Raises:
            Stopped: a signal has arrived; a state has been written.
        """
        if self.stop.signum:
            self.save_and_stop(self.stop.signum)

    @property
    def finished_iteration(self) -> int:
        """The last one that is wholly done, when asked between two; 0: none."""
        # BasicSR's loop takes a batch more than it trains with; models of BasicSR do not count
        return getattr(self.model, 'iteration', min(self.iteration, self.total_iterations))

    def save_and_stop(self, signum: int) -> None:
        """Write the state of the finished iteration, and end.

        Raises:
            Stopped: always.
        """
        finished = self.finished_iteration
        if self.model is None or not finished:
            raise Stopped(signum, 'before the first iteration; no state was written')
        self.model.save(self.position.epoch, finished)
        raise Stopped(signum, f'after iteration {finished}, whose state is saved. Continue with --auto_resume.')


_current = TrainingRun()


def current_run() -> TrainingRun:
    """The run of this process."""
    return _current


def begin_run() -> TrainingRun:
    """Forget an earlier run of this process and start with a fresh record."""
    global _current
    _current = TrainingRun()
    return _current
