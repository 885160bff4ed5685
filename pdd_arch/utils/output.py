"""What the commands show: lines on standard output, and progress bars."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar('T')


def say(text: str = '') -> None:
    """Write a line to standard output, at once."""
    sys.stdout.write(text + '\n')
    sys.stdout.flush()


def progress(items: Iterable[T], total: int, what: str) -> Iterable[T]:
    """The items, with a progress bar where standard error is a terminal."""
    return tqdm(items, total=total, desc=what, unit='image', disable=None, leave=False)
