"""How all metrics read the images that BasicSR's validation hands them."""

import numpy as np
import torch
from basicsr.metrics.metric_util import reorder_image

from pdd_arch.errors import DataError


def device() -> torch.device:
    """Metrics run where the model runs: on the GPU if there is one."""
    return torch.device('cuda' if torch.cuda.is_available() else 'cpu')


def to_tensor(img: np.ndarray, crop_border: int, input_order: str = 'HWC') -> torch.Tensor:
    """BasicSR's image (BGR or (H, W) gray, [0, 255]) as (1, 3, H, W), RGB, [0, 1], float32, without its border.

    Raises:
        DataError: nothing is left after the crop.
    """
    img = reorder_image(img, input_order=input_order)
    if img.shape[-1] == 1:
        img = np.repeat(img, 3, axis=-1)
    h, w = img.shape[:2]
    if min(h, w) <= 2 * crop_border:
        raise DataError(f'{crop_border} leaves nothing of an image of {h}x{w} pixels', where='crop_border')
    img = img[crop_border : h - crop_border, crop_border : w - crop_border, ::-1]
    tensor = torch.from_numpy(np.ascontiguousarray(img, dtype=np.float32)) / 255
    return tensor.permute(2, 0, 1)[None].to(device())


def to_tensors(
    img: np.ndarray, img2: np.ndarray, crop_border: int, input_order: str = 'HWC'
) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`to_tensor` of an output and its ground truth.

    Raises:
        DataError: they differ in size, or nothing is left after the crop.
    """
    a, b = to_tensor(img, crop_border, input_order), to_tensor(img2, crop_border, input_order)
    if a.shape != b.shape:
        raise DataError(
            f'output and ground truth differ in size: {tuple(a.shape[-2:])} and {tuple(b.shape[-2:])}',
            way_out='Check the scale of the option file and the validation pairs.',
        )
    return a, b
