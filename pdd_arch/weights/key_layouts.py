"""Names of the same tensors in checkpoints of different code: RRDBNet and the U-Net discriminator.

An x4 RRDBNet has been published under three sets of names: ESRGAN's first code (``model.1.sub.0.RDB1.conv1.0.weight``),
its second, which BSRGAN and RealSR use (``RRDB_trunk.0.RDB1.conv1.weight``), and BasicSR's
(``body.0.rdb1.conv1.weight``). The tensors are the same.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import product
from typing import TypeVar

from torch import nn

T = TypeVar('T')

#: first layer and those behind the residual blocks; {n}: number of blocks
_OUTER = {
    'basicsr': ('conv_first', 'conv_body', 'conv_up1', 'conv_up2', 'conv_hr', 'conv_last'),
    'bsrgan': ('conv_first', 'trunk_conv', 'upconv1', 'upconv2', 'HRconv', 'conv_last'),
    'esrgan': ('model.0', 'model.1.sub.{n}', 'model.3', 'model.6', 'model.8', 'model.10'),
}
_INNER = {
    'basicsr': 'body.{block}.rdb{part}.conv{conv}',
    'bsrgan': 'RRDB_trunk.{block}.RDB{part}.conv{conv}',
    'esrgan': 'model.1.sub.{block}.RDB{part}.conv{conv}.0',
}
#: the first is BasicSR's and Real-ESRGAN's own
RRDBNET_LAYOUTS = tuple(_OUTER)


def rrdbnet_layout(names: Iterable[str]) -> str | None:
    """Which of `RRDBNET_LAYOUTS` the tensor names of a state dict are; None: not those of an x4 RRDBNet.

    In BasicSR's code the x2 and x1 networks have the same layers as x4.
    """
    names = set(names)
    blocks = _blocks(names)
    return next((layout for layout in RRDBNET_LAYOUTS if blocks > 0 and names == set(_names(layout, blocks))), None)


def rename_rrdbnet(state: Mapping[str, T], layout: str = 'basicsr') -> dict[str, T]:
    """A state dict of an x4 RRDBNet under the names of `layout`, in the network's order; ValueError for any other."""
    if (own := rrdbnet_layout(state)) is None:
        raise ValueError('not the state dict of an RRDBNet with two upsampling layers')
    blocks = _blocks(state)
    return {new: state[old] for old, new in zip(_names(own, blocks), _names(layout, blocks), strict=True)}


def renamed_for(net: nn.Module, state: Mapping[str, T]) -> dict[str, T]:
    """`state` under the names of `net`, where it holds an older code's names for the same layers; else as it is.

    Known are RRDBNet's layouts and the discriminator of the paper's released code (``conv_0`` for ``conv0``).
    """
    own = net.state_dict().keys()
    if state.keys() == own:
        return dict(state)
    layout, wanted = rrdbnet_layout(state), rrdbnet_layout(own)
    if layout is not None and wanted is not None:
        return rename_rrdbnet(state, wanted)
    plain = {re.sub(r'^conv_(\d)\.', r'conv\1.', name): value for name, value in state.items()}
    return plain if plain.keys() == own else dict(state)


def _blocks(names: Iterable[str]) -> int:
    """Number of residual-in-residual blocks, if it is an RRDBNet: 15 convolutions each, and those of `_OUTER`."""
    return (len(set(names)) // 2 - len(_OUTER['basicsr'])) // 15


def _names(layout: str, blocks: int) -> list[str]:
    """Names of all tensors, in the order of the network."""
    first, *behind = (name.format(n=blocks) for name in _OUTER[layout])
    positions = product(range(blocks), (1, 2, 3), (1, 2, 3, 4, 5))
    inner = [_INNER[layout].format(block=block, part=part, conv=conv) for block, part, conv in positions]
    return [f'{layer}.{kind}' for layer in (first, *inner, *behind) for kind in ('weight', 'bias')]
