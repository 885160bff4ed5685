"""From pydantic's findings to one line that names the key, what was expected and what was found."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pdd_arch.errors import OptionError
from pdd_arch.options.schema import LARGEST
from pdd_arch.utils.wording import did_you_mean, one_of, show, show_key, show_path

Model = TypeVar('Model', bound=BaseModel)
Schema = Mapping[str, Any]
#: of an `OptionError`, by name
Fields = dict[str, str]

UNKNOWN = 'unknown key'

#: characters of a key
WORD = 200

#: errors named beside the first one
MORE = 3


def validated(model: type[Model], value: object, where: str = '') -> Model:
    """`value` as a `model`.

    Args:
        where: path of the section, for messages: ``train``; empty for the whole file.

    Raises:
        OptionError: one line: the first thing that is wrong, and where the others are.
    """
    try:
        return model.model_validate(value)
    except ValidationError as e:
        found = e.errors(include_url=False)
    (path, first), *others = _problems(model, value, found)
    prefix = f'{where}.' if where else ''
    if others:
        names = ', '.join(f'{prefix}{path}' for path, _ in others[:MORE])
        names += f' and {len(others) - MORE} more' if len(others) > MORE else ''
        first['way_out'] = f'{first.get("way_out", "")} Also wrong: {names}'.strip()
    raise OptionError(**first, where=f'{prefix}{path}')


def known_keys(model: type[BaseModel], value: object, keys: Sequence[str]) -> list[str] | None:
    """Names that the section at `keys` of `value` can hold; None if it takes others as well, or is no section.

    Raises:
        KeyError: there can be no such section.
    """
    root = document(model)
    node: Schema = root
    for key in keys:
        node = _choose(root, node, value)
        node, value = _child(node, key), value.get(key) if isinstance(value, Mapping) else None
    node = _choose(root, node, value)
    if node.get('type') != 'object':
        raise KeyError(keys[-1] if keys else '')
    return list(node['properties']) if node.get('additionalProperties') is False else None


@functools.cache
def document(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model."""
    return model.model_json_schema()


# ---------------------------------------------------------------- words
def describe(node: Schema, root: Schema) -> str:
    """What a value should be, in words, from its JSON schema."""
    if 'x-expected' in node:
        return node['x-expected']
    if '$ref' in node:
        return 'a section'
    options = node.get('anyOf') or node.get('oneOf')
    if options:
        words = dict.fromkeys(describe(o, root) for o in options)
        if any(word.startswith('a section') for word in words):
            words.pop('~', None)  # a section may be left out; nobody who gives one wants to hear of ~
        return ' or '.join(words)
    if 'const' in node:
        return repr(node['const'])
    if 'enum' in node:
        return one_of(node['enum'])
    return _describe_type(node, root)


def _describe_type(node: Schema, root: Schema) -> str:
    kind = node.get('type')
    if kind == 'integer':
        return f'a whole number{_range(node)}'
    if kind == 'number':
        return 'a positive number' if node.get('exclusiveMinimum') == 0 else f'a number{_range(node)}'
    if kind == 'array':
        return f'a list of {describe(node.get("items", {}), root)}'
    return {'boolean': 'true or false', 'string': 'a text', 'object': 'a section', 'null': '~'}.get(kind, 'a value')


def _range(node: Schema) -> str:
    low, high, below = node.get('minimum'), node.get('maximum'), node.get('exclusiveMaximum')
    if below is not None:
        return f' in [{low:g}, {below:g})'
    if high is not None and high < LARGEST // 2:
        return f' from {low} to {high}'
    return '' if low is None else f' of at least {low:g}'


# ---------------------------------------------------------------- problems
def _problems(model: type[BaseModel], value: object, errors: list[ErrorDetails]) -> list[tuple[str, Fields]]:
    """(path, fields of an `OptionError`) of each thing that is wrong, unknown keys that look mistyped first."""
    root: Schema = document(model)
    found: dict[tuple[str | int, ...], Fields] = {}
    for error in errors:
        place = _locate(root, value, error)
        found.setdefault(place.keys, _fields(error, root, place))
    # of the alternatives of a union only the one that fits best: it looked deepest
    deepest = [k for k in found if not any(o != k and o[: len(k)] == k for o in found)]
    deepest.sort(key=lambda keys: not (found[keys].get('what') == UNKNOWN and found[keys]['way_out'].startswith('Did')))
    return [(show_path(keys), found[keys]) for keys in deepest]


