"""Checks that weight files are there and belong to their networks, before anything is created or moved aside."""

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from pdd_arch.errors import MissingFileError, OptionError, PDDError
from pdd_arch.features.feature_net import FeatureNet, to_download
from pdd_arch.inference import required_multiple
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.schema import Options
from pdd_arch.options.settings import AdaptationSettings
from pdd_arch.options.signatures import check_network
from pdd_arch.preflight.data import samples_of_a_step
from pdd_arch.training.resume import state_candidates
from pdd_arch.utils.files import similar_file
from pdd_arch.utils.registration import registered_as
from pdd_arch.utils.resources import resolve_bundled
from pdd_arch.utils.wording import show
from pdd_arch.weights import zoo
from pdd_arch.weights.checkpoints import OpenedWeights, check_finite, check_fits, state_dict_of

NAMED_WEIGHTS = ('imagenet', 'random')
_LETTERS = ('g', 'teacher', 'd')
#: sizes of crops that are tried to find one that fits
_CROPS = (32, 48, 64, 96, 128, 160, 192, 224, 256, 384, 512)


def check_networks(file: Options) -> None:
    """The networks of a file are registered and take the options given."""
    for letter in _LETTERS:
        section = getattr(file, f'network_{letter}')
        if section is not None:
            check_network(f'network_{letter}', section.given(), file.scale if letter != 'd' else None)


def check_weight_files(options: RunOptions) -> None:
    """Every weight file that an option names exists, and its network is there."""
    file = options.pdd
    for letter in _LETTERS:
        network, weights = getattr(file, f'network_{letter}'), getattr(file.path, f'pretrain_network_{letter}')
        if weights is not None:
            where = f'path.pretrain_network_{letter}'
            if network is None:
                raise OptionError(f'given, but there is no network_{letter} in the option file', where=where)
            require_file(where, weights)
        if letter != 'd' and getattr(network, 'path', None) is not None:
            require_file(f'network_{letter}.path', network.path)
    feature_net = None if file.train is None else file.train.feature_net
    if feature_net is not None and feature_net.weights not in NAMED_WEIGHTS:
        require_file('train.feature_net.weights', feature_net.weights)


def require_file(where: str, value: object) -> None:
    """`value` is the path of a file, or stands for one."""
    if not isinstance(value, str):
        raise OptionError(where=where, expected='a path', found=show(value))
    if zoo.is_zoo(value):
        zoo.generalist(value, where)  # its file is fetched when it is read
        return
    try:
        path = resolve_bundled(os.path.expanduser(value))
    except PDDError as e:
        raise e.within(where, ': ') from None
    if not os.path.isfile(path):
        problem = 'is a folder' if os.path.isdir(path) else 'does not exist'
        if zoo.is_address(value):
            problem = 'is an address, and nothing is downloaded from there'
        raise MissingFileError(
            f'{show(value)} {problem} (looked from {os.getcwd()})',
            where=where,
            way_out='Write ~ for none.' if value == 'None' else zoo.instead_of(value) or _similar(path),
        )


def _similar(path: str) -> str:
    return f'{similar_file(Path(path))} Give the path of an existing weight file.'.strip()


def open_networks(options: RunOptions, fetch: bool) -> dict[str, nn.Module]:
    """Build the networks of a run by section, most of them on the ``meta`` device: without memory for their weights."""
    networks = {}
    for letter in _LETTERS if options.is_train else ('g',):
        key = f'network_{letter}'
        section = getattr(options.pdd, key)
        if section is not None:
            networks[key] = _build_without_memory(key, section.given(), fetch)
            if letter != 'd':
                _check_scale(key, networks[key], options.pdd.scale)
    return networks


