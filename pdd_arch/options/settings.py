"""What a model needs to know of the ``train`` section, with defaults that depend on other options filled in."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from pdd_arch.errors import OptionError
from pdd_arch.options.messages import validated
from pdd_arch.options.schema import DEFAULT_FEATURE_NET, FeatureNetOptions, TrainOptions
from pdd_arch.utils.wording import one_of

# belong to the feature network that all losses share, not to one loss
_SHARED_FEATURE_KEYS = {'vgg_type': 'type', 'use_input_norm': 'use_input_norm', 'range_norm': 'range_norm'}


@dataclass(frozen=True)
class AdaptationSettings:
    """Typed view of the ``train`` section (paper: method section 3, values section 4.1).

    Types, limits and defaults are those of `pdd_arch.options.schema.TrainOptions`.
    """

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
    #: torch.compile: no, yes, or yes in a mode of its
    compile: bool | str
    #: largest norm of the student's (the discriminator's) gradient; None: not clipped
    grad_clip: float | None
    grad_clip_d: float | None
    #: iterations in a row with a non-finite loss or gradient after which the run stops
    max_nonfinite: int
    #: parts in which a batch goes through the networks before one step
    accumulate: int
    #: whether S runs once more for its gradient instead of keeping its activations while the losses are computed
    recompute: bool
    #: whether losses over a whole batch see that of all processes and parts (global) or each its own (local)
    batch_loss: str
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
            opt: the whole option dictionary, as BasicSR's models get it; other sections than ``train`` are not
                checked here.

        Raises:
            OptionError: a value is impossible, or two do not go together.
        """
        given = opt['train']
        if isinstance(given, Mapping):
            # a model built without a training loop needs no length; a model derived from PDDModel may have more keys
            given = {'total_iter': 1, **given}
            if opt.get('model_type', 'PDDModel') != 'PDDModel':
                given = {k: v for k, v in given.items() if k in TrainOptions.model_fields}
        train = validated(TrainOptions, given, 'train')
        static, has_d = train.teacher == 'static', bool(opt.get('network_d'))
        dependent = {
            'distill_warmup_iters': 0 if static else 5,
            'detach_synthetic': static,
            'net_d_init_iters': 300 if has_d else 0,
        }
        values = {f.name: getattr(train, f.name) for f in fields(cls)}
        values |= {k: v for k, v in dependent.items() if values[k] is None}
        settings = cls(**(values | {'feature_net': _shared_feature_net(opt['train'])}))
        settings._check_teacher(opt, bool(train.distill_opt))
        _check_discriminator(opt)
        _check_losses(opt)
        return settings

    def _check_teacher(self, opt: Mapping, distils: bool) -> None:
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
    train, has_d = opt['train'], bool(opt.get('network_d'))
    partners = {f'train.{key}': bool(train.get(key)) for key in ('gan_opt', 'optim_d')}
    clips = {'train.grad_clip_d': train.get('grad_clip_d') is not None}
    if not has_d:
        for key, given in (partners | clips).items():
            if given:
                raise OptionError(f'{key}: given, but there is no network_d. Add network_d, or remove {key}.')
        return
    for key, given in partners.items():
        if not given:
            raise OptionError(f'{key}: missing, but network_d is given. Add {key}, or remove network_d.')


def _check_losses(opt: Mapping) -> None:
    names = ('distill_opt', 'pixel_opt', 'perceptual_opt', 'gan_opt')
    if not any(opt['train'].get(name) for name in names):
        raise OptionError(f'train: no loss to train with, expected at least one of {one_of(names)}')


def _shared_feature_net(train: Mapping) -> dict:
    """Options of the one feature network. A loss may repeat them, but not ask for another network."""
    distill_own = (train.get('distill_opt') or {}).get('feature_net')
    if distill_own is not None:
        validated(FeatureNetOptions, distill_own, 'train.distill_opt.feature_net')
    shared = {**DEFAULT_FEATURE_NET, **(train.get('feature_net') or distill_own or {})}
    if distill_own is not None and {**shared, **distill_own} != shared:
        raise OptionError(
            'train.distill_opt.feature_net: differs from train.feature_net, but all losses share one feature network. '
            'Remove train.distill_opt.feature_net.'
        )
    perceptual = train.get('perceptual_opt') or {}
    for key, shared_key in _SHARED_FEATURE_KEYS.items():
        used = shared.get(shared_key, FeatureNetOptions.model_fields[shared_key].default)
        if perceptual.get(key) not in (None, used):
            raise OptionError(
                f'train.perceptual_opt.{key}: {perceptual[key]!r} differs from train.feature_net, but all losses share '
                f'one feature network. Set train.feature_net.{shared_key} instead.'
            )
    return shared
