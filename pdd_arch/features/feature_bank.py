"""Computes each feature map at most once an iteration, whichever losses ask for it."""

from collections.abc import Iterable, Mapping

import torch

from pdd_arch.features.feature_net import FeatureNet

#: layer -> (N, C, h, w)
Features = dict[str, torch.Tensor]


class FeatureBank:
    """Gathers what all losses want of all images, then runs the feature network over it in two batches.

    Images that need no gradient (teacher outputs, ground truth, detached student outputs) go through the network
    together without a graph; those that do go together with one. Images of another size form batches of their own.
    """

    def __init__(self, feature_net: FeatureNet) -> None:
        self.feature_net = feature_net

    def extract(self, images: Mapping[str, torch.Tensor], layers: Mapping[str, Iterable[str]]) -> dict[str, Features]:
        """Features of named images.

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
                maps = {k: _full_precision(v) for k, v in self.feature_net(stacked, union).items()}
                sizes = [images[n].shape[0] for n in names]
                parts = {k: v.split(sizes) for k, v in maps.items()}
            for i, name in enumerate(names):
                found[name] = {layer: parts[layer][i] for layer in wanted[name]}
                if not with_gradient and len(wanted[name]) < len(union):
                    # a part keeps the whole stack alive, also in layers that only the other images need
                    found[name] = {layer: part.clone() for layer, part in found[name].items()}
        return found


def _full_precision(x: torch.Tensor) -> torch.Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
