"""Which photographs are meant, and where their outputs go."""

import glob
import itertools
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pdd_arch.errors import DataError, MissingFileError, OptionError, PDDError
from pdd_arch.images.names import described, first_of, is_camera_raw_name, is_photograph_name, look_at
from pdd_arch.photo_files.reading import is_readable, photo_size
from pdd_arch.photo_files.writing import EXTENSIONS, format_of_name
from pdd_arch.utils.files import is_name_too_long
from pdd_arch.utils.wording import did_you_mean, shown

SAME = 'same'
#: what `--format` takes -> name of the format; None: that of the input
FORMATS = {SAME: None, 'png': 'PNG', 'jpg': 'JPEG', 'webp': 'WebP', 'tiff': 'TIFF'}

_MANY = 10_000  # files; a hint is not worth looking at all of a disk


@dataclass(frozen=True)
class Source:
    """A photograph: `name` is its path below the folder given, or below the part of a pattern without wildcards.

    `format` is that of its content, None where the content tells none: it will fail in its turn.
    """

    path: Path
    name: Path
    format: str | None


@dataclass(frozen=True)
class Item:
    """A photograph and its output: `name` is the output's path below the folder of outputs, or its file name."""

    source: Path
    target: Path
    name: str
    format: str


@dataclass
class Found:
    """What was found in the inputs; nothing of it is left out without a word.

    Attributes:
        photographs: what can be upscaled, as far as their beginnings tell.
        unreadable: why others cannot be; `where` names the photograph or folder.
        others: files of folders and patterns that are no photographs.
        hidden: photographs in them whose names begin with a dot.
        folders: sub-folders that were not searched.
        links: links to folders, which are never followed.
    """

    photographs: list[Source] = field(default_factory=list)
    unreadable: list[PDDError] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    hidden: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)

    def left_out(self) -> list[str]:
        """What was passed over, a sentence each."""
        told = [f'left out, as no photographs: {described(self.others)}'] if self.others else []
        named = {
            'left out, as they are hidden': self.hidden,
            'sub-folders, which only --recursive searches': self.folders,
            'links to folders, which are not followed': self.links,
        }
        return [*told, *(f'{what}: {len(paths)} ({first_of(paths)})' for what, paths in named.items() if paths)]


def find_inputs(
    inputs: Sequence[str], recursive: bool = False, but_not: Callable[[Path], bool] = lambda path: False
) -> Found:
    """What is meant by inputs: files, folders and patterns with ``*``, ``?``, ``[...]`` and ``**``.

    Of a folder or pattern, the content of a file decides whether it is a photograph, or else its name; hidden files are
    none, and earlier outputs (`but_not`) are not looked at. What is named itself is meant as a photograph.

    Raises:
        MissingFileError: an input does not exist, or holds no photograph.
    """
    found = Found()
    known: set[str] = set()  # by what they are, whatever links lead to them
    for text in inputs:
        if not text:  # would be the current folder
            raise MissingFileError(where='INPUT', expected='a file, folder or pattern', found="''")
        path, named = Path(os.path.expanduser(text)), False
        errors = len(found.unreadable)
        if path.is_dir():
            files = _in_folder(path, recursive, found, but_not)
        elif os.path.lexists(path):
            files, named = [(path, Path(path.name))], True
        elif glob.has_magic(text):
            files = _of_pattern(os.path.expanduser(text), found, but_not)
        else:
            near = did_you_mean(path.name, os.listdir(path.parent)) if path.parent.is_dir() else ''
            raise MissingFileError('there is no such file or folder', where=shown(text), way_out=near)
        holds_any = len(found.unreadable) > errors
        for file, name in files:
            identity = os.path.realpath(file)
            holds_any |= identity in known or _sort(file, name, named, found)
            known.add(identity)
        if not holds_any:
            raise MissingFileError(_nothing(path, found), where=shown(text))
    return found


def _sort(file: Path, name: Path, named: bool, found: Found) -> bool:
    """Put a file where it belongs; whether it is a photograph. One that is `named` itself is meant as such."""
    look, hidden = look_at(file), name.name.startswith('.')
    if hidden and not named:
        found.hidden += [file] if look.kind else []  # not what systems put there, such as .DS_Store
        return False
    if not look.is_photograph and not named:
        found.others.append(file)
        return False
    try:
        if not is_readable(look.kind) or is_camera_raw_name(file.name):
            photo_size(file)
        found.photographs.append(Source(file, name, look.kind))
    except PDDError as error:
        found.unreadable.append(error)
    return True


def _nothing(path: Path, found: Found) -> str:
    """Why an input without photographs has none."""
    if path.is_dir() and any(map(_holds_photographs, found.folders)):
        return 'the folder holds images in sub-folders only; --recursive goes into them'
    what = 'the folder holds no image' if path.is_dir() else 'the pattern matches no image'
    return f'{what} (PNG, JPEG, WebP, TIFF ...){"".join(f"; {text}" for text in found.left_out())}'


def _holds_photographs(folder: Path) -> bool:
    files = (Path(root, name) for root, _, names in os.walk(folder) for name in names)
    return any(look_at(file).is_photograph for file in itertools.islice(files, _MANY))


