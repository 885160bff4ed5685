"""Errors that tell a user what to do next.

An error holds its parts as fields, and only this module puts them into a sentence: what is wrong and where, what was
expected, what was found, and the way out. Whoever passes an error on may change a field (`PDDError.with_fields`), never
the text. The commands print it as one line and exit with a non-zero status; any other exception is a bug.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

E = TypeVar('E', bound='PDDError')

#: how torch hands on an exception of a data worker: the type, and the traceback as the only argument
_OF_WORKER = '\nOriginal Traceback'


class PDDError(Exception):
    """Base of all errors that a user can cause and mend.

    Args:
        what: what is wrong, as a clause without a full stop: ``cannot be read (permission denied)``.
        where: the option key, command-line argument or file that is wrong: ``train.ema_decay``.
        expected: what would be right, to follow the word "expected".
        found: what is there instead, to follow the word "found".
        way_out: sentences that say what to do. Every option and command named in them exists.
    """

    def __init__(
        self, what: str = '', *, where: str = '', expected: str = '', found: str = '', way_out: str = ''
    ) -> None:
        super().__init__(what)
        if _OF_WORKER in what:  # the last line of a traceback is the rendered error
            what = what.strip().splitlines()[-1].partition('Error: ')[2] or what
        self.what, self.where, self.expected, self.found, self.way_out = what, where, expected, found, way_out

    def __str__(self) -> str:
        expected = f'expected {self.expected}' if self.expected else ''
        found = f'found {self.found}' if self.found else ''
        problem = ', '.join(filter(None, (self.what, expected, found)))
        sentence = ': '.join(filter(None, (self.where, problem)))
        if not self.way_out:
            return sentence
        return f'{sentence if sentence.endswith((".", "?", "!")) else f"{sentence}."} {self.way_out}'

    def with_fields(self: E, **changes: Any) -> E:
        """The same error with some fields replaced: ``error.with_fields(way_out='Run the same command again.')``."""
        fields = {name: getattr(self, name) for name in ('what', 'where', 'expected', 'found', 'way_out')}
        error = type(self)(**(fields | changes))
        error.__cause__ = self.__cause__
        return error

    def within(self: E, place: str, separator: str = '.') -> E:
        """The same error, its `where` put below `place`: ``path`` within ``network_g`` is ``network_g.path``."""
        return self.with_fields(where=f'{place}{separator}{self.where}' if self.where else place)


class OptionError(PDDError, ValueError):
    """An option file (or a keyword of a loss, dataset or metric) is wrong."""


class MissingOptionError(OptionError, KeyError):
    """An option that a class reads is not given."""


class DataError(PDDError, ValueError):
    """An image, a dataset or its layout is wrong."""


class MissingFileError(PDDError, FileNotFoundError):
    """A file or folder that an option names does not exist."""


class WeightsError(PDDError, RuntimeError):
    """A weight file cannot be read, or does not belong to the network it is meant for."""


class NumbersError(PDDError, ArithmeticError):
    """Losses or gradients stay infinite or undefined, or a network's weights are."""


class SeveralErrors(PDDError):
    """Independent errors of one input, which a command prints one a line; as one sentence, the first of them.

    Attributes:
        errors: all of them.
    """

    def __init__(self, errors: Sequence[PDDError], **fields: str) -> None:
        first = errors[0]
        others = f'Also wrong: {", ".join(error.where for error in errors[1:])}.'
        own = {'what': first.what, 'where': first.where, 'expected': first.expected, 'found': first.found}
        super().__init__(**{**own, 'way_out': f'{first.way_out} {others}'.strip(), **fields})
        self.errors = list(errors)

    def with_fields(self, **changes: Any) -> 'SeveralErrors':
        own = {name: getattr(self, name) for name in ('what', 'where', 'expected', 'found', 'way_out')}
        return SeveralErrors(self.errors, **(own | changes))


class PDDWarning(UserWarning):
    """Something allowed but probably unintended."""
