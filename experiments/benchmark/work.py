"""Floating-point work and memory traffic of a step, counted operation by operation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Work:
    """Floating-point operations, and bytes that all operations read and write if none is fused with another."""

    flops: int
    bytes: int

    def floor(self, ceilings: dict[str, float]) -> float:
        """Seconds that the arithmetic alone takes at the machine's best measured rate."""
        return self.flops / max(ceilings['matmul_flops'], ceilings['conv_flops'])

    def traffic(self, ceilings: dict[str, float]) -> float:
        """Seconds that the traffic alone takes."""
        return self.bytes / ceilings['bytes']


class _Traffic(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = {id(t): t for t in torch.utils._pytree.tree_leaves((args, kwargs, out)) if torch.is_tensor(t)}
            self.bytes += sum(t.numel() * t.element_size() for t in tensors.values())
        return out


def count(step: Callable[[], object]) -> Work:
    """Work of one call."""
    with FlopCounterMode(display=False) as flops, _Traffic() as traffic:
        step()
    return Work(flops.get_total_flops(), traffic.bytes)
