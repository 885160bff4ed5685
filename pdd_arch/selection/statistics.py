"""Statistics of an image that tell its blur, noise and compression, and little of its content."""

import cv2
import numpy as np

#: keeps logarithms of flat images finite; a fraction of a level of 255
_FLOOR = 2e-4
_SCALES = 3
#: a JPEG's blocks; crops that are compared start at multiples of it
BLOCK = 8


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
