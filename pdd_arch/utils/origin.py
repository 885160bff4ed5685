"""Whose code an exception comes from: this package's, BasicSR's, or that of a class of the user's own."""

import functools
import importlib.util
import os
import re
import sysconfig
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pdd_arch.errors import PDDError
from pdd_arch.utils.resources import PACKAGE
from pdd_arch.utils.user_modules import is_user_module, place_in_file

#: a frame in the text of a traceback, as data workers hand it on
_FRAME = re.compile(r'File "(.+?)", line (\d+), in (\S+)')
_OF_WORKER = 'Original Traceback'

#: files whose functions stand in for those of BasicSR and Python: a mistake is made by who calls them
_STAND_INS = (PACKAGE / 'compat.py', PACKAGE / 'options' / 'option_section.py')

Owner = Literal['ours', 'basicsr', 'user', 'library']


@dataclass(frozen=True)
class Frame:
    """A function call on the way to an exception."""

    file: str
    line: int
    function: str
    owner: Owner

    @property
    def place(self) -> str:
        """``basicsr/models/sr_model.py line 77 (SRModel.save)``; of the user's files as they are named elsewhere."""
        if self.owner != 'basicsr':
            return place_in_file(self.file, self.line)
        root = next(folder for folder in _basicsr() if Path(self.file).is_relative_to(folder))
        return f'{Path(self.file).relative_to(root.parent).as_posix()} line {self.line} ({self.function})'


@dataclass(frozen=True)
class Origin:
    """Who an exception comes from.

    Attributes:
        owner: whose mistake it is, as far as that can be told: who has called a library wrongly, not the library.
        place: file and line of the innermost call of theirs; '' where it is not known.
        calls: all calls that the user's code has made on the way there.
    """

    owner: Owner
    place: str = ''
    calls: tuple[Frame, ...] = ()

    @property
    def traceback(self) -> str:
        """Python's traceback of the user's code alone; empty where the exception comes from elsewhere."""
        frames = [traceback.FrameSummary(call.file, call.line, call.function) for call in self.calls]
        head = 'Traceback (most recent call last), of your own files:\n'
        return head + ''.join(traceback.format_list(frames)) if frames else ''


def origin_of(error: BaseException) -> Origin:
    """Whom an exception comes from, also one of a data worker."""
    frames = list(frames_of(error))

    def last(owner: Owner) -> int:
        return max((i for i, frame in enumerate(frames) if frame.owner == owner), default=-1)

    ours, user = last('ours'), last('user')
    # what the user's code has called of this package is not the fault of that code; BasicSR's is what it builds on
    if user > ours:
        calls = tuple(frame for frame in frames[ours + 1 :] if frame.owner == 'user')
        return Origin('user', frames[user].place, calls)
    if last('basicsr') > ours:
        return Origin('basicsr', frames[last('basicsr')].place)
    return Origin('ours', frames[ours].place) if ours >= 0 else Origin('library')


def error_in_user_code(error: BaseException) -> PDDError | None:
    """What a user is told of an error in the code of a class of their own; None where it comes from elsewhere."""
    origin = origin_of(error)
    if origin.owner != 'user':
        return None
    return PDDError(
        kind_and_text(error), where=origin.place, way_out='Correct it there; --debug shows the whole traceback.'
    )


def kind_and_text(error: BaseException) -> str:
    """``ValueError: of this kind`` on one line, also of an exception that a data worker has handed on."""
    text = str(error)
    if len(error.args) > 1 and all(isinstance(part, str) for part in error.args):
        text = ' '.join(error.args)  # BasicSR puts commas between the lines of a sentence
    if _OF_WORKER in text:
        return ' '.join(text.strip().splitlines()[-1].split())[:500]
    if isinstance(error, KeyError) and len(error.args) == 1 and ' ' in str(error.args[0]):
        text = str(error.args[0])  # a sentence, not a key
    text = ' '.join(text.split())[:500]
    return f'{type(error).__name__}: {text}' if text else type(error).__name__


def frames_of(error: BaseException) -> Iterator[Frame]:
    """The calls that led to an exception, the outermost first; of one of a data worker, those in the worker."""
    text = str(error)
    if _OF_WORKER in text:
        for match in _FRAME.finditer(text):
            yield Frame(match[1], int(match[2]), match[3], _owner(match[1], match[3]))
        return
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        name = getattr(code, 'co_qualname', code.co_name)  # since Python 3.11 with the class
        yield Frame(code.co_filename, line, name, _owner(code.co_filename, code.co_name))


def _owner(file: str, function: str) -> Owner:
    path = Path(os.path.realpath(file))
    if function == '__torch_function__' or path in _STAND_INS:
        return 'library'
    if path.is_relative_to(PACKAGE):
        return 'ours'
    if any(path.is_relative_to(folder) for folder in _basicsr()):
        return 'basicsr'
    if is_user_module(str(path)):
        return 'user'
    return 'library' if not path.is_file() or any(map(path.is_relative_to, _libraries())) else 'user'


@functools.cache
def _basicsr() -> tuple[Path, ...]:
    """The folders of BasicSR and Real-ESRGAN, the latter if it is installed."""
    specs = map(importlib.util.find_spec, ('basicsr', 'realesrgan'))
    return tuple(Path(os.path.realpath(s.origin)).parent for s in specs if s is not None and s.origin)


@functools.cache
def _libraries() -> tuple[Path, ...]:
    return tuple(Path(os.path.realpath(sysconfig.get_path(name))) for name in ('stdlib', 'purelib', 'platlib'))
