"""An estimate of the memory that a training step takes, from one step without data on torch's ``meta`` device."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from pdd_arch.features import FeatureNet
from pdd_arch.models.forward_pass import Batch
from pdd_arch.models.networks import Networks
from pdd_arch.models.nonfinite import GuardedSteps
from pdd_arch.models.training_step import TrainingStep
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.schema import Optimizer
from pdd_arch.options.settings import AdaptationSettings
from pdd_arch.options.signatures import check_optimizer
from pdd_arch.preflight.losses import build_losses

#: numbers that optimizers of torch.optim keep for each parameter; 2 for those that are not named
OPTIMIZER_STATE = {'SGD': 1, 'Adagrad': 1, 'RMSprop': 1, 'Rprop': 2, 'Adafactor': 0}
#: a step in which everything is on, and all of whose images pass at once
_WHOLE_STEP = {'net_d_iters': 1, 'net_d_init_iters': 0, 'distill_warmup_iters': 0, 'accumulate': 1}
#: what needs values, other processes, or a compiler
_WITHOUT_VALUES = {'ema_decay': 0.0, 'batch_loss': 'local', 'precision': 'fp32', 'compile': False}


@dataclass(frozen=True)
class Memory:
    """Bytes of one device; `passing`: gradients of activations on their way back."""

    weights: int
    gradients: int
    optimizers: int
    activations: int
    passing: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizers + self.activations + self.passing


class SavedTensors(torch.autograd.graph.saved_tensors_hooks):
    """Within this context, counts what autograd keeps for backward passes: each storage once, `networks`' own not.

    Attributes:
        most: largest number of bytes kept at one time.
        largest: bytes of the largest storage kept.
    """

    def __init__(self, *networks: nn.Module | None) -> None:
        super().__init__(self._keep, lambda kept: kept.tensor if isinstance(kept, _Kept) else kept)
        tensors = [t for net in networks if net is not None for t in (*net.parameters(), *net.buffers())]
        self._known = {t.untyped_storage()._cdata for t in tensors}
        self.holders: Counter[int] = Counter()
        self.bytes = self.most = self.largest = 0

    def _keep(self, tensor: torch.Tensor) -> '_Kept | torch.Tensor':
        return tensor if tensor.untyped_storage()._cdata in self._known else _Kept(self, tensor)


class _Kept:
    """A tensor that autograd keeps; it counts for as long as it lives."""

    def __init__(self, counts: SavedTensors, tensor: torch.Tensor) -> None:
        self.counts, self.tensor = counts, tensor
        self.storage, self.size = tensor.untyped_storage()._cdata, tensor.untyped_storage().nbytes()
        if not counts.holders[self.storage]:
            counts.bytes += self.size
            counts.most, counts.largest = max(counts.most, counts.bytes), max(counts.largest, self.size)
        counts.holders[self.storage] += 1

    def __del__(self) -> None:
        self.counts.holders[self.storage] -= 1
        if not self.counts.holders[self.storage]:
            self.counts.bytes -= self.size


class _NoSteps(GuardedSteps):
    """Gradients without values are not judged, and no optimizer takes a step."""

    def take(self, *_: object) -> bool:
        return True


def estimate_memory(options: RunOptions, networks: Mapping[str, nn.Module]) -> Memory | None:
    """Memory of a training step with everything on (distillation, discriminator), for one device.

    Weights, gradients and optimizer states are counted exactly; of activations what autograd keeps at most at one
    time in a step on the ``meta`` device, and three times the largest of them for the gradients on their way. Left
    out: what a layer needs while it runs (convolution workspaces), the allocator's reserve, images in the loader.

    Args:
        options: checked options of a training run.
        networks: by section, from `pdd_arch.preflight.networks.open_networks`; they are moved to ``meta``.

    Returns:
        None where the data has no ``gt_size``.

    Raises:
        OptionError: a loss is not one number.
        Exception: whatever a network makes of the ``meta`` device; then there is no estimate.
    """
    train, data = options.train, options.pdd.datasets['train']
    side, batch = getattr(data, 'gt_size', None), (data.batch_size_per_gpu or 1) // train.accumulate or 1
    if side is None:
        return None
    nets = {key: net.to('meta') for key, net in networks.items()}
    student, net_d = nets['network_g'], nets.get('network_d')
    with torch.device('meta'):
        losses = build_losses(train)
        feature_net = None
        if losses.layers:
            feature_net = FeatureNet(losses.layers, **{**dict(train.feature_net), 'weights': 'random'})
        of_step = Networks(student, None, nets.get('network_teacher', student), net_d, feature_net)
        trained = {'net_g': student} | ({} if net_d is None else {'net_d': net_d})
        optimizers = {name: torch.optim.SGD(net.parameters()) for name, net in trained.items()}
        steps = _NoSteps(torch.amp.GradScaler(enabled=False), train.max_nonfinite)
        settings = train.model_copy(update=_WHOLE_STEP | _WITHOUT_VALUES)
        size = side // options.pdd.scale
        of_target = (getattr(data, 'batch_size_target_per_gpu', None) or batch * train.accumulate) // train.accumulate
        small, large = torch.empty(batch, 3, size, size), torch.empty(batch, 3, side, side)
        # autocast and random generators, which meta has not, are asked of the CPU
        step = TrainingStep(of_step, losses, optimizers, steps, settings, torch.device('cpu'))
        with (saved := SavedTensors(*nets.values(), feature_net)):
            step.run(Batch(small, large, torch.empty(of_target or 1, 3, size, size)), 1)
    states = _bytes(student) * _numbers_kept('optim_g', train)
    if net_d is not None and train.optim_d is not None:
        states += _bytes(net_d) * _numbers_kept('optim_d', train)
    half = 1.0 if train.precision in ('fp32', 'auto') else 0.55  # losses stay in float32
    return Memory(
        weights=_bytes(*nets.values(), feature_net, *([student] if train.ema_decay else [])),
        gradients=_bytes(*trained.values()),
        optimizers=states,
        activations=int(half * saved.most),
        passing=int(half * 3 * saved.largest),
    )


def _numbers_kept(key: str, train: AdaptationSettings) -> int:
    """Numbers that an optimizer keeps for each parameter."""
    section: Optimizer = getattr(train, key)
    if '.' not in section.type:
        return OPTIMIZER_STATE.get(section.type, 2)
    with torch.device('cpu'):
        optimizer = check_optimizer(section, f'train.{key}')
    parameter = optimizer.param_groups[0]['params'][0]
    kept = [t.numel() for t in optimizer.state[parameter].values() if isinstance(t, torch.Tensor)]
    return sum(kept) // parameter.numel()


def _bytes(*networks: nn.Module | None) -> int:
    tensors = [t for net in networks if net is not None for t in (*net.parameters(), *net.buffers())]
    return sum(t.numel() * t.element_size() for t in tensors)
