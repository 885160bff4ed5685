"""How a model's networks and training state are written and read back."""

import math
from collections.abc import Mapping
from os import path as osp
from pathlib import Path

import torch
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from torch import nn

from pdd_arch.distributed import processes
from pdd_arch.errors import NumbersError, OptionError, PDDError, WeightsError
from pdd_arch.models.retention import prune
from pdd_arch.training.comparison import recorded_options
from pdd_arch.training.run_state import current_run
from pdd_arch.utils.random_state import random_state, restore_random_state
from pdd_arch.weights.checkpoints import (
    check_finite,
    check_fits,
    read_checkpoint,
    state_dict_hash,
    state_dict_of,
)
from pdd_arch.weights.writing import CheckpointWriter, write_checkpoint


class CheckpointMixin:
    """Saving and loading for a BasicSR model with ``net_g``, ``net_g_ema`` (optional), ``net_d`` and ``scaler``.

    Replaces BasicSR's methods of the same names. A training state and the networks it belongs to are written
    together: all on disk before the first is visible, the state last, with the networks' SHA-256 in it. A failed write
    stops the run. Reads never run code, and an error names the option, the file and what differs.
    """

    def save(self, epoch: int, current_iter: int) -> None:
        """Write the networks and the state of an iteration. Collective: every process calls it, the first one writes.

        ``models/net_g_<iter>.pth`` (``params``, ``params_ema``), ``models/net_d_<iter>.pth`` and
        ``training_states/<iter>.state``. For -1, the end of the training, also ``net_g_latest.pth``.

        Raises:
            WeightsError: a file could not be written; what was there before still is.
            NumbersError: a network holds numbers that are not finite; nothing was written.
        """
        if current_iter == -1:
            for label in self._networks():
                parts = self._saved_parts(label)
                self.save_network(list(parts.values()), label, -1, list(parts))
            return
        if current_iter == self._last_saved:
            return
        self._check_numbers(current_iter)
        generators = processes.gather_objects(random_state())
        if processes.rank() == 0:
            self._write(epoch, current_iter, generators)
        self._last_saved = current_iter

    def _networks(self) -> list[str]:
        return ['net_g'] if self.net_d is None else ['net_g', 'net_d']

    def _saved_parts(self, label: str) -> dict[str, nn.Module]:
        """What a network's file holds, by key."""
        parts = {'params': getattr(self, label)}
        if label == 'net_g' and hasattr(self, 'net_g_ema'):
            parts['params_ema'] = self.net_g_ema
        return parts

    def _check_numbers(self, current_iter: int) -> None:
        """A state with broken networks must not become the newest one."""
        for label in (*self._networks(), 'net_g_ema'):
            net = getattr(self, label, None)
            if net is None:
                continue
            for name, value in self.get_bare_model(net).state_dict().items():
                if value.is_floating_point() and not torch.isfinite(value).all():
                    raise NumbersError(
                        f'iteration {current_iter}: {name} of {label} is not finite any more, so nothing is saved. '
                        'Continue from an earlier state (--auto_resume) with a lower train.optim_g.lr or with '
                        'train.grad_clip.'
                    )

    def _write(self, epoch: int, current_iter: int, generators: list[dict]) -> None:
        paths = self.opt['path']
        state_file = Path(paths['training_states'], f'{current_iter}.state')
        networks = {}
        with CheckpointWriter() as writer:
            for label in self._networks():
                file = Path(paths['models'], f'{label}_{current_iter}.pth')
                networks[label] = {
                    'file': file.name,
                    'sha256': writer.add(self._content(self._saved_parts(label)), file),
                }
            state = self._training_state(epoch, current_iter) | {'networks': networks, 'random': generators}
            writer.add(state, state_file)
            writer.publish(replacing=state_file)
        logger = self.opt.get('logger') or {}
        if logger.get('keep_checkpoints'):
            best = self._best_iteration(logger['keep_best']) if logger.get('keep_best') else None
            for name in prune(Path(paths['models']), state_file.parent, logger['keep_checkpoints'], best):
                get_root_logger().info(f'Removed {name} (logger.keep_checkpoints: {logger["keep_checkpoints"]}).')

    def _content(self, parts: Mapping[str, nn.Module]) -> dict[str, dict]:
        return {
            key: {k: v.cpu() for k, v in self.get_bare_model(part).state_dict().items()} for key, part in parts.items()
        }

    @master_only
    def save_network(self, net, net_label: str, current_iter: int, param_key: str | list[str] = 'params') -> None:
        """As BasicSR's, but atomic, and a failed write stops the run instead of being ignored."""
        iteration = 'latest' if current_iter == -1 else current_iter
        file = osp.join(self.opt['path']['models'], f'{net_label}_{iteration}.pth')
        nets, keys = net if isinstance(net, list) else [net], param_key if isinstance(param_key, list) else [param_key]
        write_checkpoint(self._content(dict(zip(keys, nets, strict=True))), file)

    def _training_state(self, epoch: int, current_iter: int) -> dict:
        """Everything the next iteration depends on besides networks and random generators; plain containers only."""
        run = current_run()
        followed = run.model is self and run.started
        return {
            'epoch': run.position.epoch if followed else epoch,
            'iter': current_iter,
            'optimizers': [o.state_dict() for o in self.optimizers],
            'schedulers': [s.state_dict() for s in self.schedulers],
            'scaler': self.scaler.state_dict(),
            'position': {'epoch': run.position.epoch, 'samples': run.position.samples} if followed else None,
            # the loop saves before it validates: whoever resumes from here validates first
            'validated': self._validated == current_iter,
            'best_metrics': getattr(self, 'best_metric_results', {}),
            'nonfinite': {'in_a_row': self.nonfinite_in_a_row, 'total': self.nonfinite_total},
            'teacher': self._teacher_hash(),
            'data': run.data_identity,
            'options': recorded_options(self.opt),
        }

    def _teacher_hash(self) -> str | None:
        """Who a static teacher is; it never changes, so it is not saved with the run."""
        if self.settings.teacher != 'static' or self.net_teacher is None:
            return None
        if self._teacher_identity is None:
            self._teacher_identity = state_dict_hash(self.get_bare_model(self.net_teacher).state_dict())
        return self._teacher_identity

    def resume_training(self, resume_state: Mapping) -> None:
        """Continue optimizers, schedulers, the loss scale, records and counts.

        Raises:
            OptionError: the state is of another static teacher, or of another number of optimizers.
            WeightsError: what it holds cannot be put back.
        """
        try:
            self._resume(resume_state)
        except PDDError:
            raise
        except Exception as e:  # whatever optimizers and schedulers make of a damaged state
            raise WeightsError(
                f'path.resume_state: {self.opt["path"].get("resume_state")} cannot be continued from '
                f'({type(e).__name__}: {" ".join(str(e).split())[:200]}). It is damaged, or of another run; take an '
                'earlier one.'
            ) from e

    def _resume(self, resume_state: Mapping) -> None:
        state = self.opt['path'].get('resume_state')
        recorded = resume_state.get('teacher')
        if recorded is not None and recorded != self._teacher_hash():
            raise OptionError(
                f'path.pretrain_network_teacher: these are not the weights of the teacher that {state} was trained '
                'with (their SHA-256 differs). Give the same weights, or start a new run under another name.'
            )
        for kind in ('optimizers', 'schedulers'):
            have, wanted = len(resume_state[kind]), len(getattr(self, kind))
            if have != wanted:
                raise OptionError(
                    f'path.resume_state: {state} holds {have} {kind}, this run has {wanted} (network_g and network_d). '
                    'Resume with the networks that the state was written with.'
                )
        for scheduler, saved in zip(self.schedulers, resume_state['schedulers'], strict=True):
            # torch puts whatever a state holds into the scheduler, also in the place of its methods
            methods = [k for k in saved if callable(getattr(type(scheduler), str(k), None))]
            if methods:
                raise WeightsError(f'path.resume_state: {state} is not of a run: a scheduler has {methods[0]!r}.')
        super().resume_training(resume_state)
        if resume_state.get('scaler') and self.scaler.is_enabled():
            self.scaler.load_state_dict(resume_state['scaler'])
        self.iteration = self._last_saved = resume_state['iter']
        counts = resume_state.get('nonfinite') or {'in_a_row': 0, 'total': 0}
        self.nonfinite_in_a_row, self.nonfinite_total = counts['in_a_row'], counts['total']
        self._resume_records(resume_state.get('best_metrics') or {})

    def _resume_records(self, records: Mapping) -> None:
        """Best results so far, of the metrics that are still measured, in the same direction."""
        metrics = (self.opt.get('val') or {}).get('metrics') or {}
        for dataset, found in records.items():
            own = {m: dict(r) for m, r in found.items() if m in metrics}
            if own:
                self._initialize_best_metric_results(dataset)
                for metric, record in own.items():
                    if self.best_metric_results[dataset][metric]['better'] == record['better']:
                        self.best_metric_results[dataset][metric] = record

    # ---------------------------------------------------------------- the best checkpoint
    def _best_iteration(self, wanted: str) -> int | None:
        """Iteration of the best result in ``logger.keep_best``, None before the first validation."""
        dataset, _, metric = wanted.rpartition('/')
        for name, records in getattr(self, 'best_metric_results', {}).items():
            if metric in records and dataset in ('', name):
                iteration = records[metric]['iter']
                return iteration if iteration > 0 else None
        return None

    def validation(self, dataloader, current_iter: int, tb_logger, save_img: bool = False) -> None:
        """As BasicSR's, under the number of the iteration that is validated, and without an effect on the training.

        BasicSR numbers the validation at the end of the training one or two too high, and its loader draws from the
        random generators. A new best result in ``logger.keep_best`` is saved at once.
        """
        iteration = min(current_iter, self.iteration) if self.opt['is_train'] else current_iter
        before = random_state()
        try:
            super().validation(dataloader, iteration, tb_logger, save_img)
        finally:
            restore_random_state(before)
        self._validated = iteration
        wanted = (self.opt.get('logger') or {}).get('keep_best') if self.opt['is_train'] else None
        if wanted and processes.from_first(self._best_iteration(wanted)) == self.iteration:
            self.save(current_run().position.epoch, self.iteration)

    def _update_best_metric_result(self, dataset_name: str, metric: str, val: float, current_iter: int) -> None:
        """As BasicSR's, with a plain number, which a state can hold; one that is undefined is never the best."""
        if math.isnan(float(val)):
            get_root_logger().warning(
                f'{metric} of {dataset_name} is not a number: is crop_border larger than an image?'
            )
        else:
            super()._update_best_metric_result(dataset_name, metric, float(val), current_iter)

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True, param_key: str | None = 'params'):
        """As BasicSR's, with errors that name the option, the file and what differs.

        Raises:
            MissingFileError, WeightsError: see `pdd_arch.weights.checkpoints`.
        """
        option = next((f'path.{k}' for k, v in self.opt['path'].items() if v == load_path), 'weights')
        net = self.get_bare_model(net)
        content = read_checkpoint(load_path, option)
        key_option = option.replace('pretrain_network_', 'param_key_') if option != 'weights' else None
        state = state_dict_of(content, param_key, load_path, option, net, key_option)
        check_finite(state, load_path, option)
        logger = get_root_logger()
        if param_key is not None and param_key not in content:
            logger.warning(f'{load_path} has no {param_key}; its params are used.')
        logger.info(f'Loading {type(net).__name__} from {load_path}, with param key: [{param_key}].')
        if strict:
            check_fits(net, state, load_path, option)
        else:
            self._print_different_keys_loading(net, state, strict)
        net.load_state_dict(state, strict=strict)
