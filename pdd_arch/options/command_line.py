"""From the command line and a YAML file to BasicSR's option dictionary.

Does what ``basicsr.utils.options.parse_options`` does, with a safe YAML loader, ``--force_yml`` without ``exec``,
and a check of the result.
"""

import argparse
import contextlib
import logging
import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence

import torch
from basicsr.utils import set_random_seed
from basicsr.utils.dist_util import get_dist_info
from basicsr.utils.logger import initialized_logger

from pdd_arch.distributed.launchers import init_dist
from pdd_arch.distributed.processes import gather_objects, open_control_group
from pdd_arch.errors import OptionError, PDDError
from pdd_arch.options.messages import known_keys
from pdd_arch.options.schema import BasicOptions, Options
from pdd_arch.options.yaml_file import load_options, parse_yaml
from pdd_arch.preflight.checks import check_file, check_options, plan_warnings
from pdd_arch.training.comparison import same_in_all_processes
from pdd_arch.training.run_state import current_run
from pdd_arch.utils.wording import did_you_mean, show, show_key

__all__ = ['apply_overrides', 'build_parser', 'complete_options', 'load_options', 'parse_options', 'read_options']


def apply_overrides(opt: dict, entries: Sequence[str]) -> None:
    """Apply ``--force_yml`` entries such as ``train:ema_decay=0.99`` to `opt`.

    Values are read as YAML (``[0.9, 0.99]``, ``!!float 1e-4``, ``true``, ``~``), never evaluated. A key that is not in
    the file must be known there: a section of a network, a loss or a metric takes any, for its signature judges it.

    Raises:
        OptionError: not of the form ``a:b=value``, or there can be no such key.
    """
    for entry in entries:
        path, sign, text = entry.partition('=')
        keys = [k.strip() for k in path.split(':')]
        shown = f'--force_yml {show_key(entry)}'
        if not sign or not all(keys):
            raise OptionError(f'--force_yml: expected section:key=value, found {show(entry)}')
        section = opt
        for depth, key in enumerate(keys[:-1]):
            if section.get(key) is None and key in _known(opt, keys[:depth], section):
                section[key] = {}
            if not isinstance(section.get(key), dict):
                where = ':'.join(keys[: depth + 1])
                raise OptionError(
                    f'{shown}: there is no section {show_key(where)}.{did_you_mean(key, map(str, section))}'
                )
            section = section[key]
        known = _known(opt, keys[:-1], section)
        if keys[-1] not in section and keys[-1] not in known and not _takes_any(opt, keys[:-1]):
            hint = did_you_mean(keys[-1], map(str, (*section, *known)))
            raise OptionError(f'{shown}: there is no key {show_key(path.strip())}.{hint}')
        try:
            value = parse_yaml(text.strip() or '~')
        except ValueError as e:
            raise OptionError(f'{shown}: {show(text)} is not a plain YAML value ({e})') from None
        section[keys[-1]] = None if isinstance(value, str) and value.lower() == 'none' else value


def _known(opt: Mapping, keys: Sequence[str], section: Mapping) -> Sequence[str]:
    """Names that the schema has for a section, or those that the file has where the schema leaves it open."""
    try:
        return known_keys(_schema(opt), opt, keys) or tuple(section)
    except KeyError:
        return ()


def _takes_any(opt: Mapping, keys: Sequence[str]) -> bool:
    """Whether the schema leaves a section open."""
    try:
        return bool(keys) and known_keys(_schema(opt), opt, keys) is None
    except KeyError:
        return False


def _schema(opt: Mapping) -> type[Options] | type[BasicOptions]:
    return Options if opt.get('model_type', 'PDDModel') == 'PDDModel' else BasicOptions


