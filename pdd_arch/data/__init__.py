"""Data: the training set, its sources, LR synthesis, and checks of BasicSR's validation sets."""

from pdd_arch.data.cache import CachedSource
from pdd_arch.data.identity import data_identity
from pdd_arch.data.paired_check import check_paired_dataset, explain_unreadable
from pdd_arch.data.positioned_index import PositionedIndex, positioned
from pdd_arch.data.sources import FileSource, ImageSource, LmdbSource, open_source
from pdd_arch.data.unpaired_adaptation_dataset import UnpairedAdaptationDataset
from pdd_arch.degradations.lr_synthesis import KERNELS, LRSynthesis, synthesise_lr
from pdd_arch.images.decoding import check_image_file, decode_image, image_size, read_image

__all__ = [
    'KERNELS',
    'CachedSource',
    'FileSource',
    'ImageSource',
    'LRSynthesis',
    'LmdbSource',
    'PositionedIndex',
    'UnpairedAdaptationDataset',
    'check_image_file',
    'check_paired_dataset',
    'data_identity',
    'decode_image',
    'explain_unreadable',
    'image_size',
    'open_source',
    'positioned',
    'read_image',
    'synthesise_lr',
]
