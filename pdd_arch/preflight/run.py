"""All checks of a run in their order, and what they have opened."""

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn

from pdd_arch.data.sources import ImageSource
from pdd_arch.errors import OptionError
from pdd_arch.features import FeatureNet
from pdd_arch.models.losses import Losses
from pdd_arch.options.basic import BasicOptions
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.schema import CosineAnnealing, MultiStep, Options, OtherSchedule
from pdd_arch.options.signatures import check_optimizer, check_schedule_class
from pdd_arch.options.tracked import Asked
from pdd_arch.preflight.data import check_batch, check_dataset_types, check_epoch, check_loader, open_datasets
from pdd_arch.preflight.losses import check_feature_size, check_losses, trial_device, try_out_extra
from pdd_arch.preflight.metrics import check_image_sizes, check_metric_weights, check_set_metrics, check_validation
from pdd_arch.preflight.missing import check_missing
from pdd_arch.preflight.networks import (
    check_images,
    check_networks,
    check_weight_files,
    open_feature_net,
    open_networks,
    open_weights,
)
from pdd_arch.preflight.other_models import check_other_training, check_other_validation, fetch_vgg
from pdd_arch.preflight.outputs import check_logger, check_outputs
from pdd_arch.preflight.real_esrgan import check_real_esrgan
from pdd_arch.preflight.rehearsal import rehearse
from pdd_arch.preflight.samples import not_looked_at, take_samples
from pdd_arch.preflight.saved_images import check_saved_names
from pdd_arch.preflight.unread import unread_keys
from pdd_arch.preflight.without_effect import options_without_effect
from pdd_arch.utils.basicsr_logger import logger_left_alone
from pdd_arch.weights.checkpoints import OpenedWeights


@dataclass
class Preflight:
    """What the checks of a run have opened, so that the run need not open it again.

    Attributes:
        losses: losses of a training run of `PDDModel`.
        counts: number of images or pairs by the dataset's section; of unpaired data, those of the larger domain.
        sources: opened and validated sources (HR, target domain) of unpaired data, by the dataset's section.
        networks: by section, most of them on the ``meta`` device.
        weights: contents of the weight files of the networks.
        feature_net: the network that all losses share, on the CPU; None without losses on features, with random
            weights, or where its weights were not to be fetched.
        unchecked: what could not be looked at, of other models than `PDDModel`.
    """

    options: RunOptions
    losses: Losses | None = None
    counts: dict[str, int] = field(default_factory=dict)
    sources: dict[str, tuple[ImageSource, ImageSource]] = field(default_factory=dict)
    networks: dict[str, nn.Module] = field(default_factory=dict)
    weights: OpenedWeights = field(default_factory=OpenedWeights)
    feature_net: FeatureNet | None = None
    unchecked: list[str] = field(default_factory=list)


def check(options: RunOptions, fetch: bool = True) -> Preflight:
    """Check everything that a run needs before anything is created: options, images, networks and weights."""
    with logger_left_alone():
        found = Preflight(options, check_plan(options))
        own = isinstance(options.file, Options)
        if own:
            found.counts, found.sources = open_datasets(options)
        else:
            asked = Asked()
            samples = take_samples(options, found.counts, asked)
            check_epoch(options, found.counts)
        check_image_sizes(options)
        with found.weights.shared():
            found.networks = open_networks(options, fetch)
            check_images(options, found.networks)
        open_weights(options, found.networks, fetch, found.weights)
        if found.losses is not None:
            found.feature_net = open_feature_net(options.train, found.losses.layers, fetch)
        check_metric_weights(options, fetch)
        check_saved_names(options)
        if not own:
            found.unchecked += filter(None, [rehearse(options, samples, asked)])
            found.unchecked += not_looked_at(options, found.counts)
            if fetch:
                fetch_vgg(options)
    return found


