"""Checks that weight files are there and belong to their networks, before anything is created or moved aside."""

import math
import os
from collections.abc import Mapping
from pathlib import Path

import torch
import torchvision
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from pdd_arch.errors import MissingFileError, OptionError, PDDError
from pdd_arch.features.feature_net import FeatureNet, imagenet_features
from pdd_arch.losses.build import build_distill_loss, build_perceptual_loss
from pdd_arch.options.settings import AdaptationSettings
from pdd_arch.training.resume import state_candidates
from pdd_arch.utils.registration import registered
from pdd_arch.utils.resources import resolve_bundled
from pdd_arch.utils.wording import show
from pdd_arch.weights import zoo
from pdd_arch.weights.checkpoints import check_finite, check_fits, read_checkpoint, state_dict_of

NAMED_WEIGHTS = ('imagenet', 'random')

#: what calculate_feature_distance takes without feature_net
METRIC_NETWORK = {'type': 'vgg16', 'weights': 'imagenet'}


def check_weight_files(opt: Mapping) -> None:
    """Every weight file that an option names exists.

    Raises:
        MissingFileError: one does not.
        OptionError: weights for a network that is not there.
    """
    for key, value in opt['path'].items():
        if not key.startswith('pretrain_network') or value is None:
            continue
        network = key.removeprefix('pretrain_')
        if not opt.get(network):
            raise OptionError(f'path.{key}: given, but there is no {network} in the option file')
        require_file(f'path.{key}', value)
    for network in ('network_g', 'network_teacher'):
        if (opt.get(network) or {}).get('path') is not None:
            require_file(f'{network}.path', opt[network]['path'])
    feature_net = (opt.get('train') or {}).get('feature_net') or {}
    weights = feature_net.get('weights')
    if weights is not None and weights not in NAMED_WEIGHTS:
        require_file('train.feature_net.weights', weights)


def require_file(key: str, value: object) -> None:
    """Raise unless `value` is the path of a file."""
    if not isinstance(value, str):
        raise OptionError(f'{key}: expected a path, found {show(value)}')
    if zoo.is_zoo(value):
        zoo.generalist(value, key)  # its file is fetched when it is read
        return
    try:
        path = resolve_bundled(os.path.expanduser(value))
    except PDDError as e:
        raise type(e)(f'{key}: {str(e)[:300]}') from None
    if not os.path.isfile(path):
        what = 'is a folder' if os.path.isdir(path) else 'does not exist'
        raise MissingFileError(
            f'{key}: {show(value)} {what} (looked from {os.getcwd()}). Give the path of an existing weight file.'
        )


def check_weights(opt: Mapping, is_train: bool, fetch: bool = True) -> dict[str, nn.Module]:
    """Read all weights once and compare them with their networks, which are built without memory.

    Args:
        opt: completed options of a `PDDModel`.
        is_train: training or test.
        fetch: whether weights that torchvision offers may be downloaded.

    Returns:
        The networks by section, most of them on the ``meta`` device.

    Raises:
        OptionError: a network cannot be built.
        MissingFileError, WeightsError: the weights cannot be had, or belong to another network.
    """
    resumes = is_train and next(state_candidates(opt), None) is not None
    networks = {}
    for letter in ('g', 'teacher', 'd') if is_train else ('g',):
        key = f'network_{letter}'
        if not opt.get(key):
            continue
        net = networks[key] = build_without_memory(key, opt[key], fetch)
        if letter != 'd':
            _check_scale(key, net, opt['scale'])
        file = opt['path'].get(f'pretrain_{key}')
        if file is not None and not (resumes and letter != 'teacher') and (fetch or at_hand(file)):
            _check_network_weights(opt['path'], letter, net)
    if is_train:
        _check_feature_weights(opt, fetch)
    _check_metric_weights(opt, fetch)
    return networks


def _check_network_weights(path: Mapping, letter: str, net: nn.Module) -> None:
    option = f'path.pretrain_network_{letter}'
    file = path[f'pretrain_network_{letter}']
    param_key = path.get(f'param_key_{letter}', 'params')
    state = state_dict_of(read_checkpoint(file, option), param_key, file, option, net, f'path.param_key_{letter}')
    check_finite(state, file, option)
    if path.get(f'strict_load_{letter}', True):
        check_fits(net, state, file, option)


