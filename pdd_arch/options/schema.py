"""Every option, typed: what this package adds to BasicSR's option files and the sections of BasicSR that it uses.

The one place for names, types, limits, defaults and meanings. Checks, error messages, ``options/README.md`` and
``options/schema.json`` come from here. Defaults of losses and of the feature network stand in the signature of their
class, which can be used without an option file, and are taken from there.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, Tag

from pdd_arch.features.feature_net import FeatureNet
from pdd_arch.losses.baseline_losses import ContrastiveDistillationLoss, FeatureDistillationLoss, OutputDistillationLoss
from pdd_arch.losses.distance_loss import PairwiseDistanceLoss
from pdd_arch.losses.supervised import FeaturePerceptualLoss
from pdd_arch.options.degradation import LRSynthesisOptions
from pdd_arch.options.fields import (
    LARGEST,
    Count,
    Devices,
    Expected,
    Fraction,
    Number,
    OpenSection,
    Path,
    Positive,
    PositiveCount,
    Section,
    Seed,
    Size,
    Weight,
    Weights,
    Word,
    Workers,
    by_type,
    option,
    options_of,
    types_of,
)

FeatureNetwork = Literal['vgg19', 'vgg16', 'alexnet', 'squeezenet1_0', 'squeezenet1_1']
Iterations = Annotated[list[Count], Expected('a list of iterations')]
Periods = Annotated[list[PositiveCount], Expected('a list of numbers of iterations, each at least 1')]
Layers = Annotated[dict[Word, Number], Expected('a mapping of layer names to weights')]
Imports = Annotated[
    str | Annotated[list[Annotated[str, Field(min_length=1, max_length=4096)]], Field(max_length=100)],
    Expected('a list of Python files or modules'),
]


# ---------------------------------------------------------------- networks
class Network(OpenSection):
    """``type`` and the arguments of that network."""

    type: Annotated[Word, Expected('the name of a registered network')] = option('a network registered with BasicSR')


_feature_net = options_of(FeatureNet)


class FeatureNetOptions(Section):
    """The frozen network that all feature losses share."""

    type: FeatureNetwork = _feature_net(
        'type', "architecture (paper: vgg19). Layers: `conv3_4`, `relu3_4`, `pool3` (VGG) or torchvision's `features.N`"
    )
    weights: Path = _feature_net(
        'weights', "`imagenet` (torchvision's, downloaded once), `random`, or the path of a torchvision state dict"
    )
    use_input_norm: bool = _feature_net(
        'use_input_norm', 'subtract the ImageNet mean from the input and divide by its standard deviation'
    )
    range_norm: bool = _feature_net('range_norm', 'the inputs are in [-1, 1] instead of [0, 1]')
    feature_scale: Positive = _feature_net(
        'feature_scale',
        "factor on the features; brings those of other networks to the magnitude of VGG19's, for which loss weights "
        'are meant',
    )
    seed: Count = _feature_net('seed', 'seed of `weights: random`')


# ---------------------------------------------------------------- losses
_pairwise = options_of(PairwiseDistanceLoss)
_fitnets = options_of(FeatureDistillationLoss)
_contrast = options_of(ContrastiveDistillationLoss)
_output = options_of(OutputDistillationLoss)
_perceptual = options_of(FeaturePerceptualLoss)
_OWN_NET = 'repeats `train.feature_net`; must not differ from it'


class PairwiseDistanceOptions(Section):
    """The paper's loss."""

    type: Literal['PairwiseDistanceLoss'] = option('this loss')
    inter_layers: Layers = _pairwise('inter_layers', 'lambda_k: weights of the inter-model term by layer')
    intra_layers: Layers = _pairwise('intra_layers', 'mu_k: weights of the intra-model term by layer')
    inter_weight: Weight = _pairwise(
        'inter_weight', 'w_inter, weight of the inter-model term; with 0 it is not computed (paper: 1)'
    )
    intra_weight: Weight = _pairwise(
        'intra_weight', 'w_intra, weight of the intra-model term; with 0 it is not computed (paper: 1)'
    )
    inter_distance: Literal['gram_change', 'gram', 'l1', 'l2'] = _pairwise(
        'inter_distance', 'distance between student and teacher'
    )
    intra_distance: Literal['l1', 'fro'] = _pairwise(
        'intra_distance', 'distance between the two domains within a model'
    )
    intra_criterion: Literal['ce', 'l1', 'l2', 'fro', 'cosine', 'cosine_released'] = _pairwise(
        'intra_criterion', 'compares the distances of student and teacher'
    )
    intra_pairing: Literal['cross_domain', 'batch_matrix'] = _pairwise(
        'intra_pairing',
        '`cross_domain`: distances between the outputs on synthetic and on target-domain input; `batch_matrix`: '
        'distances between all outputs of a target-domain batch (effective from 3 images), for which `intra_distance` '
        'and `intra_criterion` are not used',
    )
    batch_matrix_domains: Literal['real', 'both'] = _pairwise(
        'batch_matrix_domains', '`both`: the batch matrix includes the synthetic images'
    )
    feature_net: FeatureNetOptions | None = _pairwise('feature_net', _OWN_NET)


