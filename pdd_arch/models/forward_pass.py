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
        return cls(torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == 'cuda' else None)

    def restore(self) -> None:
        """Let dropout and the like draw what they drew from this state on."""
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda)


class Batch(NamedTuple):
    """A batch, or an equal part of one; images in [0, 1]."""

    #: x_s, (N, 3, h, w)
    lq: torch.Tensor
    #: y_s, (N, 3, H, W)
    gt: torch.Tensor | None
    #: x_t, (N, 3, h, w)
    lq_real: torch.Tensor | None

    def parts(self, count: int) -> list['Batch']:
        """`count` equal parts of the batch, whose size `count` divides."""
        chunks = [[None] * count if t is None else t.chunk(count) for t in self]
        return [Batch(*part) for part in zip(*chunks, strict=True)]


class ForwardPass(NamedTuple):
    """What the networks make of a part of a batch."""

    #: of S
    input: torch.Tensor
    #: of S, with its graph; None with ``train.recompute``
    output: torch.Tensor | None
    #: s = S(x_s), the leaf of a graph of its own
    syn: torch.Tensor
    #: t = S(x_t), likewise; None when no loss uses it
    real: torch.Tensor | None
    #: s, t, s', t' as distillation compares them
    compared: Views[torch.Tensor] | None
    #: y_s
    target: torch.Tensor | None
    #: features that need no gradient, those of the teacher's outputs and of y_s
    constants: Features
    #: before S ran
    generators: TorchGenerators | None

    @property
    def output_gradient(self) -> torch.Tensor | None:
        """What the losses have left in s and t, for `output`; None when no loss uses them."""
        images = [x for x in (self.syn, self.real) if x is not None]
        if all(x.grad is None for x in images):
            return None
        return torch.cat([torch.zeros_like(x) if x.grad is None else x.grad for x in images])
