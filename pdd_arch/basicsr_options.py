"""Replacement for BasicSR's ``parse_options``: a safe YAML loader, no ``exec``, and a check of everything it names."""

import argparse
import os
import sys

import torch
from basicsr.utils import set_random_seed
from basicsr.utils.dist_util import get_dist_info

from pdd_arch.data.section import DatasetSection
from pdd_arch.distributed.processes import close, gather_objects, init_dist, open_control_group, rank
from pdd_arch.errors import OptionError, PDDError, SeveralErrors
from pdd_arch.options.command_line import build_parser, read_options
from pdd_arch.options.yaml_file import load_options
from pdd_arch.preflight.data import data_warnings
from pdd_arch.preflight.plan import plan
from pdd_arch.preflight.run import Preflight, check, plan_warnings
from pdd_arch.training.comparison import same_on_all_ranks
from pdd_arch.training.run_state import BasicSROptions, TrainingRun


class Checked(SystemExit):
    """``--check`` has found no error and said what would run. Uncaught, it ends the program with status 0."""


def parse_options(
    root_path: str, is_train: bool = True, run: TrainingRun | None = None
) -> tuple[BasicSROptions, argparse.Namespace]:
    """Read and check the options of the command line; BasicSR's ``train_pipeline`` and ``test_pipeline`` call it.

    Below `root_path` experiments/, results/ and tb_logger/ are written.

    Returns:
        The completed and checked options, which carry what the checks have opened, and the command-line arguments.

    Raises:
        PDDError: the options are wrong, or name something that is not there; nothing has been written yet.
        Checked: with ``--check`` nothing more is to be done.
    """
    # here, not in a command: scripts that call BasicSR's pipelines themselves take all flags, too
    args = argparse.ArgumentParser(parents=[build_parser()]).parse_args()
    if args.launcher == 'pytorch' and 'RANK' not in os.environ:
        raise OptionError(
            'start with torchrun --nproc_per_node=N -m pdd_arch ...; RANK is not set', where='--launcher pytorch'
        )
    together = args.launcher != 'none'
    checked = _check_together(args, root_path, is_train) if together else _check(args, root_path, is_train)
    if args.check:
        if rank() == 0:
            sys.stdout.write(plan(checked))
        close()
        raise Checked(0)
    opt = BasicSROptions(checked.options.for_basicsr(), run or TrainingRun())
    opt.run.seed_drawn = checked.options.seed_drawn
    opt.run.imports = opt['import'] if args.imports else []
    # what has been opened goes to datasets and model, so that nothing is read twice
    opt.run.opened_weights, opt.run.feature_net = checked.weights, checked.feature_net
    for phase, sources in checked.sources.items():
        opt['datasets'][phase] = DatasetSection(opt['datasets'][phase], sources)
    opt['rank'], opt['world_size'] = get_dist_info()
    if opt['rank'] == 0:
        for text in [*plan_warnings(checked.options), *data_warnings(checked.sources)]:
            sys.stderr.write(f'basicsr: warning: {text}\n')  # the log does not exist yet
    set_random_seed(opt['manual_seed'] + opt['rank'])
    if opt['num_gpu'] == 'auto':
        opt['num_gpu'] = torch.cuda.device_count()
    return opt, args


def _check(args: argparse.Namespace, root_path: str, is_train: bool) -> Preflight:
    try:
        return check(read_options(args, root_path, is_train), not args.check)
    except SeveralErrors as found:
        *others, last = found.errors
        for error in others:
            sys.stderr.write(f'basicsr: error: {" ".join(str(error).split())}\n')
        raise last from None


def _check_together(args: argparse.Namespace, root_path: str, is_train: bool) -> Preflight:
    """Check the options on every rank of a distributed run: they start together or not at all.

    An error is of this rank, names another rank, or says that they have different options.
    """
    try:
        backend = (load_options(args.opt).get('dist_params') or {}) if args.launcher == 'slurm' else {}
    except PDDError:
        backend = {}  # said below, to all
    # first of all: a process that ended without having joined would leave the others waiting
    init_dist(args.launcher, **backend)
    open_control_group()
    found: Preflight | Exception
    try:
        found = _check(args, root_path, is_train)
    except Exception as e:  # whatever it is, the others must hear of it
        found = e
    errors = gather_objects(str(found) if isinstance(found, Exception) else None)
    if isinstance(found, Exception):
        raise found
    for number, text in enumerate(errors):
        if text is not None:
            raise OptionError(f'process {number} of this run cannot start: {text}')
    same_on_all_ranks(found.options.for_basicsr())
    return found
