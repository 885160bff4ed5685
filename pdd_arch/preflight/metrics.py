"""Checks of the validation and its metrics."""

import importlib.util
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from basicsr.utils.registry import METRIC_REGISTRY

from pdd_arch.errors import OptionError
from pdd_arch.features.feature_net import check_layers, load_trunk, to_download
from pdd_arch.metrics import dists_metric, feature_distance, lpips_metric
from pdd_arch.options.messages import validated
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.schema import FeatureNetOptions
from pdd_arch.options.signatures import check_arguments
from pdd_arch.preflight.networks import NAMED_WEIGHTS, require_file
from pdd_arch.utils.registration import registered_as
from pdd_arch.utils.wording import did_you_mean, one_of, show, show_key


def check_validation(options: RunOptions) -> None:
    """The ``val`` section is complete where BasicSR reads it without asking, and its metrics can be computed."""
    val = options.pdd.val
    if val is None:
        return
    if options.is_train and val.val_freq is None:
        raise OptionError('missing', where='val.val_freq', expected='a whole number of at least 1')
    for name, section in (val.metrics or {}).items():
        where, given = f'val.metrics.{show_key(name)}', section.given()
        metric = check_metric(given, where)
        if section.type == 'calculate_iqa' and importlib.util.find_spec('pyiqa') is None:
            raise OptionError(
                'calculate_iqa needs the package pyiqa (non-commercial licence)',
                where=where,
                way_out='Install it with: pip install pyiqa',
            )
        trunk = _trunk(given, where)
        if trunk is not None and trunk.weights not in (NAMED_WEIGHTS if trunk.depth else ('imagenet',)):
            require_file(trunk.where, trunk.weights)
        parameter = inspect.signature(metric).parameters.get('img2')
        if parameter is None or parameter.default is not inspect.Parameter.empty:
            continue
        for phase, dataset in options.pdd.datasets.items():
            if dataset.type == 'SingleImageDataset':
                raise OptionError(
                    f'{section.type} compares with a ground truth, which datasets.{phase} (SingleImageDataset) has not',
                    where=where,
                    way_out='Use PairedImageDataset, or a metric without reference.',
                )


def check_metric(options: Mapping[str, Any], where: str) -> Callable[..., Any]:
    """The metric of a section (`where`: its key), which is registered and takes the options given."""
    metric = registered_as('metric', METRIC_REGISTRY, options['type'], f'{where}.type')
    without = {k: v for k, v in options.items() if k != 'better'}
    order = check_arguments(where, metric, without, filled=('img', 'img2')).get('input_order', 'HWC')
    if order not in ('HWC', 'CHW'):
        raise OptionError(where=f'{where}.input_order', expected=one_of(('HWC', 'CHW')), found=show(order))
    return metric


class _Trunk(NamedTuple):
    """The torchvision network whose features a metric of this package compares."""

    network: str
    weights: str
    #: of the option that names the weights
    where: str
    #: layers from its input on that are used; None: all, and no random weights
    depth: int | None = None


def _trunk(options: Mapping[str, Any], where: str) -> _Trunk | None:
    """The network of a metric; None for metrics without one."""
    kind, weights = options['type'], options.get('weights', 'imagenet')
    if kind == 'calculate_dists':
        return _Trunk(dists_metric.TRUNK, weights, f'{where}.weights')
    if kind == 'calculate_lpips':
        net = options.get('net', 'alex')
        if net not in lpips_metric.TRUNKS:
            hint = did_you_mean(net, lpips_metric.TRUNKS)
            raise OptionError(where=f'{where}.net', expected=one_of(lpips_metric.TRUNKS), found=show(net), way_out=hint)
        return _Trunk(lpips_metric.TRUNKS[net], weights, f'{where}.weights')
    if kind == 'calculate_feature_distance':
        if options.get('feature_net') is not None:
            validated(FeatureNetOptions, options['feature_net'], f'{where}.feature_net')
        layers = options.get('layers')
        if layers is not None and (not isinstance(layers, list) or not all(isinstance(n, str) for n in layers)):
            raise OptionError(where=f'{where}.layers', expected='a list of layer names', found=show(layers))
        chosen = feature_distance.network_options(options.get('feature_net'), layers)
        positions = check_layers(chosen['layers'], chosen['type'], f'{where}.layers')
        depth = max(positions[name] for name in chosen['layers']) + 1
        return _Trunk(chosen['type'], chosen['weights'], f'{where}.feature_net.weights', depth)
    return None


def check_metric_weights(options: RunOptions, fetch: bool) -> None:
    """The weights of the metrics can be had and belong to their networks."""
    val = options.pdd.val
    for name, section in ((val and val.metrics) or {}).items():
        where, given = f'val.metrics.{name}', section.given()
        own = given.get('dists_weights', 'official')
        if section.type == 'calculate_dists' and (fetch or dists_metric.is_at_hand(own)):
            dists_metric.read_channel_weights(own, where)
        trunk = _trunk(given, where)
        if trunk is None or trunk.weights == 'random':
            continue
        if fetch or not to_download(trunk.network, trunk.weights):
            load_trunk(trunk.network, trunk.weights, trunk.where, trunk.depth)
