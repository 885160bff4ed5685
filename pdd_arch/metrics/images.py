"""How all metrics read the images that BasicSR's validation hands them."""

import numpy as np
import torch
from basicsr.metrics.metric_util import reorder_image

from pdd_arch.errors import DataError


def device() -> torch.device:
    """Metrics run where the model runs: on the GPU if there is one."""
    return torch.device('cuda' if torch.cuda.is_available() else 'cpu')


def to_tensors(*images: np.ndarray, crop_border: int, input_order: str) -> list[torch.Tensor]:
    """BasicSR's images (BGR or gray, [0, 255]) as (1, 3, H, W), RGB, [0, 1], float32, without their borders.

    Raises:
        DataError: output and ground truth differ in size, or nothing is left of them.
    """
    tensors = []
    for image in images:
        image = reorder_image(image, input_order=input_order)
        if image.shape[-1] == 1:
            image = np.repeat(image, 3, axis=-1)
        h, w = image.shape[:2]
        if min(h, w) <= 2 * crop_border:
            raise DataError(f'{crop_border} leaves nothing of an image of {h}x{w} pixels', where='crop_border')
        image = image[crop_border : h - crop_border, crop_border : w - crop_border, ::-1]
        tensor = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)) / 255
        tensors.append(tensor.permute(2, 0, 1)[None].to(device()))
    if len(sizes := {tuple(tensor.shape[-2:]): None for tensor in tensors}) > 1:
        raise DataError(
            f'output and ground truth differ in size: {" and ".join(map(str, sizes))}',
            way_out='Check the scale of the option file and the validation pairs.',
        )
    return tensors
