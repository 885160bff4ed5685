"""`pdd upscale`: photographs, whole folders of them, through a network."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from pdd_arch.commands.parsers import add_subcommand, checked, file_path, whole_number, word
from pdd_arch.errors import OptionError, PDDError
from pdd_arch.images.names import is_photograph_name
from pdd_arch.inference import AUTO, LoadedNetwork, load_network
from pdd_arch.photo_files.writing import EXTENSIONS, QUALITY, format_of_name
from pdd_arch.upscaling.compare import FOLDER, PAGE, write_comparison
from pdd_arch.upscaling.engine import PhotoUpscaler
from pdd_arch.upscaling.inputs import FORMATS, SAME, Found, Item, Source, find_inputs, plan_outputs
from pdd_arch.upscaling.job import check, pending, run_job
from pdd_arch.upscaling.record import Record
from pdd_arch.utils.output import say
from pdd_arch.utils.wording import shown

DEFAULT_MODEL = 'zoo:realesr-general-x4v3'


def _tell(text: str) -> None:
    """A line on standard error that does not break a progress bar."""
    tqdm.write(text, file=sys.stderr)


def _note(text: str) -> None:
    _tell(f'pdd upscale: NOTE: {text}')


def _into_file(args: argparse.Namespace) -> bool:
    """Whether -o names a file rather than a folder."""
    where = f'-o {shown(args.output)}'
    if args.output.is_dir():
        return False
    if format_of_name(args.output) is not None:
        if args.compare is not None:
            raise OptionError('writes a page beside the outputs; give a folder as -o', where='--compare')
        return True
    if is_photograph_name(args.output.name):
        endings = ', '.join(names[0] for names in EXTENSIONS.values())
        way_out = f'Give a folder, or a name that ends in {endings}.'
        raise OptionError('images of this kind are not written', where=where, way_out=way_out)
    if args.output.exists():
        raise OptionError('is a file; expected a folder, or a name such as large.png', where=where)
    return False


def _found(args: argparse.Namespace, record: Record) -> Found:
    folder = args.output.resolve()

    def is_output(path: Path) -> bool:
        path = Path(os.path.realpath(path))  # `resolve` raises for a link to itself
        if folder not in path.parents:
            return False
        below = path.relative_to(folder)
        return record.is_output(below.as_posix()) or (below.parts[0] in (FOLDER, PAGE) and args.compare is not None)

    found = find_inputs(args.inputs, args.recursive, is_output)
    found.folders = [path for path in found.folders if path.resolve() != folder]
    return found


def _items(args: argparse.Namespace, found: Found, into_file: bool) -> list[Item]:
    count = len(found.photographs) + len(found.unreadable)
    if into_file and (count > 1 or not Path(args.inputs[0]).is_file()):
        what = f'a file takes the output of one photograph, found {count} in what was given'
        raise OptionError(what, where=f'-o {shown(args.output)}', way_out='Give a folder.')
    if into_file and args.format != SAME and FORMATS[args.format] != format_of_name(args.output):
        raise OptionError(f'--format {args.format} does not fit -o {shown(args.output)}', way_out='Leave it out.')
    return plan_outputs(found.photographs, args.output, args.format, args.suffix, into_file)


def _upscaler(args: argparse.Namespace, network: LoadedNetwork, outscale: float | None) -> PhotoUpscaler:
    named = {key: getattr(args, key) for key in ('tile', 'overlap', 'device', 'half', 'color_match')}
    return PhotoUpscaler(network, outscale=outscale, say=_note, **named)


def _run_all(
    args: argparse.Namespace, upscaler: PhotoUpscaler, items: Sequence[Item], record: Record
) -> tuple[list[Item], list[Item], list[PDDError]]:
    """Upscale with a bar on a terminal, and a line for each photograph elsewhere.

    Returns what was written, what was there already, and an error for each photograph that failed.
    """
    todo, kept = pending(items, upscaler.settings(args.quality), record, args.overwrite)
    written, errors = [], []
    with tqdm(total=len(todo), desc=upscaler.network.name, unit='image', disable=None, file=sys.stderr) as bar:

        def progress(item: Item, done: int, total: int) -> None:
            bar.set_postfix_str(f'{shown(item.source.name)} {done}/{total} tiles')

        for number, (item, notes, error) in enumerate(run_job(upscaler, todo, record, args.quality, progress), 1):
            for text in notes:
                _note(f'{shown(item.source)}: {text}')
            if error is None:
                written.append(item)
            else:
                errors.append(error)
            bar.update()
            if bar.disable:
                how = shown(item.target) if error is None else 'FAILED'
                _tell(f'{number}/{len(todo)} {shown(item.source)} -> {how}')
    return written, kept, errors


def _plan_of_generalist(args: argparse.Namespace, name: str, items: Sequence[Item]) -> list[Item]:
    """PNGs of the generalist called `name`, for the page."""
    sources = [Source(item.source, Path(item.name), None) for item in items]
    return plan_outputs(sources, args.output / FOLDER / name)


def _compare(
    args: argparse.Namespace,
    generalist: LoadedNetwork,
    upscaler: PhotoUpscaler,
    items: Sequence[Item],
    theirs: Sequence[Item],
) -> list[PDDError]:
    """Write the page of `items` beside `theirs`, the generalist's. Returns an error for each that it failed on."""
    done = {item.source for item in items}
    theirs, folder = [item for item in theirs if item.source in done], args.output / FOLDER / generalist.name
    written, kept, errors = _run_all(args, _upscaler(args, generalist, upscaler.outscale), theirs, Record(folder))
    page = args.output / PAGE
    count, reductions = write_comparison(page, items, [*written, *kept], upscaler.network.name, generalist.name)
    for text in reductions:
        _note(text)
    say(f'{shown(page)}: {count} of {len(items)} photographs beside {generalist.name}. Open it in a browser.')
    return errors


