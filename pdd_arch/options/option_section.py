"""Sections of BasicSR's option dictionary that know their place in the option file."""

from collections.abc import Iterator, Mapping
from typing import Any

from pdd_arch.errors import MissingOptionError
from pdd_arch.utils.wording import did_you_mean


class OptionSection(dict[str, Any]):
    """A dictionary that says which option is missing, by its whole key, whoever reads it.

    Its sections are of this class, too, whatever becomes of it: copied, pickled for data workers, changed. Everything
    else is as in a plain dictionary.

    Args:
        place: key of the section, ``train.optim_g``; '' for all options.

    Raises:
        MissingOptionError: a `KeyError`, by ``section[key]`` and ``section.pop(key)``.
    """

    place = ''

    def __init__(self, options: Mapping[str, Any], place: str = '') -> None:
        super().__init__(
            {key: _placed(value, f'{place}.{key}' if place else str(key)) for key, value in options.items()}
        )
        self.place = place

    def __missing__(self, key: object) -> Any:
        raise MissingOptionError(
            'missing',
            where=f'{self.place}.{key}' if self.place else str(key),
            way_out=did_you_mean(key, map(str, self)) or 'Add it to the option file.',
        )

    def pop(self, key: Any, *default: Any) -> Any:
        """As `dict.pop`."""
        return super().pop(key, *default) if default or key in self else self.__missing__(key)


def _placed(value: Any, place: str) -> Any:
    if type(value) is dict:  # other kinds have a meaning of their own
        return OptionSection(value, place)
    if type(value) is list:
        return [_placed(entry, f'{place}[{number}]') for number, entry in enumerate(value)]
    return value


def flat(options: Mapping[str, Any], place: str = '') -> Iterator[tuple[str, Any]]:
    """(whole key, value) of every entry that is no section: ``('train.optim_g.lr', 0.0001)``."""
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from flat(value, f'{place}{key}.')
        else:
            yield f'{place}{key}', value
