"""Frozen ImageNet networks as feature extractors (phi in the paper)."""

import functools
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path

import torch
import torchvision
from torch import nn

from pdd_arch.errors import OptionError, WeightsError
from pdd_arch.utils.wording import check_choice, did_you_mean
from pdd_arch.weights.checkpoints import check_ordinary, read_checkpoint
from pdd_arch.weights.download import download
from pdd_arch.weights.prefixes import log, parts, removal, state_dicts

NETWORK_TYPES = ('vgg19', 'vgg16', 'alexnet', 'squeezenet1_0', 'squeezenet1_1')

#: layer -> (N, C, h, w)
Features = dict[str, torch.Tensor]

# convolutions of each block, separated by max pooling (Simonyan and Zisserman 2015, table 1)
VGG_BLOCKS = {'vgg16': (2, 2, 3, 3, 3), 'vgg19': (2, 2, 4, 4, 4)}


def _empty_trunk(network: str, depth: int | None = None) -> nn.Sequential:
    """Torchvision's ``features`` of a network, or the first `depth` of them, on the ``meta`` device."""
    with torch.device('meta'):
        features: nn.Sequential = getattr(torchvision.models, network)(weights=None).features
    return features[:depth]


@functools.lru_cache
def layer_positions(network: str) -> dict[str, int]:
    """Names of the layers that can be tapped, with their index in torchvision's ``features``.

    VGG: ``conv3_4``, ``relu3_4``, ``pool3`` as in BasicSR, and ``features.N``; the others: ``features.N``.
    """
    vgg: list[str] = []
    for block, convs in enumerate(VGG_BLOCKS.get(network, ()), start=1):
        vgg += [f'{kind}{block}_{i}' for i in range(1, convs + 1) for kind in ('conv', 'relu')] + [f'pool{block}']
    numbered = [f'features.{i}' for i in range(len(_empty_trunk(network)))]
    return {name: i for names in (numbered, vgg) for i, name in enumerate(names)}


def check_layers(layers: Iterable[str], network: str, where: str = 'feature_net') -> dict[str, int]:
    """Positions of all layers of a network, after checking that it has those that the option `where` names.

    Raises:
        OptionError: unknown network or layer.
    """
    check_choice('feature_net.type', network, NETWORK_TYPES, 'network')
    positions = layer_positions(network)
    for name in layers:
        if name not in positions:
            named = [n for n in positions if not n.startswith('features.')]
            known = f'{named[0]} ... {named[-1]}, ' if named else ''
            raise OptionError(
                f'unknown layer {name!r} of {network}; known: {known}features.0 ... features.{max(positions.values())}',
                where=where,
                way_out=did_you_mean(name, positions),
            )
    return positions


def imagenet_file(network: str) -> tuple[str, Path]:
    """Address of torchvision's IMAGENET1K_V1 weights, and the place where torchvision keeps them on this machine."""
    url: str = torchvision.models.get_model_weights(network)['IMAGENET1K_V1'].url
    return url, Path(torch.hub.get_dir()) / 'checkpoints' / url.rsplit('/', 1)[1]


def to_download(network: str, weights: str) -> tuple[str, Path] | None:
    """Address and place of the weights of a network, if they are torchvision's and not on this machine yet."""
    url, place = imagenet_file(network)
    return (url, place) if weights == 'imagenet' and not place.is_file() else None


def imagenet_features(network: str, where: str = 'feature_net.weights') -> dict[str, torch.Tensor]:
    """Torchvision's IMAGENET1K_V1 weights: from its cache, or downloaded once; the hash is verified either way.

    The tensors may still be in the file: copy those that are kept.
    """
    url, target = imagenet_file(network)
    # torchvision's file names end in the first digits of their hash: vgg19-dcbb9e9d.pth
    sha256 = target.stem.rsplit('-', 1)[1]
    return read_checkpoint(download(url, target, sha256, f'{where} (imagenet)'), where, lazy=True)


def load_trunk(
    network: str, weights: str = 'imagenet', where: str = 'feature_net.weights', depth: int | None = None
) -> nn.Sequential:
    """Torchvision's ``features`` of a network, or the first `depth` of them, with weights, in float32 on the CPU.

    Raises:
        MissingFileError, WeightsError: the weights cannot be had, or are those of another network.
    """
    # the trunk is a twenty-fifth of AlexNet's file of a quarter of a gigabyte: the rest stays in the file
    state = imagenet_features(network, where) if weights == 'imagenet' else read_checkpoint(weights, where, lazy=True)
    features = _empty_trunk(network, depth)
    own = features.state_dict()
    picked = _picked(state, own, weights, where)
    wrong = next((k for k in own if k not in picked or picked[k].shape != own[k].shape), None)
    if wrong is not None:
        raise WeightsError(
            f'{weights} is not a torchvision state dict of {network}: features.{wrong} should have shape '
            f'{tuple(own[wrong].shape)}',
            where=where,
            found=f'shape {tuple(picked[wrong].shape)}' if wrong in picked else 'nothing',
            way_out=f'Give the weights of {network}, or name another network.',
        )
    features.to_empty(device='cpu').load_state_dict(picked)
    return features


