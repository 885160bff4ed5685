"""Optimizers that train other weights than are to be deployed, such as those of the package schedulefree."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from pdd_arch.options.signatures import switches

#: of each optimizer that switches, in order; None for the others
TrainingWeights = list[list[torch.Tensor] | None]


class DeployedWeights:
    """Switches optimizers that have ``train()`` and ``eval()`` between the weights they train and those to deploy.

    Going there and back costs rounding: the weights in training are kept meanwhile, so that a run does not depend on
    when it validates and saves.
    """

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        # any: train() and eval() are not torch's
        self._optimizers: list[Any] = [o if switches(o) else None for o in optimizers]
        self._kept: TrainingWeights | None = None
        for optimizer in self._switching:
            optimizer.train()

    @property
    def _switching(self) -> list[Any]:
        return [o for o in self._optimizers if o is not None]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the networks hold the weights to deploy. It may be entered again inside."""
        if self._kept is not None:
            yield
            return
        self._kept = [None if o is None else [p.detach().clone() for p in _parameters(o)] for o in self._optimizers]
        try:
            for optimizer in self._switching:
                optimizer.eval()
            yield
        finally:
            kept, self._kept = self._kept, None
            self.restore(kept)

    def in_training(self) -> TrainingWeights | None:
        """The weights in training, on the CPU; asked within the block. None where no optimizer switches."""
        if self._kept is None or not self._switching:
            return None
        return [None if kept is None else [t.cpu() for t in kept] for kept in self._kept]

    def restore(self, weights: Sequence[Sequence[torch.Tensor] | None]) -> None:
        """Go on training with these weights; None where an optimizer goes on from those of its network."""
        for optimizer, kept in zip(self._optimizers, weights, strict=True):
            if optimizer is None:
                continue
            optimizer.train()
            if kept is not None:
                with torch.no_grad():
                    for parameter, value in zip(_parameters(optimizer), kept, strict=True):
                        parameter.copy_(value)


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [p for group in optimizer.param_groups for p in group['params']]
