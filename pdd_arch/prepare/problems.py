"""What is found wrong with a dataset, and how it is reported."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pdd_arch.errors import DataError, PDDError
from pdd_arch.utils.files import REPLACE
from pdd_arch.utils.output import say
from pdd_arch.utils.wording import shown

#: lines of one kind that are shown; --json has them all
SHOWN = 10


@dataclass(frozen=True)
class Problem:
    """One thing that is not as expected."""

    kind: str  # a word to count by: missing, pair, broken, scale, format, name, shift, colour, duplicate, count
    where: str  # the file or folder
    text: str  # what was expected, what was found, what to do
    is_error: bool = True  # False for what is worth knowing but may be meant; the exit status stays 0

    def __str__(self) -> str:
        return f'{shown(self.where)}: {self.text}'


def broken_file(path: str, error: PDDError, way_out: str = REPLACE) -> Problem:
    """A file that cannot be read, and what to do where the error only says to replace it."""
    way_out = way_out if error.way_out == REPLACE else error.way_out
    return Problem('broken', path, str(error.with_fields(where='', way_out=way_out)))


def tell(problems: Sequence[Problem]) -> None:
    """Writes problems to standard output, errors first, and at most ``SHOWN`` of a kind."""
    told: Counter[tuple[str, bool]] = Counter()
    for problem in sorted(problems, key=lambda p: not p.is_error):
        told[problem.kind, problem.is_error] += 1
        if told[problem.kind, problem.is_error] <= SHOWN:
            say(f'  {"error" if problem.is_error else "note"} [{problem.kind}] {problem}')
    for (name, _), count in told.items():
        if count > SHOWN:
            say(f'  ... and {count - SHOWN} more [{name}]; --json FILE lists all')


def raise_if_any(problems: Sequence[Problem], outcome: str) -> None:
    """Raises DataError that names the first error and counts the others."""
    errors = [p for p in problems if p.is_error]
    if errors:
        others = f' ({len(errors)} errors in all, listed above.)' if len(errors) > 1 else ''
        raise DataError(errors[0].text, where=shown(errors[0].where), way_out=f'{outcome}{others}'.strip())


def write_report(target: str, content: Mapping[str, object]) -> None:
    """Writes a report as JSON to a file (DataError if it cannot be written), or to standard output for ``-``."""
    text = json.dumps(content, indent=1)
    if target == '-':
        say(text)
        return
    try:
        Path(target).write_text(text + '\n')
    except OSError as error:
        raise DataError(
            f'cannot be written ({error.strerror})', where=shown(target), way_out='Name another file for --json.'
        ) from None
