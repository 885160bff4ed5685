"""Writing what training reads: links to the images (or converted ones), lists, and a description of it all.

Nothing is half-written: a file gets its name when it is complete, so a killed run can be started again.
"""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from basicsr.utils.matlab_functions import imresize

from pdd_arch.errors import DataError
from pdd_arch.images.decoding import read_raw
from pdd_arch.prepare.locate import FoundPart
from pdd_arch.prepare.verify import Facts, Journal
from pdd_arch.utils.atomic import PARTIAL, whole_file, writing
from pdd_arch.utils.locks import folder_held
from pdd_arch.utils.progress import progress
from pdd_arch.utils.wording import shown

__all__ = [
    'JOURNAL',
    'MANIFEST',
    'encode_png',
    'is_in_place',
    'make_images',
    'only_run',
    'require_apart',
    'require_no_others',
    'write_lists',
    'write_manifest',
]

JOURNAL = '.pdd_prepare.jsonl'
MANIFEST = 'pdd_prepare.json'
# what file systems without symbolic links answer
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


@contextlib.contextmanager
def only_run(home: Path) -> Iterator[None]:
    """One process at a time writes to a folder that is there; one that was killed holds nothing.

    Raises:
        DataError: another process does.
    """
    taken = DataError(
        f'{shown(home)}: another `pdd prepare` is writing to it. Wait for it, or stop it; then run the same '
        'command again.'
    )
    with folder_held(home, taken):
        yield


def require_apart(sources: Iterable[str], out: Path) -> None:
    """The source is never written to.

    Raises:
        DataError: `out` is, holds, or lies in a source.
    """
    made = out.expanduser().resolve()
    for source in sources:
        root = Path(source).expanduser().resolve()
        if made == root or root in made.parents or made in root.parents:
            raise DataError(
                f'{shown(out)}: would be written inside the source {shown(source)} (or around it), which is never '
                'changed. Move the download elsewhere, e.g. to downloads/, or choose another -o.'
            )


def make_images(found: FoundPart, out: Path, journal: Journal, copy: bool) -> dict[str, dict[str, Path]]:
    """Links, copies or converts the images of a part into the folders of its layout.

    Returns:
        ``hr`` and ``lr``: common name -> file made.
    """
    made: dict[str, dict[str, Path]] = {}
    for key, side in found.part.sides.items():
        folder = out / side.out
        made[key] = {}
        if is_in_place(found, key, out):
            made[key] = dict(found.files[key])
            continue
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            images = sorted(found.files[key].items())
            for name, source in progress(images, len(images), side.out):
                suffix = '.png' if side.convert else source.suffix.lower()
                target = folder / f'{name}{suffix}'
                if side.convert:
                    _convert(source, target, side.convert, found.part.scale, journal)
                elif copy:
                    _copy(source, target)
                else:
                    _link(source, target)
                made[key][name] = target
    return made


def is_in_place(found: FoundPart, key: str, out: Path) -> bool:
    """Whether the images of a side lie, under their names, where they would be made."""
    folder = (out / found.part.sides[key].out).resolve()
    images = found.files[key]
    return bool(images) and all(p.parent.resolve() == folder and p.stem == name for name, p in images.items())


def require_no_others(folder: Path, made: set[Path]) -> None:
    """BasicSR reads every file of a folder. Links of an earlier run are removed; anything else is an error.

    Raises:
        DataError: there is a file that was not made here.
    """
    with writing(folder):
        for path in sorted(folder.iterdir()):
            if path in made:
                continue
            if path.is_symlink() or path.name.endswith(PARTIAL):
                path.unlink()
            else:
                raise DataError(
                    f'{shown(path)}: does not belong to the dataset, and every file of that folder is read as an '
                    'image of it. Move it elsewhere, then run the same command again.'
                )


def _link(source: Path, target: Path) -> None:
    # relative: source and target may be moved together, or seen from elsewhere
    wanted = os.path.relpath(source.resolve(), target.parent.resolve())
    if target.is_symlink() and os.readlink(target) == wanted:
        return
    _require_ours(target)
    try:
        with whole_file(target) as partial:
            with contextlib.suppress(FileNotFoundError):
                partial.unlink()
            partial.symlink_to(wanted)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        raise DataError(
            f'{shown(target)}: cannot be made a link ({error.strerror}). Run the same command with --copy, or choose '
            'another -o.'
        ) from None


def _copy(source: Path, target: Path) -> None:
    there, wanted = _stat(target), source.stat()
    if there and (there.st_size, there.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns) and not target.is_symlink():
        return
    with whole_file(target) as partial:
        shutil.copyfile(source, partial)
        os.utime(partial, ns=(wanted.st_atime_ns, wanted.st_mtime_ns))


def _require_ours(target: Path) -> None:
    if target.exists() and not target.is_symlink():
        raise DataError(
            f'{shown(target)}: is in the way: a file that is no link of an earlier run. Move it elsewhere or choose '
            'another -o.'
        )


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _convert(source: Path, target: Path, how: str, scale: int, journal: Journal) -> None:
    entry = journal.get(f'made {target}', source)
    there = _stat(target)
    if entry and there and there.st_size == entry['bytes'] and entry['how'] == [how, scale]:
        return
    image = read_raw(source)
    height, width = (n - n % scale for n in image.shape[:2])
    image = image[:height, :width]
    if how == 'reduce':
        image = _reduced(image, scale)
    content = encode_png(image)
    with whole_file(target) as partial:
        partial.write_bytes(content)
    journal.put(f'made {target}', source, bytes=len(content), how=[how, scale])


def _reduced(image: np.ndarray, scale: int) -> np.ndarray:
    """(H, W, 3) uint8 or uint16 -> (H/scale, W/scale, 3) of the same type, antialiased bicubic (BasicSR's)."""
    largest = np.iinfo(image.dtype).max
    small = imresize(np.ascontiguousarray(image).astype(np.float32) / largest, 1 / scale)
    return (np.clip(small, 0, 1) * largest).round().astype(image.dtype)


def encode_png(image: np.ndarray, compression: int = 3) -> bytes:
    """A PNG of an (H, W, 3) BGR image of uint8 or uint16."""
    return cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, compression])[1].tobytes()


def write_lists(home: Path, name: str, files: dict[str, Path], sizes: dict[str, Facts], groups: Iterable[str]) -> Path:
    """BasicSR's list of a folder's images: ``name (height,width,channels)``, one a line.

    Args:
        home: folder of the dataset.
        name: of the list.
        files: common name -> file.
        sizes: of these files, by common name.
        groups: beginnings of names that get a list of their own besides (cameras).

    Returns:
        The list of all.
    """
    path = home / 'meta_info' / f'meta_info_{name}.txt'
    lines = {stem: _line(file.name, sizes[stem]) for stem, file in sorted(files.items())}
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_text(path, lines.values())
        for group in groups:
            members = [line for stem, line in lines.items() if stem.lower().startswith(group)]
            if members:
                _write_text(path.with_name(f'meta_info_{name}_{group}.txt'), members)
    return path


def _line(name: str, facts: Facts) -> str:
    return f'{name} ({facts.height},{facts.width},{facts.channels})'


def _write_text(path: Path, lines: Iterable[str]) -> None:
    with whole_file(path) as partial:
        partial.write_text(''.join(f'{line}\n' for line in lines), 'utf-8')


def write_manifest(home: Path, content: dict) -> None:
    """The description of a prepared dataset, written last: it stands for `everything is there`."""
    path = home / MANIFEST
    with writing(path), whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + '\n', 'utf-8')
