"""Whether an option file still describes the run that a state belongs to."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pdd_arch.distributed import processes
from pdd_arch.errors import OptionError
from pdd_arch.options.option_section import flat

#: prefixes of keys that cannot change in the middle of a run
_FIXED = (
    *('model_type', 'scale', 'network_g', 'network_d', 'network_teacher', 'datasets.train.type'),
    *('train.teacher', 'train.optim_g.type', 'train.optim_d.type', 'train.scheduler.type'),
)
#: prefixes of keys whose effect is in the state: the option file is not asked again
_KEPT = ('train.optim_g', 'train.optim_d', 'train.scheduler')
#: prefixes of keys that say where and how a run was started, not what it computes
_CIRCUMSTANCES = (
    *('auto_resume', 'is_train', 'dist', 'rank', 'world_size', 'root_path', 'num_gpu'),
    *('path.experiments_root', 'path.models', 'path.training_states', 'path.log', 'path.visualization'),
    *('path.resume_state', 'path.ignore_resume_networks'),
    *(f'path.{kind}_{net}' for kind in ('pretrain_network', 'param_key', 'strict_load') for net in 'gd'),
)
#: keys that are repeated in every dataset
_DERIVED = ('phase', 'scale', 'manual_seed')


def recorded_options(opt: Mapping[str, Any]) -> str:
    """The options of a run as JSON text, for its states."""
    return json.dumps(opt, default=str)


def compare_with_state(
    opt: Mapping[str, Any], state: Mapping[str, Any], path: Path, data_identity: str | None, ignored: list[str]
) -> list[str]:
    """Compare options with those that a state (not one of BasicSR's own, which records none) was written with.

    Gives a line for each difference that does not matter. Raises OptionError for one that makes continuing meaningless:
    another architecture, other data (identity None: unknown). `ignored` is ``path.ignore_resume_networks``.
    """
    if state.get('options') is None:
        return []
    before, now = (dict(flat(json.loads(text))) for text in (state['options'], recorded_options(opt)))
    notes = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if key == 'train.scheduler.type':  # two names of one class
            old, new = (str(v).replace('MultiStepRestartLR', 'MultiStepLR') for v in (old, new))
        if old == new or _matches(key, _CIRCUMSTANCES) or _is_derived(key):
            continue
        # which file a network came from does not matter: the networks themselves are compared
        if _matches(key, _FIXED) and not _matches(key, ignored) and not key.endswith('.path'):
            raise _refusal(key, repr(new), f'with {old!r}', path)
        effect = ', without effect: the saved optimizer and schedule go on' if _matches(key, _KEPT) else ''
        notes.append(f'Option changed since the state was written: {key}: {old!r} -> {new!r}{effect}')
    decay, had_average = now.get('train.ema_decay'), bool(before.get('train.ema_decay', 1))
    if had_average != bool(now.get('train.ema_decay', 1)):
        raise _refusal('train.ema_decay', repr(decay), f'with{"" if had_average else "out"} a moving average', path)
    if now.get('train.total_iter', state['iter']) < state['iter']:
        raise OptionError(
            f'{now["train.total_iter"]}, but the state {path} is of iteration {state["iter"]}',
            where='train.total_iter',
            way_out='Nothing is left to train: set a higher one, or take an earlier state.',
        )
    if None not in (data_identity, state.get('data')) and data_identity != state['data']:
        raise _refusal('datasets.train', 'other images', 'with other files (their names or number)', path)
    return notes


def same_on_all_ranks(opt: Mapping[str, Any]) -> None:
    """Raises OptionError where processes of a distributed run, also on other machines, have different options."""
    own = dict(flat(json.loads(recorded_options(opt))))
    for rank, other in enumerate(processes.gather_objects(own)):
        for key in sorted(own.keys() | other.keys()):
            drawn = key == 'manual_seed' or _is_derived(key)
            if own.get(key) != other.get(key) and not drawn and not _matches(key, _CIRCUMSTANCES):
                raise OptionError(
                    f'{own.get(key)!r} in process {processes.rank()}, {other.get(key)!r} in process {rank}',
                    where=key,
                    way_out='All processes of a run need the same options.',
                )


def _refusal(key: str, value: str, was: str, path: Path) -> OptionError:
    return OptionError(
        f'{value}, but the state {path} was made {was}',
        where=key,
        way_out='A resumed run goes on with the same networks and data: undo the change; or start a new run under '
        'another name, with path.pretrain_network_g set to the network of that iteration.',
    )


def _matches(key: str, prefixes: tuple[str, ...] | list[str]) -> bool:
    return any(key == p or key.startswith(f'{p}.') for p in prefixes)


def _is_derived(key: str) -> bool:
    return key.startswith('datasets.') and key.rsplit('.', 1)[-1] in _DERIVED
