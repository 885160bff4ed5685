"""Wording shared by error messages."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` with the nearest known name, or an empty string when none is near."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f' Did you mean {near[0]!r}?' if near else ''


def one_of(known: Iterable[str]) -> str:
    """The allowed names as they stand in a message: ``'a', 'b' or 'c'``."""
    names = [repr(k) for k in known]
    return names[0] if len(names) == 1 else ', '.join(names[:-1]) + ' or ' + names[-1]
