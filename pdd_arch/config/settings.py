"""The options of an adaptation run that this package adds to BasicSR's: one typed place for names and defaults."""

from collections.abc import Mapping
from dataclasses import dataclass

from pdd_arch.errors import OptionError
from pdd_arch.utils.suggest import did_you_mean, one_of

TEACHERS = ('ema', 'static')
PRECISIONS = ('fp32', 'bf16', 'fp16')

DEFAULT_FEATURE_NET = {'type': 'vgg19', 'weights': 'imagenet'}

# belong to the feature network that all losses share, not to one loss
_SHARED_FEATURE_KEYS = {'vgg_type': 'type', 'use_input_norm': 'use_input_norm', 'range_norm': 'range_norm'}


@dataclass(frozen=True)
class AdaptationSettings:
    """Typed view of the ``train`` section (paper: method section 3, values section 4.1)."""

    #: who the generalist is: a moving average of the student, or a second frozen network
    teacher: str
    #: decay of the moving average; 0 keeps none (static teacher only)
    ema_decay: float
    #: iterations of supervised training before distillation begins
    distill_warmup_iters: int
    #: whether the student's synthetic outputs are constants inside the distances
    detach_synthetic: bool
    #: whether the generator's adversarial term also sees the outputs on real input, once distillation has begun
    gan_on_real: bool
    #: the student is updated in every net_d_iters-th iteration ...
    net_d_iters: int
    #: ... after this many in which only the discriminator learns
    net_d_init_iters: int
    #: of the networks' forward passes; losses and optimizers stay in float32
    precision: str
    channels_last: bool
    compile: bool
    #: options of the feature network that all losses share
    feature_net: dict

    @property
    def distill_start(self) -> int:
        """Distillation is on in iterations greater than this one."""
        return self.distill_warmup_iters + self.net_d_init_iters

    @classmethod
    def from_options(cls, opt: Mapping) -> 'AdaptationSettings':
        """Read and check the options of one run.

        Args:
            opt: the whole option dictionary, as BasicSR's models get it.

        Raises:
            OptionError: a value is impossible, or two do not go together.
        """
        train = opt['train']
        teacher = _choice(train, 'teacher', TEACHERS, 'ema')
        static, has_d, distils = (
            teacher == 'static',
            bool(opt.get('network_d')),
            bool(train.get('distill_opt')),
        )
        settings = cls(
            teacher=teacher,
            ema_decay=_number(train, 'ema_decay', 0.999),
            distill_warmup_iters=_count(train, 'distill_warmup_iters', 0 if static else 5),
            detach_synthetic=_flag(train, 'detach_synthetic', static),
            gan_on_real=_flag(train, 'gan_on_real', True),
            net_d_iters=_count(train, 'net_d_iters', 1, least=1),
            net_d_init_iters=_count(train, 'net_d_init_iters', 300 if has_d else 0),
            precision=_choice(train, 'precision', PRECISIONS, 'fp32'),
            channels_last=_flag(train, 'channels_last', False),
            compile=_flag(train, 'compile', False),
            feature_net=_shared_feature_net(train),
        )
        settings._check_teacher(opt, distils)
        _check_discriminator(opt)
        _check_losses(opt)
        return settings

    def _check_teacher(self, opt: Mapping, distils: bool) -> None:
        if not 0 <= self.ema_decay < 1:
            raise OptionError(f'train.ema_decay: expected a number in [0, 1), found {self.ema_decay}')
        if self.teacher == 'static':
            if distils and not opt.get('network_teacher'):
                raise OptionError(
                    'network_teacher: missing, but train.teacher is static, which distils from a second frozen '
                    'network. Add network_teacher (and path.pretrain_network_teacher), or set train.teacher: ema.'
                )
            return
        if opt.get('network_teacher'):
            raise OptionError(
                'network_teacher: given, but train.teacher is ema, where the teacher is the moving average of '
                'network_g. Remove network_teacher, or set train.teacher: static.'
            )
        if distils and self.ema_decay == 0:
            raise OptionError(
                'train.ema_decay: 0, but train.teacher is ema: the teacher would be the student itself and all '
                'distances between them zero. Expected a value such as 0.999, or train.teacher: static.'
            )
        if distils and self.distill_warmup_iters < 1:
            raise OptionError(
                f'train.distill_warmup_iters: expected at least 1 with train.teacher: ema, found '
                f'{self.distill_warmup_iters}. Student and teacher start equal, so all inter-model distances are '
                'zero and have no gradient until the student has moved; the paper uses 5.'
            )


