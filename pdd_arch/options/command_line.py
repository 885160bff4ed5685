"""From the command line and a YAML file to BasicSR's option dictionary.

Does what ``basicsr.utils.options.parse_options`` does, with a safe YAML loader, ``--force_yml`` without ``exec``,
and a check of the result.
"""

import argparse
import contextlib
import logging
import os
import random
from collections.abc import Iterator, Mapping, Sequence

from basicsr.utils.logger import initialized_logger

from pdd_arch.errors import OptionError
from pdd_arch.options.messages import known_keys
from pdd_arch.options.schema import BasicOptions, Options
from pdd_arch.options.yaml_file import load_options, parse_yaml
from pdd_arch.preflight.checks import check_file
from pdd_arch.utils.wording import did_you_mean, show, show_key

__all__ = ['apply_overrides', 'build_parser', 'complete_options', 'load_options', 'read_options']


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

    Args:
        args: of `build_parser`; `seed_drawn` is set: whether ``manual_seed`` was drawn here, not given.
        root_path: folder below which the run writes.
        is_train: train or test.

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
    args.seed_drawn = opt.get('manual_seed') is None
    if args.seed_drawn:
        opt['manual_seed'] = random.randint(1, 10000)
    return complete_options(opt, root_path, is_train)
