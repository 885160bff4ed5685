"""Making the LR half of a synthetic pair (paper, section 4.1: implementation details)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from basicsr.utils.matlab_functions import imresize

from pdd_arch.degradations.baselines import inject_noise, real_esrgan_lr
from pdd_arch.degradations.operations import RESIZES, downsampled, rounded

DEFAULT_KERNELS = tuple(RESIZES)
KERNELS = (*RESIZES, 'matlab_bicubic')
DEGRADATIONS = ('real_esrgan',)


def synthesise_lr(hr: np.ndarray, scale: int, kernel: str) -> np.ndarray:
    """Downsamples an image and rounds it to 8 bits.

    Args:
        hr: (H, W, C) float32 in [0, 1], H and W divisible by `scale`.
        kernel: ``bicubic`` and ``bilinear`` (OpenCV, without anti-aliasing), ``area``, or ``matlab_bicubic``
            (anti-aliased, BasicSR's ``imresize``).

    Returns:
        (H / scale, W / scale, C) float32, multiples of 1/255 in [0, 1].

    Raises:
        ValueError: H or W is not divisible by `scale`.
    """
    height, width = hr.shape[:2]
    if height % scale or width % scale:
        raise ValueError(f'an image of {height}x{width} cannot be divided by the scale {scale}')
    return rounded(imresize(hr, 1 / scale) if kernel == 'matlab_bicubic' else downsampled(hr, scale, kernel))


@dataclass(frozen=True)
class LRSynthesis:
    """LR synthesis with a kernel drawn anew for each crop, all equally likely.

    `degradation` in place of these kernels, and `noise_injection` (of the target domain) after it, belong to methods
    that the paper compares with (`pdd_arch.degradations.baselines`).
    """

    scale: int
    kernels: tuple[str, ...] = DEFAULT_KERNELS
    degradation: str | None = None
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
            lr = real_esrgan_lr(hr, self.scale, rng)
        if not self.noise_injection:
            return lr
        assert target is not None
        return inject_noise(lr, target)

    def __str__(self) -> str:
        way = self.degradation or ', '.join(self.kernels)
        return f'{way} and noise of the target domain' if self.noise_injection else way