def _dry_run(
    args: argparse.Namespace, upscaler: PhotoUpscaler, items: Sequence[Item], record: Record, found: Found
) -> int:
    todo, kept = pending(items, upscaler.settings(args.quality), record, args.overwrite)
    errors = []
    for item in todo:
        try:
            height, width, large, wide = check(upscaler, item)
        except PDDError as error:
            errors.append(error.with_fields(where=shown(item.source)))
            continue
        say(f'{shown(item.source)} ({width} x {height}) -> {shown(item.target)} ({wide} x {large})')
    errors += found.unreadable
    for one in errors:
        say(f'{one.where}: would fail: {one.with_fields(where="")}')
    for text in found.left_out():
        say(text)
    failing = f', {len(errors)} would fail' if errors else ''
    say(f'{len(todo)} to do, {len(kept)} done already{failing}. Nothing was written.')
    return 1 if errors else 0


def _end(
    args: argparse.Namespace, found: Found, written: Sequence[Item], kept: Sequence[Item], errors: Sequence[PDDError]
) -> int:
    """Say what was done, and what was not and why; gives the exit status."""
    already = f', {len(kept)} done already' if kept else ''
    say(f'{len(written)} written to {shown(args.output)}{already}, {len(errors)} failed')
    for text in found.left_out():
        say(text)
    for error in errors:
        sys.stderr.write(f'pdd upscale: FAILED: {error}\n')
    return 1 if errors else 0


