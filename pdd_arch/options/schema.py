"""Every option, typed: what this package adds to BasicSR's option files and the sections of BasicSR that it uses.

The one place for names, types, limits, defaults and meanings. Checks, error messages, ``options/README.md`` and
``options/schema.json`` come from here. Defaults of losses and of the feature network stand in the signature of their
class, which can be used without an option file, and are taken from there.
"""

import inspect
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from pdd_arch.degradations.lr_synthesis import DEFAULT_KERNELS
from pdd_arch.degradations.real_esrgan import SMALLEST_KERNEL, BlurKernel, RealESRGAN
from pdd_arch.features.feature_net import FeatureNet
from pdd_arch.losses.baseline_losses import ContrastiveDistillationLoss, FeatureDistillationLoss, OutputDistillationLoss
from pdd_arch.losses.distance_loss import PairwiseDistanceLoss
from pdd_arch.losses.supervised import FeaturePerceptualLoss

#: no count is larger; arithmetic with floats and 32-bit seeds stays exact
LARGEST = 2**31 - 1

Count = Annotated[int, Field(ge=0, le=LARGEST)]
PositiveCount = Annotated[int, Field(ge=1, le=LARGEST)]
Workers = Annotated[int, Field(ge=0, le=1024)]
Devices = Literal['auto'] | Workers
Size = Annotated[int, Field(ge=1, le=65536)]
Seed = Annotated[int, Field(ge=0, le=LARGEST - 4096)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


@dataclass(frozen=True)
class _Expected:
    """Words of an error message, and other notes of the JSON schema, where those made from the type say less."""

    text: str
    unlike: tuple[str, ...] = ()

    def __get_pydantic_json_schema__(self, core: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        schema = {**handler(core), 'x-expected': self.text}
        return schema | {'not': {'enum': [*self.unlike]}} if self.unlike else schema


FeatureNetwork = Literal['vgg19', 'vgg16', 'alexnet', 'squeezenet1_0', 'squeezenet1_1']
Kernel = Literal['bicubic', 'bilinear', 'area', 'matlab_bicubic']
Word = Annotated[str, Field(max_length=200)]
Path = Annotated[str, Field(max_length=4096), _Expected('a path')]
Iterations = Annotated[list[Count], _Expected('a list of iterations')]
Periods = Annotated[list[PositiveCount], _Expected('a list of numbers of iterations, each at least 1')]
Weights = Annotated[list[Number], _Expected('a list of numbers')]
Layers = Annotated[dict[Word, Number], _Expected('a mapping of layer names to weights')]
Imports = Annotated[
    str | Annotated[list[Annotated[str, Field(min_length=1, max_length=4096)]], Field(max_length=100)],
    _Expected('a list of Python files or modules'),
]


def _opt(meaning: str, default: Any = ..., shown: str = '', example: str = '', alias: str | None = None) -> Any:
    """A field with its meaning, a clause for the reference; without a `default` the option is required.

    Args:
        shown: stands for the default in the reference, where that depends on other options.
        example: an example of a value, as YAML.
        alias: its key in the file, where the name of the field is another.
    """
    notes = {'x-default': shown, 'x-example': example}
    text = f'{meaning}, for example {example}' if example else meaning
    extra: dict[str, Any] = {k: v for k, v in notes.items() if v}
    return Field(default, alias=alias, description=text, json_schema_extra=extra or None)


def _signature(owner: Callable[..., Any]) -> Callable[..., Any]:
    """A `_opt` whose default is that of the parameter of `owner`'s constructor."""
    parameters = inspect.signature(owner).parameters

    def option(name: str, meaning: str) -> Any:
        default = parameters[name].default
        if default is inspect.Parameter.empty:
            return _opt(meaning)
        plain = {Mapping: dict, tuple: list}
        return _opt(meaning, next((to(default) for kind, to in plain.items() if isinstance(default, kind)), default))

    return option


class Section(BaseModel):
    """A section of which every key is known."""

    model_config = ConfigDict(strict=True, extra='forbid', frozen=True, protected_namespaces=())

    def given(self) -> dict[str, Any]:
        """The keys that the file has, without defaults: keywords of the class that ``type`` names, and ``type``."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class OpenSection(Section):
    """A section that also holds keywords of the registered class that ``type`` names; its signature judges them."""

    model_config = ConfigDict(extra='allow')


def types_of(*sections: type[Section]) -> tuple[str, ...]:
    """The values of ``type`` that the sections are for."""
    return tuple(name for cls in sections for name in get_args(cls.model_fields['type'].annotation))


def _by_type(other: type[Section], *known: type[Section]) -> Discriminator:
    """Chooses one of the sections `known` by ``type``, or `other` for any other type."""
    tags = {name: cls.__name__ for cls in known for name in types_of(cls)}

    def choose(value: object) -> str:
        kind = value.get('type') if isinstance(value, Mapping) else getattr(value, 'type', None)
        return tags.get(kind, other.__name__) if isinstance(kind, str) else other.__name__

    return Discriminator(choose)


# ---------------------------------------------------------------- networks
class Network(OpenSection):
    """``type`` and the arguments of that network."""

    type: Annotated[Word, _Expected('the name of a registered network')] = _opt('a network registered with BasicSR')


_feature_net = _signature(FeatureNet)


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
_pairwise = _signature(PairwiseDistanceLoss)
_fitnets = _signature(FeatureDistillationLoss)
_contrast = _signature(ContrastiveDistillationLoss)
_output = _signature(OutputDistillationLoss)
_perceptual = _signature(FeaturePerceptualLoss)
_OWN_NET = 'repeats `train.feature_net`; must not differ from it'


class PairwiseDistanceOptions(Section):
    """The paper's loss."""

    type: Literal['PairwiseDistanceLoss'] = _opt('this loss')
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

    type: Literal['FeatureDistillationLoss'] = _opt('this loss')
    layers: Layers = _fitnets('layers', 'weights by layer')
    loss_weight: Number = _fitnets('loss_weight', 'weight of the term')
    criterion: Literal['l1', 'l2'] = _fitnets('criterion', 'distance, averaged over elements (FitNets: l2)')
    feature_net: FeatureNetOptions | None = _fitnets('feature_net', _OWN_NET)


class ContrastiveDistillationOptions(Section):
    """Baseline: contrastive distillation (CRD) inside the batch."""

    type: Literal['ContrastiveDistillationLoss'] = _opt('this loss')
    layers: Layers = _contrast('layers', 'weights by layer')
    loss_weight: Number = _contrast('loss_weight', 'weight of the term')
    temperature: Positive = _contrast('temperature', 'temperature of the softmax (CRD: 0.07)')
    feature_net: FeatureNetOptions | None = _contrast('feature_net', _OWN_NET)


class OutputDistillationOptions(Section):
    """Baseline: L1 between the outputs of student and teacher."""

    type: Literal['OutputDistillationLoss'] = _opt('this loss')
    loss_weight: Number = _output('loss_weight', 'weight of the term')
    feature_net: FeatureNetOptions | None = _output('feature_net', 'accepted, but not used')


DISTILLATION = (
    *(PairwiseDistanceOptions, FeatureDistillationOptions),
    *(ContrastiveDistillationOptions, OutputDistillationOptions),
)


class OtherDistillation(OpenSection):
    """A distillation loss of your own: ``type`` and its arguments."""

    type: Annotated[Word, _Expected('the name of a registered loss', types_of(*DISTILLATION))] = _opt(
        'a registered subclass of `DistillationLoss`'
    )


class PerceptualOptions(Section):
    """BasicSR's ``PerceptualLoss``, computed on the shared feature network."""

    type: Literal['PerceptualLoss'] = _opt('this loss', 'PerceptualLoss')
    layer_weights: Layers = _perceptual(
        'layer_weights', 'weights by layer (paper: conv1_2 0.1, conv2_2 0.1, conv3_4 1, conv4_4 1, conv5_4 1)'
    )
    perceptual_weight: Number = _perceptual('perceptual_weight', 'weight of the distance between features (paper: 1)')
    style_weight: Number = _perceptual('style_weight', 'weight of the distance between Gram matrices (paper: 0)')
    criterion: Literal['l1', 'l2', 'fro'] = _perceptual('criterion', 'distance between features (paper: l1)')
    vgg_type: FeatureNetwork | None = _opt("BasicSR's name for `train.feature_net.type`; must not differ from it", None)
    use_input_norm: bool | None = _opt('repeats the option of `train.feature_net`; must not differ from it', None)
    range_norm: bool | None = _opt('repeats the option of `train.feature_net`; must not differ from it', None)


class Loss(OpenSection):
    """``type`` and the arguments of that loss."""

    type: Annotated[Word, _Expected('the name of a registered loss')] = _opt('a loss registered with BasicSR')


class ExtraLossOptions(OpenSection):
    """One more loss: ``type`` and the arguments of that loss. It is a mean over the images of the batch."""

    type: Annotated[Word, _Expected('the name of a registered loss')] = _opt(
        "a loss registered with BasicSR, this package's `PerceptualLoss` on the shared feature network, or a "
        'distillation loss'
    )
    on: Literal['synthetic', 'target'] = _opt(
        '`synthetic`: the output S(x_s) against the ground truth; `target`: S(x_t) against the output of the teacher, '
        'once distillation begins (distillation losses: only this)',
        'synthetic',
    )
    name: Annotated[str, Field(pattern=r'^\w+$', max_length=60), _Expected('a word')] | None = _opt(
        'name in the log, after `l_`', None, shown='of the type'
    )
    loss_weight: Number = _opt('weight of the loss', 1, shown="the loss's")


DistillOptions = Annotated[
    Annotated[OtherDistillation, Tag('OtherDistillation')]
    | Annotated[PairwiseDistanceOptions, Tag('PairwiseDistanceOptions')]
    | Annotated[FeatureDistillationOptions, Tag('FeatureDistillationOptions')]
    | Annotated[ContrastiveDistillationOptions, Tag('ContrastiveDistillationOptions')]
    | Annotated[OutputDistillationOptions, Tag('OutputDistillationOptions')],
    _by_type(OtherDistillation, *DISTILLATION),
]


# ---------------------------------------------------------------- optimizers and schedules
class Optimizer(OpenSection):
    """An optimizer and its arguments. One with ``train()`` and ``eval()`` is switched around validating and saving."""

    type: Annotated[Word, _Expected('an optimizer of torch.optim, or the path of a class')] = _opt(
        'class of torch.optim (paper: Adam), or the path of any that can be imported, such as '
        '`schedulefree.AdamWScheduleFree`'
    )
    lr: Positive = _opt('learning rate (paper: 1e-4)')
    weight_decay: Weight = _opt('L2 penalty on the weights (paper: 0)', 0, shown="torch's")
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=3), _Expected('two numbers in [0, 1)')] = _opt(
        'decay rates of the moments of Adam and related optimizers (paper: [0.9, 0.99])', [0.9, 0.999], shown="torch's"
    )


