"""Finding the folders of a layout in what was downloaded, and pairing the images by their names."""

import itertools
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pdd_arch.errors import DataError, MissingFileError
from pdd_arch.images.names import described, folder_content, is_image_name
from pdd_arch.prepare.layouts import Layout, Part, Side
from pdd_arch.prepare.problems import Problem
from pdd_arch.utils.wording import did_you_mean, shown

_ARCHIVES = ('.zip', '.tar', '.tar.gz', '.tgz', '.rar', '.7z', '.tar.bz2')
_LEVELS = 8  # that are looked through for a hint: a published path has up to four
_MANY = 2000  # folders; a hint is not worth a walk through a whole disk
_UNLISTABLE = (
    'cannot stand in a list of images, one a line: its name begins or ends with a space, or holds a comma and a '
    'space, a line break, or bytes that are not UTF-8. Rename it.'
)


@dataclass
class FoundPart:
    """The images of a part."""

    part: Part
    #: ``hr`` and ``lr``: common name -> file; where both are there, they have the same names
    files: dict[str, dict[str, Path]]

    @property
    def names(self) -> list[str]:
        return sorted(next(iter(self.files.values()), {}))


def locate(layout: Layout, sources: Sequence[str], only: Sequence[str] = ()) -> tuple[list[FoundPart], list[Problem]]:
    """Looks for the parts of a dataset in folders and their immediate sub-folders.

    `only` has names of parts, or what these begin with; all are looked for when it is empty. Raises MissingFileError
    where a source is no folder, or `only` names no part.
    """
    roots = [Path(source).expanduser() for source in sources]
    for root in roots:
        if not root.is_dir():
            raise MissingFileError(
                'is a file; a folder is expected' if root.exists() else 'does not exist',
                where=shown(root),
                way_out=f'Name the folder that holds {layout.title}. {layout.get}.',
            )
    found, problems = [], []
    for part in _chosen(layout, only):
        one, wrong = _locate_part(layout, part, roots)
        problems += wrong
        if one:
            found.append(one)
    return found, problems + _clashes(found)


def _clashes(found: Sequence[FoundPart]) -> list[Problem]:
    """Parts that go into one folder must have different names."""
    taken: dict[tuple[str, str], Path] = {}
    problems = []
    for one in found:
        for key, side in one.part.sides.items():
            for name, path in one.files[key].items():
                other = taken.setdefault((side.out, name), path)
                if other != path:
                    text = f'has the same name as {shown(other)}, and both go into {side.out}. Rename one.'
                    problems.append(Problem('name', str(path), text))
    return problems


def _chosen(layout: Layout, only: Sequence[str]) -> list[Part]:
    parts: dict[str, Part] = {}
    for wanted in only:
        exact = [p for p in layout.parts if p.name.lower() == wanted.lower()]
        fitting = exact or [p for p in layout.parts if p.name.lower().startswith(wanted.lower())]
        if not fitting:
            names = [p.name for p in layout.parts]
            raise MissingFileError(
                f'{layout.title} has no such part',
                where=f'--only {wanted}',
                way_out=f'{did_you_mean(wanted, names)} It has {", ".join(names)}.'.strip(),
            )
        # what is named alone must be there
        parts |= {p.name: replace(p, optional=p.optional and len(fitting) > 1) for p in fitting}
    return list(parts.values() if only else layout.parts)


def _locate_part(layout: Layout, part: Part, roots: Sequence[Path]) -> tuple[FoundPart | None, list[Problem]]:
    folders = {key: folder for key, side in part.sides.items() if (folder := _find_folder(side, roots))}
    missing = [side for key, side in part.sides.items() if key not in folders]
    if missing and part.optional:
        return None, []
    if missing:
        # HR and LR may be expected in one folder
        return None, list(dict.fromkeys(_missing_folder(layout, part, side, roots) for side in missing))
    problems: list[Problem] = []
    found = FoundPart(part, {})
    fitting: set[Path] = set()
    for key, side in part.sides.items():
        found.files[key] = _named(part, side, folders[key], fitting, problems)
    expected = [side.templates[0].format('NAME') for side in part.sides.values()]
    text = f'is not named as expected ({" or ".join(expected)}) and is left out. Rename it if it belongs here.'
    others = sorted({path for folder in folders.values() for path in _images(folder)} - fitting)
    problems += [Problem('name', str(path), text, is_error=False) for path in others]
    for folder in dict.fromkeys(folders.values()):
        problems += _others(folder)
    problems += _unpaired(found, folders)
    where, count = next(iter(folders.values())), len(found.names)
    if not count and not any(p.is_error for p in problems):
        text = (
            f'no image of part {part.name} is there; files named {" and ".join(expected)} are expected.'
            f'{_inside(where)} {layout.get}.'
        )
        problems.append(Problem('missing', str(where), text))
    if count and part.published and count != part.published:
        text = f'{part.name}: {count} images (pairs) found, {part.published} published. Was all of it unpacked?'
        problems.append(Problem('count', str(where), text, is_error=False))
    return found, problems


def _find_folder(side: Side, roots: Sequence[Path]) -> Path | None:
    places = [place for root in roots for place in (root, *_subfolders(root))]
    for candidate in side.folders:
        parts = Path(candidate).parts
        # also where a source is itself a folder of the candidate's path, e.g. .../Canon for Canon/Train/4
        starts = [(place, parts) for place in places]
        for root in roots:
            tail = [name.lower() for name in root.resolve().parts]
            head = [name.lower() for name in parts]
            starts += [(root, parts[n:]) for n in range(len(parts), 0, -1) if tail[-n:] == head[:n]]
        for place, rest in starts:
            folder = _descend(place, rest)
            if folder:
                return _unwrapped(folder)
    return None


