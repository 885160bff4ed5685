"""``pdd tables``: trains and measures the rows of a list, and writes the table."""

import argparse
import sys
from collections.abc import Iterable, Sequence

from pdd_arch.commands.parsers import Subparsers, add_subcommand, checked, file_path, whole_number
from pdd_arch.errors import DataError, OptionError
from pdd_arch.metrics.availability import availability
from pdd_arch.options.command_line import add_import
from pdd_arch.report.table_file import table_of
from pdd_arch.tables.plan import Cell, cells, check_cells, read_plan
from pdd_arch.tables.runner import read_result, run_cells
from pdd_arch.tables.table import collect, to_markdown, write_table
from pdd_arch.utils.locks import folder_held
from pdd_arch.utils.output import say
from pdd_arch.utils.wording import one_of


def add_parser(subparsers: Subparsers) -> None:
    """Add `tables` to the `pdd` command."""
    parser = add_subcommand(
        subparsers,
        'tables',
        run,
        help='train and measure the rows of a table',
        more='The rows stand in a list (YAML); the results are table.md, .csv, .tex and .json. Paths in its option '
        'files start at the current folder, as in `basicsr train`. Rows that are finished are not repeated: after an '
        'interruption the same command continues.',
        example='pdd tables main.yml -o results/main --seeds 0,1,2 --jobs 2 --gpus 0,1',
    )
    add = parser.add_argument
    add('list', type=file_path, help='list of rows (YAML)')
    add('-o', '--out', type=file_path, required=True, help='folder of the results')
    seeds = checked(
        lambda text: [int(n) for n in text.split(',')],
        lambda numbers: min(numbers) >= 0 and len(set(numbers)) == len(numbers),
        'different whole numbers separated by commas',
    )
    add('--seeds', type=seeds, metavar='N,N', help="seeds instead of the list's, separated by commas")
    add('--only', metavar='TEXT', help='only rows with this text in their names')
    add('--datasets', metavar='NAME,NAME', help='only these datasets of the list, separated by commas')
    add('--jobs', type=whole_number(), metavar='N', help='training runs at the same time (default: one per device)')
    add('--gpus', default='', metavar='N,N', help='GPUs to spread the runs over, separated by commas')
    add_import(parser)
    add('--dry-run', action='store_true', help='list what would run, and do nothing')


def _chosen(args: argparse.Namespace, everything: Sequence[Cell]) -> list[Cell]:
    """The cells that --only and --datasets choose; OptionError if they choose none, or there is no such dataset."""
    datasets = list(dict.fromkeys(cell.dataset for cell in everything))
    wanted = args.datasets.split(',') if args.datasets else datasets
    for name in wanted:
        if name not in datasets:
            raise OptionError(f'{name!r} is not in the list', where='--datasets', expected=one_of(datasets))
    rows = list(dict.fromkeys(cell.row.name for cell in everything))
    if args.only and not any(args.only in name for name in rows):
        raise OptionError(f'no row has {args.only!r} in its name', where='--only', expected=f'a part of {one_of(rows)}')
    return [c for c in everything if (not args.only or args.only in c.row.name) and c.dataset in wanted]


def run(args: argparse.Namespace) -> int:
    """Train, measure and write the table; exit status 1 when a row failed or a metric could not be computed."""
    plan = read_plan(args.list)
    if args.seeds:
        plan = plan.model_copy(update={'seeds': args.seeds})
    everything = list(cells(plan, args.list.parent, args.imports))
    check_cells(everything)
    chosen = _chosen(args, everything)
    finished = {cell.name for cell in everything if read_result(args.out, cell) is not None}
    todo = [cell for cell in chosen if cell.name not in finished]
    try:  # what the table cannot hold is found now, not after the training
        table_of(collect(plan, everything, args.out))
    except DataError as error:
        raise error.within(str(args.list), ': ') from None
    say(f'{plan.title}: {len(chosen)} cells, {len(todo)} to do')
    if args.dry_run:
        for cell in todo:
            say(f'  {cell.name}')
        return 0
    taken = OptionError(
        'another `pdd tables` is writing there',
        where=f'-o {args.out}',
        way_out='Wait for it, or choose another folder; --jobs and --gpus spread one table over several devices.',
    )
    gpus = [g for g in args.gpus.split(',') if g]
    with folder_held(args.out, taken):
        if todo:  # now, and not after hours of training
            _warn(availability(todo[0].metrics, fetch=True)[1].values())
        failed = run_cells(todo, args.out, gpus, args.jobs or max(1, len(gpus)), say)
        table = write_table(collect(plan, everything, args.out), args.out)
    say(to_markdown(table))
    problems = [*failed, *table.reasons()]
    _warn(problems)
    return 1 if problems else 0


def _warn(lines: Iterable[str]) -> None:
    sys.stderr.writelines(f'pdd tables: {line}\n' for line in lines)