class MultiStep(Section):
    """Learning rate in steps. Both names mean BasicSR's MultiStepRestartLR."""

    type: Literal['MultiStepLR', 'MultiStepRestartLR'] = _opt('this schedule')
    milestones: Iterations = _opt(
        'iterations at which the learning rate is multiplied by gamma (paper: first at 25000)'
    )
    gamma: Positive = _opt('factor at each milestone (paper: 0.5)', 0.1)
    restarts: Iterations = _opt('iterations at which the learning rate starts anew', [0])
    restart_weights: Weights = _opt('factor on the learning rate at each restart', [1])


class CosineAnnealing(Section):
    """Cosine annealing in periods."""

    type: Literal['CosineAnnealingRestartLR'] = _opt('this schedule')
    periods: Periods = _opt('length of each period; together at least `total_iter`')
    restart_weights: Weights = _opt('factor on the learning rate in each period; as many as periods', [1])
    eta_min: Weight = _opt('lowest learning rate', 0)


SCHEDULES = (MultiStep, CosineAnnealing)


class OtherSchedule(OpenSection):
    """A schedule of torch or of another package, by the path of its class, and its arguments; one step an iteration."""

    type: Annotated[
        Word,
        Field(pattern=r'^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$'),
        _Expected(
            "'MultiStepLR', 'CosineAnnealingRestartLR', or the path of a class: torch.optim.lr_scheduler.OneCycleLR",
            types_of(*SCHEDULES),
        ),
    ] = _opt('path of the class, such as `torch.optim.lr_scheduler.OneCycleLR`')


