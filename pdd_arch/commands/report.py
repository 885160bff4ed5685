"""`pdd report`: a run or a table as one HTML page."""

import argparse
import sys
from pathlib import Path

from pdd_arch.adaptation.workspace import Workspace
from pdd_arch.commands.parsers import Subparsers, add_subcommand, checked, file_path, whole_number
from pdd_arch.errors import MissingFileError
from pdd_arch.report.embed import MEGABYTE
from pdd_arch.report.html_page import check_target, write_page
from pdd_arch.report.of_run import is_run, page_of_run
from pdd_arch.report.of_table import page_of_table
from pdd_arch.report.page import Page
from pdd_arch.report.table_file import TABLE
from pdd_arch.training.record import RECORD
from pdd_arch.utils.output import say
from pdd_arch.utils.wording import shown

DEFAULT_NAME = 'report.html'
_PATH = 'experiments/NAME, or the folder that `pdd tables` has written'


def _page(path: Path, generalist: bool) -> Page:
    if path.name == TABLE or (path / TABLE).is_file():
        return page_of_table(path)
    if is_run(path):
        return page_of_run(path, generalist, say)
    neither = f'is neither the folder of a run (*.yml, and {RECORD} or train_*.log) nor that of a table ({TABLE})'
    what = neither if path.exists() else 'there is no such folder'
    way_out = f'Give {_PATH}.'
    adaptation = Workspace(path)
    if adaptation.record.is_file() and adaptation.page.is_file():
        way_out = f'The page of this adaptation is there already: {shown(adaptation.page)}. {way_out}'
    raise MissingFileError(what, where=shown(path), way_out=way_out)


def run(args: argparse.Namespace) -> int:
    """Write the page and return the exit status 0; errors are raised."""
    folder = args.path if args.path.is_dir() else args.path.parent
    target = args.output or folder / DEFAULT_NAME
    if folder.is_dir():
        check_target(target)  # before minutes of work
    page = _page(args.path, args.generalist)
    count, reductions = write_page(page, target, int(args.max_size * MEGABYTE), args.crop, args.limit)
    for text in (*page.problems, *reductions):
        sys.stderr.write(f'pdd report: NOTE: {text}\n')
    size = f'{target.stat().st_size / MEGABYTE:.1f} MB'
    parts = f'{len(page.curves)} curves, {len(page.rows)} rows, {count} of {len(page.pictures)} images, {size}'
    say(f'{shown(target)}: {parts}. Open it in a browser; it needs no network.')
    return 0


def add_parser(subparsers: Subparsers) -> None:
    """Add `report` to the `pdd` command."""
    parser = add_subcommand(
        subparsers,
        'report',
        run,
        help='show a run or a table as one HTML page: curves, table, images to compare',
        more='The images are sorted by gain or loss. The page needs no network and no other file. What does not fit '
        'its size is reduced, and the page and this command say so.',
        example='pdd report results/main -o main.html',
    )
    add = parser.add_argument
    add('path', type=file_path, help=_PATH)
    add('-o', '--output', type=file_path, metavar='FILE', help=f'the page (default: {DEFAULT_NAME} in that folder)')
    size = checked(float, lambda mb: 0 < mb <= 2000, 'a number of megabytes above 0, 2000 at most')
    add('--max-size', type=size, default=20, metavar='MB', help='largest size of the page (default: 20)')
    add('--crop', type=whole_number(64), metavar='N', help='show at most N x N pixels of an image (64 or more)')
    add('--limit', type=whole_number(), metavar='N', help='show at most N images: the largest gains and losses')
    add(
        '--generalist',
        action='store_true',
        help='for a run: also upscale the validation images with the network that it adapts (takes as long as a '
        'validation)',
    )
