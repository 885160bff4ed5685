"""Files that travel with the package: option files and small weights."""

from pathlib import Path

from pdd_arch.errors import MissingFileError
from pdd_arch.utils.wording import did_you_mean

PACKAGE = Path(__file__).resolve().parents[1]

# `bundled:NAME` in an option file means the file NAME shipped in pdd_arch/assets/
BUNDLED_PREFIX = 'bundled:'


def option_file(name: str) -> Path:
    """Path of a shipped option file, for example ``pdd_demo.yml`` or ``fast/pdd_realsr_10k.yml``.

    A source checkout (also an editable install) has them in ``options/`` beside the package; an installed
    wheel carries the same folder as ``pdd_arch/option_files/``.

    Raises:
        MissingFileError: no option file of that name is shipped.
    """
    folders = (PACKAGE / 'option_files', PACKAGE.parent / 'options')
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    known = sorted({p.relative_to(folder).as_posix() for folder in folders for p in folder.rglob('*.yml')})
    raise _not_shipped(f'no option file {name!r} is shipped', name, known)


def asset(name: str) -> Path:
    """Path of a file in ``pdd_arch/assets``.

    Raises:
        MissingFileError: no asset of that name is shipped.
    """
    path = PACKAGE / 'assets' / name
    if not path.is_file():
        known = sorted(p.name for p in (PACKAGE / 'assets').glob('*') if p.is_file())
        raise _not_shipped(f'{BUNDLED_PREFIX}{name} is not shipped', name, known)
    return path


def _not_shipped(what: str, name: str, known: list[str]) -> MissingFileError:
    return MissingFileError(what, way_out=f'{did_you_mean(name, known)} Known: {known}'.strip())


def resolve_bundled(path: str) -> str:
    """Replace ``bundled:NAME`` by the path of that asset; any other path is returned as it is."""
    return str(asset(path.removeprefix(BUNDLED_PREFIX))) if path.startswith(BUNDLED_PREFIX) else path
