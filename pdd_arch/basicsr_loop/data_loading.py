"""How the loop gets its batches: the sampler, the loaders and the prefetchers of a run."""

import functools
import logging
import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import basicsr.data
from basicsr.data.data_sampler import EnlargedSampler
from torch.utils.data import DataLoader

from pdd_arch.data.positioned_index import PositionedIndex, positioned
from pdd_arch.distributed import processes
from pdd_arch.errors import OptionError
from pdd_arch.models.set_validation import give_own_folders
from pdd_arch.training.record import TrainingRecord
from pdd_arch.training.run_state import BasicSROptions, TrainingRun
from pdd_arch.utils.locks import lock_folder
from pdd_arch.utils.signals import leave_signals_to_the_main_process, signals_blocked_for_new_processes

_worker_init_fn = basicsr.data.worker_init_fn


class PositionedSampler(EnlargedSampler):
    """BasicSR's sampler, whose indices know their epoch and position, without those that the run has consumed.

    So a sample can be drawn from its position alone, whatever the number of workers. The indices stay integers:
    datasets that do not know of positions see no difference.
    """

    def __init__(self, run: TrainingRun, *args: Any) -> None:
        super().__init__(*args)
        self._run = run

    def __iter__(self) -> Iterator[PositionedIndex]:
        start = self._run.samples_to_skip(self.epoch) // self.num_replicas
        return positioned(list(super().__iter__())[start:], self.epoch, self.rank, self.num_replicas, start=start)


def create_loaders(
    create: Callable[..., tuple[Any, ...]], opt: BasicSROptions, logger: logging.Logger
) -> tuple[Any, ...]:
    """BasicSR's loaders, with as many epochs as the iterations need: its loader leaves the incomplete batch out."""
    run, train_set = opt.run, opt['datasets']['train']
    if processes.rank() == 0:
        if run.lock is None:  # of a fresh start: the folder is new
            run.lock = lock_folder(opt['path']['experiments_root'])
        run.record = TrainingRecord(opt['path']['experiments_root'])
    train_loader, train_sampler, run.val_loaders, _, run.total_iterations = create(opt, logger)
    if sharing := give_own_folders(run.val_loaders):
        logger.info(f'Validation sets with images of the same names have folders of their own: {", ".join(sharing)}')
    if hasattr(train_loader.dataset, 'collate'):
        train_loader.collate_fn = train_loader.dataset.collate
    if not len(train_loader):
        raise OptionError(
            f'{train_loader.batch_size}, but an epoch has only {len(train_sampler)} samples for a process',
            where='datasets.train.batch_size_per_gpu',
            way_out='Use a smaller batch, or a larger datasets.train.dataset_enlarge_ratio (now '
            f'{train_set.get("dataset_enlarge_ratio", 1)}).',
        )
    # from where the run goes on: its earlier epochs may have been of another length
    remaining = run.total_iterations - run.first_iteration + 1
    epochs = run.first_epoch + math.ceil(remaining / len(train_loader)) + 1
    return train_loader, train_sampler, run.val_loaders, epochs, run.total_iterations


def start_worker(*args: Any, **kwargs: Any) -> None:
    # found by its name where workers are not forked, so it holds no function that stands elsewhere meanwhile
    leave_signals_to_the_main_process()
    _worker_init_fn(*args, **kwargs)


class FollowedPrefetcher:
    """A prefetcher of BasicSR that tells the run how far it has come, and lets it end between two batches.

    After the last iteration it has no more batches. BasicSR's loop would take one more and throw it away, and would
    start the loader again, with all its workers, for epochs in which nothing is trained.
    """

    def __init__(self, prefetcher: Callable[..., Any], run: TrainingRun, loader: DataLoader[Any], *args: Any) -> None:
        # its constructor starts the loader (workers and first images), so it waits for the first epoch
        self._start = functools.partial(prefetcher, loader, *args)
        self._run, self._sampler = run, cast(EnlargedSampler, loader.sampler)
        self._samples = cast(int, loader.batch_size) * processes.world_size()
        self._plain: Any = None
        run.close_loader = self.close

    def reset(self) -> None:
        if self._plain is not None and self._run.is_over:
            return
        with signals_blocked_for_new_processes():
            if self._plain is None:
                self._plain = self._start()
            else:
                self._plain.reset()
        self._run.begin_epoch(self._sampler.epoch)

    def next(self) -> dict[str, Any] | None:
        """The next batch; None at the end of the epoch."""
        self._run.between_iterations()
        if self._run.is_over:
            return None
        batch: dict[str, Any] | None = self._plain.next()
        if batch is not None:
            self._run.batch_taken(self._samples)
        return batch

    def close(self) -> None:
        """End the workers now: left to the garbage collector they are not told, and it waits for them in vain."""
        loader = getattr(self._plain, 'loader', None)
        iterator: Any = getattr(loader, 'generator', loader)  # PrefetchDataLoader wraps the iterator in a thread
        if hasattr(iterator, '_shutdown_workers'):
            iterator._shutdown_workers()
