"""The model of a run, as the loop sees it: with true numbers of iterations, checkpoints of a run and its record."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.utils import get_root_logger

from pdd_arch.distributed import processes
from pdd_arch.models.pdd_model import PDDModel
from pdd_arch.training.best_results import best_iteration
from pdd_arch.training.checkpoints import OpenCheckpoint, prune
from pdd_arch.training.comparison import recorded_options
from pdd_arch.training.run_state import BasicSROptions, TrainedModel, TrainingRun
from pdd_arch.utils.random_state import RandomState, random_state, restore_random_state


def build_model_of_run(build_model: Callable[[BasicSROptions], TrainedModel], opt: BasicSROptions) -> TrainedModel:
    """BasicSR's ``build_model``, whose model the run follows from then on."""
    run = opt.run
    with run.opened_weights.shared():
        run.model = build_model(opt)
    run.opened_weights.release()
    run.feature_net = None
    for note in run.notes:
        get_root_logger().warning(note)
    run.trained = run.first_iteration - 1
    follow = FollowedModel if isinstance(run.model, PDDModel) else FollowedModelOfBasicSR
    follow(run.model, run, opt).take_methods()
    return run.model


class FollowedModel:
    """Stands between the loop and the methods of a model, by attributes of the instance.

    Args:
        model: any of BasicSR's, or of the user's.
        opt: options of the run, whole; models take entries out of theirs.
    """

    replaced: tuple[str, ...] = ('save', 'validation', 'test')

    def __init__(self, model: Any, run: TrainingRun, opt: Mapping[str, Any]) -> None:
        self.model, self.run, self.opt = model, run, opt
        self.plain: dict[str, Callable[..., Any]] = {}
        self.keep_best: str | None = (opt.get('logger') or {}).get('keep_best')
        self._recorded: set[str] = set()
        self._before_validation: RandomState | None = None  # while one is under way

    def take_methods(self) -> None:
        """From now on the model's methods are those of this object, which call its own."""
        for name in self.replaced:
            if hasattr(self.model, name):
                self.plain[name] = getattr(self.model, name)
                setattr(self.model, name, getattr(self, name))

    def save(self, epoch: int, current_iter: int) -> None:
        """``model.save``, an event of the record."""
        self.plain['save'](epoch, current_iter)
        self.record_checkpoint(current_iter)

    def record_checkpoint(self, current_iter: int, files: list[str] | None = None) -> None:
        """Add the checkpoint of an iteration (-1: the end of the training) to the record, once."""
        at_end = current_iter == -1
        iteration = self.run.finished_iteration if at_end else current_iter
        file = files[0] if files else f'net_g_{"latest" if at_end else iteration}.pth'
        if self.run.record is not None and file not in self._recorded:  # a model may be asked to save twice
            self.run.record.add('checkpoint', iteration=iteration, file=file)
        self._recorded.add(file)

    def validation(self, dataloader: Any, current_iter: int, *args: Any, **kwargs: Any) -> None:
        """``model.validation`` under the number of the iteration that is validated, an event of the record.

        At the end of the training BasicSR's number is too high by that of the empty epochs. The loader of the images
        draws from the random generators, which has no effect on the training. A new best result in
        ``logger.keep_best`` is saved at once.
        """
        iteration = min(current_iter, self.run.finished_iteration)
        self._before_validation = before = random_state()
        try:
            self.plain['validation'](dataloader, iteration, *args, **kwargs)
        finally:
            self._before_validation = None
            restore_random_state(before)
        if dataloader is self.run.val_loaders[-1]:
            self.run.validated = iteration
        if self.run.record is not None:
            name, metrics = dataloader.dataset.opt['name'], self._results()
            self.run.record.add('validation', iteration=iteration, dataset=name, metrics=metrics)
        if self.keep_best and processes.from_first(self.best_iteration()) == iteration:
            self.model.save(self.run.position.epoch, iteration)

    def best_iteration(self) -> int | None:
        """Iteration of the best result in ``logger.keep_best``; None where there is none."""
        return best_iteration(getattr(self.model, 'best_metric_results', {}), self.keep_best)

    def _results(self) -> dict[str, float]:
        """The metrics of the validation that has come to its end, by name."""
        results: Mapping[str, Any] = getattr(self.model, 'metric_results', {})
        frames = [values for values in results.values() if isinstance(values, torch.Tensor) and values.ndim == 2]
        if not frames:
            return dict(results)
        # of videos: (frames, metrics) for each folder; BasicSR gives the mean over folders
        means = torch.stack([values.mean(dim=0).cpu() for values in frames]).mean(dim=0)
        return dict(zip(self.opt['val']['metrics'], means.tolist(), strict=True))

    def test(self, *args: Any, **kwargs: Any) -> Any:
        """``model.test``, before which a signal ends the validation where there is one process."""
        if self._before_validation is not None and self.run.stop.signum and processes.world_size() == 1:
            restore_random_state(self._before_validation)  # the state is that of the training
            self.run.stop_during_validation()
        return self.plain['test'](*args, **kwargs)


class FollowedModelOfBasicSR(FollowedModel):
    """Gives a model of BasicSR what `PDDModel` has of its own.

    Its checkpoints are whole, complete enough to go on from exactly, and as many as ``logger.keep_checkpoints`` says.
    """

    replaced = (*FollowedModel.replaced, 'update_learning_rate', 'optimize_parameters')

    def __init__(self, model: Any, run: TrainingRun, opt: Mapping[str, Any]) -> None:
        super().__init__(model, run, opt)
        self._last_saved = run.first_iteration - 1
        self._keep = (opt.get('logger') or {}).get('keep_checkpoints')

    def update_learning_rate(self, *args: Any, **kwargs: Any) -> None:
        """``model.update_learning_rate``, with which an iteration begins."""
        self.run.in_step = True
        self.plain['update_learning_rate'](*args, **kwargs)

    def optimize_parameters(self, current_iter: int) -> None:
        """``model.optimize_parameters``, with which it ends."""
        self.plain['optimize_parameters'](current_iter)
        self.run.trained, self.run.in_step = current_iter, False

    def save(self, epoch: int, current_iter: int) -> None:
        """``model.save``, once for an iteration; see `OpenCheckpoint`. Collective. Raises WeightsError."""
        if current_iter == self._last_saved:
            return
        of_run = {} if current_iter == -1 else self._state_of_run(current_iter)
        with OpenCheckpoint(of_run) as checkpoint:
            self.run.checkpoint = checkpoint
            try:
                self.plain['save'](epoch, current_iter)
            finally:
                self.run.checkpoint = None
            checkpoint.publish()
            files = checkpoint.network_files
        self.record_checkpoint(current_iter, files)
        if current_iter == -1:
            return
        self._last_saved = current_iter
        if self._keep and processes.rank() == 0:
            paths, best = self.opt['path'], self.best_iteration()
            for name in prune(Path(paths['models']), Path(paths['training_states']), self._keep, best):
                get_root_logger().info(f'Removed {name} (logger.keep_checkpoints: {self._keep}).')

    def _state_of_run(self, iteration: int) -> dict[str, Any]:
        return {
            **self.run.saved_position(),
            'random': processes.gather_objects(random_state()),
            'validated': self.run.validated == iteration,
            'data': self.run.data_identity,
            'options': recorded_options(self.opt),
        }
