"""Distance between deep features, with any of this package's feature networks and weights."""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from basicsr.utils.registry import METRIC_REGISTRY

from pdd_arch.features import FeatureNet
from pdd_arch.metrics.images import device, to_tensors
from pdd_arch.utils.registration import register

#: one layer per resolution: LPIPS's choice for VGG and AlexNet, the fire modules before each pooling for SqueezeNet
DEFAULT_LAYERS = {
    'vgg16': ('relu1_2', 'relu2_2', 'relu3_3', 'relu4_3', 'relu5_3'),
    'vgg19': ('relu1_2', 'relu2_2', 'relu3_4', 'relu4_4', 'relu5_4'),
    'alexnet': ('features.1', 'features.4', 'features.7', 'features.9', 'features.11'),
    'squeezenet1_0': ('features.1', 'features.5', 'features.10', 'features.12'),
    'squeezenet1_1': ('features.1', 'features.4', 'features.7', 'features.12'),
}


@functools.lru_cache(maxsize=4)
def _network(options: str) -> FeatureNet:
    return FeatureNet(**json.loads(options)).to(device())


def network_options(feature_net: Mapping[str, Any] | None, layers: Sequence[str] | None) -> dict[str, Any]:
    """Arguments of the `FeatureNet` of :func:`calculate_feature_distance`, with its defaults."""
    options = {'type': 'vgg16', 'weights': 'imagenet', **(feature_net or {})}
    options['layers'] = list(layers or DEFAULT_LAYERS.get(options['type'], ()))
    return options


def network(options: Mapping[str, Any]) -> FeatureNet:
    """The network of :func:`network_options`, built once per process; raises as `FeatureNet`."""
    return _network(json.dumps(dict(options), sort_keys=True))


def feature_distance(a: torch.Tensor, b: torch.Tensor, net: FeatureNet) -> torch.Tensor:
    """Mean over layers of the mean squared distance between channel-normalised features, (N,), in [0, 4].

    LPIPS (Zhang et al., CVPR 2018, equation 1) with all channel weights 1.

    Args:
        a, b: (N, 3, H, W), RGB, [0, 1].
        net: its layers are compared.
    """
    maps = zip(net(a).values(), net(b).values(), strict=True)
    layers = [(F.normalize(x, dim=1) - F.normalize(y, dim=1)).square().sum(1).mean((1, 2)) for x, y in maps]
    return torch.stack(layers).mean(0)


@register(METRIC_REGISTRY)
def calculate_feature_distance(
    img: np.ndarray,
    img2: np.ndarray,
    crop_border: int,
    input_order: str = 'HWC',
    feature_net: Mapping[str, Any] | None = None,
    layers: Sequence[str] | None = None,
    **kwargs: object,
) -> float:
    """Distance between deep features of two images; lower is better.

    Args:
        img, img2: (H, W, 3), BGR, [0, 255].
        crop_border: pixels cut from each side.
        input_order: ``HWC`` | ``CHW``.
        feature_net: options of a `FeatureNet`; VGG16 with ImageNet weights by default.
        layers: layers to compare; one per resolution by default.

    Returns:
        A number in [0, 4]; 0 for equal images.

    Raises:
        OptionError, MissingFileError, WeightsError: from `FeatureNet`.
    """
    net = network(network_options(feature_net, layers))
    a, b = to_tensors(img, img2, crop_border=crop_border, input_order=input_order)
    with torch.no_grad():
        return feature_distance(a, b, net).item()
