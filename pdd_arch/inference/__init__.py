"""Upscaling images of any size in bounded memory."""

from pdd_arch.inference.load import LoadedNetwork, load_network
from pdd_arch.inference.memory import AUTO, AdaptiveUpscaler
from pdd_arch.inference.tensors import forward_padded, forward_tiled, required_multiple
from pdd_arch.inference.upscaler import PRECISIONS, TiledUpscaler

__all__ = [
    'AUTO',
    'PRECISIONS',
    'AdaptiveUpscaler',
    'LoadedNetwork',
    'TiledUpscaler',
    'forward_padded',
    'forward_tiled',
    'load_network',
    'required_multiple',
]
