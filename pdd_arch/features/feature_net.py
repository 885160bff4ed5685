"""Frozen ImageNet networks as feature extractors (phi in the paper, section 3.2)."""

import functools
import os
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path

import torch
import torchvision
from torch import nn

from pdd_arch.errors import OptionError, WeightsError
from pdd_arch.utils.wording import did_you_mean, one_of
from pdd_arch.weights.checkpoints import read_checkpoint
from pdd_arch.weights.download import download

NETWORK_TYPES = ('vgg19', 'vgg16', 'alexnet', 'squeezenet1_0', 'squeezenet1_1')

# torchvision's own normalisation of ImageNet images in [0, 1]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# convolutions of each block, separated by max pooling (Simonyan and Zisserman 2015, table 1)
VGG_BLOCKS = {'vgg16': (2, 2, 3, 3, 3), 'vgg19': (2, 2, 4, 4, 4)}


def layer_positions(network: str) -> dict[str, int]:
    """Names of the layers that can be tapped, with their index in torchvision's ``features``.

    VGG: ``conv3_4``, ``relu3_4``, ``pool3`` as in BasicSR, and ``features.N``; the others: ``features.N``.
    """
    with torch.device('meta'):
        features = getattr(torchvision.models, network)(weights=None).features
    names = {f'features.{i}': i for i in range(len(features))}
    position = 0
    for block, convs in enumerate(VGG_BLOCKS.get(network, ()), start=1):
        for i in range(1, convs + 1):
            names[f'conv{block}_{i}'] = position
            names[f'relu{block}_{i}'] = position + 1
            position += 2
        names[f'pool{block}'] = position
        position += 1
    return names


def check_layers(layers: Iterable[str], network: str, option: str = 'feature_net') -> dict[str, int]:
    """The network is known and has all of the layers.

    Args:
        layers: layer names.
        network: one of ``NETWORK_TYPES``.
        option: what named the layers, for the message.

    Returns:
        All layer names of the network with their positions.

    Raises:
        OptionError: unknown network or layer.
    """
    if network not in NETWORK_TYPES:
        raise OptionError(
            f'feature_net.type: unknown network {network!r}, expected {one_of(NETWORK_TYPES)}.'
            f'{did_you_mean(network, NETWORK_TYPES)}'
        )
    positions = layer_positions(network)
    for name in layers:
        if name not in positions:
            named = [n for n in positions if not n.startswith('features.')]
            known = f'{named[0]} ... {named[-1]}, ' if named else ''
            raise OptionError(
                f'{option}: unknown layer {name!r} of {network}; known: {known}features.0 ... features.'
                f'{max(positions.values())}.{did_you_mean(name, positions)}'
            )
    return positions


def imagenet_features(network: str, option: str = 'feature_net.weights') -> dict[str, torch.Tensor]:
    """Torchvision's IMAGENET1K_V1 weights: from its cache, or downloaded once; the hash is verified either way.

    Raises:
        MissingFileError, WeightsError: as :func:`pdd_arch.weights.download.download`.
    """
    url = torchvision.models.get_model_weights(network)['IMAGENET1K_V1'].url
    name = os.path.basename(url)
    # torchvision's file names end in the first digits of their hash: vgg19-dcbb9e9d.pth
    sha256 = name.rsplit('-', 1)[1].split('.')[0]
    target = Path(torch.hub.get_dir()) / 'checkpoints' / name
    return read_checkpoint(download(url, target, sha256, f'{option} (imagenet)'), option=option)


