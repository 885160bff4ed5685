"""An option file that remembers which of its values have been used."""

from collections.abc import Container, Iterator, Mapping
from typing import Any, TypeVar

from pdd_arch.errors import OptionError

UNKNOWN = 'there is no option for it here'

T = TypeVar('T')
_KINDS: Mapping[type, str] = {str: 'a name', bool: 'true or false', list: 'a list'}


class Source:
    """Values by path (``train.domain_opt.type``, ``datasets.train_s.pipeline[0].type``), each to be used or refused.

    Attributes:
        not_carried: (path, value, reason) of what was refused, in the order of refusal.
        remarks: what means something else although it was used.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        nodes = list(_nodes(options))
        self._all = {path: value for path, value, _ in nodes}
        self._left = {path: value for path, value, is_leaf in nodes if is_leaf}
        self.not_carried: list[tuple[str, object, str]] = []
        self.remarks: list[str] = []

    def has(self, path: str) -> bool:
        """Whether there is a value or a section."""
        return path in self._all

    def names(self, path: str) -> list[str]:
        """Keys of a section that have not been used up yet; none where there is no section."""
        section = self._all.get(path)
        names = map(str, section) if isinstance(section, Mapping) else ()
        return [name for name in names if any(self._below(f'{path}.{name}'))]

    def take(self, path: str, default: Any = None) -> Any:
        """Use the value at `path`, a whole section or one value; `default` where there is none."""
        for leaf in list(self._below(path)):
            del self._left[leaf]
        return self._all.get(path, default)

    def take_a(self, path: str, default: T) -> T:
        """:meth:`take` of a value of the kind of `default`: a name, true or false, or a list; any other is an error."""
        value = self.take(path, default)
        if not isinstance(value, type(default)):
            raise OptionError(repr(value), where=path, expected=_KINDS[type(default)])
        return value

    def take_all(self, path: str) -> dict[str, Any]:
        """Use all values of a section that are left."""
        return {name: self.take(f'{path}.{name}') for name in self.names(path)}

    def take_known(self, path: str, known: Container[str]) -> dict[str, Any]:
        """Use those values of a section that `known` names; whole numbers written as 5e3 become whole numbers."""
        return {name: whole(self.take(f'{path}.{name}')) for name in self.names(path) if name in known}

    def take_first(self, path: str, names: tuple[str, ...], default: object) -> object:
        """Use the value of the first of several names that stands in the section at `path`."""
        name = next((n for n in names if self.has(f'{path}.{n}')), names[0])
        return self.take(f'{path}.{name}', default)

    def only(self, path: str, expected: object, reason: str) -> None:
        """Use a value that can only be `expected` here; any other is refused."""
        if self.has(path):
            value = self.take(path)
            if value != expected:
                self.note(path, value, reason)

    def note(self, path: str, value: object, reason: str) -> None:
        self.not_carried.append((path, value, reason))

    def drop(self, path: str, reason: str) -> None:
        """Refuse all that is left at `path`; at the empty path, all that is left."""
        for leaf in list(self._below(path)):
            self.note(leaf, self._left.pop(leaf), reason)

    def _below(self, path: str) -> Iterator[str]:
        return (leaf for leaf in self._left if not path or leaf == path or leaf.startswith((f'{path}.', f'{path}[')))


def whole(value: Any) -> Any:
    """`value`; 5e3 as the whole number that it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _nodes(value: object, path: str = '') -> Iterator[tuple[str, object, bool]]:
    """All values and sections below, and whether each is one value, as is any list but one of sections."""
    children: list[tuple[str, object]] = []
    if isinstance(value, Mapping):
        children = [(f'{path}.{key}' if path else str(key), child) for key, child in value.items()]
    elif isinstance(value, list) and all(isinstance(v, Mapping) for v in value):
        children = [(f'{path}[{i}]', child) for i, child in enumerate(value)]
    yield path, value, bool(path) and not children
    for name, child in children:
        yield from _nodes(child, name)
