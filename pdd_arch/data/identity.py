"""Telling whether a resumed run is given the data it began with."""

import hashlib
from collections.abc import Mapping
from os import path as osp
from typing import Any

from pdd_arch.data.section import DatasetSection
from pdd_arch.data.sources import ImageSource, open_source
from pdd_arch.images.names import without_extension


def data_identity(dataset_options: Mapping[str, Any]) -> str:
    """Identity of the images that the options of an ``UnpairedAdaptationDataset`` name.

    Lists folders, meta-info files and LMDBs, unless the section brings opened sources; opens no image.

    Args:
        dataset_options: ``dataroot_gt``, ``dataroot_lq`` and what goes with them; not changed.

    Returns:
        As :meth:`UnpairedAdaptationDataset.identity` of the dataset built from them.

    Raises:
        OptionError, MissingFileError, DataError: as :func:`pdd_arch.data.sources.open_source`.
    """
    if isinstance(dataset_options, DatasetSection):
        return sources_identity(*dataset_options.sources)
    return sources_identity(open_source(dataset_options, 'gt'), open_source(dataset_options, 'lq'))


def sources_identity(gt: ImageSource, lq: ImageSource) -> str:
    """16 hex digits of a SHA-256 over the images' names, per source sorted.

    Names count below the data folder and without their extension: a moved folder, and an LMDB made from a
    folder, are the same data. Pixels are not looked at.
    """
    digest = hashlib.sha256()
    for side, source in (('gt', gt), ('lq', lq)):
        names = sorted(without_extension(osp.normpath(name).replace('\\', '/')) for name in source.names)
        digest.update(f'{side} {len(names)}\0'.encode())
        for name in names:
            # no file name holds a zero byte, so lists cannot be confused; names need not be valid UTF-8
            digest.update(name.encode('utf-8', 'surrogateescape') + b'\0')
    return digest.hexdigest()[:16]
