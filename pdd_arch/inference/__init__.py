"""Upscaling images of any size in bounded memory."""

from pdd_arch.inference.load import LoadedNetwork, load_network
from pdd_arch.inference.memory import AUTO, TILES, AdaptiveUpscaler, bytes_per_pixel, free_memory
from pdd_arch.inference.tensors import forward_padded, forward_tiled, required_multiple
from pdd_arch.inference.tiling import cover, plan_tiles
from pdd_arch.inference.upscaler import PRECISIONS, TiledUpscaler

__all__ = [
    'AUTO',
    'PRECISIONS',
    'TILES',
    'AdaptiveUpscaler',
    'LoadedNetwork',
    'TiledUpscaler',
    'bytes_per_pixel',
    'cover',
    'forward_padded',
    'forward_tiled',
    'free_memory',
    'load_network',
    'plan_tiles',
    'required_multiple',
]