def _in_folder(folder: Path, recursive: bool, found: Found, but_not: Callable[[Path], bool]) -> list[tuple[Path, Path]]:
    """Files of a folder and their paths below it; `found` gets the folders that are not searched, or cannot be."""

    def unreadable(error: OSError) -> None:
        what = f'the folder cannot be read ({error.strerror})'
        found.unreadable.append(DataError(what, where=shown(error.filename), way_out='Correct its permissions.'))

    pairs = []
    for root, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(n for n in folders if not n.startswith('.') and not but_not(Path(root, n)))
        found.links += [path for n in folders if (path := Path(root, n)).is_symlink()]
        if not recursive:
            found.folders += [path for n in folders if not (path := Path(root, n)).is_symlink()]
            folders.clear()
        below = Path(root).relative_to(folder)
        pairs += [(path, below / n) for n in sorted(files) if not but_not(path := Path(root, n))]
    return pairs


def _of_pattern(pattern: str, found: Found, but_not: Callable[[Path], bool]) -> list[tuple[Path, Path]]:
    parts = Path(pattern).parts
    fixed = Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])
    paths = [path for name in sorted(glob.glob(pattern, recursive=True)) if not but_not(path := Path(name))]
    if '**' not in parts:  # which matches every folder
        found.folders += [path for path in paths if path.is_dir()]
    return [(path, Path(os.path.relpath(path, fixed))) for path in paths if not path.is_dir()]


def plan_outputs(
    sources: Sequence[Source], output: Path, format: str = SAME, suffix: str = '', into_file: bool = False
) -> list[Item]:
    """Where the output of each photograph goes: below the folder `output`, or with `into_file` to this very file.

    Of the `format` (one of ``FORMATS``), ``same`` is that of the input, with its extension where that fits, and PNG for
    formats that are not written; where a.gif and a.png would become one file, a.gif becomes a.gif.png.

    Raises:
        OptionError: two outputs would have one name, or an output that of an input, or `suffix` makes a name too long.
    """
    asked = FORMATS[format] or (format_of_name(output) if into_file else None)
    kinds = [asked or _written_format(source) for source in sources]
    one_file = _without_case if _ignores_case(output) else str
    names = [_output_name(source, kind, suffix) for source, kind in zip(sources, kinds, strict=True)]
    if asked is None:
        names = _told_apart(sources, kinds, names, suffix, one_file)
    items: dict[str, Item] = {}
    inputs = {os.path.realpath(source.path) for source in sources}
    for source, kind, name in zip(sources, kinds, names, strict=True):
        target = output if into_file else output / name
        if other := items.get(one_file(str(target))):
            what = f'{shown(source.path)} and {shown(other.source)} would both become {shown(target)}'
            raise OptionError(what, way_out='Rename one, or upscale them into different folders.')
        if os.path.realpath(target) in inputs:
            what = f'the output for {shown(source.path)} would replace an input'
            way_out = 'Choose another -o, or a --suffix such as _x4.'
            raise OptionError(what, where=shown(target), way_out=way_out)
        if suffix and is_name_too_long(target) and not is_name_too_long(output / _output_name(source, kind, '')):
            length = len(os.fsencode(name.name))
            what = f'makes the name of the output for {shown(source.path)} too long ({length} bytes)'
            way_out = 'Choose a shorter one, or rename that photograph.'
            raise OptionError(what, where=f'--suffix {suffix}', way_out=way_out)
        items[one_file(str(target))] = Item(source.path, target, target.name if into_file else name.as_posix(), kind)
    return list(items.values())


def _output_name(source: Source, kind: str, suffix: str, whole: bool = False) -> Path:
    """The name of an output in the format `kind`; `whole`: the input's extension is a part of it."""
    name = source.name.name
    stem, extension = os.path.splitext(name)
    if whole or not is_photograph_name(name):  # what looks like an extension may be anything
        stem = name
    own = extension if format_of_name(name) == kind else EXTENSIONS[kind][0]
    return source.name.with_name(f'{stem}{suffix}{own}')


def _told_apart(
    sources: Sequence[Source], kinds: Sequence[str], names: Sequence[Path], suffix: str, one_file: Callable[[str], str]
) -> list[Path]:
    """The names, longer for those that others have as well and that have lost the extension of the input."""
    count = Counter(one_file(str(name)) for name in names)
    return [
        _output_name(source, kind, suffix, whole=True)
        if count[one_file(str(name))] > 1 and name.suffix != source.name.suffix
        else name
        for source, kind, name in zip(sources, kinds, names, strict=True)
    ]


def _written_format(source: Source) -> str:
    """The format of the output where none is asked for; PNG for those that are not written."""
    return source.format if source.format in EXTENSIONS else 'PNG'


def _ignores_case(path: Path) -> bool:
    """Whether a file system takes A.png and a.png for one file; that of `path`, which need not be there."""
    folder = path.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    other = folder.with_name(folder.name.swapcase()) if folder.name else folder
    return other != folder and other.exists() and other.samefile(folder)


def _without_case(name: str) -> str:
    return unicodedata.normalize('NFC', name).casefold()  # such file systems do not tell these forms apart either
