"""Which metrics are measured on which validation set.

As in BasicSR a set with ground truth is measured with all of ``val.metrics``; images without, which are looked at, with
those that need none. A set whose section lists ``metrics`` is measured with just these.
"""

import importlib
import importlib.util
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from basicsr.utils.registry import METRIC_REGISTRY

from pdd_arch.errors import OptionError
from pdd_arch.metrics.availability import DIRECTIONS
from pdd_arch.utils.registration import registered
from pdd_arch.utils.wording import did_you_mean, one_of, show

#: sections of ``val.metrics`` by their key
Metrics = Mapping[str, Mapping[str, Any]]


def lacks_ground_truth(dataset: Mapping[str, Any]) -> bool:
    """Whether a dataset is known to hold LR images only."""
    return dataset.get('type') == 'SingleImageDataset'


def needs_ground_truth(options: Mapping[str, Any]) -> bool:
    """Whether a metric compares with a ground truth; False for one that is not registered."""
    metric = registered(METRIC_REGISTRY, options.get('type'))
    parameter = None if metric is None else inspect.signature(metric).parameters.get('img2')
    if parameter is None:
        return False
    if options['type'] == 'calculate_iqa':
        return _compares_in_pyiqa(options.get('metric'))
    return parameter.default is inspect.Parameter.empty


def _compares_in_pyiqa(name: object) -> bool:
    """Whether pyiqa calls a metric full-reference; False without pyiqa, or if it does not know the metric."""
    if importlib.util.find_spec('pyiqa') is None:
        return False
    known = importlib.import_module('pyiqa.default_model_configs').DEFAULT_CONFIGS
    return bool(known.get(name, {}).get('metric_mode') == 'FR')


def metrics_of_set(metrics: Metrics | None, dataset: Mapping[str, Any], where: str) -> dict[str, dict[str, Any]]:
    """The metrics that a set is measured with, in the order of ``val.metrics``; see the module.

    Each says which values are better, where that is known: BasicSR would take the highest NIQE for the best.

    Args:
        metrics: ``val.metrics``.
        dataset: section of the set.
        where: its place in the option file, ``datasets.val_2``.

    Raises:
        OptionError: the section lists metrics that ``val.metrics`` has not, or that the set has no ground truth for.
    """
    every, chosen = metrics or {}, dataset.get('metrics')
    if chosen is not None:
        _check_choice(every, chosen, dataset, f'{where}.metrics')
    elif lacks_ground_truth(dataset):
        chosen = [name for name, options in every.items() if not needs_ground_truth(options)]
    return {name: _with_direction(o) for name, o in every.items() if chosen is None or name in chosen}


def _check_choice(metrics: Metrics, chosen: object, dataset: Mapping[str, Any], where: str) -> None:
    if not isinstance(chosen, list) or not all(isinstance(name, str) for name in chosen):
        raise OptionError(where=where, expected='a list of names of val.metrics', found=show(chosen))
    for name in chosen:
        if name not in metrics:
            expected = one_of(metrics) if metrics else 'one there'
            hint = did_you_mean(name, metrics)
            raise OptionError(f'no metric {name!r} in val.metrics', where=where, expected=expected, way_out=hint)
        if lacks_ground_truth(dataset) and needs_ground_truth(metrics[name]):
            raise OptionError(
                f'{name} ({metrics[name]["type"]}) compares with a ground truth, which a SingleImageDataset has not',
                where=where,
                way_out='Use PairedImageDataset, or a metric without reference.',
            )


def _with_direction(options: Mapping[str, Any]) -> dict[str, Any]:
    known = DIRECTIONS.get(options.get('type', ''))
    return dict(options) if known is None else {'better': known, **options}


def unmeasured(metrics: Metrics | None, sets: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of the metrics that none of the sets (their sections, whose choices are right) is measured with."""
    measured = {name for dataset in sets for name in metrics_of_set(metrics, dataset, 'datasets')}
    return [name for name in metrics or {} if name not in measured]
