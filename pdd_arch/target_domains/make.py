"""Writing a target domain with its ground truth."""

import contextlib
import json
import random
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pdd_arch.degradations.domains import DOMAINS
from pdd_arch.errors import DataError, MissingFileError, OptionError
from pdd_arch.images.decoding import check_image_file, read_image
from pdd_arch.images.names import is_image_name
from pdd_arch.prepare.verify import Facts, Journal
from pdd_arch.prepare.write import (
    JOURNAL,
    MANIFEST,
    encode_png,
    only_run,
    require_apart,
    require_no_others,
    write_lists,
    write_manifest,
)
from pdd_arch.utils.atomic import whole_file, writing
from pdd_arch.utils.progress import progress
from pdd_arch.utils.wording import did_you_mean, one_of, shown
from pdd_arch.version import __version__

DECLARATION = 'domain.json'
#: folders that a photograph of a part is written to
FOLDERS = {'hr': ('hr',), 'target': ('train_lr',), 'test': ('test_hr', 'test_lr')}


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


def make_domain(name: str, photographs: Path, out: Path, scale: int = 4, test: int = 12, seed: int = 0) -> dict:
    """Write ``hr``, ``train_lr``, ``test_lr``, ``test_hr``, lists of them and ``domain.json`` below `out`.

    Images that were made of the same file are not made again; each has random numbers of its own, by name, so that a
    run that was interrupted ends with the same files. The description that `pdd check` reads is written last.

    Args:
        name: a key of ``DOMAINS``.
        photographs: folder of HR photographs, at least 3 * `test` of them; not changed.
        out: written to; created.
        scale: of super-resolution. Sides are cut to multiples of it.
        test: number of test pairs, at least 1.
        seed: of the split and the degradation.

    Returns:
        What ``domain.json`` holds.

    Raises:
        OptionError: unknown domain, or too few photographs for the split.
        MissingFileError: no such folder.
        DataError: a photograph cannot be read, is too small or not to be told from another by its name; `out` holds
            another domain or other files, lies in the source, or cannot be written.
    """
    if name not in DOMAINS:
        raise OptionError(f'target domain {name!r}: unknown, expected {one_of(DOMAINS)}.{did_you_mean(name, DOMAINS)}')
    if test < 1:
        raise OptionError(f'{test} test pairs: expected at least 1. Raise --test.')
    files = _photographs(photographs, scale, 3 * test)
    require_apart([str(photographs)], out)
    parts = split(files, test, seed)
    declaration = {
        'domain': name,
        'operations': DOMAINS[name].declaration(),
        'scale': scale,
        'seed': seed,
        'images': {part: [f.name for f in chosen] for part, chosen in parts.items()},
    }
    declaration = json.loads(json.dumps(declaration))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with only_run(out):
        _declare(out, declaration)
        _make(name, parts, out, scale, seed)
    return declaration


def _photographs(folder: Path, scale: int, least: int) -> list[Path]:
    """All photographs of a folder, of which each can be told by its name and is large enough."""
    if not folder.is_dir():
        raise MissingFileError(f'{shown(folder)}: no such folder; expected one with HR photographs')
    try:
        files = sorted(f for f in folder.iterdir() if is_image_name(f.name) and not f.name.startswith('.'))
    except OSError as error:
        raise DataError(f'{shown(folder)}: cannot be read ({error.strerror}). Correct its permissions.') from None
    files = [f for f in files if not f.is_dir()]
    if len(files) < least:
        raise OptionError(
            f'{shown(folder)}: {len(files)} photographs, expected at least {least} for {least // 3} test pairs. Add '
            'photographs or lower --test.'
        )
    seen: dict[str, Path] = {}
    for file in files:
        other = seen.setdefault(file.stem, file)
        if other != file:
            raise DataError(
                f'{shown(file)}: has the name of {shown(other)} but for the ending, and both would become '
                f'{shown(file.stem)}.png. Rename or remove one.'
            )
        size = check_image_file(file)
        if min(size) < scale:
            raise DataError(
                f'{shown(file)}: is {size[0]}x{size[1]} pixels (height x width); at least {scale}x{scale} are expected '
                f'at scale {scale}. Remove it.'
            )
    return files


