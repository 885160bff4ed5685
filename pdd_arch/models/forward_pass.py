"""What goes through the networks in one iteration, and what comes out."""

from typing import NamedTuple

import torch

from pdd_arch.losses import Views

#: scalar losses and other logged numbers by name
Terms = dict[str, torch.Tensor]
#: features by image and layer, (N, C, h, w)
Features = dict[str, dict[str, torch.Tensor]]


class TorchGenerators(NamedTuple):
    """State of torch's generators on the CPU and on one CUDA device."""

    cpu: torch.Tensor
    cuda: torch.Tensor | None

    @classmethod
    def now(cls, device: torch.device) -> 'TorchGenerators':
        """Their present state."""
        return cls(torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == 'cuda' else None)

    def restore(self) -> None:
        """Let dropout and the like draw what they drew from this state on."""
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda)


class Batch(NamedTuple):
    """A batch, or an equal part of one; images in [0, 1].

    Attributes:
        lq: x_s, (N, 3, h, w).
        gt: y_s, (N, 3, H, W), or None.
        lq_real: x_t, (N, 3, h, w), or None.
    """

    lq: torch.Tensor
    gt: torch.Tensor | None
    lq_real: torch.Tensor | None

    def parts(self, count: int) -> list['Batch']:
        """`count` equal parts of the batch, whose size `count` divides."""
        chunks = [[None] * count if t is None else t.chunk(count) for t in self]
        return [Batch(*part) for part in zip(*chunks, strict=True)]


class ForwardPass(NamedTuple):
    """What the networks make of a part of a batch.

    Attributes:
        input: what S was given.
        output: its output, with its graph; None with ``train.recompute``.
        syn: s = S(x_s), the leaf of a graph of its own.
        real: t = S(x_t), likewise, or None when no loss uses it.
        compared: s, t, s', t' as distillation compares them, or None.
        target: y_s.
        constants: features that need no gradient, those of the teacher's outputs and of y_s.
        generators: random generators before S ran.
    """

    input: torch.Tensor
    output: torch.Tensor | None
    syn: torch.Tensor
    real: torch.Tensor | None
    compared: Views[torch.Tensor] | None
    target: torch.Tensor | None
    constants: Features
    generators: TorchGenerators | None

    @property
    def output_gradient(self) -> torch.Tensor | None:
        """What the losses have left in s and t, for `output`; None when no loss uses them."""
        images = [x for x in (self.syn, self.real) if x is not None]
        if all(x.grad is None for x in images):
            return None
        return torch.cat([torch.zeros_like(x) if x.grad is None else x.grad for x in images])
