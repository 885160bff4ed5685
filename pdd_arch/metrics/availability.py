"""Which metrics can be computed on this machine, what the others need, and what a metric's number means.

A table asks before it starts: a metric whose weights are missing is reported as not computed, with what to download.
It is never skipped silently and never replaced by another.
"""

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.utils.registry import METRIC_REGISTRY

from pdd_arch.errors import MissingFileError, PDDError
from pdd_arch.features.feature_net import NETWORK_TYPES, to_download
from pdd_arch.metrics import dists_metric, feature_distance, iqa, lpips_metric
from pdd_arch.utils.registration import registered_as

#: which values of a metric are better, where it is known: ``better`` need not be said then
DIRECTIONS = {
    'calculate_psnr': 'higher',
    'calculate_ssim': 'higher',
    'calculate_niqe': 'lower',
    'calculate_lpips': 'lower',
    'calculate_dists': 'lower',
    'calculate_feature_distance': 'lower',
}
#: range of the images that BasicSR's validation hands over
_RANGE = '8 bit, 0 to 255'


def better(options: Mapping[str, Any]) -> str:
    """``higher`` or ``lower``: what the metric's section says, else what is known; BasicSR's default otherwise."""
    return options.get('better') or DIRECTIONS.get(options['type'], 'higher')


def availability(metrics: Mapping[str, Mapping[str, Any]], fetch: bool = False) -> tuple[list[str], dict[str, str]]:
    """Sort ``val.metrics`` into those that can be computed on this machine and the others.

    Networks that it builds to find out are kept: computing a metric afterwards does not build them again.

    Args:
        metrics: name -> section.
        fetch: whether weights may be downloaded now.

    Returns:
        Names of those that can be computed; for each of the others, one line that says what is missing, and what to
        download where.
    """
    computed, reasons = [], {}
    for name, options in metrics.items():
        try:
            _build(options, fetch)
            computed.append(name)
        except PDDError as e:
            reasons[name] = str(e.within(f'metrics.{name}: not computed', ': '))
    return computed, reasons


def missing_weights(options: Mapping[str, Any]) -> list[tuple[str, Path]]:
    """Addresses of the weight files that a metric has to download first, and their places; pyiqa's are not known."""
    kind, weights = options['type'], options.get('weights', 'imagenet')
    files: list[tuple[str, Path] | None] = []
    if kind == 'calculate_lpips':
        net = options.get('net', 'alex')
        # another network is refused by the metric itself
        files = [to_download(lpips_metric.TRUNKS[net], weights)] if net in lpips_metric.TRUNKS else []
    elif kind == 'calculate_dists':
        files = [to_download(dists_metric.TRUNK, weights)]
        if not dists_metric.is_at_hand(options.get('dists_weights', 'official')):
            files.append((dists_metric.URL, dists_metric.target()))
    elif kind == 'calculate_feature_distance':
        chosen = feature_distance.network_options(options.get('feature_net'), options.get('layers'))
        files = [to_download(chosen['type'], chosen['weights'])] if chosen['type'] in NETWORK_TYPES else []
    return [file for file in files if file is not None]


def _build(options: Mapping[str, Any], fetch: bool) -> None:
    """Build the network of a metric; raises PDDError if it cannot be built, or not without an unwanted download."""
    kind, weights = options['type'], options.get('weights', 'imagenet')
    registered_as('metric', METRIC_REGISTRY, kind, 'type')
    if not fetch and (missing := missing_weights(options)):
        files = ' and '.join(f'{url} to {place}' for url, place in missing)
        raise MissingFileError('its weights are not on this machine', way_out=f'Download {files}, or give paths.')
    if kind == 'calculate_lpips':
        lpips_metric.network(options.get('net', 'alex'), weights)
    elif kind == 'calculate_dists':
        dists_metric.network(weights, options.get('dists_weights', 'official'))
    elif kind == 'calculate_feature_distance':
        feature_distance.network(feature_distance.network_options(options.get('feature_net'), options.get('layers')))
    elif kind == 'calculate_iqa':
        iqa.network(options['metric'])


def describe(options: Mapping[str, Any]) -> dict[str, object]:
    """What the number of a metric with these options means, to stand beside it in a result.

    Returns:
        ``type``, ``crop_border`` (pixels), ``colour``, ``range`` (of the values compared), ``package`` with its
        version, ``weights`` (None: it has none), ``better``, and the metric's other options.
    """
    kind = options['type']
    found: dict[str, object] = {
        'type': kind,
        'crop_border': options.get('crop_border', 0),
        'colour': 'RGB',
        'range': '0 to 1, from 8 bit',
        'package': _package('basicsr'),
        'weights': None,
        'better': better(options),
        'options': {k: v for k, v in options.items() if k not in ('type', 'crop_border', 'better')},
    }
    if kind in ('calculate_psnr', 'calculate_ssim'):
        luma = options.get('test_y_channel', False)
        found |= {'colour': "Y of BasicSR's YCbCr (BT.601)" if luma else 'RGB', 'range': _RANGE}
    elif kind == 'calculate_niqe':
        gray = options.get('convert_to', 'y') == 'gray'
        found |= {'colour': 'gray' if gray else "Y of BasicSR's YCbCr (BT.601)", 'range': f'{_RANGE}, rounded'}
        found['weights'] = "BasicSR's niqe_pris_params.npz"
    elif kind == 'calculate_lpips':
        net, trunk = options.get('net', 'alex'), options.get('weights', 'imagenet')
        found |= {'package': _package('lpips'), 'range': '-1 to 1, from 8 bit'}
        found['weights'] = f'{lpips_metric.TRUNKS.get(net, net)} {trunk}, linear layers of version 0.1'
    elif kind == 'calculate_dists':
        trunk, own = options.get('weights', 'imagenet'), options.get('dists_weights', 'official')
        found |= {'package': _package('piq'), 'weights': f'{dists_metric.TRUNK} {trunk}, DISTS {own}'}
    elif kind == 'calculate_feature_distance':
        chosen = feature_distance.network_options(options.get('feature_net'), options.get('layers'))
        found |= {'package': _package('pdd_arch'), 'weights': f'{chosen["type"]} {chosen["weights"]}'}
    elif kind == 'calculate_iqa':
        found |= {'package': f'{_package("pyiqa")} (non-commercial licence)', 'weights': "pyiqa's own"}
    else:
        found |= {'colour': 'as the metric decides', 'range': _RANGE, 'package': 'registered by the user'}
    return found


def _package(name: str) -> str:
    try:
        return f'{name} {importlib.metadata.version(name)}'
    except importlib.metadata.PackageNotFoundError:
        return name
