"""Sections as classes that BasicSR builds from a dictionary read them: defaults that depend on others filled in."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict

from pdd_arch.errors import OptionError
from pdd_arch.options.fields import Count
from pdd_arch.options.messages import validated
from pdd_arch.options.schema import FeatureNetOptions, TrainOptions, ValOptions
from pdd_arch.utils.wording import one_of

#: options of BasicSR's perceptual loss that belong to the feature network of all losses, and their names there
_OF_FEATURE_NET = {'vgg_type': 'type', 'use_input_norm': 'use_input_norm', 'range_norm': 'range_norm'}
_LOSSES = ('distill_opt', 'pixel_opt', 'perceptual_opt', 'gan_opt', 'extra_losses')


class AdaptationSettings(TrainOptions):
    """The ``train`` section as the training reads it.

    Every option has a value; `feature_net` is the network that all losses share.
    """

    distill_warmup_iters: Count
    detach_synthetic: bool
    net_d_init_iters: Count
    feature_net: FeatureNetOptions

    @property
    def distils(self) -> bool:
        """Whether some loss looks at the target domain."""
        return self.distill_opt is not None or any(loss.on == 'target' for loss in self.extra_losses or ())

    @property
    def distill_start(self) -> int:
        """Distillation is on in iterations greater than this one."""
        return self.distill_warmup_iters + self.net_d_init_iters

    @classmethod
    def from_options(cls, opt: Mapping[str, Any]) -> 'AdaptationSettings':
        """The settings of a model built from BasicSR's option dictionary, of which only ``train`` is checked."""
        given = opt['train']
        if isinstance(given, Mapping):
            # a model built without a training loop needs no length; a model derived from PDDModel may have more keys
            given = {'total_iter': 1, **given}
            if opt.get('model_type', 'PDDModel') != 'PDDModel':
                given = {k: v for k, v in given.items() if k in TrainOptions.model_fields}
        train = validated(TrainOptions, given, 'train')
        return cls.of(train, bool(opt.get('network_teacher')), bool(opt.get('network_d')))

    @classmethod
    def of(cls, train: TrainOptions, has_teacher: bool, has_discriminator: bool) -> 'AdaptationSettings':
        """The settings of a validated section, beside which there is a ``network_teacher`` or ``network_d``, or not."""
        static = train.teacher == 'static'
        dependent = {
            'distill_warmup_iters': 0 if static else 5,
            'detach_synthetic': static,
            'net_d_init_iters': 300 if has_discriminator else 0,
        }
        values = dict(train) | {k: v for k, v in dependent.items() if getattr(train, k) is None}
        settings = cls.model_validate(values | {'feature_net': _shared_feature_net(train)})
        settings._check_teacher(has_teacher)
        settings._check_discriminator(has_discriminator)
        if not any(getattr(settings, loss) for loss in _LOSSES):
            raise OptionError('no loss to train with', where='train', expected=f'at least one of {one_of(_LOSSES)}')
        return settings

    def _check_teacher(self, has_network: bool) -> None:
        distils = self.distils
        if self.teacher == 'static':
            if distils and not has_network:
                raise OptionError(
                    'missing, but train.teacher is static, which distils from a second frozen network',
                    where='network_teacher',
                    way_out='Add network_teacher (and path.pretrain_network_teacher), or set train.teacher: ema.',
                )
        elif has_network:
            raise OptionError(
                'given, but train.teacher is ema, where the teacher is the moving average of network_g',
                where='network_teacher',
                way_out='Remove network_teacher, or set train.teacher: static.',
            )
        elif distils and self.ema_decay == 0:
            raise OptionError(
                '0, but train.teacher is ema: the teacher would be the student itself and all distances between them '
                'zero',
                where='train.ema_decay',
                way_out='Set a value such as 0.999, or train.teacher: static.',
            )
        elif distils and self.distill_warmup_iters < 1:
            raise OptionError(
                where='train.distill_warmup_iters',
                expected='at least 1 with train.teacher: ema',
                found=str(self.distill_warmup_iters),
                way_out='Student and teacher start equal, so all inter-model distances are zero and have no gradient '
                'until the student has moved; the paper uses 5.',
            )

    def _check_discriminator(self, has_network: bool) -> None:
        partners = ('gan_opt', 'optim_d')
        for key in partners if has_network else (*partners, 'grad_clip_d'):
            if (getattr(self, key) is not None) == has_network:
                continue
            if has_network:
                problem, way_out = 'missing, but network_d is given', f'Add train.{key}, or remove network_d.'
            else:
                problem, way_out = 'given, but there is no network_d', f'Add network_d, or remove train.{key}.'
            raise OptionError(problem, where=f'train.{key}', way_out=way_out)


def _shared_feature_net(train: TrainOptions) -> FeatureNetOptions:
    """The one feature network. A loss may repeat its options, but not ask for another network."""
    own, where = getattr(train.distill_opt, 'feature_net', None), 'train.distill_opt.feature_net'
    if own is not None and not isinstance(own, FeatureNetOptions):  # of a loss that the schema does not know
        own = validated(FeatureNetOptions, own, where)
    shared = train.feature_net or own or FeatureNetOptions()
    if own is not None and any(getattr(shared, key) != value for key, value in own.given().items()):
        raise OptionError(
            'differs from train.feature_net, but all losses share one feature network',
            where=where,
            way_out=f'Remove {where}.',
        )
    for key, shared_key in _OF_FEATURE_NET.items():
        value = getattr(train.perceptual_opt, key, None)
        if value not in (None, getattr(shared, shared_key)):
            raise OptionError(
                f'{value!r} differs from train.feature_net, but all losses share one feature network',
                where=f'train.perceptual_opt.{key}',
                way_out=f'Set train.feature_net.{shared_key} instead.',
            )
    return shared


class ValSection(ValOptions):
    """``val`` of a model that is built without BasicSR's validation loop, which alone needs ``save_img``."""

    model_config = ConfigDict(extra='ignore')

    save_img: bool = False


def val_options(opt: Mapping[str, Any]) -> ValSection:
    """The ``val`` section of BasicSR's whole option dictionary; all defaults where there is none."""
    return validated(ValSection, opt.get('val') or {}, 'val')
