"""`pdd prepare`: a downloaded dataset, made ready for the option files."""

import argparse
import os
from pathlib import Path

from pdd_arch.commands import prepare_synthetic
from pdd_arch.commands.parsers import whole_number
from pdd_arch.errors import OptionError
from pdd_arch.prepare.job import Choices, prepare
from pdd_arch.prepare.layouts import CITY100_CAMERAS, LAYOUTS, Layout, own_folder

HELP = {
    'realsr': 'RealSR V3: Canon and Nikon, Train and Test',
    'drealsr': 'DRealSR: training crops, test pairs, lists of each camera',
    'ntire2020': 'NTIRE 2020 real-world super-resolution, track 1',
    'df2k': 'DF2K: DIV2K and Flickr2K, to sub-images and LMDB where wanted',
    'city100': 'City100: x4 (LR downsampled by 4) or native ratio (pairs as published, of one size)',
    'folder': 'photographs of your own',
}
EXAMPLES = {
    'realsr': 'pdd prepare realsr "downloads/RealSR(V3)" -o datasets',
    'drealsr': 'pdd prepare drealsr downloads/DRealSR -o datasets',
    'ntire2020': 'pdd prepare ntire2020 downloads/NTIRE2020 downloads/DIV2K -o datasets',
    'df2k': 'pdd prepare df2k downloads/DIV2K downloads/Flickr2K -o datasets --sub-images --lmdb',
    'city100': 'pdd prepare city100 downloads/CameraSR -o datasets --camera iPhoneX --protocol x4',
    'folder': 'pdd prepare folder downloads/my_phone -o datasets --lr raw_photos --test-lr eval/lr --test-hr eval/hr',
}


def run(args: argparse.Namespace) -> int:
    """Prepares. Returns the exit status 0; errors are raised."""
    named = {key: getattr(args, key) for key in ('copy', 'quick', 'skip_bad', 'dry_run', 'lmdb', 'workers', 'json')}
    choices = Choices(Path(args.out).expanduser(), tuple(args.only), sub_images=_grid(args), **named)
    prepare(_layout(args), args.source, choices)
    return 0


def _grid(args: argparse.Namespace) -> tuple[int, int] | None:
    if not getattr(args, 'sub_images', False):
        return None
    if args.step > args.size:
        raise OptionError(
            f'{args.step} is larger than --size {args.size}: parts would be left out',
            where='--step',
            way_out='Lower it.',
        )
    return args.size, args.step


def _layout(args: argparse.Namespace) -> Layout:
    if args.dataset in ('realsr', 'drealsr'):
        return LAYOUTS[args.dataset](args.scale)
    if args.dataset == 'city100':
        return LAYOUTS[args.dataset](args.camera, args.protocol)
    if args.dataset != 'folder':
        return LAYOUTS[args.dataset]()
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
    parser = subparsers.add_parser(
        'prepare',
        help='make a downloaded dataset ready for the option files',
        description='Compares what was downloaded with what is published, reads every image, pairs LR with HR, and '
        'writes links and lists (meta-info files) below OUT, where the option files look for them. The source is never '
        'changed. An interrupted run is continued by the same command. Several sources may be named; each is looked '
        'for in all of them.',
        epilog=f'example: {EXAMPLES["realsr"]}',
    )
    datasets = parser.add_subparsers(dest='dataset', required=True, metavar='NAME')
    for name, text in HELP.items():
        one = datasets.add_parser(name, help=text, description=f'{text}.', epilog=f'example: {EXAMPLES[name]}')
        _add_common(one)
        if name in ('realsr', 'drealsr'):
            one.add_argument('--scale', type=int, choices=(2, 3, 4), default=4, help='of the pairs (default: 4)')
        if name == 'city100':
            one.add_argument('--camera', choices=CITY100_CAMERAS, default=CITY100_CAMERAS[0])
            one.add_argument('--protocol', choices=('x4', 'native'), default='x4', help='(default: x4)')
        if name in ('df2k', 'folder'):
            _add_sub_images(one)
        if name == 'folder':
            _add_folder(one)
        one.set_defaults(run=run)
    prepare_synthetic.add_parser(datasets)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('source', nargs='+', metavar='SOURCE', help='folder with what was downloaded, unpacked')
    parser.add_argument('-o', '--out', default='datasets', metavar='OUT', help='folder of datasets (default: datasets)')
    parser.add_argument('--only', nargs='+', default=[], metavar='PART', help='these parts only, e.g. Canon')
    parser.add_argument('--dry-run', action='store_true', help='check all of it, write nothing')
    parser.add_argument('--quick', action='store_true', help='headers only: finds no damage inside a file')
    parser.add_argument('--skip-bad', action='store_true', help='leave out images with errors instead of stopping')
    parser.add_argument('--copy', action='store_true', help='copies instead of symbolic links')
    parser.add_argument('--lmdb', action='store_true', help="also LMDBs, as BasicSR's tool makes them")
    parser.add_argument('--json', metavar='FILE', help='write the report to a file; - for standard output')
    workers = min(4, os.cpu_count() or 1)
    parser.add_argument(
        '--workers', type=whole_number(), default=workers, metavar='N', help=f'threads (default: {workers})'
    )


def _add_sub_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--sub-images', action='store_true', help='cut HR images into overlapping sub-images')
    parser.add_argument('--size', type=whole_number(), default=480, help='of sub-images, in pixels (default: 480)')
    parser.add_argument('--step', type=whole_number(), default=240, help='between them (default: 240)')


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--name', help='of the dataset (default: that of the source)')
    parser.add_argument('--hr', metavar='FOLDER', help='HR photographs for training, below SOURCE; need no LR')
    parser.add_argument('--lr', metavar='FOLDER', help='LR photographs of the target domain (default: SOURCE itself)')
    parser.add_argument('--test-hr', metavar='FOLDER', help='ground truth of --test-lr')
    parser.add_argument('--test-lr', metavar='FOLDER', help='LR photographs for validation')
    parser.add_argument('--hr-template', default='{}', help='names of HR files, e.g. {}_HR (default: {})')
    parser.add_argument('--lr-template', default='{}', help='names of LR files, e.g. {}_LR4 (default: {})')
    parser.add_argument('--scale', type=whole_number(), default=4, help='of the test pairs (default: 4)')
