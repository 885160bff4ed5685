"""`pdd prepare`: a downloaded dataset, or a target domain with ground truth, made ready for the option files."""

import argparse
import os
from pathlib import Path

from pdd_arch.commands.parsers import add_subcommand, file_path, whole_number, word
from pdd_arch.degradations.domains import DOMAINS
from pdd_arch.errors import OptionError
from pdd_arch.prepare.job import Choices, prepare
from pdd_arch.prepare.layouts import CITY100_CAMERAS, LAYOUTS, Layout, own_folder
from pdd_arch.prepare.target_domain import make_domain
from pdd_arch.utils.output import say

#: name -> help, example
DATASETS = {
    'realsr': ('RealSR V3: Canon and Nikon, Train and Test', 'realsr "downloads/RealSR(V3)" -o datasets'),
    'drealsr': ('DRealSR: training crops, test pairs, lists of each camera', 'drealsr downloads/DRealSR -o datasets'),
    'ntire2020': (
        'NTIRE 2020 real-world super-resolution, track 1',
        'ntire2020 downloads/NTIRE2020 downloads/DIV2K -o datasets',
    ),
    'df2k': (
        'DF2K: DIV2K and Flickr2K, to sub-images and LMDB where wanted',
        'df2k downloads/DIV2K downloads/Flickr2K -o datasets --sub-images --lmdb',
    ),
    'city100': (
        'City100: x4 (LR downsampled by 4) or native ratio (pairs as published, of one size)',
        'city100 downloads/CameraSR -o datasets --camera iPhoneX --protocol x4',
    ),
    'folder': (
        'photographs of your own',
        'folder downloads/my_phone -o datasets --lr raw_photos --test-lr eval/lr --test-hr eval/hr',
    ),
}


def run(args: argparse.Namespace) -> int:
    """Prepares a published dataset or one's own photographs. Returns the exit status 0; errors are raised."""
    named = {key: getattr(args, key) for key in ('copy', 'quick', 'skip_bad', 'dry_run', 'lmdb', 'workers', 'json')}
    grid = None
    if getattr(args, 'sub_images', False):
        grid = args.size, args.step
        if args.step > args.size:
            raise OptionError(
                f'{args.step} is larger than --size {args.size}: parts would be left out',
                where='--step',
                way_out='Lower it.',
            )
    prepare(_layout(args), args.source, Choices(args.out, tuple(args.only), sub_images=grid, **named))
    return 0


def run_synthetic(args: argparse.Namespace) -> int:
    """Makes a target domain of HR photographs. Returns the exit status 0; errors are raised."""
    out = args.out / args.domain
    made = make_domain(args.domain, args.source, out, args.scale, args.test, args.seed)
    say(f'{out}: ' + ', '.join(f'{len(names)} {part}' for part, names in made['images'].items()))
    return 0


