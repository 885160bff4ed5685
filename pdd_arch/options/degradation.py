"""The sections of how LR images are made from HR images."""

import math
import operator
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from pdd_arch.degradations.lr_synthesis import DEFAULT_KERNELS
from pdd_arch.degradations.real_esrgan import SMALLEST_KERNEL, BlurKernel, RealESRGAN
from pdd_arch.options.fields import Expected, Number, Section, option, options_of

Kernel = Literal['bicubic', 'bilinear', 'area', 'matlab_bicubic']


def _between(low: float, high: float, accepts: Callable[[Any, Any], bool]) -> AfterValidator:
    """For the smallest and the largest of what is drawn; `accepts` says whether the two go together."""

    def check(value: list[Any]) -> list[Any]:
        if low <= value[0] and value[1] <= high and accepts(*value):
            return value
        raise ValueError

    return AfterValidator(check)


def _hold_one(low: float, high: float) -> bool:
    return low <= 1 <= high


def _are_weights(value: list[float]) -> list[float]:
    if min(value) < 0 or not 0 < sum(value) < math.inf:
        raise ValueError
    return value


def _is_odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError
    return value


Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), Expected('a probability from 0 to 1')]
_Weights3 = Annotated[
    list[Number],
    Field(min_length=3, max_length=3),
    AfterValidator(_are_weights),
    Expected('three weights, not all 0: of enlarging, reducing and keeping the size'),
]
_KernelWeights = Annotated[
    list[Number],
    Field(min_length=1),
    AfterValidator(_are_weights),
    Expected('a weight for each kernel of the list, not all 0'),
]
_KernelSize = Annotated[
    int,
    Field(ge=SMALLEST_KERNEL, le=101),
    AfterValidator(_is_odd),
    Expected(f'an odd whole number from {SMALLEST_KERNEL} to 101'),
]
_Kernels = Annotated[list[BlurKernel], Field(min_length=1)]
_TWO = Field(min_length=2, max_length=2)
_Sigmas = Annotated[
    list[Number], _TWO, _between(0.001, 100, operator.lt), Expected('two numbers from 0.001 to 100, the first smaller')
]
_Shapes = Annotated[
    list[Number], _TWO, _between(0.01, 100, _hold_one), Expected('two numbers from 0.01 to 100, with 1 between them')
]
_Factors = Annotated[
    list[Number], _TWO, _between(0.01, 8, _hold_one), Expected('two factors from 0.01 to 8, with 1 between them')
]
_Noise = Annotated[
    list[Number], _TWO, _between(0, 255, operator.le), Expected('two numbers from 0 to 255, the first not larger')
]
_Scales = Annotated[
    list[Number], _TWO, _between(0, 100, operator.le), Expected('two numbers from 0 to 100, the first not larger')
]
_Qualities = Annotated[
    list[Number], _TWO, _between(1, 100, operator.le), Expected('two numbers from 1 to 100, the first not larger')
]
_real_esrgan = options_of(RealESRGAN)
#: where Real-ESRGAN's defaults are from: Wang et al., ICCVW 2021, paragraph "Degradation details", or the option files
_PAPER, _FILES = "(Real-ESRGAN's paper)", "(Real-ESRGAN's option files)"


