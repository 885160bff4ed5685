"""The model of a run, as the loop sees it: what it writes and measures is recorded."""

from collections.abc import Callable
from typing import Any

from basicsr.utils import get_root_logger

from pdd_arch.training.record import TrainingRecord
from pdd_arch.training.run_state import BasicSROptions, TrainedModel, TrainingRun


def build_model_of_run(build_model: Callable[[BasicSROptions], TrainedModel], opt: BasicSROptions) -> TrainedModel:
    run = opt.run
    with run.opened_weights.shared():
        run.model = build_model(opt)
    run.opened_weights.release()
    run.feature_net = None
    for note in run.notes:
        get_root_logger().warning(note)
    if run.record is not None:
        _record_results(run.model, run, run.record)
    return run.model


def _record_results(model: Any, run: TrainingRun, record: TrainingRecord) -> None:
    """Checkpoints and validations of a model of any kind become events of the record."""
    save, validation, saved = model.save, model.validation, set()

    def recorded_save(epoch: int, current_iter: int) -> None:
        save(epoch, current_iter)
        iteration, name = (run.finished_iteration, 'latest') if current_iter == -1 else (current_iter, current_iter)
        if name not in saved:  # a model may be asked to save an iteration twice
            record.add('checkpoint', iteration=iteration, file=f'net_g_{name}.pth')
        saved.add(name)

    def recorded_validation(dataloader: Any, current_iter: int, *args: Any) -> None:
        validation(dataloader, current_iter, *args)
        # at the end of the training BasicSR's number is one or two too high
        iteration, name = min(current_iter, run.finished_iteration), dataloader.dataset.opt['name']
        record.add('validation', iteration=iteration, dataset=name, metrics=getattr(model, 'metric_results', {}))

    model.save, model.validation = recorded_save, recorded_validation
