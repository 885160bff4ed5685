"""What a user is told of exceptions that are not ours: of files, downloads, memory, sizes of images, other code.

An explanation takes an exception and gives an error in our terms, or None where it knows nothing of it.
"""

import errno
import http.client
import re
import ssl
import traceback
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError

import torch

from pdd_arch.distributed import processes
from pdd_arch.errors import MissingFileError, MissingOptionError, PDDError
from pdd_arch.options.option_section import OptionSection, flat
from pdd_arch.training.run_state import BasicSROptions
from pdd_arch.utils.origin import error_in_user_code, kind_and_text, origin_of
from pdd_arch.utils.wording import shown

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
#: what torch, OpenCV and the system say when there is no more memory
_NO_MEMORY = ("can't allocate memory", 'not enough memory', 'Insufficient memory', 'Cannot allocate memory')
_NO_GPU_MEMORY = ('CUDA out of memory', 'CUDA error: out of memory')
#: how Python shows an error of the system, of which a data worker hands on nothing but the text
_ERRNO = re.compile(r"\[Errno \d+\] (.+?): '(.+)'$")
#: what torch says of tensors that do not go together
_SIZES = (
    *('The size of tensor a', 'Sizes of tensors must match', 'The expanded size of the tensor', 'Given groups='),
    *('shapes cannot be multiplied', "Kernel size can't be greater", 'Padding size should be less'),
    *('stack expects each tensor to be equal size', 'shape mismatch', 'is invalid for input of size'),
)
#: options that are too large where memory or a batch is
_OF_BATCHES = ('gt_size', 'batch_size_per_gpu', 'num_worker_per_gpu')


def explained(error: Exception) -> PDDError | None:
    """The error in our terms, if it is one that the user can mend or that other code has made."""
    if isinstance(error, PDDError):
        return _missing_option(error)
    found = (explain(error) for explain in _EXPLANATIONS)
    return next((explanation for explanation in found if explanation is not None), None)


# ---------------------------------------------------------------- processes
def _lost_process(error: Exception) -> PDDError | None:
    if not processes.is_lost(error):
        return None
    return PDDError(
        'another process of this run has ended; see its message', way_out='Continue all with --auto_resume.'
    )


def _killed_worker(error: Exception) -> PDDError | None:
    if not isinstance(error, RuntimeError) or not str(error).startswith('DataLoader worker'):
        return None
    return PDDError(
        str(error).partition('\n')[0],
        way_out='The system may have run out of memory: lower datasets.train.num_worker_per_gpu or set '
        'datasets.train.cache: none. Continue with --auto_resume.',
    )


# ---------------------------------------------------------------- memory
def _gpu_memory(error: Exception) -> PDDError | None:
    if not isinstance(error, torch.OutOfMemoryError) and not _says(error, _NO_GPU_MEMORY):
        return None
    return PDDError(
        str(error).partition('\n')[0], where='out of memory on the GPU', way_out=_with_less_memory(_options(error))
    )


def _memory(error: Exception) -> PDDError | None:
    full = isinstance(error, OSError) and error.errno == errno.ENOMEM
    if not (isinstance(error, MemoryError) or full or _says(error, _NO_MEMORY)):
        return None
    return PDDError(kind_and_text(error), where='out of memory', way_out=_with_less_memory(_options(error)))


def _with_less_memory(opt: Mapping[str, Any] | None) -> str:
    """What to make smaller, of the options that are there."""
    if opt is not None and opt.get('model_type') != 'PDDModel':
        train = opt.get('datasets', {}).get('train') or {}
        keys = [f'datasets.train.{key}' for key in _OF_BATCHES if train.get(key)]
        return f'Reduce {" or ".join(keys)} (training), or validate smaller images.' if keys else 'Use smaller images.'
    return (
        'Reduce datasets.train.gt_size or datasets.train.batch_size_per_gpu (training), or set val.tile (validation).'
    )


# ---------------------------------------------------------------- files and downloads
def _disk(error: Exception) -> PDDError | None:
    if not isinstance(error, OSError) or error.errno not in _DISK:
        return None
    return PDDError(
        f'{error.strerror} at {error.filename}' if error.filename else f'{error.strerror} (log, curves or images)',
        way_out='Free space or make the folder writable, then start again (a training run: with --auto_resume).',
    )


def _name_too_long(error: Exception) -> PDDError | None:
    if not isinstance(error, OSError) or error.errno != errno.ENAMETOOLONG:
        return None
    named = [shown(name) for name in (error.filename2, error.filename) if name]
    return PDDError('is a name too long for the file system', where=''.join(named[:1]), way_out='Choose a shorter one.')


