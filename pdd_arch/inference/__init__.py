"""Upscaling images of any size in bounded memory."""

from pdd_arch.inference.load import ADAPTED_MODEL, LoadedNetwork, load_network
from pdd_arch.inference.memory import AUTO, TILES, AdaptiveUpscaler, bytes_per_pixel, free_memory, is_out_of_memory
from pdd_arch.inference.receptive_field import effective_overlap, receptive_radius, required_multiple
from pdd_arch.inference.tensors import forward_padded, forward_tiled
from pdd_arch.inference.tiling import Span, Tile, TilePlan, cover, plan_tiles
from pdd_arch.inference.upscaler import PRECISIONS, TiledUpscaler

__all__ = [
    'ADAPTED_MODEL',
    'AUTO',
    'PRECISIONS',
    'TILES',
    'AdaptiveUpscaler',
    'LoadedNetwork',
    'Span',
    'Tile',
    'TilePlan',
    'TiledUpscaler',
    'bytes_per_pixel',
    'cover',
    'effective_overlap',
    'forward_padded',
    'forward_tiled',
    'free_memory',
    'is_out_of_memory',
    'load_network',
    'plan_tiles',
    'receptive_radius',
    'required_multiple',
]
