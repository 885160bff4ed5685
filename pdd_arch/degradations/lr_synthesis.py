"""Making the LR half of a synthetic pair (paper, section 4.1: implementation details)."""

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from pdd_arch.errors import OptionError
from pdd_arch.utils.wording import did_you_mean, one_of

__all__ = ['DEFAULT_KERNELS', 'DEGRADATIONS', 'KERNELS', 'LRSynthesis', 'synthesise_lr']

_CV2_KERNELS = {'bicubic': cv2.INTER_CUBIC, 'bilinear': cv2.INTER_LINEAR, 'area': cv2.INTER_AREA}
KERNELS = (*_CV2_KERNELS, 'matlab_bicubic')
DEFAULT_KERNELS = ('bicubic', 'bilinear', 'area')
DEGRADATIONS = ('real_esrgan',)
KEYS = ('resize', 'degradation', 'noise_injection')


def synthesise_lr(hr: np.ndarray, scale: int, kernel: str) -> np.ndarray:
    """Shrinks an image and rounds it to 8 bits.

    Args:
        hr: (H, W, C) float32 in [0, 1], H and W divisible by `scale`.
        scale: factor of the reduction.
        kernel: ``bicubic`` and ``bilinear`` (OpenCV, without anti-aliasing), ``area``, or ``matlab_bicubic``
            (anti-aliased, BasicSR's ``imresize``).

    Returns:
        (H / scale, W / scale, C) float32, multiples of 1/255 in [0, 1].

    Raises:
        ValueError: H or W is not divisible by `scale`, or the kernel is unknown.
    """
    height, width = hr.shape[:2]
    if height % scale or width % scale:
        raise ValueError(f'an image of {height}x{width} cannot be divided by the scale {scale}')
    if kernel == 'matlab_bicubic':
        # imported late: it pulls in torch, which a process that only reads pictures need not have
        from basicsr.utils.matlab_functions import imresize

        lr = imresize(hr, 1 / scale)
    elif kernel in _CV2_KERNELS:
        size = (width // scale, height // scale)
        lr = cv2.resize(hr, size, interpolation=_CV2_KERNELS[kernel])
    else:
        raise ValueError(f'kernel is {kernel!r}; expected {one_of(KERNELS)}.{did_you_mean(kernel, KERNELS)}')
    lr = np.clip(np.round(lr * np.float32(255)), 0, 255) / np.float32(255)
    return np.ascontiguousarray(lr, dtype=np.float32)


class LRSynthesis:
    """LR synthesis with a kernel drawn anew for each crop, all equally likely.

    Args:
        opt: the option block ``lr_synthesis``: ``{resize: [names]}`` or ``{resize: name}``; None for the
            paper's three OpenCV kernels. ``degradation: real_esrgan`` instead of a resize, and ``noise_injection``
            after it, are those of methods that the paper compares with (`pdd_arch.degradations.baselines`).
        scale: factor of the reduction.
        key: the block's place in the option file, for errors.

    Raises:
        OptionError: an unknown key or kernel, or no kernel at all.
    """

    def __init__(self, opt: Mapping | None, scale: int, key: str = 'datasets.train.lr_synthesis') -> None:
        opt = {} if opt is None else opt
        if not isinstance(opt, Mapping):
            raise OptionError(f'`{key}` is {opt!r}; expected a block such as {{resize: [bicubic, area]}}.')
        for name in opt:
            if name not in KEYS:
                hint = did_you_mean(name, KEYS)
                raise OptionError(f'`{key}.{name}` is not known; `{key}` takes {one_of(KEYS)}.{hint}')
        self.degradation = opt.get('degradation')
        if self.degradation is not None and (self.degradation not in DEGRADATIONS or 'resize' in opt):
            raise OptionError(
                f'`{key}.degradation` is {self.degradation!r}; expected {one_of(DEGRADATIONS)}, and no `resize` beside '
                'it.'
            )
        self.noise_injection = opt.get('noise_injection', False)
        if not isinstance(self.noise_injection, bool):
            raise OptionError(f'`{key}.noise_injection` is {self.noise_injection!r}; expected true or false.')
        names = opt.get('resize', DEFAULT_KERNELS)
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, (list, tuple)) or not names:
            raise OptionError(f'`{key}.resize` is {names!r}; expected a list of {one_of(KERNELS)}.')
        for name in names:
            if name not in KERNELS:
                hint = did_you_mean(name, KERNELS)
                raise OptionError(f'`{key}.resize` holds {name!r}; expected {one_of(KERNELS)}.{hint}')
        self.kernels = tuple(names)
        self.scale = scale

    def pick(self, rng: np.random.Generator) -> str:
        """Name of a kernel, drawn with `rng`."""
        return self.kernels[rng.integers(len(self.kernels))]

    def __call__(
        self, hr: np.ndarray, rng: np.random.Generator, target: Callable[[], np.ndarray] | None = None
    ) -> np.ndarray:
        """:func:`synthesise_lr` with a drawn kernel, or what the block asks for instead.

        Args:
            hr: as there.
            rng: of the sample.
            target: draws a target-domain crop of the LR size, for ``noise_injection``.
        """
        # imported late: BasicSR's degradations pull in torch
        from pdd_arch.degradations.baselines import inject_noise, real_esrgan_lr

        if self.degradation is None:
            lr = synthesise_lr(hr, self.scale, self.pick(rng))
        else:
            lr = real_esrgan_lr(hr, self.scale, rng)
        return inject_noise(lr, target) if self.noise_injection else lr

    def __str__(self) -> str:
        way = self.degradation or ', '.join(self.kernels)
        return f'{way} and noise of the target domain' if self.noise_injection else way
