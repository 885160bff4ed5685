"""How the networks and the training state of a run are written and read back."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import nn

from pdd_arch.distributed import processes
from pdd_arch.errors import NumbersError, OptionError, PDDError
from pdd_arch.models.deployed_weights import DeployedWeights
from pdd_arch.models.networks import Networks, bare
from pdd_arch.models.nonfinite import GuardedSteps
from pdd_arch.models.validator import Validator
from pdd_arch.training.checkpoints import OpenCheckpoint, cannot_continue, continue_schedules, prune
from pdd_arch.training.comparison import recorded_options
from pdd_arch.training.run_state import TrainingRun
from pdd_arch.utils.random_state import RandomState, random_state
from pdd_arch.weights.checkpoints import state_dict_hash
from pdd_arch.weights.writing import write_checkpoint

Scheduler = torch.optim.lr_scheduler.LRScheduler


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
        with OpenCheckpoint({'random': generators}) as checkpoint:
            for label, parts in self.networks.saved().items():
                checkpoint.add_network(label, _content(parts), Path(paths['models'], f'{label}_{iteration}.pth'))
            checkpoint.set_state(self.training_state(epoch, iteration), state_file)
            checkpoint.publish()
        keep = (self.opt.get('logger') or {}).get('keep_checkpoints')
        if keep:
            for name in prune(Path(paths['models']), state_file.parent, keep, self.validator.best_iteration()):
                get_root_logger().info(f'Removed {name} (logger.keep_checkpoints: {keep}).')

    def training_state(self, epoch: int, iteration: int) -> dict[str, Any]:
        """Everything the next iteration depends on besides networks and random generators; plain containers only."""
        return {
            'epoch': epoch,
            'iter': iteration,
            **self.run.saved_position(),
            'optimizers': [o.state_dict() for o in self.optimizers],
            'schedulers': [s.state_dict() for s in self.schedulers],
            'training_weights': self.weights.in_training(),
            'scaler': self.steps.scaler.state_dict(),
            # the loop saves before it validates: whoever resumes from here validates first
            'validated': self.run.validated == iteration,
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
        except Exception as e:  # whatever is made of a damaged state
            raise cannot_continue(file, e) from e

    def _resume(self, state: Mapping[str, Any], file: str) -> None:
        recorded = state.get('teacher')
        if recorded is not None and recorded != self._teacher_hash:
            raise OptionError(
                f'these are not the weights of the teacher that {file} was trained with (their SHA-256 differs)',
                where='path.pretrain_network_teacher',
                way_out='Give the same weights, or start a new run under another name.',
            )
        continue_schedules(state, self.optimizers, self.schedulers, file)
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


def _content(parts: Mapping[str, nn.Module]) -> dict[str, dict[str, torch.Tensor]]:
    return {key: {k: v.cpu() for k, v in bare(part).state_dict().items()} for key, part in parts.items()}
