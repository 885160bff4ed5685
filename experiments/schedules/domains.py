"""The synthetic target domains of these measurements.

Simpler than those of `pdd_arch.degradations.domains`, which came later and are what tables and `pdd prepare synthetic`
use.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

import pdd_arch  # noqa: F401  # isort: skip  makes basicsr importable
from basicsr.data.degradations import add_gaussian_noise, add_jpg_compression, add_poisson_noise

SCALE = 4


@dataclass(frozen=True)
class Degradation:
    """Blur of the HR image, downsampling by area, sensor noise, JPEG; in this order. Zero (or None) leaves a part out.

    Attributes:
        blur: standard deviation of a Gaussian, in HR pixels.
        noise: standard deviation of Gaussian noise, on the scale from 0 to 255.
        poisson: scale of Poisson noise, as in BasicSR.
        jpeg: quality of the JPEG file.
    """

    blur: float = 0
    noise: float = 0
    poisson: float = 0
    jpeg: int | None = None

    def __call__(self, hr: np.ndarray) -> np.ndarray:
        """(H, W, 3) float32 BGR in [0, 1] -> (H / 4, W / 4, 3); draws from NumPy's global generator."""
        x = cv2.GaussianBlur(hr, (0, 0), self.blur) if self.blur else hr
        x = cv2.resize(x, None, fx=1 / SCALE, fy=1 / SCALE, interpolation=cv2.INTER_AREA)
        if self.noise:
            x = add_gaussian_noise(x, self.noise)
        if self.poisson:
            x = add_poisson_noise(x, self.poisson)
        return add_jpg_compression(np.ascontiguousarray(x), self.jpeg) if self.jpeg else x


DEGRADATIONS = {
    'blur': Degradation(blur=3.0),
    'noise': Degradation(noise=6, poisson=0.5),
    'jpeg': Degradation(jpeg=40),
    'mixed': Degradation(blur=1.8, noise=4, poisson=0.5, jpeg=60),
}


def make_domain(name: str, photographs: Path, folder: Path, seed: int = 0) -> None:
    """Write ``hr`` (source), ``train_lr`` (target domain), ``test_lr`` and ``test_hr`` under `folder`.

    Every sixteenth photograph is for the test; of the others one half is the HR source and the other, degraded, the
    target domain: no content is in two of the three.
    """
    if (folder / 'done').exists():
        return
    degrade = DEGRADATIONS[name]
    files = sorted(photographs.glob('*.jpg'))
    test = files[::16]
    rest = [f for f in files if f not in test]
    random.Random(seed).shuffle(rest)
    np.random.seed(seed)  # BasicSR's noise uses the global generator

    def save(part: str, file: Path, image: np.ndarray) -> None:
        path = folder / part / f'{file.stem}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(path), (image * 255).round().clip(0, 255).astype(np.uint8)):
            raise OSError(f'{path}: not written')

    for i, file in enumerate(sorted(rest) + test):
        image = cv2.imread(str(file))
        h, w = (n - n % SCALE for n in image.shape[:2])
        hr = image[:h, :w].astype(np.float32) / 255
        if file in test:
            save('test_hr', file, hr)
            save('test_lr', file, degrade(hr))
        elif i % 2:
            save('hr', file, hr)
        else:
            save('train_lr', file, degrade(hr))
    (folder / 'done').touch()
