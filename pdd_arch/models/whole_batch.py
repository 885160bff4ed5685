"""Losses of a whole batch that is spread over ranks and accumulated parts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from pdd_arch.distributed import processes

Statistics = Mapping[str, torch.Tensor]


class WholeBatch:
    """Statistics of every part of a batch on every rank.

    A Frobenius norm over a batch is not the mean of the norms of its parts, but those norms are all that is needed:
    with the others as constants, a part has the loss of the whole batch and its own share of the gradient.

    Made of the statistics of this rank's parts, in order. Collective: all ranks make one at the same time.
    """

    def __init__(self, parts: list[Statistics]) -> None:
        numbered = {f'{i} {name}': value for i, part in enumerate(parts) for name, value in part.items()}
        self._parts = [
            [{name: found[f'{i} {name}'] for name in part} for i, part in enumerate(parts)]
            for found in processes.gather_statistics(numbered)
        ]

    def around(self, own: Statistics, index: int) -> dict[str, torch.Tensor]:
        """Statistics of the whole batch, in which those of this rank's part `index` carry a gradient."""
        by_rank = [list(parts) for parts in self._parts]
        scaled = {name: processes.scale_gradient_by_world_size(value) for name, value in own.items()}
        by_rank[processes.rank()][index] = scaled
        return {name: torch.cat([part[name] for parts in by_rank for part in parts]) for name in own}


@contextmanager
def power_iteration(net: nn.Module, on: bool) -> Iterator[None]:
    """Whether forward passes in the block advance the power iteration of spectral normalisation.

    A batch that passes in parts should advance it once, as a pass of the whole batch does.
    """
    changed = []
    if not on:
        for module in net.modules():
            hooks = module._forward_pre_hooks.values()
            if module.training and (
                isinstance(module, _SpectralNorm) or any(isinstance(h, SpectralNorm) for h in hooks)
            ):
                changed.append(module)
                module.training = False
    try:
        yield
    finally:
        for module in changed:
            module.training = True
