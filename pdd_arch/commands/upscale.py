"""`pdd upscale`: photographs, whole folders of them, through a network."""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from pdd_arch.commands.numbers import whole_number
from pdd_arch.errors import OptionError, PDDError
from pdd_arch.images.decoding import image_size
from pdd_arch.images.names import is_image_name
from pdd_arch.inference import AUTO, LoadedNetwork, load_network
from pdd_arch.photo_files import EXTENSIONS, QUALITY, format_of_name
from pdd_arch.upscaling import (
    Events,
    Item,
    Outcome,
    PhotoUpscaler,
    Record,
    find_inputs,
    job_settings,
    pending,
    plan_outputs,
    run_job,
)
from pdd_arch.upscaling.compare import FOLDER, PAGE, write_comparison
from pdd_arch.upscaling.inputs import FORMATS, SAME
from pdd_arch.utils.output import say
from pdd_arch.utils.wording import shown

DEFAULT_MODEL = 'zoo:realesr-general-x4v3'


class Progress(Events):
    """A bar on a terminal; a line for each photograph elsewhere."""

    def __init__(self, what: str) -> None:
        self._what, self._bar, self._total, self._ended = what, None, 0, 0

    def begin(self, total: int) -> None:
        """As `Events.begin`."""
        self._total = total
        self._bar = tqdm(total=total, desc=self._what, unit='image', disable=None, file=sys.stderr)

    def tiles(self, item: Item, done: int, total: int) -> None:
        """As `Events.tiles`."""
        self._bar.set_postfix_str(f'{item.source.name} {done}/{total} tiles')

    def note(self, item: Item, text: str) -> None:
        """As `Events.note`."""
        self.warn(f'{shown(item.source)}: {text}')

    def end(self, item: Item, reason: str | None) -> None:
        """As `Events.end`."""
        self._ended += 1
        self._bar.update()
        if self._bar.disable:
            how = shown(item.target) if reason is None else 'FAILED'
            self._write(f'{self._ended}/{self._total} {shown(item.source)} -> {how}')

    def warn(self, text: str) -> None:
        """A note that does not break the bar."""
        self._write(f'pdd upscale: NOTE: {text}')

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()

    @staticmethod
    def _write(text: str) -> None:
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()


def _load(args: argparse.Namespace) -> LoadedNetwork:
    if args.model is None:
        say(
            f'NO --model GIVEN: using {DEFAULT_MODEL}, a published generalist that knows nothing of your camera '
            '(`pdd adapt` makes a model that does).'
        )
    return load_network(args.model or DEFAULT_MODEL, '--model')


def _items(args: argparse.Namespace, record: Record, into_file: bool) -> list[Item]:
    def is_output(path: Path) -> bool:
        path, folder = path.resolve(), args.output.resolve()
        if folder not in path.parents:
            return False
        below = path.relative_to(folder)
        return record.is_output(below.as_posix()) or (below.parts[0] == FOLDER and args.compare is not None)

    sources = find_inputs(args.inputs, args.recursive, is_output)
    if into_file and (len(sources) > 1 or not Path(args.inputs[0]).is_file()):
        raise OptionError(
            f'-o {shown(args.output)}: a file takes the output of one photograph, found {len(sources)} in what was '
            'given. Give a folder.'
        )
    if into_file and args.format != SAME and FORMATS[args.format] != format_of_name(args.output):
        raise OptionError(f'--format {args.format} does not fit -o {shown(args.output)}. Leave it out.')
    return plan_outputs(sources, args.output, args.format, args.suffix, into_file)


def _upscaler(args: argparse.Namespace, network: LoadedNetwork, outscale: float | None, progress: Progress):
    return PhotoUpscaler(
        network,
        tile=args.tile,
        overlap=args.overlap,
        device=args.device,
        half=args.half,
        outscale=outscale,
        color_match=args.color_match,
        say=progress.warn,
    )


def _run_all(args: argparse.Namespace, upscaler: PhotoUpscaler, items, record: Record, progress: Progress) -> Outcome:
    try:
        return run_job(upscaler, items, record, quality=args.quality, overwrite=args.overwrite, events=progress)
    except KeyboardInterrupt:
        progress.close()
        sys.stderr.write('pdd upscale: stopped; the same command again continues\n')
        raise
    finally:
        progress.close()


def _compare(
    args: argparse.Namespace, generalist: LoadedNetwork, name: str, items, outscale: float
) -> list[tuple[Item, str]]:
    """Writes the page. Returns the photographs that the generalist failed on, with the reason."""
    folder = args.output / FOLDER / generalist.name
    progress = Progress(generalist.name)
    theirs = plan_outputs({i.source: Path(i.name) for i in items}, folder, 'png')
    outcome = _run_all(args, _upscaler(args, generalist, outscale, progress), theirs, Record(folder), progress)
    page = args.output / PAGE
    done = [*outcome.written, *outcome.kept]
    count, reductions = write_comparison(page, items, done, name, generalist.name)
    for text in reductions:
        sys.stderr.write(f'pdd upscale: NOTE: {text}\n')
    say(f'{shown(page)}: {count} of {len(items)} photographs beside {generalist.name}. Open it in a browser.')
    return outcome.broken


