"""Files that travel with the package: option files and small weights."""

from pathlib import Path

from pdd_arch.errors import MissingFileError
from pdd_arch.utils.wording import did_you_mean

PACKAGE = Path(__file__).resolve().parents[1]

#: ``bundled:NAME`` in an option file is the file NAME in ``pdd_arch/assets``
BUNDLED_PREFIX = 'bundled:'


def option_file(name: str) -> Path:
    """Path of a shipped option file, e.g. ``fast/pdd_realsr_10k.yml``; MissingFileError where there is none."""
    # an installed wheel carries as `option_files` what lies beside the package in a source checkout
    folders = (PACKAGE / 'option_files', PACKAGE.parent / 'options')
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    known = sorted({p.relative_to(folder).as_posix() for folder in folders for p in folder.rglob('*.yml')})
    raise _not_shipped(f'no option file {name!r} is shipped', name, known)


def asset(name: str) -> Path:
    """Path of a file in ``pdd_arch/assets``; MissingFileError where there is none."""
    path = PACKAGE / 'assets' / name
    if not path.is_file():
        known = sorted(p.name for p in (PACKAGE / 'assets').glob('*') if p.is_file() and p.suffix != '.md')
        raise _not_shipped(f'{BUNDLED_PREFIX}{name} is not shipped', name, known)
    return path


def _not_shipped(what: str, name: str, known: list[str]) -> MissingFileError:
    return MissingFileError(what, way_out=f'{did_you_mean(name, known)} Known: {", ".join(known)}'.strip())


def resolve_bundled(path: str) -> str:
    """Replace ``bundled:NAME`` by the path of that asset; any other path is returned as it is."""
    return str(asset(path.removeprefix(BUNDLED_PREFIX))) if path.startswith(BUNDLED_PREFIX) else path
