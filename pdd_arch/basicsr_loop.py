"""Everything that bends BasicSR's own pipelines, version 1.4.2, in one place.

For good, by `install`:

==================================== ==================================================================================
``*.parse_options``                  loads YAML that runs code, applies ``--force_yml`` with ``exec``, checks nothing
``dist_util.init_dist``              nccl and ``torch.cuda.set_device`` are hard-wired: on the CPU every launcher fails
``train.train_pipeline``             cannot be stopped between two iterations, leaves no state when it fails
``train.train_pipeline``, ``test.*`` an error that ends a script of the user's own ends it in a traceback
``*ImageDataset.__init__``           splits lines of lists at spaces and names in an LMDB at dots, takes ``gt, lq`` and
                                     byte-order marks for names, holds LMDBs open
``*Dataset.__getitem__`` of images   an unreadable image ends in an error that does not name it
``SRModel.nondist_validation``       all sets have all metrics; one that has no number for an image ends the run
``*.build_model``                    Real-ESRGAN's models put their parts on a GPU whatever ``num_gpu`` says
==================================== ==================================================================================

For the duration of one ``train_pipeline``, each bound to its `TrainingRun`, which the options carry to the model:

==================================== ==================================================================================
``parse_options``                    the options have to carry the run
``copy_opt_file``                    would not have what ``--import`` adds, without which the copy cannot be run
``load_resume_state``                resumes on CUDA only, and from the current directory whatever the root is
``mkdir_and_rename`` (also of misc)  fails when it archived a folder of that name within the same second
``get_time_str``                     counts whole seconds: two logs of one second would be one
``init_wandb_logger``                takes project and resume_id only; its errors do not name the option
``init_tb_logger``                   curves of a resumed run would repeat what a killed run drew beyond its state
``create_train_val_dataloader``      rounds the iterations of an epoch up: runs end before ``total_iter``; no collate_fn
``EnlargedSampler``                  a resumed epoch starts from its first sample; samples do not know their position
``worker_init_fn`` (of basicsr.data) data workers would end by signals that are meant for the main process
``CPUPrefetcher``, ``CUDAPrefetcher`` start the loader twice, and nobody is told how far it has come
``build_model``                      the run has to know its model; what was found while resuming goes to the log
the logger                           says that several validation sets are for ``SRModel`` only, also of one
``MessageLogger``                    the log is text only; here it is also recorded as data
``copy_opt_file``                    its copy of a file with a byte-order mark, or of one in UTF-8 where that is not the
                                     system's encoding, cannot be read
==================================== ==================================================================================
"""

import contextlib
import functools
import itertools
import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import basicsr.data
import basicsr.models.sr_model
import basicsr.test
import basicsr.train
import basicsr.utils.dist_util
import basicsr.utils.misc
import basicsr.utils.options
import cv2
import torch
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.data.realesrgan_dataset import RealESRGANDataset
from basicsr.data.realesrgan_paired_dataset import RealESRGANPairedDataset
from basicsr.data.single_image_dataset import SingleImageDataset
from basicsr.models.sr_model import SRModel
from basicsr.utils import MessageLogger, get_root_logger
from torch.overrides import TorchFunctionMode
from torch.utils.data import DataLoader

from pdd_arch.basicsr_options import parse_options
from pdd_arch.data.paired_check import LmdbClient, explain_unreadable, open_pair, open_single, reads_names
from pdd_arch.data.positioned_index import PositionedIndex, positioned
from pdd_arch.data.sources import LmdbSource
from pdd_arch.distributed import processes
from pdd_arch.errors import NumbersError, OptionError, PDDError, WeightsError
from pdd_arch.models.set_validation import SetValidation, give_own_folders
from pdd_arch.options.yaml_file import with_key
from pdd_arch.training.comparison import recorded_options
from pdd_arch.training.record import TrainingRecord
from pdd_arch.training.resume import load_resume_state
from pdd_arch.training.run_state import BasicSROptions, TrainedModel, TrainingRun
from pdd_arch.utils.locks import lock_folder
from pdd_arch.utils.signals import (
    Stopped,
    leave_signals_to_the_main_process,
    signals_to,
    sigterm_blocked_for_new_processes,
)

