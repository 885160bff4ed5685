"""Cutting HR photographs into overlapping sub-images, and putting images into an LMDB, as BasicSR does.

Sub-images: the grid and the names of BasicSR's ``scripts/data_preparation/extract_subimages.py``, which is not part
of its package. LMDB: as its ``LmdbMaker``, which cannot continue one, makes it.
"""

import hashlib
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lmdb
import numpy as np

from pdd_arch.errors import DataError
from pdd_arch.images.decoding import read_raw
from pdd_arch.prepare.journal import Journal
from pdd_arch.prepare.verify import Facts
from pdd_arch.prepare.write import Made, encode_png
from pdd_arch.utils.atomic import whole_file, write_text, writing
from pdd_arch.utils.files import is_name_too_long, read_content
from pdd_arch.utils.output import progress
from pdd_arch.utils.wording import shown

_PAGE = 4096  # of an LMDB: a value takes whole ones


def crop_positions(length: int, size: int, step: int) -> list[int]:
    """Offsets of crops along one side: every `step`, and one at the end, so that nothing is left out.

    A side shorter than `size` gives one crop, of all of it.
    """
    last = max(length - size, 0)
    return [*range(0, last, step), last]


def cut_sub_images(
    files: Mapping[str, Made], folder: Path, size: int, step: int, journal: Journal, workers: int
) -> dict[str, Made]:
    """Cuts images into ``NAME_s001.png``, ``NAME_s002.png``, ...; all by name without extension.

    Images that an earlier run has finished, with the same size and step in pixels, are not cut again. The threads work
    side by side in OpenCV, but for JPEGs, which are decoded one at a time (`pdd_arch.images.decoder_messages`).
    """
    made: dict[str, Made] = {}
    for name, source in files.items():
        if is_name_too_long(folder / f'{name}_s001.png'):  # before anything is cut
            what = 'its name is too long: those of its sub-images have five letters more'
            raise DataError(what, where=shown(source.path), way_out='Rename it, or leave out --sub-images.')

    def cut(name: str, source: Made) -> list[tuple[str, tuple[int, int]]]:
        key = f'cut {folder} {name}'
        entry = journal.get(key, source.path)
        if entry and entry['grid'] == [size, step] and all((folder / n).is_file() for n, _ in entry['crops']):
            return entry['crops']
        crops = []
        for crop_name, crop in _crops(read_raw(source.path), name, size, step):
            with whole_file(folder / crop_name) as partial:
                partial.write_bytes(encode_png(crop))
            crops.append((crop_name, crop.shape[:2]))
        journal.put(key, source.path, grid=[size, step], crops=crops)
        return crops

    with writing(folder), ThreadPoolExecutor(workers) as pool:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            results = progress(pool.map(cut, files, files.values()), len(files), folder.name)
            for source, crops in zip(files.values(), results, strict=True):
                for name, (height, width) in crops:
                    made[Path(name).stem] = Made(folder / name, Facts(height, width, 3, source.facts.bits))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return made


def _crops(image: np.ndarray, name: str, size: int, step: int) -> Iterator[tuple[str, np.ndarray]]:
    corners = itertools.product(*(crop_positions(length, size, step) for length in image.shape[:2]))
    for index, (top, left) in enumerate(corners, 1):
        yield f'{name}_s{index:03d}.png', np.ascontiguousarray(image[top : top + size, left : left + size])


def make_lmdb(files: Mapping[str, Made], target: Path, journal: Journal, batch: int = 1000) -> None:
    """Puts images (by name) into an LMDB as BasicSR's tool makes it: key without extension, the file's bytes as value.

    It is made under another name, which a later run continues, and becomes `target` (``NAME.lmdb``) when complete.
    One that is there already and was made of the same files stays. `batch` is the number of images between two commits,
    and so what a killed run loses at most. Raises DataError for a name that is not ASCII, as BasicSR's keys are, and
    for a full disk.
    """
    for name, made in files.items():
        if not name.isascii():
            raise DataError(
                'names in an LMDB are ASCII', where=shown(made.path), way_out='Rename it, or leave out --lmdb.'
            )
    meta_info = ''.join(f'{n}.png ({f.height},{f.width},{f.channels}) 1\n' for n, (_, f) in sorted(files.items()))
    stats = {name: made.path.stat() for name, made in sorted(files.items())}
    identity = ''.join(f'{name}\0{s.st_size}\0{s.st_mtime_ns}\0' for name, s in stats.items())
    made_of = hashlib.sha256(identity.encode()).hexdigest()[:16]
    partial = target.with_name(f'.{target.stem}.{made_of}.partial.lmdb')
    with writing(target):
        entry, listed = journal.get(f'lmdb {target}', target / 'data.mdb'), target / 'meta_info.txt'
        if entry and entry['made_of'] == made_of and listed.is_file() and listed.read_bytes() == meta_info.encode():
            return
        for other in set(target.parent.glob(f'.{target.stem}.*.partial.lmdb')) - {partial}:
            shutil.rmtree(other)
        size = sum(-(-s.st_size // _PAGE) + 1 for s in stats.values()) * _PAGE * 5 // 4 + 2**26
        try:
            with lmdb.open(str(partial), map_size=size) as env:
                _fill(env, files, target.name, batch)
        except lmdb.Error as error:
            if isinstance(error, (lmdb.InvalidError, lmdb.CorruptedError)):  # of a run that was interrupted
                shutil.rmtree(partial, ignore_errors=True)
            raise DataError(
                f'the LMDB cannot be written ({error})',
                where=shown(target),
                way_out='Free space, then run the same command again.',
            ) from None
        write_text(partial / 'meta_info.txt', meta_info)
        if target.exists():
            shutil.rmtree(target)
        os.replace(partial, target)
        journal.put(f'lmdb {target}', target / 'data.mdb', made_of=made_of)


def _fill(env: lmdb.Environment, files: Mapping[str, Made], what: str, batch: int) -> None:
    """Puts in what is not there yet; what was put is committed also when it is interrupted."""
    with env.begin() as reading:
        rest = [name for name in sorted(files) if reading.get(name.encode('ascii')) is None]
    transaction = env.begin(write=True)
    try:
        for count, name in enumerate(progress(rest, len(rest), what), 1):
            transaction.put(name.encode('ascii'), read_content(files[name].path))
            if count % batch == 0:
                transaction.commit()
                transaction = env.begin(write=True)
    finally:
        transaction.commit()
