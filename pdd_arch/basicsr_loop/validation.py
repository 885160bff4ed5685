"""Validations of BasicSR's models, each set with metrics of its own."""

import functools
from collections.abc import Callable
from typing import Any

import basicsr.models.sr_model
from basicsr.utils import get_root_logger

from pdd_arch.basicsr_loop.replacing import replaced
from pdd_arch.models.set_validation import SetValidation


def with_the_metrics_of_the_set(nondist_validation: Callable[..., None]) -> Callable[..., None]:
    """The validation of a set, measured as its section says; an image without a number costs the mean, not the run."""

    @functools.wraps(nondist_validation)
    def validation(self: Any, dataloader: Any, current_iter: Any, tb_logger: Any, save_img: bool) -> None:
        own = SetValidation(dataloader, self.opt)
        whole, self.opt = self.opt, own.options
        self.metric_results = dict.fromkeys(own.metrics, 0)
        try:
            with replaced([(basicsr.models.sr_model, 'calculate_metric', own.measure)]):
                nondist_validation(self, own, current_iter, tb_logger, save_img)
        finally:
            self.opt = whole
        for problem in own.problems(save_img):
            get_root_logger().warning(problem)

    return validation
