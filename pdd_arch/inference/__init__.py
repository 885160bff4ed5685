"""Upscaling images of any size in bounded memory."""

from pdd_arch.inference.receptive_field import effective_overlap, receptive_radius, required_multiple
from pdd_arch.inference.tensors import forward_padded, forward_tiled
from pdd_arch.inference.tiling import Span, Tile, TilePlan, cover, plan_tiles
from pdd_arch.inference.upscaler import PRECISIONS, TiledUpscaler

__all__ = [
    'PRECISIONS',
    'Span',
    'Tile',
    'TilePlan',
    'TiledUpscaler',
    'cover',
    'effective_overlap',
    'forward_padded',
    'forward_tiled',
    'plan_tiles',
    'receptive_radius',
    'required_multiple',
]
