"""Wording shared by error messages."""

import difflib
import os
from collections.abc import Collection, Iterable

from pdd_arch.errors import OptionError


def did_you_mean(name: object, known: Iterable[str], cutoff: float = 0.6) -> str:
    """``Did you mean 'x'?`` with the nearest known name, or an empty string when none is near.

    `cutoff`: from 0 to 1, how near it has to be.
    """
    of_lower_case = {one.lower(): one for one in known if one != name}
    near = difflib.get_close_matches(str(name).lower(), of_lower_case, n=1, cutoff=cutoff)
    return f'Did you mean {of_lower_case[near[0]]!r}?' if near else ''


def edit_distance(one: str, other: str) -> int:
    """Number of characters to insert, remove or replace that makes one word of the other (Levenshtein's)."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def one_of(known: Iterable[str]) -> str:
    """The allowed names as they stand in a message: ``'a', 'b' or 'c'``."""
    names = [repr(k) for k in known]
    return names[0] if len(names) == 1 else ', '.join(names[:-1]) + ' or ' + names[-1]


def check_choice(where: str, value: str, known: Collection[str], what: str = 'value') -> None:
    """Raise OptionError unless the option `where` has one of the known values."""
    if value not in known:
        hint = did_you_mean(value, known)
        raise OptionError(f'unknown {what} {value!r}', where=where, expected=one_of(known), way_out=hint)


def shown(path: str | os.PathLike[str]) -> str:
    """A path for a message of one line: quoted where it holds line breaks or bytes that are not UTF-8."""
    name = os.fsdecode(path)
    return name if name.isprintable() else repr(name)


def show(value: object) -> str:
    """A value as it stands in a message: short, on one line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a list that holds itself
        return f'a {type(value).__name__} too large to show'
    return text if len(text) <= 100 else f'{text[:90]} ... ({len(text)} characters)'


def show_key(key: object) -> str:
    """A key as it stands in a path."""
    if isinstance(key, str) and key and key.isprintable() and len(key) <= 60:
        return key
    return show(key)


def show_path(keys: Iterable[str | int]) -> str:
    """Keys and positions as ``train.scheduler.milestones[0]``."""
    text = ''
    for key in keys:
        text += f'[{key}]' if isinstance(key, int) else ('.' if text else '') + key
    return text or 'the options'
