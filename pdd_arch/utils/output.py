"""Standard output of the commands."""

import sys


def say(text: str = '') -> None:
    """Write a line to standard output, at once."""
    sys.stdout.write(text + '\n')
    sys.stdout.flush()