def run(args: argparse.Namespace) -> int:
    """Upscale. Returns 0, or 1 if a photograph failed, even if only with the generalist; other errors are raised."""
    into_file = _into_file(args)
    record = Record(None if into_file else args.output)
    found = _found(args, record)
    items = _items(args, found, into_file)
    if not items:  # then there are photographs that cannot be read
        return _end(args, found, [], [], found.unreadable)
    if args.model is None:
        say(
            f'NO --model GIVEN: using {DEFAULT_MODEL}, a published generalist that knows nothing of your camera '
            '(`pdd adapt` makes a model that does).'
        )
    network = load_network(DEFAULT_MODEL if args.model is None else args.model, '--model')
    generalist = None if args.compare is None else load_network(args.compare, '--compare')
    theirs = _plan_of_generalist(args, generalist.name, items) if generalist else []
    upscaler = _upscaler(args, network, args.outscale)
    tile = 'tiles from free memory' if args.tile == AUTO else f'tiles of {args.tile}' if args.tile else 'no tiles'
    say(
        f'{network.name} (x{network.scale}, {shown(network.file)}) on {upscaler.device}, '
        f'{"fp16" if args.half else "fp32"}, {tile}; {len(items)} photographs, x{upscaler.outscale:g}'
    )
    if args.dry_run:
        return _dry_run(args, upscaler, items, record, found)
    missing: list[str] = []
    try:
        with record.alone():
            written, kept, errors = _run_all(args, upscaler, items, record)
            if generalist is not None and (written or kept):
                errors_there = _compare(args, generalist, upscaler, [*written, *kept], theirs)
                missing = [f'FAILED with {generalist.name}: {error}' for error in errors_there]
    except KeyboardInterrupt:
        sys.stderr.write('pdd upscale: stopped; the same command again continues\n')
        raise
    status = _end(args, found, written, kept, [*errors, *found.unreadable])
    for text in missing:
        sys.stderr.write(f'pdd upscale: {text}\n')
    return 1 if missing else status


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register `upscale` with the `pdd` command."""
    more = (
        'Orientation, colour profile, metadata, transparency and 16 bits are kept where the output format has a place '
        'for them, and what is lost is reported. Photographs that cannot be read are listed at the end, and the exit '
        'status is then 1. After an interruption the same command continues.'
    )
    help = 'upscale photographs (files, folders, patterns) with an adapted or published network'
    example = "pdd upscale photos 'more/*.jpg' -o large --model adapted --outscale 2.5"
    add = add_subcommand(subparsers, 'upscale', run, help, more, example).add_argument
    text = 'weight file, folder made by `pdd adapt`, or a published network such as RealESRGAN_x4plus'
    add('inputs', nargs='+', metavar='INPUT', help='files, folders, or patterns such as "photos/*.jpg"')
    add('-o', '--output', type=file_path, required=True, metavar='OUT', help='folder; for one photograph also a file')
    add('--model', type=word, metavar='FILE', help=f'{text} (default: {DEFAULT_MODEL})')
    add('--outscale', type=float, metavar='X', help='times the size of the input (default: the scale of the network)')
    add('--tile', type=_tile, default=AUTO, metavar='N', help='side in pixels; 0: no tiles (default: from free memory)')
    add('--overlap', type=whole_number(0), default=32, metavar='N', help='pixels taken in beyond a tile (default: 32)')
    add('--device', metavar='NAME', help='device the network runs on: cpu, cuda, cuda:1 ... (default: a GPU, if any)')
    add('--half', action='store_true', help='compute in fp16, on a GPU')
    add('--color-match', action='store_true', help='give each colour channel the mean and spread of the input')
    add('--format', choices=FORMATS, default=SAME, help='format of the outputs (default: same as the input)')
    text = f'quality of JPEG and WebP; 100: lossless WebP (default: {QUALITY})'
    add('--quality', type=whole_number(1, 100), default=QUALITY, metavar='N', help=text)
    add(
        '--suffix',
        type=checked(str, lambda text: not {*text} & {*'/\0'}, 'what a file name can hold'),
        default='',
        metavar='TEXT',
        help='text appended to the names, such as _x4',
    )
    add('--recursive', action='store_true', help='search sub-folders as well')
    add(
        '--compare',
        type=word,
        metavar='GENERALIST',
        help=f'also upscale with this network, and show both in OUT/{PAGE}',
    )
    add('--overwrite', action='store_true', help='replace files that are in the way')
    add('--dry-run', action='store_true', help='only say what would be done')


def _tile(text: str) -> int | str:
    return AUTO if text == AUTO else whole_number(0)(text)
