"""The networks of a run, and how weights come into one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from pdd_arch.features import FeatureBank
from pdd_arch.weights.checkpoints import check_finite, check_fits, read_checkpoint, state_dict_of


@dataclass
class Networks:
    """The networks that take part in a training step.

    Attributes:
        student: S, perhaps wrapped for several devices.
        ema: its exponential moving average, or None.
        teacher: G: `ema` itself, a second frozen network, or None without distillation.
        discriminator: D, perhaps wrapped for several devices, or None.
        features: the feature network of all losses, or None when no loss needs features.
    """

    student: nn.Module
    ema: nn.Module | None = None
    teacher: nn.Module | None = None
    discriminator: nn.Module | None = None
    features: FeatureBank | None = None

    def saved(self) -> dict[str, dict[str, nn.Module]]:
        """What is written of them: by the label of a file, the networks in it by their key."""
        student = {'params': bare(self.student)} | ({} if self.ema is None else {'params_ema': self.ema})
        return {'net_g': student} | (
            {} if self.discriminator is None else {'net_d': {'params': bare(self.discriminator)}}
        )

    def update_average(self, decay: float) -> None:
        """ema = decay * ema + (1 - decay) * student, for all parameters at once; buffers are copied."""
        assert self.ema is not None
        student = bare(self.student)
        with torch.no_grad():
            averaged = list(self.ema.parameters())
            torch._foreach_mul_(averaged, decay)
            torch._foreach_add_(averaged, list(student.parameters()), alpha=1 - decay)
            for mine, theirs in zip(self.ema.buffers(), student.buffers(), strict=True):
                mine.copy_(theirs)


def bare(net: nn.Module) -> nn.Module:
    """The network inside a parallel wrapper."""
    return net.module if isinstance(net, DataParallel | DistributedDataParallel) else net


def load_weights(
    net: nn.Module,
    path: str,
    option: str,
    strict: bool,
    param_key: str | None,
    content: Mapping[str, Any] | None = None,
) -> None:
    """Load the weights of one network.

    Args:
        net: network without a wrapper.
        path: weight file.
        option: option that names the file, for messages.
        strict: whether the weights must fit exactly; otherwise tensors of other names or shapes are left out.
        param_key: key of the state dict in the file; None: the file is a state dict.
        content: content of the file, if it has been read already.

    Raises:
        MissingFileError, WeightsError: see `pdd_arch.weights.checkpoints`.
    """
    content = read_checkpoint(path, option) if content is None else content
    state = state_dict_of(content, param_key, path, option, net)
    check_finite(state, path, option)
    logger = get_root_logger()
    if param_key is not None and param_key not in content:
        logger.warning(f'{path} has no {param_key}; its params are used.')
    logger.info(f'Loading {type(net).__name__} from {path}, with param key: [{param_key}].')
    if strict:
        check_fits(net, state, path, option)
    else:
        state = _fitting_part(net, state)
    net.load_state_dict(state, strict=strict)


def _fitting_part(net: nn.Module, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors that the network has in the same shape; the log tells the others."""
    own, logger = net.state_dict(), get_root_logger()
    for name in sorted(own.keys() ^ state.keys()):
        logger.warning(f'Only in the {"network" if name in own else "weight file"}: {name}')
    for name in sorted(own.keys() & state.keys()):
        if own[name].shape != state[name].shape:
            shapes = f'network {tuple(own[name].shape)}, file {tuple(state[name].shape)}'
            logger.warning(f'Other shape, left out: {name}: {shapes}')
    return {name: v for name, v in state.items() if name not in own or own[name].shape == v.shape}
