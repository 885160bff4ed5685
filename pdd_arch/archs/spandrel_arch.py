"""Any super-resolution checkpoint that spandrel recognises, as a BasicSR network."""

from collections.abc import Mapping

import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from pdd_arch.archs.key_layouts import rename_rrdbnet, rrdbnet_layout
from pdd_arch.errors import OptionError, WeightsError
from pdd_arch.utils.registration import register

#: colour channels times the pixels that BasicSR's RRDBNet folds into them -> scale
_SCALE_OF_CHANNELS = {3: 4, 12: 2, 48: 1}


@register(ARCH_REGISTRY)
def SpandrelNet(path: str, scale: int | None = None) -> nn.Module:
    """Network and weights of a checkpoint, recognised by its keys (``network_g: {type: SpandrelNet, path: FILE}``).

    A factory: the network itself is returned, so that its parameters keep their own names and a checkpoint saved
    from it is again one that spandrel recognises. Of an RRDBNet that BasicSR has too, whatever names its file uses,
    BasicSR's is returned: what is saved then also loads in BasicSR and Real-ESRGAN.

    Args:
        path: checkpoint file (.pth or .safetensors), ``bundled:NAME``, or ``zoo:NAME``.
        scale: the upscaling factor expected; checked when given.

    Returns:
        A module that maps (N, 3, h, w) in [0, 1] to (N, 3, h * scale, w * scale).

    Raises:
        OptionError: spandrel is not installed, or the scale differs.
        WeightsError: the file is not a single-image RGB network that spandrel knows.
    """
    from pdd_arch.checkpoints import read_checkpoint  # which needs other modules of this package

    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError, canonicalize_state_dict
    except ImportError as e:
        raise OptionError('SpandrelNet needs the package spandrel; install it with: pip install spandrel') from e
    state = canonicalize_state_dict(read_checkpoint(path, option='SpandrelNet path'))
    net = _basicsr_rrdbnet(state)
    if net is not None:
        found = net.scale
    else:
        try:
            loaded = ModelLoader(device='cpu').load_from_state_dict(state)
        except UnsupportedModelError as e:
            raise WeightsError(
                f'SpandrelNet path: {path} is not a network that spandrel recognises. Name the architecture in the '
                'option file instead (type: RRDBNet ...).'
            ) from e
        if not isinstance(loaded, ImageModelDescriptor) or (loaded.input_channels, loaded.output_channels) != (3, 3):
            raise WeightsError(f'SpandrelNet path: {path} is not a single-image RGB network')
        net, found = loaded.model, loaded.scale
    if scale is not None and scale != found:
        raise OptionError(f'SpandrelNet scale: expected {scale}, but {path} is an x{found} network')
    return net.requires_grad_(True)


def _basicsr_rrdbnet(state: Mapping[str, torch.Tensor]) -> nn.Module | None:
    """The network if it is an RRDBNet of BasicSR under any names, else None."""
    if rrdbnet_layout(state) is None:
        return None
    state = rename_rrdbnet(state)
    features, channels = state['conv_first.weight'].shape[:2]
    if channels not in _SCALE_OF_CHANNELS or len(state['conv_last.weight']) != 3:
        return None
    blocks = sum(name.endswith('.rdb1.conv1.weight') for name in state)
    growth = len(state['body.0.rdb1.conv1.weight'])
    net = RRDBNet(3, 3, _SCALE_OF_CHANNELS[channels], features, blocks, growth)
    net.load_state_dict(state)
    return net
