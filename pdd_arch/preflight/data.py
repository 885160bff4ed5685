"""Checks of the datasets and of how they are loaded."""

import os
from collections.abc import Mapping, Sequence

import torch
from basicsr.utils.registry import DATASET_REGISTRY

from pdd_arch.data.paired_check import check_paired_dataset
from pdd_arch.data.section import open_sources
from pdd_arch.data.sources import FileSource, ImageSource
from pdd_arch.errors import DataError, OptionError
from pdd_arch.losses.distillation import DistillationLoss
from pdd_arch.options.run_options import RunOptions
from pdd_arch.utils.registration import registered_as
from pdd_arch.utils.wording import did_you_mean, one_of, show_key, shown


def samples_of_a_step(options: RunOptions) -> tuple[int, int]:
    """Images of each domain that this process sees in one step, and the number of processes."""
    batch = options.file.datasets['train'].batch_size_per_gpu or 1
    if options.distributed:
        return batch, launched_processes()
    asked = options.file.num_gpu
    return batch * max(torch.cuda.device_count() if asked == 'auto' else asked, 1), 1


def launched_processes() -> int:
    """How many processes the launcher has started together, by its environment variables."""
    processes = os.environ.get('WORLD_SIZE') or os.environ.get('SLURM_NTASKS') or '1'
    return int(processes) if processes.isdecimal() else 1


def check_dataset_types(options: RunOptions) -> None:
    """Every dataset has a phase that BasicSR knows, a registered type for it and a name of its own."""
    names: dict[str, str] = {}
    for phase, dataset in options.file.datasets.items():
        where = f'datasets.{show_key(phase)}'
        if options.is_train and phase.split('_')[0] not in ('train', 'val'):
            hint = did_you_mean(phase, ('train', 'val'))
            raise OptionError('unknown phase', where=where, expected=one_of(('train', 'val')), way_out=hint)
        if options.is_train and phase.startswith('train_'):
            raise OptionError('unknown phase, there is one training dataset: datasets.train', where=where)
        registered_as('dataset', DATASET_REGISTRY, dataset.type, f'{where}.type')
        trains = options.is_train and phase == 'train'
        if dataset.type == 'UnpairedAdaptationDataset' and not trains:
            raise OptionError(
                'UnpairedAdaptationDataset is for training only',
                where=f'{where}.type',
                way_out='Use PairedImageDataset (with ground truth) or SingleImageDataset (without).',
            )
        name = options.dataset_name(phase)
        if os.path.isabs(name) or '..' in name.replace('\\', '/').split('/'):
            raise OptionError(
                f'{name!r} leads out of the output folder, in which a folder is named so', where=f'{where}.name'
            )
        if not trains and name in names:
            raise OptionError(
                f'{name!r} is also the name of datasets.{names[name]}; results are kept by name',
                where=f'{where}.name',
                way_out='Use another one.',
            )
        if not trains:
            names[name] = phase
            if dataset.persistent_workers:
                raise OptionError(
                    'true, but images for validation are loaded without workers',
                    where=f'{where}.persistent_workers',
                    way_out='Set it to false.',
                )


def check_loader(options: RunOptions) -> None:
    """How the training data is loaded."""
    data, where = options.file.datasets['train'], 'datasets.train'
    for key, least in (('num_worker_per_gpu', 0), ('batch_size_per_gpu', 1)):
        if getattr(data, key) is None:
            raise OptionError('missing', where=f'{where}.{key}', expected=f'a whole number of at least {least}')
    if data.prefetch_mode == 'cuda' and not torch.cuda.is_available():
        raise OptionError(
            'cuda, but there is no CUDA device', where=f'{where}.prefetch_mode', way_out='Set prefetch_mode: ~'
        )
    if data.prefetch_mode == 'cuda' and not data.pin_memory:
        raise OptionError(where=f'{where}.pin_memory', expected='true with prefetch_mode: cuda', found='false')
    if data.persistent_workers and not data.num_worker_per_gpu:
        raise OptionError(
            'true, but num_worker_per_gpu is 0', where=f'{where}.persistent_workers', way_out='Set it to false.'
        )


