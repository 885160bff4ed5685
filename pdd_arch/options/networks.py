"""Sections that describe a network."""

from collections.abc import Mapping
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY

from pdd_arch.errors import OptionError
from pdd_arch.options.signatures import check_keywords
from pdd_arch.utils.registration import registered
from pdd_arch.utils.wording import did_you_mean, show


def check_network(key: str, options: Mapping[str, Any], scale: int | None = None) -> None:
    """The network of a section is registered and takes the options given.

    Args:
        key: name of the section: ``network_g``.
        options: the section.
        scale: scale of the run, which the network has to share; None: a network that has no scale.

    Raises:
        OptionError: unknown type, an option that the network does not have, or another scale.
    """
    kind = str(options.get('type'))
    network = registered(ARCH_REGISTRY, kind)
    if not callable(network):
        hint = did_you_mean(kind, ARCH_REGISTRY.keys()).strip()
        raise OptionError(f'no network {kind!r} is registered', where=f'{key}.type', way_out=hint)
    check_keywords(key, kind, network, {k: v for k, v in options.items() if k != 'type'})
    for name in ('scale', 'upscale'):
        if scale is not None and name in options and options[name] != scale:
            raise OptionError(
                f'{show(options[name])}, but scale is {scale}',
                where=f'{key}.{name}',
                way_out='They must be the same.',
            )
