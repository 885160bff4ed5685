"""`pdd convert-options`: an option file of the paper's released code as one of ours."""

import argparse
import sys
from pathlib import Path

import yaml

from pdd_arch.commands.parsers import add_subcommand, file_path, word
from pdd_arch.errors import OptionError
from pdd_arch.options.convert import Conversion, convert_options, report_lines
from pdd_arch.options.run_options import RunOptions, validated_file
from pdd_arch.options.yaml_file import load_options
from pdd_arch.preflight.losses import check_losses
from pdd_arch.preflight.networks import check_networks
from pdd_arch.utils.atomic import whole_file, writing


class _Plain(yaml.SafeDumper):
    """Writes sections that are alike out, each in its place."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def option_text(conversion: Conversion, name: str) -> str:
    """The converted file of the released file `name`: options, then what was not carried over, as comments."""
    text = f'# From {name}, an option file of the released code, by pdd convert-options.\n'
    text += yaml.dump(conversion.options, Dumper=_Plain, sort_keys=False, default_flow_style=None, width=110)
    lines = list(report_lines(conversion))
    text += '\n# Every other value of that file is above.\n' if lines else '\n# Every value of that file is above.\n'
    return text + ''.join(f'# {" ".join(line.split())}\n' for line in lines)


def run(args: argparse.Namespace) -> int:
    """Convert, check, write. Returns the exit status 0; errors are raised."""
    conversion = convert_options(load_options(args.file))
    try:
        validated_file(conversion.options, is_train=True)
    except OptionError as e:
        raise e.within(f'{args.file}: what it would become is no valid option file', ': ') from None
    try:  # networks and losses may be registered where it runs
        options = RunOptions.of(conversion.options)
        check_networks(options.pdd)
        check_losses(options.train)
    except OptionError as e:
        conversion.remarks.append(f'basicsr train would refuse this file: {e}')
    for line in report_lines(conversion):
        sys.stderr.write(f'{line}\n')
    text = option_text(conversion, Path(args.file).name)
    if args.output is None:
        sys.stdout.write(text)
        return 0
    if args.output.exists() and not args.overwrite:
        raise OptionError(f'{args.output} exists', where='-o', way_out='Choose another name, or give --overwrite.')
    with writing(args.output), whole_file(args.output) as partial:
        partial.write_text(text, encoding='utf-8')
    count = len(conversion.not_carried)
    sys.stderr.write(f'{args.output} written; {count} value{"" if count == 1 else "s"} not carried over.\n')
    return 0


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Registers `convert-options` with the `pdd` command."""
    help = "convert an option file of the paper's released code"
    more = (
        'Every value is carried over, or named on standard error and at the end of the file as not carried over, with '
        'the reason. The result is checked; basicsr train -opt FILE --check also checks its data and weights.'
    )
    example = 'pdd convert-options train_Real_ESRGAN_EMA_x4_canon.yml -o canon.yml'
    parser = add_subcommand(subparsers, 'convert-options', run, help, more, example)
    parser.add_argument('file', type=word, metavar='FILE', help='option file of the released code')
    parser.add_argument(
        '-o', '--output', type=file_path, metavar='FILE', help='option file to write (default: print it)'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace an existing file')