Scheduler = Annotated[
    Annotated[OtherSchedule, Tag('OtherSchedule')]
    | Annotated[MultiStep, Tag('MultiStep')]
    | Annotated[CosineAnnealing, Tag('CosineAnnealing')],
    _by_type(OtherSchedule, *SCHEDULES),
]


# ---------------------------------------------------------------- train
class TrainOptions(Section):
    """How the student is adapted."""

    teacher: Literal['ema', 'static'] = _opt(
        'the teacher: `ema`, a moving average of the student, or `static`, a second network, frozen', 'ema'
    )
    ema_decay: Fraction = _opt(
        'decay of the moving average of the student (paper: 0.999); 0: no average (static teacher only)', 0.999
    )
    feature_net: FeatureNetOptions | None = _opt(
        'the feature network that all losses share', None, shown='VGG19, ImageNet'
    )
    distill_opt: DistillOptions | None = _opt('distillation loss; without it the training is supervised alone', None)
    distill_warmup_iters: Count | None = _opt(
        'supervised iterations after `net_d_init_iters` and before distillation begins (paper: 5, static teacher 0)',
        None,
        shown='5; static: 0',
    )
    detach_synthetic: bool | None = _opt(
        "the student's outputs on synthetic input get no gradient from the distances", None, shown='false; static: true'
    )
    pixel_opt: Loss | None = _opt(
        'supervised loss on pixels (paper: `HaarWaveletLoss`, loss_weight 0.5, weights [1, 0.1, 0.01])', None
    )
    perceptual_opt: PerceptualOptions | None = _opt('supervised loss on the features of `feature_net`', None)
    gan_opt: Loss | None = _opt(
        'adversarial loss; needs `network_d` (paper: `GANLoss`, gan_type vanilla, loss_weight 0.01)', None
    )
    extra_losses: list[ExtraLossOptions] | None = _opt(
        'more losses beside these', None, example='[{type: CharbonnierLoss, on: synthetic, loss_weight: 0.1}]'
    )
    gan_on_real: bool = _opt(
        'the adversarial loss also covers outputs on target-domain input, once distillation has begun', True
    )
    net_d_iters: PositiveCount = _opt('the student is updated in every n-th iteration (paper: 1)', 1)
    net_d_init_iters: Count | None = _opt(
        'iterations at the beginning in which only the discriminator is trained (paper: 300)',
        None,
        shown='300; without network_d: 0',
    )
    optim_g: Optimizer = _opt('optimizer of the student', example='{type: Adam, lr: 1e-4, betas: [0.9, 0.99]}')
    optim_d: Optimizer | None = _opt('optimizer of the discriminator; needs `network_d`', None)
    scheduler: Scheduler = _opt('schedule of all learning rates', example='{type: MultiStepLR, milestones: [25000]}')
    total_iter: PositiveCount = _opt('number of training iterations (paper: 100000)')
    warmup_iter: Annotated[int, Field(ge=-1, le=LARGEST)] = _opt(
        'iterations of linear warm-up of the learning rate; -1: none', -1
    )
    precision: Literal['auto', 'fp32', 'bf16', 'fp16'] = _opt(
        "number format of the networks' forward passes; losses stay in float32. `auto`: fp32 or bf16, whichever is "
        'measured to be faster on this machine when the run starts; a resumed run keeps the choice',
        'fp32',
    )
    threads: PositiveCount | Literal['auto'] | None = _opt(
        'threads of the CPU in each process; `auto`: one or all, measured as for `precision`', None, shown="torch's"
    )
    channels_last: bool = _opt(
        'memory format of the networks: faster, and equal up to rounding; false: to the bit as the reference code',
        False,
    )
    compile: bool | Literal['default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs'] = _opt(
        'run the networks through torch.compile; a name is its mode (reduce-overhead: CUDA graphs)', False
    )
    grad_clip: Positive | None = _opt("largest norm of the student's gradient; ~: not clipped", None)
    grad_clip_d: Positive | None = _opt("largest norm of the discriminator's gradient; ~: not clipped", None)
    max_nonfinite: PositiveCount = _opt(
        'consecutive iterations with a non-finite loss or gradient after which the run stops', 10
    )
    accumulate: PositiveCount = _opt(
        'number of equal parts in which a batch goes through the networks, with gradients accumulated for one step; '
        'must divide the batch',
        1,
    )
    recompute: bool = _opt(
        'recompute the forward pass of the student for its gradient instead of keeping its activations: less memory',
        False,
    )
    batch_loss: Literal['global', 'local'] = _opt(
        'losses that couple the images of a batch (Frobenius norms, batch matrix, contrastive) are computed over the '
        'batch of all processes and parts (`global`), or over that of each and averaged (`local`)',
        'global',
    )


