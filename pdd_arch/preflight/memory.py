"""An estimate of the memory that a training step takes, from one step without data on torch's ``meta`` device."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from pdd_arch.errors import OptionError
from pdd_arch.features import FeatureBank, FeatureNet
from pdd_arch.losses import Views
from pdd_arch.losses.build import build_distill_loss, build_perceptual_loss, build_registered
from pdd_arch.models.frozen import FrozenConvolutions
from pdd_arch.options.settings import AdaptationSettings
from pdd_arch.preflight.weights import feature_layers

#: numbers that an optimizer keeps for each parameter; 2 for those that are not named
OPTIMIZER_STATE = {'SGD': 1, 'Adagrad': 1, 'RMSprop': 1, 'Rprop': 2, 'Adafactor': 0}


@dataclass(frozen=True)
class Memory:
    """Bytes of one device."""

    weights: int
    gradients: int
    optimizers: int
    activations: int
    #: gradients of activations on their way back
    passing: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizers + self.activations + self.passing


class _Saved:
    """Counts what autograd keeps for the backward pass: each storage once, parameters not at all."""

    def __init__(self, *networks: nn.Module | None) -> None:
        tensors = [t for net in networks if net is not None for t in (*net.parameters(), *net.buffers())]
        self._known = {t.untyped_storage()._cdata for t in tensors}
        self._kept: list[torch.Tensor] = []  # alive, so that no storage takes the place of another
        self.bytes = self.largest = 0

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._known:
            self._known.add(storage._cdata)
            self._kept.append(tensor)
            self.bytes += storage.nbytes()
            self.largest = max(self.largest, storage.nbytes())
        return tensor


def estimate_memory(opt: Mapping, networks: Mapping[str, nn.Module]) -> Memory:
    """Memory of a step with everything on (distillation, discriminator), for one device.

    Weights, gradients and optimizer states are counted exactly; of activations what autograd keeps for the backward
    pass of the specialist, measured in a forward pass on the ``meta`` device, and three times the largest of them for
    the gradients on their way. Left out: what a layer needs while it
    runs (convolution workspaces), the allocator's reserve and the images in the loader.

    Args:
        opt: checked options of a training run.
        networks: by section, as `check_weights` returns them.

    Raises:
        Exception: whatever a network makes of the ``meta`` device; then there is no estimate.
    """
    settings, train = AdaptationSettings.from_options(opt), opt['train']
    net_g, net_d = networks['network_g'], networks.get('network_d')
    size, teacher = _bytes(net_g), networks.get('network_teacher')
    feature_net = _feature_net(settings, train)
    weights = size * (2 if settings.ema_decay else 1) + sum(map(_bytes, (teacher, net_d, feature_net)))
    states = size * _states(train['optim_g']) + (_bytes(net_d) * _states(train['optim_d']) if net_d else 0)
    batch = opt['datasets']['train']['batch_size_per_gpu'] // settings.accumulate or 1
    saved, largest = _step(opt, settings, networks, feature_net, batch)
    half = 1.0 if settings.precision == 'fp32' else 0.55  # losses stay in float32
    return Memory(weights, size + _bytes(net_d), states, int(half * saved), int(half * 3 * largest))


def _step(
    opt: Mapping, settings: AdaptationSettings, networks: Mapping, feature_net: FeatureNet | None, batch: int
) -> tuple[int, int]:
    """Bytes that the specialist's objective keeps for its backward pass, and the largest tensor among them.

    The graphs of the losses end at the specialist's outputs: that of the feature network is gone before that of the
    discriminator is there, and both before the specialist's is used.
    """
    train, side = opt['train'], opt['datasets']['train']['gt_size']
    net_g, net_d = (n.to('meta') if n is not None else None for n in (networks['network_g'], networks.get('network_d')))
    distill = build_distill_loss(train['distill_opt']) if train.get('distill_opt') else None
    perceptual = build_perceptual_loss(train['perceptual_opt']) if train.get('perceptual_opt') else None
    if net_d is not None:
        net_d.requires_grad_(False)
    stages = [_Saved(net_g, net_d, feature_net) for _ in range(3)]

    def watching(stage: int) -> torch.autograd.graph.saved_tensors_hooks:
        return torch.autograd.graph.saved_tensors_hooks(stages[stage].add, lambda x: x)

    with torch.device('meta'):
        with watching(0):
            small = side // opt['scale']
            out = net_g(torch.empty((1 if distill is None else 2) * batch, 3, small, small))
        out = out.detach().requires_grad_()
        with watching(1):
            terms = _feature_terms(opt, settings, out, batch, distill, perceptual, feature_net)
        if train.get('pixel_opt'):
            terms['pixel_opt'] = build_registered('pixel_opt', train['pixel_opt'])(
                out[:batch], torch.empty(batch, 3, side, side)
            )
        if net_d is not None:
            with watching(2), FrozenConvolutions():
                score = net_d(out if distill is not None and settings.gan_on_real else out[:batch])
            terms['gan_opt'] = build_registered('gan_opt', train['gan_opt'])(score, True, is_disc=False)
    for name, value in terms.items():
        if value.numel() != 1:
            raise OptionError(f'train.{name}: the loss has shape {tuple(value.shape)}, expected one number')
    own, others = stages[0].bytes, max(s.bytes for s in stages[1:])
    return max(own, others) if settings.recompute else own + others, max(s.largest for s in stages)


def _feature_terms(
    opt: Mapping, settings: AdaptationSettings, out: torch.Tensor, batch: int, distill, perceptual, feature_net
) -> dict[str, torch.Tensor]:
    side = opt['datasets']['train']['gt_size']
    images = {'student_syn': out[:batch], 'target': torch.empty(batch, 3, side, side)}
    if distill is not None:
        constant = torch.empty(batch, 3, side, side)
        images |= {'student_real': out[batch:], 'teacher_real': constant, 'teacher_syn': constant.clone()}
        if settings.detach_synthetic and perceptual is None:
            images['student_syn'] = out[:batch].detach()
    features, terms = _features(images, distill, perceptual, feature_net), {}
    if distill is not None:
        views = Views(*(features.get(name, {}) for name in Views._fields))
        found = distill.terms(Views(*(images[name] for name in Views._fields)), views)
        terms |= {f'distill_opt, {name}': value for name, value in found.items()}
    if perceptual is not None:
        found = perceptual.terms(features['student_syn'], features['target'])
        terms |= {f'perceptual_opt, {name}': value for name, value in found.items()}
    return terms


def _features(images: Mapping, distill, perceptual, feature_net: FeatureNet | None) -> dict:
    wanted: dict[str, tuple] = dict.fromkeys(images, ())
    for name in images:
        if distill is not None and name != 'target' and (name.endswith('_real') or distill.uses_synthetic):
            wanted[name] += tuple(distill.layers)
        if perceptual is not None and name in ('student_syn', 'target'):
            wanted[name] += perceptual.layers
    return {} if feature_net is None else FeatureBank(feature_net).extract(images, wanted)


def _feature_net(settings: AdaptationSettings, train: Mapping) -> FeatureNet | None:
    layers = feature_layers(train)
    if not layers:
        return None
    with torch.device('meta'):
        return FeatureNet(layers, **{**settings.feature_net, 'weights': 'random'}).to('meta')


def _states(optimizer: Mapping) -> int:
    return OPTIMIZER_STATE.get(optimizer['type'], 2)


def _bytes(net: nn.Module | None) -> int:
    tensors = () if net is None else (*net.parameters(), *net.buffers())
    return sum(t.numel() * t.element_size() for t in tensors)