class FeatureDistillationOptions(Section):
    """Baseline: FitNets."""

    type: Literal['FeatureDistillationLoss'] = option('this loss')
    layers: Layers = _fitnets('layers', 'weights by layer')
    loss_weight: Number = _fitnets('loss_weight', 'weight of the term')
    criterion: Literal['l1', 'l2'] = _fitnets('criterion', 'distance, averaged over elements (FitNets: l2)')
    feature_net: FeatureNetOptions | None = _fitnets('feature_net', _OWN_NET)


class ContrastiveDistillationOptions(Section):
    """Baseline: contrastive distillation (CRD) inside the batch."""

    type: Literal['ContrastiveDistillationLoss'] = option('this loss')
    layers: Layers = _contrast('layers', 'weights by layer')
    loss_weight: Number = _contrast('loss_weight', 'weight of the term')
    temperature: Positive = _contrast('temperature', 'temperature of the softmax (CRD: 0.07)')
    feature_net: FeatureNetOptions | None = _contrast('feature_net', _OWN_NET)


class OutputDistillationOptions(Section):
    """Baseline: L1 between the outputs of student and teacher."""

    type: Literal['OutputDistillationLoss'] = option('this loss')
    loss_weight: Number = _output('loss_weight', 'weight of the term')
    feature_net: FeatureNetOptions | None = _output('feature_net', 'accepted, but not used')


DISTILLATION = (
    *(PairwiseDistanceOptions, FeatureDistillationOptions),
    *(ContrastiveDistillationOptions, OutputDistillationOptions),
)


class OtherDistillation(OpenSection):
    """A distillation loss of your own: ``type`` and its arguments."""

    type: Annotated[Word, Expected('the name of a registered loss', types_of(*DISTILLATION))] = option(
        'a registered subclass of `DistillationLoss`'
    )


class PerceptualOptions(Section):
    """BasicSR's ``PerceptualLoss``, computed on the shared feature network."""

    type: Literal['PerceptualLoss'] = option('this loss', 'PerceptualLoss')
    layer_weights: Layers = _perceptual(
        'layer_weights', 'weights by layer (paper: conv1_2 0.1, conv2_2 0.1, conv3_4 1, conv4_4 1, conv5_4 1)'
    )
    perceptual_weight: Number = _perceptual('perceptual_weight', 'weight of the distance between features (paper: 1)')
    style_weight: Number = _perceptual('style_weight', 'weight of the distance between Gram matrices (paper: 0)')
    criterion: Literal['l1', 'l2', 'fro'] = _perceptual('criterion', 'distance between features (paper: l1)')
    vgg_type: FeatureNetwork | None = option(
        "BasicSR's name for `train.feature_net.type`; must not differ from it", None
    )
    use_input_norm: bool | None = option('repeats the option of `train.feature_net`; must not differ from it', None)
    range_norm: bool | None = option('repeats the option of `train.feature_net`; must not differ from it', None)


class Loss(OpenSection):
    """``type`` and the arguments of that loss."""

    type: Annotated[Word, Expected('the name of a registered loss')] = option('a loss registered with BasicSR')