_PLAIN = '__wrapped__'
_worker_init_fn = basicsr.data.worker_init_fn


def install(if_uncaught: Callable[[BaseException], None]) -> None:
    """Replace what BasicSR's pipelines and their callers look up. Doing it again is harmless.

    `if_uncaught` is called with an exception that leaves a pipeline, to provide for the case that nobody catches it.
    """
    for module in (basicsr.utils.options, basicsr.train, basicsr.test):
        module.parse_options = parse_options
    basicsr.utils.dist_util.init_dist = processes.init_dist
    if not hasattr(basicsr.train.train_pipeline, _PLAIN):
        basicsr.train.train_pipeline = _explained(interruptible(basicsr.train.train_pipeline), if_uncaught)
        basicsr.test.test_pipeline = _explained(basicsr.test.test_pipeline, if_uncaught)
    if not hasattr(SRModel.nondist_validation, _PLAIN):
        SRModel.nondist_validation = with_the_metrics_of_the_set(SRModel.nondist_validation)
    for dataset in (PairedImageDataset, SingleImageDataset):
        if not hasattr(dataset.__init__, _PLAIN):
            dataset.__init__ = reading_as_checked(dataset.__init__)
    for dataset in (PairedImageDataset, SingleImageDataset, RealESRGANDataset, RealESRGANPairedDataset):
        if not hasattr(dataset.__getitem__, _PLAIN):
            dataset.__getitem__ = naming_unreadable_images(dataset.__getitem__)
    for pipeline in (basicsr.train, basicsr.test):
        if not hasattr(pipeline.build_model, _PLAIN):
            pipeline.build_model = on_the_asked_device(pipeline.build_model)


def reading_as_checked(init: Callable[..., None]) -> Callable[..., None]:
    """``__init__`` of a dataset of BasicSR, which reads a list or an LMDB as the check of its options does."""

    @functools.wraps(init)
    def construct(self: Any, opt: dict[str, Any]) -> None:
        opt = {'use_hflip': False, 'use_rot': False, **opt}  # which it reads without a default
        key = f'datasets.{opt.get("phase", "val")}'
        if not reads_names(opt, key):
            init(self, opt)
            return
        # from an empty list it takes nothing
        init(self, {**opt, 'meta_info_file': os.devnull, 'io_backend': {'type': 'disk'}})
        self.opt, self.io_backend_opt = opt, opt['io_backend']
        pairs = isinstance(self, PairedImageDataset)
        sides = ('gt', 'lq') if pairs else ('lq',)
        sources = dict(zip(sides, open_pair(opt, key) if pairs else (open_single(opt, key),), strict=True))
        lmdbs = {side: source for side, source in sources.items() if isinstance(source, LmdbSource)}
        if lmdbs:
            self.file_client = LmdbClient(lmdbs)
        named = {side: s.names if side in lmdbs else list(map(s.path, range(len(s)))) for side, s in sources.items()}
        self.paths = named['lq']
        if pairs:
            self.paths = [{'lq_path': lq, 'gt_path': gt} for lq, gt in zip(named['lq'], named['gt'], strict=True)]

    return construct


def naming_unreadable_images(getitem: Callable[..., Any]) -> Callable[..., Any]:
    """``__getitem__`` of a dataset of BasicSR, whose errors name the image that cannot be read."""

    @functools.wraps(getitem)
    def get(self: Any, index: int) -> Any:
        try:
            return getitem(self, index)
        except (AttributeError, TypeError, cv2.error) as e:
            entry = self.paths[index]
            paths = [v for k, v in entry.items() if k.endswith('_path')] if isinstance(entry, dict) else [entry]
            if error := explain_unreadable(e, paths):
                raise error from None
            raise

    return get