# ---------------------------------------------------------------- data
class IoBackend(Section):
    """How files are read."""

    type: Literal['disk', 'lmdb'] = _opt('`lmdb`: the data folders end in .lmdb')
    readonly: bool = _opt('open the LMDB for reading only', True)
    lock: bool = _opt('lock the LMDB', False)
    readahead: bool = _opt('let the system read ahead in the LMDB', False)


def _between(low: float, high: float, accepts: Callable[[Any, Any], bool]) -> AfterValidator:
    """For the smallest and the largest of what is drawn; `accepts` says whether the two go together."""

    def check(value: list[Any]) -> list[Any]:
        if low <= value[0] and value[1] <= high and accepts(*value):
            return value
        raise ValueError

    return AfterValidator(check)


def _hold_one(low: float, high: float) -> bool:
    return low <= 1 <= high


def _are_weights(value: list[float]) -> list[float]:
    if min(value) < 0 or not 0 < sum(value) < math.inf:
        raise ValueError
    return value


def _is_odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError
    return value


Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), _Expected('a probability from 0 to 1')]
_Weights3 = Annotated[
    list[Number],
    Field(min_length=3, max_length=3),
    AfterValidator(_are_weights),
    _Expected('three weights, not all 0: of enlarging, reducing and keeping the size'),
]
_KernelWeights = Annotated[
    list[Number],
    Field(min_length=1),
    AfterValidator(_are_weights),
    _Expected('a weight for each kernel of the list, not all 0'),
]
_KernelSize = Annotated[
    int,
    Field(ge=SMALLEST_KERNEL, le=101),
    AfterValidator(_is_odd),
    _Expected(f'an odd whole number from {SMALLEST_KERNEL} to 101'),
]
_Kernels = Annotated[list[BlurKernel], Field(min_length=1)]
_TWO = Field(min_length=2, max_length=2)
_Sigmas = Annotated[
    list[Number], _TWO, _between(0.001, 100, operator.lt), _Expected('two numbers from 0.001 to 100, the first smaller')
]
_Shapes = Annotated[
    list[Number], _TWO, _between(0.01, 100, _hold_one), _Expected('two numbers from 0.01 to 100, with 1 between them')
]
_Factors = Annotated[
    list[Number], _TWO, _between(0.01, 8, _hold_one), _Expected('two factors from 0.01 to 8, with 1 between them')
]
_Noise = Annotated[
    list[Number], _TWO, _between(0, 255, operator.le), _Expected('two numbers from 0 to 255, the first not larger')
]
_Scales = Annotated[
    list[Number], _TWO, _between(0, 100, operator.le), _Expected('two numbers from 0 to 100, the first not larger')
]
_Qualities = Annotated[
    list[Number], _TWO, _between(1, 100, operator.le), _Expected('two numbers from 1 to 100, the first not larger')
]
_real_esrgan = _signature(RealESRGAN)
#: where Real-ESRGAN's defaults are from: Wang et al., ICCVW 2021, paragraph "Degradation details", or the option files
_PAPER, _FILES = "(Real-ESRGAN's paper)", "(Real-ESRGAN's option files)"


