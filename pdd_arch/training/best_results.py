"""The best results of a run, as BasicSR's models note them (``best_metric_results``)."""

import math
from collections.abc import Mapping
from typing import Any

from pdd_arch.metrics.assignment import metrics_of_set

#: by dataset and metric: ``better`` (``higher`` or ``lower``), ``val`` and ``iter``
BestResults = dict[str, dict[str, dict[str, Any]]]


def best_iteration(best: BestResults, keep_best: str | None) -> int | None:
    """Iteration of the best result in ``logger.keep_best`` (METRIC or DATASET/METRIC); None where there is none yet."""
    dataset, _, metric = (keep_best or '').rpartition('/')
    for name, records in best.items():
        if metric in records and dataset in ('', name):
            iteration: int = records[metric]['iter']
            return iteration if iteration > 0 else None
    return None


def still_measured(
    saved: BestResults, metrics: Mapping[str, Mapping[str, Any]], sections: Mapping[str, Mapping[str, Any]]
) -> BestResults:
    """Those of an earlier part of the run that count in this one.

    Args:
        metrics: ``val.metrics`` of this part.
        sections: its validation sets by name; a set that is not there is measured with all metrics.
    """
    best: BestResults = {}
    for dataset, records in saved.items():
        measured = metrics_of_set(metrics, sections.get(dataset, {}), f'datasets.{dataset}')
        if not records.keys() & measured.keys():
            continue
        best[dataset] = {}
        for metric, options in measured.items():
            better = options.get('better', 'higher')
            none_yet = {'better': better, 'val': -math.inf if better == 'higher' else math.inf, 'iter': -1}
            record = records.get(metric)
            known = record is not None and record['better'] == better
            best[dataset][metric] = dict(record) if known and record is not None else none_yet
    return best
