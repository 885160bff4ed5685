"""DISTS (Ding et al., TPAMI 2020) with the code of the package piq, its weights from hash-checked files."""

import functools
from pathlib import Path

import numpy as np
import piq
import torch
from basicsr.utils.registry import METRIC_REGISTRY
from piq.perceptual import VGG16_LAYERS, ContentLoss

from pdd_arch.errors import WeightsError
from pdd_arch.features.feature_net import load_trunk
from pdd_arch.metrics.images import device, to_tensors
from pdd_arch.utils.registration import register
from pdd_arch.weights.checkpoints import read_checkpoint
from pdd_arch.weights.download import download

TRUNK = 'vgg16'
#: channels of the image and of the five stages of VGG16
CHANNELS = [3, 64, 128, 256, 512, 512]
LAYERS = ('relu1_2', 'relu2_2', 'relu3_3', 'relu4_3', 'relu5_3')

#: the authors' alpha and beta, as IQA-PyTorch publishes them; the hash is in the file name and on Hugging Face.
#: piq's own file (releases/download/v0.4.1/dists_weights.pt) holds the same, but nobody states its hash.
URL = 'https://github.com/chaofengc/IQA-PyTorch/releases/download/v0.1-weights/DISTS_weights-f5e65c96.pth'
SHA256 = 'f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218'


class _DISTS(piq.DISTS):
    """piq's DISTS, whose constructor would download both of its weight files without checking their hashes."""

    def __init__(self, features: torch.nn.Module, alpha: torch.Tensor, beta: torch.Tensor) -> None:
        # the authors divide by the sum when they compare, piq's own file has it done already
        total = alpha.sum() + beta.sum()
        weights = [*torch.split(alpha / total, CHANNELS, dim=1), *torch.split(beta / total, CHANNELS, dim=1)]
        ContentLoss.__init__(
            self,
            features,
            layers=[VGG16_LAYERS[name] for name in LAYERS],
            weights=weights,
            replace_pooling=True,
            normalize_features=False,
            allow_layers_weights_mismatch=True,
        )

    def forward(self, x: torch.Tensor, y: torch.Tensor, resize: bool = False) -> torch.Tensor:
        """As piq's, which always downsamples images whose shorter side is over 256 pixels; here only with `resize`."""
        return super().forward(x, y) if resize else 1 - ContentLoss.forward(self, x, y)


def target() -> Path:
    """Where the downloaded channel weights belong on this machine."""
    return Path(torch.hub.get_dir()) / 'checkpoints' / URL.rsplit('/', 1)[1]


def is_at_hand(dists_weights: str) -> bool:
    """Whether the channel weights can be read without a download."""
    return dists_weights != 'official' or target().is_file()


def read_channel_weights(dists_weights: str, where: str) -> tuple[torch.Tensor, torch.Tensor]:
    """``alpha`` and ``beta``, each (1, 1475, 1, 1), of the file that `where` names, or the ``official`` ones.

    Raises:
        MissingFileError, WeightsError: they cannot be had, or the file holds something else.
    """
    file = download(URL, target(), SHA256, where) if dists_weights == 'official' else dists_weights
    content = read_checkpoint(file, where)
    shape = (1, sum(CHANNELS), 1, 1)
    for name in ('alpha', 'beta'):
        found = content.get(name)
        if not isinstance(found, torch.Tensor) or tuple(found.shape) != shape:
            raise WeightsError(
                f'{file} holds no weights of DISTS: {name} should have shape {shape}',
                where=where,
                found=str(tuple(found.shape)) if isinstance(found, torch.Tensor) else 'nothing',
            )
    return content['alpha'].float(), content['beta'].float()


@functools.lru_cache(maxsize=2)
def network(weights: str, dists_weights: str) -> piq.DISTS:
    """The network of :func:`calculate_dists`, built once per process."""
    trunk = load_trunk(TRUNK, weights, 'calculate_dists weights')
    model = _DISTS(trunk, *read_channel_weights(dists_weights, 'calculate_dists dists_weights'))
    return model.eval().requires_grad_(False).to(device())


@register(METRIC_REGISTRY)
def calculate_dists(
    img: np.ndarray,
    img2: np.ndarray,
    crop_border: int,
    input_order: str = 'HWC',
    weights: str = 'imagenet',
    dists_weights: str = 'official',
    resize: bool = False,
    **kwargs: object,
) -> float:
    """DISTS; lower is better. The network is built once per process.

    Args:
        img, img2: (H, W, 3), BGR, [0, 255].
        crop_border: pixels cut from each side.
        input_order: ``HWC`` | ``CHW``.
        weights: weights of the trunk VGG16: ``imagenet``, or the path of a torchvision state dict.
        dists_weights: the metric's own weights: ``official``, or the path of a file with ``alpha`` and ``beta``.
        resize: downsample images whose shorter side is over 256 pixels to that, as piq always and the authors'
            script do; IQA-PyTorch, with which the paper's tables were made, compares them as they are.

    Raises:
        MissingFileError, WeightsError: the network cannot be built. Never replaced silently.
    """
    model = network(weights, dists_weights)
    a, b = to_tensors(img, img2, crop_border=crop_border, input_order=input_order)
    with torch.no_grad():
        return model(a, b, resize).item()
