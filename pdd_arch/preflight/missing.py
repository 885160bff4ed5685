"""Everything that an option file names and that is not there, found at once."""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY

from pdd_arch.data.sources import require_folder
from pdd_arch.errors import MissingFileError, OptionError, PDDError, SeveralErrors
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.schema import Options
from pdd_arch.preflight.classes import dataset_of, is_published
from pdd_arch.training.resume import state_candidates
from pdd_arch.utils.files import similar_file
from pdd_arch.utils.registration import registered
from pdd_arch.utils.resources import resolve_bundled
from pdd_arch.utils.wording import show, shown
from pdd_arch.weights import zoo

NAMED_WEIGHTS = ('imagenet', 'random')


def check_missing(options: RunOptions, device: Callable[[], None]) -> None:
    """Every folder, list and file that an option names exists, and so does what the check `device` looks for.

    Raises the `PDDError` of the one that does not, or `SeveralErrors`.
    """
    errors = [error for check in (device, *_checks(options)) if (error := _error_of(check)) is not None]
    if errors:
        raise errors[0] if len(errors) == 1 else SeveralErrors(errors)


def require_file(where: str, value: object) -> None:
    """`value` is the path of a file, or stands for one."""
    if not isinstance(value, str):
        raise OptionError(where=where, expected='a path', found=show(value))
    if zoo.is_zoo(value):
        zoo.generalist(value, where)  # its file is fetched when it is read
        return
    try:
        path = resolve_bundled(os.path.expanduser(value))
    except PDDError as e:
        raise e.within(where, ': ') from None
    if not os.path.isfile(path):
        problem = 'is a folder' if os.path.isdir(path) else 'does not exist'
        if zoo.is_address(value):
            problem = 'is an address, and nothing is downloaded from there'
        raise MissingFileError(
            f'{show(value)} {problem} (looked from {os.getcwd()})',
            where=where,
            way_out='Write ~ for none.' if value == 'None' else zoo.instead_of(value) or _similar(path),
        )


def _similar(path: str) -> str:
    return f'{similar_file(Path(path))} Give the path of an existing weight file.'.strip()


def _error_of(check: Callable[[], object]) -> PDDError | None:
    try:
        check()
    except PDDError as error:
        return error
    return None


def _checks(options: RunOptions) -> Iterator[Callable[[], object]]:
    """A check for each path, in the order of an option file."""
    opt = options.for_basicsr()
    for phase, section in opt['datasets'].items():
        if section['type'] == 'UnpairedAdaptationDataset' or is_published(dataset_of(section['type'], phase)):
            yield from _of_dataset(section, f'datasets.{phase}')
    yield from _of_networks(options)
    feature_net = options.file.train.feature_net if isinstance(options.file, Options) and options.file.train else None
    if feature_net is not None and feature_net.weights not in NAMED_WEIGHTS:
        yield partial(require_file, 'train.feature_net.weights', feature_net.weights)
    if options.is_train:
        yield partial(next, state_candidates(opt), None)


def _of_dataset(section: Mapping[str, Any], where: str) -> Iterator[Callable[[], object]]:
    for key, value in section.items():
        if not isinstance(value, str) or not value:
            continue
        if key.startswith('dataroot_'):
            yield partial(require_folder, os.path.expanduser(value), f'{where}.{key}')
        elif key.startswith('meta_info'):
            yield partial(_require_list, value, f'{where}.{key}')


def _require_list(path: str, key: str) -> None:
    if not os.path.exists(os.path.expanduser(path)):
        raise MissingFileError(f'the file {shown(path)} does not exist', where=key, way_out='Correct the path.')


def _of_networks(options: RunOptions) -> Iterator[Callable[[], object]]:
    file = options.file
    own = not isinstance(file, Options) and _resumes(options)  # a resumed run has its own
    for key, value in file.path.given().items():
        if key.startswith('pretrain_network_') and value is not None and not own:
            yield partial(require_file, f'path.{key}', value)
    for key, section in file.networks.items():
        published = registered(ARCH_REGISTRY, section.type)
        for name, value in section.given().items():
            is_path = name == 'path' or (name.endswith('_path') and published is not None and is_published(published))
            if is_path and isinstance(value, str) and key != 'network_d':
                yield partial(require_file, f'{key}.{name}', value)


def _resumes(options: RunOptions) -> bool:
    try:
        return options.is_train and next(state_candidates(options.for_basicsr()), None) is not None
    except PDDError:  # said for path.resume_state
        return False
