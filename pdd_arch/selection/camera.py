"""What a camera does to an image, estimated from its photographs and from unrelated HR images.

The photographs are compared with HR images that were degraded by a parametric camera (blur, downsampling, sensor
noise, JPEG), by statistics that depend little on the content. The camera that comes closest makes pairs with ground
truth out of HR images: not the camera itself, but near enough to rank networks by (measured in
`experiments/results/selection`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.optimize import minimize
from scipy.stats import qmc

from pdd_arch.degradations.domains import Domain
from pdd_arch.degradations.operations import Downsample, GaussianBlur, Jpeg, Operation, SensorNoise
from pdd_arch.errors import DataError

# largest blur (HR pixels at x4), shot and read noise (standard deviations at white and black, linear light), and the
# lowest quality that are considered
MAX_BLUR, MAX_SHOT, MAX_READ, MIN_QUALITY = 4.0, 0.1, 0.05, 30
# share of a parameter's range below which it cannot be seen in a photograph
_NEGLIGIBLE = 0.04
# cost of a parameter's full range: of two cameras that explain the photographs equally well, the simpler one is taken
_SIMPLICITY = 0.05
# spread of a statistic below which a difference means nothing
_LEAST_SPREAD = 0.15
_TRIED, _COARSE, _REFINED, _EVALUATIONS = 64, 16, 2, 60
# keeps logarithms of flat images finite; a fraction of a level of 255
_FLOOR = 2e-4
_SCALES = 3
#: side of a JPEG's blocks in pixels; crops that are compared start at multiples of it
BLOCK = 8


@dataclass(frozen=True)
class CameraEstimate:
    """Parameters of a camera.

    Attributes:
        blur: standard deviation of a Gaussian, in HR pixels.
        shot, read: standard deviations of the noise at white and at black, in linear light in [0, 1].
        quality: JPEG quality; 100: no compression.
        mismatch: mean squared difference of the statistics, in units of their spread between images; far above 1 the
            estimate explains little.
    """

    blur: float
    shot: float
    read: float
    quality: int
    mismatch: float = 0.0

    @property
    def domain(self) -> Domain:
        operations: list[Operation] = [GaussianBlur(self.blur)] if self.blur else []
        operations.append(Downsample())
        if self.shot or self.read:
            operations.append(SensorNoise(self.shot**2, self.read))
        if self.quality < 100:
            operations.append(Jpeg((self.quality, self.quality)))
        return Domain(tuple(operations))

    def __str__(self) -> str:
        parts = [f'a blur of {self.blur:.1f} pixels of the result'] if self.blur else []
        if self.shot or self.read:
            light = np.hypot(self.read, self.shot)
            parts.append(f'noise of {100 * self.read:.1f} % in the dark and {100 * light:.1f} % in full light')
        if self.quality < 100:
            parts.append(f'JPEG of quality {self.quality}')
        return ', '.join(parts) or 'no blur, noise or compression to speak of'


def estimate_camera(
    photographs: Sequence[np.ndarray],
    hr_images: Sequence[np.ndarray],
    scale: int,
    check: Callable[[], None] = lambda: None,
) -> CameraEstimate:
    """The camera whose photographs of `hr_images` are most like `photographs`. Deterministic.

    Args:
        photographs: (h, w, 3), BGR, float32, [0, 1]; at least 32 x 32, starting at corners of JPEG blocks. A dozen give
            a usable estimate.
        hr_images: likewise; sides at least 32 * scale, in whole multiples of `scale`. DataError for smaller images.
        check: called between trials; what it raises ends the estimate.
    """
    for what, images, least in (('photographs', photographs, 32), ('HR images', hr_images, 32 * scale)):
        small = [i.shape for i in images if min(i.shape[:2]) < least]
        if not images or small:
            found = f'one of {small[0][1]} x {small[0][0]}' if small else 'none'
            raise DataError(where=what, expected=f'images of at least {least} x {least} pixels', found=found)
    wanted = np.array([camera_statistics(image) for image in photographs])
    middle, spread = np.median(wanted, 0), wanted.std(0)

    def mismatch(position: np.ndarray, step: int = 1) -> float:
        domain = _camera(position).domain
        found = np.array([camera_statistics(domain(image, scale, i)) for i, image in enumerate(hr_images[::step])])
        unit = np.maximum(np.maximum(spread, found.std(0)), _LEAST_SPREAD)
        return float((((np.median(found, 0) - middle) / unit) ** 2).mean())

    def cost(position: np.ndarray, step: int = 1) -> float:
        check()
        return mismatch(position, step) + _SIMPLICITY * float(np.clip(position, 0, 1).sum())

    # the first trials need no precision, so a few images are enough; the refinement would be misled by so few
    coarse = max(len(hr_images) // _COARSE, 1)
    start = np.vstack((np.zeros(4), qmc.Sobol(4, seed=0).random(_TRIED)))
    start = start[np.argsort([cost(position, coarse) for position in start])][:_REFINED]
    refined = []
    for position in start:
        # steps towards the inside of the range, so that no direction is lost at its end
        simplex = np.vstack((position, position + np.diag(np.where(position > 0.5, -0.15, 0.15))))
        options = {'maxfev': _EVALUATIONS, 'initial_simplex': simplex}
        refined.append(minimize(cost, position, method='Nelder-Mead', options=options))
    best = min(refined, key=lambda result: result.fun).x
    return replace(_camera(best), mismatch=round(mismatch(best), 4))


def _camera(position: np.ndarray) -> CameraEstimate:
    """Parameters at a point of the unit cube, whose corner 0 is a perfect camera."""
    blur, shot, read, loss = (float(p) if p > _NEGLIGIBLE else 0.0 for p in np.clip(position, 0, 1))
    quality = round(100 - (100 - MIN_QUALITY) * loss)
    return CameraEstimate(MAX_BLUR * blur, MAX_SHOT * shot, MAX_READ * read, quality)


def camera_statistics(image: np.ndarray) -> np.ndarray:
    """(21,) float64, most of them logarithms, so that their differences do not depend on contrast.

    Of the luma: median and mean size of the diagonal and of the other Haar coefficients at three scales (noise raises
    the finest, blur lowers them, and the ratio between scales is nearly the same in all natural images: Field, 1987);
    percentiles of the local deviation (flat regions show noise alone); steps between the 8x8 blocks of a JPEG against
    those within. Of the chroma: the finest Haar coefficients.

    Args:
        image: (H, W, 3), BGR, float32, [0, 1]; at least 32 x 32, starting at a corner of the JPEG's blocks.
    """
    luma, *chroma = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb))
    values, low = [], luma
    for _ in range(_SCALES):
        low, others, diagonal = _haar(low)
        values += [np.median(diagonal), np.median(others), diagonal.mean(), others.mean()]
    detail = luma - cv2.GaussianBlur(luma, (0, 0), 1)
    deviation = np.sqrt(np.maximum(cv2.blur(detail * detail, (7, 7)), 0))
    values += list(np.percentile(deviation, (10, 30, 90)))
    for channel in chroma:
        _, others, diagonal = _haar(channel)
        values += [diagonal.mean(), others.mean()]
    # weighted: nothing else tells compression from blur
    steps = [3 * _block_steps(axis) for axis in (luma, luma.T)]
    return np.concatenate((np.log(np.asarray(values) + _FLOOR), steps))


def _haar(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Low band, and the sizes of the horizontal and vertical, and of the diagonal coefficients (orthonormal)."""
    height, width = (n // 2 * 2 for n in plane.shape)
    a, b = plane[:height:2, :width:2], plane[1:height:2, :width:2]
    c, d = plane[:height:2, 1:width:2], plane[1:height:2, 1:width:2]
    others = np.concatenate(((a + b - c - d).ravel(), (a - b + c - d).ravel()))
    return (a + b + c + d) / 2, np.abs(others) / 2, np.abs(a - b - c + d) / 2


def _block_steps(plane: np.ndarray) -> float:
    """Logarithm of the mean step from column to column at the edges of blocks, against the others."""
    steps = np.abs(np.diff(plane, axis=1)).mean(0)
    at_edge = np.arange(len(steps)) % BLOCK == BLOCK - 1
    return float(np.log((steps[at_edge].mean() + 1e-5) / (steps[~at_edge].mean() + 1e-5)))
