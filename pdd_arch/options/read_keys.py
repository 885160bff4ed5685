"""Which keys of its options a class reads, by its source: for warnings about keys that nobody reads.

A class of BasicSR gets the option dictionary (a model) or its section (a dataset) as ``opt`` and reads it by names of
keys: ``self.opt['train'].get('ema_decay', 0)``. These names are in its source and in that of the classes it derives
from, so that nothing has to be kept up to date, and classes of the user's own are served as well.
"""

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

#: keys that lead to a value
Path = tuple[str, ...]

_READING = ('get', 'pop', 'setdefault')


class ReadKeys(NamedTuple):
    """What a class reads.

    Attributes:
        paths: keys with those of the sections around them: ``('train', 'ema_decay')``.
        names: keys of which the section is not known: those of dictionaries that were passed on under another name.
    """

    paths: frozenset[Path]
    names: frozenset[str]

    def reads(self, path: Path) -> bool:
        """Whether the key at `path` is read."""
        return path in self.paths or path[-1] in self.names


@functools.cache
def keys_read_by(cls: Callable[..., Any]) -> ReadKeys:
    """The keys that the methods of a class, those that it inherits included, or a function, read of ``opt``."""
    paths: set[Path] = set()
    names: set[str] = set()
    for base in inspect.getmro(cls) if inspect.isclass(cls) else (cls,):
        if base.__module__.partition('.')[0] in ('builtins', 'torch', 'abc', 'typing'):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError):  # defined where there is no file
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                for path, known in _keys_of(node):
                    if known:
                        paths.add(path)
                    else:
                        names.add(path[-1])
    return ReadKeys(frozenset(paths), frozenset(names))


def _keys_of(function: ast.FunctionDef) -> Iterator[tuple[Path, bool]]:
    """(path, whether it is whole) of each key that is read in a function."""
    sections: dict[str, Path] = {'opt': ()}  # variables that hold the options, or a section of them
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            path = _path_of(node.value, sections)
            if path is not None:
                sections[node.targets[0].id] = path
    for node in ast.walk(function):
        container, key = _read(node)
        if container is None or key is None:
            continue
        path = _path_of(container, sections)
        yield (*(path or ()), key), path is not None


def _read(node: ast.AST) -> tuple[ast.expr | None, str | None]:
    """The dictionary that an expression reads, and the key."""
    if isinstance(node, ast.Subscript):
        return node.value, _text(node.slice)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _READING:
        return node.func.value, _text(node.args[0]) if node.args else None
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.In | ast.NotIn):
        return node.comparators[0], _text(node.left)
    return None, None


def _path_of(node: ast.expr, sections: dict[str, Path]) -> Path | None:
    """The keys that lead to the section which an expression stands for; None where it is not known to be one."""
    if isinstance(node, ast.Name):
        return sections.get(node.id)
    if isinstance(node, ast.Attribute):
        return () if node.attr == 'opt' and isinstance(node.value, ast.Name) and node.value.id == 'self' else None
    container, key = _read(node)
    if container is None or key is None or isinstance(node, ast.Compare):
        return None
    path = _path_of(container, sections)
    return None if path is None else (*path, key)


def _text(node: Any) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