def _subfolders(folder: Path) -> list[Path]:
    try:
        # __MACOSX: what macOS adds to an archive, with a hidden file for each image
        return [folder / name for name in folder_content(folder).folders if name != '__MACOSX']
    except DataError:
        return []


def _descend(place: Path, names: Sequence[str]) -> Path | None:
    """A folder by its path, whatever the case of its letters."""
    for name in names:
        exact = place / name
        alike = [exact] if exact.is_dir() else [p for p in _subfolders(place) if p.name.lower() == name.lower()]
        if not alike:
            return None
        place = alike[0]
    return place


def _unwrapped(folder: Path) -> Path:
    """An archive unpacked into a folder of its own name gives two of them."""
    inner = folder / folder.name
    return inner if inner.is_dir() and not _images(folder) else folder


def _images(folder: Path) -> list[Path]:
    """Photographs, those of formats that are not read among them: they are errors when all are read."""
    content = folder_content(folder)
    return [folder / name for name in sorted([*content.images, *content.unread])]


def _others(folder: Path) -> Iterator[Problem]:
    if others := folder_content(folder).others:
        count = f'holds {len(others)} file{"s" * (len(others) > 1)}'
        text = f'{count} besides photographs, left out: {described([folder / name for name in others])}'
        yield Problem('name', str(folder), text, is_error=False)


def _named(part: Part, side: Side, folder: Path, fitting: set[Path], problems: list[Problem]) -> dict[str, Path]:
    """Common name -> file of one side. `fitting` grows by all files that a template fits, `problems` by errors."""
    images: dict[str, Path] = {}
    for path in _images(folder):
        name = _common_name(side, path.stem)
        if name is None:
            continue
        fitting.add(path)
        if not _is_listable(path):
            problems.append(Problem('name', str(path), _UNLISTABLE))
        if (part.chosen and name not in part.chosen) or name in part.without:
            continue
        if name in images:
            text = (
                f'has the same name {name!r} as {images[name].name}; names are expected to differ in more than the '
                'ending. Rename or remove one.'
            )
            problems.append(Problem('name', str(path), text))
        else:
            images[name] = path
    return images


def _common_name(side: Side, stem: str) -> str | None:
    for template in side.templates:
        before, after = template.split('{}')
        match = re.fullmatch(f'{re.escape(before)}(.+){re.escape(after)}', stem, re.IGNORECASE | re.DOTALL)
        if match:
            return match[1]
    return None


def _is_listable(path: Path) -> bool:
    name, stem = path.name, path.stem
    return name.strip() == name and ', ' not in name and name.isprintable() and stem == stem.rstrip()


def _unpaired(found: FoundPart, folders: Mapping[str, Path]) -> Iterator[Problem]:
    """Drops images without a partner, and says which."""
    for one, other in (('hr', 'lr'), ('lr', 'hr')) if len(found.files) == 2 else ():
        for name in sorted(set(found.files[one]) - set(found.files[other])):
            path = found.files[one].pop(name)
            expected = f'{found.part.sides[other].templates[0].format(name)}{path.suffix}'
            text = (
                f'has no {other.upper()} image: {expected} is expected in {shown(folders[other])} and not there. '
                f'Unpack it again, or remove the {one.upper()} image.'
            )
            yield Problem('pair', str(path), text)


def _missing_folder(layout: Layout, part: Part, side: Side, roots: Sequence[Path]) -> Problem:
    there = sorted({p.name for root in roots for p in _subfolders(root)})
    seen = f'found {", ".join(there[:6])}{", ..." if len(there) > 6 else ""}' if there else 'found no sub-folder'
    alternatives = f' (or {", ".join(side.folders[1:])})' if side.folders[1:] else ''
    text = (
        f'the folder {side.folders[0]}{alternatives} of part {part.name} is missing; {seen}.'
        f'{_elsewhere(side.folders, roots)} {layout.get}; or leave the part out with --only.'
    )
    return Problem('missing', ', '.join(map(str, roots)), text)


def _elsewhere(folders: Collection[str], roots: Sequence[Path]) -> str:
    """A sentence, after a space, on where a missing folder lies instead: deeper, or in an archive. Empty if nowhere."""
    wanted = [Path(folder.lower()).parts for folder in folders]
    archives = []
    for folder, files in itertools.chain.from_iterable(map(_walk, roots)):
        tail = Path(str(folder).lower()).parts
        for one in wanted:
            if tail[-len(one) :] == one:
                top = folder.parents[len(one) - 1]
                return f' There is {shown(folder)}: name {shown(top)} as a source.'
        archives += [folder / name for name in files if name.lower().endswith(_ARCHIVES)]
    return f' There is an archive, {shown(archives[0])}: unpack it.' if archives else ''


def _inside(folder: Path) -> str:
    """A sentence, after a space, that names a sub-folder with images. Empty if there is none."""
    for below, files in _walk(folder):
        if below != folder and any(is_image_name(name) and not name.startswith('.') for name in files):
            return f' There are images in {shown(below)}.'
    return ''


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders of the uppermost levels and the names of their files; links are not followed."""
    for place, folders, files in itertools.islice(os.walk(root), _MANY):
        folder = Path(place)
        folders[:] = sorted(n for n in folders if not n.startswith('.') and n != '__MACOSX')
        if len(folder.parts) - len(root.parts) >= _LEVELS:
            folders.clear()
        yield folder, sorted(files)