class _Place(NamedTuple):
    """Where an error is: keys as shown, the schema there and that of the section around it, and the value."""

    keys: tuple[str | int, ...]
    node: Schema
    parent: Schema
    value: object


def _locate(root: Schema, value: object, error: ErrorDetails) -> _Place:
    """Follow pydantic's path, which also names members of unions, through schema and value."""
    keys: list[str | int] = []
    node = parent = root
    for i, key in enumerate(error['loc']):
        chosen = _choose(root, node, value)
        missing = error['type'] == 'missing' and i == len(error['loc']) - 1
        if isinstance(value, Mapping) and (key in value or missing):
            parent, value = chosen, value.get(key)
            try:
                node = _child(chosen, key)
            except KeyError:
                node = {}
            keys.append(show_key(key))
        elif isinstance(value, list | tuple) and isinstance(key, int) and key < len(value):
            parent, node, value = chosen, chosen.get('items', {}), value[key]
            keys.append(key)
        # anything else is the name of a member of a union
    if error['type'].startswith('union_tag') and isinstance(value, Mapping):
        tags = {'enum': list(node.get('discriminator', {}).get('mapping', {}))}
        return _Place((*keys, 'type'), tags, node, value.get('type'))
    return _Place(tuple(keys), node, parent, value)


def _child(node: Schema, key: object) -> Schema:
    properties = node.get('properties', {})
    if key in properties:
        return properties[key]
    others = node.get('additionalProperties', False)
    if others is False:
        raise KeyError(key)
    return {} if others is True else others


def _choose(root: Schema, node: Schema, value: object) -> Schema:
    """The schema that is meant by a reference or, for `value`, by a union."""
    while True:
        if '$ref' in node:
            node = root['$defs'][node['$ref'].rsplit('/', 1)[-1]]
            continue
        options = node.get('anyOf') or node.get('oneOf')
        if not options:
            return node
        node = _member(root, [o for o in options if o.get('type') != 'null'], value)


def _member(root: Schema, options: list[Schema], value: object) -> Schema:
    if len(options) == 1:
        return options[0]
    resolved = [_choose(root, o, value) for o in options]
    if isinstance(value, Mapping):
        kind = value.get('type')
        for option in resolved:
            named = option.get('properties', {}).get('type', {})
            if kind in named.get('enum', ()) or ('const' in named and named['const'] == kind):
                return option
        return next((o for o in resolved if o.get('additionalProperties')), resolved[0])
    wanted = 'array' if isinstance(value, list | tuple) else 'string'
    return next((o for o in resolved if o.get('type') == wanted), resolved[0])


def _fields(error: ErrorDetails, root: Schema, place: _Place) -> Fields:
    """What an `OptionError` says of one of pydantic's findings."""
    kind, node = error['type'], place.node
    if kind == 'extra_forbidden':
        known = list(place.parent.get('properties', {}))
        hint = did_you_mean(place.keys[-1], known).strip()
        return {'what': UNKNOWN, 'way_out': hint or f'Known: {", ".join(known)}.'}
    if kind == 'invalid_key' or error['loc'][-1:] == ('[key]',):
        return {'expected': 'words as keys' + (f' of at most {WORD} characters' if 'too_long' in kind else '')}
    if kind in ('missing', 'union_tag_not_found'):
        example = f', for example {node["x-example"]}' if 'x-example' in node else ''
        return {'what': 'missing', 'expected': f'{describe(node, root)}{example}'}
    limit = f' (at most {LARGEST})' if kind == 'less_than_equal' and error['ctx']['le'] >= LARGEST // 2 else ''
    hint = did_you_mean(place.value, _choices(root, node)).strip() if isinstance(place.value, str) else ''
    return {'expected': f'{describe(node, root)}{limit}', 'found': show(place.value), 'way_out': hint}


def _choices(root: Schema, node: Schema) -> list[str]:
    """All fixed values that a node allows."""
    if 'const' in node:
        return [node['const']]
    found = list(node.get('enum', ()))
    for option in (*node.get('anyOf', ()), *node.get('oneOf', ()), *([node['items']] if 'items' in node else ())):
        found += _choices(root, option)
    return [v for v in found if isinstance(v, str)]
