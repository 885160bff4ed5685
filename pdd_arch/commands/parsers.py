"""What the parsers of all subcommands share."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar('T')
#: what ``ArgumentParser.add_subparsers`` returns
Subparsers = argparse._SubParsersAction


def add_subcommand(
    subparsers: Subparsers, name: str, run: Callable[[argparse.Namespace], int], help: str, more: str, example: str
) -> argparse.ArgumentParser:
    """A subcommand that calls `run`; its description is the help text as a sentence, followed by `more`."""
    description = f'{help[0].upper()}{help[1:]}. {more}'.strip()
    parser = subparsers.add_parser(name, help=help, description=description, epilog=f'example: {example}')
    parser.set_defaults(run=run)
    return parser


def checked(convert: Callable[[str], T], allows: Callable[[T], bool], expected: str) -> Callable[[str], T]:
    """A ``type`` for `argparse` that refuses what `convert` raises a ValueError for, or what is not allowed."""

    def parse(text: str) -> T:
        try:
            value = convert(text)
            if allows(value):
                return value
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f'expected {expected}, found {text!r}')

    return parse


#: ``type`` for `argparse` of what names something: not empty, as a variable of a shell may be, for an empty path is the
#: current folder
word = checked(str, lambda text: bool(text.strip()), 'a name')


def file_path(text: str) -> Path:
    """A ``type`` for `argparse`: as `word`, with ``~`` as the home folder."""
    return Path(os.path.expanduser(word(text)))


def whole_number(least: int = 1, most: int | None = None) -> Callable[[str], int]:
    """A ``type`` for `argparse` that takes a whole number within limits."""
    limits = f'of at least {least}' if most is None else f'from {least} to {most}'
    return checked(int, lambda n: n >= least and (most is None or n <= most), f'a whole number {limits}')
