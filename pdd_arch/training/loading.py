"""BasicSR's data loading for training, with a position that a resumed run can continue from."""

import functools
import logging
import math
from collections.abc import Callable, Iterable, Iterator

import basicsr.data
from basicsr.data.data_sampler import EnlargedSampler
from torch.utils.data import DataLoader

from pdd_arch.data.positioned_index import PositionedIndex, positioned
from pdd_arch.distributed import processes
from pdd_arch.errors import OptionError
from pdd_arch.training.run_state import current_run
from pdd_arch.utils.locks import lock_folder
from pdd_arch.utils.signals import leave_signals_to_the_main_process


def remaining_samples(sampler: EnlargedSampler, indices: Iterable[int]) -> Iterator[PositionedIndex]:
    """What an epoch still has for this process: indices with their positions, without those of an earlier part.

    Args:
        sampler: of this process.
        indices: all that it yields in its current epoch.
    """
    indices = list(indices)
    start = current_run().samples_to_skip(sampler.epoch) // sampler.num_replicas
    return positioned(indices[start:], sampler.epoch, sampler.rank, sampler.num_replicas, start=start)


class _Nothing:
    def __iter__(self) -> Iterator:
        return iter(())


def tracked(prefetcher: type) -> type:
    """A prefetcher class of BasicSR that notes how far it has come, and ends the run between two batches if asked.

    Also, BasicSR's start the loader (its workers, its first images) in the constructor and once more before the first
    epoch.
    """

    class Tracked(prefetcher):
        plain = prefetcher

        def __init__(self, loader: DataLoader, *args) -> None:
            super().__init__(_Nothing(), *args)
            self.ori_loader = loader
            current_run().close_loader = self.close

        def reset(self) -> None:
            super().reset()
            current_run().begin_epoch(self.ori_loader.sampler.epoch)

        def next(self) -> dict | None:
            run = current_run()
            run.stop.deferred = True
            run.validate_what_was_saved()
            run.between_iterations()
            batch = super().next()
            if batch is not None:
                run.iteration += 1
                run.batch_samples = self.ori_loader.batch_size * processes.world_size()
                run.position.samples += run.batch_samples
            return batch

        def close(self) -> None:
            """End the workers now: left to the garbage collector they are not told, and it waits for them in vain."""
            # PrefetchDataLoader wraps the iterator in a thread
            iterator = getattr(self.loader, 'generator', self.loader)
            if hasattr(iterator, '_shutdown_workers'):
                iterator._shutdown_workers()

    Tracked.__name__ = Tracked.__qualname__ = prefetcher.__name__
    return Tracked


def counting_epochs(create: Callable) -> Callable:
    """BasicSR's ``create_train_val_dataloader`` with the right number of epochs.

    It rounds the iterations of an epoch up, while its loader leaves the incomplete batch out: short epochs make a run
    end before ``total_iter``, and epochs without a whole batch make it end at once.
    """

    @functools.wraps(create)
    def create_train_val_dataloader(opt: dict, logger: logging.Logger) -> tuple:
        if processes.rank() == 0 and current_run().lock is None:  # of a fresh start: the folder is new
            current_run().lock = lock_folder(opt['path']['experiments_root'])
        train_loader, train_sampler, val_loaders, _, total_iters = create(opt, logger)
        current_run().val_loaders, current_run().total_iterations = val_loaders, total_iters
        if not len(train_loader):
            train_set = opt['datasets']['train']
            raise OptionError(
                f'datasets.train.batch_size_per_gpu: {train_loader.batch_size}, but an epoch has only '
                f'{len(train_sampler)} samples for a process. Use a smaller batch, or a larger '
                f'datasets.train.dataset_enlarge_ratio (now {train_set.get("dataset_enlarge_ratio", 1)}).'
            )
        # from where the run goes on: its earlier epochs may have been of another length
        run = current_run()
        remaining = total_iters - run.first_iteration + 1
        epochs = run.first_epoch + math.ceil(remaining / len(train_loader)) + 1
        return train_loader, train_sampler, val_loaders, epochs, total_iters

    return create_train_val_dataloader


# as it is before pdd_arch.compat puts the function below in its place
_basicsr_worker_init_fn = basicsr.data.worker_init_fn


def worker_init_fn(worker_id: int, num_workers: int, rank: int, seed: int) -> None:
    """BasicSR's, for workers that leave signals to the main process."""
    leave_signals_to_the_main_process()
    _basicsr_worker_init_fn(worker_id, num_workers, rank, seed)
