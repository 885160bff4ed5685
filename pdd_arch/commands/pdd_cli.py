"""``pdd``: the commands of this package beyond BasicSR's."""

import argparse
import sys
from collections.abc import Sequence

from pdd_arch.commands import adapt, check_data, convert_options, demo, export, prepare, report, tables, upscale
from pdd_arch.commands.errors import run
from pdd_arch.version import __version__


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='pdd', description='Adapt a super-resolution network to one camera.', epilog='example: pdd demo'
    )
    parser.add_argument('--version', action='version', version=f'pdd_arch {__version__}')
    parser.add_argument('--debug', action='store_true', help='show tracebacks of errors')
    commands = parser.add_subparsers(dest='command', required=True)
    # in the order of --help
    for module in (demo, adapt, prepare, check_data, tables, convert_options, report, export, upscale):
        module.add_parser(commands)
    return parser


def main(argv: Sequence[str]) -> int:
    """Run a subcommand; errors are raised."""
    args = _parser().parse_args(argv)
    return args.run(args)


def entry_point() -> None:
    """Console script ``pdd``."""
    sys.exit(run('pdd', main, sys.argv[1:]))
