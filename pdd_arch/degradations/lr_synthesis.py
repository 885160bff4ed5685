"""Making the LR half of a synthetic pair (paper, section 4.1: implementation details).

Also of methods that the paper compares with: a random blind degradation, and the noise of the target domain.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from basicsr.data.degradations import circular_lowpass_kernel, random_add_gaussian_noise, random_add_poisson_noise
from basicsr.utils.matlab_functions import imresize

from pdd_arch.degradations.operations import RESIZES, Jpeg, downsampled, filtered, random_kernel, rounded
from pdd_arch.utils.random_state import global_generators_seeded

DEFAULT_KERNELS = tuple(RESIZES)
KERNELS = (*RESIZES, 'matlab_bicubic')
DEGRADATIONS = ('real_esrgan',)
# of Real-ESRGAN
_BLURS = ('iso', 'aniso', 'generalized_iso', 'generalized_aniso', 'plateau_iso', 'plateau_aniso')
SHARES = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
KERNEL_SIZES = range(7, 22, 2)
_RESIZES = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
GRAY_NOISE, SINC, FINAL_SINC, JPEG = 0.4, 0.1, 0.8, Jpeg((30, 95))


def synthesise_lr(hr: np.ndarray, scale: int, kernel: str) -> np.ndarray:
    """(H, W, C) float32 in [0, 1] -> (H / scale, W / scale, C) in multiples of 1/255; ValueError if it does not divide.

    ``bicubic`` and ``bilinear`` are OpenCV's, without anti-aliasing; ``matlab_bicubic`` is BasicSR's, with it.
    """
    height, width = hr.shape[:2]
    if height % scale or width % scale:
        raise ValueError(f'an image of {height}x{width} cannot be divided by the scale {scale}')
    return rounded(imresize(hr, 1 / scale) if kernel == 'matlab_bicubic' else downsampled(hr, scale, kernel))


@dataclass(frozen=True)
class _Round:
    """One of Real-ESRGAN's two rounds (Wang et al., ICCVW 2021, section 3, and its published option file)."""

    blur: float  # probability
    sigma: tuple[float, float]
    resize: tuple[float, float, float]  # probabilities of upsampling, downsampling and keeping the size
    factor: tuple[float, float]
    gauss: tuple[float, float]
    poisson: tuple[float, float]


FIRST = _Round(blur=1.0, sigma=(0.2, 3), resize=(0.2, 0.7, 0.1), factor=(0.15, 1.5), gauss=(1, 30), poisson=(0.05, 3))
SECOND = _Round(
    blur=0.8, sigma=(0.2, 1.5), resize=(0.3, 0.4, 0.3), factor=(0.3, 1.2), gauss=(1, 25), poisson=(0.05, 2.5)
)

#: crops of which the flattest is taken for noise
CANDIDATES = 16


def real_esrgan_lr(hr: np.ndarray, scale: int, rng: np.random.Generator) -> np.ndarray:
    """Real-ESRGAN's second-order degradation: blur, resize, noise and JPEG twice, and a sinc filter.

    (H, W, 3), float32, [0, 1], sides divisible by `scale` -> (H / scale, W / scale, 3), multiples of 1/255 in [0, 1].
    BasicSR's components draw from the generators of NumPy and Python, which are seeded from `rng` and left as they
    were.
    """
    with global_generators_seeded(int(rng.integers(2**32))):
        height, width = hr.shape[0] // scale, hr.shape[1] // scale
        lr = _degraded(JPEG(_degraded(hr, FIRST)), SECOND, (height, width))
        # JPEG before or after the last downsampling and filter, equally likely
        jpeg_last = np.random.uniform() < 0.5
        if not jpeg_last:
            lr = JPEG(lr)
        lr = cv2.resize(lr, (width, height), interpolation=random.choice(_RESIZES))
        if np.random.uniform() < FINAL_SINC:
            lr = np.clip(filtered(lr, _sinc(random.choice(KERNEL_SIZES))), 0, 1)
        if jpeg_last:
            lr = JPEG(lr)
    return rounded(np.clip(lr, 0, 1))


def _degraded(image: np.ndarray, how: _Round, size: tuple[int, int] | None = None) -> np.ndarray:
    """Blur, resize and noise. `size`: (height, width) that the factors count from, where not that of the image."""
    if np.random.uniform() < how.blur:
        side = random.choice(KERNEL_SIZES)
        kernel = _sinc(side) if np.random.uniform() < SINC else random_kernel(_BLURS, SHARES, side, how.sigma)
        image = filtered(image, kernel)
    height, width = size or image.shape[:2]
    low, high = how.factor
    kind = random.choices(('up', 'down', 'keep'), how.resize)[0]
    factor = {'up': np.random.uniform(1, high), 'down': np.random.uniform(low, 1), 'keep': 1.0}[kind]
    resized = (max(1, round(width * factor)), max(1, round(height * factor)))
    image = np.clip(cv2.resize(image, resized, interpolation=random.choice(_RESIZES)), 0, 1)
    if np.random.uniform() < 0.5:
        return random_add_gaussian_noise(image, how.gauss, gray_prob=GRAY_NOISE).astype(np.float32)
    return random_add_poisson_noise(image, how.poisson, gray_prob=GRAY_NOISE).astype(np.float32)


def _sinc(size: int) -> np.ndarray:
    lowest = np.pi / 3 if size < 13 else np.pi / 5
    return circular_lowpass_kernel(np.random.uniform(lowest, np.pi), size)


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
