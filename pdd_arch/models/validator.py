"""Validation: upscaling of its images, and the best results so far."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from pdd_arch.inference import forward_tiled, required_multiple
from pdd_arch.options.schema import ValOptions
from pdd_arch.training.best_results import BestResults, best_iteration, still_measured
from pdd_arch.utils.color import match_color


class Validator:
    """Upscales validation images with one network, and knows the best results.

    Args:
        network: without a wrapper for several devices.
        keep_best: metric, or dataset/metric, whose best checkpoint is kept (``logger.keep_best``).
        sections: of the validation sets, by their names; a set that is not there is measured with all metrics.

    Attributes:
        best: best result of each metric on each dataset; BasicSR writes to it.
    """

    def __init__(
        self,
        network: nn.Module,
        options: ValOptions,
        keep_best: str | None = None,
        sections: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> None:
        self.network, self.keep_best, self._options, self._sections = network, keep_best, options, sections
        self.best: BestResults = {}

    def upscale(self, lq: torch.Tensor) -> torch.Tensor:
        """Upscale (N, 3, h, w) in [0, 1], in windows if ``val.tile`` says so, and match the colours if wanted."""
        options, training = self._options, self.network.training
        self.network.eval()
        try:
            with torch.no_grad():
                multiple = required_multiple(self.network)
                output = forward_tiled(self.network, lq, multiple, options.tile, options.tile_overlap)
        finally:
            self.network.train(training)
        return match_color(output, lq) if options.color_correction else output

    def best_iteration(self) -> int | None:
        """Iteration of the best result in ``logger.keep_best``; None before the first validation."""
        return best_iteration(self.best, self.keep_best)

    def restore_best(self, saved: BestResults) -> None:
        """Take over the best results of an earlier part of the run, of the metrics that are still measured."""
        given = {name: metric.given() for name, metric in (self._options.metrics or {}).items()}
        self.best.update(still_measured(saved, given, self._sections))
