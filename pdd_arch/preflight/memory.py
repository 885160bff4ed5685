"""An estimate of the memory that a training step takes, from one step without data on torch's ``meta`` device."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from pdd_arch.errors import OptionError
from pdd_arch.features import FeatureNet
from pdd_arch.losses import Views
from pdd_arch.models.frozen import FrozenConvolutions
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.settings import AdaptationSettings
from pdd_arch.preflight.losses import Losses, build_losses

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


class SavedTensors:
    """Counts what autograd keeps for the backward pass: each storage once, those of the networks not at all.

    Args:
        networks: whose weights and buffers are there anyway.

    Attributes:
        bytes: of all storages kept.
        largest: of them.
    """

    def __init__(self, *networks: nn.Module | None) -> None:
        tensors = [t for net in networks if net is not None for t in (*net.parameters(), *net.buffers())]
        self._known = {t.untyped_storage()._cdata for t in tensors}
        self._kept: list[torch.Tensor] = []  # alive, so that no storage takes the place of another
        self.bytes = self.largest = 0

    def counted(self) -> torch.autograd.graph.saved_tensors_hooks:
        """A context in which kept tensors are counted."""
        return torch.autograd.graph.saved_tensors_hooks(self._add, lambda x: x)

    def _add(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._known:
            self._known.add(storage._cdata)
            self._kept.append(tensor)
            self.bytes += storage.nbytes()
            self.largest = max(self.largest, storage.nbytes())
        return tensor


def estimate_memory(options: RunOptions, networks: Mapping[str, nn.Module]) -> Memory | None:
    """Memory of a step with everything on (distillation, discriminator), for one device.

    Weights, gradients and optimizer states are counted exactly; of activations what autograd keeps for the backward
    pass of the student, measured in a forward pass on the ``meta`` device, and three times the largest of them for
    the gradients on their way. Left out: what a layer needs while it runs (convolution workspaces), the allocator's
    reserve and the images in the loader.

    Args:
        options: checked options of a training run.
        networks: by section, as `pdd_arch.preflight.networks.open_networks` returns them.

    Returns:
        None where the data has no ``gt_size``.

    Raises:
        OptionError: a loss is not one number.
        Exception: whatever a network makes of the ``meta`` device; then there is no estimate.
    """
    train, data = options.train, options.pdd.datasets['train']
    net_g, net_d, teacher = (networks.get(f'network_{letter}') for letter in ('g', 'd', 'teacher'))
    side, batch = getattr(data, 'gt_size', None), (data.batch_size_per_gpu or 1) // train.accumulate or 1
    if net_g is None or side is None:
        return None
    with torch.device('meta'):
        losses = build_losses(train)
        feature_net = None
        if losses.layers:
            feature_net = FeatureNet(losses.layers, **{**dict(train.feature_net), 'weights': 'random'}).to('meta')
    weights = _bytes(net_g) * (2 if train.ema_decay else 1) + sum(map(_bytes, (teacher, net_d, feature_net)))
    states = _bytes(net_g) * OPTIMIZER_STATE.get(train.optim_g.type, 2)
    if net_d is not None and train.optim_d is not None:
        states += _bytes(net_d) * OPTIMIZER_STATE.get(train.optim_d.type, 2)
    lq = torch.empty(batch, 3, side // options.pdd.scale, side // options.pdd.scale, device='meta')
    gt = torch.empty(batch, 3, side, side, device='meta')
    saved, largest = _step(train, losses, net_g.to('meta'), net_d and net_d.to('meta'), feature_net, lq, gt)
    half = 1.0 if train.precision == 'fp32' else 0.55  # losses stay in float32
    return Memory(weights, _bytes(net_g) + _bytes(net_d), states, int(half * saved), int(half * 3 * largest))


def _step(
    train: AdaptationSettings,
    losses: Losses,
    net_g: nn.Module,
    net_d: nn.Module | None,
    feature_net: FeatureNet | None,
    lq: torch.Tensor,
    gt: torch.Tensor,
) -> tuple[int, int]:
    """Bytes that the student's objective keeps for its backward pass, and the largest tensor among them.

    The graphs of the losses end at the student's outputs: that of the feature network is gone before that of the
    discriminator is there, and both before the student's is used.
    """
    student, features, adversarial = (SavedTensors(net_g, net_d, feature_net) for _ in range(3))
    batch = gt.shape[0]
    if net_d is not None:
        net_d.requires_grad_(False)
    with torch.device('meta'):
        with student.counted():
            out = net_g(lq if losses.distill is None else torch.cat((lq, lq)))
        out = out.detach().requires_grad_()
        with features.counted():
            terms = _feature_terms(train, losses, out, gt, feature_net)
            if losses.pixel is not None:
                terms['pixel_opt'] = losses.pixel(out[:batch], gt)
        if net_d is not None and losses.gan is not None:
            with adversarial.counted(), FrozenConvolutions():
                score = net_d(out if losses.distill is not None and train.gan_on_real else out[:batch])
                terms['gan_opt'] = losses.gan(score, True, is_disc=False)
    for name, value in terms.items():
        if value.numel() != 1:
            raise OptionError(f'the loss has shape {tuple(value.shape)}', where=f'train.{name}', expected='one number')
    others = max(features.bytes, adversarial.bytes)
    total = max(student.bytes, others) if train.recompute else student.bytes + others
    return total, max(stage.largest for stage in (student, features, adversarial))


def _feature_terms(
    train: AdaptationSettings, losses: Losses, out: torch.Tensor, gt: torch.Tensor, feature_net: FeatureNet | None
) -> dict[str, torch.Tensor]:
    """Terms of the losses that compare features, by option."""
    distill, perceptual = losses.distill, losses.perceptual
    syn, real = out[: gt.shape[0]], out[gt.shape[0] :]
    images = {'student_syn': syn, 'target': gt}
    if distill is not None:
        images |= {'student_real': real, 'teacher_real': torch.empty_like(gt), 'teacher_syn': torch.empty_like(gt)}
        if train.detach_synthetic and perceptual is None:
            images['student_syn'] = syn.detach()
    wanted: dict[str, list[str]] = {name: [] for name in images}
    for name, layers in wanted.items():
        if distill is not None and name != 'target' and (name.endswith('_real') or distill.uses_synthetic):
            layers += distill.layers
        if perceptual is not None and name in ('student_syn', 'target'):
            layers += perceptual.layers
    features = {} if feature_net is None else feature_net.extract(images, wanted)
    terms: dict[str, torch.Tensor] = {}
    if distill is not None:
        views = Views(*(features.get(name, {}) for name in Views._fields))
        found = distill.terms(Views(*(images[name] for name in Views._fields)), views)
        terms |= {f'distill_opt, {name}': value for name, value in found.items()}
    if perceptual is not None:
        found = perceptual.terms(*(features.get(name, {}) for name in ('student_syn', 'target')))
        terms |= {f'perceptual_opt, {name}': value for name, value in found.items()}
    return terms


def _bytes(net: nn.Module | None) -> int:
    tensors = () if net is None else (*net.parameters(), *net.buffers())
    return sum(t.numel() * t.element_size() for t in tensors)
