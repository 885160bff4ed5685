"""Progress bars."""

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar('T')


def progress(items: Iterable[T], total: int, what: str) -> Iterable[T]:
    """The items, with a progress bar where standard error is a terminal."""
    return tqdm(items, total=total, desc=what, unit='image', disable=None, leave=False)