def check_plan(options: RunOptions) -> Losses | None:
    """Check what the options themselves and a look at which files exist can tell; gives the losses of the training."""
    check_dataset_types(options)
    check_networks(options.file)
    losses = None
    if isinstance(options.file, BasicOptions):
        if options.is_train:
            check_other_training(options)
        check_other_validation(options)
    elif options.is_train:
        losses = check_losses(options.train)
        try_out_extra(options, losses)
        check_feature_size(options, losses)
    check_weight_files(options)
    check_missing(options, partial(check_device, options))
    check_real_esrgan(options)
    if options.is_train:
        check_schedule(options)
        check_loader(options)
        check_logger(options)
    if losses is not None:
        check_batch(options, losses.of_views)
    check_validation(options)
    check_set_metrics(options)
    check_outputs(options)
    return losses


def check_device(options: RunOptions) -> None:
    """CUDA must be there when it is asked for; running on the CPU instead would be a silent surprise."""
    asked = options.file.num_gpu
    if asked == 'auto':
        return
    have = torch.cuda.device_count() if torch.cuda.is_available() else 0
    needed = 1 if options.distributed else asked
    if asked and have < needed:
        raise OptionError(
            f'{asked} CUDA device(s) asked for, this machine has {have}',
            where='num_gpu',
            way_out='Set num_gpu: 0 to run on the CPU, or install a CUDA build of torch and a driver.',
        )


def check_schedule(options: RunOptions) -> None:
    """Optimizers can be built, and schedules are complete and cover the run."""
    where = 'train.scheduler'
    if options.adaptation is None:
        assert isinstance(options.file, BasicOptions)
        assert options.file.train is not None
        total, given = options.file.train.total_iter, options.file.train.scheduler
        if isinstance(given, MultiStep | CosineAnnealing):
            _check_periods(given, total, where)
        return
    train, scheduler = options.train, options.train.scheduler
    device = trial_device(options)
    for key in ('optim_g', 'optim_d'):
        section = getattr(train, key)
        if section is None:
            continue
        optimizer = check_optimizer(section, f'train.{key}', device)
        if isinstance(scheduler, OtherSchedule):
            check_schedule_class(scheduler, optimizer, train.total_iter - 1, where)
    if not isinstance(scheduler, OtherSchedule):
        _check_periods(scheduler, train.total_iter, where)
    elif train.warmup_iter > 0:
        raise OptionError(
            f'{train.warmup_iter}, but {scheduler.type} computes each learning rate from the one before, which '
            'this warm-up would change',
            where='train.warmup_iter',
            way_out='Set it to -1.',
        )


def _check_periods(scheduler: MultiStep | CosineAnnealing, total: int, where: str) -> None:
    """Periods or restarts have a weight each, and periods cover the run."""
    if isinstance(scheduler, CosineAnnealing):
        name, steps = 'periods', scheduler.periods
    else:
        name, steps = 'restarts', scheduler.restarts
    if len(steps) != len(scheduler.restart_weights):
        raise OptionError(
            where=f'{where}.restart_weights',
            expected=f'as many as {name} ({len(steps)})',
            found=str(len(scheduler.restart_weights)),
        )
    if isinstance(scheduler, CosineAnnealing) and sum(steps) < total:
        raise OptionError(
            f'together {sum(steps)} iterations, but train.total_iter is {total}',
            where=f'{where}.periods',
            way_out='Add periods, or make them longer.',
        )


def plan_warnings(options: RunOptions) -> list[str]:
    """What is allowed but probably unintended, a sentence each."""
    found, train = [*options_without_effect(options), *unread_keys(options)], options.adaptation
    if train is None or not train.distils or train.distill_start < train.total_iter:
        return found
    return [
        *found,
        f'train.total_iter: {train.total_iter}, but distillation begins after iteration {train.distill_start} '
        f'(net_d_init_iters {train.net_d_init_iters} + distill_warmup_iters {train.distill_warmup_iters}): nothing '
        'would be distilled.',
    ]
