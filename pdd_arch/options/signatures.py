"""Keywords of registered classes, judged by their signature."""

import inspect
import math
from collections.abc import Callable, Mapping

from pdd_arch.errors import OptionError
from pdd_arch.utils.wording import did_you_mean, show, show_key


def check_keywords(path: str, kind: str, target: Callable, given: Mapping, filled: tuple[str, ...] = ()) -> None:
    """`target` takes the keywords `given`, and has those that it needs.

    Args:
        path: of the section, for messages.
        kind: name of the target.
        target: class or function.
        given: the keywords.
        filled: keywords that the caller adds.

    Raises:
        OptionError: naming the keyword.
    """
    parameters = inspect.signature(target).parameters
    named = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    settable = [n for n in named if n not in filled]
    for name in given:
        if not isinstance(name, str):
            raise OptionError(f'{path}.{show_key(name)}: expected words as keys')
        if name in settable or (takes_any and not did_you_mean(name, settable)):
            continue
        hint = did_you_mean(name, settable) or f' Known: {", ".join(settable)}.'
        raise OptionError(f'{path}.{show_key(name)}: {kind} has no such option.{hint}')
    for name in settable:
        if name not in given and parameters[name].default is inspect.Parameter.empty:
            raise OptionError(f'{path}.{name}: missing, {kind} needs it')


def check_kinds(path: str, target: Callable, given: Mapping) -> None:
    """Values are of the kind of the parameter's default: a switch, a number, a word.

    Weights and the like are used long after they are set: a word among them would stop the run in the middle.

    Raises:
        OptionError: naming the keyword.
    """
    parameters = inspect.signature(target).parameters
    for name, value in given.items():
        default = parameters[name].default if name in parameters else None
        if isinstance(default, bool):
            wrong, expected = not isinstance(value, bool), 'true or false'
        elif isinstance(default, int | float) or name.endswith('weight'):
            wrong, expected = not is_number(value), 'a number'
        elif isinstance(default, str):
            wrong, expected = not isinstance(value, str), 'a word'
        else:
            continue
        if wrong:
            raise OptionError(f'{path}.{name}: expected {expected}, found {show(value)}')


def is_number(value: object) -> bool:
    """A finite number, and no switch."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False
