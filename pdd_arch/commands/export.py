"""`pdd export`: a network in the forms that other tools read."""

import argparse

from pdd_arch.commands.parsers import add_subcommand, file_path, word
from pdd_arch.export.forms import FORMS, ExportedFile
from pdd_arch.export.job import CARD, export_model
from pdd_arch.export.verify import TOLERANCE
from pdd_arch.utils.output import say
from pdd_arch.utils.wording import shown

_ROW = '{:<12} {:>10}  {:<18}  {:<22} {}'


def run(args: argparse.Namespace) -> int:
    """Write and verify the forms. Returns the exit status 0; errors are raised."""
    header = [_ROW.format('form', 'size', 'largest difference', 'read by', 'file')]

    def on_file(file: ExportedFile) -> None:
        while header:
            say(header.pop())
        if file.problem is not None:
            say(_ROW.format(file.form, '-', 'FAILED', '-', 'not written'))
            return
        size, difference = f'{file.bytes / 2**20:.2f} MiB', f'{file.difference:.4f} of 255'
        say(_ROW.format(file.form, size, difference, ', '.join(file.read_by), shown(file.path.name)))
        if file.note:
            say(f'{"":<12} {file.note}')

    named = dict(verify=args.verify, side=args.verify_size, overwrite=args.overwrite)
    export_model(args.model, args.output, args.to, **named, on_file=on_file, say=say)
    say(f'{shown(args.output / CARD)} says how each is used.')
    return 0


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register `export` with the `pdd` command."""
    help = 'write a network in the forms that other tools read, each one verified'
    more = (
        'The tools that a form is for run it on photographs, and its output must agree with that of PyTorch within '
        f'{TOLERANCE:g} level of 255. {CARD} beside the files says what the network is and how each file is used. '
        'ONNX needs: pip install "pdd_arch[export]".'
    )
    example = 'pdd export adapted/ -o exported --to pth onnx --verify photographs/'
    add = add_subcommand(subparsers, 'export', run, help, more, example).add_argument
    add(
        'model',
        type=word,
        metavar='MODEL',
        help='folder made by pdd adapt, weight file (.pth, .safetensors), or zoo:NAME',
    )
    add('-o', '--output', type=file_path, required=True, metavar='FOLDER', help='folder to write to')
    text = f'any of {", ".join(FORMS)}, or all (default). pth: for Real-ESRGAN, chaiNNer and all that use spandrel'
    add('--to', nargs='+', default=['all'], choices=[*FORMS, 'all'], metavar='FORM', help=text)
    add(
        '--verify',
        type=word,
        metavar='IMAGE_OR_FOLDER',
        help='photographs to compare on (default: some from scikit-image)',
    )
    text = 'compare on windows of at most this side, from the middle of each photograph; 0: all of it (default: 128)'
    add('--verify-size', type=int, default=128, metavar='PIXELS', help=text)
    add('--overwrite', action='store_true', help='replace existing files')