class RealESRGANKernels(Section):
    """Blur kernels of Real-ESRGAN's degradation, by the names that its dataset has for them."""

    blur_kernel_size: _KernelSize = _real_esrgan(
        'blur_kernel_size', f'largest side of a blur kernel; sides are drawn from {SMALLEST_KERNEL} to it {_PAPER}'
    )
    kernel_list: _Kernels = _real_esrgan('kernel_list', f'kinds of blur kernels of the first round {_PAPER}')
    kernel_prob: _KernelWeights = _real_esrgan('kernel_prob', f'their weights {_FILES}')
    sinc_prob: Probability = _real_esrgan(
        'sinc_prob', f'probability of a sinc filter in place of such a kernel {_PAPER}'
    )
    blur_sigma: _Sigmas = _real_esrgan('blur_sigma', f'standard deviations of the kernels, in pixels {_PAPER}')
    betag_range: _Shapes = _real_esrgan('betag_range', f'shapes of the generalized Gaussian kernels {_PAPER}')
    betap_range: _Shapes = _real_esrgan('betap_range', f'shapes of the plateau kernels {_PAPER}')
    blur_kernel_size2: _KernelSize = _real_esrgan(
        'blur_kernel_size2', f'as `blur_kernel_size`, in the second round and of the final sinc filter {_PAPER}'
    )
    kernel_list2: _Kernels = _real_esrgan('kernel_list2', f'kinds of blur kernels of the second round {_PAPER}')
    kernel_prob2: _KernelWeights = _real_esrgan('kernel_prob2', f'their weights {_FILES}')
    sinc_prob2: Probability = _real_esrgan('sinc_prob2', f'as `sinc_prob`, in the second round {_PAPER}')
    blur_sigma2: _Sigmas = _real_esrgan('blur_sigma2', f'as `blur_sigma`, in the second round {_PAPER}')
    betag_range2: _Shapes = _real_esrgan('betag_range2', f'as `betag_range`, in the second round {_PAPER}')
    betap_range2: _Shapes = _real_esrgan('betap_range2', f'as `betap_range`, in the second round {_PAPER}')
    final_sinc_prob: Probability = _real_esrgan('final_sinc_prob', f'probability of the final sinc filter {_PAPER}')


class RealESRGANResizing(Section):
    """Resizing, noise and JPEG of Real-ESRGAN's degradation, by the names that its models have for them."""

    resize_prob: _Weights3 = _real_esrgan(
        'resize_prob', f'weights of enlarging, reducing and keeping the size in the first round {_FILES}'
    )
    resize_range: _Factors = _real_esrgan('resize_range', f'factors of resizing {_FILES}')
    gaussian_noise_prob: Probability = _real_esrgan(
        'gaussian_noise_prob', f'probability of Gaussian noise; otherwise Poisson noise is added {_PAPER}'
    )
    noise_range: _Noise = _real_esrgan('noise_range', f'standard deviations of Gaussian noise, of 255 {_PAPER}')
    poisson_scale_range: _Scales = _real_esrgan('poisson_scale_range', f'factors on Poisson noise {_PAPER}')
    gray_noise_prob: Probability = _real_esrgan(
        'gray_noise_prob', f'probability that the noise is the same in all channels {_PAPER}'
    )
    jpeg_range: _Qualities = _real_esrgan('jpeg_range', f'qualities of JPEG {_PAPER}')
    second_blur_prob: Probability = _real_esrgan(
        'second_blur_prob', f'probability of blur in the second round {_PAPER}'
    )
    resize_prob2: _Weights3 = _real_esrgan('resize_prob2', f'as `resize_prob`, in the second round {_FILES}')
    resize_range2: _Factors = _real_esrgan(
        'resize_range2', f'as `resize_range`, in the second round, counted from the size of the LR image {_FILES}'
    )
    gaussian_noise_prob2: Probability = _real_esrgan(
        'gaussian_noise_prob2', f'as `gaussian_noise_prob`, in the second round {_PAPER}'
    )
    noise_range2: _Noise = _real_esrgan('noise_range2', f'as `noise_range`, in the second round {_PAPER}')
    poisson_scale_range2: _Scales = _real_esrgan(
        'poisson_scale_range2', f'as `poisson_scale_range`, in the second round {_PAPER}'
    )
    gray_noise_prob2: Probability = _real_esrgan(
        'gray_noise_prob2', f'as `gray_noise_prob`, in the second round {_PAPER}'
    )
    jpeg_range2: _Qualities = _real_esrgan('jpeg_range2', f'as `jpeg_range`, in the second round {_PAPER}')


