"""`pdd prepare synthetic`: a target domain with ground truth, made of HR photographs."""

import argparse
from pathlib import Path

from pdd_arch.degradations.domains import DOMAINS
from pdd_arch.prepare.target_domain import make_domain
from pdd_arch.utils.output import say

EXAMPLE = 'pdd prepare synthetic photographs --domain mixed -o datasets'


def add_parser(datasets: argparse._SubParsersAction) -> None:
    """Registers `synthetic` among the datasets of `pdd prepare`."""
    text = 'a target domain with ground truth, made of HR photographs by a declared degradation'
    parser = datasets.add_parser(
        'synthetic',
        help=text,
        description=f'{text[0].upper()}{text[1:]}. Writes OUT/DOMAIN with hr (source of synthetic pairs), train_lr '
        '(target domain), test_lr and test_hr; no photograph is in two of the three. domain.json says what was done.',
        epilog=f'example: {EXAMPLE}',
    )
    parser.add_argument('source', type=Path, metavar='SOURCE', help='folder of HR photographs')
    parser.add_argument('--domain', choices=DOMAINS, required=True)
    parser.add_argument('-o', '--out', type=Path, default=Path('datasets'), help='(default: datasets)')
    parser.add_argument('--scale', type=int, choices=(1, 2, 3, 4), default=4, help='(default: 4)')
    parser.add_argument('--test', type=int, default=12, metavar='N', help='test pairs (default: 12)')
    parser.add_argument('--seed', type=int, default=0, help='of the split and the degradation (default: 0)')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Makes the domain. Returns the exit status 0; errors are raised."""
    out = args.out / args.domain
    made = make_domain(args.domain, args.source, out, args.scale, args.test, args.seed)
    counts = ', '.join(f'{len(names)} {part}' for part, names in made['images'].items())
    say(f'{out}: {counts}')
    return 0
