"""From pydantic's findings to one line that names the key, what was expected and what was found."""

import functools
from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pdd_arch.errors import OptionError
from pdd_arch.options.fields import LARGEST
from pdd_arch.utils.wording import did_you_mean, one_of, show, show_key, show_path

Model = TypeVar('Model', bound=BaseModel)
Schema = Mapping[str, Any]
#: of a value in an option file
Keys = tuple[str | int, ...]
#: of an `OptionError`, by name
Fields = dict[str, str]

UNKNOWN = 'unknown key'

#: errors named beside the first one
MORE = 3


def validated(model: type[Model], value: object, where: str = '') -> Model:
    """`value` as a `model`; `where`: path of the section, for messages, empty for a whole file.

    The error is one line: the first thing that is wrong, and where the others are.
    """
    try:
        return model.model_validate(value)
    except ValidationError as e:
        found = _problems(model, value, e)
    # unknown keys that look mistyped first
    found.sort(key=lambda item: not (item[1].get('what') == UNKNOWN and item[1]['way_out'].startswith('Did')))
    prefix = f'{where}.' if where else ''
    names = [f'{prefix}{show_path(keys)}' for keys, _ in found]
    first = dict(found[0][1])
    if names[1:]:
        more = f' and {len(names) - 1 - MORE} more' if len(names) - 1 > MORE else ''
        others = f'Also wrong: {", ".join(names[1 : 1 + MORE])}{more}'
        first['way_out'] = f'{first.get("way_out", "")} {others}'.strip()
    raise OptionError(**first, where=names[0])


def unknown_keys(model: type[BaseModel], value: object) -> dict[Keys, str]:
    """Keys that a section or file holds and the schema does not know, and for each a hint which it does."""
    try:
        model.model_validate(value)
    except ValidationError as e:
        return {keys: fields['way_out'] for keys, fields in _problems(model, value, e) if fields.get('what') == UNKNOWN}
    return {}


