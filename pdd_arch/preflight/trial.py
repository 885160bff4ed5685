"""Trying out classes of BasicSR and of the user before a run: nothing is drawn, logged, printed or downloaded."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import torchvision
from basicsr.archs import vgg_arch

from pdd_arch.errors import MissingFileError, MissingOptionError, OptionError, PDDError
from pdd_arch.options.tracked import Asked
from pdd_arch.utils.basicsr_logger import logger_left_alone
from pdd_arch.utils.origin import error_in_user_code
from pdd_arch.utils.random_state import random_state_kept
from pdd_arch.utils.wording import show_path, shown


class NotAtHandError(Exception):
    """A class would download a file."""


class _Untrained:
    """Torchvision's VGG networks, in which BasicSR's feature extractor finds no weights to download."""

    def __getattr__(self, name: str) -> Any:
        return lambda pretrained=False: getattr(torchvision.models, name)(weights=None)


def _no_download(url: str, *_: object, **__: object) -> None:
    raise NotAtHandError(url)


@contextlib.contextmanager
def trial() -> Iterator[None]:
    """Within the block nothing is drawn from the run's generators, logged, printed or downloaded."""
    replaced = [
        (torch.hub, 'download_url_to_file', _no_download),
        # reading its weights, half a gigabyte, would take longer than all else
        (vgg_arch, 'vgg', _Untrained()),
        (vgg_arch, 'VGG_PRETRAIN_PATH', os.devnull + '.none'),
    ]
    level = logging.root.manager.disable
    with contextlib.ExitStack() as stack:
        stack.enter_context(random_state_kept())
        stack.enter_context(logger_left_alone())
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter('ignore')
        stack.callback(logging.disable, level)
        logging.disable(logging.CRITICAL)
        for owner, name, value in replaced:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield


def explained(error: Exception, name: str, asked: Asked, what: str, where: str = '') -> PDDError:
    """What a user is told of an exception that a class has raised in a trial.

    Args:
        name: of the class.
        asked: what it has asked its options for.
        what: it could not do, to follow its name: ``cannot be built``.
        where: its place in the option file; by default the option that it has asked for last.
    """
    if isinstance(error, MissingOptionError):
        # BasicSR copies the scale into the sections of datasets
        of_dataset = error.where.startswith('datasets.') and error.where.endswith('.scale')
        place = 'scale' if of_dataset else error.where
        return error.with_fields(what=f'missing, {name} needs it', where=place)
    if isinstance(error, PDDError):
        return error
    place = where or show_path(asked.last) if where or asked.last else name
    if own := error_in_user_code(error):
        return OptionError(own.what, where=f'{place}: {own.where}', way_out=own.way_out)
    reason = ' '.join(str(error).split())[:300]
    if isinstance(error, NameError) and '_ext' in reason:
        extension = reason.split("'")[1] if "'" in reason else reason
        return OptionError(
            f"{name} needs BasicSR's compiled CUDA extension {extension}, which this installation has not",
            where='model_type',
            way_out='Install BasicSR from its source with BASICSR_EXT=True, a CUDA compiler and a GPU.',
        )
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return MissingFileError(
            f'{name} {what}: {shown(error.filename)} does not exist', where=place, way_out='Correct the path.'
        )
    said = f'{type(error).__name__}: {reason}' if reason else type(error).__name__
    return OptionError(f'{name} {what} ({said})', where=place)
