"""Where the time of a step goes."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from machine import synchronise

from pdd_arch.models import PDDModel


class Phases:
    """Exclusive seconds by phase: what a phase calls is not counted twice."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[list] = []  # [name, start of the current stretch]

    def enter(self, name: str) -> None:
        self._stretch_ends()
        self._open.append([name, time.perf_counter()])

    def leave(self) -> None:
        self._stretch_ends()
        self._open.pop()
        if self._open:
            self._open[-1][1] = time.perf_counter()

    def _stretch_ends(self) -> None:
        synchronise(self.device)
        if self._open:
            name, start = self._open[-1]
            self.seconds[name] += time.perf_counter() - start

    def watch(self, owner: object, method: str, name: str) -> None:
        """Count the calls of a method under `name`."""
        plain = getattr(owner, method)

        def timed(*args, **kwargs):
            self.enter(name)
            try:
                return plain(*args, **kwargs)
            finally:
                self.leave()

        setattr(owner, method, timed)


@contextmanager
def watched(model: PDDModel, device: str) -> Iterator[Phases]:
    """Phases of the steps of a `PDDModel` within the block."""
    phases = Phases(device)
    step = model.training_step
    watched_objects = step, model.steps, step.networks
    before = [set(vars(owner)) for owner in watched_objects]
    phases.watch(step, '_student_gradients', 'rest')
    phases.watch(step, '_weight_gradients', 'backward of the student')
    phases.watch(step, '_forward', 'student')
    phases.watch(step, '_run_teacher', 'teacher')
    phases.watch(step, '_extract', 'features')
    phases.watch(step, '_feature_gradients', 'distances, backward of the features')
    phases.watch(step, '_adversarial_gradients', 'adversarial term')
    phases.watch(step, '_discriminator_gradients', 'discriminator')
    phases.watch(model.steps, 'take', 'optimizers')
    phases.watch(step.networks, 'update_average', 'moving average')
    try:
        yield phases
    finally:
        for owner, names in zip(watched_objects, before, strict=True):
            for name in set(vars(owner)) - names:
                delattr(owner, name)


def measure(model: PDDModel, device: str, batches: list, start: int) -> dict[str, float]:
    """Mean seconds of a step by phase."""
    with watched(model, device) as phases:
        for i, data in enumerate(batches):
            phases.enter('batch to the device')
            model.feed_data(data)
            phases.leave()
            phases.enter('rest')
            model.optimize_parameters(start + i)
            phases.leave()
            phases.enter('reading the log')
            model.get_current_log()
            phases.leave()
    return {name: seconds / len(batches) for name, seconds in phases.seconds.items()}
