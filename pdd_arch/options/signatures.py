"""Classes and functions that options name, and their keywords, judged by their signature."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY

from pdd_arch.errors import OptionError
from pdd_arch.options.schema import Optimizer
from pdd_arch.utils.registration import registered_as
from pdd_arch.utils.wording import did_you_mean, show, show_key

#: classes of torch.optim that need more than a gradient, or are no optimizer
_UNSUITABLE = ('Optimizer', 'LBFGS', 'SparseAdam')


def check_network(key: str, options: Mapping[str, Any], scale: int | None = None) -> None:
    """The network of a section (`key`: ``network_g``) is registered and takes the options given.

    A scale among them must be `scale`.
    """
    kind = options.get('type', '')
    network = registered_as('network', ARCH_REGISTRY, kind, f'{key}.type')
    check_keywords(key, kind, network, {k: v for k, v in options.items() if k != 'type'})
    for name in ('scale', 'upscale'):
        if scale is not None and name in options and options[name] != scale:
            raise OptionError(
                f'{show(options[name])}, but scale is {scale}',
                where=f'{key}.{name}',
                way_out='They must be the same.',
            )


def check_keywords(
    path: str, kind: str, target: Callable[..., Any], given: Mapping[str, Any], filled: Iterable[str] = ()
) -> None:
    """`target`, named `kind`, takes the keywords `given` and has those it needs; the caller adds `filled`."""
    parameters = inspect.signature(target).parameters
    named = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    settable = [n for n in named if n not in filled]
    for name in given:
        if not isinstance(name, str):
            raise OptionError(where=f'{path}.{show_key(name)}', expected='words as keys')
        if name in settable or (takes_any and not did_you_mean(name, settable)):
            continue
        hint = did_you_mean(name, settable) or f'Known: {", ".join(settable)}.'
        raise OptionError(f'{kind} has no such option', where=f'{path}.{show_key(name)}', way_out=hint)
    for name in settable:
        if name not in given and parameters[name].default is inspect.Parameter.empty:
            raise OptionError(f'missing, {kind} needs it', where=f'{path}.{name}')


def check_kinds(path: str, target: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Values are of the kind of the parameter's default: a switch, a number, a word.

    Weights and the like are used long after they are set: a word among them would stop the run in the middle.
    """
    parameters = inspect.signature(target).parameters
    for name, value in given.items():
        default = parameters[name].default if name in parameters else None
        if isinstance(default, bool):
            wrong, expected = not isinstance(value, bool), 'true or false'
        elif isinstance(default, int | float) or name.endswith('weight'):
            wrong, expected = not _is_number(value), 'a number'
        elif isinstance(default, str):
            wrong, expected = not isinstance(value, str), 'a word'
        else:
            continue
        if wrong:
            raise OptionError(where=f'{path}.{name}', expected=expected, found=show(value))


def check_arguments(
    path: str, target: Callable[..., Any], options: Mapping[str, Any], filled: Iterable[str] = ()
) -> dict[str, Any]:
    """The keywords in a section for `target`, which its ``type`` names, checked by name and kind."""
    given = {k: v for k, v in options.items() if k != 'type'}
    check_keywords(path, options['type'], target, given, filled)
    check_kinds(path, target, given)
    return given


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def optimizer_class(kind: str, where: str) -> type[torch.optim.Optimizer]:
    """The class of ``torch.optim`` that the optimizer section at `where` names."""
    known = {name: cls for name, cls in vars(torch.optim).items() if isinstance(cls, type) and name not in _UNSUITABLE}
    if kind not in known:
        raise OptionError(
            f'unknown optimizer {kind!r}',
            where=f'{where}.type',
            expected='a class of torch.optim that works on gradients alone, for example Adam',
            way_out=did_you_mean(kind, known),
        )
    return known[kind]


def check_optimizer(options: Optimizer, where: str) -> None:
    """The optimizer of the section at `where` exists and takes the options given."""
    optimizer = optimizer_class(options.type, where)
    given = check_arguments(where, optimizer, options.given(), filled=('params',))
    try:
        optimizer([torch.nn.Parameter(torch.zeros(2, 2))], **given)
    except Exception as e:  # whatever an optimizer makes of wrong values
        raise OptionError(f'{options.type}: {" ".join(str(e).split())[:200]}', where=where) from None
