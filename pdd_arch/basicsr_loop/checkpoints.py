"""How models of BasicSR write and read their checkpoints: its methods, with the same files and what they lack."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.models.base_model import BaseModel
from torch import nn

from pdd_arch.distributed import processes
from pdd_arch.models.loading import load_weights
from pdd_arch.training.best_results import still_measured
from pdd_arch.training.checkpoints import continue_schedules
from pdd_arch.training.run_state import TrainingRun
from pdd_arch.weights.writing import write_checkpoint


def save_network(
    self: BaseModel,
    net: nn.Module | list[nn.Module],
    net_label: str,
    current_iter: int,
    param_key: str | list[str] = 'params',
) -> None:
    """``BaseModel.save_network``: written atomically, and an error where that fails. Raises WeightsError."""
    if processes.rank():
        return
    nets = net if isinstance(net, list) else [net]
    keys = param_key if isinstance(param_key, list) else [param_key]
    content = {key: _state_of(self.get_bare_model(part)) for key, part in zip(keys, nets, strict=True)}
    name = 'latest' if current_iter == -1 else current_iter
    file = Path(self.opt['path']['models'], f'{net_label}_{name}.pth')
    if (checkpoint := _run_of(self).checkpoint) is not None:
        checkpoint.add_network(net_label, content, file)
    else:
        write_checkpoint(content, file)


def save_training_state(self: BaseModel, epoch: int, current_iter: int) -> None:
    """``BaseModel.save_training_state``, with what a run needs to go on exactly. Raises WeightsError."""
    if processes.rank() or current_iter == -1:
        return
    state = {
        'epoch': epoch,
        'iter': current_iter,
        'optimizers': [o.state_dict() for o in self.optimizers],
        'schedulers': [s.state_dict() for s in self.schedulers],
        'best_metrics': _plain(getattr(self, 'best_metric_results', {})),
    }
    file = Path(self.opt['path']['training_states'], f'{current_iter}.state')
    if (checkpoint := _run_of(self).checkpoint) is not None:
        checkpoint.set_state(state, file)
    else:
        write_checkpoint(state, file)


def load_network(
    self: BaseModel, net: nn.Module, load_path: str, strict: bool = True, param_key: str | None = 'params'
) -> None:
    """``BaseModel.load_network``: read as the check has read it, with errors that name file and option.

    Raises:
        MissingFileError, WeightsError: see `pdd_arch.weights.checkpoints`.
    """
    paths, start = self.opt['path'], 'pretrain_network_'
    letters = [key.removeprefix(start) for key, file in paths.items() if key.startswith(start) and file == load_path]
    # BasicSR does not say which network it is; one file may be that of several
    letter = next((x for x in letters if getattr(self, f'net_{x}', None) is net), letters[0] if letters else None)
    option, key_option = ('path', None) if letter is None else (f'path.{start}{letter}', f'path.param_key_{letter}')
    # an average is asked for as params_ema whatever param_key_* says of the file
    others = ['params', *(paths[key] for key in (f'param_key_{letter}',) if key in paths)]
    load_weights(self, net, load_path, strict, param_key, option, _run_of(self).opened_weights, key_option, others)


def resume_training(self: BaseModel, resume_state: Mapping[str, Any]) -> None:
    """``BaseModel.resume_training``, the best results included. OptionError, WeightsError: the state does not fit."""
    file = str(self.opt['path'].get('resume_state'))
    continue_schedules(resume_state, self.optimizers, self.schedulers, file)
    sections = {s.get('name', phase): s for phase, s in self.opt['datasets'].items() if phase != 'train'}
    metrics = (self.opt.get('val') or {}).get('metrics') or {}
    if best := still_measured(resume_state.get('best_metrics') or {}, metrics, sections):
        self.best_metric_results = best


def _run_of(model: BaseModel) -> TrainingRun:
    """The run that the options carry; for a model that was built without one, a run that knows nothing."""
    run = getattr(model.opt, 'run', None)
    return run if isinstance(run, TrainingRun) else TrainingRun()


def _state_of(net: nn.Module) -> dict[str, torch.Tensor]:
    state = net.state_dict()
    for name in list(state):
        state[name.removeprefix('module.')] = state.pop(name).cpu()
    return state


def _plain(best: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """The best results in numbers that a state can hold; metrics give those of numpy."""
    return {
        dataset: {metric: {**record, 'val': float(record['val'])} for metric, record in records.items()}
        for dataset, records in best.items()
    }
