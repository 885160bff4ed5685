"""Names of the same tensors in checkpoints of different code: RRDBNet and the U-Net discriminator.

An x4 RRDBNet has been published under three sets of names: ESRGAN's first code (``model.1.sub.0.RDB1.conv1.0.weight``),
its second, which BSRGAN and RealSR use (``RRDB_trunk.0.RDB1.conv1.weight``), and BasicSR's
(``body.0.rdb1.conv1.weight``). The tensors are the same.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from torch import nn

T = TypeVar('T')

#: the first is BasicSR's and Real-ESRGAN's own
RRDBNET_LAYOUTS = ('basicsr', 'bsrgan', 'esrgan')

#: BasicSR's name of a layer -> the others'; {n}: number of blocks
_OUTER = {
    'conv_first': {'bsrgan': 'conv_first', 'esrgan': 'model.0'},
    'conv_body': {'bsrgan': 'trunk_conv', 'esrgan': 'model.1.sub.{n}'},
    'conv_up1': {'bsrgan': 'upconv1', 'esrgan': 'model.3'},
    'conv_up2': {'bsrgan': 'upconv2', 'esrgan': 'model.6'},
    'conv_hr': {'bsrgan': 'HRconv', 'esrgan': 'model.8'},
    'conv_last': {'bsrgan': 'conv_last', 'esrgan': 'model.10'},
}
_INNER = {
    'basicsr': 'body.{block}.rdb{part}.conv{conv}',
    'bsrgan': 'RRDB_trunk.{block}.RDB{part}.conv{conv}',
    'esrgan': 'model.1.sub.{block}.RDB{part}.conv{conv}.0',
}


def rrdbnet_layout(names: Iterable[str]) -> str | None:
    """Which code wrote a state dict with these tensor names.

    Returns:
        One of `RRDBNET_LAYOUTS`, or None: not an RRDBNet, or one with more or fewer layers than an x4 network (in
        BasicSR's code the x2 and x1 networks have the same layers as x4).
    """
    names = set(names)
    blocks = _blocks(names)
    return next((layout for layout in RRDBNET_LAYOUTS if blocks > 0 and names == set(_names(layout, blocks))), None)


def rename_rrdbnet(state: Mapping[str, T], layout: str = 'basicsr') -> dict[str, T]:
    """A state dict of an x4 RRDBNet under the names of another code.

    Args:
        state: names in any of `RRDBNET_LAYOUTS`.
        layout: the names wanted.

    Returns:
        The same tensors in the order of the network.

    Raises:
        ValueError: not such a state dict.
    """
    own = rrdbnet_layout(state)
    if own is None:
        raise ValueError('not the state dict of an RRDBNet with two upsampling layers')
    blocks = _blocks(state)
    pairs = zip(_names(own, blocks), _names(layout, blocks), strict=True)
    return {new: state[old] for old, new in pairs}


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
    return (len(set(names)) // 2 - len(_OUTER)) // 15


def _names(layout: str, blocks: int) -> list[str]:
    """Names of all tensors, in the order of the network."""

    def outer(name: str) -> str:
        return _OUTER[name].get(layout, name).format(n=blocks)

    layers = [outer('conv_first')]
    for block in range(blocks):
        for part in (1, 2, 3):
            layers += [_INNER[layout].format(block=block, part=part, conv=conv) for conv in (1, 2, 3, 4, 5)]
    layers += [outer(name) for name in list(_OUTER)[1:]]
    return [f'{layer}.{kind}' for layer in layers for kind in ('weight', 'bias')]