class ExtraLossOptions(OpenSection):
    """One more loss: ``type`` and the arguments of that loss. It is a mean over the images of the batch."""

    type: Annotated[Word, Expected('the name of a registered loss')] = option(
        "a loss registered with BasicSR, this package's `PerceptualLoss` on the shared feature network, or a "
        'distillation loss'
    )
    on: Literal['synthetic', 'target'] = option(
        '`synthetic`: the output S(x_s) against the ground truth; `target`: S(x_t) against the output of the teacher, '
        'once distillation begins (distillation losses: only this)',
        'synthetic',
    )
    name: Annotated[str, Field(pattern=r'^\w+$', max_length=60), Expected('a word')] | None = option(
        'name in the log, after `l_`', None, shown='of the type'
    )
    loss_weight: Number = option('weight of the loss', 1, shown="the loss's")


DistillOptions = Annotated[
    Annotated[OtherDistillation, Tag('OtherDistillation')]
    | Annotated[PairwiseDistanceOptions, Tag('PairwiseDistanceOptions')]
    | Annotated[FeatureDistillationOptions, Tag('FeatureDistillationOptions')]
    | Annotated[ContrastiveDistillationOptions, Tag('ContrastiveDistillationOptions')]
    | Annotated[OutputDistillationOptions, Tag('OutputDistillationOptions')],
    by_type(OtherDistillation, *DISTILLATION),
]


# ---------------------------------------------------------------- optimizers and schedules
class Optimizer(OpenSection):
    """An optimizer and its arguments. One with ``train()`` and ``eval()`` is switched around validating and saving."""

    type: Annotated[Word, Expected('an optimizer of torch.optim, or the path of a class')] = option(
        'class of torch.optim (paper: Adam), or the path of any that can be imported, such as '
        '`schedulefree.AdamWScheduleFree`'
    )
    lr: Positive = option('learning rate (paper: 1e-4)')
    weight_decay: Weight = option('L2 penalty on the weights (paper: 0)', 0, shown="torch's")
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=3), Expected('two numbers in [0, 1)')] = option(
        'decay rates of the moments of Adam and related optimizers (paper: [0.9, 0.99])', [0.9, 0.999], shown="torch's"
    )


class MultiStep(Section):
    """Learning rate in steps. Both names mean BasicSR's MultiStepRestartLR."""

    type: Literal['MultiStepLR', 'MultiStepRestartLR'] = option('this schedule')
    milestones: Iterations = option(
        'iterations at which the learning rate is multiplied by gamma (paper: first at 25000)'
    )
    gamma: Positive = option('factor at each milestone (paper: 0.5)', 0.1)
    restarts: Iterations = option('iterations at which the learning rate starts anew', [0])
    restart_weights: Weights = option('factor on the learning rate at each restart', [1])


class CosineAnnealing(Section):
    """Cosine annealing in periods."""

    type: Literal['CosineAnnealingRestartLR'] = option('this schedule')
    periods: Periods = option('length of each period; together at least `total_iter`')
    restart_weights: Weights = option('factor on the learning rate in each period; as many as periods', [1])
    eta_min: Weight = option('lowest learning rate', 0)


SCHEDULES = (MultiStep, CosineAnnealing)


class OtherSchedule(OpenSection):
    """A schedule of torch or of another package, by the path of its class, and its arguments; one step an iteration."""

    type: Annotated[
        Word,
        Field(pattern=r'^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$'),
        Expected(
            "'MultiStepLR', 'CosineAnnealingRestartLR', or the path of a class: torch.optim.lr_scheduler.OneCycleLR",
            types_of(*SCHEDULES),
        ),
    ] = option('path of the class, such as `torch.optim.lr_scheduler.OneCycleLR`')


Scheduler = Annotated[
    Annotated[OtherSchedule, Tag('OtherSchedule')]
    | Annotated[MultiStep, Tag('MultiStep')]
    | Annotated[CosineAnnealing, Tag('CosineAnnealing')],
    by_type(OtherSchedule, *SCHEDULES),
]