def _check_discriminator(opt: Mapping) -> None:
    train = opt['train']
    has_d, has_gan, has_optim = (
        bool(opt.get('network_d')),
        bool(train.get('gan_opt')),
        bool(train.get('optim_d')),
    )
    if not has_d:
        for key, given in (('train.gan_opt', has_gan), ('train.optim_d', has_optim)):
            if given:
                raise OptionError(f'{key}: given, but there is no network_d. Add network_d, or remove {key}.')
        return
    for key, given in (('train.gan_opt', has_gan), ('train.optim_d', has_optim)):
        if not given:
            raise OptionError(f'{key}: missing, but network_d is given. Add {key}, or remove network_d.')


def _check_losses(opt: Mapping) -> None:
    train = opt['train']
    names = ('distill_opt', 'pixel_opt', 'perceptual_opt', 'gan_opt')
    if not any(train.get(name) for name in names):
        raise OptionError(f'train: no loss to train with, expected at least one of {one_of(names)}')
    kind = (train.get('perceptual_opt') or {}).get('type', 'PerceptualLoss')
    if kind != 'PerceptualLoss':
        raise OptionError(
            f"train.perceptual_opt.type: expected 'PerceptualLoss' (computed on the shared feature network), found "
            f'{kind!r}'
        )
    if not train.get('optim_g'):
        raise OptionError('train.optim_g: missing, expected for example {type: Adam, lr: 1e-4, betas: [0.9, 0.99]}')


def _shared_feature_net(train: Mapping) -> dict:
    """Options of the one feature network. A loss may repeat them, but not ask for another network."""
    distill_own = (train.get('distill_opt') or {}).get('feature_net')
    shared = dict(train.get('feature_net') or distill_own or DEFAULT_FEATURE_NET)
    shared = {**DEFAULT_FEATURE_NET, **shared}
    known = (*DEFAULT_FEATURE_NET, 'use_input_norm', 'range_norm', 'feature_scale', 'seed')
    for key in shared:
        if key not in known:
            raise OptionError(
                f'train.feature_net.{key}: unknown key.{did_you_mean(key, known)} Expected {one_of(known)}.'
            )
    for key in ('use_input_norm', 'range_norm'):
        if not isinstance(shared.get(key, True), bool):
            raise OptionError(f'train.feature_net.{key}: expected true or false, found {shared[key]!r}')
    scale = shared.get('feature_scale', 1.0)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not scale > 0:
        raise OptionError(f'train.feature_net.feature_scale: expected a positive number, found {scale!r}')
    if distill_own is not None and {**shared, **distill_own} != shared:
        raise OptionError(
            'train.distill_opt.feature_net: differs from train.feature_net, but all losses share one feature network. '
            'Remove train.distill_opt.feature_net.'
        )
    perceptual = train.get('perceptual_opt') or {}
    defaults = {'use_input_norm': True, 'range_norm': False}
    for key, shared_key in _SHARED_FEATURE_KEYS.items():
        if key in perceptual and perceptual[key] != shared.get(shared_key, defaults.get(shared_key)):
            raise OptionError(
                f'train.perceptual_opt.{key}: {perceptual[key]!r} differs from train.feature_net, but all losses share '
                f'one feature network. Set train.feature_net.{shared_key} instead.'
            )
    return shared


def _choice(train: Mapping, key: str, allowed: tuple[str, ...], default: str) -> str:
    value = train.get(key, default)
    if value not in allowed:
        raise OptionError(f'train.{key}: expected {one_of(allowed)}, found {value!r}.{did_you_mean(value, allowed)}')
    return value


def _flag(train: Mapping, key: str, default: bool) -> bool:
    value = train.get(key, default)
    if not isinstance(value, bool):
        raise OptionError(f'train.{key}: expected true or false, found {value!r}')
    return value


def _number(train: Mapping, key: str, default: float) -> float:
    value = train.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionError(f'train.{key}: expected a number, found {value!r}')
    return float(value)


def _count(train: Mapping, key: str, default: int, least: int = 0) -> int:
    value = train.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(f'train.{key}: expected a whole number of at least {least}, found {value!r}')
    return value
