"""Registering with BasicSR's registries, safe to run twice."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from basicsr.utils.registry import Registry

from pdd_arch.errors import OptionError
from pdd_arch.utils.user_modules import HOW_TO_IMPORT
from pdd_arch.utils.wording import did_you_mean

T = TypeVar('T', bound=Callable[..., Any])


def register(registry: Registry) -> Callable[[T], T]:
    """Decorator that adds a class or function to a BasicSR registry under its own name.

    BasicSR's own ``Registry.register`` asserts when a name is taken, so a module that is reloaded fails.
    Here a second registration of the *same* object (same module and name) replaces the first; a name that something
    from another module has taken is a KeyError.
    """

    def decorate(obj: T) -> T:
        name = obj.__name__
        known = registry._obj_map.get(name)
        if known is not None and known.__module__ != obj.__module__:
            raise KeyError(
                f'{name!r} of {obj.__module__} cannot be registered in the {registry._name} registry: '
                f'{known.__module__} already holds that name'
            )
        registry._obj_map[name] = obj
        return obj

    return decorate


def registered(registry: Registry, name: object) -> Callable[..., Any] | None:
    """What BasicSR's ``registry.get(name)`` would find, or None: also names that BasicSR keeps under ``_basicsr``."""
    known: Mapping[object, Callable[..., Any]] = registry._obj_map
    return known.get(name) or known.get(f'{name}_basicsr')


def registered_as(what: str, registry: Registry, kind: object, where: str) -> Callable[..., Any]:
    """The class or function of a registry that the option `where` names; `what` it is, in a word: ``metric``."""
    found = registered(registry, kind)
    if found is None:
        known = [name.removesuffix('_basicsr') for name, _ in registry]
        way_out = f'{did_you_mean(kind, known)} {HOW_TO_IMPORT}'.lstrip()
        raise OptionError(f'no {what} {kind!r} is registered', where=where, way_out=way_out)
    return found