# ---------------------------------------------------------------- train
class TrainOptions(Section):
    """How the student is adapted."""

    teacher: Literal['ema', 'static'] = option(
        'the teacher: `ema`, a moving average of the student, or `static`, a second network, frozen', 'ema'
    )
    ema_decay: Fraction = option(
        'decay of the moving average of the student (paper: 0.999); 0: no average (static teacher only)', 0.999
    )
    feature_net: FeatureNetOptions | None = option(
        'the feature network that all losses share', None, shown='VGG19, ImageNet'
    )
    distill_opt: DistillOptions | None = option('distillation loss; without it the training is supervised alone', None)
    distill_warmup_iters: Count | None = option(
        'supervised iterations after `net_d_init_iters` and before distillation begins (paper: 5, static teacher 0)',
        None,
        shown='5; static: 0',
    )
    detach_synthetic: bool | None = option(
        "the student's outputs on synthetic input get no gradient from the distances", None, shown='false; static: true'
    )
    pixel_opt: Loss | None = option(
        'supervised loss on pixels (paper: `HaarWaveletLoss`, loss_weight 0.5, weights [1, 0.1, 0.01])', None
    )
    perceptual_opt: PerceptualOptions | None = option('supervised loss on the features of `feature_net`', None)
    gan_opt: Loss | None = option(
        'adversarial loss; needs `network_d` (paper: `GANLoss`, gan_type vanilla, loss_weight 0.01)', None
    )
    extra_losses: list[ExtraLossOptions] | None = option(
        'more losses beside these', None, example='[{type: CharbonnierLoss, on: synthetic, loss_weight: 0.1}]'
    )
    gan_on_real: bool = option(
        'the adversarial loss also covers outputs on target-domain input, once distillation has begun', True
    )
    net_d_iters: PositiveCount = option('the student is updated in every n-th iteration (paper: 1)', 1)
    net_d_init_iters: Count | None = option(
        'iterations at the beginning in which only the discriminator is trained (paper: 300)',
        None,
        shown='300; without network_d: 0',
    )
    optim_g: Optimizer = option('optimizer of the student', example='{type: Adam, lr: 1e-4, betas: [0.9, 0.99]}')
    optim_d: Optimizer | None = option('optimizer of the discriminator; needs `network_d`', None)
    scheduler: Scheduler = option('schedule of all learning rates', example='{type: MultiStepLR, milestones: [25000]}')
    total_iter: PositiveCount = option('number of training iterations (paper: 100000)')
    warmup_iter: Annotated[int, Field(ge=-1, le=LARGEST)] = option(
        'iterations of linear warm-up of the learning rate; -1: none', -1
    )
    precision: Literal['auto', 'fp32', 'bf16', 'fp16'] = option(
        "number format of the networks' forward passes; losses stay in float32. `auto`: fp32 or bf16, whichever is "
        'measured to be faster on this machine when the run starts; a resumed run keeps the choice',
        'fp32',
    )
    threads: PositiveCount | Literal['auto'] | None = option(
        'threads of the CPU in each process; `auto`: one or all, measured as for `precision`', None, shown="torch's"
    )
    channels_last: bool = option(
        'memory format of the networks: faster, and equal up to rounding; false: to the bit as the reference code',
        False,
    )
    compile: bool | Literal['default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs'] = option(
        'run the networks through torch.compile; a name is its mode (reduce-overhead: CUDA graphs)', False
    )
    grad_clip: Positive | None = option("largest norm of the student's gradient; ~: not clipped", None)
    grad_clip_d: Positive | None = option("largest norm of the discriminator's gradient; ~: not clipped", None)
    max_nonfinite: PositiveCount = option(
        'consecutive iterations with a non-finite loss or gradient after which the run stops', 10
    )
    accumulate: PositiveCount = option(
        'number of equal parts in which a batch goes through the networks, with gradients accumulated for one step; '
        'must divide the batch',
        1,
    )
    recompute: bool = option(
        'recompute the forward pass of the student for its gradient instead of keeping its activations: less memory',
        False,
    )
    batch_loss: Literal['global', 'local'] = option(
        'losses that couple the images of a batch (Frobenius norms, batch matrix, contrastive) are computed over the '
        'batch of all processes and parts (`global`), or over that of each and averaged (`local`)',
        'global',
    )