class LRSynthesisOptions(RealESRGANKernels, RealESRGANResizing):
    """How the LR half of a synthetic pair is made. All but the last three are of `degradation: real_esrgan`."""

    resize: Kernel | Annotated[list[Kernel], Field(min_length=1)] = _opt(
        'kernels, one of which is drawn for each crop (paper: the three of OpenCV, or matlab_bicubic)',
        [*DEFAULT_KERNELS],
    )
    degradation: Literal['real_esrgan'] | None = _opt(
        'replaces `resize` by the random second-order degradation of Real-ESRGAN, a baseline', None
    )
    noise_injection: bool = _opt(
        'add noise taken from flat regions of the target-domain photographs, as a baseline does', False
    )


class _Loader(Section):
    """Options that BasicSR's data loader reads."""

    name: Word | None = _opt('name in logs and of result folders', None, shown='its key')
    num_worker_per_gpu: Workers | None = _opt('processes that load data', None)
    batch_size_per_gpu: Size | None = _opt('images of each domain in the batch of a GPU', None)
    dataset_enlarge_ratio: Positive = _opt('length of an epoch, in passes over the data', 1)
    prefetch_mode: Literal['cpu', 'cuda'] | None = _opt('load batches ahead of the training', None)
    num_prefetch_queue: PositiveCount = _opt('batches that are held ready with `prefetch_mode: cpu`', 1)
    pin_memory: bool = _opt('page-locked memory for copies to the GPU; `prefetch_mode: cuda` needs it', False)
    persistent_workers: bool = _opt('keep the loading processes alive from epoch to epoch', False)


class UnpairedAdaptationSet(_Loader):
    """HR photographs, and beside them LR photographs of the target domain without ground truth."""

    type: Literal['UnpairedAdaptationDataset'] = _opt('this dataset')
    dataroot_gt: Path = _opt('HR photographs: a folder or an LMDB (.lmdb)')
    dataroot_lq: Path = _opt('LR photographs of the target domain: a folder or an LMDB')
    meta_info_file: Path | None = _opt('text file that lists the images of `dataroot_gt` to use', None)
    meta_info_file_gt: Path | None = _opt('another name of `meta_info_file`', None)
    meta_info_file_lq: Path | None = _opt('text file that lists the images of `dataroot_lq` to use', None)
    io_backend: IoBackend | None = _opt('how files are read', None, shown='by the name of the folder')
    gt_size: Size = _opt('side of the HR crop (paper: 192); a multiple of `scale`')
    lr_synthesis: LRSynthesisOptions | None = _opt(
        'how LR inputs are made from HR crops', None, shown='see LR synthesis'
    )
    use_hflip: bool = _opt('random horizontal flips', True)
    use_rot: bool = _opt('random vertical flips and transposition', True)
    cache: Literal['none', 'ram'] | None = _opt(
        '`ram`: decoded images are kept in memory, shared by the loading processes', 'none'
    )
    validate_: bool = _opt('check the header of every image before training', True, alias='validate')
    seed: Count | None = _opt('seed of crops, flips and kernels', None, shown='manual_seed')
    num_worker_per_gpu: Workers = _opt('processes that load data; the data do not depend on it')
    batch_size_per_gpu: Size = _opt('images of each domain in the batch of a GPU (paper: 8 on 2 GPUs)')
    batch_size_target_per_gpu: Size | None = _opt(
        'images of the target domain in it, where there shall be more or fewer; not with losses that compare the '
        'domains image by image, as those of the paper do',
        None,
        shown='batch_size_per_gpu',
    )


MetricNames = Annotated[list[Word], _Expected('a list of names of val.metrics')]


def _measured_with() -> Any:
    return _opt(
        'validation and test: names of those of `val.metrics` that this set is measured with; `[]`: none, its images '
        'are looked at',
        None,
        shown='all; without ground truth: those that need none',
    )


