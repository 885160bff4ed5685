"""State dicts within the content of a file, and the prefixes that training code puts before the names of tensors.

``torch.nn.DataParallel`` adds ``module.``, ``torch.compile`` ``_orig_mod.``; a Lightning module holds a network as
``net_g.``, ``model.``, ``generator.``, often beside a discriminator and the network of a loss.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from basicsr.utils import get_root_logger
from torch import nn

from pdd_arch.weights import key_layouts

T = TypeVar('T')
State = Mapping[str, torch.Tensor]

#: names under which BasicSR and other code nest a state dict in a file; the average, which is deployed, comes first
PARAM_KEYS = (
    *('params_ema', 'params-ema', 'ema', 'model_ema', 'ema_state_dict', 'ema_model', 'g_ema'),
    *('params', 'model_state_dict', 'state_dict', 'model', 'net', 'network'),
)
#: counts that AveragedModel and a profiler (thop) leave beside the weights
_COUNTS = re.compile(r'(?:^|\.)(?:n_averaged|total_ops|total_params)$')
#: as deep as state dicts are looked for, and prefixes
_DEEPEST = 5


def is_state_dict(content: object) -> bool:
    """Whether something is a dictionary of named tensors, at least one."""
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in content.items())
    )


def state_dicts(content: Mapping[Any, Any]) -> dict[str, State]:
    """Every state dict in a file by its key, ``model.state_dict`` where they are nested; '': the file is one.

    Those under known names come first.
    """
    found = dict(_state_dicts(content, (), _DEEPEST))

    def rank(key: str) -> int:
        return min((PARAM_KEYS.index(part) for part in key.split('.') if part in PARAM_KEYS), default=len(PARAM_KEYS))

    return {key: found[key] for key in sorted(found, key=rank)}


def _state_dicts(content: Mapping[Any, Any], keys: tuple[str, ...], depth: int) -> Iterator[tuple[str, State]]:
    if is_state_dict(content):
        yield '.'.join(keys), content
    elif depth:
        for key, value in content.items():
            if isinstance(key, str) and isinstance(value, Mapping):
                yield from _state_dicts(value, (*keys, key), depth - 1)


def named_part(content: Mapping[Any, Any], key: str) -> object | None:
    """What a file has under a key: an entry, one of a nested dictionary (``model.state_dict``), or the tensors whose
    names begin so (``state_dict.net_g``)."""
    if key in content:
        found: object = content[key]
        return found
    for name, value in content.items():
        within = isinstance(name, str) and isinstance(value, Mapping) and key.startswith(f'{name}.')
        if within and (part := named_part(value, key[len(name) + 1 :])) is not None:
            return part
    start = f'{key}.'
    return {k[len(start) :]: v for k, v in content.items() if isinstance(k, str) and k.startswith(start)} or None


def without_counts(state: Mapping[str, T], own: Mapping[str, object] | None = None) -> dict[str, T]:
    """A state dict without the counts that are no part of any network, unless it is one that has them (`own`)."""
    return {k: v for k, v in state.items() if not _COUNTS.search(k) or (own is not None and k in own)}


def parts(state: Mapping[str, T], fits: Callable[[dict[str, T]], bool]) -> dict[str, dict[str, T]]:
    """By their prefix the tensors that belong to a network, under their names without it.

    The prefix is the shortest below which they fit; there are several where a file holds several such networks.
    """
    for depth in range(_DEEPEST + 1):
        groups: dict[str, dict[str, T]] = defaultdict(dict)
        for name, value in state.items():
            pieces = name.split('.', depth)
            if len(pieces) == depth + 1:
                groups[name[: len(name) - len(pieces[-1])]][pieces[-1]] = value
        found = {prefix: part for prefix, part in groups.items() if fits(part)}
        if found:
            return found
    return {}


def parts_for(net: nn.Module, state: Mapping[str, T]) -> dict[str, dict[str, T]]:
    """:func:`parts` that fit a network, under its own names (see `key_layouts.renamed_for`)."""
    own = net.state_dict()
    renamed: dict[str, dict[str, T]] = {}

    def fits(part: dict[str, T]) -> bool:
        return len(part) == len(own) and key_layouts.renamed_for(net, part).keys() == own.keys()

    for prefix, part in parts(without_counts(state, own), fits).items():
        renamed[prefix] = key_layouts.renamed_for(net, part)
    shaped = {
        prefix: part
        for prefix, part in renamed.items()
        if all(getattr(v, 'shape', None) == own[k].shape for k, v in part.items())
    }
    return shaped or renamed


def nearest(net: nn.Module | None, state: Mapping[str, T]) -> tuple[str, dict[str, T]]:
    """The common prefix without which most names are those of a network that they do not fit; and what remains.

    Without a network, the prefixes of torch's wrappers are taken away.
    """
    own = None if net is None else net.state_dict()
    state = without_counts(state, own)
    best, most, prefix, rest = ('', state), -1, '', state
    while True:
        common = 0 if own is None else len(own.keys() & rest.keys())
        if common > most:
            best, most = (prefix, rest), common
        first = {name.partition('.')[0] if '.' in name else None for name in rest}
        step = next(iter(first)) if len(first) == 1 else None
        if step is None or (own is None and step not in ('module', '_orig_mod')):
            return (prefix, rest) if own is None else best
        prefix, rest = f'{prefix}{step}.', {name[len(step) + 1 :]: value for name, value in rest.items()}


def log(text: str) -> None:
    """Write what :func:`removal` says to the log of the run, or to standard error where there is none."""
    logger = get_root_logger()
    # before a run has its log, and in the other commands, BasicSR's logger shows warnings only
    logger.log(logging.INFO if logger.isEnabledFor(logging.INFO) else logging.WARNING, text)


def removal(path: object, prefix: str, used: int, total: int) -> str:
    """What is said of a prefix that was taken away, or of tensors that were left out; empty where neither was."""
    said = [f'the prefix {prefix} is removed from the names of its tensors'] if prefix else []
    said += [f'{total - used} of {total} tensors are left out, which are not of this network'] if used < total else []
    return f'{path}: {"; ".join(said)}' if said else ''