# ---------------------------------------------------------------- data
class IoBackend(Section):
    """How files are read."""

    type: Literal['disk', 'lmdb'] = option('`lmdb`: the data folders end in .lmdb')
    readonly: bool = option('open the LMDB for reading only', True)
    lock: bool = option('lock the LMDB', False)
    readahead: bool = option('let the system read ahead in the LMDB', False)


class _Loader(Section):
    """Options that BasicSR's data loader reads."""

    name: Word | None = option('name in logs and of result folders', None, shown='its key')
    num_worker_per_gpu: Workers | None = option('processes that load data', None)
    batch_size_per_gpu: Size | None = option('images of each domain in the batch of a GPU', None)
    dataset_enlarge_ratio: Positive = option('length of an epoch, in passes over the data', 1)
    prefetch_mode: Literal['cpu', 'cuda'] | None = option('load batches ahead of the training', None)
    num_prefetch_queue: PositiveCount = option('batches that are held ready with `prefetch_mode: cpu`', 1)
    pin_memory: bool = option('page-locked memory for copies to the GPU; `prefetch_mode: cuda` needs it', False)
    persistent_workers: bool = option('keep the loading processes alive from epoch to epoch', False)


class UnpairedAdaptationSet(_Loader):
    """HR photographs, and beside them LR photographs of the target domain without ground truth."""

    type: Literal['UnpairedAdaptationDataset'] = option('this dataset')
    dataroot_gt: Path = option('HR photographs: a folder or an LMDB (.lmdb)')
    dataroot_lq: Path = option('LR photographs of the target domain: a folder or an LMDB')
    meta_info_file: Path | None = option('text file that lists the images of `dataroot_gt` to use', None)
    meta_info_file_gt: Path | None = option('another name of `meta_info_file`', None)
    meta_info_file_lq: Path | None = option('text file that lists the images of `dataroot_lq` to use', None)
    io_backend: IoBackend | None = option('how files are read', None, shown='by the name of the folder')
    gt_size: Size = option('side of the HR crop (paper: 192); a multiple of `scale`')
    lr_synthesis: LRSynthesisOptions | None = option(
        'how LR inputs are made from HR crops', None, shown='see LR synthesis'
    )
    use_hflip: bool = option('random horizontal flips', True)
    use_rot: bool = option('random vertical flips and transposition', True)
    cache: Literal['none', 'ram'] | None = option(
        '`ram`: decoded images are kept in memory, shared by the loading processes', 'none'
    )
    validate_: bool = option('check the header of every image before training', True, alias='validate')
    seed: Count | None = option('seed of crops, flips and kernels', None, shown='manual_seed')
    num_worker_per_gpu: Workers = option('processes that load data; the data do not depend on it')
    batch_size_per_gpu: Size = option('images of each domain in the batch of a GPU (paper: 8 on 2 GPUs)')
    batch_size_target_per_gpu: Size | None = option(
        'images of the target domain in it, where there shall be more or fewer; not with losses that compare the '
        'domains image by image, as those of the paper do',
        None,
        shown='batch_size_per_gpu',
    )


MetricNames = Annotated[list[Word], Expected('a list of names of val.metrics')]


def _measured_with() -> Any:
    return option(
        'validation and test: names of those of `val.metrics` that this set is measured with; `[]`: none, its images '
        'are looked at',
        None,
        shown='all; without ground truth: those that need none',
    )


class _WithoutTraining(_Loader):
    """Options that BasicSR's image datasets share."""

    dataroot_lq: Path = option('LR images: a folder or an LMDB')
    meta_info_file: Path | None = option(
        'text file (UTF-8) that lists the images to use, a line each: `name`, `name (h,w,c)` or, of pairs, `gt, lq`; '
        'names are relative to the data folder',
        None,
    )
    io_backend: IoBackend = option('how files are read')
    mean: Weights | None = option('value subtracted from each channel', None)
    std: Weights | None = option('value by which each channel is divided', None)
    color: Literal['y'] | None = option('`y`: luminance only', None)
    metrics: MetricNames | None = _measured_with()


