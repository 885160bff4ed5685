"""Numbers on command lines."""

import argparse
from collections.abc import Callable


def whole_number(least: int = 1, most: int | None = None) -> Callable[[str], int]:
    """A ``type`` for `argparse` that takes a whole number within limits."""
    limits = f'of at least {least}' if most is None else f'from {least} to {most}'

    def parse(text: str) -> int:
        value = int(text) if text.isdecimal() else None
        if value is None or value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f'expected a whole number {limits}, found {text!r}')
        return value

    return parse