class _WithoutTraining(_Loader):
    """Options that BasicSR's image datasets share."""

    dataroot_lq: Path = _opt('LR images: a folder or an LMDB')
    meta_info_file: Path | None = _opt(
        'text file (UTF-8) that lists the images to use, a line each: `name`, `name (h,w,c)` or, of pairs, `gt, lq`; '
        'names are relative to the data folder',
        None,
    )
    io_backend: IoBackend = _opt('how files are read')
    mean: Weights | None = _opt('value subtracted from each channel', None)
    std: Weights | None = _opt('value by which each channel is divided', None)
    color: Literal['y'] | None = _opt('`y`: luminance only', None)
    metrics: MetricNames | None = _measured_with()


class PairedSet(_WithoutTraining):
    """LR images with ground truth; for validation, testing and supervised training."""

    type: Literal['PairedImageDataset'] = _opt('this dataset')
    dataroot_gt: Path = _opt('HR images: a folder or an LMDB')
    filename_tmpl: Word = _opt(
        'pattern of the LR file names, where `{}` stands for the HR file name without extension; not for LMDBs and '
        'where a list names the LR file',
        '{}',
    )
    gt_size: Size | None = _opt('training only: side of the HR crop', None)
    use_hflip: bool = _opt('training only', False)
    use_rot: bool = _opt('training only', False)


class SingleSet(_WithoutTraining):
    """LR images without ground truth; for validation and testing."""

    type: Literal['SingleImageDataset'] = _opt('this dataset')


_SETS = (UnpairedAdaptationSet, PairedSet, SingleSet)


class OtherSet(_Loader):
    """Any other registered dataset: its own keys are not checked, these are."""

    model_config = ConfigDict(extra='allow')

    type: Annotated[Word, _Expected('the name of a registered dataset', types_of(*_SETS))] = _opt(
        'a dataset registered with BasicSR'
    )
    dataroot_gt: Path | None = _opt('HR images', None)
    dataroot_lq: Path | None = _opt('LR images', None)
    metrics: MetricNames | None = _measured_with()


DatasetOptions = Annotated[
    Annotated[OtherSet, Tag('OtherSet')]
    | Annotated[UnpairedAdaptationSet, Tag('UnpairedAdaptationSet')]
    | Annotated[PairedSet, Tag('PairedSet')]
    | Annotated[SingleSet, Tag('SingleSet')],
    _by_type(OtherSet, *_SETS),
]


# ---------------------------------------------------------------- path, val, logger
class PathOptions(Section):
    """Weights to start from: files, ``bundled:NAME`` (shipped with the package) or ``zoo:NAME`` (downloaded once)."""

    pretrain_network_g: Path | None = _opt('weights of the student: .pth or .safetensors', None)
    param_key_g: Word | None = _opt(
        'key of the state dict in that file (`model.state_dict` where one is within another); ~: the file is a state '
        'dict itself',
        'params',
    )
    strict_load_g: bool = _opt('the weights must fit exactly', True)
    pretrain_network_teacher: Path | None = _opt('weights of the static teacher', None)
    param_key_teacher: Word | None = _opt('key of the state dict in that file', 'params')
    strict_load_teacher: bool = _opt('the weights must fit exactly', True)
    pretrain_network_d: Path | None = _opt('weights of the discriminator', None)
    param_key_d: Word | None = _opt('key of the state dict in that file', 'params')
    strict_load_d: bool = _opt('the weights must fit exactly', True)
    resume_state: Path | None = _opt('training state (`training_states/N.state`) to resume from', None)
    ignore_resume_networks: Annotated[list[Word], _Expected('a list of network names')] | None = _opt(
        'networks that a resumed run does not load from its own checkpoints', None
    )


class Metric(OpenSection):
    """``type`` and the arguments of that metric."""

    type: Annotated[Word, _Expected('the name of a registered metric')] = _opt(
        '`calculate_psnr`, `calculate_ssim`, `calculate_niqe` (BasicSR), `calculate_lpips`, `calculate_dists`, '
        '`calculate_feature_distance`, `calculate_iqa` (this package), or one of your own'
    )
    better: Literal['higher', 'lower'] = _opt(
        'which values are better; decides which checkpoint is best',
        'higher',
        shown='higher; lower for metrics known to be so',
    )
    crop_border: Count = _opt('pixels cut from each side before measuring', 0, shown='required by most')


Metrics = Annotated[dict[Word, Metric], _Expected('a section per metric')]


class ValOptions(Section):
    """Validation during training, or the test."""

    val_freq: PositiveCount | None = _opt('iterations between validations; required in training', None)
    save_img: bool = _opt('write the upscaled images to `visualization/`')
    suffix: Word | None = _opt('test only: suffix of the names of written images', None, shown='name')
    pbar: bool = _opt('show a progress bar', False)
    metrics: Metrics | None = _opt(
        'one section per metric; its key is its name in logs. Which sets it is measured on: `datasets.*.metrics`', None
    )
    color_correction: bool = _opt(
        'match the mean and standard deviation of each channel of an output to those of its input', False
    )
    tile: Count = _opt(
        'side in LR pixels of the tiles in which images too large for memory are upscaled; 0: the whole image at once',
        0,
    )
    tile_overlap: Count = _opt(
        'LR pixels around a tile that the network sees as well; 32 leaves no seam with realesr-general-x4v3', 32
    )