def check_images(options: RunOptions, networks: Mapping[str, nn.Module]) -> None:
    """The networks take the images that the datasets give; some have a fixed size (VGGStyleDiscriminator)."""
    net, side = networks['network_g'], math.lcm(16, required_multiple(networks['network_g']))
    for phase, dataset in options.pdd.datasets.items():
        problem = getattr(dataset, 'color', None) == 'y' and _problem(options, 'network_g', net, (1, 1, side, side))
        if problem:
            raise OptionError(
                f"'y' gives images of one channel, which network_g does not take ({problem})",
                where=f'datasets.{phase}.color',
                way_out='Remove it. To measure luminance, set test_y_channel: true for the metric.',
            )
    size = getattr(options.pdd.datasets['train'], 'gt_size', None) if options.is_train else None
    if not isinstance(size, int):
        return
    count = min(samples_of_a_step(options)[0] // options.train.accumulate, 2)  # one image may be too few for a batch
    for key, net in networks.items():
        scale = 1 if key == 'network_d' else options.pdd.scale

        def problem_at(size: int, key: str = key, net: nn.Module = net, scale: int = scale) -> str | None:
            return _problem(options, key, net, (count, 3, size // scale, size // scale))

        if found := problem_at(size):
            sizes = sorted((n for n in _CROPS if n % options.pdd.scale == 0), key=lambda n: abs(n - size))
            fitting = next((n for n in sizes if problem_at(n) is None), None)
            raise OptionError(
                f'{getattr(options.pdd, key).type} does not take the images of {size // scale}x{size // scale} pixels '
                f'that datasets.train.gt_size {size} gives ({found})',
                where=key,
                way_out=f'With datasets.train.gt_size: {fitting} it works.' if fitting else 'Correct its options.',
            )


def _problem(options: RunOptions, key: str, net: nn.Module, shape: tuple[int, ...]) -> str | None:
    """Why the network of a section takes no images of a shape; None if it does."""
    state = {name: tensor.to('meta') for name, tensor in (*net.named_parameters(), *net.named_buffers())}
    with torch.no_grad(), contextlib.suppress(Exception):  # also of networks that cannot do without data
        torch.func.functional_call(net, state, torch.zeros(shape, device='meta'))
        return None
    try:
        if any(tensor.is_meta for tensor in (*net.parameters(), *net.buffers())):
            given = getattr(options.pdd, key).given()
            net = registered_as('network', ARCH_REGISTRY, given.pop('type'), f'{key}.type')(**given)
        with torch.no_grad():
            net(torch.zeros(shape))
    except Exception as e:  # whatever a network makes of it
        return f'{type(e).__name__}: {" ".join(str(e).split())[:200]}'
    return None


def open_weights(options: RunOptions, networks: Mapping[str, nn.Module], fetch: bool, opened: OpenedWeights) -> None:
    """Read the weights that a run starts from into `opened`, and compare them with their networks."""
    paths = options.pdd.path
    for key, file in _starting_weights(options):
        letter, where = key.removeprefix('network_'), f'path.pretrain_{key}'
        if not (fetch or _at_hand(file)):
            continue
        net = networks[key]
        content = opened.read(file, where)
        param_key, key_option = getattr(paths, f'param_key_{letter}'), f'path.param_key_{letter}'
        state = state_dict_of(content, param_key, file, where, net, key_option)
        check_finite(state, file, where)
        if getattr(paths, f'strict_load_{letter}'):
            check_fits(net, state, file, where)


def open_feature_net(train: AdaptationSettings, layers: tuple[str, ...], fetch: bool) -> FeatureNet | None:
    """The feature network of a training run with its weights, on the CPU; `layers`: those that its losses compare.

    None where no loss compares features, or weights are random or may not be fetched.
    """
    options = train.feature_net
    if not layers or options.weights == 'random' or (not fetch and to_download(options.type, options.weights)):
        return None
    try:
        return FeatureNet(layers, **dict(options))
    except PDDError as e:
        raise e.within('train') from None


def weights_to_fetch(options: RunOptions) -> list[tuple[str, tuple[str, Path]]]:
    """The options that name weights to be downloaded first, with the address and the place of each."""
    named = [(f'path.pretrain_{key}', file) for key, file in _starting_weights(options)]
    missing = [(where, zoo.generalist(file)) for where, file in named if not _at_hand(file)]
    return [(where, (entry.url, entry.file)) for where, entry in missing]


def _starting_weights(options: RunOptions) -> Iterator[tuple[str, str]]:
    """(network section, file) of all weights that the run begins with; a resumed run has its own."""
    resumes = options.is_train and next(state_candidates(options.for_basicsr()), None) is not None
    for letter in _LETTERS if options.is_train else ('g',):
        file = getattr(options.pdd.path, f'pretrain_network_{letter}')
        if file is not None and (letter == 'teacher' or not resumes):
            yield f'network_{letter}', file


def _at_hand(file: str) -> bool:
    """Whether weights can be read without a download."""
    return not zoo.is_zoo(file) or zoo.generalist(file).file.is_file()


def _build_without_memory(key: str, options: Mapping[str, Any], fetch: bool) -> nn.Module:
    """The network of a section on the ``meta`` device; one that cannot be built there, on the CPU."""
    kind = options['type']
    network = registered_as('network', ARCH_REGISTRY, kind, f'{key}.type')
    given = {k: v for k, v in options.items() if k != 'type'}
    if kind == 'SpandrelNet' and not fetch and not _at_hand(given['path']):
        entry = zoo.generalist(given['path'])
        raise MissingFileError(
            f'{given["path"]} is not at {entry.file} yet, and what this network is can only be told from the file',
            where=f'{key}.path',
            way_out=f'A run would fetch {entry.url}; fetch it and put it there to check it first.',
        )
    if given.get('path') is None:
        # an error of the options comes again below, one of the meta device does not
        with contextlib.suppress(Exception), torch.device('meta'):
            return network(**given)
    try:
        return network(**given)
    except PDDError as e:
        raise e.within(key, ': ') from None
    except Exception as e:  # whatever a network's constructor makes of wrong values
        reason = ' '.join(str(e).split())[:200]
        problem = f'{kind} cannot be built with these options ({type(e).__name__}: {reason})'
        raise OptionError(problem, where=key) from None


def _check_scale(key: str, net: nn.Module, scale: int) -> None:
    """A network upscales by `scale`; some do not say, and some take a scale that they do not have (RRDBNet: 3)."""
    side = math.lcm(16, required_multiple(net))
    device = next((p.device for p in net.parameters()), torch.device('cpu'))
    try:
        with torch.no_grad():
            channels, *size = net(torch.zeros(1, 3, side, side, device=device)).shape[1:]
    except Exception:  # an operation that cannot do without data; a network that fails says so when it is used
        return
    if channels != 3:
        raise OptionError(
            f'it gives images of {channels} channels', where=key, expected='3 (num_out_ch of most networks)'
        )
    if size != [side * scale, side * scale]:
        raise OptionError(
            f'an image of {side}x{side} pixels becomes {size[0]}x{size[1]}, but scale is {scale}',
            where=key,
            way_out='Set scale to the scale factor of the network, or choose another network.',
        )
