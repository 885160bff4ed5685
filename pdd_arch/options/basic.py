"""Option files for other models than `PDDModel`: what BasicSR's loop and its models read in each of them, typed.

The classes that a file names read more, so that sections are open: which keys nobody reads is found by reading those
classes, see `pdd_arch.options.read_keys`. Numbers of iterations may be written as ``!!float 5e3``, as BasicSR's own
files have them.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, Tag

from pdd_arch.options.fields import (
    LARGEST,
    Count,
    Devices,
    Expected,
    Fraction,
    OpenSection,
    PositiveCount,
    Seed,
    Word,
    by_type,
    option,
)
from pdd_arch.options.schema import (
    SCHEDULES,
    CosineAnnealing,
    DistOptions,
    Imports,
    LoggerOptions,
    Loss,
    Metrics,
    MultiStep,
    Name,
    Network,
    Optimizer,
    OtherSet,
    PairedSet,
    PathOptions,
    SingleSet,
    UnpairedAdaptationSet,
    WandbOptions,
)


def _without_point(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Iterations = Annotated[PositiveCount, BeforeValidator(_without_point), Expected('a whole number of at least 1')]


class BasicPairedSet(PairedSet, OpenSection):
    """``PairedImageDataset``."""


class BasicSingleSet(SingleSet, OpenSection):
    """``SingleImageDataset``."""


_SETS = (UnpairedAdaptationSet, BasicPairedSet, BasicSingleSet)

BasicDataset = Annotated[
    Annotated[OtherSet, Tag('OtherSet')]
    | Annotated[UnpairedAdaptationSet, Tag('UnpairedAdaptationSet')]
    | Annotated[BasicPairedSet, Tag('BasicPairedSet')]
    | Annotated[BasicSingleSet, Tag('BasicSingleSet')],
    by_type(OtherSet, *_SETS),
]


class BasicPath(PathOptions, OpenSection):
    """Weights to start from, of networks with any letter."""


class AnySchedule(OpenSection):
    """A schedule that a class of the user's own may know."""

    type: Word = option('a schedule')


BasicSchedule = Annotated[
    Annotated[AnySchedule, Tag('AnySchedule')]
    | Annotated[MultiStep, Tag('MultiStep')]
    | Annotated[CosineAnnealing, Tag('CosineAnnealing')],
    by_type(AnySchedule, *SCHEDULES),
]


class BasicTrain(OpenSection):
    """What BasicSR's loop and most of its models read of ``train``."""

    total_iter: Iterations = option('number of training iterations')
    warmup_iter: Annotated[int, Field(ge=-1, le=LARGEST)] = option('iterations of linear warm-up; -1: none', -1)
    ema_decay: Fraction = option('decay of the moving average of network_g; 0: none', 0)
    optim_g: Optimizer | None = option('optimizer of network_g', None)
    optim_d: Optimizer | None = option('optimizer of network_d', None)
    scheduler: BasicSchedule | None = option('schedule of all learning rates', None)
    pixel_opt: Loss | None = option('loss on pixels', None)
    perceptual_opt: Loss | None = option('loss on features', None)
    gan_opt: Loss | None = option('adversarial loss', None)
    net_d_iters: PositiveCount = option('network_g is updated in every n-th iteration', 1)
    net_d_init_iters: Count = option('iterations in which only network_d is trained', 0)


class BasicVal(OpenSection):
    """What BasicSR's loop and its validations read of ``val``."""

    val_freq: Iterations | None = option('iterations between validations; required in training', None)
    save_img: bool = option('write the upscaled images to `visualization/`')
    suffix: Word | None = option('test only: suffix of the names of written images', None)
    pbar: bool = option('show a progress bar', False)
    metrics: Metrics | None = option('one section per metric', None)


class BasicWandb(WandbOptions, OpenSection):
    """Weights & Biases."""


class BasicLogger(LoggerOptions, OpenSection):
    """Logs and checkpoints."""

    print_freq: Iterations = option('iterations between lines of the log')
    save_checkpoint_freq: Iterations = option('iterations between checkpoints')
    wandb: BasicWandb | None = option('log to Weights & Biases', None)


class BasicOptions(OpenSection):
    """What every run has, whatever its model."""

    name: Name = option('names the output folders')
    model_type: Word = option('a model registered with BasicSR')
    scale: Annotated[int, Field(ge=1, le=64)] | None = option('scale factor; most datasets need it', None)
    num_gpu: Devices = option('number of GPUs; `auto`: all, 0: run on the CPU')
    manual_seed: Seed | None = option('of all random numbers', None)
    find_unused_parameters: bool = option('option of DistributedDataParallel', False)
    datasets: Annotated[dict[Word, BasicDataset], Expected('a section')] = option('one section per dataset')
    network_g: Network = option('network')
    network_d: Network | None = option('discriminator', None)
    path: BasicPath = option('weights to start from')
    train: BasicTrain | None = option('training', None)
    val: BasicVal | None = option('validation', None)
    logger: BasicLogger | None = option('logs', None)
    dist_params: DistOptions | None = option('several processes', None)
    import_: Imports | None = option('Python files or modules with classes of your own', None, alias='import')

    @property
    def networks(self) -> dict[str, Network]:
        """The sections of networks by their key, those with other letters than g and d included."""
        named: dict[str, Any] = {key: getattr(self, key) for key in ('network_g', 'network_d')}
        named |= {key: value for key, value in (self.model_extra or {}).items() if key.startswith('network_')}
        return {
            k: v if isinstance(v, Network) else Network.model_validate(v) for k, v in named.items() if v is not None
        }
