"""How the networks and the training state of a run are written and read back."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import nn

from pdd_arch.distributed import processes
from pdd_arch.errors import NumbersError, OptionError, PDDError, WeightsError
from pdd_arch.models.deployed_weights import DeployedWeights
from pdd_arch.models.networks import Networks, bare
from pdd_arch.models.nonfinite import GuardedSteps
from pdd_arch.models.validator import Validator
from pdd_arch.training.comparison import recorded_options
from pdd_arch.training.run_state import TrainingRun
from pdd_arch.utils.random_state import RandomState, random_state
from pdd_arch.weights.checkpoints import state_dict_hash
from pdd_arch.weights.writing import CheckpointWriter, write_checkpoint

Scheduler = torch.optim.lr_scheduler.LRScheduler

_NETWORK_FILE = re.compile(r'net_[a-z]+_(\d+)\.pth')


@dataclass
class Checkpointer:
    """Saves and resumes a training.

    A training state and the networks it belongs to are written together: all are on disk before the first is visible,
    the state last, with the SHA-256 of the networks in it. A failed write stops the run. Optimizers and schedulers are
    those of the student and, if there is one, the discriminator.
    """

    networks: Networks
    optimizers: list[torch.optim.Optimizer]
    schedulers: list[Scheduler]
    steps: GuardedSteps
    validator: Validator
    run: TrainingRun
    opt: Mapping[str, Any]
    last_saved: int | None = None  # the iteration that was saved, or resumed from, last

    def __post_init__(self) -> None:
        self.weights = DeployedWeights(self.optimizers)

    def save(self, epoch: int, iteration: int) -> None:
        """Write the networks and the state of an iteration. Collective: all ranks call it, rank 0 writes.

        ``models/net_g_<iter>.pth`` (``params``, ``params_ema``), ``models/net_d_<iter>.pth`` and
        ``training_states/<iter>.state``. For -1, the end of the training, only the networks, as ``net_*_latest.pth``.
        Raises WeightsError where a file could not be written, NumbersError where a network holds numbers that are not
        finite; what was there before still is.
        """
        if iteration == self.last_saved:
            return
        with self.weights.in_place():
            if iteration == -1:
                if processes.rank() == 0:
                    for label, parts in self.networks.saved().items():
                        write_checkpoint(_content(parts), Path(self.opt['path']['models'], f'{label}_latest.pth'))
                return
            self._check_numbers(iteration)
            generators = processes.gather_objects(random_state())
            if processes.rank() == 0:
                self._write(epoch, iteration, generators)
        self.last_saved = iteration

    def _check_numbers(self, iteration: int) -> None:
        """A state with broken networks must not become the newest one."""
        for label, parts in self.networks.saved().items():
            for key, net in parts.items():
                for name, value in net.state_dict().items():
                    if value.is_floating_point() and not torch.isfinite(value).all():
                        network = 'net_g_ema' if key == 'params_ema' else label
                        raise NumbersError(
                            f'{name} of {network} is not finite any more, so nothing is saved',
                            where=f'iteration {iteration}',
                            way_out='Continue from an earlier state (--auto_resume) with a lower train.optim_g.lr or '
                            'with train.grad_clip.',
                        )

    def _write(self, epoch: int, iteration: int, generators: list[RandomState]) -> None:
        paths = self.opt['path']
        state_file = Path(paths['training_states'], f'{iteration}.state')
        files = {}
        with CheckpointWriter() as writer:
            for label, parts in self.networks.saved().items():
                file = Path(paths['models'], f'{label}_{iteration}.pth')
                files[label] = {'file': file.name, 'sha256': writer.add(_content(parts), file)}
            state = self.training_state(epoch, iteration) | {'networks': files, 'random': generators}
            writer.add(state, state_file)
            writer.publish(replacing=state_file)
        keep = (self.opt.get('logger') or {}).get('keep_checkpoints')
        if keep:
            for name in prune(Path(paths['models']), state_file.parent, keep, self.validator.best_iteration()):
                get_root_logger().info(f'Removed {name} (logger.keep_checkpoints: {keep}).')

    def training_state(self, epoch: int, iteration: int) -> dict[str, Any]:
        """Everything the next iteration depends on besides networks and random generators; plain containers only."""
        position, followed = self.run.position, self.run.started
        return {
            'epoch': position.epoch if followed else epoch,
            'iter': iteration,
            'optimizers': [o.state_dict() for o in self.optimizers],
            'schedulers': [s.state_dict() for s in self.schedulers],
            'training_weights': self.weights.in_training(),
            'scaler': self.steps.scaler.state_dict(),
            'position': {'epoch': position.epoch, 'samples': position.samples} if followed else None,
            # the loop saves before it validates: whoever resumes from here validates first
            'validated': self.validator.validated == iteration,
            'best_metrics': self.validator.best,
            'nonfinite': {'in_a_row': self.steps.in_a_row, 'total': self.steps.total},
            'teacher': self._teacher_hash,
            'data': self.run.data_identity,
            'conditions': self.run.conditions,
            'options': recorded_options(self.opt),
        }

    @functools.cached_property
    def _teacher_hash(self) -> str | None:
        """Which static teacher this is; it never changes, so it is not saved with the run."""
        teacher = self.networks.teacher
        return None if teacher is None or teacher is self.networks.ema else state_dict_hash(teacher.state_dict())

    def resume(self, state: Mapping[str, Any]) -> None:
        """Continue optimizers, schedulers, the loss scale, best results and counts; OptionError, WeightsError."""
        file = str(self.opt['path'].get('resume_state'))
        try:
            self._resume(state, file)
        except PDDError:
            raise
        except Exception as e:  # whatever optimizers and schedulers make of a damaged state
            raise WeightsError(
                f'{file} cannot be continued from ({type(e).__name__}: {" ".join(str(e).split())[:200]})',
                where='path.resume_state',
                way_out='It is damaged, or of another run; take an earlier one.',
            ) from e

    def _resume(self, state: Mapping[str, Any], file: str) -> None:
        recorded = state.get('teacher')
        if recorded is not None and recorded != self._teacher_hash:
            raise OptionError(
                f'these are not the weights of the teacher that {file} was trained with (their SHA-256 differs)',
                where='path.pretrain_network_teacher',
                way_out='Give the same weights, or start a new run under another name.',
            )
        for kind, own in (('optimizers', self.optimizers), ('schedulers', self.schedulers)):
            if len(state[kind]) != len(own):
                raise OptionError(
                    f'{file} holds {len(state[kind])} {kind}, this run has {len(own)} (network_g and network_d)',
                    where='path.resume_state',
                    way_out='Resume with the networks that the state was written with.',
                )
        for scheduler, saved in zip(self.schedulers, state['schedulers'], strict=True):
            # torch puts whatever a state holds into the scheduler, also in the place of its methods
            methods = [k for k in saved if callable(getattr(type(scheduler), str(k), None))]
            if methods:
                raise WeightsError(f'{file} is not of a run: a scheduler has {methods[0]!r}', where='path.resume_state')
            scheduler.load_state_dict(saved)
        for optimizer, saved in zip(self.optimizers, state['optimizers'], strict=True):
            optimizer.load_state_dict(saved)
        ignored = self.opt['path'].get('ignore_resume_networks') or ()
        kept = state.get('training_weights') or [None] * len(self.optimizers)
        names = zip(('network_g', 'network_d'), kept, strict=False)
        self.weights.restore([None if name in ignored else weights for name, weights in names])
        if state.get('scaler') and self.steps.scaler.is_enabled():
            self.steps.scaler.load_state_dict(state['scaler'])
        self.last_saved = state['iter']
        counts = state.get('nonfinite') or {'in_a_row': 0, 'total': 0}
        self.steps.in_a_row, self.steps.total = counts['in_a_row'], counts['total']
        self.validator.restore_best(state.get('best_metrics') or {})


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


def _content(parts: Mapping[str, nn.Module]) -> dict[str, dict[str, torch.Tensor]]:
    return {key: {k: v.cpu() for k, v in bare(part).state_dict().items()} for key, part in parts.items()}
