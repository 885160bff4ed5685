"""A dataset from what was downloaded to what training reads."""

import contextlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
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
    """How to prepare; the attributes are those of the command line."""

    out: Path
    only: tuple[str, ...] = ()
    copy: bool = False
    quick: bool = False
    skip_bad: bool = False
    dry_run: bool = False
    sub_images: tuple[int, int] | None = None  # size and step
    lmdb: bool = False
    workers: int = 4
    json: str | None = None  # a file, or - for standard output


def prepare(layout: Layout, sources: Sequence[str], choices: Choices) -> None:
    """Looks for a dataset, verifies it, and writes links, lists, and what else is chosen.

    Nothing but the journal of what was read is written unless all is well. Raises MissingFileError or DataError where
    something is missing or wrong; all of it has been written to standard output.
    """
    home, quiet = choices.out / layout.home, choices.json == '-'
    found, problems = locate(layout, sources, choices.only)
    require_apart(sources, home)
    for part in found:
        for key, side in part.part.sides.items():
            if not is_in_place(part, key, choices.out):
                require_apart(sources, choices.out / side.out)
    writes = found and not choices.dry_run
    with only_run(home) if writes else contextlib.nullcontext(Journal(None)) as journal:
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
        _say_end(report, home)


def _left_out(found: Sequence[FoundPart], problems: Sequence[Problem]) -> list[Problem]:
    """Drops images with errors; their errors become notes. What is missing stays an error."""
    kept, bad = [], set()
    for problem in problems:
        if problem.is_error and problem.kind != 'missing':
            bad.add(problem.where)
            problem = replace(problem, is_error=False, text=f'{problem.text} Left out.')
        kept.append(problem)
    for part in found:
        names = {name for images in part.files.values() for name, path in images.items() if str(path) in bad}
        for images, name in itertools.product(part.files.values(), names):
            images.pop(name, None)
        if not part.names:
            folder = next(iter(part.part.sides.values())).folders[0]
            text = f'no image of part {part.part.name} is left. Mend the errors above.'
            kept.append(Problem('missing', folder, text))
    return kept


def _describe(found: FoundPart, facts: dict[Path, Facts]) -> dict[str, Any]:
    part = found.part
    texts = []
    for key, images in found.files.items():
        sizes = size_range(facts[p] for p in images.values() if p in facts)
        ends = dict.fromkeys(f'{height}x{width}' for height, width in (*sizes[:1], *sizes[-1:]))
        texts.append(f'{key.upper()} {" to ".join(ends) or "nothing readable"}')
    described = {'name': part.name, 'role': part.role, 'scale': part.scale, 'count': len(found.names)}
    return {**described, 'sizes': ', '.join(texts), 'hr': 'hr' in part.sides, 'lr': 'lr' in part.sides}


def _write(
    layout: Layout, found: Sequence[FoundPart], facts: dict[Path, Facts], journal: Journal, choices: Choices
) -> list[dict[str, Any]]:
    home = choices.out / layout.home
    old = _old_sets(home, {part.part.name for part in found})
    with writing(home):
        (home / MANIFEST).unlink(missing_ok=True)
    sets, folders = write_sets(found, facts, choices.out, home, journal, choices.copy)
    for folder, files in folders.items():
        files.update(_files_of(old, home, folder) | files)
        require_no_others(folder, files.values())
    whole = choices.out / layout.cut
    if choices.sub_images and whole in folders:
        # where there are sub-images, the LMDB is of these instead
        target = whole.with_name(f'{whole.name}_sub')
        crops = cut_sub_images(folders.pop(whole), target, *choices.sub_images, journal, choices.workers)
        folders[target] = crops
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


def _say_end(report: Mapping[str, Any], home: Path) -> None:
    if not report['complete']:
        say('No error found; nothing was written (--dry-run).')
        return
    for one in report['sets']:
        for key in ('hr', 'lr'):
            if key in one:
                folder = os.path.normpath(home / one[key]['folder'])
                say(f'  {one["name"]} {key.upper()}: {folder} ({one["count"]} images)')
    say(f'Prepared. Look at it: pdd check {home}')
