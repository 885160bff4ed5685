"""LPIPS (Zhang et al., CVPR 2018) with the authors' package."""

import functools
import warnings

import lpips
import numpy as np
import torch
from basicsr.utils.registry import METRIC_REGISTRY

from pdd_arch.checkpoints import read_checkpoint
from pdd_arch.errors import OptionError, WeightsError
from pdd_arch.features.feature_net import imagenet_features
from pdd_arch.metrics.images import check_same_shape, device, to_tensor
from pdd_arch.utils.registration import register
from pdd_arch.utils.suggest import did_you_mean, one_of

#: LPIPS's name of the trunk, and torchvision's
TRUNKS = {'alex': 'alexnet', 'vgg': 'vgg16', 'squeeze': 'squeezenet1_1'}


@functools.lru_cache(maxsize=4)
def _network(net: str, weights: str) -> lpips.LPIPS:
    if net not in TRUNKS:
        raise OptionError(
            f'calculate_lpips net: unknown network {net!r}, expected {one_of(TRUNKS)}.{did_you_mean(net, TRUNKS)}'
        )
    # the package ships the linear layers; it would fetch the trunk itself, without a choice of the file
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # it calls torchvision in an old way
        model = lpips.LPIPS(net=net, pretrained=True, pnet_rand=True, verbose=False)
    if weights == 'imagenet':
        state = imagenet_features(TRUNKS[net], 'calculate_lpips weights')
    else:
        state = read_checkpoint(weights, option='calculate_lpips weights')
    # slices keep torchvision's numbering: slice2.3.weight is features.3.weight
    renamed = {key: f'features.{key.split(".", 1)[1]}' for key in model.net.state_dict()}
    try:
        model.net.load_state_dict({key: state[name] for key, name in renamed.items()})
    except (KeyError, RuntimeError) as e:
        raise WeightsError(
            f'calculate_lpips weights: {weights} is not a torchvision state dict of {TRUNKS[net]} ({e})'
        ) from e
    return model.eval().requires_grad_(False).to(device())


@register(METRIC_REGISTRY)
def calculate_lpips(
    img: np.ndarray,
    img2: np.ndarray,
    crop_border: int,
    input_order: str = 'HWC',
    net: str = 'alex',
    weights: str = 'imagenet',
    **kwargs,
) -> float:
    """LPIPS, version 0.1; lower is better. The network is built once per process.

    Args:
        img, img2: (H, W, 3), BGR, [0, 255].
        crop_border: pixels cut from each side.
        input_order: ``HWC`` | ``CHW``.
        net: ``alex`` (the paper) | ``vgg`` | ``squeeze``.
        weights: of the trunk: ``imagenet``, or the path of a torchvision state dict.
        **kwargs: ignored, as in BasicSR's metrics (``better``).

    Raises:
        OptionError, MissingFileError, WeightsError: the network cannot be built. Never replaced silently.
    """
    model = _network(net, weights)
    a, b = to_tensor(img, crop_border, input_order), to_tensor(img2, crop_border, input_order)
    check_same_shape(a, b)
    with torch.no_grad():
        return model(a, b, normalize=True).item()