def with_the_metrics_of_the_set(nondist_validation: Callable[..., None]) -> Callable[..., None]:
    """The validation of a set, measured as its section says; an image without a number costs the mean, not the run."""

    @functools.wraps(nondist_validation)
    def validation(self: Any, dataloader: Any, current_iter: Any, tb_logger: Any, save_img: bool) -> None:
        own = SetValidation(dataloader, self.opt)
        whole, self.opt = self.opt, own.options
        self.metric_results = dict.fromkeys(own.metrics, 0)
        try:
            with replaced([(basicsr.models.sr_model, 'calculate_metric', own.measure)]):
                nondist_validation(self, own, current_iter, tb_logger, save_img)
        finally:
            self.opt = whole
        for problem in own.problems(save_img):
            get_root_logger().warning(problem)

    return validation


# ---------------------------------------------------------------- the whole pipeline
def _explained(pipeline: Callable[[str], None], if_uncaught: Callable[[BaseException], None]) -> Callable[[str], None]:
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
    in_step = getattr(run.model, 'in_step', True)
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


@contextlib.contextmanager
def _no_false_warning(run: TrainingRun) -> Iterator[None]:
    """BasicSR's loop warns of several validation sets at each validation, whatever the model."""

    def is_true(record: logging.LogRecord) -> bool:
        return not (str(record.msg).startswith('Multiple validation datasets') and isinstance(run.model, SRModel))

    logger = logging.getLogger('basicsr')
    logger.addFilter(is_true)
    try:
        yield
    finally:
        logger.removeFilter(is_true)


@contextlib.contextmanager
def replaced(replacements: list[tuple[Any, str, object]]) -> Iterator[None]:
    """Give attributes of modules and classes, (owner, name, value), another value within the block."""
    with contextlib.ExitStack() as stack:
        for owner, name, value in replacements:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield


def bound_to(run: TrainingRun) -> contextlib.AbstractContextManager[None]:
    """Within the block BasicSR's pipeline works on `run`."""
    loop = basicsr.train
    of_loop = {
        'parse_options': functools.partial(parse_options, run=run),
        'copy_opt_file': functools.partial(copy_option_file, run),
        'load_resume_state': load_resume_state,
        'mkdir_and_rename': mkdir_and_rename,
        'get_time_str': functools.partial(_time_of_a_new_log, loop.get_time_str, run),
        'init_wandb_logger': _init_wandb_logger,
        'init_tb_logger': functools.partial(_init_tb_logger, run),
        'create_train_val_dataloader': functools.partial(_create_loaders, loop.create_train_val_dataloader),
        'EnlargedSampler': functools.partial(PositionedSampler, run),
        'CPUPrefetcher': functools.partial(FollowedPrefetcher, loop.CPUPrefetcher, run),
        'CUDAPrefetcher': functools.partial(FollowedPrefetcher, loop.CUDAPrefetcher, run),
        'build_model': functools.partial(_build_model, loop.build_model),
        'MessageLogger': functools.partial(RecordedMessages, run),
    }
    elsewhere = [
        (basicsr.utils.misc, 'mkdir_and_rename', mkdir_and_rename),
        (basicsr.data, 'worker_init_fn', _start_worker),
    ]
    return replaced([*((loop, name, value) for name, value in of_loop.items()), *elsewhere])


# ---------------------------------------------------------------- folders and logs
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


def _time_of_a_new_log(get_time_str: Callable[[], str], run: TrainingRun) -> str:
    """The time in whole seconds, once no log has it in its name."""
    while run.log_folder and list(Path(run.log_folder).glob(f'train_*_{get_time_str()}.log')):
        time.sleep(0.05)
    return get_time_str()


def _init_tb_logger(run: TrainingRun, log_dir: str) -> Any:
    """TensorBoard's writer, on rank 0; it drops curves beyond the state that the run resumes from."""
    if processes.rank() == 0:
        from torch.utils.tensorboard import SummaryWriter  # optional

        run.tb_logger = SummaryWriter(log_dir=log_dir, purge_step=run.first_iteration)
    return run.tb_logger


