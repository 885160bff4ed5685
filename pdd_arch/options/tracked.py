"""BasicSR's option dictionary, that notes what is read of it."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pdd_arch.options.option_section import OptionSection
from pdd_arch.utils.wording import show_key

Path = tuple[str, ...]


class Asked:
    """What the classes of a run have asked for.

    Attributes:
        last: path of the key that was asked for last; empty before the first.
        keys: paths of all keys.
    """

    def __init__(self) -> None:
        self.last: Path = ()
        self.keys: set[Path] = set()

    def add(self, path: Path) -> None:
        self.last = path
        self.keys.add(path)


class TrackedOptions(OptionSection):
    """A section, and those below it, that notes in `asked` what is read of them; copies note it in the same place.

    Args:
        content: a section.
        asked: where it is noted.
        path: keys that lead to the section.
    """

    def __init__(self, content: Mapping[str, Any], asked: Asked, path: Path = ()) -> None:
        super().__init__({}, '.'.join(path))
        self._asked, self._path = asked, path
        for key, value in content.items():
            below = (*path, show_key(key))
            super().__setitem__(key, TrackedOptions(value, asked, below) if isinstance(value, Mapping) else value)

    def _note(self, key: object) -> None:
        self._asked.add((*self._path, str(key)))

    def __getitem__(self, key: str) -> Any:
        self._note(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._note(key)
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._note(key)
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        self._note(key)
        return super().pop(key, *default)

    def __deepcopy__(self, memo: dict[int, Any]) -> 'TrackedOptions':
        return TrackedOptions({key: deepcopy(value, memo) for key, value in self.items()}, self._asked, self._path)
