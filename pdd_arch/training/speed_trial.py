"""``precision: auto`` and ``threads: auto``: how a network trains fastest on the machine that is there, by measurement.

Whether bf16 is faster than fp32 depends on the processor (with AMX several times, without AVX512-BF16 slower), and two
threads can be slower than one where other programs are at work. A few forward and backward passes tell.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from pdd_arch.distributed import processes
from pdd_arch.inference import PRECISIONS
from pdd_arch.utils.host import processor_name
from pdd_arch.utils.random_state import random_state_kept

#: passes of each candidate, of which the fastest counts; the first is often slow
_TURNS = 3
#: a candidate that was slower than the fastest by this factor is not tried again
_HOPELESS = 2.0
#: what must be gained to leave float32, and the number of threads that torch has by itself
_WORTHWHILE = 1.1


@dataclass(frozen=True)
class Conditions:
    """How a training step runs: the precision of the forward passes and the threads of the CPU (None: of a GPU)."""

    precision: str
    threads: int | None

    @classmethod
    def of(cls, recorded: Mapping[str, Any]) -> 'Conditions':
        """The conditions of `Measured.recorded`."""
        return cls(recorded['precision'], recorded['threads'])

    def __str__(self) -> str:
        counted = '' if self.threads is None else f', {self.threads} thread{"s" * (self.threads > 1)}'
        return f'{self.precision}{counted}'


@dataclass(frozen=True)
class Measured:
    """The conditions chosen, and the seconds of a forward and backward pass under all that were tried, as text."""

    chosen: Conditions
    seconds: Mapping[str, float]
    device: str

    def __str__(self) -> str:
        listed = ', '.join(f'{name} {value:.3g} s' for name, value in self.seconds.items())
        return f'{self.chosen} (measured, a forward and backward pass of the student: {listed}; {self.device})'

    def recorded(self) -> dict[str, Any]:
        """Plain values for a record or a training state."""
        return {**asdict(self.chosen), 'seconds': dict(self.seconds), 'device': self.device}


def fastest(net: nn.Module, side: int, device: torch.device, precision: str, threads: int | str | None) -> Measured:
    """Measure passes of a copy of `net` on an image of `side` pixels, and choose. All ranks get the choice of rank 0.

    Args:
        net: a network of images (N, 3, h, w), on `device` and in the memory format in which it is going to be trained.
        precision: ``auto``, or the only one to try.
        threads: ``auto``, or the only number to try; None: the number that torch has by itself.
    """
    own = torch.get_num_threads()
    counts: list[int | None] = [None]
    if device.type == 'cpu':
        counts = [own, 1] if threads == 'auto' else [threads if isinstance(threads, int) else own]
    kinds = ['fp32', 'bf16'] if precision == 'auto' else [precision]
    candidates = list(dict.fromkeys(Conditions(kind, count) for kind in kinds for count in counts))
    seconds: dict[Conditions, float] = {}
    if processes.rank() == 0:
        with random_state_kept(), _threads_kept():
            seconds = _measure(net, side, device, candidates)
    seconds = processes.from_first(seconds)
    best = min(candidates, key=seconds.__getitem__)
    chosen = best if seconds[candidates[0]] > _WORTHWHILE * seconds[best] else candidates[0]
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else processor_name()
    return Measured(chosen, {str(c): round(s, 4) for c, s in seconds.items()}, name)


def _measure(net: nn.Module, side: int, device: torch.device, candidates: list[Conditions]) -> dict[Conditions, float]:
    """Seconds of the fastest pass of each candidate, in turn, so that other load hits all alike."""
    trial = deepcopy(net).train()
    image = torch.rand(1, 3, side, side, device=device)
    seconds = dict.fromkeys(candidates, float('inf'))
    for turn in range(_TURNS):
        for candidate in candidates:
            if turn and seconds[candidate] > _HOPELESS * min(seconds.values()):
                continue
            seconds[candidate] = min(seconds[candidate], _pass(trial, image, candidate))
    return seconds


def _pass(net: nn.Module, image: torch.Tensor, conditions: Conditions) -> float:
    if conditions.threads is not None:
        torch.set_num_threads(conditions.threads)
    net.zero_grad()
    _wait(image.device)
    start = time.perf_counter()
    kind = PRECISIONS[conditions.precision]
    with torch.autocast(image.device.type, dtype=kind, enabled=kind is not torch.float32):
        output = net(image)
    output.float().mean().backward()
    _wait(image.device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


@contextlib.contextmanager
def _threads_kept() -> Iterator[None]:
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