def _init_wandb_logger(opt: BasicSROptions) -> None:
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


# ---------------------------------------------------------------- data
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


def _create_loaders(
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


def _start_worker(*args: Any, **kwargs: Any) -> None:
    # found by its name where workers are not forked, so it holds no function that stands elsewhere meanwhile
    leave_signals_to_the_main_process()
    _worker_init_fn(*args, **kwargs)


class FollowedPrefetcher:
    """A prefetcher of BasicSR that tells the run how far it has come, and lets it end between two batches."""

    def __init__(self, prefetcher: Callable[..., Any], run: TrainingRun, loader: DataLoader[Any], *args: Any) -> None:
        # its constructor starts the loader (workers and first images), so it waits for the first epoch
        self._start = functools.partial(prefetcher, loader, *args)
        self._run, self._sampler = run, cast(EnlargedSampler, loader.sampler)
        self._samples = cast(int, loader.batch_size) * processes.world_size()
        self._plain: Any = None
        run.close_loader = self.close

    def reset(self) -> None:
        with sigterm_blocked_for_new_processes():
            if self._plain is None:
                self._plain = self._start()
            else:
                self._plain.reset()
        self._run.begin_epoch(self._sampler.epoch)

    def next(self) -> dict[str, Any] | None:
        """The next batch; None at the end of the epoch."""
        self._run.between_iterations()
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


# ---------------------------------------------------------------- the model
class _WithoutCuda(TorchFunctionMode):
    """Within it what is sent to a GPU stays on, or is made on, the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.cuda:
            return args[0]
        kwargs = kwargs or {}
        if str(kwargs.get('device')).startswith('cuda'):
            kwargs = kwargs | {'device': 'cpu'}
        return func(*args, **kwargs)


def on_the_asked_device(build_model: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """``build_model`` whose models work on the CPU with ``num_gpu: 0``, also those that call ``.cuda()`` themselves."""

    @functools.wraps(build_model)
    def build(opt: dict[str, Any]) -> Any:
        if opt['num_gpu'] != 0 or opt['model_type'] == 'PDDModel':  # which follows num_gpu
            return build_model(opt)
        with _WithoutCuda():
            model = build_model(opt)
        for name in ('feed_data', 'optimize_parameters', 'validation'):
            setattr(model, name, _without_cuda(getattr(model, name)))
        return model

    return build


def _without_cuda(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def on_the_cpu(*args: Any, **kwargs: Any) -> Any:
        with _WithoutCuda():
            return method(*args, **kwargs)

    return on_the_cpu


def _build_model(build_model: Callable[[BasicSROptions], TrainedModel], opt: BasicSROptions) -> TrainedModel:
    run = opt.run
    with run.opened_weights.shared():
        run.model = build_model(opt)
    run.opened_weights.release()
    run.feature_net = None
    for note in run.notes:
        get_root_logger().warning(note)
    if run.record is not None:
        _record_results(run.model, run, run.record)
    return run.model


def _record_results(model: Any, run: TrainingRun, record: TrainingRecord) -> None:
    """Checkpoints and validations of a model of any kind become events of the record."""
    save, validation, saved = model.save, model.validation, set()

    def recorded_save(epoch: int, current_iter: int) -> None:
        save(epoch, current_iter)
        iteration, name = (run.finished_iteration, 'latest') if current_iter == -1 else (current_iter, current_iter)
        if name not in saved:  # a model may be asked to save an iteration twice
            record.add('checkpoint', iteration=iteration, file=f'net_g_{name}.pth')
        saved.add(name)

    def recorded_validation(dataloader: Any, current_iter: int, *args: Any) -> None:
        validation(dataloader, current_iter, *args)
        # at the end of the training BasicSR's number is one or two too high
        iteration, name = min(current_iter, run.finished_iteration), dataloader.dataset.opt['name']
        record.add('validation', iteration=iteration, dataset=name, metrics=getattr(model, 'metric_results', {}))

    model.save, model.validation = recorded_save, recorded_validation
