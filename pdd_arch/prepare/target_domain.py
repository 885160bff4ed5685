"""Making a target domain with its ground truth out of HR photographs."""

import json
import random
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pdd_arch.degradations.domains import DOMAINS
from pdd_arch.degradations.operations import to_8_bit
from pdd_arch.errors import DataError, OptionError
from pdd_arch.images.decoding import to_float32
from pdd_arch.prepare.journal import Journal
from pdd_arch.prepare.layouts import Conversion, Layout, Part, Side
from pdd_arch.prepare.locate import FoundPart, locate
from pdd_arch.prepare.problems import Problem, raise_if_any, tell
from pdd_arch.prepare.verify import Facts, verify
from pdd_arch.prepare.write import MANIFEST, only_run, require_apart, require_no_others, write_sets
from pdd_arch.utils.atomic import write_json, writing
from pdd_arch.utils.files import read_json
from pdd_arch.utils.wording import did_you_mean, one_of, shown
from pdd_arch.version import __version__

DECLARATION = 'domain.json'


def split(files: Sequence[Path], test: int, seed: int) -> dict[str, list[Path]]:
    """HR source, target domain and test: no photograph is in two of them.

    Every n-th photograph (by name) is for the test; one half of the others, shuffled, is the HR source, the other half
    is degraded.
    """
    step = max(1, len(files) // test)
    tested = list(files[::step])[:test]
    rest = [f for f in files if f not in set(tested)]
    random.Random(seed).shuffle(rest)
    half = len(rest) // 2
    return {'hr': sorted(rest[:half]), 'target': sorted(rest[half:]), 'test': tested}


def make_domain(
    name: str, photographs: Path, out: Path, scale: int = 4, test: int = 12, seed: int = 0
) -> dict[str, Any]:
    """Writes ``hr``, ``train_lr``, ``test_lr``, ``test_hr``, their lists and ``domain.json``; returns what that holds.

    The sides of the photographs are cut to multiples of `scale`. Images that were made of the same file are not made
    again; each has random numbers of its own, by name, so that a run that was interrupted ends with the same files. The
    description that `pdd check` reads is written last. At least 3 photographs are needed for each of the `test` test
    pairs. Raises OptionError, MissingFileError and DataError.
    """
    if name not in DOMAINS:
        raise OptionError(
            f'unknown target domain {name!r}',
            where='--domain',
            expected=one_of(DOMAINS),
            way_out=did_you_mean(name, DOMAINS),
        )
    if test < 1:
        raise OptionError(where='--test', expected='at least 1 test pair', found=str(test))
    facts = _photographs(photographs, scale, 3 * test)
    require_apart([str(photographs)], out)
    parts = split(list(facts), test, seed)
    declared = {
        'domain': name,
        'operations': DOMAINS[name].declaration(),
        'scale': scale,
        'seed': seed,
        'images': {part: [f.name for f in chosen] for part, chosen in parts.items()},
    }
    declaration = json.loads(json.dumps(declared))  # as it is read again

    def degraded(image: np.ndarray, file: str) -> np.ndarray:
        # by the name, so that other images do not matter
        return to_8_bit(DOMAINS[name](to_float32(image), scale, zlib.crc32(f'{seed} {file}'.encode())))

    hr = Conversion('8 bits', lambda image, _: to_8_bit(to_float32(image)))
    lr = Conversion(f'{name}, seed {seed}', degraded, scale)

    def side(folder: str, how: Conversion) -> Side:
        return Side((), (), folder, how, list_name=folder)

    layout = (
        (Part('hr', 'train', scale, {'hr': side('hr', hr)}), parts['hr']),
        (Part('train_lr', 'train', scale, {'lr': side('train_lr', lr)}), parts['target']),
        (Part('test', 'test', scale, {'hr': side('test_hr', hr), 'lr': side('test_lr', lr)}), parts['test']),
    )
    found = [FoundPart(part, {key: {f.stem: f for f in files} for key in part.sides}) for part, files in layout]
    with only_run(out) as journal:
        _declare(out, declaration)
        with writing(out):
            (out / MANIFEST).unlink(missing_ok=True)
        sets, folders = write_sets(found, facts, out, out, journal)
        for folder, made in folders.items():
            require_no_others(folder, made.values())
        write_json(out / MANIFEST, {'pdd_arch': __version__, 'dataset': f'target domain {name}', 'sets': sets})
    return declaration


def _photographs(folder: Path, scale: int, least: int) -> dict[Path, Facts]:
    """All photographs of a folder, each of which can be read, has a name of its own and is large enough."""
    part = Part('photographs', 'train', scale, {'hr': Side(('.',), ('{}',), 'hr')})
    layout = Layout('the HR photographs', '', (part,), 'Correct the name of the folder', None)
    found, problems = locate(layout, [str(folder)])
    facts, wrong = verify(found, layout, Journal(None), deep=False)
    problems += wrong
    for file, one in facts.items():
        if min(one.size) < scale:
            expected = f'at least {scale}x{scale} are expected at scale {scale}'
            text = f'is {one.height}x{one.width} pixels (height x width); {expected}. Remove it.'
            problems.append(Problem('scale', str(file), text))
    raise_if_any(problems, '')
    tell(problems)
    if len(facts) < least:
        raise OptionError(
            f'{len(facts)} photographs',
            where=shown(folder),
            expected=f'at least {least} for {least // 3} test pairs',
            way_out='Add photographs or lower --test.',
        )
    return {file: Facts(*one.size, 3, 8) for file, one in sorted(facts.items())}


def _declare(out: Path, declaration: dict[str, Any]) -> None:
    """Writes ``domain.json``, or finds the same one."""
    file = out / DECLARATION
    if not file.exists():
        write_json(file, declaration)
        return
    known = read_json(file, f'Remove {shown(out)}.')
    if known != declaration:
        raise DataError(
            'another domain, scale, seed or set of photographs was made here',
            where=shown(file),
            way_out='Choose another folder.',
        )
