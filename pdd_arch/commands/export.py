"""`pdd export`: a network in the forms that other tools read."""

import argparse
import sys
from pathlib import Path

from pdd_arch.export import CARD, FORMS, TOLERANCE, ExportedFile, export_model
from pdd_arch.utils.wording import shown

_HEADER = ('form', 'size', 'largest difference', 'read by', 'file')


def _row(form: str, size: str, difference: str, read_by: str, file: str) -> str:
    return f'{form:<12} {size:>10}  {difference:<18}  {read_by:<22} {file}\n'


def _size(count: int) -> str:
    return f'{count / 2**20:.2f} MiB'


def _print_file(file: ExportedFile) -> None:
    if file.problem is not None:
        sys.stdout.write(_row(file.form, '-', 'FAILED', '-', 'not written'))
    else:
        difference = f'{file.difference:.4f} of 255'
        sys.stdout.write(_row(file.form, _size(file.bytes), difference, ', '.join(file.read_by), shown(file.path.name)))
        if file.note:
            sys.stdout.write(f'{"":<12} {file.note}\n')
    sys.stdout.flush()


def run(args: argparse.Namespace) -> int:
    """Write and verify the forms. Returns the exit status 0; errors are raised."""
    started = False

    def on_file(file: ExportedFile) -> None:
        nonlocal started
        if not started:
            sys.stdout.write(_row(*_HEADER))
        started = True
        _print_file(file)

    export_model(
        args.model,
        args.output,
        args.to,
        verify=args.verify,
        side=args.verify_size,
        overwrite=args.overwrite,
        on_file=on_file,
    )
    sys.stdout.write(f'{shown(args.output / CARD)} says how each is used.\n')
    return 0


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Registers `export` with the `pdd` command."""
    text = 'write a network in the forms that other tools read'
    parser = subparsers.add_parser(
        'export',
        help=text,
        description=f'{text[0].upper()}{text[1:]}, each verified: the tools that it is for run it on photographs, and '
        f'its output must agree with that of PyTorch within {TOLERANCE:g} level of 255. {CARD} beside the files says '
        'what the network is and how each file is used. ONNX needs: pip install "pdd_arch[export]".',
        epilog='example: pdd export adapted/ -o exported --to pth onnx --verify photographs/',
    )
    parser.add_argument(
        'model', metavar='MODEL', help='folder made by pdd adapt, weight file (.pth, .safetensors), or zoo:NAME'
    )
    parser.add_argument('-o', '--output', type=Path, required=True, metavar='FOLDER', help='folder to write to')
    parser.add_argument(
        '--to',
        nargs='+',
        default=['all'],
        choices=[*FORMS, 'all'],
        metavar='FORM',
        help=f'any of {", ".join(FORMS)}, or all (default). pth: for Real-ESRGAN, chaiNNer and all that use spandrel',
    )
    parser.add_argument(
        '--verify', metavar='IMAGE_OR_FOLDER', help='photographs to compare on (default: some of scikit-image)'
    )
    parser.add_argument(
        '--verify-size',
        type=int,
        default=128,
        metavar='PIXELS',
        help='compare on windows of this side from the middle of each photograph; 0: all of it (default: 128)',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace existing files')
    parser.set_defaults(run=run)
