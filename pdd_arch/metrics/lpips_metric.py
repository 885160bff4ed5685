"""LPIPS (Zhang et al., CVPR 2018) with the authors' package."""

import functools
import warnings
from pathlib import Path

import lpips
import numpy as np
import torch
from basicsr.utils.registry import METRIC_REGISTRY

from pdd_arch.features.feature_net import load_trunk
from pdd_arch.metrics.images import device, to_tensors
from pdd_arch.utils.registration import register
from pdd_arch.utils.wording import check_choice
from pdd_arch.weights.checkpoints import read_checkpoint

#: LPIPS's name of the trunk, and torchvision's
TRUNKS = {'alex': 'alexnet', 'vgg': 'vgg16', 'squeeze': 'squeezenet1_1'}


@functools.lru_cache(maxsize=4)
def network(net: str, weights: str) -> lpips.LPIPS:
    """The network of :func:`calculate_lpips`, built once per process."""
    check_choice('calculate_lpips net', net, TRUNKS, 'network')
    # the package would fetch the trunk itself, without a choice of the file, and draw a hundred million random
    # weights before: here it lays out the layers only
    with warnings.catch_warnings(), torch.device('meta'):
        warnings.simplefilter('ignore', UserWarning)  # it calls torchvision in an old way
        model = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
    model.scaling_layer = lpips.ScalingLayer()
    linear = read_checkpoint(Path(lpips.__file__).parent / f'weights/v0.1/{net}.pth', 'calculate_lpips net')
    model.load_state_dict(linear, strict=False, assign=True)
    trunk = load_trunk(TRUNKS[net], weights, 'calculate_lpips weights').state_dict()
    # slices keep torchvision's numbering: slice2.3.weight is features.3.weight
    model.net.load_state_dict({key: trunk[key.split('.', 1)[1]] for key in model.net.state_dict()}, assign=True)
    # images come as height, width, channels: convolutions in that order are a fifth faster
    return model.eval().requires_grad_(False).to(device(), memory_format=torch.channels_last)


def distance(model: lpips.LPIPS, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """LPIPS of pairs (N, 3, H, W), RGB, [0, 1], as ``model(a, b, normalize=True)``: (N,).

    Both sides go through the trunk together, unlike there.
    """
    maps = model.net(model.scaling_layer(2 * torch.cat([a, b]) - 1))
    layers = []
    for features, linear in zip(maps, model.lins, strict=True):
        unit = lpips.normalize_tensor(features)
        layers.append(linear((unit[: len(a)] - unit[len(a) :]).square()).mean((1, 2, 3)))
    return torch.stack(layers).sum(0)


@register(METRIC_REGISTRY)
def calculate_lpips(
    img: np.ndarray,
    img2: np.ndarray,
    crop_border: int,
    input_order: str = 'HWC',
    net: str = 'alex',
    weights: str = 'imagenet',
    **kwargs: object,
) -> float:
    """LPIPS, version 0.1; lower is better. The network is built once per process.

    Args:
        img, img2: (H, W, 3), BGR, [0, 255].
        crop_border: pixels cut from each side.
        input_order: ``HWC`` | ``CHW``.
        net: ``alex`` (the paper) | ``vgg`` | ``squeeze``.
        weights: weights of the trunk: ``imagenet``, or the path of a torchvision state dict.

    Raises:
        OptionError, MissingFileError, WeightsError: the network cannot be built. Never replaced silently.
    """
    model = network(net, weights)
    a, b = to_tensors(img, img2, crop_border=crop_border, input_order=input_order)
    with torch.inference_mode():
        return distance(model, a, b).item()
