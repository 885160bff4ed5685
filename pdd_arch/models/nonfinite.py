"""Losses and gradients that are not finite: whether a step may be taken, and when the run has to give up."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from basicsr.utils import get_root_logger
from torch import nn

from pdd_arch.distributed import processes


@dataclass
class GuardedSteps:
    """Steps of optimizers, each taken only if its losses and its gradient are finite on all ranks."""

    scaler: torch.amp.GradScaler  # of the run; it has scaled the losses
    limit: int  # iterations in a row with a refused step after which the run gives up
    in_a_row: int = 0  # iterations in a row, up to the last one, with a refused step
    total: int = 0  # all such iterations
    overflowed: bool = False  # whether a step of the current iteration was skipped because of an overflow
    not_finite: list[str] = field(default_factory=list)  # losses and gradients of the current iteration, by name

    def take(
        self, label: str, optimizer: torch.optim.Optimizer, losses: Mapping[str, torch.Tensor], clip: float | None
    ) -> bool:
        """Take one step of the network `label`, if it may be taken; returns whether the weights were updated.

        The gradients are scaled; `clip` is the largest norm of the unscaled one.
        """
        self.scaler.unscale_(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group['params'] if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm([p.grad for p in parameters])))
        gradient = f'gradient of {label}'
        judged = {**losses, gradient: norm}
        finite = torch.stack([torch.isfinite(value).all() for value in judged.values()])
        verdict = processes.all_ranks_true(finite).tolist()
        broken = [name for name, good in zip(judged, verdict, strict=True) if not good]
        # an overflow in fp16 is how the scaler finds its scale: it skips the step and lowers the scale
        overflowed = broken == [gradient] and self.scaler.is_enabled() and self.scaler.get_scale() >= 1
        if broken and not overflowed:
            self.not_finite += broken
            return False
        if clip is not None and not broken:
            nn.utils.clip_grad_norm_(parameters, clip)
        self.scaler.step(optimizer)
        self.overflowed |= overflowed
        return not overflowed

    def end_iteration(self, iteration: int) -> str | None:
        """Count, and warn of, an iteration with a refused step; returns what was not finite when it is time to give up.

        An iteration that merely overflowed leaves the count alone.
        """
        broken, overflowed = self.not_finite, self.overflowed
        self.not_finite, self.overflowed = [], False
        if not broken:
            self.in_a_row = self.in_a_row if overflowed else 0
            return None
        self.in_a_row += 1
        self.total += 1
        what = f'iteration {iteration}: not finite: {", ".join(broken)}'
        get_root_logger().warning(
            f'Skipped a step: {what} ({self.in_a_row} in a row, {self.total} in all; the run stops at {self.limit}).'
        )
        return what if self.in_a_row >= self.limit else None
