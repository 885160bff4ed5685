"""Any super-resolution checkpoint that spandrel recognises, as a BasicSR network."""

from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from pdd_arch.checkpoints import read_checkpoint
from pdd_arch.errors import OptionError, WeightsError
from pdd_arch.utils.registration import register


@register(ARCH_REGISTRY)
def SpandrelNet(path: str, scale: int | None = None) -> nn.Module:
    """Network and weights of a checkpoint, recognised by its keys (``network_g: {type: SpandrelNet, path: FILE}``).

    A factory: the network itself is returned, so that its parameters keep their own names and a checkpoint saved
    from it is again one that spandrel recognises.

    Args:
        path: checkpoint file (.pth or .safetensors), or ``bundled:NAME``.
        scale: the upscaling factor expected; checked when given.

    Returns:
        A module that maps (N, 3, h, w) in [0, 1] to (N, 3, h * scale, w * scale).

    Raises:
        OptionError: spandrel is not installed, or the scale differs.
        WeightsError: the file is not a single-image RGB network that spandrel knows.
    """
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except ImportError as e:
        raise OptionError('SpandrelNet needs the package spandrel; install it with: pip install spandrel') from e
    state = read_checkpoint(path, option='SpandrelNet path')
    try:
        found = ModelLoader(device='cpu').load_from_state_dict(state)
    except UnsupportedModelError as e:
        raise WeightsError(
            f'SpandrelNet path: {path} is not a network that spandrel recognises. Name the architecture in the '
            'option file instead (type: RRDBNet ...).'
        ) from e
    if not isinstance(found, ImageModelDescriptor) or (found.input_channels, found.output_channels) != (3, 3):
        raise WeightsError(f'SpandrelNet path: {path} is not a single-image RGB network')
    if scale is not None and scale != found.scale:
        raise OptionError(f'SpandrelNet scale: expected {scale}, but {path} is an x{found.scale} network')
    return found.model.requires_grad_(True)
