"""Real-ESRGAN's random second-order degradation (Wang et al., ICCVW 2021), for one image on the CPU."""

import random
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from basicsr.data.degradations import circular_lowpass_kernel, random_add_gaussian_noise, random_add_poisson_noise

from pdd_arch.degradations.operations import Jpeg, filtered, random_kernel, rounded
from pdd_arch.utils.random_state import global_generators_seeded

BlurKernel = Literal['iso', 'aniso', 'generalized_iso', 'generalized_aniso', 'plateau_iso', 'plateau_aniso']
Pair = tuple[float, float]

#: side of the smallest blur kernel, as Real-ESRGAN's dataset has it
SMALLEST_KERNEL = 7
_KERNELS: tuple[BlurKernel, ...] = (
    *('iso', 'aniso', 'generalized_iso'),
    *('generalized_aniso', 'plateau_iso', 'plateau_aniso'),
)
_PROBABILITIES = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
_RESIZES = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)


@dataclass(frozen=True)
class RealESRGAN:
    """Blur, resizing, noise and JPEG twice, the second time with a sinc filter before or after JPEG.

    Names and defaults are those of Real-ESRGAN's option files ``train_realesrnet_x4plus.yml`` and
    ``train_realesrgan_x4plus.yml``. The paper has the same values (paragraph "Degradation details"), but for
    resizing and the shares of anisotropic kernels. Names that end in 2 are of the second round.

    Called with an HR image it gives the LR image: (H, W, 3), float32, [0, 1], sides divisible by `scale` ->
    (H / scale, W / scale, 3), multiples of 1/255 in [0, 1]. What it draws depends on `rng` alone: BasicSR's components
    draw from the generators of NumPy and Python, which are seeded from `rng` and left as they were.
    """

    blur_kernel_size: int = 21
    kernel_list: tuple[BlurKernel, ...] = _KERNELS
    kernel_prob: tuple[float, ...] = _PROBABILITIES
    sinc_prob: float = 0.1
    blur_sigma: Pair = (0.2, 3)
    betag_range: Pair = (0.5, 4)
    betap_range: Pair = (1, 2)
    resize_prob: tuple[float, float, float] = (0.2, 0.7, 0.1)
    resize_range: Pair = (0.15, 1.5)
    gaussian_noise_prob: float = 0.5
    noise_range: Pair = (1, 30)
    poisson_scale_range: Pair = (0.05, 3)
    gray_noise_prob: float = 0.4
    jpeg_range: Pair = (30, 95)
    second_blur_prob: float = 0.8
    blur_kernel_size2: int = 21
    kernel_list2: tuple[BlurKernel, ...] = _KERNELS
    kernel_prob2: tuple[float, ...] = _PROBABILITIES
    sinc_prob2: float = 0.1
    blur_sigma2: Pair = (0.2, 1.5)
    betag_range2: Pair = (0.5, 4)
    betap_range2: Pair = (1, 2)
    resize_prob2: tuple[float, float, float] = (0.3, 0.4, 0.3)
    resize_range2: Pair = (0.3, 1.2)
    gaussian_noise_prob2: float = 0.5
    noise_range2: Pair = (1, 25)
    poisson_scale_range2: Pair = (0.05, 2.5)
    gray_noise_prob2: float = 0.4
    jpeg_range2: Pair = (30, 95)
    final_sinc_prob: float = 0.8

    def __call__(self, hr: np.ndarray, scale: int, rng: np.random.Generator) -> np.ndarray:
        with global_generators_seeded(int(rng.integers(2**32))):
            height, width = hr.shape[0] // scale, hr.shape[1] // scale
            lr = _jpeg(self.jpeg_range)(self._round(hr, '', 1.0, hr.shape[:2]))
            lr, jpeg = self._round(lr, '2', self.second_blur_prob, (height, width)), _jpeg(self.jpeg_range2)
            # JPEG before or after the last downsampling and filter, equally likely
            jpeg_last = np.random.uniform() < 0.5
            if not jpeg_last:
                lr = jpeg(lr)
            lr = cv2.resize(lr, (width, height), interpolation=random.choice(_RESIZES))
            if np.random.uniform() < self.final_sinc_prob:
                lr = np.clip(filtered(lr, _sinc(_kernel_size(self.blur_kernel_size2), np.pi / 3)), 0, 1)
            if jpeg_last:
                lr = jpeg(lr)
        return rounded(np.clip(lr, 0, 1))

    def _round(self, image: np.ndarray, number: str, blur: float, size: tuple[int, ...]) -> np.ndarray:
        """Blur, resizing and noise.

        Args:
            number: what the names of the round's options end in.
            blur: its probability.
            size: height and width from which the factors of resizing count.
        """

        def option(name: str) -> Any:
            return getattr(self, f'{name}{number}')

        if np.random.uniform() < blur:
            side = _kernel_size(option('blur_kernel_size'))
            if np.random.uniform() < option('sinc_prob'):
                kernel = _sinc(side, np.pi / 3 if side < 13 else np.pi / 5)
            else:
                kinds, shares = option('kernel_list'), option('kernel_prob')
                shapes = option('betag_range'), option('betap_range')
                kernel = random_kernel(kinds, shares, side, option('blur_sigma'), *shapes)
            image = filtered(image, kernel)
        low, high = option('resize_range')
        kind = random.choices(('up', 'down', 'keep'), option('resize_prob'))[0]
        factor = {'up': np.random.uniform(1, high), 'down': np.random.uniform(low, 1), 'keep': 1.0}[kind]
        height, width = (max(1, round(length * factor)) for length in size)
        image = np.clip(cv2.resize(image, (width, height), interpolation=random.choice(_RESIZES)), 0, 1)
        gray = option('gray_noise_prob')
        if np.random.uniform() < option('gaussian_noise_prob'):
            noisy: np.ndarray = random_add_gaussian_noise(image, option('noise_range'), gray_prob=gray)
        else:
            noisy = random_add_poisson_noise(image, option('poisson_scale_range'), gray_prob=gray)
        return noisy.astype(np.float32)


def _jpeg(qualities: Pair) -> Jpeg:
    low, high = qualities
    return Jpeg((round(low), round(high)))


def _kernel_size(largest: int) -> int:
    return random.choice(range(SMALLEST_KERNEL, largest + 1, 2))


def _sinc(size: int, lowest: float) -> np.ndarray:
    """A sinc filter with a random cutoff from `lowest` to pi."""
    return circular_lowpass_kernel(np.random.uniform(lowest, np.pi), size)