class PairedSet(_WithoutTraining):
    """LR images with ground truth; for validation, testing and supervised training."""

    type: Literal['PairedImageDataset'] = option('this dataset')
    dataroot_gt: Path = option('HR images: a folder or an LMDB')
    filename_tmpl: Word = option(
        'pattern of the LR file names, where `{}` stands for the HR file name without extension; not for LMDBs and '
        'where a list names the LR file',
        '{}',
    )
    gt_size: Size | None = option('training only: side of the HR crop', None)
    use_hflip: bool = option('training only', False)
    use_rot: bool = option('training only', False)


class SingleSet(_WithoutTraining):
    """LR images without ground truth; for validation and testing."""

    type: Literal['SingleImageDataset'] = option('this dataset')


_SETS = (UnpairedAdaptationSet, PairedSet, SingleSet)


class OtherSet(_Loader):
    """Any other registered dataset: its own keys are not checked, these are."""

    model_config = ConfigDict(extra='allow')

    type: Annotated[Word, Expected('the name of a registered dataset', types_of(*_SETS))] = option(
        'a dataset registered with BasicSR'
    )
    dataroot_gt: Path | None = option('HR images', None)
    dataroot_lq: Path | None = option('LR images', None)
    metrics: MetricNames | None = _measured_with()


DatasetOptions = Annotated[
    Annotated[OtherSet, Tag('OtherSet')]
    | Annotated[UnpairedAdaptationSet, Tag('UnpairedAdaptationSet')]
    | Annotated[PairedSet, Tag('PairedSet')]
    | Annotated[SingleSet, Tag('SingleSet')],
    by_type(OtherSet, *_SETS),
]


# ---------------------------------------------------------------- path, val, logger
class PathOptions(Section):
    """Weights to start from: files, ``bundled:NAME`` (shipped with the package) or ``zoo:NAME`` (downloaded once)."""

    pretrain_network_g: Path | None = option('weights of the student: .pth or .safetensors', None)
    param_key_g: Word | None = option(
        'key of the state dict in that file (`model.state_dict` where one is within another); ~: the file is a state '
        'dict itself',
        'params',
    )
    strict_load_g: bool = option('the weights must fit exactly', True)
    pretrain_network_teacher: Path | None = option('weights of the static teacher', None)
    param_key_teacher: Word | None = option('key of the state dict in that file', 'params')
    strict_load_teacher: bool = option('the weights must fit exactly', True)
    pretrain_network_d: Path | None = option('weights of the discriminator', None)
    param_key_d: Word | None = option('key of the state dict in that file', 'params')
    strict_load_d: bool = option('the weights must fit exactly', True)
    resume_state: Path | None = option('training state (`training_states/N.state`) to resume from', None)
    ignore_resume_networks: Annotated[list[Word], Expected('a list of network names')] | None = option(
        'networks that a resumed run does not load from its own checkpoints', None
    )


class Metric(OpenSection):
    """``type`` and the arguments of that metric."""

    type: Annotated[Word, Expected('the name of a registered metric')] = option(
        '`calculate_psnr`, `calculate_ssim`, `calculate_niqe` (BasicSR), `calculate_lpips`, `calculate_dists`, '
        '`calculate_feature_distance`, `calculate_iqa` (this package), or one of your own'
    )
    better: Literal['higher', 'lower'] = option(
        'which values are better; decides which checkpoint is best',
        'higher',
        shown='higher; lower for metrics known to be so',
    )
    crop_border: Count = option('pixels cut from each side before measuring', 0, shown='required by most')


Metrics = Annotated[dict[Word, Metric], Expected('a section per metric')]


class ValOptions(Section):
    """Validation during training, or the test."""

    val_freq: PositiveCount | None = option('iterations between validations; required in training', None)
    save_img: bool = option('write the upscaled images to `visualization/`')
    suffix: Word | None = option('test only: suffix of the names of written images', None, shown='name')
    pbar: bool = option('show a progress bar', False)
    metrics: Metrics | None = option(
        'one section per metric; its key is its name in logs. Which sets it is measured on: `datasets.*.metrics`', None
    )
    color_correction: bool = option(
        'match the mean and standard deviation of each channel of an output to those of its input', False
    )
    tile: Count = option(
        'side in LR pixels of the tiles in which images too large for memory are upscaled; 0: the whole image at once',
        0,
    )
    tile_overlap: Count = option(
        'LR pixels around a tile that the network sees as well; 32 leaves no seam with realesr-general-x4v3', 32
    )


