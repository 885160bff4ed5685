"""A held-out photograph as the training stands: enlarged, by the generalist, adapted."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from pdd_arch.selection.signals import middle
from pdd_arch.utils.atomic import whole_file, writing

#: LR pixels a side
_CROP = 96


def write_preview(
    path: Path, photograph: np.ndarray, networks: Sequence[Callable[[torch.Tensor], torch.Tensor]]
) -> None:
    """A picture of the middle of a photograph: bicubic on the left, then each network's output.

    Args:
        path: of the PNG.
        photograph: (h, w, 3), BGR, float32, [0, 1].
        networks: (1, 3, h, w) RGB in [0, 1] -> (1, 3, h * scale, w * scale).
    """
    crop = middle(photograph, _CROP, 1)
    tensor = torch.from_numpy(np.ascontiguousarray(crop[..., ::-1].transpose(2, 0, 1))).unsqueeze(0)
    outputs = [net(tensor)[0].clamp(0, 1).permute(1, 2, 0).numpy()[..., ::-1] for net in networks]
    height, width = outputs[0].shape[:2]
    parts = [cv2.resize(crop, (width, height), interpolation=cv2.INTER_CUBIC), *outputs]
    gap = np.ones((height, 8, 3), np.float32)
    row = np.hstack([part for image in parts for part in (image, gap)][:-1])
    encoded = cv2.imencode('.png', np.round(np.clip(row, 0, 1) * 255).astype(np.uint8))[1]
    with writing(path), whole_file(path) as partial:
        partial.write_bytes(encoded.tobytes())
