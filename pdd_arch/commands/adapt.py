"""`pdd adapt`: from two folders of photographs to a model."""

import argparse
import shlex
import sys

from pdd_arch.adaptation import adapt
from pdd_arch.adaptation.preset import FEATURES, PRESETS
from pdd_arch.commands.parsers import add_subcommand, checked, file_path, whole_number, word
from pdd_arch.utils.output import say
from pdd_arch.utils.wording import shown


def run(args: argparse.Namespace) -> int:
    """Adapt a network. Returns 0, or 1 if a photograph was left out because it cannot be read; errors are raised."""
    given = {k: v for k, v in vars(args).items() if k not in ('command', 'debug', 'run', 'photographs', 'hr', 'output')}
    result = adapt(args.photographs, args.hr, args.output, say=say, **given)
    say('')
    for line in result.statement:
        say(line)
    say(f'\nmodel: {shown(result.model)} (iteration {result.iteration})\nbefore and after: {shown(result.page)}')
    say(f'next: pdd upscale PHOTOS -o UPSCALED --model {shlex.quote(str(args.output))}')
    for error in result.unreadable:
        sys.stderr.write(f'pdd adapt: LEFT OUT: {error}\n')
    return 1 if result.unreadable else 0


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register `adapt` with the `pdd` command."""
    help = 'adapt a super-resolution network to the camera, phone or scanner that took your photographs'
    more = (
        'Everything goes to the folder -o: the model, a page that compares before and after, the option file that '
        'repeats the training. After an interruption the same command continues. Photographs that cannot be read are '
        'left out and listed at the end, and the exit status is then 1, although the model is made.'
    )
    example = 'pdd adapt holiday_photos --hr DIV2K_train_HR -o my_camera'
    add = add_subcommand(subparsers, 'adapt', run, help, more, example).add_argument
    add('photographs', type=file_path, metavar='PHOTOS', help='folder of photographs of one camera')
    add('--hr', type=file_path, metavar='FOLDER', help='sharp, clean photographs of anything')
    add('-o', '--output', type=file_path, metavar='OUT', required=True, help='folder for everything that is written')
    of_presets = ', '.join(f'{p.generalist.removeprefix("zoo:")} of preset {n}' for n, p in PRESETS.items())
    add(
        '--generalist',
        type=word,
        metavar='NAME|FILE',
        help=f'network to adapt: a weight file, or a published one by name (default: {of_presets})',
    )
    add('--preset', default='fast', help=f'{" or ".join(PRESETS)} (default: fast; paper takes a GPU and a day or more)')
    add('--tune', action='store_true', help='first compare three ratios of the two distances in short runs')
    add('--iterations', type=whole_number(), metavar='N', help='steps of training (default: those of the preset)')
    add(
        '--batch',
        type=whole_number(),
        metavar='N',
        help='images of each domain in a step (default: what memory allows)',
    )
    add(
        '--inter-weight',
        type=checked(float, lambda weight: 0 <= weight < 1e6, 'a number of at least 0'),
        metavar='W',
        help='weight of the inter-model distance; that of the intra-model distance is 1 (default: 1)',
    )
    add('--features', metavar='NAME', help=f'feature network: {" or ".join(FEATURES)}')
    add(
        '--feature-weights',
        type=word,
        default='imagenet',
        metavar='FILE',
        help="torchvision's weights of the feature network (default: downloaded when first needed)",
    )
    add('--device', metavar='cpu|cuda', help='device to train on (default: a GPU where there is one)')
    add('--overwrite', action='store_true', help='start anew where OUT holds an adaptation with other settings')
