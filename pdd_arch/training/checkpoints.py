"""What the checkpoints of all models have in common: how they are written, continued from and removed.

A checkpoint is a training state, ``training_states/<iter>.state``, and the networks that belong to it,
``models/<label>_<iter>.pth``.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pdd_arch.errors import OptionError, PDDError, WeightsError
from pdd_arch.weights.writing import CheckpointWriter

_NETWORK_FILE = re.compile(r'net_\w+_(\d+)\.pth')


class OpenCheckpoint:
    """A checkpoint that is being written: all its files are on disk before the first is visible, the state last.

    In a ``with`` block, add what belongs to it, then :meth:`publish`. Whatever goes wrong in between, nothing that was
    there before is touched. The state holds the SHA-256 of the networks (``networks``) beside what it is given.

    Args:
        of_run: entries of the state that do not come from the model.
    """

    def __init__(self, of_run: Mapping[str, Any] | None = None) -> None:
        self._of_run = dict(of_run or {})
        self._writer = CheckpointWriter()
        self._networks: dict[str, dict[str, str]] = {}
        self._state: tuple[dict[str, Any], Path] | None = None

    def __enter__(self) -> 'OpenCheckpoint':
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.__exit__(*error)

    @property
    def network_files(self) -> list[str]:
        """Names of the files of networks, in the order in which they were added."""
        return [entry['file'] for entry in self._networks.values()]

    def add_network(self, label: str, content: Mapping[str, object], file: Path) -> None:
        """Write the content of a network's file, by its key in it. Raises WeightsError."""
        self._networks[label] = {'file': file.name, 'sha256': self._writer.add(content, file)}

    def set_state(self, content: Mapping[str, Any], file: Path) -> None:
        """Take the state, which is written when all networks are."""
        self._state = {**content, **self._of_run}, file

    def publish(self) -> None:
        """Give all files their names. Raises WeightsError."""
        state_file = None
        if self._state is not None:
            state, state_file = self._state
            self._writer.add({**state, 'networks': self._networks}, state_file)
        self._writer.publish(replacing=state_file)


def continue_schedules(
    state: Mapping[str, Any],
    optimizers: Sequence[torch.optim.Optimizer],
    schedulers: Sequence[torch.optim.lr_scheduler.LRScheduler],
    file: str,
) -> None:
    """Let optimizers and schedules go on from the state in `file`. OptionError, WeightsError: they are not of it."""
    for kind, own in (('optimizers', optimizers), ('schedulers', schedulers)):
        if len(state[kind]) != len(own):
            raise OptionError(
                f'{file} holds {len(state[kind])} {kind}, this run has {len(own)} (network_g and network_d)',
                where='path.resume_state',
                way_out='Resume with the networks that the state was written with.',
            )
    try:
        for scheduler, saved in zip(schedulers, state['schedulers'], strict=True):
            # torch puts whatever a state holds into the scheduler, also in the place of its methods
            methods = [k for k in saved if callable(getattr(type(scheduler), str(k), None))]
            if methods:
                raise WeightsError(f'{file} is not of a run: a scheduler has {methods[0]!r}', where='path.resume_state')
            scheduler.load_state_dict(saved)
        for optimizer, saved in zip(optimizers, state['optimizers'], strict=True):
            optimizer.load_state_dict(saved)
    except PDDError:
        raise
    except Exception as e:  # whatever they make of a damaged state
        raise cannot_continue(file, e) from e


def cannot_continue(file: str, reason: Exception) -> WeightsError:
    """The error for a state that nothing can be made of."""
    return WeightsError(
        f'{file} cannot be continued from ({type(reason).__name__}: {" ".join(str(reason).split())[:200]})',
        where='path.resume_state',
        way_out='It is damaged, or of another run; take an earlier one.',
    )


def prune(models: Path, states: Path, keep: int, best: int | None) -> list[str]:
    """Remove the checkpoints of all but the `keep` newest iterations and `best`; returns the names of the files.

    ``net_*_latest.pth`` and other files stay. A state goes before its networks: at any moment every state that is
    there has them.
    """
    state_files = {int(f.stem): f for f in states.glob('*.state') if f.stem.isdecimal()}
    networks: dict[int, list[Path]] = {}
    for file in models.glob('net_*.pth'):
        if match := _NETWORK_FILE.fullmatch(file.name):
            networks.setdefault(int(match[1]), []).append(file)
    iterations = sorted(state_files.keys() | networks.keys(), reverse=True)
    removed = []
    for iteration in iterations[keep:]:
        if iteration == best:
            continue
        for file in (*([state_files[iteration]] if iteration in state_files else []), *networks.get(iteration, [])):
            file.unlink(missing_ok=True)
            removed.append(file.name)
    return removed
