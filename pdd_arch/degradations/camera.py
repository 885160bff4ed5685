"""What cameras do to an image, as declared, seeded operations on BasicSR's components."""

from dataclasses import asdict, dataclass

import cv2
import numpy as np
from basicsr.data.degradations import random_mixed_kernels

from pdd_arch.utils.seeding import global_generators_seeded

#: exponent of the display's curve; sensors count photons, so noise is added in linear light
GAMMA = 2.2
RESIZES = {'area': cv2.INTER_AREA, 'bicubic': cv2.INTER_CUBIC, 'bilinear': cv2.INTER_LINEAR}


@dataclass(frozen=True)
class Blur:
    """A random Gaussian kernel of BasicSR (iso- or anisotropic, generalised, plateau), drawn for each image.

    Attributes:
        kinds: kernel names of ``basicsr.data.degradations.random_mixed_kernels``, drawn with equal probability.
        sigma: smallest and largest standard deviation, in pixels of the image it is applied to.
        size: of the kernel, odd.
    """

    sigma: tuple[float, float]
    kinds: tuple[str, ...] = ('iso',)
    size: int = 21

    def __call__(self, image: np.ndarray, scale: int) -> np.ndarray:
        """(H, W, 3) in [0, 1] -> the same size."""
        shares = [1 / len(self.kinds)] * len(self.kinds)
        kernel = random_mixed_kernels(
            list(self.kinds), shares, self.size, self.sigma, self.sigma, (-np.pi, np.pi), (0.5, 4), (1, 2)
        )
        return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


@dataclass(frozen=True)
class Reduce:
    """Reduction by the scale of super-resolution."""

    resize: str = 'area'

    def __call__(self, image: np.ndarray, scale: int) -> np.ndarray:
        """(H, W, 3) -> (H / scale, W / scale, 3)."""
        height, width = image.shape[:2]
        return cv2.resize(image, (width // scale, height // scale), interpolation=RESIZES[self.resize])


@dataclass(frozen=True)
class SensorNoise:
    """Shot and read noise in linear light (Foi et al., 2008): variance = shot * value + read ** 2.

    Attributes:
        shot: variance of a fully lit pixel: 1 over its number of electrons.
        read: standard deviation in the dark, of 1.
    """

    shot: float
    read: float

    def __call__(self, image: np.ndarray, scale: int) -> np.ndarray:
        """(H, W, 3) in [0, 1] -> the same size."""
        linear = np.clip(image, 0, 1) ** GAMMA
        noise = np.random.standard_normal(linear.shape).astype(np.float32)
        noisy = linear + np.sqrt(self.shot * linear + self.read**2) * noise
        return np.clip(noisy, 0, 1).astype(np.float32) ** np.float32(1 / GAMMA)


@dataclass(frozen=True)
class Jpeg:
    """Compression at a quality drawn for each image."""

    quality: tuple[int, int]

    def __call__(self, image: np.ndarray, scale: int) -> np.ndarray:
        """(H, W, 3) in [0, 1] -> the same size."""
        low, high = self.quality
        # BasicSR's own hands the encoder float, which OpenCV 5 warns of
        levels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
        quality = [cv2.IMWRITE_JPEG_QUALITY, np.random.randint(low, high + 1)]
        return cv2.imdecode(cv2.imencode('.jpg', levels, quality)[1], cv2.IMREAD_COLOR).astype(np.float32) / 255


@dataclass(frozen=True)
class Domain:
    """Operations in their order; one of them is `Reduce`."""

    operations: tuple

    def __call__(self, hr: np.ndarray, scale: int, seed: int) -> np.ndarray:
        """An LR image of this domain.

        Args:
            hr: (H, W, 3), BGR, float32, [0, 1]; sides divisible by `scale`.
            scale: of super-resolution.
            seed: of this image's random numbers. The global generators of NumPy and Python, which BasicSR's components
                draw from, are left as they were.

        Returns:
            (H / scale, W / scale, 3), float32, [0, 1].
        """
        with global_generators_seeded(seed):
            for operation in self.operations:
                hr = operation(hr, scale)
        return np.clip(hr, 0, 1)

    def declaration(self) -> list[dict]:
        """The operations as plain data."""
        return [{'operation': type(o).__name__, **asdict(o)} for o in self.operations]


DOMAINS = {
    'noise': Domain((Reduce(), SensorNoise(shot=0.004, read=0.004))),
    'blur': Domain((Blur((2.4, 3.2)), Reduce())),
    'jpeg': Domain((Reduce(), Jpeg((35, 45)))),
    'mixed': Domain(
        (Blur((1.6, 2.4), ('iso', 'aniso')), Reduce(), SensorNoise(shot=0.002, read=0.003), Jpeg((55, 65)))
    ),
    # NTIRE 2020 real-world challenge, track 1: a clean reduction and then sensor noise that is alike in all images
    'ntire2020': Domain((Reduce('bicubic'), SensorNoise(shot=0.001, read=0.012))),
}
