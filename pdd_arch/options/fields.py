"""What sections of option files are made of: limits of numbers, fields with their meaning, and sections."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field

#: no count is larger; arithmetic with floats and 32-bit seeds stays exact
LARGEST = 2**31 - 1

Count = Annotated[int, Field(ge=0, le=LARGEST)]
PositiveCount = Annotated[int, Field(ge=1, le=LARGEST)]
Workers = Annotated[int, Field(ge=0, le=1024)]
Devices = Literal['auto'] | Workers
Size = Annotated[int, Field(ge=1, le=65536)]
Seed = Annotated[int, Field(ge=0, le=LARGEST - 4096)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


@dataclass(frozen=True)
class Expected:
    """Words of an error message, and other notes of the JSON schema, where those made from the type say less."""

    text: str
    unlike: tuple[str, ...] = ()

    def __get_pydantic_json_schema__(self, core: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        schema = {**handler(core), 'x-expected': self.text}
        return schema | {'not': {'enum': [*self.unlike]}} if self.unlike else schema


Word = Annotated[str, Field(max_length=200)]
Path = Annotated[str, Field(max_length=4096), Expected('a path')]
Weights = Annotated[list[Number], Expected('a list of numbers')]


def option(meaning: str, default: Any = ..., shown: str = '', example: str = '', alias: str | None = None) -> Any:
    """A field with its meaning, a clause for the reference; without a `default` the option is required.

    Args:
        shown: stands for the default in the reference, where that depends on other options.
        example: an example of a value, as YAML.
        alias: its key in the file, where the name of the field is another.
    """
    notes = {'x-default': shown, 'x-example': example}
    text = f'{meaning}, for example {example}' if example else meaning
    extra: dict[str, Any] = {k: v for k, v in notes.items() if v}
    return Field(default, alias=alias, description=text, json_schema_extra=extra or None)


def options_of(owner: Callable[..., Any]) -> Callable[..., Any]:
    """A `option` whose default is that of the parameter of `owner`'s constructor."""
    parameters = inspect.signature(owner).parameters

    def of_parameter(name: str, meaning: str) -> Any:
        default = parameters[name].default
        if default is inspect.Parameter.empty:
            return option(meaning)
        plain = {Mapping: dict, tuple: list}
        return option(meaning, next((to(default) for kind, to in plain.items() if isinstance(default, kind)), default))

    return of_parameter


class Section(BaseModel):
    """A section of which every key is known."""

    model_config = ConfigDict(strict=True, extra='forbid', frozen=True, protected_namespaces=())

    def given(self) -> dict[str, Any]:
        """The keys that the file has, without defaults: keywords of the class that ``type`` names, and ``type``."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class OpenSection(Section):
    """A section that also holds keywords of the registered class that ``type`` names; its signature judges them."""

    model_config = ConfigDict(extra='allow')


def types_of(*sections: type[Section]) -> tuple[str, ...]:
    """The values of ``type`` that the sections are for."""
    return tuple(name for cls in sections for name in get_args(cls.model_fields['type'].annotation))


def by_type(other: type[Section], *known: type[Section]) -> Discriminator:
    """Chooses one of the sections `known` by ``type``, or `other` for any other type."""
    tags = {name: cls.__name__ for cls in known for name in types_of(cls)}

    def choose(value: object) -> str:
        kind = value.get('type') if isinstance(value, Mapping) else getattr(value, 'type', None)
        return tags.get(kind, other.__name__) if isinstance(kind, str) else other.__name__

    return Discriminator(choose)
