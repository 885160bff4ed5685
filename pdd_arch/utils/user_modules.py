"""Modules of the user, whose classes register themselves with BasicSR when they are imported."""

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from pdd_arch.errors import MissingFileError, OptionError, PDDError
from pdd_arch.utils.basicsr_logger import logger_left_alone
from pdd_arch.utils.resources import PACKAGE
from pdd_arch.utils.signals import Stopped
from pdd_arch.utils.wording import show, shown

#: for errors about names that nobody has registered
HOW_TO_IMPORT = (
    'A class of your own is known once its file is imported: --import FILE.py, or import: [FILE.py] in the option file.'
)
#: real paths of modules whose import has begun: those of this process, and those of them that are not done
_files: set[str] = set()
_under_way: set[str] = set()


def import_user_modules(names: str | Iterable[str]) -> None:
    """Import modules by file (``my_loss.py``) or name (``my_package.losses``); doing it again is harmless.

    As for a script, a module finds its neighbours: the folder of a file, or for a name the current one, is added to the
    end of ``sys.path``. So data workers that do not inherit this process's modules can import it as well.

    Raises:
        MissingFileError: there is no such file or module.
        OptionError: the module cannot be imported, or has a name that another module has; names file and line.
    """
    for name in [names] if isinstance(names, str) else names:
        with logger_left_alone():
            _import(name)


def is_user_module(file: str) -> bool:
    """Whether a file (its real path) was imported as a module of the user, wherever it is."""
    return file in _files


def _import(name: str) -> None:
    is_file = name.endswith('.py') or '/' in name or os.sep in name
    module = _module_of_file(name) if is_file else name
    if not is_file:
        if not all(part.isidentifier() for part in name.split('.')):
            raise OptionError(where='import', expected='a Python file (.py) or the name of a module', found=show(name))
        _find_modules_in(os.getcwd())
    spec = _spec(module, name)
    file = os.path.realpath(spec) if spec else module
    if file in _under_way:
        raise OptionError(
            'is being imported and starts a run itself',
            where=shown(name),
            way_out="Put the call of train_pipeline or test_pipeline under if __name__ == '__main__':",
        )
    _files.add(file)
    if _is_loaded(file):
        return
    _under_way.add(file)
    try:
        importlib.import_module(module)
    except (PDDError, Stopped):
        raise
    except (Exception, SystemExit) as e:
        raise _failure(e, name, file) from e
    finally:
        _under_way.discard(file)


def _module_of_file(name: str) -> str:
    """The name under which Python imports a file."""
    path = os.path.expanduser(name)
    if not os.path.isfile(path) or not path.endswith('.py'):
        if not os.path.exists(path):
            raise MissingFileError(
                f'{shown(name)} does not exist (looked from {os.getcwd()})',
                where='import',
                way_out='Give a Python file (.py) or the name of a module.',
            )
        raise OptionError(
            where='import',
            expected='a Python file (.py), or the name of a module or package as Python imports it',
            found=show(name),
        )
    folder, stem = os.path.dirname(os.path.abspath(path)), Path(path).stem
    if '.' in stem or stem == '__init__':
        raise OptionError(
            f'Python cannot import a file called {Path(path).name} by itself',
            where=f'import: {shown(name)}',
            way_out='Rename it, or give the name of its package.',
        )
    _find_modules_in(folder)
    found = _spec(stem, name)
    if found is None or os.path.realpath(found) != os.path.realpath(path):
        raise OptionError(
            f'its name is that of another module, {shown(found or stem)}',
            where=f'import: {shown(name)}',
            way_out='Rename the file.',
        )
    return stem


def _is_loaded(file: str) -> bool:
    """Whether a file has been imported under whatever name, or runs as the script."""
    files = (getattr(module, '__file__', None) for module in list(sys.modules.values()))
    name = os.path.basename(file)
    return any(isinstance(f, str) and os.path.basename(f) == name and os.path.realpath(f) == file for f in files)


def _find_modules_in(folder: str) -> None:
    # at the end, so that a file in it does not stand in for an installed module
    if folder not in (os.path.abspath(entry) for entry in sys.path):
        sys.path.append(folder)
        importlib.invalidate_caches()


def _spec(module: str, name: str) -> str | None:
    """The file of a module by its name; None where it has none."""
    try:
        spec = importlib.util.find_spec(module)
    except ValueError:  # a module that was made by hand
        return getattr(sys.modules[module], '__file__', None)
    except ModuleNotFoundError:  # the package around it
        spec = None
    except Exception as e:  # of the package around it
        raise _failure(e, name, os.path.realpath(name)) from e
    if spec is None:
        raise MissingFileError(
            f'there is no module {show(module)} (looked in {os.getcwd()} and in installed packages)',
            where='import',
            way_out='Give a Python file (.py) or the name of a module.',
        )
    return spec.origin if spec.has_location else None


def _failure(error: BaseException, name: str, file: str) -> OptionError:
    """An import failed: where in the user's files, and why."""
    place, folder = shown(name), os.path.dirname(file)
    text = f'{type(error).__name__}: {error}' if str(error) else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        place, text = place_in_file(error.filename, error.lineno), f'{type(error).__name__}: {error.msg}'
    else:
        for frame in traceback.extract_tb(error.__traceback__):
            path = Path(os.path.realpath(frame.filename))
            installed = {'site-packages', 'dist-packages'} & set(path.parts) or path.is_relative_to(PACKAGE)
            if (
                frame.lineno
                and not frame.filename.startswith('<')
                and (str(path) == file or (path.is_relative_to(folder) and not installed))
            ):
                place = place_in_file(frame.filename, frame.lineno)
    return OptionError(
        ' '.join(text.split())[:500],
        where=place,
        way_out=f'Correct it, or do not import {shown(name)} (--import, or import in the option file).',
    )


def place_in_file(file: str, line: int | None) -> str:
    """File and line for a message, from the current folder where the file is below it."""
    path = Path(file)
    try:
        path = path.relative_to(os.getcwd())
    except ValueError:
        path = Path(file)
    return f'{shown(path)} line {line}'