def check_batch(options: RunOptions, of_views: Mapping[str, DistillationLoss]) -> None:
    """The batch can be divided as asked, and losses that compare images with each other get enough of them.

    `of_views`: the losses of the four outputs, by their place in the option file.
    """
    train, data, where = options.train, options.file.datasets['train'], 'datasets.train'
    own = getattr(data, 'batch_size_target_per_gpu', None)
    sizes = {'batch_size_per_gpu': data.batch_size_per_gpu or 1}
    sizes |= {} if own is None else {'batch_size_target_per_gpu': own}
    if of_views and data.type in ('PairedImageDataset', 'SingleImageDataset'):
        raise OptionError(
            f'gives no images of the target domain, which {next(iter(of_views))} needs',
            where=f'{where}.type',
            way_out='Use type: UnpairedAdaptationDataset, or remove the loss.',
        )
    processes = samples_of_a_step(options)[1]
    devices = samples_of_a_step(options)[0] // sizes['batch_size_per_gpu']
    for key, batch in sizes.items():
        if batch * devices % train.accumulate:
            raise OptionError(
                f'{train.accumulate} does not divide the {batch * devices} images of a step ({where}.{key}: {batch})',
                where='train.accumulate',
                way_out='Use a divisor.',
            )
    key, batch = list(sizes.items())[-1]  # of the target domain
    together = batch * devices // train.accumulate if train.batch_loss == 'local' else batch * devices * processes
    for loss_key, loss in of_views.items():
        if together < loss.least_batch:
            raise OptionError(
                f'{batch}, but {loss_key} compares the images of a batch with each other (intra_pairing: '
                f'batch_matrix, or ContrastiveDistillationLoss) and needs at least {loss.least_batch}',
                where=f'{where}.{key}',
                way_out='Use a larger batch, or intra_pairing: cross_domain.',
            )
        if batch != sizes['batch_size_per_gpu'] and loss.uses_synthetic and loss.pairs_domains:
            raise OptionError(
                f'{batch}, but {loss_key} ({type(loss).__name__}) compares the domains image by image, so that a batch '
                f'must hold as many of each (batch_size_per_gpu: {sizes["batch_size_per_gpu"]})',
                where=f'{where}.{key}',
                way_out='Leave it out, or take a loss of the target domain alone: OutputDistillationLoss, '
                'FeatureDistillationLoss, PairwiseDistanceLoss with inter_weight: 0 and intra_pairing: batch_matrix.',
            )


def open_datasets(options: RunOptions) -> tuple[dict[str, int], dict[str, tuple[ImageSource, ImageSource]]]:
    """Look at the images that the options name; gives `counts` and `sources` of `pdd_arch.preflight.run.Preflight`."""
    counts: dict[str, int] = {}
    sources: dict[str, tuple[ImageSource, ImageSource]] = {}
    for phase, dataset in options.for_basicsr()['datasets'].items():
        if dataset['type'] == 'UnpairedAdaptationDataset':
            sources[phase] = open_sources(dataset)
            counts[phase] = max(map(len, sources[phase]))
        elif dataset['type'] in ('PairedImageDataset', 'SingleImageDataset'):
            counts[phase] = check_paired_dataset(dataset, f'datasets.{phase}')
    check_epoch(options, counts)
    return counts, sources


def data_warnings(sources: Mapping[str, Sequence[ImageSource]]) -> list[str]:
    """What lies beside the images of opened sources and is left out, though it looks as if it belonged to them."""
    return [
        f'{source.key}: of {shown(source.root)}, {len(source.unread)} photographs of formats that are not read are '
        f'left out (the first: {shown(source.unread[0])}). Convert them, or move them elsewhere.'
        for of_phase in sources.values()
        for source in of_phase
        if isinstance(source, FileSource) and source.unread
    ]


def check_epoch(options: RunOptions, counts: Mapping[str, int]) -> None:
    """An epoch holds at least one batch; BasicSR drops incomplete ones and would train for zero iterations.

    `counts`: samples by the dataset's section.
    """
    if not options.is_train or 'train' not in counts:
        return
    length = counts['train']
    ratio = options.file.datasets['train'].dataset_enlarge_ratio
    mine, processes = samples_of_a_step(options)
    if length * ratio / processes < mine:
        raise DataError(
            f'{ratio:g} makes epochs of {int(length * ratio)} samples ({length} images), fewer than the '
            f'{mine * processes} of one step',
            where='datasets.train.dataset_enlarge_ratio',
            way_out=f'Set it to {-(-mine * processes // length)} or more, or use a smaller batch_size_per_gpu.',
        )
