"""Checks of the validation and its metrics."""

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from basicsr.utils.registry import METRIC_REGISTRY

from pdd_arch.data.paired_check import lr_sizes
from pdd_arch.errors import DataError, OptionError
from pdd_arch.features.feature_net import check_layers, load_trunk, to_download
from pdd_arch.metrics import dists_metric, feature_distance, lpips_metric
from pdd_arch.metrics.assignment import lacks_ground_truth, metrics_of_set, needs_ground_truth, unmeasured
from pdd_arch.metrics.measuring import why_not_of_size
from pdd_arch.options.messages import validated
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.schema import FeatureNetOptions
from pdd_arch.options.signatures import check_arguments
from pdd_arch.preflight.missing import NAMED_WEIGHTS, require_file
from pdd_arch.utils.registration import registered_as
from pdd_arch.utils.wording import did_you_mean, one_of, show, show_key


def check_validation(options: RunOptions) -> None:
    """The ``val`` section is complete where BasicSR reads it without asking, and its metrics can be computed."""
    val = options.file.val
    if val is None:
        return
    if options.is_train and val.val_freq is None:
        raise OptionError('missing', where='val.val_freq', expected='a whole number of at least 1')
    for name, section in (val.metrics or {}).items():
        where, given = f'val.metrics.{show_key(name)}', section.given()
        check_metric(given, where)
        if section.type == 'calculate_iqa' and importlib.util.find_spec('pyiqa') is None:
            raise OptionError(
                'calculate_iqa needs the package pyiqa (non-commercial licence)',
                where=where,
                way_out='Install it with: pip install pyiqa',
            )
        trunk = _trunk(given, where)
        if trunk is not None and trunk.weights not in (NAMED_WEIGHTS if trunk.depth else ('imagenet',)):
            require_file(trunk.where, trunk.weights)


def validated_sets(options: RunOptions) -> dict[str, dict[str, Any]]:
    """The sections, as BasicSR gets them, of the datasets that are validated: all of a test, ``val`` of a training."""
    datasets = options.for_basicsr()['datasets']
    return {phase: s for phase, s in datasets.items() if not options.is_train or phase.split('_')[0] == 'val'}


def metric_sections(options: RunOptions) -> dict[str, dict[str, Any]]:
    """``val.metrics`` as the file has it, for models of any kind; of others than `PDDModel` only what is a section."""
    metrics = (options.for_basicsr().get('val') or {}).get('metrics')
    found = metrics.items() if isinstance(metrics, Mapping) else ()
    return {name: dict(o) for name, o in found if isinstance(o, Mapping) and isinstance(o.get('type'), str)}


def check_set_metrics(options: RunOptions) -> None:
    """Each set can be measured with the metrics that it lists, and each metric on one set at least."""
    metrics, sets = metric_sections(options), validated_sets(options)
    for phase, dataset in options.for_basicsr()['datasets'].items():
        if phase in sets:
            metrics_of_set(metrics, dataset, f'datasets.{phase}')
        elif dataset.get('metrics') is not None:
            raise OptionError(
                'given, but the training data is not measured',
                where=f'datasets.{phase}.metrics',
                way_out='Put it into the section of a validation set, such as datasets.val.',
            )
    for name in unmeasured(metrics, sets.values()):
        lacking = [phase for phase, dataset in sets.items() if lacks_ground_truth(dataset)]
        if needs_ground_truth(metrics[name]) and lacking and len(lacking) == len(sets):
            raise OptionError(
                f'{metrics[name]["type"]} compares with a ground truth, which datasets.{lacking[0]} '
                '(SingleImageDataset) has not',
                where=f'val.metrics.{name}',
                way_out='Use PairedImageDataset, or a metric without reference.',
            )


def check_image_sizes(options: RunOptions) -> None:
    """Every metric has a number for images of the sizes that its sets will give; NIQE has none for small ones."""
    for phase, dataset in validated_sets(options).items():
        metrics = metrics_of_set(metric_sections(options), dataset, f'datasets.{phase}')
        if not metrics or dataset['type'] not in ('PairedImageDataset', 'SingleImageDataset'):
            continue
        sizes: dict[tuple[int, int], list[str]] = {}
        for path, (height, width) in lr_sizes(dataset, f'datasets.{phase}'):
            sizes.setdefault((height * options.scale, width * options.scale), []).append(path)
        for name, section in metrics.items():
            reasons = {size: reason for size in sizes if (reason := why_not_of_size(section, *size))}
            if not reasons:
                continue
            (height, width), reason = next(iter(reasons.items()))
            count, images = sum(len(sizes[size]) for size in reasons), sum(map(len, sizes.values()))
            raise DataError(
                f'{section["type"]} has no number for {count} of {images} images of datasets.{phase}, '
                f'the first is {sizes[height, width][0]}, upscaled to {height}x{width} pixels ({reason})',
                where=f'val.metrics.{name}',
                way_out=f'Remove small images, or list in datasets.{phase}.metrics what the set can be measured with.',
            )


def check_metric(options: Mapping[str, Any], where: str) -> Callable[..., Any]:
    """The metric of a section (`where`: its key), which is registered and takes the options given."""
    kind = options['type']
    metric = registered_as('metric', METRIC_REGISTRY, kind, f'{where}.type')
    if metric.__module__.startswith('basicsr.') and kind.endswith('_pt'):
        raise OptionError(
            f"{kind} takes tensors, and BasicSR's validation hands over arrays",
            where=f'{where}.type',
            way_out=f'Use {kind.removesuffix("_pt")}.',
        )
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
    val = options.file.val
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
