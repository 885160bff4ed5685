"""`pdd check`: what a prepared dataset holds, and what is wrong with it."""

import argparse
from dataclasses import asdict

from pdd_arch.commands.parsers import add_subcommand, whole_number, word
from pdd_arch.prepare.inspect_sets import Limits, inspect, open_sets
from pdd_arch.prepare.measures import MAX_COLOUR, MAX_HASH_DISTANCE, MAX_SHIFT, Duplicate, Thumbnails, near_duplicates
from pdd_arch.prepare.problems import Problem, raise_if_any, tell, write_report
from pdd_arch.utils.output import say


def run(args: argparse.Namespace) -> int:
    """Looks at all targets together. Returns the exit status 0 when all is well; errors are raised."""
    limits = Limits(args.max_shift, args.max_colour, args.max_distance, args.sample)
    sets = [one for target in args.target for one in open_sets(target)]
    thumbnails = {'train': Thumbnails(), 'test': Thumbnails()}
    told: list[dict] = []
    problems: list[Problem] = []
    quiet = args.json == '-'
    for one in sets:
        holds, wrong = inspect(one, limits, thumbnails[one.role])
        told.append(holds)
        problems += wrong
        if not quiet:
            _say_set(holds)
    duplicates = near_duplicates(thumbnails['train'], thumbnails['test'], limits.distance)
    problems += [_duplicate_problem(one) for one in duplicates]
    if not quiet:
        if thumbnails['train'].names and thumbnails['test'].names:
            counts = (len(thumbnails['test']), len(thumbnails['train']))
            say(f'near-duplicates: {len(duplicates)} ({counts[0]} test images against {counts[1]} of training)')
        tell(problems)
    if args.json:
        report = {'limits': asdict(limits), 'sets': told, 'duplicates': [asdict(d) for d in duplicates]}
        write_report(args.json, {**report, 'problems': [asdict(p) for p in problems]})
    raise_if_any(problems, '')
    if not quiet:
        say('No error found.')
    return 0


def _duplicate_problem(one: Duplicate) -> Problem:
    text = (
        f'is nearly the same as the training image {one.train} ({one.distance} of 63 bits of the hash differ, '
        f'correlation {one.correlation}); a test image must not be trained on. Remove one of them.'
    )
    return Problem('duplicate', one.test, text)


def _say_set(holds: dict) -> None:
    say(f'{holds["name"]} ({holds["role"]}, scale {holds["scale"]})')
    for key, one in holds['images'].items():
        formats = ', '.join(f'{n} {kind}' for kind, n in one['formats'].items()) or 'nothing readable'
        counts = f'{one["count"]} images, {_sizes(one)}, {formats}; broken: {one["broken"]}'
        say(f'  {key.upper()}: {counts}  [{one["where"]}]')
    if 'colour' in holds:
        shift = holds.get('shift')
        shifted = f'median {shift["median"]}, at most {shift["max"]}' if shift else 'not measurable'
        if shift and holds['shift_not_measurable']:
            shifted += f' ({holds["shift_not_measurable"]} not measurable)'
        say(f'  {holds["compared"]} pairs compared; misalignment in LR pixels: {shifted}')
        colour = holds['colour']
        mean, absolute = (', '.join(f'{v:.1f}' for v in colour[k]) for k in ('mean', 'absolute'))
        say(
            f'  colour, LR minus HR in levels of 255 (R, G, B): mean {mean}; absolute {absolute}; worst {colour["max"]}'
        )


def _sizes(one: dict) -> str:
    if 'sizes' not in one:
        return 'no size'
    low, high = ('x'.join(map(str, one['sizes'][key])) for key in ('min', 'max'))
    return f'{low} pixels' if low == high else f'{low} to {high} pixels ({one["different_sizes"]} sizes)'


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Registers `check` with the `pdd` command."""
    help = 'inspect a dataset: counts, sizes, damage, misalignment, colour, duplicates'
    more = (
        'Every image is read. Reports counts, sizes (height x width), channels, bit depths, broken files, misalignment '
        'and colour differences between LR and HR, and images that training and test sets have in common. The exit '
        'status is 1 if something is wrong. Several targets are inspected together.'
    )
    example = 'pdd check datasets/RealSR_V3 datasets/DF2K --json report.json'
    parser = add_subcommand(subparsers, 'check', run, help, more, example)
    parser.add_argument(
        'target',
        nargs='+',
        type=word,
        metavar='FOLDER|OPTION.yml',
        help='made by `pdd prepare`, a folder of images, or options',
    )
    parser.add_argument('--json', type=word, metavar='FILE', help='write the report to a file; - for standard output')
    parser.add_argument('--sample', type=whole_number(), metavar='N', help='compare only N pairs of each set')
    parser.add_argument(
        '--max-shift', type=float, default=MAX_SHIFT, metavar='X', help=f'LR pixels (default: {MAX_SHIFT:g})'
    )
    parser.add_argument(
        '--max-colour', type=float, default=MAX_COLOUR, metavar='X', help=f'levels of 255 (default: {MAX_COLOUR:g})'
    )
    parser.add_argument(
        '--max-distance',
        type=int,
        default=MAX_HASH_DISTANCE,
        metavar='BITS',
        help=f'of near-duplicates, of 63 (default: {MAX_HASH_DISTANCE})',
    )