class FeatureNet(nn.Module):
    """Feature maps of chosen layers of a frozen network.

    Args:
        layers: names to tap: ``conv3_4``, ``relu3_4``, ``pool3`` (VGG) or torchvision's ``features.N``.
            The network is cut after the deepest of them.
        type: ``vgg19`` (the paper), ``vgg16``, ``alexnet``, ``squeezenet1_0`` or ``squeezenet1_1``.
        weights: ``imagenet`` (torchvision's, downloaded once, hash-checked), ``random`` (torchvision's own
            initialisation from `seed`), or the path of a torchvision state dict (full model or ``features.*``;
            ``.pth`` or ``.safetensors``). Never replaced silently.
        use_input_norm: subtract the ImageNet mean and divide by its standard deviation.
        range_norm: inputs are in [-1, 1] and are mapped to [0, 1] first.
        feature_scale: factor on every feature map. Loss weights (and the softmax of the intra term) are meant for
            values of VGG19's order; a network with larger ones is brought there.
        seed: of the random weights; the global random state is left as it was.

    Raises:
        OptionError: unknown type or layer.
        MissingFileError: the weight file does not exist, or cannot be downloaded.
        WeightsError: the weight file is of another network.

    Parameters need no gradient; gradients flow through the network to its input.
    """

    def __init__(
        self,
        layers: Iterable[str],
        type: str = 'vgg19',
        weights: str = 'imagenet',
        use_input_norm: bool = True,
        range_norm: bool = False,
        feature_scale: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.layers = tuple(dict.fromkeys(layers))
        positions = check_layers(self.layers, type)
        if not self.layers:
            raise OptionError('feature_net: no layer asked for, expected at least one layer name')
        self.type = type
        self.range_norm, self.feature_scale = range_norm, feature_scale
        self._position = {name: positions[name] for name in self.layers}
        self.features = self._build(weights, depth=max(self._position.values()) + 1, seed=seed)
        # a tapped map must survive the in-place ReLU behind it
        for position in self._position.values():
            following = self.features[position + 1 : position + 2]
            for module in following:
                if isinstance(module, nn.ReLU):
                    module.inplace = False
        self.use_input_norm = use_input_norm
        self.register_buffer('mean', torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer('std', torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.requires_grad_(False)
        self.eval()

    def _build(self, weights: str, depth: int, seed: int) -> nn.Sequential:
        if weights == 'random':
            return deepcopy(_random_features(self.type, seed, str(torch.get_default_device()))[:depth])
        with torch.device('meta'):
            features = getattr(torchvision.models, self.type)(weights=None).features[:depth]
        if weights == 'imagenet':
            state = imagenet_features(self.type)
        else:
            state = read_checkpoint(weights, option='feature_net.weights')
        return _fill(features.to_empty(device='cpu'), state, self.type, weights)

    def train(self, mode: bool = True) -> 'FeatureNet':
        """Stays in evaluation mode: the network is a fixed yardstick."""
        return super().train(False)

    def forward(self, x: torch.Tensor, layers: Iterable[str] | None = None) -> dict[str, torch.Tensor]:
        """Feature maps of images.

        Args:
            x: (N, 3, H, W), RGB, [0, 1] (not clamped), or [-1, 1] with `range_norm`.
            layers: a subset of ``self.layers``; all by default. The pass stops after the deepest of them.

        Returns:
            ``{layer: (N, C, h, w)}`` in the order asked for.
        """
        wanted = self.layers if layers is None else tuple(layers)
        if self.range_norm:
            x = (x + 1) / 2
        if self.use_input_norm:
            x = (x - self.mean) / self.std
        taps = {self._position[name] for name in wanted}
        maps = {}
        for i, module in enumerate(self.features[: max(taps) + 1]):
            x = module(x)
            if i in taps:
                maps[i] = x if self.feature_scale == 1 else x * self.feature_scale
        return {name: maps[self._position[name]] for name in wanted}


@functools.lru_cache(maxsize=2)
def _random_features(network: str, seed: int, default_device: str) -> nn.Sequential:
    """All of a network's features; kept, as torchvision also draws a classifier of 120 million weights each time.

    Those built on `default_device` are not those of another: on ``meta`` they have no numbers.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return getattr(torchvision.models, network)(weights=None).features


def _fill(features: nn.Sequential, state: Mapping[str, torch.Tensor], network: str, path: str) -> nn.Sequential:
    """Load ``features.*`` of a torchvision state dict into the (cut) network, or say what does not fit."""
    own = features.state_dict()
    picked = {k: state[f'features.{k}'] for k in own if f'features.{k}' in state}
    wrong = [k for k in own if k not in picked or picked[k].shape != own[k].shape]
    if wrong:
        k = wrong[0]
        found = f'shape {tuple(picked[k].shape)}' if k in picked else 'nothing'
        raise WeightsError(
            f'feature_net.weights: {path} is not a torchvision state dict of {network}: features.{k} should have '
            f'shape {tuple(own[k].shape)}, found {found}. Give the weights of {network} or change feature_net.type.'
        )
    features.load_state_dict(picked)
    return features