def _layout(args: argparse.Namespace) -> Layout:
    if args.dataset in LAYOUTS:
        return LAYOUTS[args.dataset](**{k: v for k, v in vars(args).items() if k in ('scale', 'camera', 'protocol')})
    folders = {key: getattr(args, key) for key in ('hr', 'lr', 'test_hr', 'test_lr')}
    if not any(folders.values()):
        folders['lr'] = '.'
    for key in ('hr_template', 'lr_template'):
        if getattr(args, key).count('{}') != 1:
            raise OptionError(
                where=f'--{key.replace("_", "-")}',
                expected='text with one pair of braces, as {}_LR4',
                found=repr(getattr(args, key)),
            )
    name = Path(args.source[0]).resolve().name if args.name is None else args.name
    if name in ('', '.', '..') or Path(name).name != name or not name.isprintable():
        raise OptionError(where='--name', expected='the name of one folder, to be made below -o', found=repr(name))
    return own_folder(name, args.scale, folders, args.hr_template, args.lr_template)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Registers `prepare` with the `pdd` command."""
    more = (
        'Compares the download with the published counts, reads every image, pairs LR with HR, and writes links and '
        'lists (meta-info files) below OUT, where the option files look for them. The source is never changed. An '
        'interrupted run is continued by the same command. Several sources may be named; all of them are searched. An '
        'image that cannot be read stops it, with exit status 1, unless --skip-bad says that such images may be left '
        'out: then they are named, and the exit status is 0.'
    )
    help, example = 'prepare a downloaded dataset for the option files', f'pdd prepare {DATASETS["realsr"][1]}'
    parser = add_subcommand(subparsers, 'prepare', run, help, more, example)
    datasets = parser.add_subparsers(dest='dataset', required=True, metavar='NAME')
    for name, (text, example) in DATASETS.items():
        one = add_subcommand(datasets, name, run, text, '', f'pdd prepare {example}')
        _add_common(one)
        if name in ('realsr', 'drealsr'):
            one.add_argument('--scale', type=int, choices=(2, 3, 4), default=4, help='scale of the pairs (default: 4)')
        if name == 'city100':
            one.add_argument('--camera', choices=CITY100_CAMERAS, default=CITY100_CAMERAS[0])
            one.add_argument('--protocol', choices=('x4', 'native'), default='x4', help='(default: x4)')
        if name in ('df2k', 'folder'):
            one.add_argument('--sub-images', action='store_true', help='cut HR images into overlapping sub-images')
            one.add_argument('--size', type=whole_number(), default=480, help='their sides, pixels (default: 480)')
            one.add_argument('--step', type=whole_number(), default=240, help='from one to the next (default: 240)')
        if name == 'folder':
            _add_folder(one)
    _add_synthetic(datasets)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'source', nargs='+', type=word, metavar='SOURCE', help='folder with what was downloaded, unpacked'
    )
    _add_out(parser)
    parser.add_argument('--only', nargs='+', default=[], metavar='PART', help='these parts only, e.g. Canon')
    parser.add_argument('--dry-run', action='store_true', help='check all of it, write nothing')
    parser.add_argument('--quick', action='store_true', help='read headers only, which finds no damage inside a file')
    parser.add_argument(
        '--skip-bad', action='store_true', help='name and leave out images with errors instead of stopping'
    )
    parser.add_argument('--copy', action='store_true', help='copy images instead of making symbolic links')
    parser.add_argument('--lmdb', action='store_true', help="also make LMDBs, as BasicSR's tool does")
    parser.add_argument('--json', type=word, metavar='FILE', help='write the report to a file; - for standard output')
    workers = min(4, os.cpu_count() or 1)
    text = f'threads (default: {workers})'
    parser.add_argument('--workers', type=whole_number(), default=workers, metavar='N', help=text)


def _add_out(parser: argparse.ArgumentParser) -> None:
    text = 'folder of datasets (default: datasets)'
    parser.add_argument('-o', '--out', type=file_path, default=Path('datasets'), metavar='OUT', help=text)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--name', help='name of the dataset (default: that of the source)')
    parser.add_argument(
        '--hr', type=word, metavar='FOLDER', help='HR photographs for training, below SOURCE; need no LR'
    )
    parser.add_argument(
        '--lr', type=word, metavar='FOLDER', help='LR photographs of the target domain (default: SOURCE itself)'
    )
    parser.add_argument('--test-hr', type=word, metavar='FOLDER', help='ground truth of --test-lr')
    parser.add_argument('--test-lr', type=word, metavar='FOLDER', help='LR photographs for validation')
    parser.add_argument('--hr-template', default='{}', help='names of HR files, e.g. {}_HR (default: {})')
    parser.add_argument('--lr-template', default='{}', help='names of LR files, e.g. {}_LR4 (default: {})')
    parser.add_argument('--scale', type=whole_number(), default=4, help='scale of the test pairs (default: 4)')


def _add_synthetic(datasets: argparse._SubParsersAction) -> None:
    help = 'a target domain with ground truth, made of HR photographs by a declared degradation'
    more = (
        'Writes OUT/DOMAIN with hr (source of synthetic pairs), train_lr (target domain), test_lr and test_hr; no '
        'photograph is in two of the three. domain.json says what was done.'
    )
    example = 'pdd prepare synthetic photographs --domain mixed -o datasets'
    parser = add_subcommand(datasets, 'synthetic', run_synthetic, help, more, example)
    parser.add_argument('source', type=file_path, metavar='SOURCE', help='folder of HR photographs')
    _add_out(parser)
    parser.add_argument('--domain', choices=DOMAINS, required=True)
    parser.add_argument('--scale', type=int, choices=(1, 2, 3, 4), default=4, help='(default: 4)')
    parser.add_argument('--test', type=int, default=12, metavar='N', help='test pairs (default: 12)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the split and the degradation (default: 0)')
