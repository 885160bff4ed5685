"""What to tell somebody whose images are not where, or not called as, they are expected."""

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pdd_arch.images.names import is_image_name
from pdd_arch.utils.wording import shown

_ARCHIVES = ('.zip', '.tar', '.tar.gz', '.tgz', '.rar', '.7z', '.tar.bz2')
_LEVELS = 8  # that are looked through: a published path has up to four
_MANY = 2000  # folders; a hint is not worth a walk through a whole disk


def name_problem(name: str) -> str | None:
    """Why a file cannot stand in a list of images, one a line; None where it can."""
    stem = os.path.splitext(name)[0]
    if name.strip() == name and ', ' not in name and name.isprintable() and stem == stem.rstrip():
        return None
    return (
        'cannot stand in a list of images, one a line: its name begins or ends with a space, or holds a comma and a '
        'space, a line break, or bytes that are no UTF-8. Rename it.'
    )


def elsewhere(folders: Sequence[str], roots: Sequence[Path]) -> str:
    """Where a missing folder lies instead: deeper than it is looked for, or in an archive.

    Args:
        folders: places in which it is looked for, below a source.
        roots: the sources.

    Returns:
        A sentence with a space before it, or nothing.
    """
    wanted = [tuple(part.lower() for part in Path(folder).parts) for folder in folders]
    archives = []
    for root in roots:
        for folder, files in _below(root):
            tail = tuple(part.lower() for part in folder.parts)
            for one in wanted:
                if tail[-len(one) :] == one:
                    top = folder.parents[len(one) - 1]
                    return f' There is {shown(folder)}: name {shown(top)} as a source.'
            archives += [folder / name for name in files if name.lower().endswith(_ARCHIVES)]
    if archives:
        return f' There is an archive, {shown(archives[0])}: unpack it.'
    return ''


def inside(folder: Path) -> str:
    """A sub-folder with images of a folder that holds none itself, in a sentence with a space before it."""
    for below, files in _below(folder):
        if below != folder and any(is_image_name(name) and not name.startswith('.') for name in files):
            return f' There are images in {shown(below)}.'
    return ''


def _below(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders and the names of their files, of the uppermost levels; links are not followed."""
    for place, folders, files in itertools.islice(os.walk(root), _MANY):
        folder = Path(place)
        folders[:] = sorted(n for n in folders if not n.startswith('.') and n != '__MACOSX')
        if len(folder.parts) - len(root.parts) >= _LEVELS:
            folders.clear()
        yield folder, sorted(files)