def _dry_run(upscaler: PhotoUpscaler, items, record: Record, args: argparse.Namespace) -> int:
    todo, kept = pending(items, job_settings(upscaler, args.quality), record, args.overwrite)
    status = 0
    for item in todo:
        try:
            height, width = image_size(item.source)
        except PDDError as error:
            say(f'{shown(item.source)}: would fail: {str(error).removeprefix(f"{shown(item.source)}: ")}')
            status = 1
            continue
        large, wide = upscaler.output_size(height, width)
        say(f'{shown(item.source)} ({width} x {height}) -> {shown(item.target)} ({wide} x {large})')
    say(f'{len(todo)} to do, {len(kept)} done already. Nothing was written.')
    return status


def run(args: argparse.Namespace) -> int:
    """Upscales. Returns 0, or 1 if a photograph failed, also with the generalist only; other errors are raised."""
    into_file = format_of_name(args.output) is not None and not args.output.is_dir()
    if not into_file and not args.output.is_dir() and is_image_name(args.output.name):
        raise OptionError(
            f'-o {shown(args.output)}: images of this kind are not written. Give a folder, or a name '
            f'that ends in {", ".join(names[0] for names in EXTENSIONS.values())}'
        )
    if not into_file and args.output.exists() and not args.output.is_dir():
        raise OptionError(f'-o {shown(args.output)}: is a file; expected a folder, or a name such as large.png')
    if into_file and args.compare is not None:
        raise OptionError('--compare: writes a page beside the outputs; give a folder as -o')
    record = Record(None if into_file else args.output)
    items = _items(args, record, into_file)
    network = _load(args)
    generalist = None if args.compare is None else load_network(args.compare, '--compare')
    progress = Progress(network.name)
    upscaler = _upscaler(args, network, args.outscale, progress)
    tile = 'tiles from free memory' if args.tile == AUTO else f'tiles of {args.tile}' if args.tile else 'no tiles'
    say(
        f'{network.name} (x{network.scale}, {shown(network.file)}) on {upscaler.device}, '
        f'{"fp16" if args.half else "fp32"}, {tile}; {len(items)} photographs, x{upscaler.outscale:g}'
    )
    if args.dry_run:
        return _dry_run(upscaler, items, record, args)
    missing = []
    with record.alone():
        outcome = _run_all(args, upscaler, items, record, progress)
        done = [*outcome.written, *outcome.kept]
        if generalist is not None and done:
            missing = _compare(args, generalist, network.name, done, upscaler.outscale)
    already = f', {len(outcome.kept)} done already' if outcome.kept else ''
    say(f'{len(outcome.written)} written to {shown(args.output)}{already}, {len(outcome.broken)} failed')
    for item, reason in outcome.broken:
        sys.stderr.write(f'pdd upscale: FAILED: {shown(item.source)}: {reason}\n')
    for item, reason in missing:
        sys.stderr.write(f'pdd upscale: FAILED with {generalist.name}: {shown(item.source)}: {reason}\n')
    return 1 if outcome.broken or missing else 0


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Registers `upscale` with the `pdd` command."""
    parser = subparsers.add_parser(
        'upscale',
        help='upscale photographs: files, folders, patterns',
        description='Upscales photographs with an adapted or published network. Orientation, colour profile, metadata, '
        'transparency and 16 bits are kept where the format of the output has a place for them; what is lost is said. '
        'A photograph that cannot be read is reported at the end, and the exit status is 1. After an interruption the '
        'same command continues.',
        epilog="example: pdd upscale photos 'more/*.jpg' -o large --model adapted --outscale 2.5",
    )
    add = parser.add_argument
    add('inputs', nargs='+', metavar='INPUT', help='files, folders, or patterns such as "photos/*.jpg"')
    add('-o', '--output', type=Path, required=True, metavar='OUT', help='folder; for one photograph also a file')
    add(
        '--model',
        metavar='FILE',
        help='weight file, folder made by `pdd adapt`, or a published network such as RealESRGAN_x4plus '
        f'(default: {DEFAULT_MODEL})',
    )
    add('--outscale', type=float, metavar='X', help='times the size of the input (default: that of the network)')
    add('--tile', type=_tile, default=AUTO, metavar='N', help='pixels a side; 0: no tiles (default: from free memory)')
    add('--overlap', type=whole_number(0), default=32, metavar='N', help='pixels that a tile sees beyond (default: 32)')
    add('--device', metavar='NAME', help='cpu, cuda, cuda:1 ... (default: a GPU where there is one)')
    add('--half', action='store_true', help='compute in fp16, on a GPU')
    add('--color-match', action='store_true', help="give the result the input's mean and spread of each colour")
    add('--format', choices=FORMATS, default=SAME, help='of the outputs (default: same as the input)')
    add(
        '--quality',
        type=whole_number(1, 100),
        default=QUALITY,
        metavar='N',
        help=f'of JPEG and WebP; 100: lossless WebP (default: {QUALITY})',
    )
    add('--suffix', type=_suffix, default='', metavar='TEXT', help='put behind the names, such as _x4')
    add('--recursive', action='store_true', help='go into sub-folders')
    add('--compare', metavar='GENERALIST', help=f'also upscale with this network, and write OUT/{PAGE}: both, to slide')
    add('--overwrite', action='store_true', help='replace files that are in the way')
    add('--dry-run', action='store_true', help='say what would be done')
    parser.set_defaults(run=run)


def _tile(text: str) -> int | str:
    return AUTO if text == AUTO else whole_number(0)(text)


def _suffix(text: str) -> str:
    if '/' in text or '\0' in text:
        raise argparse.ArgumentTypeError(f'expected what a file name can hold, found {text!r}')
    return text
