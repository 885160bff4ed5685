"""Finding, verifying and reading the state that a run continues from."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from pdd_arch.data.section import data_identity
from pdd_arch.distributed import processes
from pdd_arch.errors import MissingFileError, OptionError, PDDError, WeightsError
from pdd_arch.training.comparison import compare_with_state
from pdd_arch.training.run_state import BasicSROptions, DataPosition, TrainingRun
from pdd_arch.utils.atomic import remove_partial_files
from pdd_arch.utils.files import sha256_of
from pdd_arch.utils.locks import lock_folder
from pdd_arch.weights.checkpoints import read_checkpoint

#: content of a training state
State = dict[str, Any]

_OPTION = 'path.resume_state'


def load_resume_state(opt: BasicSROptions) -> State | None:
    """Replacement for ``basicsr.train.load_resume_state``: on any device, from any folder, without running code.

    With ``--auto_resume`` the newest state of the run's own folder is taken, otherwise ``path.resume_state``. A state
    that is damaged, or whose networks are not the ones it was written with, is passed over for the one before it, and
    the log says so. `opt` then names the networks saved with the state. None is for a fresh start. Raises
    MissingFileError or WeightsError where there is a state but none that can be used, OptionError where the options
    describe another run, or ``path.ignore_resume_networks`` is not a list.
    """
    run, paths = opt.run, opt['path']
    processes.open_control_group()
    run.log_folder = paths['log']
    if processes.rank() == 0:
        run.lock = lock_folder(paths['experiments_root'])  # before anything in it is moved or removed
        for key in ('models', 'training_states'):
            for name in remove_partial_files(Path(paths[key])):
                run.notes.append(f'Removed {name}, left in {paths[key]} by a process that was killed while writing.')
    found = find_state(opt, run)
    iterations = processes.gather_objects(found[1]['iter'] if found else None)
    if len(set(iterations)) > 1:
        raise _unusable(
            f'the processes found states of different iterations ({iterations})',
            'All of them must see one folder of experiments: use a file system that the machines share.',
        )
    if found is None:
        return None
    path, state, networks = found
    paths['resume_state'] = str(path)
    for network, file in networks.items():
        # the run's own checkpoints, whatever the pretrained weights looked like
        letter = network.removeprefix('net_')
        paths[f'pretrain_network_{letter}'] = str(file)
        paths[f'param_key_{letter}'], paths[f'strict_load_{letter}'] = 'params', True
    _continue_from(state, run)
    frequency = (opt.get('val') or {}).get('val_freq')
    if frequency and not state.get('validated', True) and state['iter'] % frequency == 0:
        run.pending_validation = state['iter']
    for key in ('experiments_root', 'models', 'training_states', 'log', 'visualization'):
        # BasicSR makes them for fresh starts only; a state may come from another run's folder
        os.makedirs(paths[key], exist_ok=True)
    return state


def find_state(opt: dict[str, Any], run: TrainingRun) -> tuple[Path, State, dict[str, Path]] | None:
    """The newest usable state, compared with the options; nothing is changed on disk.

    In `opt` a seed that nobody gave becomes the state's; `run` gets the identity of the data, and a note for every
    state passed over and every option that has changed. Gives the file, its content and the files of its networks; None
    for a fresh start. Raises as `load_resume_state`.
    """
    paths, train_set = opt['path'], opt['datasets'].get('train') or {}
    if train_set.get('type') == 'UnpairedAdaptationDataset':
        run.data_identity = data_identity(train_set)
    ignored = paths.get('ignore_resume_networks') or []
    if not isinstance(ignored, list) or any(n not in ('network_g', 'network_d') for n in ignored):
        raise OptionError(
            where='path.ignore_resume_networks', expected="a list of 'network_g' and 'network_d'", found=repr(ignored)
        )
    candidates = list(state_candidates(opt))
    if not candidates:
        return None
    path, state, networks = _newest_usable(candidates, paths, ignored, run)
    before = json.loads(state.get('options') or '{}').get('manual_seed')
    if run.seed_drawn and before is not None:  # the seed of the first start: what is drawn from the data depends on it
        opt['manual_seed'] = before
        for dataset in opt['datasets'].values():
            dataset['manual_seed'] = before
    run.notes += compare_with_state(opt, state, path, run.data_identity, ignored)
    return path, state, networks


def state_candidates(opt: Mapping[str, Any]) -> Iterator[Path]:
    """States that may be continued, the wanted one first, then those before it in the same folder."""
    paths = opt['path']
    if opt.get('auto_resume') and paths.get('training_states'):
        states = _states(Path(paths['training_states']))
        if states:
            yield from (states[i] for i in sorted(states, reverse=True))
            return
    if not paths.get('resume_state'):
        return
    named = Path(os.path.expanduser(paths['resume_state']))
    if not named.is_file():
        what = 'is not a file' if named.exists() else 'does not exist'
        raise MissingFileError(
            f'{named} {what} (looked from {os.getcwd()})',
            where=_OPTION,
            way_out='Give a file of the folder training_states/ of the run, or leave it out and use --auto_resume.',
        )
    yield named
    states = _states(named.parent)
    earlier = [i for i in states if named.stem.isdecimal() and i < int(named.stem)]
    yield from (states[i] for i in sorted(earlier, reverse=True))


def _states(folder: Path) -> dict[int, Path]:
    """The training states of a folder by iteration."""
    files = folder.glob('*.state') if folder.is_dir() else ()
    return {int(f.stem): f for f in files if f.stem.isdecimal()}


def _newest_usable(
    candidates: list[Path], paths: Mapping[str, Any], ignored: list[str], run: TrainingRun
) -> tuple[Path, State, dict[str, Path]]:
    """The first candidate that can be used, its content, and the files of its networks."""
    errors: list[PDDError] = []
    for path in candidates:
        try:
            state = _read_state(path)
            networks = _verified_networks(path, state, paths, ignored)
        except PDDError as e:
            errors.append(e)
            continue
        run.notes += [f'{error} Continuing from the state before it, {path}.' for error in errors]
        return path, state, networks
    first, *others = errors
    more = f' None of the {len(others)} states before it can be used either.' if others else ''
    raise first.with_fields(way_out=f'{first.way_out}{more}'.lstrip())


def _read_state(path: Path) -> State:
    state = read_checkpoint(path, _OPTION, instead='a training state of the folder training_states/')
    missing = [k for k in ('iter', 'epoch', 'optimizers', 'schedulers') if k not in state]
    if missing:
        what = f'{path} is not a training state: it has no {missing[0]!r}'
        raise _unusable(what, 'Give a file of the folder training_states/.')
    if wrong := _implausible(state, path):
        raise _unusable(f'{path} has been tampered with or is damaged: {wrong}.')
    return state


def _unusable(what: str, way_out: str = '') -> WeightsError:
    return WeightsError(what, where=_OPTION, way_out=way_out)


def _implausible(state: State, path: Path) -> str | None:
    """What in a state no run can have written, if anything."""

    def is_count(value: object) -> bool:
        return type(value) is int and 0 <= value < 2**48

    if not is_count(state['iter']) or (path.stem.isdecimal() and int(path.stem) != state['iter']):
        return f'its iteration is {state["iter"]!r}'
    if not is_count(state['epoch']) or state['epoch'] > state['iter']:
        return f'its epoch is {state["epoch"]!r}'
    kinds = {'optimizers': list, 'schedulers': list, 'networks': dict, 'random': list, 'best_metrics': dict}
    kinds |= {'training_weights': list, 'position': dict, 'nonfinite': dict, 'options': str, 'scaler': dict}
    for key, kind in kinds.items():
        if state.get(key) is not None and not isinstance(state[key], kind):
            return f'{key} is a {type(state[key]).__name__}'
    for key, names in (('position', ('epoch', 'samples')), ('nonfinite', ('in_a_row', 'total'))):
        found = state.get(key)
        if found is not None and not all(is_count(found.get(name)) for name in names):
            return f'{key} is {found!r}'
    for entry in (state.get('networks') or {}).values():
        name = entry.get('file') if isinstance(entry, dict) else None
        if not isinstance(name, str) or name != os.path.basename(name) or not isinstance(entry.get('sha256'), str):
            return f'a network is {entry!r}'
    for generators in state.get('random') or ():
        if not isinstance(generators, dict) or not {'python', 'numpy', 'torch'} <= generators.keys():
            return 'random holds no generators'
    try:
        json.loads(state.get('options') or '{}')
    except ValueError:
        return 'options cannot be read'
    numbers = list(_tensors((state['optimizers'], state.get('training_weights'))))
    if any(t.is_floating_point() and not torch.isfinite(t).all() for t in numbers):
        return 'its optimizers hold numbers that are not finite'
    return None


def _tensors(value: object) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(part)


def _verified_networks(path: Path, state: State, paths: Mapping[str, Any], ignored: list[str]) -> dict[str, Path]:
    """Files of the networks that belong to a state, each with the content that it had when the state was written."""
    folders = (path.parent.parent / 'models', Path(paths['models']), path.parent)
    recorded = state.get('networks')
    if recorded is None:  # of BasicSR itself, which records none
        recorded = {f'net_{n}': {'file': f'net_{n}_{state["iter"]}.pth'} for n in ('g', 'd')}
    found = {}
    for network, entry in recorded.items():
        if f'network_{network.removeprefix("net_")}' in ignored:
            continue
        file = next((f / entry['file'] for f in folders if (f / entry['file']).is_file()), None)
        if file is None:
            if 'sha256' not in entry and network == 'net_d':
                continue  # whether there was a discriminator is not known
            what = f'{path} belongs to {entry["file"]}, which is not in {folders[0]}'
            raise _unusable(what, 'Put it back, or resume from another state.')
        if 'sha256' in entry and sha256_of(file) != entry['sha256']:
            raise _unusable(f'{file} is damaged, or is not the one that {path} was written with (its SHA-256 differs).')
        found[network] = file
    return found


def _continue_from(state: State, run: TrainingRun) -> None:
    """Hand position and random generators to the loop, and what was measured for ``auto`` to the model."""
    run.conditions = state.get('conditions')
    run.first_epoch, run.first_iteration, run.iteration = state['epoch'], state['iter'] + 1, state['iter']
    position, generators = state.get('position'), state.get('random')
    if position is None or generators is None:
        run.notes.append(
            'The state was not written by this package: it has no random generators and no position in the data. The '
            'run continues, but not exactly as it would have without the interruption.'
        )
        return
    run.resumed = DataPosition(int(position['epoch']), int(position['samples']))
    if processes.rank() < len(generators):
        run.random = generators[processes.rank()]
    if processes.world_size() != len(generators):
        run.notes.append(
            f'The state was written by {len(generators)} process(es), this run has {processes.world_size()}: it '
            'continues at the same place in the data, but not exactly as it would have.'
        )
