"""Writing what training reads: links to the images (or converted ones), lists, and a description of it all.

Nothing is half-written: a file gets its name when it is complete, so a killed run can be started again.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from pdd_arch.errors import DataError
from pdd_arch.images.decoding import read_raw
from pdd_arch.images.names import with_image_extension
from pdd_arch.prepare.journal import Journal
from pdd_arch.prepare.layouts import Conversion
from pdd_arch.prepare.locate import FoundPart
from pdd_arch.prepare.verify import Facts
from pdd_arch.utils.atomic import PARTIAL, temporary_beside, whole_file, write_text, writing
from pdd_arch.utils.files import open_file
from pdd_arch.utils.locks import folder_held
from pdd_arch.utils.output import progress
from pdd_arch.utils.wording import shown

JOURNAL = '.pdd_prepare.jsonl'
#: the description of a prepared dataset, written last: it says that everything is there
MANIFEST = 'pdd_prepare.json'
# what file systems without symbolic links answer
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


class Made(NamedTuple):
    """An image that was made, and what is known of it."""

    path: Path
    facts: Facts


@contextlib.contextmanager
def only_run(home: Path) -> Iterator[Journal]:
    """Lets one process at a time write to a folder, which is made where it is missing, and gives its journal.

    A killed process holds nothing, and leaves the journal, by which `pdd check` tells that the dataset is not complete.
    Raises DataError where another process is writing to it, or it cannot be written.
    """
    taken = DataError(
        'another `pdd prepare` is writing to it',
        where=shown(home),
        way_out='Wait for it, or stop it; then run the same command again.',
    )
    with folder_held(home, taken):
        with writing(home):
            (home / JOURNAL).touch()
        yield Journal(home / JOURNAL)


def require_apart(sources: Iterable[str], out: Path) -> None:
    """Raises DataError where `out` is, holds, or lies in a source, which is never written to."""
    made = out.resolve()
    for source in sources:
        root = Path(source).expanduser().resolve()
        if made == root or root in made.parents or made in root.parents:
            raise DataError(
                f'would be written inside the source {shown(source)} (or around it), which is never changed',
                where=shown(out),
                way_out='Move the download elsewhere, e.g. to downloads/, or choose another -o.',
            )


def write_sets(
    found: Sequence[FoundPart], facts: Mapping[Path, Facts], out: Path, home: Path, journal: Journal, copy: bool = False
) -> tuple[list[dict[str, Any]], dict[Path, dict[str, Made]]]:
    """Makes the images of all parts below `out`, and a list of each side below `home`.

    Gives the sets as the manifest describes them, and what is in each folder that was written to, by common name.
    """
    sets: list[dict[str, Any]] = []
    folders: dict[Path, dict[str, Made]] = {}
    for one in found:
        part = one.part
        described = {'name': part.name, 'role': part.role, 'scale': part.scale, 'count': len(one.names)}
        for key, side in part.sides.items():
            made = _make_images(one, key, facts, out, journal, copy)
            list_name = side.list_name or (f'{part.name}_{key.upper()}' if len(one.files) > 1 else part.name)
            described[key] = write_list(home, out / side.out, list_name, made, part.groups)
            if not is_in_place(one, key, out):
                folders.setdefault(out / side.out, {}).update(made)
        sets.append(described)
    return sets, folders


def _make_images(
    found: FoundPart, key: str, facts: Mapping[Path, Facts], out: Path, journal: Journal, copy: bool
) -> dict[str, Made]:
    """Links, copies or converts one side of a part."""
    side, scale = found.part.sides[key], found.part.scale
    images = sorted(found.files[key].items())
    if is_in_place(found, key, out):
        return {name: Made(path, facts[path]) for name, path in images}
    folder, how = out / side.out, side.convert
    made = {}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in progress(images, len(images), side.out):
            known = facts[source]
            target = folder / (f'{name}.png' if how else with_image_extension(source, name))
            if how:
                _convert(source, target, how, scale, journal)
                height, width = ((n - n % scale) // how.divisor for n in known.size)
                known = Facts(height, width, 3, known.bits)
            elif copy:
                _copy(source, target)
            else:
                _link(source, target)
            made[name] = Made(target, known)
    return made


def is_in_place(found: FoundPart, key: str, out: Path) -> bool:
    """Whether the images of a side lie, under their names, where they would be made."""
    folder = (out / found.part.sides[key].out).resolve()
    images = found.files[key]
    return bool(images) and all(p.parent.resolve() == folder and p.stem == name for name, p in images.items())


def require_no_others(folder: Path, made: Collection[Made]) -> None:
    """Removes links of an earlier run from a folder, of which BasicSR reads every file.

    Raises:
        DataError: there is any other file that was not made here.
    """
    ours = {one.path for one in made}
    with writing(folder):
        for path in sorted(p for p in folder.iterdir() if p not in ours):
            if path.is_symlink() or path.name.endswith(PARTIAL):
                path.unlink()
            else:
                raise DataError(
                    'does not belong to the dataset, and every file of that folder is read as an image of it',
                    where=shown(path),
                    way_out='Move it elsewhere, then run the same command again.',
                )


def _link(source: Path, target: Path) -> None:
    # relative: source and target may be moved together, or seen from elsewhere
    wanted = os.path.relpath(source.resolve(), target.parent.resolve())
    if target.is_symlink() and os.readlink(target) == wanted:
        return
    if target.exists() and not target.is_symlink():
        raise DataError(
            'is in the way: a file that is no link of an earlier run',
            where=shown(target),
            way_out='Move it elsewhere or choose another -o.',
        )
    # not `whole_file`, which would flush the source to disk
    partial = temporary_beside(target)
    try:
        partial.unlink()
        partial.symlink_to(wanted)
        os.replace(partial, target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno not in _NO_LINKS:
            raise
        raise DataError(
            f'cannot be made a link ({error.strerror})',
            where=shown(target),
            way_out='Run the same command with --copy, or choose another -o.',
        ) from None


def _copy(source: Path, target: Path) -> None:
    with open_file(source) as file:
        wanted = os.fstat(file.fileno())
    if target.is_file() and not target.is_symlink():
        there = target.stat()
        if (there.st_size, there.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns):
            return
    with whole_file(target) as partial:
        shutil.copyfile(source, partial)
        os.utime(partial, ns=(wanted.st_atime_ns, wanted.st_mtime_ns))


def _convert(source: Path, target: Path, how: Conversion, scale: int, journal: Journal) -> None:
    entry = journal.get(f'made {target}', source)
    if entry and entry['how'] == [how.name, scale] and target.is_file() and target.stat().st_size == entry['bytes']:
        return
    image = read_raw(source)
    height, width = (n - n % scale for n in image.shape[:2])
    content = encode_png(how.make(np.ascontiguousarray(image[:height, :width]), source.name))
    with whole_file(target) as partial:
        partial.write_bytes(content)
    journal.put(f'made {target}', source, bytes=len(content), how=[how.name, scale])


def encode_png(image: np.ndarray) -> bytes:
    """A PNG of an (H, W, 3) BGR image of uint8 or uint16."""
    return cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()


def write_list(
    home: Path, folder: Path, name: str, made: Mapping[str, Made], groups: Iterable[str] = ()
) -> dict[str, str]:
    """Writes BasicSR's list of a folder's images: ``name (height,width,channels)``, one a line.

    `groups` are beginnings of common names (cameras) that get a list of their own besides. Gives ``folder`` and
    ``meta_info``, relative to `home`, as the manifest has them.
    """
    path = home / 'meta_info' / f'meta_info_{name}.txt'
    lines = {stem: f'{p.name} ({f.height},{f.width},{f.channels})\n' for stem, (p, f) in sorted(made.items())}
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, ''.join(lines.values()))
    for group in groups:
        members = [line for stem, line in lines.items() if stem.lower().startswith(group)]
        if members:
            write_text(path.with_name(f'meta_info_{name}_{group}.txt'), ''.join(members))
    return {'folder': os.path.relpath(folder, home), 'meta_info': os.path.relpath(path, home)}
