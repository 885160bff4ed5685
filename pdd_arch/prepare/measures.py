"""How well the images of a pair fit each other, and which images are nearly the same.

The thresholds were set on photographs whose truth is known: 200 of BSDS500 and 100 of City100, LR images made of them
by a blur of 1.8 pixels, downsampling by 4, noise of 8 to 12 levels and JPEG of quality 60 to 40; and ten captured pairs
of City100.

* Shift. Of pairs moved by up to 2 LR pixels, the estimate errs by 0.05 LR pixels in the median, 0.15 in 95 of 100 and
  0.35 at worst; captured and registered pairs come out at 0.05 or less. ``MAX_SHIFT`` of 1 is beyond both.
* Colour. Captured pairs differ by 5.3 levels at most in the mean of a channel (1.5 but for one of them), and by 3 to 8
  in the mean absolute difference; pairs of one colour, so degraded, by up to 3.1 and up to 19. Blur and noise raise
  the absolute difference, so the mean decides: ``MAX_COLOUR`` is 10.
* Near-duplicates. Of 63 bits of the hash, different photographs differ in 14 or more (45 thousand pairs), and the same
  one, degraded as above and 15 % brighter or darker, in 12 or fewer. In collections that are larger some different ones
  will fall below, so thumbnails must also correlate: the same photograph does by 0.87 or more, and different ones with
  fewer than 24 bits between them by less than 0.84.

What this does not find: crops of one photograph, and one scene photographed twice from different places.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.registration import phase_cross_correlation

MAX_SHIFT = 1.0  # LR pixels
MAX_COLOUR = 10.0  # levels of 255
MAX_HASH_DISTANCE = 12  # of 63 bits
MIN_CORRELATION = 0.84

_SIDE = 32  # of a thumbnail
_MIN_SIDE = 24  # LR pixels; in less there is nothing to go by
_MAX_SIDE = 640  # LR pixels; more tells nothing new
_MIN_CONTRAST = 2.0  # levels of 255; flat images fit anything at any shift


@dataclass(frozen=True)
class Fit:
    """How well a pair fits; of LR minus downsampled HR where they overlap, R, G, B, in levels of 255."""

    shift: tuple[float, float] | None  # (right, down) of LR against HR, LR pixels; None: too small or flat an image
    mean: tuple[float, float, float]
    absolute: tuple[float, float, float]  # mean absolute difference


@dataclass(frozen=True)
class Duplicate:
    """Two images that are nearly the same."""

    train: str
    test: str
    distance: int  # bits in which their hashes differ
    correlation: float  # of their thumbnails


def fit_of_pair(lr: np.ndarray, hr: np.ndarray) -> Fit:
    """Compares an LR image with its HR image, downsampled to its size by area; both (H, W, 3) BGR uint8 or uint16."""
    height, width = lr.shape[:2]
    low = _levels(lr)
    small_hr = cv2.resize(_levels(hr), (width, height), interpolation=cv2.INTER_AREA)
    shift = _shift(_gray(low), _gray(small_hr))
    difference = np.subtract(*_overlap(low, small_hr, shift))
    return Fit(shift, _rgb_means(difference), _rgb_means(np.abs(difference)))


def _rgb_means(image: np.ndarray) -> tuple[float, float, float]:
    blue, green, red = (float(v) for v in image.mean((0, 1)))
    return red, green, blue


def _overlap(low: np.ndarray, small_hr: np.ndarray, shift: tuple[float, float] | None) -> tuple[np.ndarray, np.ndarray]:
    """The regions that show the same, so that a shift does not pass for a difference in colour."""
    height, width = low.shape[:2]
    right, down = (round(v) for v in shift or (0, 0))
    # a pair that far apart is no pair
    if abs(right) > width // 4 or abs(down) > height // 4:
        return low, small_hr
    moved = low[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
    stayed = small_hr[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
    return moved, stayed


def _levels(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) * np.float32(255 / np.iinfo(image.dtype).max)


def _gray(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def _shift(low: np.ndarray, small_hr: np.ndarray) -> tuple[float, float] | None:
    height, width = low.shape
    top, left = (max(n - _MAX_SIDE, 0) // 2 for n in (height, width))
    inner = np.s_[top : top + _MAX_SIDE, left : left + _MAX_SIDE]
    low, small_hr = low[inner], small_hr[inner]
    if min(low.shape) < _MIN_SIDE or min(low.std(), small_hr.std()) < _MIN_CONTRAST:
        return None
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in low.shape))
    # OpenCV's phaseCorrelate errs by half a pixel where a side is odd
    moved, _, _ = phase_cross_correlation(
        (small_hr - small_hr.mean()) * window, (low - low.mean()) * window, upsample_factor=20
    )
    return 0.0 - float(moved[1]), 0.0 - float(moved[0])


class Thumbnails:
    """Perceptual hashes of images: signs of the lowest 8x8 frequencies of a 32x32 thumbnail, against their median."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.hashes: list[np.ndarray] = []  # (63,) bool
        self._small: list[np.ndarray] = []

    def add(self, name: str, image: np.ndarray) -> None:
        """Takes in an (H, W, 3) BGR image; one without contrast is left out, as it resembles any other."""
        small = cv2.resize(_gray(_levels(image)), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        if small.std() < _MIN_CONTRAST:
            return
        low = cv2.dct(small)[:8, :8].ravel()[1:]
        self.names.append(name)
        self.hashes.append(low > np.median(low))
        self._small.append(small.round().astype(np.uint8))  # a kilobyte: there may be a hundred thousand

    def __len__(self) -> int:
        return len(self.names)

    def centred(self, index: int) -> np.ndarray:
        """A thumbnail of mean 0 and length 1, flat."""
        values = self._small[index].astype(np.float64).ravel()
        values -= values.mean()
        return values / np.linalg.norm(values)


def near_duplicates(train: Thumbnails, test: Thumbnails, max_distance: int = MAX_HASH_DISTANCE) -> list[Duplicate]:
    """For each test image the training image that is nearly the same, where there is one."""
    found = []
    hashes = np.array(train.hashes)
    for i, one in enumerate(test.hashes if len(train) else ()):
        distances = np.count_nonzero(hashes != one, axis=1)
        wanted = test.centred(i)
        near = [(float(wanted @ train.centred(j)), j) for j in np.flatnonzero(distances <= max_distance).tolist()]
        correlation, j = max(near, default=(0.0, -1))
        if correlation >= MIN_CORRELATION:
            found.append(Duplicate(train.names[j], test.names[i], int(distances[j]), round(correlation, 3)))
    return found
