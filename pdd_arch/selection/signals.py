"""What can be measured of adapted networks without ground truth of the target domain, and which one is chosen by it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from basicsr.metrics import calculate_niqe, calculate_ssim
from basicsr.metrics.psnr_ssim import calculate_psnr_pt
from basicsr.utils import img2tensor, tensor2img
from torch.nn import functional as F

from pdd_arch.degradations.operations import rounded
from pdd_arch.errors import DataError
from pdd_arch.features import FeatureNet
from pdd_arch.losses import DistillationLoss
from pdd_arch.metrics.feature_distance import feature_distance
from pdd_arch.selection.camera import BLOCK, CameraEstimate

#: LR pixels a side of a crop: small enough to run every checkpoint on a CPU
CROP = 64
#: weight of the synthetic pairs, which are downsampled only, against those of the estimated camera. The estimate is
#: never quite right, and mostly too strong: a network should do well on a cleaner camera too. On six domains what is
#: chosen is then 0.03 dB behind the best checkpoint at most; 0.15 without, 0.13 with one half
#: (experiments/results/selection)
HEDGE = 0.2
_PAIRS_PER_CALL = 4
# pixels a side of the blocks that BasicSR's NIQE divides images into
_NIQE_BLOCK = 96


@dataclass(frozen=True)
class Signals:
    """Signals of one network. PSNR in dB, SSIM in [-1, 1], both of RGB without a border of `scale` pixels.

    Attributes:
        simulated_psnr, simulated_ssim: on held-out HR images as the estimated camera takes them.
        simulated_distance: distance of deep features there, lower is better (`calculate_feature_distance`).
        synthetic_psnr: on held-out HR images that are downsampled and not degraded further.
        consistency: PSNR of the output on held-out photographs, downsampled, against the photograph.
        structure: SSIM of that output against the generalist's.
        inter, intra: distances of the distillation to the generalist, on held-out images of both domains; None where
            the run has no such term.
        niqe: NIQE (Mittal et al., 2013) of the output on held-out photographs, lower is better; None where that is too
            small to measure.
    """

    simulated_psnr: float
    simulated_ssim: float
    simulated_distance: float
    synthetic_psnr: float
    consistency: float
    structure: float
    inter: float | None
    intra: float | None
    niqe: float | None

    @property
    def score(self) -> float:
        """What a checkpoint is chosen by: the weighted mean of its PSNR on simulated and on synthetic pairs, in dB."""
        return (1 - HEDGE) * self.simulated_psnr + HEDGE * self.synthetic_psnr


@dataclass(frozen=True)
class Outputs:
    """What one network makes of the LR images of a `HeldOut`: (N, 3, H, W) RGB, not clamped."""

    photographs: torch.Tensor
    simulated: torch.Tensor
    synthetic: torch.Tensor


@dataclass(frozen=True)
class HeldOut:
    """Images that no network was trained on, as (N, 3, h, w) RGB in [0, 1].

    LR photographs of the target domain; unrelated HR images, and the LR images that the estimated camera (`simulated`)
    and downsampling alone (`synthetic`) make of them.
    """

    photographs: torch.Tensor
    hr: torch.Tensor
    simulated: torch.Tensor
    synthetic: torch.Tensor
    scale: int

    @torch.no_grad()
    def upscale(self, net: Callable[[torch.Tensor], torch.Tensor]) -> Outputs:
        """What a network, (N, 3, h, w) -> (N, 3, h * scale, w * scale), makes of the LR images."""
        inputs = (self.photographs, self.simulated, self.synthetic)
        return Outputs(*(torch.cat([net(part) for part in x.split(_PAIRS_PER_CALL)]) for x in inputs))

    @torch.no_grad()
    def measure(
        self, outputs: Outputs, generalist: Outputs, features: FeatureNet, distances: DistillationLoss | None
    ) -> Signals:
        """Signals of a network, from its outputs and those of the generalist as it was before adaptation.

        `features` is the network of the feature distance; `distances`, the distillation's loss, has one of its own.
        """
        terms: dict[str, float] = {}
        if distances is not None:
            compared = (outputs.photographs, generalist.photographs, outputs.synthetic, generalist.synthetic)
            pairs = min(map(len, compared))
            found = distances.compute(*(images[:pairs] for images in compared))
            terms = {name: float(value) for name, value in found.items()}
        target, simulated = _levels(outputs.photographs), _levels(outputs.simulated)
        parts = zip(simulated.split(_PAIRS_PER_CALL), self.hr.split(_PAIRS_PER_CALL), strict=True)
        return Signals(
            simulated_psnr=_psnr(simulated, self.hr, self.scale),
            simulated_ssim=_ssim(simulated, self.hr, self.scale),
            simulated_distance=_mean(torch.cat([feature_distance(a, b, features) for a, b in parts])),
            synthetic_psnr=_psnr(_levels(outputs.synthetic), self.hr, self.scale),
            consistency=_psnr(_downsampled(outputs.photographs, self.scale), self.photographs, 1),
            structure=_ssim(target, _levels(generalist.photographs), self.scale),
            inter=terms.get('l_inter'),
            intra=terms.get('l_intra'),
            niqe=_niqe(target),
        )


def hold_out(
    photographs: Sequence[np.ndarray], hr_images: Sequence[np.ndarray], camera: CameraEstimate, scale: int
) -> HeldOut:
    """Crops of held-out images, (h, w, 3) BGR float32 in [0, 1], with what the estimated camera makes of them.

    The photographs have at least `CROP` pixels a side, HR images ``CROP * scale``.
    """
    hr = [middle(image, CROP * scale, 1) for image in hr_images]
    simulated = [rounded(camera.domain(image, scale, seed)) for seed, image in enumerate(hr)]
    # downsampled as the estimated camera does it, so that both kinds of pairs differ by the degradation alone
    synthetic = [rounded(CameraEstimate(0, 0, 0, 100).domain(image, scale, 0)) for image in hr]
    lr = [middle(image, CROP, BLOCK) for image in photographs]
    return HeldOut(stacked(lr), stacked(hr), stacked(simulated), stacked(synthetic), scale)


class Choice(NamedTuple):
    """A checkpoint by its iteration, and the reason for people."""

    key: int
    reason: str


def choose(measured: Mapping[int, Signals]) -> Choice:
    """The checkpoint with the best `Signals.score`, the earliest of equals; DataError where none is finite."""
    scores = {key: signals.score for key, signals in measured.items() if math.isfinite(signals.score)}
    if not scores:
        raise DataError(where='checkpoints', expected='at least one with finite outputs to choose from', found='none')
    key = max(scores, key=lambda k: (scores[k], -k))
    reason = (
        f'the best of {len(scores)} checkpoints on HR images that the estimated camera takes '
        f'({measured[key].simulated_psnr:.2f} dB), and to a smaller part on downsampled ones '
        f'({measured[key].synthetic_psnr:.2f} dB)'
    )
    return Choice(key, reason)


def middle(image: np.ndarray, side: int, multiple: int) -> np.ndarray:
    """The middle `side` x `side` pixels, or fewer where there are no more, starting at a multiple of `multiple`."""
    top, left = (max(n - side, 0) // 2 // multiple * multiple for n in image.shape[:2])
    return image[top : top + side, left : left + side]


def stacked(images: Sequence[np.ndarray]) -> torch.Tensor:
    """Images of one size, (h, w, 3) BGR float32, as a tensor (N, 3, h, w) RGB."""
    return torch.stack(img2tensor(list(images)))


def _downsampled(images: torch.Tensor, scale: int) -> torch.Tensor:
    size = [n // scale for n in images.shape[-2:]]
    return F.interpolate(images, size, mode='bicubic', antialias=True).clamp(0, 1)


def _levels(images: torch.Tensor) -> torch.Tensor:
    """As they would be saved in 8 bits."""
    return images.clamp(0, 1).mul(255).round().div(255)


def _niqe(images: torch.Tensor) -> float | None:
    if min(images.shape[-2:]) < 2 * _NIQE_BLOCK:  # of one block alone there is no covariance
        return None
    values = [float(np.squeeze(calculate_niqe(tensor2img(image), crop_border=0))) for image in images]
    finite = [value for value in values if math.isfinite(value)]  # flat images have none
    return float(np.mean(finite)) if finite else None


def _psnr(images: torch.Tensor, others: torch.Tensor, border: int) -> float:
    return _mean(calculate_psnr_pt(images, others, border))


def _ssim(images: torch.Tensor, others: torch.Tensor, border: int) -> float:
    """Mean over images. BasicSR's NumPy version is OpenCV's filter, forty times faster than its torch version."""
    pairs = zip(images, others, strict=True)
    return float(np.mean([calculate_ssim(tensor2img(a), tensor2img(b), crop_border=border) for a, b in pairs]))


def _mean(values: torch.Tensor) -> float:
    return float(values.double().mean())