class WandbOptions(Section):
    """Weights & Biases."""

    project: str | None = _opt('project to log to; needs `use_tb_logger`. ~: none', None)
    resume_id: str | None = _opt('id of the run to continue', None)
    name: Word | None = _opt('name of the run there', None, shown='`name` of the file')
    entity: Word | None = _opt('user or team that the project belongs to', None, shown="wandb's")
    tags: Annotated[list[Word], _Expected('a list of words')] | None = _opt('tags of the run', None)
    mode: Literal['online', 'offline', 'disabled'] | None = _opt(
        '`offline`: write to the folder wandb/, to be sent later by `wandb sync`', None, shown="wandb's"
    )


class LoggerOptions(Section):
    """Logs and checkpoints."""

    print_freq: PositiveCount = _opt('iterations between lines of the log')
    save_checkpoint_freq: PositiveCount = _opt('iterations between checkpoints')
    keep_checkpoints: PositiveCount | None = _opt('number of the newest checkpoints that are kept; ~: all', None)
    keep_best: Word | None = _opt(
        'METRIC or DATASET/METRIC of the validation by which the best checkpoint is kept as well', None
    )
    use_tb_logger: bool = _opt('write curves for TensorBoard', False)
    wandb: WandbOptions | None = _opt('log to Weights & Biases', None)


class DistOptions(Section):
    """Training in several processes."""

    backend: Literal['nccl', 'gloo'] = _opt('backend of torch.distributed; on the CPU always gloo', 'nccl')
    port: Annotated[int, Field(ge=1, le=65535)] | None = _opt('port of the first node, with `--launcher slurm`', None)


Name = Annotated[
    str,
    Field(pattern=r'^[^/\\\x00-\x1f\x7f]*[^/\\\x00-\x1f\x7f.][^/\\\x00-\x1f\x7f]*$', max_length=200),
    _Expected('a word without slashes, which names the output folder'),
]


class Options(Section):
    """A whole option file."""

    name: Name = _opt('names the output folders')
    model_type: Annotated[Word, _Expected('the name of a registered model')] = _opt(
        '`PDDModel`, which everything below is for'
    )
    scale: Annotated[int, Field(ge=1, le=64)] = _opt('scale factor of the super-resolution (paper: 4)')
    num_gpu: Devices = _opt('number of GPUs; `auto`: all, 0: run on the CPU')
    manual_seed: Seed | None = _opt('seed of all random numbers', None, shown='drawn')
    find_unused_parameters: bool = _opt('option of DistributedDataParallel; PDDModel has no unused parameters', False)
    datasets: Annotated[dict[Word, DatasetOptions], _Expected('a section')] = _opt(
        '`train`, and `val` or `val_2` ... (training); `test_1` ... (test)'
    )
    network_g: Network = _opt('the student, which is trained; its moving average is what you deploy')
    network_teacher: Network | None = _opt('the static teacher, a generalist, with `train.teacher: static`', None)
    network_d: Network | None = _opt('the discriminator; without it there is no adversarial loss', None)
    path: PathOptions = _opt('weights to start from')
    train: TrainOptions | None = _opt('training; required by `basicsr train`', None)
    val: ValOptions | None = _opt('validation; required by `basicsr test`', None)
    logger: LoggerOptions | None = _opt('logs and checkpoints; required by `basicsr train`', None)
    dist_params: DistOptions | None = _opt('training in several processes', None)
    import_: Imports | None = _opt(
        'Python files or modules with classes of your own, which are imported, that is run, before anything else; '
        '`--import` adds to it',
        None,
        example='[my_loss.py]',
        alias='import',
    )


class BasicOptions(OpenSection):
    """What every run has, whatever its model."""

    name: Name = _opt('names the output folders')
    model_type: Word = _opt('a model registered with BasicSR')
    num_gpu: Devices = _opt('number of GPUs; `auto`: all, 0: run on the CPU')
    manual_seed: Seed | None = _opt('of all random numbers', None)
    datasets: Annotated[dict[Word, OtherSet], _Expected('a section')] = _opt('one section per dataset')
    network_g: dict[str, Any] = _opt('network')
    path: dict[str, Any] = _opt('weights to start from')
    train: dict[str, Any] | None = _opt('training', None)
    val: dict[str, Any] | None = _opt('validation', None)
    logger: dict[str, Any] | None = _opt('logs', None)
    dist_params: dict[str, Any] | None = _opt('several processes', None)
    import_: Imports | None = _opt('Python files or modules with classes of your own', None, alias='import')
