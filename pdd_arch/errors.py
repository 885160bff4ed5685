"""Errors that tell a user what to do next.

Every message names the file or option key, what was expected, what was found and the way out. The commands
print such an error as one line and exit with a non-zero status; anything else is a bug and shows a traceback.
"""


class PDDError(Exception):
    """Base of all errors that a user can cause and mend."""


class OptionError(PDDError, ValueError):
    """An option file (or a keyword of a loss, dataset or metric) is wrong."""


class DataError(PDDError, ValueError):
    """An image, a dataset or its layout is wrong."""


class MissingFileError(PDDError, FileNotFoundError):
    """A file or folder that an option names does not exist."""


class WeightsError(PDDError, RuntimeError):
    """A weight file cannot be read, or does not belong to the network it is meant for."""


class NumbersError(PDDError, ArithmeticError):
    """Losses or gradients stay infinite or undefined, or a network's weights are."""


class PDDWarning(UserWarning):
    """Something allowed but probably unintended."""