def _download(error: Exception) -> PDDError | None:
    """Weights that a class fetches by itself, mostly by torch.hub."""
    network = (URLError, http.client.HTTPException, ssl.SSLError, ConnectionError, TimeoutError)
    spoilt = isinstance(error, RuntimeError) and str(error).startswith('invalid hash value')
    if not isinstance(error, network) and not spoilt:
        return None
    calls = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
    url = error.url if isinstance(error, HTTPError) else _last(calls, 'url')
    if url is None and not isinstance(error, URLError):
        return None  # a connection between processes
    reason = error.reason if isinstance(error, URLError) else error
    place, file = _place(error), _last(calls, 'dst', 'cached_file')
    by_hand = f'fetch the file elsewhere and put it at {file}' if file else 'run it where the address can be reached'
    return PDDError(
        f'cannot be downloaded ({" ".join(str(reason).split())[:200] or type(error).__name__})',
        where=': '.join(filter(None, (_section(error), url))) or 'a file that is needed',
        way_out=f'Try again, or {by_hand}.{f" It is needed by {place}." if place else ""}',
    )


def _file(error: Exception) -> PDDError | None:
    """A file or folder that is not there, or may not be used."""
    if not isinstance(error, OSError):
        return None
    of_worker = _ERRNO.search(kind_and_text(error))
    if isinstance(error.filename, str) and error.strerror:
        name, reason = error.filename, error.strerror
    elif of_worker:
        reason, name = of_worker.groups()
    else:
        return None
    key = next((key for key, value in flat(_options(error) or {}) if value == name), '')
    missing = isinstance(error, FileNotFoundError)
    mend = f'Correct {key}.' if key else 'Put it there.' if missing else 'Correct its permissions or its place.'
    place = _place(error)
    return (MissingFileError if missing else PDDError)(
        f'{shown(name)} {"does not exist" if missing else f"cannot be used ({reason})"}',
        where=key or _section(error),
        way_out=f'{mend} It is needed by {place}.' if place and not key else mend,
    )


# ---------------------------------------------------------------- options and images
def _missing_option(error: Exception) -> PDDError | None:
    if not isinstance(error, MissingOptionError):
        return None
    place = _place(error)
    return error.with_fields(what=f'{error.what}, but {place} reads it') if place else error


def _sizes(error: Exception) -> PDDError | None:
    """Images that a network, or a loss of images, cannot take."""
    origin, opt = origin_of(error), _options(error)
    if origin.owner != 'basicsr' or opt is None or not _says(error, _SIZES):
        return None
    keys = [key for key in ('scale', 'network_g', 'network_d') if opt.get(key)]
    keys += ['datasets.train.gt_size'] if (opt['datasets'].get('train') or {}).get('gt_size') else []
    return PDDError(
        f'images and networks do not go together ({kind_and_text(error)})',
        where=_section(error) or origin.place,
        way_out=f'Compare {", ".join(keys)} and the sizes of the images. It comes from {origin.place}; --debug shows '
        'the whole traceback.',
    )


# ---------------------------------------------------------------- other code
def _of_basicsr(error: Exception) -> PDDError | None:
    origin = origin_of(error)
    if origin.owner != 'basicsr':
        return None
    section, place = _section(error), origin.place
    cause = f'Correct {section}, which {place} refuses' if section else f'Correct the option that {place} refuses'
    return PDDError(kind_and_text(error), where=section, way_out=f'{cause}; --debug shows the whole traceback.')


_EXPLANATIONS = (
    *(_missing_option, _lost_process, _killed_worker, _disk, _name_too_long, _gpu_memory, _memory, _download),
    *(error_in_user_code, _file, _sizes, _of_basicsr),
)


def _place(error: Exception) -> str:
    """Where other code than this package's needed what is not there; '' where it did not."""
    origin = origin_of(error)
    return origin.place if origin.owner in ('basicsr', 'user') else ''


def _says(error: Exception, phrases: tuple[str, ...]) -> bool:
    return any(phrase in str(error) for phrase in phrases)


def _options(error: Exception) -> BasicSROptions | None:
    """The options of the pipeline that an exception has ended."""
    frames = traceback.walk_tb(error.__traceback__)
    found = (frame.f_locals.get('opt') for frame, _ in frames)
    return next((opt for opt in found if isinstance(opt, BasicSROptions)), None)


def _section(error: Exception) -> str:
    """Key of the section that was being read by the innermost function that got one; '': none."""
    place = ''
    for frame, _ in traceback.walk_tb(error.__traceback__):
        own = getattr(frame.f_locals.get('self'), '__dict__', {})  # of a dataset, which keeps its section
        sections = [*(frame.f_locals.get(name) for name in ('opt', 'dataset_opt')), own.get('opt')]
        place = next((s.place for s in sections if isinstance(s, OptionSection) and s.place), place)
    return place


def _last(calls: list[dict[str, Any]], *names: str) -> str | None:
    """The innermost local variable of one of these names that is a text."""
    values = [call[name] for call in calls for name in names if isinstance(call.get(name), str)]
    return values[-1] if values else None
