"""A held-out photograph at the present stage of the training: bicubic interpolation, the generalist, the student."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pdd_arch.inference.methods import ImageUpscaler
from pdd_arch.selection.signals import middle
from pdd_arch.utils.atomic import whole_file, writing

#: LR pixels a side
_CROP = 96


def write_preview(path: Path, photograph: np.ndarray, upscalers: Sequence[ImageUpscaler]) -> None:
    """Write a PNG of the middle of a photograph, (h, w, 3) BGR uint8, upscaled by each of `upscalers` side by side."""
    crop = np.ascontiguousarray(middle(photograph, _CROP, 1))
    outputs = [upscale(crop) for upscale in upscalers]
    gap = np.full((len(outputs[0]), 8, 3), 255, np.uint8)
    write_png(path, np.hstack([part for image in outputs for part in (image, gap)][:-1]))


def write_png(path: Path, image: np.ndarray) -> None:
    """Write (h, w, 3) BGR uint8 atomically. Raises DataError where that fails."""
    with writing(path), whole_file(path) as partial:
        partial.write_bytes(cv2.imencode('.png', image)[1].tobytes())
