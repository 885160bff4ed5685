"""``pdd tables``: trains and measures the rows of a list, and writes the table."""

import argparse
import sys
from pathlib import Path

from pdd_arch.tables.plan import cells, read_plan
from pdd_arch.tables.runner import read_result, run_cells
from pdd_arch.tables.table import collect, not_computed, to_markdown, write_table


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'tables',
        help='train and measure the rows of a table',
        description='Trains and measures the rows of a list (YAML) and writes table.md, .csv, .tex and .json. Paths in '
        'its option files start at the current folder, as in `basicsr train`. Rows that are finished are not '
        'done again: start it anew after an interruption.',
        epilog='example: pdd tables main.yml -o results/main --seeds 0,1,2 --jobs 2 --gpus 0,1',
    )
    parser.add_argument('list', type=Path, help='the list of rows')
    parser.add_argument('-o', '--out', type=Path, required=True, help='folder of the results')
    parser.add_argument('--seeds', type=lambda t: [int(n) for n in t.split(',')], help="instead of the list's")
    parser.add_argument('--only', help='rows with this in their name')
    parser.add_argument('--datasets', help='of the list, separated by commas')
    parser.add_argument('--jobs', type=int, default=1, help='training runs at a time')
    parser.add_argument('--gpus', default='', help='devices to spread them over, separated by commas')
    parser.add_argument('--dry-run', action='store_true', help='say what would run')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit status 1 when a row failed or a metric could not be computed; all else is in the table."""
    plan = read_plan(args.list)
    if args.seeds:
        plan = plan.model_copy(update={'seeds': args.seeds})
    everything = list(cells(plan, args.list.parent))
    chosen = [
        cell
        for cell in everything
        if (not args.only or args.only in cell.row.name)
        and (not args.datasets or cell.dataset in args.datasets.split(','))
    ]
    todo = [cell for cell in chosen if read_result(args.out, cell) is None]
    say(f'{plan.title}: {len(chosen)} cells, {len(todo)} to do')
    if args.dry_run:
        for cell in todo:
            say(f'  {cell.name}')
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    gpus = [g for g in args.gpus.split(',') if g]
    failed = run_cells(todo, args.out, gpus, max(1, args.jobs), say)
    table = collect(plan, everything, args.out)
    write_table(table, args.out)
    say(to_markdown(table))
    missing = not_computed(table)
    for line in [*failed, *(f'not computed: {reason}' for reason in missing.values())]:
        sys.stderr.write(f'pdd tables: {line}\n')
    return 1 if failed or missing else 0


def say(text: str) -> None:
    """A line on standard output, at once."""
    sys.stdout.write(text + '\n')
    sys.stdout.flush()
