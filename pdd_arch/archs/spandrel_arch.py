"""Any super-resolution checkpoint that spandrel recognises, as a BasicSR network."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from pdd_arch.errors import OptionError, WeightsError
from pdd_arch.utils.registration import register
from pdd_arch.weights.checkpoints import check_numbers_are_of_weights, check_ordinary, main_state_dict, read_shared
from pdd_arch.weights.key_layouts import rename_rrdbnet, rrdbnet_layout
from pdd_arch.weights.prefixes import log, parts, removal, without_counts

#: colour channels times the pixels that BasicSR's RRDBNet folds into them -> scale
_SCALE_OF_CHANNELS = {3: 4, 12: 2, 48: 1}


@register(ARCH_REGISTRY)
def SpandrelNet(path: str, scale: int | None = None) -> nn.Module:
    """Network and weights of a checkpoint, recognised by its keys (``network_g: {type: SpandrelNet, path: FILE}``).

    A factory: the network itself is returned, so that its parameters keep their own names and a checkpoint saved
    from it is again one that spandrel recognises. Of an RRDBNet or SRVGGNetCompact that BasicSR has too, whatever names
    its file uses, BasicSR's is returned: what is saved then also loads in BasicSR and Real-ESRGAN.

    Args:
        path: checkpoint file (.pth or .safetensors), ``bundled:NAME``, or ``zoo:NAME``.
        scale: the upscaling factor expected; checked when given.

    Returns:
        A module that maps (N, 3, h, w) in [0, 1] to (N, 3, h * scale, w * scale).

    Raises:
        OptionError: spandrel is not installed, or the scale differs.
        WeightsError: the file is not a single-image RGB network that spandrel knows.
    """
    net, found = recognised_network(path, 'SpandrelNet path')
    if scale is not None and scale != found:
        raise OptionError(f'{path} is an x{found} network', where='SpandrelNet scale', expected=str(scale))
    return net


def recognised_network(path: str | Path, where: str, say: Callable[[str], None] = log) -> tuple[nn.Module, int]:
    """The network that :func:`SpandrelNet` returns for the checkpoint that `where` names, and its upscaling factor.

    Of two state dicts in the file, ``params_ema`` comes before ``params``. A prefix of all tensors, or of those of one
    network among others, is removed, which `say` is called with.

    Raises:
        OptionError: spandrel is not installed.
        MissingFileError, WeightsError: the file cannot be read, or is not a single-image RGB network.
    """
    # an import of seconds, for all its architectures
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except ImportError as e:
        raise OptionError(
            'SpandrelNet needs the package spandrel', where=where, way_out='Install it: pip install spandrel'
        ) from e
    whole = main_state_dict(read_shared(path, where), path, where)
    recognised: dict[int, tuple[nn.Module, int]] = {}  # by the identity of the tensors that they are made of
    bare = without_counts(whole)

    def fits(part: dict[str, torch.Tensor]) -> bool:
        if {name.partition('.')[0] for name in part} <= {'module', 'netG'}:
            return False  # spandrel would remove it silently
        check_ordinary(part, path, where)
        try:
            if (net := _basicsr_rrdbnet(part)) is not None:
                recognised[id(part)] = net, net.scale
                return True
            loaded = ModelLoader(device='cpu').load_from_state_dict(part)
        except UnsupportedModelError:
            return False
        except Exception as e:  # whatever the code of an architecture makes of tensors that only look like its own
            if len(part) < len(bare):
                return False
            reason = ' '.join(str(e).split())[:200]
            raise WeightsError(
                f'{path} is damaged, or a network that only resembles one that spandrel knows '
                f'({type(e).__name__}: {reason})',
                where=where,
                way_out='Download or copy it again, or choose another.',
            ) from e
        if not isinstance(loaded, ImageModelDescriptor) or (loaded.input_channels, loaded.output_channels) != (3, 3):
            if len(part) < len(bare):
                return False
            raise WeightsError(f'{path} is not a single-image RGB network', where=where)
        recognised[id(part)] = _basicsr_compact(loaded.model) or loaded.model, loaded.scale
        return True

    prefix, state = _the_one(parts(bare, fits), path, where)
    if text := removal(path, prefix, len(state), len(whole)):
        say(text)
    net, scale = recognised[id(state)]
    check_numbers_are_of_weights(net.state_dict(), state, path, where)
    return net.requires_grad_(True), scale


def _the_one(
    found: Mapping[str, dict[str, torch.Tensor]], path: str | Path, where: str
) -> tuple[str, dict[str, torch.Tensor]]:
    """The network of a file with its prefix; of several, the averaged one, as of ``params`` and ``params_ema``."""
    if not found:
        raise WeightsError(
            f'{path} is not a network that spandrel recognises',
            where=where,
            way_out='Give one that it does, or name the architecture in an option file (type: RRDBNet ...).',
        )
    averaged = [prefix for prefix in found if 'ema' in prefix.lower()]
    if len(found) > 1 and len(averaged) != 1:
        first = next(iter(found))
        raise WeightsError(
            f'{path} holds several networks, below the prefixes {" and ".join(found)}',
            where=where,
            way_out='Save the tensors of one of them alone, those whose names begin with '
            f'{first} for instance; the prefix may stay.',
        )
    prefix = averaged[0] if len(found) > 1 else next(iter(found))
    return prefix, found[prefix]


def _basicsr_rrdbnet(state: Mapping[str, torch.Tensor]) -> RRDBNet | None:
    """BasicSR's RRDBNet with these weights, under whatever names; None for another network."""
    if rrdbnet_layout(state) is None:
        return None
    state = rename_rrdbnet(state)
    features, channels = state['conv_first.weight'].shape[:2]
    if channels not in _SCALE_OF_CHANNELS or len(state['conv_last.weight']) != 3:
        return None
    blocks = sum(name.endswith('.rdb1.conv1.weight') for name in state)
    net = RRDBNet(3, 3, _SCALE_OF_CHANNELS[channels], features, blocks, len(state['body.0.rdb1.conv1.weight']))
    net.load_state_dict(state)
    return net


def _basicsr_compact(net: nn.Module) -> nn.Module | None:
    """BasicSR's own SRVGGNetCompact for spandrel's, with its weights; None for another network."""
    if type(net).__name__ != 'SRVGGNetCompact':
        return None
    own = SRVGGNetCompact(net.num_in_ch, net.num_out_ch, net.num_feat, net.num_conv, net.upscale, net.act_type)
    own.load_state_dict(net.state_dict())
    return own
