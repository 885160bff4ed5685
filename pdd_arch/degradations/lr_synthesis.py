"""Making the LR half of a synthetic pair, as in the paper.

Also of methods that the paper compares with: a random blind degradation, and the noise of the target domain.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from basicsr.utils.matlab_functions import imresize

from pdd_arch.degradations.operations import RESIZES, downsampled, rounded
from pdd_arch.degradations.real_esrgan import RealESRGAN

DEFAULT_KERNELS = tuple(RESIZES)
KERNELS = (*RESIZES, 'matlab_bicubic')


def synthesise_lr(hr: np.ndarray, scale: int, kernel: str) -> np.ndarray:
    """(H, W, C) float32 in [0, 1] -> (H / scale, W / scale, C) in multiples of 1/255; ValueError if it does not divide.

    ``bicubic`` and ``bilinear`` are OpenCV's, without anti-aliasing; ``matlab_bicubic`` is BasicSR's, with it.
    """
    height, width = hr.shape[:2]
    if height % scale or width % scale:
        raise ValueError(f'an image of {height}x{width} cannot be divided by the scale {scale}')
    return rounded(imresize(hr, 1 / scale) if kernel == 'matlab_bicubic' else downsampled(hr, scale, kernel))


#: crops of which the flattest is taken for noise
CANDIDATES = 16


def inject_noise(lr: np.ndarray, target: Callable[[], np.ndarray]) -> np.ndarray:
    """Add noise found in the target domain (in the manner of Ji et al., CVPRW 2020).

    Of several target crops the one with the least structure is taken, its mean subtracted, and what is left added.
    (h, w, 3), float32, [0, 1] -> the same in multiples of 1/255. `target` returns another random target-domain crop of
    that size at each call.
    """
    crops = [target() for _ in range(CANDIDATES)]
    # noise has little left after smoothing, structure keeps most of itself
    flattest = min(crops, key=lambda crop: float(cv2.GaussianBlur(crop, (0, 0), 2).std(axis=(0, 1)).sum()))
    return rounded(np.clip(lr + flattest - flattest.mean(axis=(0, 1)), 0, 1))


@dataclass(frozen=True)
class LRSynthesis:
    """LR synthesis with a kernel drawn anew for each crop, all equally likely.

    `degradation` in place of these kernels, and `noise_injection` (of the target domain) after it, belong to methods
    that the paper compares with.
    """

    scale: int
    kernels: tuple[str, ...] = DEFAULT_KERNELS
    degradation: RealESRGAN | None = None
    noise_injection: bool = False

    def pick(self, rng: np.random.Generator) -> str:
        return self.kernels[rng.integers(len(self.kernels))]

    def __call__(
        self, hr: np.ndarray, rng: np.random.Generator, target: Callable[[], np.ndarray] | None = None
    ) -> np.ndarray:
        """As :func:`synthesise_lr`; `target`, needed to inject noise, draws a target-domain crop of the LR size."""
        if self.degradation is None:
            lr = synthesise_lr(hr, self.scale, self.pick(rng))
        else:
            lr = self.degradation(hr, self.scale, rng)
        if not self.noise_injection:
            return lr
        assert target is not None
        return inject_noise(lr, target)

    def __str__(self) -> str:
        way = 'real_esrgan' if self.degradation else ', '.join(self.kernels)
        return f'{way} and noise of the target domain' if self.noise_injection else way