def _check_scale(key: str, net: nn.Module, scale: int) -> None:
    """A network enlarges by `scale`; some do not say, and some take a scale that they do not have (RRDBNet: 3).

    Raises:
        OptionError: it does not.
    """
    from pdd_arch.inference import required_multiple  # which needs other modules of this package

    side = math.lcm(16, required_multiple(net))
    device = next((p.device for p in net.parameters()), 'cpu')
    try:
        with torch.no_grad():
            size = tuple(net(torch.zeros(1, 3, side, side, device=device)).shape[-2:])
    except Exception:  # an operation that cannot do without data; a network that fails says so when it is used
        return
    if size != (side * scale, side * scale):
        raise OptionError(
            f'{key}: an image of {side}x{side} pixels becomes {size[0]}x{size[1]}, but scale is {scale}. Set scale to '
            'what the network enlarges by, or choose another network.'
        )


def at_hand(file: str) -> bool:
    """Whether weights can be read without a download."""
    return not zoo.is_zoo(file) or zoo.generalist(file).file.is_file()


def build_without_memory(key: str, options: Mapping, fetch: bool = True) -> nn.Module:
    """The network of a section on the ``meta`` device; one that cannot be built there, on the CPU.

    Args:
        key: of the section, for messages.
        options: the section.
        fetch: whether a checkpoint that the network comes from may be downloaded.

    Raises:
        OptionError: it cannot be built.
        MissingFileError: it comes from a checkpoint that is not here.
    """
    kind = options['type']
    network = registered(ARCH_REGISTRY, kind)
    given = {k: v for k, v in options.items() if k != 'type'}
    if kind == 'SpandrelNet' and not fetch and not at_hand(given['path']):
        entry = zoo.generalist(given['path'])
        raise MissingFileError(
            f'{key}.path: {given["path"]} is not at {entry.file} yet, and what this network is can only be told from '
            f'the file. A run would fetch {entry.url}; fetch it and put it there to check it first.'
        )
    if given.get('path') is None:
        try:
            with torch.device('meta'):
                return network(**given)
        except Exception:  # built again below: an error of the options comes again, one of the meta device does not
            pass
    try:
        return network(**given)
    except PDDError as e:
        raise type(e)(f'{key}: {e}') from None
    except Exception as e:  # whatever a network's constructor makes of wrong values
        reason = ' '.join(str(e).split())[:200]
        raise OptionError(f'{key}: {kind} cannot be built with these options ({type(e).__name__}: {reason})') from None


def feature_layers(train: Mapping) -> tuple[str, ...]:
    """All layers that the losses look at."""
    layers: tuple[str, ...] = ()
    if train.get('distill_opt'):
        layers += build_distill_loss(train['distill_opt']).layers
    if train.get('perceptual_opt'):
        layers += build_perceptual_loss(train['perceptual_opt']).layers
    return tuple(dict.fromkeys(layers))


def _check_feature_weights(opt: Mapping, fetch: bool) -> None:
    options, layers = AdaptationSettings.from_options(opt).feature_net, feature_layers(opt['train'])
    if not layers or options['weights'] == 'random':
        return
    if options['weights'] != 'imagenet' or fetch or is_cached(options['type']):
        try:
            FeatureNet(layers, **options)
        except PDDError as e:
            raise type(e)(f'train.{e}') from None


def _check_metric_weights(opt: Mapping, fetch: bool) -> None:
    from pdd_arch.metrics import dists_metric, feature_distance, lpips_metric

    for name, options in ((opt.get('val') or {}).get('metrics') or {}).items():
        option = f'val.metrics.{name}'
        if options['type'] == 'calculate_lpips':
            network = lpips_metric.TRUNKS[options.get('net', 'alex')]
            weights, layers = options.get('weights', 'imagenet'), None
        elif options['type'] == 'calculate_dists':
            network, weights, layers = dists_metric.TRUNK, options.get('weights', 'imagenet'), None
            if fetch or dists_metric.is_at_hand(options.get('dists_weights', 'official')):
                dists_metric.read_channel_weights(options.get('dists_weights', 'official'), option)
        elif options['type'] == 'calculate_feature_distance':
            chosen = METRIC_NETWORK | (options.get('feature_net') or {})
            network, weights = chosen['type'], chosen['weights']
            layers = options.get('layers') or feature_distance.DEFAULT_LAYERS[network]
        else:
            continue
        try:
            if weights == 'imagenet':
                if fetch or is_cached(network):
                    imagenet_features(network)
            elif weights != 'random':
                FeatureNet(layers or _last_layer(network), type=network, weights=weights)
        except PDDError as e:
            raise type(e)(f'{option}: {e}') from None


def _last_layer(network: str) -> tuple[str]:
    with torch.device('meta'):
        return (f'features.{len(getattr(torchvision.models, network)(weights=None).features) - 1}',)


def is_cached(network: str) -> bool:
    """Whether torchvision's weights of a network have been downloaded before."""
    url = torchvision.models.get_model_weights(network)['IMAGENET1K_V1'].url
    return (Path(torch.hub.get_dir()) / 'checkpoints' / os.path.basename(url)).is_file()
