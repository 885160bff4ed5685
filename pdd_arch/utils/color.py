"""Colour correction of an output by its input, an option at test time."""

import torch


def match_color(output: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Give every channel of an output the mean and standard deviation (unbiased) of the input it was made from.

    Args:
        output: (N, C, H, W), any range, not clamped. A constant channel becomes the reference's mean.
        reference: (N, C, h, w), the low-resolution input.
    """

    def moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.mean(dim=(2, 3), keepdim=True), x.std(dim=(2, 3), keepdim=True)

    mean, std = moments(output)
    reference_mean, reference_std = moments(reference)
    # no epsilon in the definition; a constant channel has no spread to restore
    scale = torch.where(std > 0, reference_std / std, 0)
    return (output - mean) * scale + reference_mean
