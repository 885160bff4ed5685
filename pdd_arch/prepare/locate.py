"""Finding the folders of a layout in what was downloaded, and pairing the images by their names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pdd_arch.errors import DataError, MissingFileError
from pdd_arch.images.names import folder_content
from pdd_arch.prepare.hints import elsewhere, inside, name_problem
from pdd_arch.prepare.layouts import Layout, Part, Side
from pdd_arch.prepare.problems import Problem
from pdd_arch.utils.wording import did_you_mean, shown


@dataclass
class FoundPart:
    """Images of a part.

    Attributes:
        files: ``hr`` and ``lr``: common name -> file; where both sides are there, both have the same names.
    """

    part: Part
    files: dict[str, dict[str, Path]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return sorted(next(iter(self.files.values()), {}))

    def drop(self, name: str) -> None:
        """Leaves out an image, or a pair."""
        for images in self.files.values():
            images.pop(name, None)


def locate(layout: Layout, sources: Sequence[str], only: Sequence[str] = ()) -> tuple[list[FoundPart], list[Problem]]:
    """Looks for the parts of a dataset.

    Args:
        layout: what to look for.
        sources: folders to look in, and in their immediate sub-folders.
        only: names of parts, or what they begin with; all when empty.

    Raises:
        MissingFileError: a source is no folder, or `only` names no part.
    """
    roots = [Path(source).expanduser() for source in sources]
    for root in roots:
        if not root.is_dir():
            raise MissingFileError(
                'is a file; a folder is expected' if root.exists() else 'does not exist',
                where=shown(root),
                way_out=f'Name the folder that holds {layout.title}. {layout.get}.',
            )
    parts = _chosen(layout, only)
    found, problems = [], []
    for part in parts:
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
    parts = []
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
        parts += [p for p in fitting if p not in parts]
    return parts or list(layout.parts)


def _locate_part(layout: Layout, part: Part, roots: Sequence[Path]) -> tuple[FoundPart | None, list[Problem]]:
    places = {key: _find_folder(side, roots) for key, side in part.sides.items()}
    folders = {key: folder for key, folder in places.items() if folder}
    missing = [key for key in places if key not in folders]
    if missing:
        if part.optional:
            return None, []
        # HR and LR may be expected in one folder
        return None, list(dict.fromkeys(_missing_folder(layout, part, key, roots) for key in missing))
    problems: list[Problem] = []
    found = FoundPart(part)
    taken: set[Path] = set()
    for key, side in part.sides.items():
        found.files[key], wrong = _named(part, side, folders[key], taken)
        problems += wrong
    problems += _unknown(part, set(folders.values()), taken)
    problems += _unpaired(part, found, folders)
    if not found.names and not any(p.is_error for p in problems):
        problems.append(_empty(layout, part, folders))
    published = part.published
    if found.names and published and len(found.names) != published:
        text = f'{part.name}: {len(found.names)} images (pairs) found, {published} published. Was all of it unpacked?'
        problems.append(Problem('count', str(next(iter(folders.values()))), text, is_error=False))
    return found, problems


def _find_folder(side: Side, roots: Sequence[Path]) -> Path | None:
    places = [place for root in roots for place in (root, *_subfolders(root))]
    for candidate in side.folders:
        parts = Path(candidate).parts
        # also where a source is itself a folder of the candidate's path, e.g. .../Canon for Canon/Train/4
        starts = [(place, parts) for place in places]
        for root in roots:
            tail = [name.lower() for name in root.resolve().parts]
            starts += [
                (root, parts[n:]) for n in range(len(parts), 0, -1) if tail[-n:] == [p.lower() for p in parts[:n]]
            ]
        for place, rest in starts:
            folder = _descend(place, rest)
            if folder is not None:
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
        below = place / name
        if not below.is_dir():
            alike = [p for p in _subfolders(place) if p.name.lower() == name.lower()]
            if not alike:
                return None
            below = alike[0]
        place = below
    return place


def _unwrapped(folder: Path) -> Path:
    """An archive unpacked into a folder of its own name gives two of them."""
    inner = folder / folder.name
    return inner if inner.is_dir() and not _images(folder) else folder


def _images(folder: Path) -> list[Path]:
    return [folder / name for name in folder_content(folder).images]


def _named(part: Part, side: Side, folder: Path, taken: set[Path]) -> tuple[dict[str, Path], list[Problem]]:
    """Common name -> file of one side. `taken` grows by what a template fits, wanted in this part or not."""
    images: dict[str, Path] = {}
    problems = []
    for path in _images(folder):
        name = _common_name(side, path.stem)
        if name is None:
            continue
        taken.add(path)
        unlistable = name_problem(path.name)
        if unlistable:
            problems.append(Problem('name', str(path), unlistable))
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
    return images, problems


def _common_name(side: Side, stem: str) -> str | None:
    for template in side.templates:
        before, after = template.split('{}')
        match = re.fullmatch(f'{re.escape(before)}(.+){re.escape(after)}', stem, re.IGNORECASE | re.DOTALL)
        if match:
            return match[1]
    return None


def _unknown(part: Part, folders: set[Path], taken: set[Path]) -> list[Problem]:
    names = ' or '.join(f'{side.templates[0].format("NAME")}' for side in part.sides.values())
    text = f'is not named as expected ({names}) and is left out. Rename it if it belongs here.'
    others = sorted(path for folder in folders for path in _images(folder) if path not in taken)
    return [Problem('name', str(path), text, is_error=False) for path in others]


def _unpaired(part: Part, found: FoundPart, folders: dict[str, Path]) -> list[Problem]:
    if len(found.files) < 2:
        return []
    problems = []
    for one, other in (('hr', 'lr'), ('lr', 'hr')):
        template = part.sides[other].templates[0]
        for name in sorted(set(found.files[one]) - set(found.files[other])):
            path = found.files[one].pop(name)
            expected = f'{template.format(name)}{path.suffix}'
            text = (
                f'has no {other.upper()} image: {expected} is expected in {shown(folders[other])} and not there. '
                f'Unpack it again, or remove the {one.upper()} image.'
            )
            problems.append(Problem('pair', str(path), text))
    return problems


def _missing_folder(layout: Layout, part: Part, key: str, roots: Sequence[Path]) -> Problem:
    side = part.sides[key]
    there = sorted({p.name for root in roots for p in _subfolders(root)})
    seen = f'found {", ".join(there[:6])}{", ..." if len(there) > 6 else ""}' if there else 'found no sub-folder'
    alternatives = f' (or {", ".join(side.folders[1:])})' if side.folders[1:] else ''
    text = (
        f'the folder {side.folders[0]}{alternatives} of part {part.name} is missing; {seen}.'
        f'{elsewhere(side.folders, roots)} {layout.get}; or leave the part out with --only.'
    )
    return Problem('missing', ', '.join(map(str, roots)), text)


def _empty(layout: Layout, part: Part, folders: dict[str, Path]) -> Problem:
    names = ' and '.join(side.templates[0].format('NAME') for side in part.sides.values())
    folder = next(iter(folders.values()))
    text = f'no image of part {part.name} is there; files named {names} are expected.{inside(folder)} {layout.get}.'
    return Problem('missing', str(folder), text)