def _declare(out: Path, declaration: dict) -> None:
    """Writes ``domain.json``, or finds the same one."""
    file = out / DECLARATION
    with contextlib.suppress(FileNotFoundError):
        try:
            known = json.loads(file.read_text(encoding='utf-8'))
        except (ValueError, OSError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise DataError(f'{shown(file)}: cannot be read as JSON ({error}). Remove {shown(out)}.') from None
        if known != declaration:
            raise DataError(
                f'{shown(file)}: another domain, scale, seed or set of photographs was made here. Choose another '
                'folder.'
            )
        return
    with writing(file), whole_file(file) as partial:
        partial.write_text(json.dumps(declaration, indent=1) + '\n', encoding='utf-8')


def _make(name: str, parts: dict[str, list[Path]], out: Path, scale: int, seed: int) -> None:
    """Images, lists and, when all of them are there, their description."""
    journal = Journal(out / JOURNAL)
    with writing(out):
        (out / MANIFEST).unlink(missing_ok=True)
        for folder in (f for folders in FOLDERS.values() for f in folders):
            (out / folder).mkdir(exist_ok=True)
    made: dict[str, dict[str, Path]] = {folder: {} for folders in FOLDERS.values() for folder in folders}
    sizes: dict[str, Facts] = {}
    todo = [(part, photograph) for part, chosen in parts.items() for photograph in chosen]
    for part, photograph in progress(todo, len(todo), name):
        paths = {folder: out / folder / f'{photograph.stem}.png' for folder in FOLDERS[part]}
        sizes[photograph.stem] = Facts(*_write(name, photograph, paths, scale, seed, journal), 3, 8)
        for folder, path in paths.items():
            made[folder][photograph.stem] = path
    sets = []
    for part, folders in FOLDERS.items():
        role = 'test' if part == 'test' else 'train'
        one: dict = {'name': folders[0] if role == 'train' else part, 'role': role, 'scale': scale}
        one['count'] = len(parts[part])
        for folder in folders:
            require_no_others(out / folder, set(made[folder].values()))
            key = 'lr' if folder.endswith('_lr') else 'hr'
            facts = {s: _reduced(sizes[s], scale if key == 'lr' else 1) for s in made[folder]}
            listed = write_lists(out, folder, made[folder], facts, ())
            one[key] = {'folder': folder, 'meta_info': str(listed.relative_to(out))}
        sets.append(one)
    write_manifest(out, {'pdd_arch': __version__, 'dataset': f'target domain {name}', 'sets': sets})


def _reduced(facts: Facts, factor: int) -> Facts:
    return Facts(facts.height // factor, facts.width // factor, facts.channels, facts.bits)


def _write(
    name: str, photograph: Path, paths: dict[str, Path], scale: int, seed: int, journal: Journal
) -> tuple[int, int]:
    """Makes the images of a photograph that are not there. Returns (height, width) of its HR image."""
    entry = journal.get(f'made {photograph.name}', photograph)
    if entry and all(p.is_file() and p.stat().st_size == entry['bytes'].get(f) for f, p in paths.items()):
        return tuple(entry['size'])
    image = read_image(photograph)
    height, width = (n - n % scale for n in image.shape[:2])
    hr = image[:height, :width]
    written = {}
    for folder, path in paths.items():
        made = DOMAINS[name](hr, scale, _seed(photograph.name, seed)) if folder.endswith('_lr') else hr
        content = encode_png(np.round(made * 255).astype(np.uint8))
        with writing(path), whole_file(path) as partial:
            partial.write_bytes(content)
        written[folder] = len(content)
    journal.put(f'made {photograph.name}', photograph, bytes=written, size=[height, width])
    return height, width


def _seed(name: str, seed: int) -> int:
    """Of an image: by its name, so that other images do not matter."""
    return zlib.crc32(f'{seed} {name}'.encode())
