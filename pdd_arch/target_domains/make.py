"""Writing a target domain with its ground truth."""

import json
import random
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from pdd_arch.data.image_io import read_image
from pdd_arch.data.meta_info import is_image_name
from pdd_arch.errors import DataError, MissingFileError, OptionError
from pdd_arch.target_domains.degradations import DOMAINS
from pdd_arch.utils.atomic import whole_file, writing
from pdd_arch.utils.suggest import did_you_mean, one_of

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


def make_domain(name: str, photographs: Path, out: Path, scale: int = 4, test: int = 12, seed: int = 0) -> dict:
    """Write ``hr``, ``train_lr``, ``test_lr``, ``test_hr`` and ``domain.json`` below `out`.

    Images that are there already are not made again; each has random numbers of its own, by name, so that a run that
    was interrupted ends with the same files.

    Args:
        name: a key of ``DOMAINS``.
        photographs: folder of HR photographs, at least 3 * `test` of them; not changed.
        out: written to; created.
        scale: of super-resolution. Sides are cut to multiples of it.
        test: number of test pairs.
        seed: of the split and the degradation.

    Returns:
        What ``domain.json`` holds.

    Raises:
        OptionError: unknown domain, or too few photographs for the split.
        MissingFileError: no such folder.
        DataError: a photograph cannot be read, or `out` holds another domain.
    """
    if name not in DOMAINS:
        raise OptionError(f'target domain {name!r}: unknown, expected {one_of(DOMAINS)}.{did_you_mean(name, DOMAINS)}')
    if not photographs.is_dir():
        raise MissingFileError(f'{photographs}: no such folder; expected one with HR photographs')
    files = sorted(f for f in photographs.iterdir() if is_image_name(f.name))
    if len(files) < 3 * test:
        raise OptionError(
            f'{photographs}: {len(files)} photographs, expected at least {3 * test} for {test} test pairs. Add '
            'photographs or lower --test.'
        )
    parts = split(files, test, seed)
    declaration = {
        'domain': name,
        'operations': DOMAINS[name].declaration(),
        'scale': scale,
        'seed': seed,
        'images': {part: [f.name for f in chosen] for part, chosen in parts.items()},
    }
    declaration = json.loads(json.dumps(declaration))
    file = out / DECLARATION
    if file.exists() and json.loads(file.read_text(encoding='utf-8')) != declaration:
        raise DataError(
            f'{file}: another domain, scale, seed or set of photographs was made here. Choose another folder.'
        )
    for folder in ('hr', 'train_lr', 'test_lr', 'test_hr'):
        (out / folder).mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(declaration, indent=1) + '\n', encoding='utf-8')
    for photograph in tqdm(files, desc=name, unit='image', disable=None):
        _write(name, photograph, parts, out, scale, seed)
    return declaration


def _write(name: str, photograph: Path, parts: dict, out: Path, scale: int, seed: int) -> None:
    part = next(p for p, chosen in parts.items() if photograph in chosen)
    folders = {'hr': ['hr'], 'target': ['train_lr'], 'test': ['test_hr', 'test_lr']}[part]
    paths = {folder: out / folder / f'{photograph.stem}.png' for folder in folders}
    if all(path.exists() for path in paths.values()):
        return
    image = read_image(photograph)
    height, width = (n - n % scale for n in image.shape[:2])
    hr = image[:height, :width]
    for folder, path in paths.items():
        made = DOMAINS[name](hr, scale, _seed(photograph.name, seed)) if folder.endswith('_lr') else hr
        content = cv2.imencode('.png', np.round(made * 255).astype(np.uint8))[1]
        with writing(path), whole_file(path) as partial:
            partial.write_bytes(content.tobytes())


def _seed(name: str, seed: int) -> int:
    """Of an image: by its name, so that other images do not matter."""
    return zlib.crc32(f'{seed} {name}'.encode())
