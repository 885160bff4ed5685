"""``basicsr train|test -opt FILE``: BasicSR's pipelines as a command, with outputs below the current directory."""

import argparse
import os
import sys
from collections.abc import Sequence

from basicsr.test import test_pipeline
from basicsr.train import train_pipeline

from pdd_arch.basicsr_options import Checked
from pdd_arch.commands.errors import run
from pdd_arch.distributed import processes
from pdd_arch.options.command_line import build_parser

PIPELINES = {
    'train': (train_pipeline, 'train or adapt a network; writes experiments/NAME/ and tb_logger/NAME/'),
    'test': (test_pipeline, 'upscale and measure the test datasets of an option file; writes results/NAME/'),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='basicsr',
        description="BasicSR's training and test pipelines, with PDDModel, its losses, datasets and metrics.",
        epilog='example: basicsr train -opt options/pdd_realsr.yml',
    )
    commands = parser.add_subparsers(dest='command', required=True, metavar='train|test')
    for name, (_, text) in PIPELINES.items():
        commands.add_parser(
            name,
            parents=[build_parser()],
            help=text,
            description=text,
            epilog=f'example: basicsr {name} -opt FILE.yml',
        )
    return parser


def main(argv: Sequence[str]) -> int:
    """Run ``train`` or ``test``; errors are raised. The working directory is the root of all outputs."""
    command = _parser().parse_args(argv).command
    # BasicSR's pipelines read the command line themselves, and note it in the copy of the option file
    before, sys.argv = sys.argv, ['basicsr', *argv[argv.index(command) + 1 :]]
    try:
        PIPELINES[command][0](os.getcwd())
        processes.close()
    except Checked:
        return 0
    finally:
        sys.argv = before
    return 0


def entry_point() -> None:
    """Console script ``basicsr``."""
    sys.exit(run('basicsr', main, sys.argv[1:]))
