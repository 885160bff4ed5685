"""From the command line and a YAML file to the options of a run.

BasicSR's flags, with a safe YAML loader and ``--force_yml`` without ``exec``.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

import torch
from basicsr.utils import set_random_seed
from basicsr.utils.dist_util import get_dist_info

from pdd_arch.distributed.launchers import init_dist
from pdd_arch.distributed.processes import gather_objects, open_control_group
from pdd_arch.errors import OptionError, PDDError
from pdd_arch.options.messages import unknown_keys
from pdd_arch.options.run_options import CommandLine, RunOptions
from pdd_arch.options.schema import BasicOptions, Options
from pdd_arch.options.yaml_file import load_options, parse_yaml
from pdd_arch.preflight.run import check, plan_warnings
from pdd_arch.training.comparison import same_in_all_processes
from pdd_arch.training.run_state import current_run
from pdd_arch.utils.wording import did_you_mean, show, show_key

#: whose sections have names that the user gives
_NAMED_SECTIONS = (('datasets',), ('val', 'metrics'))


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


def read_options(args: argparse.Namespace, root_path: str, is_train: bool) -> RunOptions:
    """The options of a command line, with names, types and limits checked.

    Args:
        args: from :func:`build_parser`.
        root_path: folder below which experiments/, results/ and tb_logger/ are written.
        is_train: train or test.

    Raises:
        PDDError: the option file cannot be read, or an option is wrong.
    """
    command_line = CommandLine.of(args)
    opt = load_options(command_line.opt)
    apply_overrides(opt, command_line.force_yml)
    return RunOptions.of(opt, is_train, root_path, command_line)


def apply_overrides(opt: dict[str, Any], entries: Sequence[str]) -> None:
    """Apply ``--force_yml`` entries such as ``train:ema_decay=0.99`` to `opt`.

    Values are read as YAML (``[0.9, 0.99]``, ``!!float 1e-4``, ``true``, ``~``), never evaluated. A key that is not in
    the file must be known there: a section of a network, a loss or a metric takes any, for its signature judges it.

    Raises:
        OptionError: not of the form ``a:b=value``, or there can be no such key.
    """
    for entry in entries:
        path, sign, text = entry.partition('=')
        keys = [k.strip() for k in path.split(':')]
        where = f'--force_yml {show_key(entry)}'
        if not sign or not all(keys):
            raise OptionError(where='--force_yml', expected='section:key=value', found=show(entry))
        try:
            value = parse_yaml(text.strip() or '~')
        except OptionError as e:
            raise OptionError(f'{show(text)} is not a plain YAML value ({e})', where=where) from None
        section, schema = opt, Options if opt.get('model_type', 'PDDModel') == 'PDDModel' else BasicOptions
        for depth, key in enumerate(keys):
            place, known = tuple(keys[: depth + 1]), [*section, *([] if depth else schema.model_fields)]
            if key not in known and (not depth or place[:-1] in _NAMED_SECTIONS):
                raise _no_such(place, where, did_you_mean(key, map(str, known)), depth == len(keys) - 1)
            if depth == len(keys) - 1:
                break
            if section.get(key) is None:
                section[key] = {}
            if not isinstance(section[key], dict):
                raise _no_such(place, where, '')
            section = section[key]
        is_new = keys[-1] not in section
        section[keys[-1]] = None if isinstance(value, str) and value.lower() == 'none' else value
        for unknown, hint in unknown_keys(schema, opt).items() if is_new else ():
            if unknown == tuple(map(show_key, keys[: len(unknown)])):
                raise _no_such(unknown, where, hint, len(unknown) == len(keys))


def _no_such(place: Sequence[str | int], where: str, hint: str, is_key: bool = False) -> OptionError:
    what = f'there is no {"key" if is_key else "section"} {show_key(":".join(map(str, place)))}'
    return OptionError(what, where=where, way_out=hint.strip())


# ---------------------------------------------------------------- for BasicSR's pipelines
def _checked_options(args: argparse.Namespace, root_path: str, is_train: bool) -> RunOptions:
    options = read_options(args, root_path, is_train)
    check(options)
    return options


def _checked_together(args: argparse.Namespace, root_path: str, is_train: bool) -> RunOptions:
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
    options, error = None, None
    try:
        options = _checked_options(args, root_path, is_train)
    except Exception as e:  # whatever it is, the others must hear of it
        error = e
    errors = gather_objects(None if error is None else str(error))
    if error is not None:
        raise error
    if any(errors):
        who = next(rank for rank, text in enumerate(errors) if text)
        raise OptionError(f'process {who} of this run cannot start: {errors[who]}')
    assert options is not None
    same_in_all_processes(options.for_basicsr())
    return options


def parse_options(root_path: str, is_train: bool = True) -> tuple[dict[str, Any], argparse.Namespace]:
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
    checked = _checked_options if args.launcher == 'none' else _checked_together
    options = checked(args, root_path, is_train)
    current_run().seed_drawn = options.seed_drawn
    opt = options.for_basicsr()
    opt['rank'], opt['world_size'] = get_dist_info()
    if opt['rank'] == 0:
        for text in plan_warnings(options):
            sys.stderr.write(f'basicsr: warning: {text}\n')  # the log does not exist yet
    set_random_seed(opt['manual_seed'] + opt['rank'])
    if opt['num_gpu'] == 'auto':
        opt['num_gpu'] = torch.cuda.device_count()
    return opt, args
