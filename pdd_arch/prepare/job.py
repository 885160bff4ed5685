"""A dataset from what was downloaded to what training reads."""

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pdd_arch.data.meta_info import parse_meta_info
from pdd_arch.prepare.layouts import Layout
from pdd_arch.prepare.locate import FoundPart, locate
from pdd_arch.prepare.problems import Problem, problems_as_json, raise_if_any, say, tell, write_json
from pdd_arch.prepare.sub_images import cut_sub_images, make_lmdb
from pdd_arch.prepare.verify import Facts, Journal, verify
from pdd_arch.prepare.write import (
    JOURNAL,
    MANIFEST,
    is_in_place,
    make_images,
    only_run,
    require_apart,
    require_no_others,
    write_lists,
    write_manifest,
)
from pdd_arch.utils.atomic import writing
from pdd_arch.utils.wording import shown
from pdd_arch.version import __version__

__all__ = ['Choices', 'prepare']


@dataclass(frozen=True)
class Choices:
    """How to prepare.

    Attributes:
        out: folder of datasets; the layout's home goes below it.
        only: parts; all when empty.
        copy: copies instead of links.
        quick: look at headers only.
        skip_bad: leave out images with errors instead of stopping.
        dry_run: write nothing.
        sub_images: (size, step) of crops, or None.
        lmdb: also make LMDBs.
        workers: threads that cut sub-images.
        json: file for the report, ``-`` for standard output, or None.
    """

    out: Path
    only: tuple[str, ...] = ()
    copy: bool = False
    quick: bool = False
    skip_bad: bool = False
    dry_run: bool = False
    sub_images: tuple[int, int] | None = None
    lmdb: bool = False
    workers: int = 4
    json: str | None = None


def prepare(layout: Layout, sources: Sequence[str], choices: Choices) -> dict:
    """Looks for a dataset, verifies it, and writes links, lists, and what else is chosen.

    Nothing but the journal of what was read is written unless all is well.

    Returns:
        The report, as ``--json`` has it.

    Raises:
        MissingFileError, DataError: something is missing or wrong; all of it has been written to standard output.
    """
    home = choices.out / layout.home
    found, problems = locate(layout, sources, choices.only)
    _require_apart(found, sources, choices.out, home)
    if choices.dry_run or not found:
        return _prepare(layout, found, problems, sources, choices, Journal(None))
    with writing(home):
        home.mkdir(parents=True, exist_ok=True)
    with only_run(home):
        with writing(home):
            (home / JOURNAL).touch()
        return _prepare(layout, found, problems, sources, choices, Journal(home / JOURNAL))


def _prepare(
    layout: Layout,
    found: list[FoundPart],
    problems: list[Problem],
    sources: Sequence[str],
    choices: Choices,
    journal: Journal,
) -> dict:
    home, quiet = choices.out / layout.home, choices.json == '-'
    if not quiet:
        say(f'{layout.title}: {", ".join(map(shown, sources))} -> {shown(home)}')
    facts, wrong = verify(found, layout, journal, deep=not choices.quick)
    problems += wrong
    if choices.skip_bad:
        problems = _left_out(found, problems)
    sets = [_describe(part, facts) for part in found]
    report = {'dataset': layout.title, 'home': str(home), 'sets': sets, 'problems': problems_as_json(problems)}
    report['complete'] = False
    if not quiet:
        for one in sets:
            counted = 'pairs' if one['hr'] and one['lr'] else 'images'
            say(f'  {one["name"]}: {one["count"]} {counted}; pixels (height x width): {one["sizes"]}')
        tell(problems)
    try:
        raise_if_any(problems, 'Nothing was prepared.')
        if not choices.dry_run:
            report['sets'] = _write(layout, found, facts, journal, choices, home)
            report['complete'] = True
    finally:
        if choices.json:
            write_json(choices.json, report)
    if not quiet:
        _say_end(report, choices, home)
    return report


def _require_apart(found: Sequence[FoundPart], sources: Sequence[str], out: Path, home: Path) -> None:
    require_apart(sources, home)
    for part in found:
        for key, side in part.part.sides.items():
            if not is_in_place(part, key, out):
                require_apart(sources, out / side.out)


def _left_out(found: Sequence[FoundPart], problems: Sequence[Problem]) -> list[Problem]:
    """Drops images with errors; their errors become notes. What is missing stays an error."""
    owners: dict[str, list[tuple[FoundPart, str]]] = {}
    for part in found:
        for images in part.files.values():
            for name, path in images.items():
                owners.setdefault(str(path), []).append((part, name))
    kept = []
    for problem in problems:
        if problem.is_error and problem.kind != 'missing':
            for part, name in owners.get(problem.where, ()):
                part.drop(name)
            problem = replace(problem, is_error=False, text=f'{problem.text} Left out.')
        kept.append(problem)
    for part in found:
        if not part.names:
            folder = next(iter(part.part.sides.values())).folders[0]
            kept.append(
                Problem('missing', folder, f'no image of part {part.part.name} is left. Mend the errors above.')
            )
    return kept