@functools.cache
def document(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model."""
    return model.model_json_schema()


# ---------------------------------------------------------------- words
def describe(node: Schema) -> str:
    """What a value should be, in words, from its JSON schema."""
    if 'x-expected' in node:
        return str(node['x-expected'])
    options = node.get('anyOf') or node.get('oneOf')
    if options:
        words = dict.fromkeys(map(describe, options))
        if any(word.startswith('a section') for word in words):
            words.pop('~', None)  # a section may be left out; nobody who gives one wants to hear of ~
        return ' or '.join(words)
    if 'const' in node:
        return repr(node['const'])
    if 'enum' in node:
        return one_of(node['enum'])
    kind = 'object' if '$ref' in node else node.get('type')
    if kind == 'integer':
        return f'a whole number{_range(node)}'
    if kind == 'number':
        return 'a positive number' if node.get('exclusiveMinimum') == 0 else f'a number{_range(node)}'
    if kind == 'array':
        return f'a list of {describe(node.get("items", {}))}'
    simple = {'boolean': 'true or false', 'string': 'a text', 'object': 'a section', 'null': '~'}
    return simple.get(str(kind), 'a value')


def _range(node: Schema) -> str:
    low, high, below = node.get('minimum'), node.get('maximum'), node.get('exclusiveMaximum')
    if below is not None:
        return f' in [{low:g}, {below:g})'
    if high is not None and high < LARGEST // 2:
        return f' from {low} to {high}'
    return '' if low is None else f' of at least {low:g}'


# ---------------------------------------------------------------- problems
def _problems(model: type[BaseModel], value: object, found: ValidationError) -> list[tuple[Keys, Fields]]:
    """Where each thing is that is wrong, and the fields of an `OptionError` that says so."""
    root: Schema = document(model)
    problems: dict[Keys, Fields] = {}
    for error in found.errors(include_url=False):
        place = _locate(root, value, error)
        problems.setdefault(place.keys, _fields(error, place))
    # of the alternatives of a union only the one that fits best: it looked deepest
    return [(k, problems[k]) for k in problems if not any(o != k and o[: len(k)] == k for o in problems)]


class _Place(NamedTuple):
    """Where an error is: keys as shown, the schema there and that of the section around it, and the value."""

    keys: Keys
    node: Schema
    parent: Schema
    value: object


def _locate(root: Schema, value: object, error: ErrorDetails) -> _Place:
    """Follow pydantic's path, which also names members of unions, through schema and value."""
    keys: list[str | int] = []
    node = parent = root
    for i, key in enumerate(error['loc']):
        missing = error['type'] == 'missing' and i == len(error['loc']) - 1
        if isinstance(value, Mapping) and (key in value or missing):
            parent, value = _resolved(root, node, 'object'), value.get(key)
            others = parent.get('additionalProperties')
            node = parent.get('properties', {}).get(key) or (others if isinstance(others, Mapping) else {})
            keys.append(show_key(key))
        elif isinstance(value, list | tuple) and isinstance(key, int) and key < len(value):
            parent, value = _resolved(root, node, 'array'), value[key]
            node = parent.get('items', {})
            keys.append(key)
        else:  # the name of a member of a union
            node = next((o for o in _alternatives(node) if o.get('$ref', '').endswith(f'/{key}')), node)
            node = {'$ref': _by_tag(node)[key]} if key in _by_tag(node) else node
    if error['type'].startswith('union_tag') and isinstance(value, Mapping):
        return _Place((*keys, 'type'), {'enum': [*_by_tag(node)]}, node, value.get('type'))
    return _Place(tuple(keys), node, parent, value)


def _by_tag(node: Schema) -> Mapping[str | int, str]:
    """References to the members of a union by the value of ``type`` by which pydantic chooses one."""
    mapping: Mapping[str | int, str] = node.get('discriminator', {}).get('mapping', {})
    return mapping


def _alternatives(node: Schema) -> list[Schema]:
    members = (*node.get('anyOf', ()), *node.get('oneOf', ()))
    return [m for member in members for m in _alternatives(member) or [member]]


def _resolved(root: Schema, node: Schema, kind: str) -> Schema:
    """The schema of the `kind` that a reference or a union stands for."""
    if '$ref' in node:
        target: Schema = root['$defs'][node['$ref'].rsplit('/', 1)[-1]]
        return target
    found = [_resolved(root, o, kind) for o in _alternatives(node)]
    return next((o for o in found if o.get('type') == kind), node)


def _fields(error: ErrorDetails, place: _Place) -> Fields:
    """What an `OptionError` says of one of pydantic's findings."""
    kind, node = error['type'], place.node
    if kind == 'extra_forbidden':
        known = list(place.parent.get('properties', {}))
        hint = did_you_mean(place.keys[-1], known)
        return {'what': UNKNOWN, 'way_out': hint or f'Known: {", ".join(known)}.'}
    if kind == 'invalid_key' or error['loc'][-1:] == ('[key]',):
        most = f' of at most {error["ctx"]["max_length"]} characters' if 'too_long' in kind else ''
        return {'expected': f'words as keys{most}'}
    if kind in ('missing', 'union_tag_not_found'):
        example = f', for example {node["x-example"]}' if 'x-example' in node else ''
        return {'what': 'missing', 'expected': f'{describe(node)}{example}'}
    limit = f' (at most {LARGEST})' if kind == 'less_than_equal' and error['ctx']['le'] >= LARGEST // 2 else ''
    hint = did_you_mean(place.value, _choices(node)) if isinstance(place.value, str) else ''
    if node.get('type') == 'string' and isinstance(place.value, int | float | date):
        hint = 'A text that looks like something else needs quotes.'
    kinds = [one.get('type') for one in (node, *_alternatives(node))]
    if 'integer' in kinds and isinstance(place.value, float) and place.value.is_integer():
        hint = f'Write {place.value:.0f}.'  # 1e5 is no whole number in YAML
    return {'expected': f'{describe(node)}{limit}', 'found': show(place.value), 'way_out': hint}


def _choices(node: Schema) -> list[str]:
    """All texts that a node allows as fixed values."""
    members = (*_alternatives(node), *([node['items']] if 'items' in node else ()))
    fixed = (node.get('const'), *node.get('enum', ()), *node.get('not', {}).get('enum', ()))
    return [v for v in fixed if isinstance(v, str)] + [v for member in members for v in _choices(member)]
