"""LR synthesis of methods that the paper compares with: a random blind degradation, and the target's own noise."""

import random
from collections.abc import Callable

import cv2
import numpy as np
from basicsr.data.degradations import (
    circular_lowpass_kernel,
    random_add_gaussian_noise,
    random_add_poisson_noise,
    random_mixed_kernels,
)

from pdd_arch.utils.seeding import global_generators_seeded

KERNELS = ('iso', 'aniso', 'generalized_iso', 'generalized_aniso', 'plateau_iso', 'plateau_aniso')
SHARES = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
RESIZES = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
GRAY_NOISE, SINC, FINAL_SINC, JPEG = 0.4, 0.1, 0.8, (30, 95)

#: Real-ESRGAN's two rounds (Wang et al., ICCVW 2021, section 3, and its published option file): probability and range
#: of the blur, shares of enlarging, reducing and keeping with the range of the factor, ranges of the two kinds of noise
FIRST = dict(blur=1.0, sigma=(0.2, 3), resize=(0.2, 0.7, 0.1), factor=(0.15, 1.5), gauss=(1, 30), poisson=(0.05, 3))
SECOND = dict(blur=0.8, sigma=(0.2, 1.5), resize=(0.3, 0.4, 0.3), factor=(0.3, 1.2), gauss=(1, 25), poisson=(0.05, 2.5))

#: crops of which the flattest is taken for noise
CANDIDATES = 16


def real_esrgan_lr(hr: np.ndarray, scale: int, rng: np.random.Generator) -> np.ndarray:
    """Real-ESRGAN's second-order degradation: blur, resize, noise and JPEG twice, and a sinc filter.

    BasicSR's components draw from the generators of NumPy and Python, which are seeded from `rng` and left as they
    were.

    Args:
        hr: (H, W, 3), float32, [0, 1], H and W divisible by `scale`.
        scale: factor of the reduction.
        rng: of the sample.

    Returns:
        (H / scale, W / scale, 3), float32, multiples of 1/255 in [0, 1].
    """
    with global_generators_seeded(int(rng.integers(2**32))):
        size = (hr.shape[1] // scale, hr.shape[0] // scale)
        lr = _jpeg(_round(hr, FIRST))
        lr = _round(lr, SECOND, size)
        # JPEG before or after the last reduction and filter, equally likely
        first, second = (_last_filter, _jpeg) if np.random.uniform() < 0.5 else (_jpeg, _last_filter)
        if first is _last_filter:
            lr = second(first(cv2.resize(lr, size, interpolation=random.choice(RESIZES))))
        else:
            lr = second(cv2.resize(first(lr), size, interpolation=random.choice(RESIZES)))
    return np.ascontiguousarray(np.round(np.clip(lr, 0, 1) * 255) / np.float32(255), dtype=np.float32)


def _round(image: np.ndarray, how: dict, final: tuple[int, int] | None = None) -> np.ndarray:
    """Blur, resize and noise. `final`: size that the second round's factors count from."""
    if np.random.uniform() < how['blur']:
        image = cv2.filter2D(image, -1, _kernel(how['sigma']), borderType=cv2.BORDER_REFLECT_101)
    height, width = (final[1], final[0]) if final else image.shape[:2]
    low, high = how['factor']
    kind = random.choices(('up', 'down', 'keep'), how['resize'])[0]
    factor = {'up': np.random.uniform(1, high), 'down': np.random.uniform(low, 1), 'keep': 1.0}[kind]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    image = np.clip(cv2.resize(image, size, interpolation=random.choice(RESIZES)), 0, 1)
    if np.random.uniform() < 0.5:
        return random_add_gaussian_noise(image, how['gauss'], gray_prob=GRAY_NOISE).astype(np.float32)
    return random_add_poisson_noise(image, how['poisson'], gray_prob=GRAY_NOISE).astype(np.float32)


def _kernel(sigma: tuple[float, float]) -> np.ndarray:
    size = random.choice(range(7, 22, 2))
    if np.random.uniform() < SINC:
        return _sinc(size)
    return random_mixed_kernels(KERNELS, SHARES, size, sigma, sigma, (-np.pi, np.pi), (0.5, 4), (1, 2))


def _sinc(size: int) -> np.ndarray:
    lowest = np.pi / 3 if size < 13 else np.pi / 5
    return circular_lowpass_kernel(np.random.uniform(lowest, np.pi), size)


def _last_filter(image: np.ndarray) -> np.ndarray:
    if np.random.uniform() >= FINAL_SINC:
        return image
    kernel = _sinc(random.choice(range(7, 22, 2)))
    return np.clip(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101), 0, 1)


def _jpeg(image: np.ndarray) -> np.ndarray:
    levels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(np.random.randint(JPEG[0], JPEG[1] + 1))]
    return cv2.imdecode(cv2.imencode('.jpg', levels, quality)[1], cv2.IMREAD_COLOR).astype(np.float32) / 255


def inject_noise(lr: np.ndarray, target: Callable[[], np.ndarray]) -> np.ndarray:
    """Add noise found in the target domain (in the manner of Ji et al., CVPRW 2020).

    Of several target crops the one with the least structure is taken, its mean removed, and what is left added.

    Args:
        lr: (h, w, 3), float32, [0, 1].
        target: returns another random target-domain crop of that size at each call.

    Returns:
        (h, w, 3), float32, multiples of 1/255 in [0, 1].
    """
    crops = [target() for _ in range(CANDIDATES)]
    # noise has little left after smoothing, structure keeps most of itself
    flattest = min(crops, key=lambda crop: float(cv2.GaussianBlur(crop, (0, 0), 2).std(axis=(0, 1)).sum()))
    noisy = lr + flattest - flattest.mean(axis=(0, 1))
    return np.round(np.clip(noisy, 0, 1) * 255).astype(np.float32) / np.float32(255)
