"""Losses of a whole batch that is spread over processes and accumulated parts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from pdd_arch.distributed import processes

Statistics = Mapping[str, torch.Tensor]


class WholeBatch:
    """Statistics of every part of a batch in every process.

    A Frobenius norm over a batch is not the mean of those of its parts. Its parts' norms say all that is needed,
    though: with the others' as constants, a part has the loss of the whole batch and its own share of the gradient.

    Args:
        parts: statistics of this process's parts, in order. Collective: every process makes one at the same time.
    """

    def __init__(self, parts: list[Statistics]) -> None:
        numbered = {f'{i} {name}': value for i, part in enumerate(parts) for name, value in part.items()}
        self._parts = [
            [{name: found[f'{i} {name}'] for name in part} for i, part in enumerate(parts)]
            for found in processes.gather_statistics(numbered)
        ]

    def around(self, own: Statistics, index: int) -> dict[str, torch.Tensor]:
        """Statistics of the whole batch, in which those of this process's part `index` carry a gradient."""
        everyone = [list(parts) for parts in self._parts]
        everyone[processes.rank()][index] = {name: processes.counting_for_all(value) for name, value in own.items()}
        return {name: torch.cat([part[name] for parts in everyone for part in parts]) for name in own}


@contextmanager
def power_iteration(net: nn.Module, on: bool) -> Iterator[None]:
    """Switch the power iteration of spectral normalisation, which every forward pass in training mode does.

    One pass over a batch in parts should advance it once, as one pass over the whole does.
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
