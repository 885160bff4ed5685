"""Checks that weight files are there and belong to their networks, before anything is created or moved aside."""

import contextlib
import copy
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from pdd_arch.errors import MissingFileError, OptionError, PDDError
from pdd_arch.features.feature_net import FeatureNet, to_download
from pdd_arch.inference import required_multiple
from pdd_arch.options.basic import BasicOptions
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.schema import Options
from pdd_arch.options.settings import AdaptationSettings
from pdd_arch.options.signatures import check_network
from pdd_arch.preflight.classes import derives_from, method_of, model_of, upscales_images
from pdd_arch.preflight.data import samples_of_a_step
from pdd_arch.training.resume import state_candidates
from pdd_arch.utils.registration import registered_as
from pdd_arch.weights import zoo
from pdd_arch.weights.checkpoints import OpenedWeights, check_finite, check_fits, state_dict_of

#: the networks that have the scale of the file
_UPSCALING = ('network_g', 'network_teacher')
#: sizes of crops that are tried to find one that fits
_CROPS = (32, 48, 64, 96, 128, 160, 192, 224, 256, 384, 512)


def check_networks(file: Options | BasicOptions) -> None:
    """The networks of a file are registered and take the options given."""
    for key, section in file.networks.items():
        check_network(key, section.given(), file.scale if key in _UPSCALING else None)


def check_weight_files(options: RunOptions) -> None:
    """There is a network for every weight file that an option names; those of others may be named without one."""
    file = options.file
    for key, weights in file.path.given().items() if isinstance(file, Options) else ():
        network = key.removeprefix('pretrain_')
        if key.startswith('pretrain_') and weights is not None and network not in file.networks:
            raise OptionError(f'given, but there is no {network} in the option file', where=f'path.{key}')


def open_networks(options: RunOptions, fetch: bool) -> dict[str, nn.Module]:
    """Build the networks of a run by section, most of them on the ``meta`` device: without memory for their weights."""
    networks = {}
    for key, section in options.file.networks.items():
        if options.is_train or key == 'network_g':
            networks[key] = _build_without_memory(key, section.given(), fetch)
            if key in _UPSCALING and upscales_images(options):
                _check_scale(key, networks[key], options)
    return networks


