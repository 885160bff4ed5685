"""One training run: what BasicSR's loop keeps in local variables, and what goes on around the loop."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from torch.utils.data import DataLoader

from pdd_arch.distributed import processes
from pdd_arch.features import FeatureNet
from pdd_arch.options.option_section import OptionSection
from pdd_arch.training.checkpoints import OpenCheckpoint
from pdd_arch.training.record import TrainingRecord
from pdd_arch.utils.locks import Lock
from pdd_arch.utils.random_state import RandomState, restore_random_state
from pdd_arch.utils.signals import Stopped, StopRequest
from pdd_arch.weights.checkpoints import OpenedWeights

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter  # optional, and slow to import


class TrainedModel(Protocol):
    """What a run needs of a BasicSR model."""

    opt: dict[str, Any]

    def save(self, epoch: int, current_iter: int) -> None: ...

    def validation(
        self, dataloader: DataLoader[Any], current_iter: int, tb_logger: 'SummaryWriter | None', save_img: bool = False
    ) -> None: ...


@dataclass
class DataPosition:
    """How far the training has come in its data."""

    epoch: int = 0
    #: of the epoch, that the finished and current iterations were made of, over all ranks
    samples: int = 0


@dataclass
class TrainingRun:
    """One run of BasicSR's ``train_pipeline``, or of a model that was built without it ("detached")."""

    position: DataPosition = field(default_factory=DataPosition)  # of the batch that was handed out last
    started: bool = False  # whether the loop has begun, so that the position means something
    resumed: DataPosition | None = None  # where a resumed run continues
    random: RandomState | None = None  # of this process, to be restored once the data loader has started
    notes: list[str] = field(default_factory=list)  # on resuming, for the log that does not exist yet
    model: TrainedModel | None = None
    first_epoch: int = 0
    first_iteration: int = 1
    iteration: int = 0  # whose batch was handed out last
    trained: int = 0  # the last iteration that a model has finished, where it does not count itself
    in_step: bool = False  # whether one is under way, so that networks and optimizers do not belong together
    validated: int | None = None  # the last iteration that was validated on all sets
    batch_samples: int = 0  # samples of a batch, over all ranks
    total_iterations: int = 0  # of the whole run, 0 while unknown
    pending_validation: int | None = None  # iteration whose validation an interruption has prevented
    val_loaders: list[DataLoader[Any]] = field(default_factory=list)
    close_loader: Callable[[], None] | None = None  # ends the workers of the training set
    lock: Lock | None = None  # held for as long as the run writes to its folder
    log_folder: str | None = None
    seed_drawn: bool = False  # whether ``manual_seed`` was not given; a resumed run takes the state's
    tb_logger: 'SummaryWriter | None' = None
    data_identity: str | None = None
    stop: StopRequest = field(default_factory=StopRequest)
    imports: list[str] = field(default_factory=list)  # of the option file and ``--import``, where the latter was given
    checkpoint: OpenCheckpoint | None = None  # that a model of BasicSR is saving
    record: TrainingRecord | None = None  # on rank 0, once the run's folder exists
    opened_weights: OpenedWeights = field(default_factory=OpenedWeights)  # read before the model is built
    feature_net: FeatureNet | None = None  # of the losses, where it was built before the model is
    conditions: dict[str, Any] | None = None  # measured for ``auto``, in this run or before the state it resumes from

    @property
    def finished_iteration(self) -> int:
        """The last iteration that is wholly done, when asked between two; 0: none."""
        # not the loop's own count, which goes on in the empty epochs at the end; models of BasicSR do not count
        return getattr(self.model, 'iteration', self.trained)

    @property
    def is_over(self) -> bool:
        """Whether all iterations are done, when asked between two."""
        return 0 < self.total_iterations <= self.finished_iteration

    def samples_to_skip(self, epoch: int) -> int:
        """Samples of an epoch, over all ranks, that an earlier part of the run has consumed."""
        return self.resumed.samples if self.resumed is not None and self.resumed.epoch == epoch else 0

    def saved_position(self) -> dict[str, Any]:
        """Where the run is in its data, as entries of a state; ``epoch`` only where the loop has begun."""
        if not self.started:
            return {'position': None}
        return {'epoch': self.position.epoch, 'position': asdict(self.position)}

    def begin_epoch(self, epoch: int) -> None:
        """Called when the loader of an epoch has started, before its first batch."""
        if not self.started and self.record is not None:
            origin = {'iteration': self.first_iteration - 1, 'epoch': self.first_epoch}
            self.record.add('start', **origin, total_iterations=self.total_iterations)
        self.position, self.started = DataPosition(epoch, self.samples_to_skip(epoch)), True
        if self.random is not None:
            # after the loader's start, which draws a seed; before the first batch, which may draw in this process
            restore_random_state(self.random)
            self.random = None

    def batch_taken(self, samples: int) -> None:
        """Called when the loop has taken a batch, which has so many samples over all ranks."""
        self.iteration += 1
        self.batch_samples = samples
        self.position.samples += samples

    def between_iterations(self) -> None:
        """Called when an iteration is finished (logged, saved, validated) and before the next batch is taken.

        Raises Stopped where a signal has arrived, on this rank or another; a state has been written.
        """
        self.stop.deferred = True
        if self.model is not None and self.pending_validation is not None:
            # an interruption kept it from following the state that the run resumes from
            pending, self.pending_validation = self.pending_validation, None
            for loader in self.val_loaders:
                self.model.validation(loader, pending, self.tb_logger, self.model.opt['val']['save_img'])
        if self.model is not None and self.is_over:  # the end gets a state as well, to go on from
            self.model.save(self.position.epoch, self.finished_iteration)
        self.stop.watch_launcher()
        signum = processes.largest(self.stop.signum)
        if signum:
            self._save_and_stop(signum)

    def stop_during_validation(self) -> None:
        """Called before each validation image when there is one process: who is asked to stop may not have long.

        Raises Stopped where a signal has arrived; a state, after which the validation is to be done, has been written.
        """
        if self.stop.signum:
            self._save_and_stop(self.stop.signum)

    def _save_and_stop(self, signum: int) -> None:
        finished = self.finished_iteration
        if self.model is None or not finished:
            raise Stopped(signum, 'before the first iteration; no state was written')
        self.model.save(self.position.epoch, finished)
        raise Stopped(signum, f'after iteration {finished}, whose state is saved. Continue with --auto_resume.')


class BasicSROptions(OptionSection):
    """BasicSR's option dictionary and the run that it belongs to.

    Deep copies share the run: BasicSR copies the options before it builds a model.
    """

    def __init__(self, options: Mapping[str, Any], run: TrainingRun) -> None:
        super().__init__(options)
        self.run = run

    def __deepcopy__(self, memo: dict[int, Any]) -> 'BasicSROptions':
        return BasicSROptions(deepcopy(dict(self), memo), self.run)
