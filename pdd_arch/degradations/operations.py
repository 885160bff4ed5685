"""What degrades an image: blur, downsampling, sensor noise and JPEG, as functions and as declared operations.

An operation is called with an (H, W, 3) BGR image in [0, 1] and the scale of super-resolution. What it draws at random
comes from the global generators of NumPy and Python, which BasicSR's components draw from; the caller seeds them
(:func:`pdd_arch.utils.random_state.global_generators_seeded`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from basicsr.data.degradations import random_mixed_kernels

#: exponent of the display's curve; sensors count photons, so noise is added in linear light
GAMMA = 2.2
#: of OpenCV, without anti-aliasing but for ``area``
RESIZES = {'bicubic': cv2.INTER_CUBIC, 'bilinear': cv2.INTER_LINEAR, 'area': cv2.INTER_AREA}


def filtered(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """An image convolved with a kernel, mirrored at its borders; size and type stay."""
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


def random_kernel(
    kinds: Sequence[str],
    shares: Sequence[float],
    size: int,
    sigma: tuple[float, float],
    generalized: tuple[float, float] = (0.5, 4),
    plateau: tuple[float, float] = (1, 2),
) -> np.ndarray:
    """A (size, size) blur kernel, size odd, sum 1, of BasicSR's `kinds` with these weights.

    Smallest and largest value of each: `sigma` in pixels, shapes (beta) of the generalized and the plateau kernels.
    """
    return random_mixed_kernels(list(kinds), list(shares), size, sigma, sigma, (-np.pi, np.pi), generalized, plateau)


def downsampled(image: np.ndarray, scale: int, resize: str = 'area') -> np.ndarray:
    """(H, W, C) -> (H // scale, W // scale, C) of the same type, by one of ``RESIZES``."""
    height, width = image.shape[:2]
    return cv2.resize(image, (width // scale, height // scale), interpolation=RESIZES[resize])


def to_8_bit(image: np.ndarray) -> np.ndarray:
    """Floats, of which those outside [0, 1] are clipped, -> uint8."""
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def rounded(image: np.ndarray) -> np.ndarray:
    """Floats, of which those outside [0, 1] are clipped, -> contiguous float32, multiples of 1/255."""
    levels = np.clip(np.round(image * np.float32(255)), 0, 255)
    return np.ascontiguousarray(levels / np.float32(255), dtype=np.float32)


def jpeg_round_trip(image: np.ndarray, quality: int) -> np.ndarray:
    """(H, W, 3) BGR uint8 as it comes out of a JPEG file of that quality (0 to 100)."""
    stored = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(stored, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded


@dataclass(frozen=True)
class Operation(ABC):
    """A step of a degradation, declared by its fields."""

    @abstractmethod
    def __call__(self, image: np.ndarray, scale: int) -> np.ndarray:
        """(H, W, 3) in [0, 1] -> the same size, or sides divided by `scale`."""


@dataclass(frozen=True)
class Blur(Operation):
    """A random Gaussian kernel of BasicSR (iso- or anisotropic, generalised, plateau), drawn for each image."""

    #: smallest and largest standard deviation, in pixels of the image it is applied to
    sigma: tuple[float, float]
    #: of ``basicsr.data.degradations.random_mixed_kernels``, equally likely
    kinds: tuple[str, ...] = ('iso',)
    size: int = 21

    def __call__(self, image: np.ndarray, scale: int) -> np.ndarray:
        shares = [1 / len(self.kinds)] * len(self.kinds)
        return filtered(image, random_kernel(self.kinds, shares, self.size, self.sigma))


@dataclass(frozen=True)
class GaussianBlur(Operation):
    """The isotropic kernel of `Blur` with a known standard deviation in pixels; separable, hence fast."""

    sigma: float
    size: int = Blur.size  # 0: as large as `sigma` needs

    def __call__(self, image: np.ndarray, scale: int) -> np.ndarray:
        return cv2.GaussianBlur(image, (self.size, self.size), self.sigma, borderType=cv2.BORDER_REFLECT_101)


@dataclass(frozen=True)
class Downsample(Operation):
    """Downsampling by the scale of super-resolution."""

    resize: str = 'area'

    def __call__(self, image: np.ndarray, scale: int) -> np.ndarray:
        return downsampled(image, scale, self.resize)


@dataclass(frozen=True)
class SensorNoise(Operation):
    """Shot and read noise in linear light (Foi et al., 2008): variance = shot * value + read ** 2."""

    shot: float  # variance of a fully lit pixel: 1 over its number of electrons
    read: float  # standard deviation in the dark, where white is 1

    def __call__(self, image: np.ndarray, scale: int) -> np.ndarray:
        linear = np.clip(image, 0, 1) ** GAMMA
        noise = np.random.standard_normal(linear.shape).astype(np.float32)
        noisy = linear + np.sqrt(self.shot * linear + self.read**2) * noise
        return np.clip(noisy, 0, 1).astype(np.float32) ** np.float32(1 / GAMMA)


@dataclass(frozen=True)
class Jpeg(Operation):
    """JPEG compression at a quality drawn for each image."""

    quality: tuple[int, int]  # lowest and highest, both included

    def __call__(self, image: np.ndarray, scale: int = 1) -> np.ndarray:
        low, high = self.quality
        # BasicSR's own hands the encoder float, which OpenCV 5 warns of
        return jpeg_round_trip(to_8_bit(image), int(np.random.randint(low, high + 1))).astype(np.float32) / 255