def check_images(options: RunOptions, networks: Mapping[str, nn.Module]) -> None:
    """The networks take the images that the datasets give; some have a fixed size (VGGStyleDiscriminator)."""
    if not upscales_images(options):
        return
    net, side = networks['network_g'], math.lcm(16, required_multiple(networks['network_g']))
    for phase, dataset in options.file.datasets.items():
        problem = getattr(dataset, 'color', None) == 'y' and _problem(options, 'network_g', net, (1, 1, side, side))
        if problem:
            raise OptionError(
                f"'y' gives images of one channel, which network_g does not take ({problem})",
                where=f'datasets.{phase}.color',
                way_out='Remove it. To measure luminance, set test_y_channel: true for the metric.',
            )
    where, size = crop_size(options)
    if size is None:
        return
    parts = 1 if options.adaptation is None else options.adaptation.accumulate
    count = min(samples_of_a_step(options)[0] // parts, 2)  # one image may be too few for a batch
    channels = 1 if getattr(options.file.datasets['train'], 'color', None) == 'y' else 3
    for key, net in networks.items():
        scale = options.scale if key in _UPSCALING else 1

        def problem_at(size: int, key: str = key, net: nn.Module = net, scale: int = scale) -> str | None:
            return _problem(options, key, net, (count, channels, size // scale, size // scale))

        if found := problem_at(size):
            sizes = sorted((n for n in _CROPS if n % options.scale == 0), key=lambda n: abs(n - size))
            fitting = next((n for n in sizes if problem_at(n) is None), None)
            raise OptionError(
                f'{options.file.networks[key].type} does not take the images of {size // scale}x{size // scale} pixels '
                f'that {where} {size} gives ({found})',
                where=key,
                way_out=f'With {where}: {fitting} it works.' if fitting else 'Correct its options.',
            )


def crop_size(options: RunOptions) -> tuple[str, int | None]:
    """The option that gives the side of the HR crops of a training, and its value; None where it is not set."""
    if not options.is_train:
        return '', None
    where, size = 'datasets.train.gt_size', getattr(options.file.datasets['train'], 'gt_size', None)
    own = getattr(options.file, 'gt_size', None)
    if isinstance(options.file, BasicOptions) and isinstance(own, int):  # of Real-ESRGAN's models
        where, size = 'gt_size', own
    return where, size if isinstance(size, int) else None


def _problem(options: RunOptions, key: str, net: nn.Module, shape: tuple[int, ...]) -> str | None:
    """Why the network of a section takes no images of a shape; None if it does."""
    probe = copy.deepcopy(net)  # some networks keep a tensor of the device that they ran on (SwinIR)
    state = {name: tensor.to('meta') for name, tensor in (*net.named_parameters(), *net.named_buffers())}
    with torch.no_grad(), contextlib.suppress(Exception):  # also of networks that cannot do without data
        torch.func.functional_call(probe, state, torch.zeros(shape, device='meta'))
        return None
    try:
        if any(tensor.is_meta for tensor in (*net.parameters(), *net.buffers())):
            given = options.file.networks[key].given()
            net = registered_as('network', ARCH_REGISTRY, given.pop('type'), f'{key}.type')(**given)
        with torch.no_grad():
            net(torch.zeros(shape))
    except Exception as e:  # whatever a network makes of it
        return f'{type(e).__name__}: {" ".join(str(e).split())[:200]}'
    return None


def open_weights(options: RunOptions, networks: Mapping[str, nn.Module], fetch: bool, opened: OpenedWeights) -> None:
    """Read the weights that a run starts from into `opened`, and compare them with their networks."""
    paths = options.file.path
    for key, file in _starting_weights(options):
        letter, where = key.removeprefix('network_'), f'path.pretrain_{key}'
        if key not in networks or not (fetch or _at_hand(file)):
            continue
        net = networks[key]
        content = opened.read(file, where)
        for param_key in _keys_read(options, key, getattr(paths, f'param_key_{letter}', 'params'), content):
            state = state_dict_of(content, param_key, file, where, net, f'path.param_key_{letter}')
            check_finite(state, file, where)
            if getattr(paths, f'strict_load_{letter}', True):
                check_fits(net, state, file, where)


def _keys_read(
    options: RunOptions, network: str, param_key: str | None, content: Mapping[str, Any]
) -> Iterator[str | None]:
    """The keys of a weight file under which the run reads a network: BasicSR's models read the average as well."""
    if isinstance(options.file, Options):
        yield param_key
        return
    train, model = options.file.train, model_of(options)
    averages = train is not None and options.is_train and (train.ema_decay > 0 or derives_from(model, 'StyleGAN2Model'))
    keys = [param_key]
    if network == 'network_g' and averages and method_of(model, 'init_training_settings'):
        keys.append(next((key for key in ('params_ema', 'params') if key in content), param_key))
    for key in dict.fromkeys(keys):
        yield 'params' if key is not None and key not in content and 'params' in content else key


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
    for key in options.file.networks:
        file = getattr(options.file.path, f'pretrain_{key}', None)
        if file is not None and (options.is_train or key == 'network_g') and (key == 'network_teacher' or not resumes):
            yield key, file


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
        with contextlib.suppress(Exception), torch.device('meta'), contextlib.redirect_stdout(io.StringIO()):
            return network(**given)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # some print what they are made of (HiFaceGAN)
            return network(**given)
    except PDDError as e:
        raise e.within(key, ': ') from None
    except Exception as e:  # whatever a network's constructor makes of wrong values
        reason = ' '.join(str(e).split())[:200]
        problem = f'{kind} cannot be built with these options ({type(e).__name__}: {reason})'
        raise OptionError(problem, where=key) from None


def _check_scale(key: str, net: nn.Module, options: RunOptions) -> None:
    """A network upscales by the scale; some do not say, and some take a scale that they do not have (RRDBNet: 3)."""
    scale, side = options.scale, math.lcm(16, required_multiple(net))
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
