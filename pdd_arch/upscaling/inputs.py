"""Which photographs are meant, and where their outputs go."""

import glob
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pdd_arch.errors import MissingFileError, OptionError
from pdd_arch.images.names import is_image_name
from pdd_arch.images.structure import format_of
from pdd_arch.photo_files.writing import EXTENSIONS, format_of_name
from pdd_arch.utils.wording import did_you_mean, shown

SAME = 'same'
#: what `--format` takes -> name of the format; None: that of the input
FORMATS = {SAME: None, 'png': 'PNG', 'jpg': 'JPEG', 'webp': 'WebP', 'tiff': 'TIFF'}


@dataclass(frozen=True)
class Item:
    """A photograph and its output: `name` is the output's path below the folder of outputs, or its file name."""

    source: Path
    target: Path
    name: str
    format: str


def find_inputs(
    inputs: Sequence[str], recursive: bool = False, but_not: Callable[[Path], bool] = lambda path: False
) -> dict[Path, Path]:
    """Path of each photograph -> its path below the folder given, or below the part of a pattern without wildcards.

    An input is a file, a folder (its images, by extension, without hidden ones) or a pattern with ``*``, ``?``,
    ``[...]`` and ``**``. An image of a folder or pattern is passed over if it is an earlier output (`but_not`).

    Raises:
        MissingFileError: an input does not exist, or holds no image.
    """
    found: dict[Path, tuple[Path, Path]] = {}  # by what they are, whatever links lead to them
    for text in inputs:
        if not text:  # would be the current folder
            raise MissingFileError(where='INPUT', expected='a file, folder or pattern', found="''")
        path = Path(os.path.expanduser(text))
        if path.is_dir():
            pairs = [pair for pair in _in_folder(path, recursive) if not but_not(pair[0])]
        elif path.exists():
            pairs = [(path, Path(path.name))]
        elif glob.has_magic(text):
            pairs = [pair for pair in _of_pattern(os.path.expanduser(text)) if not but_not(pair[0])]
        else:
            near = did_you_mean(path.name, os.listdir(path.parent)) if path.parent.is_dir() else ''
            raise MissingFileError('there is no such file or folder', where=shown(text), way_out=near)
        if not pairs:
            if not path.is_dir():
                what = 'the pattern matches no image'
            elif not recursive and _in_folder(path, recursive=True):
                what = 'the folder holds images in sub-folders only; --recursive goes into them'
            else:
                what = 'the folder holds no image (.png, .jpg, .webp, .tif ...)'
            raise MissingFileError(what, where=shown(text))
        for source, relative in pairs:
            found.setdefault(source.resolve(), (source, relative))
    return dict(found.values())


def _in_folder(folder: Path, recursive: bool) -> list[tuple[Path, Path]]:
    pairs = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(n for n in folders if not n.startswith('.')) if recursive else []
        below = Path(root).relative_to(folder)
        names = sorted(n for n in files if is_image_name(n) and not n.startswith('.'))
        pairs += [(Path(root, n), below / n) for n in names]
    return pairs


def _of_pattern(pattern: str) -> list[tuple[Path, Path]]:
    parts = Path(pattern).parts
    fixed = Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])
    names = sorted(n for n in glob.glob(pattern, recursive=True) if os.path.isfile(n) and is_image_name(n))
    return [(Path(n), Path(os.path.relpath(n, fixed))) for n in names]


def plan_outputs(
    sources: dict[Path, Path], output: Path, format: str = SAME, suffix: str = '', into_file: bool = False
) -> list[Item]:
    """Where the output of each photograph goes: below the folder `output`, or with `into_file` to this very file.

    Of the `format` (one of ``FORMATS``), ``same`` is that of the input, with its extension where that fits, and PNG for
    formats that are not written.

    Raises:
        OptionError: two outputs would have one name, or an output that of an input.
    """
    items: dict[Path, Item] = {}
    inputs = {source.resolve() for source in sources}
    for source, relative in sources.items():
        kind = FORMATS[format] or (format_of_name(output) if into_file else None) or _own_format(source)
        own = source.suffix if format_of_name(source) == kind else EXTENSIONS[kind][0]
        name = relative.with_name(f'{relative.stem}{suffix}{own}')
        target = output if into_file else output / name
        if target in items:
            other = items[target].source
            what = f'{shown(source)} and {shown(other)} would both become {shown(target)}'
            raise OptionError(what, way_out='Rename one, or upscale them into different folders.')
        if target.resolve() in inputs:
            what = f'the output for {shown(source)} would replace an input'
            way_out = 'Choose another -o, or a --suffix such as _x4.'
            raise OptionError(what, where=shown(target), way_out=way_out)
        items[target] = Item(source, target, target.name if into_file else name.as_posix(), kind)
    return list(items.values())


def _own_format(source: Path) -> str:
    """The format of a file's content; by its name if it cannot be read, which is reported when its turn comes."""
    kind = None
    with suppress(OSError), source.open('rb') as file:
        kind = format_of(file.read(16))
    kind = kind or format_of_name(source)
    return kind if kind in EXTENSIONS else 'PNG'
