"""An option file that remembers which of its values have been used."""

from collections.abc import Iterator, Mapping

from pdd_arch.errors import OptionError

UNKNOWN = 'there is no option for it here'

#: a path and the value there
Leaf = tuple[str, object]


class Source:
    """Values by path (``train.domain_opt.type``, ``datasets.train_s.pipeline[0].type``), each to be used or refused.

    Attributes:
        not_carried: (path, value, reason) of what was refused, in the order of refusal.
    """

    def __init__(self, options: Mapping) -> None:
        self._left = dict(_leaves(options))
        self._options = options
        self.not_carried: list[tuple[str, object, str]] = []

    def has(self, path: str) -> bool:
        """Whether there is a value or a section."""
        return _find(self._options, path) is not _MISSING

    def names(self, path: str) -> list[str]:
        """Keys of a section that have not been used up yet; none where there is no section."""
        section = _find(self._options, path)
        if not isinstance(section, Mapping):
            return []
        return [str(name) for name in section if any(self._below(f'{path}.{name}'))]

    def take(self, path: str, default: object = None) -> object:
        """Use the value at `path`, a whole section or one value; `default` where there is none."""
        value = _find(self._options, path)
        for leaf in list(self._below(path)):
            del self._left[leaf]
        return default if value is _MISSING else value

    def take_text(self, path: str, default: str | None = None) -> str | None:
        """:meth:`take` of a name. Raises OptionError where the value is no text."""
        return self._taken(path, default, str, 'a name')

    def take_flag(self, path: str, default: bool) -> bool:
        """:meth:`take` of true or false. Raises OptionError where the value is neither."""
        return self._taken(path, default, bool, 'true or false')

    def take_list(self, path: str) -> list:
        """:meth:`take` of a list, empty where there is none. Raises OptionError where the value is no list."""
        return self._taken(path, [], list, 'a list')

    def _taken(self, path: str, default: object, kind: type, expected: str) -> object:
        value = self.take(path, default)
        if value != default and not isinstance(value, kind):
            raise OptionError(f'{path}: {value!r}, expected {expected}')
        return value

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
        """Put a value on the list."""
        self.not_carried.append((path, value, reason))

    def drop(self, path: str, reason: str) -> None:
        """Refuse all that is left at `path`."""
        for leaf in list(self._below(path)):
            self.note(leaf, self._left.pop(leaf), reason)

    def drop_rest(self, reason: str) -> None:
        """Refuse all that is left."""
        for leaf, value in self._left.items():
            self.note(leaf, value, reason)
        self._left.clear()

    def _below(self, path: str) -> Iterator[str]:
        return (leaf for leaf in self._left if leaf == path or leaf.startswith((f'{path}.', f'{path}[')))


def whole(value: object) -> object:
    """`value`; 5e3 as the whole number that it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_MISSING = object()


def _leaves(value: object, path: str = '') -> Iterator[Leaf]:
    """All values below; a list of sections is gone through, any other list is one value."""
    if isinstance(value, Mapping) and (value or not path):
        for key, child in value.items():
            yield from _leaves(child, f'{path}.{key}' if path else str(key))
    elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
        for i, child in enumerate(value):
            yield from _leaves(child, f'{path}[{i}]')
    else:
        yield path, value


def _find(options: object, path: str) -> object:
    for key in path.replace('[', '.[').split('.'):
        if key.startswith('['):
            position = int(key[1:-1])
            if not isinstance(options, list) or position >= len(options):
                return _MISSING
            options = options[position]
            continue
        if not isinstance(options, Mapping):
            return _MISSING
        found = next((v for k, v in options.items() if str(k) == key), _MISSING)
        if found is _MISSING:
            return _MISSING
        options = found
    return options