def build_parser() -> argparse.ArgumentParser:
    """BasicSR's flags."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file (YAML)')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none', help='job launcher')
    parser.add_argument('--auto_resume', action='store_true', help='continue from the newest training state')
    parser.add_argument('--debug', action='store_true', help="BasicSR's debug mode; full tracebacks")
    parser.add_argument(
        '--check',
        action='store_true',
        help='check options, data and weights, say what would run, and exit without writing anything',
    )
    parser.add_argument('--local_rank', type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument(
        '--force_yml',
        nargs='+',
        default=[],
        metavar='A:B=C',
        help='override options, e.g. train:ema_decay=0.999',
    )
    return parser


def complete_options(opt: dict, root_path: str, is_train: bool) -> dict:
    """Add what BasicSR derives: phases, scale, expanded paths, output folders, debug frequencies. In place."""
    for phase, dataset in opt['datasets'].items():
        dataset['phase'] = phase.split('_')[0]
        if dataset.get('name') is None:
            dataset['name'] = phase
        dataset['manual_seed'] = opt['manual_seed']
        if 'scale' in opt:
            dataset['scale'] = opt['scale']
        for key in ('dataroot_gt', 'dataroot_lq'):
            if dataset.get(key) is not None:
                dataset[key] = os.path.expanduser(dataset[key])
    paths = opt['path']
    for key, value in paths.items():
        if value is not None and ('resume_state' in key or 'pretrain_network' in key):
            paths[key] = os.path.expanduser(value)
    if is_train:
        root = os.path.join(root_path, 'experiments', opt['name'])
        paths.update(
            experiments_root=root,
            models=os.path.join(root, 'models'),
            training_states=os.path.join(root, 'training_states'),
            log=root,
            visualization=os.path.join(root, 'visualization'),
        )
        opt['logger'].setdefault('use_tb_logger', False)
        if 'debug' in opt['name']:
            if opt.get('val') is not None:
                opt['val']['val_freq'] = 8
            opt['logger'].update(print_freq=1, save_checkpoint_freq=8)
    else:
        root = os.path.join(root_path, 'results', opt['name'])
        paths.update(results_root=root, log=root, visualization=os.path.join(root, 'visualization'))
        opt['val'].setdefault('suffix', None)
    return opt


@contextlib.contextmanager
def logger_left_alone() -> Iterator[None]:
    """Undo a set-up of BasicSR's logger in the block: whoever asks first decides its log file, and that is the run."""
    known = set(initialized_logger)
    yield
    for name in set(initialized_logger) - known:
        del initialized_logger[name]
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)


def read_options(args: argparse.Namespace, root_path: str, is_train: bool) -> dict:
    """The completed options of a command line, with names, types and limits checked.

    Raises:
        PDDError: the option file cannot be read, or an option is wrong.
    """
    opt = load_options(args.opt)
    apply_overrides(opt, args.force_yml)
    check_file(opt, is_train)
    opt['auto_resume'], opt['is_train'] = args.auto_resume, is_train
    opt['dist'] = args.launcher != 'none'
    if args.debug and not opt['name'].startswith('debug'):
        opt['name'] = f'debug_{opt["name"]}'
    if opt.get('manual_seed') is None:
        opt['manual_seed'] = random.randint(1, 10000)
        current_run().seed_drawn = True
    return complete_options(opt, root_path, is_train)


def _checked_options(args: argparse.Namespace, root_path: str, is_train: bool) -> dict:
    opt = read_options(args, root_path, is_train)
    with logger_left_alone():
        check_options(opt, is_train)
    return opt


def _checked_together(args: argparse.Namespace, root_path: str, is_train: bool) -> dict:
    """`_checked_options` in every process of a distributed run: they start together or not at all.

    Raises:
        PDDError: of this process, or naming another that has one.
        OptionError: the processes have different options.
    """
    try:
        backend = (load_options(args.opt).get('dist_params') or {}) if args.launcher == 'slurm' else {}
    except PDDError:
        backend = {}  # said below, to all
    # first of all: a process that ended without having joined would leave the others waiting
    init_dist(args.launcher, **backend)
    open_control_group()
    opt, error = None, None
    try:
        opt = _checked_options(args, root_path, is_train)
    except Exception as e:  # whatever it is, the others must hear of it
        error = e
    errors = gather_objects(None if error is None else str(error))
    if error is not None:
        raise error
    if any(errors):
        who = next(rank for rank, text in enumerate(errors) if text)
        raise OptionError(f'process {who} of this run cannot start: {errors[who]}')
    same_in_all_processes(opt)
    return opt


def parse_options(root_path: str, is_train: bool = True) -> tuple[dict, argparse.Namespace]:
    """Replacement for BasicSR's function of that name; called by its ``train_pipeline`` and ``test_pipeline``.

    Args:
        root_path: folder below which experiments/, results/ and tb_logger/ are written.
        is_train: train or test.

    Returns:
        The completed and checked options, and the command-line arguments.

    Raises:
        PDDError: the options are wrong, or name something that is not there; nothing has been written yet.
    """
    args = build_parser().parse_args()
    if args.launcher == 'pytorch' and 'RANK' not in os.environ:
        raise OptionError('--launcher pytorch: start with torchrun --nproc_per_node=N -m pdd_arch ...; RANK is not set')
    if args.launcher == 'none':
        opt = _checked_options(args, root_path, is_train)
    else:
        opt = _checked_together(args, root_path, is_train)
    opt['rank'], opt['world_size'] = get_dist_info()
    if opt['rank'] == 0 and is_train:
        for text in plan_warnings(opt):
            sys.stderr.write(f'basicsr: warning: {text}\n')  # the log does not exist yet
    set_random_seed(opt['manual_seed'] + opt['rank'])
    if opt['num_gpu'] == 'auto':
        opt['num_gpu'] = torch.cuda.device_count()
    return opt, args
