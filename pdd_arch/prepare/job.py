"""A dataset from what was downloaded to what training reads."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pdd_arch.data.meta_info import parse_meta_info
from pdd_arch.prepare.journal import Journal
from pdd_arch.prepare.layouts import Layout
from pdd_arch.prepare.locate import FoundPart, locate
from pdd_arch.prepare.problems import Problem, raise_if_any, tell, write_report
from pdd_arch.prepare.sub_images import cut_sub_images, make_lmdb
from pdd_arch.prepare.verify import Facts, size_range, verify
from pdd_arch.prepare.write import (
    JOURNAL,
    MANIFEST,
    Made,
    is_in_place,
    only_run,
    require_apart,
    require_no_others,
    write_list,
    write_sets,
)
from pdd_arch.utils.atomic import write_json, writing
from pdd_arch.utils.output import say
from pdd_arch.utils.wording import shown
from pdd_arch.version import __version__


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


def prepare(layout: Layout, sources: Sequence[str], choices: Choices) -> dict[str, Any]:
    """Looks for a dataset, verifies it, and writes links, lists, and what else is chosen.

    Nothing but the journal of what was read is written unless all is well.

    Returns:
        The report, as ``--json`` has it.

    Raises:
        MissingFileError, DataError: something is missing or wrong; all of it has been written to standard output.
    """
    home = choices.out / layout.home
    found, problems = locate(layout, sources, choices.only)
    require_apart(sources, home)
    for part in found:
        for key, side in part.part.sides.items():
            if not is_in_place(part, key, choices.out):
                require_apart(sources, choices.out / side.out)
    if choices.dry_run or not found:
        return _prepare(layout, found, problems, sources, choices, Journal(None))
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
) -> dict[str, Any]:
    home, quiet = choices.out / layout.home, choices.json == '-'
    if not quiet:
        say(f'{layout.title}: {", ".join(map(shown, sources))} -> {shown(home)}')
    facts, wrong = verify(found, layout, journal, deep=not choices.quick)
    problems += wrong
    if choices.skip_bad:
        problems = _left_out(found, problems)
    sets = [_describe(part, facts) for part in found]
    report: dict[str, Any] = {'dataset': layout.title, 'home': str(home), 'sets': sets}
    report |= {'problems': [asdict(p) for p in problems], 'complete': False}
    if not quiet:
        for one in sets:
            counted = 'pairs' if one['hr'] and one['lr'] else 'images'
            say(f'  {one["name"]}: {one["count"]} {counted}; pixels (height x width): {one["sizes"]}')
        tell(problems)
    try:
        raise_if_any(problems, 'Nothing was prepared.')
        if not choices.dry_run:
            report |= {'sets': _write(layout, found, facts, journal, choices), 'complete': True}
    finally:
        if choices.json:
            write_report(choices.json, report)
    if not quiet:
        _say_end(report, choices, home)
    return report


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


def _describe(found: FoundPart, facts: dict[Path, Facts]) -> dict[str, Any]:
    part = found.part
    texts = []
    for key, images in found.files.items():
        sizes = size_range(facts[p] for p in images.values() if p in facts)
        ends = dict.fromkeys(f'{height}x{width}' for height, width in (*sizes[:1], *sizes[-1:]))
        texts.append(f'{key.upper()} {" to ".join(ends) or "nothing readable"}')
    described = {'name': part.name, 'role': part.role, 'scale': part.scale, 'count': len(found.names)}
    return {**described, 'sizes': ', '.join(texts), 'hr': bool(part.hr), 'lr': bool(part.lr)}


def _write(
    layout: Layout, found: Sequence[FoundPart], facts: dict[Path, Facts], journal: Journal, choices: Choices
) -> list[dict[str, Any]]:
    home = choices.out / layout.home
    old = _old_sets(home, {part.part.name for part in found})
    with writing(home):
        (home / MANIFEST).unlink(missing_ok=True)
    sets, folders = write_sets(found, facts, choices.out, home, journal, choices.copy)
    for folder, files in folders.items():
        for name, made in _files_of(old, home, folder).items():
            files.setdefault(name, made)
        require_no_others(folder, files.values())
    whole = choices.out / layout.cut if layout.cut else None
    if choices.sub_images and whole in folders:
        # where there are sub-images, the LMDB is of these instead
        target = whole.with_name(f'{whole.name}_sub')
        crops = folders[target] = cut_sub_images(
            folders.pop(whole), target, *choices.sub_images, journal, choices.workers
        )
        require_no_others(target, crops.values())
        # derived from other sets: `pdd check` looks at those
        one = {'name': target.name, 'role': 'train', 'scale': sets[0]['scale'], 'count': len(crops)}
        sets.append({**one, 'hr': write_list(home, target, target.name, crops), 'derived': True})
    if choices.lmdb:
        for folder, files in folders.items():
            make_lmdb(files, folder.with_name(f'{folder.name}.lmdb'), journal)
    write_json(home / MANIFEST, {'pdd_arch': __version__, 'dataset': layout.title, 'sets': [*old, *sets]})
    return sets


def _old_sets(home: Path, again: set[str]) -> list[dict[str, Any]]:
    """Sets of an earlier run that this one does not make again."""
    try:
        sets = json.loads((home / MANIFEST).read_text('utf-8'))['sets']
        return [one for one in sets if one['name'] not in again and not one.get('derived')]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _files_of(sets: Sequence[dict[str, Any]], home: Path, folder: Path) -> dict[str, Made]:
    """What earlier runs have put into a folder, by their lists."""
    files = {}
    for side in (one[key] for one in sets for key in ('hr', 'lr') if key in one):
        if os.path.normpath(home / side['folder']) == os.path.normpath(folder):
            for name, size in parse_meta_info(str(home / side['meta_info']), 'meta_info'):
                files[Path(name).stem] = Made(folder / name, Facts(*(size or (0, 0)), 3, 8))
    return files


def _say_end(report: dict[str, Any], choices: Choices, home: Path) -> None:
    if choices.dry_run:
        say('No error found; nothing was written (--dry-run).')
        return
    for one in report['sets']:
        for key in ('hr', 'lr'):
            if key in one:
                folder = os.path.normpath(home / one[key]['folder'])
                say(f'  {one["name"]} {key.upper()}: {folder} ({one["count"]} images)')
    say(f'Prepared. Look at it: pdd check {home}')
