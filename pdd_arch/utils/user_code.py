"""Classes and functions of the user's own, which this package calls by the names in an option file."""

import sysconfig
import traceback
from pathlib import Path


def in_code_of_the_user(error: BaseException) -> str:
    """File and line of a class of the user's own, called by this package, that an exception came from; or nothing."""
    ours, libraries = (
        Path(__file__).parents[1],
        [Path(sysconfig.get_path(name)) for name in ('stdlib', 'purelib', 'platlib')],
    )
    place, called = '', False
    for frame in traceback.extract_tb(error.__traceback__):
        file = Path(frame.filename)
        if file.is_relative_to(ours):
            place, called = '', True
        elif called and file.is_file() and not any(map(file.is_relative_to, libraries)):
            place = f'{file} line {frame.lineno}'
    return place
