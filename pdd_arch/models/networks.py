"""The networks of a run."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from pdd_arch.features import FeatureNet


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
    features: FeatureNet | None = None

    def saved(self) -> dict[str, dict[str, nn.Module]]:
        """What is saved of them: by the label of a file, the networks in it by their key."""
        files = {'net_g': {'params': bare(self.student)}}
        if self.ema is not None:
            files['net_g']['params_ema'] = self.ema
        if self.discriminator is not None:
            files['net_d'] = {'params': bare(self.discriminator)}
        return files

    def update_average(self, decay: float) -> None:
        """ema = decay * ema + (1 - decay) * student, for all parameters at once; buffers are copied."""
        assert self.ema is not None
        student = bare(self.student)
        with torch.no_grad():
            averaged: list[torch.Tensor] = list(self.ema.parameters())
            torch._foreach_mul_(averaged, decay)
            torch._foreach_add_(averaged, list(student.parameters()), alpha=1 - decay)
            for mine, theirs in zip(self.ema.buffers(), student.buffers(), strict=True):
                mine.copy_(theirs)


def bare(net: nn.Module) -> nn.Module:
    """The network inside a parallel wrapper."""
    return net.module if isinstance(net, DataParallel | DistributedDataParallel) else net
