"""Functions of other modules, replaced for a while."""

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def replaced(replacements: list[tuple[Any, str, object]]) -> Iterator[None]:
    """Give attributes of modules and classes, (owner, name, value), another value within the block."""
    with contextlib.ExitStack() as stack:
        for owner, name, value in replacements:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield
