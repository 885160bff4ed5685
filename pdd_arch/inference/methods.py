"""Methods of super-resolution as functions: from the options and weights of a network, and bicubic interpolation."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from basicsr.archs import build_network
from basicsr.utils import img2tensor, tensor2img
from torch import nn

from pdd_arch.inference.tensors import forward_padded, required_multiple
from pdd_arch.weights.checkpoints import check_fits, read_checkpoint, state_dict_of

#: (H, W, 3) BGR uint8 -> (H * scale, W * scale, 3) BGR uint8
ImageUpscaler = Callable[[np.ndarray], np.ndarray]


def trained_network(
    section: Mapping[str, Any],
    weights: str | Path | None,
    param_key: str | None = 'params',
    device: str | torch.device = 'cpu',
    where: str = 'weights',
    key_option: str | None = None,
) -> nn.Module:
    """The network of an option file's ``network_g`` or ``network_teacher`` section with its weights, for inference.

    `weights` None is for a network that brings its own, as `SpandrelNet` does; `param_key` None for a checkpoint that
    is a state dict; `key_option` names the option that sets it, for advice. Raises MissingFileError or WeightsError
    where the weights cannot be read or do not fit.
    """
    net = build_network(dict(section))
    if weights is not None:
        state = state_dict_of(read_checkpoint(weights, where), param_key, weights, where, net, key_option)
        check_fits(net, state, weights, where)
        net.load_state_dict(state)
    # channels last is about twice as fast, on CPUs too
    return net.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)


def tensor_upscaler(net: nn.Module, device: str | torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function from (N, 3, h, w) in [0, 1] of any size, on the CPU, to the network's float32 output on the CPU."""
    multiple = required_multiple(net)

    def upscale(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return forward_padded(net, images.to(device), multiple).float().cpu()

    return upscale


def image_upscaler(net: nn.Module, device: str | torch.device = 'cpu') -> ImageUpscaler:
    """A function from images of any size to the output of the network, with BasicSR's rounding."""
    on_tensors = tensor_upscaler(net, device)
    return lambda lr: tensor2img(on_tensors(img2tensor(lr.astype(np.float32) / 255).unsqueeze(0)))


def network_upscaler(
    section: Mapping[str, Any],
    weights: str | Path | None,
    param_key: str | None,
    device: str | torch.device = 'cpu',
    where: str = 'weights',
    key_option: str | None = None,
) -> ImageUpscaler:
    """:func:`image_upscaler` of a :func:`trained_network`."""
    return image_upscaler(trained_network(section, weights, param_key, device, where, key_option), device)


def bicubic_upscaler(scale: int) -> ImageUpscaler:
    """Bicubic interpolation (OpenCV)."""
    return lambda lr: cv2.resize(lr, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