class WandbOptions(Section):
    """Weights & Biases."""

    project: str | None = option('project to log to; needs `use_tb_logger`. ~: none', None)
    resume_id: str | None = option('id of the run to continue', None)
    name: Word | None = option('name of the run there', None, shown='`name` of the file')
    entity: Word | None = option('user or team that the project belongs to', None, shown="wandb's")
    tags: Annotated[list[Word], Expected('a list of words')] | None = option('tags of the run', None)
    mode: Literal['online', 'offline', 'disabled'] | None = option(
        '`offline`: write to the folder wandb/, to be sent later by `wandb sync`', None, shown="wandb's"
    )


class LoggerOptions(Section):
    """Logs and checkpoints."""

    print_freq: PositiveCount = option('iterations between lines of the log')
    save_checkpoint_freq: PositiveCount = option('iterations between checkpoints')
    keep_checkpoints: PositiveCount | None = option('number of the newest checkpoints that are kept; ~: all', None)
    keep_best: Word | None = option(
        'METRIC or DATASET/METRIC of the validation by which the best checkpoint is kept as well', None
    )
    use_tb_logger: bool = option('write curves for TensorBoard', False)
    wandb: WandbOptions | None = option('log to Weights & Biases', None)


class DistOptions(Section):
    """Training in several processes."""

    backend: Literal['nccl', 'gloo'] = option('backend of torch.distributed; on the CPU always gloo', 'nccl')
    port: Annotated[int, Field(ge=1, le=65535)] | None = option('port of the first node, with `--launcher slurm`', None)


Name = Annotated[
    str,
    Field(pattern=r'^[^/\\\x00-\x1f\x7f]*[^/\\\x00-\x1f\x7f.][^/\\\x00-\x1f\x7f]*$', max_length=200),
    Expected('a word without slashes, which names the output folder'),
]


class Options(Section):
    """A whole option file."""

    name: Name = option('names the output folders')
    model_type: Annotated[Word, Expected('the name of a registered model')] = option(
        '`PDDModel`, which everything below is for'
    )
    scale: Annotated[int, Field(ge=1, le=64)] = option('scale factor of the super-resolution (paper: 4)')
    num_gpu: Devices = option('number of GPUs; `auto`: all, 0: run on the CPU')
    manual_seed: Seed | None = option('seed of all random numbers', None, shown='drawn')
    find_unused_parameters: bool = option('option of DistributedDataParallel; PDDModel has no unused parameters', False)
    datasets: Annotated[dict[Word, DatasetOptions], Expected('a section')] = option(
        '`train`, and `val` or `val_2` ... (training); `test_1` ... (test)'
    )
    network_g: Network = option('the student, which is trained; its moving average is what you deploy')
    network_teacher: Network | None = option('the static teacher, a generalist, with `train.teacher: static`', None)
    network_d: Network | None = option('the discriminator; without it there is no adversarial loss', None)
    path: PathOptions = option('weights to start from')
    train: TrainOptions | None = option('training; required by `basicsr train`', None)
    val: ValOptions | None = option('validation; required by `basicsr test`', None)
    logger: LoggerOptions | None = option('logs and checkpoints; required by `basicsr train`', None)
    dist_params: DistOptions | None = option('training in several processes', None)
    import_: Imports | None = option(
        'Python files or modules with classes of your own, which are imported, that is run, before anything else; '
        '`--import` adds to it',
        None,
        example='[my_loss.py]',
        alias='import',
    )

    @property
    def networks(self) -> dict[str, Network]:
        """The sections of networks by their key."""
        named = {key: getattr(self, key) for key in ('network_g', 'network_teacher', 'network_d')}
        return {key: section for key, section in named.items() if section is not None}
