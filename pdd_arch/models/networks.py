"""The networks of a run."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from pdd_arch.features import FeatureNet


@dataclass
class Networks:
    """The networks that take part in a training step; student and discriminator may be wrapped for several devices."""

    student: nn.Module
    #: exponential moving average of the student
    ema: nn.Module | None = None
    #: `ema` itself, or a second frozen network; None without distillation
    teacher: nn.Module | None = None
    discriminator: nn.Module | None = None
    #: of all losses; None when none needs features
    features: FeatureNet | None = None

    def saved(self) -> dict[str, dict[str, nn.Module]]:
        """What is saved of them: networks by the label of their file and their key in it."""
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