def _describe(found: FoundPart, facts: dict[Path, Facts]) -> dict:
    part = found.part
    texts = []
    for key, images in found.files.items():
        sizes = {facts[p].size for p in images.values() if p in facts}
        sizes = sorted(sizes, key=lambda size: (size[0] * size[1], size))
        ends = dict.fromkeys(f'{height}x{width}' for height, width in (*sizes[:1], *sizes[-1:]))
        texts.append(f'{key.upper()} {" to ".join(ends) or "nothing readable"}')
    text = ', '.join(texts)
    described = {'name': part.name, 'role': part.role, 'scale': part.scale, 'count': len(found.names), 'sizes': text}
    return {**described, 'hr': bool(part.hr), 'lr': bool(part.lr)}


def _write(
    layout: Layout, found: Sequence[FoundPart], facts: dict[Path, Facts], journal: Journal, choices: Choices, home: Path
) -> list[dict]:
    old = _old_sets(home, {part.part.name for part in found})
    with writing(home), contextlib.suppress(FileNotFoundError):
        (home / MANIFEST).unlink()
    folders: dict[Path, dict[str, Path]] = {}
    known: dict[Path, dict[str, Facts]] = {}
    sets = []
    for part in found:
        one: dict = {'name': part.part.name, 'role': part.part.role, 'scale': part.part.scale, 'count': len(part.names)}
        for key, files in make_images(part, choices.out, journal, choices.copy).items():
            side = part.part.sides[key]
            sizes = {name: _facts_made(facts[part.files[key][name]], side.convert, part.part.scale) for name in files}
            list_name = f'{part.part.name}_{key.upper()}' if len(part.files) > 1 else part.part.name
            listed = write_lists(home, list_name, files, sizes, part.part.groups)
            folder = choices.out / side.out
            if not is_in_place(part, key, choices.out):
                folders.setdefault(folder, {}).update(files)
                known.setdefault(folder, {}).update(sizes)
            one[key] = {'folder': os.path.relpath(folder, home), 'meta_info': os.path.relpath(listed, home)}
        sets.append(one)
    for folder, files in folders.items():
        for name, (path, size) in _files_of(old, home, folder).items():
            files.setdefault(name, path)
            known[folder].setdefault(name, size)
        require_no_others(folder, set(files.values()))
    if choices.sub_images and layout.cut and choices.out / layout.cut in folders:
        _cut(choices.out / layout.cut, folders, known, journal, choices, home, sets)
    if choices.lmdb:
        for folder, files in folders.items():
            make_lmdb(files, known[folder], folder.with_name(f'{folder.name}.lmdb'), journal)
    write_manifest(home, {'pdd_arch': __version__, 'dataset': layout.title, 'sets': [*old, *sets]})
    return sets


def _facts_made(facts: Facts, convert: str, scale: int) -> Facts:
    if not convert:
        return facts
    divisor = scale if convert == 'reduce' else 1
    height, width = ((n - n % scale) // divisor for n in facts.size)
    return Facts(height, width, 3, facts.bits)


def _cut(
    folder: Path,
    folders: dict[Path, dict[str, Path]],
    known: dict[Path, dict[str, Facts]],
    journal: Journal,
    choices: Choices,
    home: Path,
    sets: list[dict],
) -> None:
    """Sub-images of a folder; where there are any, its LMDB is of these instead."""
    target = folder.with_name(f'{folder.name}_sub')
    crops = cut_sub_images(folders[folder], target, *choices.sub_images, journal, choices.workers)
    bits = {name: facts.bits for name, facts in known[folder].items()}
    files = {name: path for name, (path, _) in crops.items()}
    sizes = {name: Facts(*size, 3, bits[name.rsplit('_s', 1)[0]]) for name, (_, size) in crops.items()}
    listed = write_lists(home, target.name, files, sizes, ())
    require_no_others(target, set(files.values()))
    del folders[folder], known[folder]
    folders[target], known[target] = files, sizes
    scale = sets[0]['scale']
    side = {'folder': os.path.relpath(target, home), 'meta_info': os.path.relpath(listed, home)}
    # derived from other sets: `pdd check` looks at those
    sets.append(
        {'name': target.name, 'role': 'train', 'scale': scale, 'count': len(files), 'hr': side, 'derived': True}
    )


def _old_sets(home: Path, again: set[str]) -> list[dict]:
    """Sets of an earlier run that this one does not make again."""
    try:
        sets = json.loads((home / MANIFEST).read_text('utf-8'))['sets']
        return [one for one in sets if one['name'] not in again and not one.get('derived')]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _files_of(sets: Sequence[dict], home: Path, folder: Path) -> dict[str, tuple[Path, Facts]]:
    """What earlier runs have put into a folder, by their lists."""
    files = {}
    for side in (one[key] for one in sets for key in ('hr', 'lr') if key in one):
        if os.path.normpath(home / side['folder']) == os.path.normpath(folder):
            for name, size in parse_meta_info(str(home / side['meta_info']), 'meta_info'):
                files[Path(name).stem] = (folder / name, Facts(*(size or (0, 0)), 3, 8))
    return files


def _say_end(report: dict, choices: Choices, home: Path) -> None:
    if choices.dry_run:
        say('No error found; nothing was written (--dry-run).')
        return
    for one in report['sets']:
        for key in ('hr', 'lr'):
            if key in one:
                folder = os.path.normpath(home / one[key]['folder'])
                say(f'  {one["name"]} {key.upper()}: {folder} ({one["count"]} images)')
    say(f'Prepared. Look at it: pdd check {home}')
