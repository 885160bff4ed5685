"""An estimate of the memory that a training step takes, from one step without data on torch's ``meta`` device."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from pdd_arch.config.check_weights import feature_layers
from pdd_arch.config.settings import AdaptationSettings
from pdd_arch.features import FeatureBank, FeatureNet
from pdd_arch.losses import Views
from pdd_arch.losses.build import build_distill_loss, build_perceptual_loss, build_registered

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
    saved = _step(opt, settings, networks, feature_net, batch)
    half = 1.0 if settings.precision == 'fp32' else 0.55  # losses stay in float32
    return Memory(weights, size + _bytes(net_d), states, int(half * saved.bytes), int(half * 3 * saved.largest))


def _step(
    opt: Mapping, settings: AdaptationSettings, networks: Mapping, feature_net: FeatureNet | None, batch: int
) -> _Saved:
    """What the specialist's objective keeps for its backward pass."""
    train, side = opt['train'], opt['datasets']['train']['gt_size']
    net_g, net_d = (n.to('meta') if n is not None else None for n in (networks['network_g'], networks.get('network_d')))
    distill = build_distill_loss(train['distill_opt']) if train.get('distill_opt') else None
    perceptual = build_perceptual_loss(train['perceptual_opt']) if train.get('perceptual_opt') else None
    if net_d is not None:
        net_d.requires_grad_(False)
    saved = _Saved(net_g, net_d, feature_net)
    shows_real = distill is not None
    with torch.device('meta'), torch.autograd.graph.saved_tensors_hooks(saved.add, lambda x: x):
        out = net_g(torch.empty((2 if shows_real else 1) * batch, 3, side // opt['scale'], side // opt['scale']))
        target = torch.empty(batch, 3, side, side)
        images, terms = {'student_syn': out[:batch], 'target': target}, []
        if distill is not None:
            constant = torch.empty(batch, 3, side, side)
            images |= {'student_real': out[batch:], 'teacher_real': constant, 'teacher_syn': constant.clone()}
            if settings.detach_synthetic and perceptual is None:
                images['student_syn'] = out[:batch].detach()
        features = _features(images, distill, perceptual, feature_net)
        if distill is not None:
            views = Views(*(features.get(name, {}) for name in Views._fields))
            terms.append(distill.terms(Views(*(images[name] for name in Views._fields)), views))
        if perceptual is not None:
            terms.append(perceptual.terms(features['student_syn'], features['target']))
        if train.get('pixel_opt'):
            terms.append(build_registered('pixel_opt', train['pixel_opt'])(out[:batch], target))
        if net_d is not None:
            terms.append(net_d(out if shows_real and settings.gan_on_real else out[:batch]))
    return saved


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
