"""What commands tell their users on standard output."""

import sys


def say(text: str = '') -> None:
    """A line on standard output, at once."""
    sys.stdout.write(text + '\n')
    sys.stdout.flush()