def _picked(
    content: Mapping[str, object], own: Mapping[str, torch.Tensor], weights: str, where: str
) -> dict[str, torch.Tensor]:
    """The tensors of a file that `own` are to have, also of a network that training code has wrapped and nested."""
    names = {f'features.{k}': k for k in own}

    def is_whole(part: Mapping[str, torch.Tensor]) -> bool:
        return names.keys() <= part.keys() and all(part[name].shape == own[k].shape for name, k in names.items())

    found: Mapping[str, torch.Tensor] = {}
    for state in state_dicts(content).values():
        for prefix, part in parts(state, is_whole).items():
            check_ordinary({name: part[name] for name in names}, weights, where)
            if prefix:
                log(removal(weights, prefix, len(part), len(state)))
            return {k: part[name] for name, k in names.items()}
        found = found or state
    return {k: found[name] for name, k in names.items() if name in found}


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
            values of the magnitude of VGG19's; the features of another network can be scaled to it.
        seed: seed of the random weights; the global random state is not changed.

    Raises:
        OptionError: unknown type or layer.
        MissingFileError: the weight file does not exist, or cannot be downloaded.
        WeightsError: the weight file is of another network.

    Parameters need no gradient; gradients flow through the network to its input.
    """

    mean: torch.Tensor
    std: torch.Tensor

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
            raise OptionError('no layer asked for', where='feature_net', expected='at least one layer name')
        self.use_input_norm, self.range_norm, self.feature_scale = use_input_norm, range_norm, feature_scale
        self._position = {name: positions[name] for name in self.layers}
        depth = max(self._position.values()) + 1
        if weights == 'random':
            self.features = deepcopy(_random_features(type, seed, str(torch.get_default_device()))[:depth])
        else:
            self.features = load_trunk(type, weights, depth=depth)
        # a tapped map must survive the in-place ReLU behind it
        for position in self._position.values():
            for module in self.features[position + 1 : position + 2]:
                if isinstance(module, nn.ReLU):
                    module.inplace = False
        # torchvision's own normalisation of ImageNet images in [0, 1]
        self.register_buffer('mean', torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1))
        self.register_buffer('std', torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1))
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> 'FeatureNet':
        """The network is a fixed yardstick and stays in evaluation mode."""
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

    def extract(self, images: Mapping[str, torch.Tensor], layers: Mapping[str, Iterable[str]]) -> dict[str, Features]:
        """Features of named images, each computed once, whichever losses want it.

        Images that need no gradient (teacher outputs, ground truth, detached student outputs) go through the network
        together without a graph; those that do go together with one. Images of another size form batches of their own.

        Args:
            images: ``{name: (N, 3, H, W)}``; a tensor that requires grad gets features that do.
            layers: ``{name: layer names}``; images without layers are skipped.

        Returns:
            ``{name: {layer: (N, C, h, w)}}``, at least float32 also under autocast: distances between nearly
            equal features lose their digits in half precision.
        """
        wanted = {name: unique for name, chosen in layers.items() if (unique := tuple(dict.fromkeys(chosen)))}
        batches: dict[tuple[bool, torch.Size, torch.dtype], list[str]] = {}
        for name in wanted:
            image = images[name]
            with_gradient = image.requires_grad and torch.is_grad_enabled()
            batches.setdefault((with_gradient, image.shape[1:], image.dtype), []).append(name)
        found: dict[str, Features] = {}
        for (with_gradient, *_), names in batches.items():
            union = tuple(dict.fromkeys(layer for name in names for layer in wanted[name]))
            with torch.set_grad_enabled(with_gradient):
                stacked = images[names[0]] if len(names) == 1 else torch.cat([images[n] for n in names])
                half = (torch.float16, torch.bfloat16)
                maps = {k: v.float() if v.dtype in half else v for k, v in self(stacked, union).items()}
                sizes = [images[n].shape[0] for n in names]
                parts = {k: v.split(sizes) for k, v in maps.items()}
            for i, name in enumerate(names):
                found[name] = {layer: parts[layer][i] for layer in wanted[name]}
                if not with_gradient and len(wanted[name]) < len(union):
                    # a part keeps the whole stack alive, also in layers that only the other images need
                    found[name] = {layer: part.clone() for layer, part in found[name].items()}
        return found


@functools.lru_cache(maxsize=2)
def _random_features(network: str, seed: int, default_device: str) -> nn.Sequential:
    """All of a network's features; cached, as torchvision also draws a classifier of 120 million weights each time.

    The default device is part of the key: on ``meta`` the features have no values.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        features: nn.Sequential = getattr(torchvision.models, network)(weights=None).features
        return features
