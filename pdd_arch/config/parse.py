"""From the command line and a YAML file to BasicSR's option dictionary.

Does what ``basicsr.utils.options.parse_options`` does, with a safe YAML loader, ``--force_yml`` without ``exec``,
and a check of the result.
"""

import argparse
import contextlib
import logging
import os
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import yaml
from basicsr.utils import set_random_seed
from basicsr.utils.dist_util import get_dist_info, init_dist
from basicsr.utils.logger import initialized_logger

from pdd_arch.config.check import check_options
from pdd_arch.config.check_basicsr import check_sections
from pdd_arch.errors import MissingFileError, OptionError
from pdd_arch.utils.suggest import did_you_mean


class OptionLoader(yaml.SafeLoader):
    """Safe loader that knows ``!!float`` and ``1e-4`` and refuses a key that appears twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """As the safe loader, but a repeated key is an error: the first value would be lost silently."""
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == 'tag:yaml.org,2002:merge':
                continue  # merged keys may be overridden; anything but a scalar is the safe loader's to judge
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f'key {key!r} appears twice', key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 takes 1e-4 for a string, because it has no dot; everybody who writes it means a number
OptionLoader.add_implicit_resolver(
    'tag:yaml.org,2002:float', re.compile(r'^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$'), list('-+0123456789')
)


def load_options(path: str | Path) -> dict:
    """Read an option file; mappings keep their order, nothing in it is executed.

    Raises:
        MissingFileError: no such file.
        OptionError: not valid YAML, not a mapping, or a tag that would run code.
    """
    file = Path(path)
    if file.is_dir():
        raise MissingFileError(f'-opt: {path} is a folder. Give an option file (.yml).')
    if not file.is_file():
        raise MissingFileError(f'-opt: {path} does not exist (looked from {os.getcwd()}). Give an option file (.yml).')
    try:
        opt = yaml.load(file.read_text(encoding='utf-8'), Loader=OptionLoader)  # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as e:
        mark = getattr(e, 'problem_mark', None)
        where = f' line {mark.line + 1}' if mark else ''
        raise OptionError(f'{path}{where}: not a valid option file: {getattr(e, "problem", None) or e}') from None
    if not isinstance(opt, dict):
        raise OptionError(f'{path}: expected a mapping of options, found {type(opt).__name__}')
    return opt


def apply_overrides(opt: dict, entries: Sequence[str]) -> None:
    """Apply ``--force_yml`` entries such as ``train:ema_decay=0.99`` to `opt`.

    Values are read as YAML (``[0.9, 0.99]``, ``!!float 1e-4``, ``true``, ``~``), never evaluated. The section must
    exist; a new key in it is allowed unless it looks like a mistyped existing one.

    Raises:
        OptionError: not of the form ``a:b=value``, or the key is unknown.
    """
    for entry in entries:
        path, sign, text = entry.partition('=')
        keys = [k.strip() for k in path.split(':')]
        if not sign or not all(keys):
            raise OptionError(f'--force_yml: expected section:key=value, found {entry!r}')
        section = opt
        for depth, key in enumerate(keys[:-1]):
            if not isinstance(section.get(key), dict):
                where = ':'.join(keys[: depth + 1])
                raise OptionError(f'--force_yml {entry}: there is no section {where}.{did_you_mean(key, section)}')
            section = section[key]
        hint = did_you_mean(keys[-1], section)
        if keys[-1] not in section and (hint or len(keys) == 1):
            raise OptionError(f'--force_yml {entry}: there is no key {path.strip()}.{hint}')
        try:
            value = yaml.load(text.strip() or '~', Loader=OptionLoader)  # a SafeLoader
        except yaml.YAMLError as e:
            raise OptionError(f'--force_yml {entry}: {text!r} is not a plain YAML value ({e})') from None
        section[keys[-1]] = None if isinstance(value, str) and value.lower() == 'none' else value


def build_parser() -> argparse.ArgumentParser:
    """BasicSR's flags."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file (YAML)')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none', help='job launcher')
    parser.add_argument('--auto_resume', action='store_true', help='continue from the newest training state')
    parser.add_argument('--debug', action='store_true', help="BasicSR's debug mode; full tracebacks")
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
        dataset.setdefault('name', phase)
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
    opt = load_options(args.opt)
    apply_overrides(opt, args.force_yml)
    opt['auto_resume'], opt['is_train'] = args.auto_resume, is_train
    opt['dist'] = args.launcher != 'none'
    for section in ('datasets', 'path', *(('logger', 'train') if is_train else ('val',))):
        if not isinstance(opt.get(section), dict):
            raise OptionError(f'{section}: expected a section in {args.opt}, found {opt.get(section)!r}')
    for phase, dataset in opt['datasets'].items():
        if not isinstance(dataset, dict):
            raise OptionError(f'datasets.{phase}: expected a section in {args.opt}, found {dataset!r}')
    check_sections(opt)
    name = opt.get('name')
    if not isinstance(name, str) or not name or name in ('.', '..') or any(c in name for c in '/\\'):
        raise OptionError(f'name: expected a word without slashes, which names the output folder, found {name!r}')
    if args.debug and not opt['name'].startswith('debug'):
        opt['name'] = f'debug_{opt["name"]}'
    if opt.get('manual_seed') is None:
        opt['manual_seed'] = random.randint(1, 10000)
    complete_options(opt, root_path, is_train)
    with logger_left_alone():
        check_options(opt, is_train)

    if args.launcher == 'pytorch' and 'RANK' not in os.environ:
        raise OptionError('--launcher pytorch: start with torchrun --nproc_per_node=N -m pdd_arch ...; RANK is not set')
    if opt['dist']:
        slurm_options = opt.get('dist_params', {}) if args.launcher == 'slurm' else {}
        init_dist(args.launcher, **slurm_options)
    opt['rank'], opt['world_size'] = get_dist_info()
    set_random_seed(opt['manual_seed'] + opt['rank'])
    if opt['num_gpu'] == 'auto':
        opt['num_gpu'] = torch.cuda.device_count()
    return opt, args
