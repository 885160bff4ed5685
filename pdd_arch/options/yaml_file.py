"""Reading option files, which may come from strangers: nothing is executed, and nothing may hang or fill the memory."""

import os
import re
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from pdd_arch.errors import MissingFileError, OptionError
from pdd_arch.utils.files import similar_file

#: far beyond any option file (those of this package have 10 kB)
MAX_BYTES = 1_000_000
MAX_NODES = 20_000
MAX_DEPTH = 50
MAX_NUMBER = 100

_MERGE = 'tag:yaml.org,2002:merge'
_INVALID = 'not a valid option file'
_NO_BREAK, _LF = '\u00a0', '\n'
#: what to do about a problem, by a part of its name
_WAYS_OUT = {
    "'\\t'": 'Write spaces instead of tabs.',
    'escape character': 'Put a text with backslashes into single quotes, or write / instead.',
    'another document': 'A file holds one set of options: remove what begins with ---.',
}


class OptionLoader(yaml.SafeLoader):
    """Safe loader that knows ``!!float`` and ``1e-4``, refuses a key that appears twice, and has limits.

    A few lines of aliases to aliases stand for billions of values, and a number of a million digits takes minutes to
    read: the size of the document with its aliases written out is limited, as are its depth and its numbers.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._nodes = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        is_alias = self.check_event(yaml.AliasEvent)
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._depth += 1
        self._nodes += 1
        if self._depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f'nested more than {MAX_DEPTH} levels deep', mark)
        if self._nodes > MAX_NODES:
            raise yaml.composer.ComposerError(None, None, f'more than {MAX_NODES} values', mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._sizes:
            raise yaml.composer.ComposerError(None, None, 'an alias inside the value that it stands for', mark)
        if not is_alias:
            self._sizes[id(node)] = self._size(node)
        if self._sizes[id(node)] > MAX_NODES:
            raise yaml.composer.ComposerError(None, None, f'aliases that stand for more than {MAX_NODES} values', mark)
        return node

    def _size(self, node: yaml.Node | None) -> int:
        """Values below a node, with aliases written out."""
        if isinstance(node, yaml.ScalarNode):
            return 1
        children = getattr(node, 'value', ())
        if isinstance(node, yaml.MappingNode):
            children = [n for pair in children for n in pair]
        return 1 + sum(self._sizes[id(child)] for child in children)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _MERGE:
                continue  # merged keys may be overridden; anything but a scalar is the safe loader's to judge
            key = self.construct_object(key_node, deep=True)
            if key in seen:  # the first value would be lost silently
                raise yaml.constructor.ConstructorError(None, None, f'key {key!r} appears twice', key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        of_kind = super().construct_yaml_int if node.tag.endswith(':int') else super().construct_yaml_float
        value: int | float = of_kind(node)
        if re.match(r'[-+]?0[0-9_]+$|.*:', node.value):  # YAML 1.1 takes 010 for 8 and 1:30 for 90
            problem = f'{node.value} is {value} in YAML; write that, or put a text into quotes'
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return value

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        if node.tag.endswith((':int', ':float')) and len(node.value) > MAX_NUMBER:
            problem = f'a number of {len(node.value)} characters'
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_scalar(node)


for _tag in ('tag:yaml.org,2002:int', 'tag:yaml.org,2002:float'):
    OptionLoader.add_constructor(_tag, OptionLoader.construct_number)
# YAML 1.1 takes 1e-4 for a string, because it has no dot; everybody who writes it means a number
OptionLoader.add_implicit_resolver(
    'tag:yaml.org,2002:float', re.compile(r'^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$'), list('-+0123456789')
)


def parse_yaml(text: str) -> object:
    """The value that a YAML text stands for; mappings keep their order, nothing in it is executed.

    Raises:
        OptionError: what is wrong, in one line; `where` is its line in the text, where that is known.
    """
    where = way_out = ''
    try:
        return _written_out(yaml.load(text, Loader=OptionLoader))  # a SafeLoader
    except yaml.YAMLError as e:
        mark = getattr(e, 'problem_mark', None)
        problem = str(getattr(e, 'problem', None) or getattr(e, 'reason', None) or e)
        if problem == "could not find expected ':'":
            mark = getattr(e, 'context_mark', mark)  # of the line itself; the other is where the search ended
            problem = 'the line is not `key: value`, with a space behind the colon'
        where = f'line {mark.line + 1}' if mark else ''
        way_out = next((hint for part, hint in _WAYS_OUT.items() if part in problem), '')
        if _NO_BREAK in text:
            way_out = f'Line {text.partition(_NO_BREAK)[0].count(_LF) + 1} holds a no-break space; write a common one.'
    except RecursionError:
        problem = f'nested more than {MAX_DEPTH} levels deep'
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as e:
        # what the safe loader lets out for a value that is not of its tag: !!int x, 2024-99-99
        problem = f'a value that does not fit its tag: {e}'
    raise OptionError(' '.join(problem.split())[:300], where=where, way_out=way_out)


def _written_out(value: Any) -> Any:
    """The value with a copy for each alias: what BasicSR or ``--force_yml`` changes in one section is of that alone."""
    if isinstance(value, dict):
        return {key: _written_out(entry) for key, entry in value.items()}
    return [_written_out(entry) for entry in value] if isinstance(value, list) else value


def load_options(path: str | Path) -> dict[str, Any]:
    """Read an option file; mappings keep their order, nothing in it is executed.

    Raises:
        MissingFileError, OptionError: no such file, or it is no readable, valid and harmless YAML mapping in UTF-8.
    """
    if not os.path.isfile(path):
        what = 'is a folder' if os.path.isdir(path) else f'does not exist (looked from {os.getcwd()})'
        if os.path.exists(path) and not os.path.isdir(path):
            what = 'is a pipe or device, not a file'
        way_out = f'{similar_file(Path(path))} Give an option file (.yml).'.strip()
        raise MissingFileError(f'{path} {what}', where='-opt', way_out=way_out)
    text = _read_text(path)
    try:
        opt = parse_yaml(text)
    except OptionError as e:
        raise e.with_fields(what=f'{_INVALID}: {e.what}', where=f'{path} {e.where}'.strip()) from None
    if not isinstance(opt, dict):
        raise OptionError(
            where=str(path), expected='a mapping of options', found='nothing' if opt is None else type(opt).__name__
        )
    return opt


def with_key(text: str, key: str, value: list[str]) -> str:
    """The text of an option file in which the list stands under `key`, at the top level; the rest stays as it is."""
    root = yaml.compose(text, Loader=OptionLoader)
    listed = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=sys.maxsize).strip()
    assert isinstance(root, yaml.MappingNode)  # as `load_options` has found
    for key_node, node in root.value:
        if key_node.value == key and node.start_mark.index >= key_node.end_mark.index:  # not an alias
            # the mark at the end of a block is behind the comments that follow it
            last = node.value[-1] if isinstance(node.value, list) and node.value and not node.flow_style else node
            start, end = node.start_mark.index, last.end_mark.index
            return f'{text[:start].rstrip(" ")} {listed}{text[end:]}'
    start = root.value[0][0].start_mark.index
    return f'{text[:start]}{key}: {listed}{", " if root.flow_style else chr(10)}{text[start:]}'


def _read_text(path: str | Path) -> str:
    try:
        with open(path, 'rb') as f:
            content = f.read(MAX_BYTES + 1)
    except OSError as e:
        what = f'{path} cannot be read: {e.strerror or e}'
        raise OptionError(what, where='-opt', way_out='Make it readable.') from None
    if len(content) > MAX_BYTES:
        what = f'larger than {MAX_BYTES} bytes, which no option file is'
        raise OptionError(what, where=str(path), way_out='Check the path.')
    if content.startswith((b'\xff\xfe', b'\xfe\xff')):
        what = f'{_INVALID}: the text is UTF-16, not UTF-8'
        raise OptionError(what, where=str(path), way_out='Save it as UTF-8.')
    if b'\0' in content:
        raise OptionError(f'{_INVALID}: it holds zero bytes', where=str(path), expected='text (YAML)')
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as e:
        line = content.count(b'\n', 0, e.start) + 1
        where = f'{path} line {line}'
        raise OptionError(f'{_INVALID}: not UTF-8 text', where=where, way_out='Save it as UTF-8.') from None
