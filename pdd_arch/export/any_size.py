"""A network that takes images of any size, in a form that can be traced."""

import torch
from torch import nn

from pdd_arch.inference import LoadedNetwork, required_multiple


class AnySize(nn.Module):
    """`pdd_arch.inference.forward_padded` in operations on tensors only: the padding is computed from the size of each
    image instead of becoming a constant of the trace.

    Args:
        net: maps (N, 3, h, w) to (N, 3, h * scale, w * scale) where h and w are multiples of `multiple`.
        scale: upscaling factor.
        multiple: what `pdd_arch.inference.required_multiple` says of `net`.
    """

    def __init__(self, net: nn.Module, scale: int, multiple: int) -> None:
        super().__init__()
        self.net, self.scale, self.multiple = net, scale, multiple

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, h, w) to (N, 3, h * scale, w * scale), for any h and w."""
        height, width = x.shape[2], x.shape[3]
        padded = x.index_select(2, self._continued(height)).index_select(3, self._continued(width))
        return self.net(padded)[:, :, : height * self.scale, : width * self.scale]

    def _continued(self, length: int) -> torch.Tensor:
        """Indices ``0 ... length - 1``, continued by their mirror image to a multiple."""
        indices = torch.arange(length + (-length) % self.multiple)
        # a side shorter than its continuation ends in repetitions of its first pixel
        return torch.where(indices < length, indices, (2 * (length - 1) - indices).clamp(min=0))


def any_size(network: LoadedNetwork) -> nn.Module:
    """The network itself where it takes any size, else wrapped."""
    multiple = required_multiple(network.net)
    return network.net if multiple == 1 else AnySize(network.net, network.scale, multiple).eval()