class RealESRGANKernels(Section):
    """Blur kernels of Real-ESRGAN's degradation, by the names that its dataset has for them."""

    blur_kernel_size: _KernelSize = _real_esrgan(
        'blur_kernel_size', f'largest side of a blur kernel; sides are drawn from {SMALLEST_KERNEL} to it {_PAPER}'
    )
    kernel_list: _Kernels = _real_esrgan('kernel_list', f'kinds of blur kernels of the first round {_PAPER}')
    kernel_prob: _KernelWeights = _real_esrgan('kernel_prob', f'their weights {_FILES}')
    sinc_prob: Probability = _real_esrgan(
        'sinc_prob', f'probability of a sinc filter in place of such a kernel {_PAPER}'
    )
    blur_sigma: _Sigmas = _real_esrgan('blur_sigma', f'standard deviations of the kernels, in pixels {_PAPER}')
    betag_range: _Shapes = _real_esrgan('betag_range', f'shapes of the generalized Gaussian kernels {_PAPER}')
    betap_range: _Shapes = _real_esrgan('betap_range', f'shapes of the plateau kernels {_PAPER}')
    blur_kernel_size2: _KernelSize = _real_esrgan(
        'blur_kernel_size2', f'as `blur_kernel_size`, in the second round and of the final sinc filter {_PAPER}'
    )
    kernel_list2: _Kernels = _real_esrgan('kernel_list2', f'kinds of blur kernels of the second round {_PAPER}')
    kernel_prob2: _KernelWeights = _real_esrgan('kernel_prob2', f'their weights {_FILES}')
    sinc_prob2: Probability = _real_esrgan('sinc_prob2', f'as `sinc_prob`, in the second round {_PAPER}')
    blur_sigma2: _Sigmas = _real_esrgan('blur_sigma2', f'as `blur_sigma`, in the second round {_PAPER}')
    betag_range2: _Shapes = _real_esrgan('betag_range2', f'as `betag_range`, in the second round {_PAPER}')
    betap_range2: _Shapes = _real_esrgan('betap_range2', f'as `betap_range`, in the second round {_PAPER}')
    final_sinc_prob: Probability = _real_esrgan('final_sinc_prob', f'probability of the final sinc filter {_PAPER}')


class RealESRGANResizing(Section):
    """Resizing, noise and JPEG of Real-ESRGAN's degradation, by the names that its models have for them."""

    resize_prob: _Weights3 = _real_esrgan(
        'resize_prob', f'weights of enlarging, reducing and keeping the size in the first round {_FILES}'
    )
    resize_range: _Factors = _real_esrgan('resize_range', f'factors of resizing {_FILES}')
    gaussian_noise_prob: Probability = _real_esrgan(
        'gaussian_noise_prob', f'probability of Gaussian noise; otherwise Poisson noise is added {_PAPER}'
    )
    noise_range: _Noise = _real_esrgan('noise_range', f'standard deviations of Gaussian noise, of 255 {_PAPER}')
    poisson_scale_range: _Scales = _real_esrgan('poisson_scale_range', f'factors on Poisson noise {_PAPER}')
    gray_noise_prob: Probability = _real_esrgan(
        'gray_noise_prob', f'probability that the noise is the same in all channels {_PAPER}'
    )
    jpeg_range: _Qualities = _real_esrgan('jpeg_range', f'qualities of JPEG {_PAPER}')
    second_blur_prob: Probability = _real_esrgan(
        'second_blur_prob', f'probability of blur in the second round {_PAPER}'
    )
    resize_prob2: _Weights3 = _real_esrgan('resize_prob2', f'as `resize_prob`, in the second round {_FILES}')
    resize_range2: _Factors = _real_esrgan(
        'resize_range2', f'as `resize_range`, in the second round, counted from the size of the LR image {_FILES}'
    )
    gaussian_noise_prob2: Probability = _real_esrgan(
        'gaussian_noise_prob2', f'as `gaussian_noise_prob`, in the second round {_PAPER}'
    )
    noise_range2: _Noise = _real_esrgan('noise_range2', f'as `noise_range`, in the second round {_PAPER}')
    poisson_scale_range2: _Scales = _real_esrgan(
        'poisson_scale_range2', f'as `poisson_scale_range`, in the second round {_PAPER}'
    )
    gray_noise_prob2: Probability = _real_esrgan(
        'gray_noise_prob2', f'as `gray_noise_prob`, in the second round {_PAPER}'
    )
    jpeg_range2: _Qualities = _real_esrgan('jpeg_range2', f'as `jpeg_range`, in the second round {_PAPER}')


class LRSynthesisOptions(RealESRGANKernels, RealESRGANResizing):
    """How the LR half of a synthetic pair is made. All but the last three are of `degradation: real_esrgan`."""

    resize: Kernel | Annotated[list[Kernel], Field(min_length=1)] = option(
        'kernels, one of which is drawn for each crop (paper: the three of OpenCV, or matlab_bicubic)',
        [*DEFAULT_KERNELS],
    )
    degradation: Literal['real_esrgan'] | None = option(
        'replaces `resize` by the random second-order degradation of Real-ESRGAN, a baseline', None
    )
    noise_injection: bool = option(
        'add noise taken from flat regions of the target-domain photographs, as a baseline does', False
    )
