"""Times tiled upscaling against Real-ESRGAN's `RealESRGANer`, with the same network in both.

    python experiments/benchmark/inference.py --weights realesr-general-x4v3.pth --images photo.jpg -o inference.json
    python experiments/benchmark/inference.py --network rrdb --blocks 23 --device cuda \\
        --methods "RealESRGANer,RealESRGANer half,fp32,fp16,bf16,fp16 batch4,fp16 compiled"

A method is ``RealESRGANer``, with ``half`` or ``own`` (its own overlap of 10 pixels and padding of the image), or words
about `TiledUpscaler`: ``fp32``, ``fp16``, ``bf16``, ``contiguous`` (not channels_last), ``compiled``, ``batchN``,
``default`` (its own tile and overlap), ``untiled``. Methods take turns in one process and ratios are taken turn by
turn; the large image is upscaled by each in a process of its own, where its memory is measured.
"""

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pdd_arch  # noqa: F401  # isort: skip  makes basicsr and realesrgan importable
import numpy as np
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from machine import description, synchronise
from output import publish
from realesrgan import RealESRGANer
from receptive_field import receptive_radius
from step import highest_memory

from pdd_arch.images.decoding import read_raw
from pdd_arch.inference import PRECISIONS, TiledUpscaler
from pdd_arch.weights.checkpoints import PARAM_KEYS, check_fits, read_checkpoint, state_dict_of

SCALE = 4
Method = Callable[[np.ndarray], np.ndarray]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--network', choices=['srvgg', 'rrdb'], default='srvgg')
    parser.add_argument('--blocks', type=int, help='RRDB blocks or convolutions of the network (6; 32)')
    parser.add_argument('--features', type=int, default=64)
    parser.add_argument('--weights', type=Path, help='of that network; otherwise random ones')
    parser.add_argument('--images', type=Path, nargs='+', help='laid side by side and mirrored, as needed')
    parser.add_argument('--methods', default='RealESRGANer,fp32 contiguous,fp32,bf16', help='first: yardstick')
    parser.add_argument('--tile', type=int, default=256)
    parser.add_argument('--overlap', type=int, default=32)
    parser.add_argument('--size', type=size, default='480x320', help='LR image of the turns: width x height')
    parser.add_argument('--turns', type=int, default=5)
    parser.add_argument('--overlaps', default='0,4,8,10,12,16,20,24,28,32,34', help='compared with no tiles')
    parser.add_argument('--overlap-tile', type=int, default=64, help='tile of that comparison')
    parser.add_argument('--large', type=size, default='1500x1000', help='LR image of the memory measurement')
    parser.add_argument('--large-turns', type=int, default=1, help='0: no large image')
    parser.add_argument('--limit', type=int, default=1024, help='MiB that the default may need for the large image')
    parser.add_argument('--threads', type=int, help='of torch')
    parser.add_argument('-o', type=Path, help='write the result as JSON to this file, and a table beside it')
    parser.add_argument('--one', help=argparse.SUPPRESS)  # the child process of a method
    args = parser.parse_args()
    for name in args.methods.split(','):
        if name.split()[0] != 'RealESRGANer' and (unknown := unknown_words(name)):
            parser.error(f'--methods: {unknown[0]!r} of {name!r} is no word about a method')
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda: this machine has no CUDA device')
    args.blocks = args.blocks or {'srvgg': 32, 'rrdb': 6}[args.network]
    return args


def size(text: str) -> tuple[int, int]:
    """(height, width) of 'width x height'."""
    width, height = map(int, text.split('x'))
    return height, width


def unknown_words(name: str) -> list[str]:
    known = {*PRECISIONS, 'contiguous', 'compiled', 'default', 'untiled'}
    return [w for w in name.split() if w not in known and not w.removeprefix('batch').isdigit()]


def build(args: argparse.Namespace) -> torch.nn.Module:
    torch.manual_seed(0)
    if args.network == 'srvgg':
        net = SRVGGNetCompact(3, 3, args.features, args.blocks, SCALE, 'prelu')
    else:
        net = RRDBNet(3, 3, SCALE, args.features, args.blocks)
    if args.weights:
        content = read_checkpoint(args.weights)
        key = next((k for k in PARAM_KEYS if k in content), None)
        state = state_dict_of(content, key, args.weights, 'weights')
        check_fits(net, state, args.weights, 'weights')
        net.load_state_dict(state)
    return net.eval()


def picture(args: argparse.Namespace, height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8: the photographs side by side, or blurred noise."""
    if not args.images:
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (-(-height // 4), -(-width // 4), 3)).repeat(4, 0).repeat(4, 1)[:height, :width]
        return (noise + rng.integers(-8, 9, noise.shape)).clip(0, 255).astype(np.uint8)
    result = np.zeros((height, width, 3), np.uint8)
    count = y = 0
    while y < height:
        x, lowest = 0, height
        while x < width:
            photo = read_raw(args.images[count % len(args.images)])
            # a photograph that comes again is mirrored
            photo = photo[:: (-1) ** (count // len(args.images) // 2), :: (-1) ** (count // len(args.images))]
            part = photo[: height - y, : width - x]
            result[y : y + part.shape[0], x : x + part.shape[1]] = part
            x, lowest, count = x + part.shape[1], min(lowest, part.shape[0]), count + 1
        y += lowest
    return result


def make(name: str, net: torch.nn.Module, args: argparse.Namespace, **changes: int) -> Method:
    """What a method does to an image; `changes`: another tile or overlap."""
    words = name.split()
    geometry = {'tile': args.tile, 'overlap': args.overlap} | changes
    if words[0] == 'RealESRGANer':
        return real_esrganer(net, args, 'half' in words, 'own' in words, **geometry)
    settings = {} if 'default' in words else geometry
    settings |= {'tile': 0} if 'untiled' in words else {}
    settings['batch'] = next((int(w.removeprefix('batch')) for w in words if w.startswith('batch')), 1)
    settings['precision'] = next((w for w in words if w in PRECISIONS), 'fp32')
    return TiledUpscaler(
        net,
        SCALE,
        device=args.device,
        compile='compiled' in words,
        channels_last='contiguous' not in words,
        **settings,
    )


def real_esrganer(net: torch.nn.Module, args: argparse.Namespace, half: bool, own: bool, tile: int, overlap: int):
    with tempfile.TemporaryDirectory() as folder:
        file = f'{folder}/net.pth'
        torch.save({'params': net.state_dict()}, file)
        model = SRVGGNetCompact(3, 3, args.features, args.blocks, SCALE, 'prelu')
        if args.network == 'rrdb':
            model = RRDBNet(3, 3, SCALE, args.features, args.blocks)
        padding = {} if own else {'tile_pad': overlap, 'pre_pad': 0}
        device = torch.device(args.device)
        upscaler = RealESRGANer(SCALE, file, model=model, tile=tile, half=half, device=device, **padding)

    def upscale(image: np.ndarray) -> np.ndarray:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a line for every tile
            return upscaler.enhance(image)[0]

    return upscale


def timed(method: Method, image: np.ndarray, device: str) -> float:
    synchronise(device)
    start = time.perf_counter()
    method(image)
    synchronise(device)
    return time.perf_counter() - start


def speeds(args: argparse.Namespace, net: torch.nn.Module) -> dict[str, dict]:
    """Methods in turns on an image of a few windows."""
    image = picture(args, *args.size)
    names = args.methods.split(',')
    methods = {name: make(name, net, args) for name in names}
    reference = make('fp32 untiled', net, args)(image).astype(int)
    found = {}
    for name, method in methods.items():  # the first call does not count: memory is reserved, networks are compiled
        difference = np.abs(method(image) - reference)
        found[name] = {'largest': int(difference.max()), 'mean': float(difference.mean()), 'times': []}
    for turn in range(args.turns):
        for name in names if turn % 2 == 0 else names[::-1]:
            found[name]['times'].append(timed(methods[name], image, args.device))
    return with_ratios(found)


def with_ratios(found: dict[str, dict]) -> dict[str, dict]:
    yardstick = next(iter(found.values()))['times']
    for entry in found.values():
        entry['seconds'] = statistics.median(entry['times'])
        entry['faster'] = statistics.median(a / b for a, b in zip(yardstick, entry['times'], strict=True))
    return found


def overlaps(args: argparse.Namespace, net: torch.nn.Module) -> list[dict]:
    """Tiled against untiled, in levels of 256, and what it does at the borders of tiles."""
    image = picture(args, *args.size)
    whole = make('fp32 untiled', net, args)(image).astype(np.int16)
    rows = []
    for overlap in map(int, args.overlaps.split(',')):
        method = make('fp32', net, args, tile=args.overlap_tile, overlap=overlap)
        difference = method(image) - whole
        theirs = make('RealESRGANer', net, args, tile=args.overlap_tile, overlap=overlap)(image) - whole
        plan = method.plan(*image.shape[:2])
        borders = [
            steps(difference, [k * SCALE for k in sorted({t.columns.keep_start for t in plan})[1:]]),
            steps(difference.transpose(1, 0, 2), [k * SCALE for k in sorted({t.rows.keep_start for t in plan})[1:]]),
        ]
        at, elsewhere = (np.concatenate([b[i] for b in borders]) for i in (0, 1))
        rows.append(
            {
                'overlap': overlap,
                'largest': int(np.abs(difference).max()),
                'mean': float(np.abs(difference).mean()),
                'above_1': float((np.abs(difference) > 1).mean()),
                'largest_RealESRGANer': int(np.abs(theirs).max()),
                'mean_RealESRGANer': float(np.abs(theirs).mean()),
                'step_at_borders': [float(at.mean()), int(at.max())] if len(at) else [0, 0],
                'step_elsewhere': [float(elsewhere.mean()), int(elsewhere.max())],
            }
        )
    return rows


def steps(difference: np.ndarray, borders: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Sizes of the steps in `difference` from column to column, at the borders of tiles and elsewhere."""
    found = np.abs(np.diff(difference, axis=1))
    at = np.zeros(found.shape[1], bool)
    at[[b - 1 for b in borders]] = True
    return found[:, at].ravel(), found[:, ~at].ravel()


def large_in_this_process(args: argparse.Namespace) -> None:
    """Prints seconds and memory of one method on the large image."""
    net = build(args)
    image = picture(args, *args.large)
    method = make(args.one, net, args)
    # the libraries' own memory, and a compilation; a small image, which hides nothing of what windows take
    method(image if 'compiled' in args.one else image[:64, :64])
    before = highest_memory()
    if args.device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
    seconds = timed(method, image, args.device)
    result = {'seconds': seconds, 'host': highest_memory(), 'host_growth': highest_memory() - before}
    if args.device == 'cuda':
        result['cuda'] = torch.cuda.max_memory_allocated()
    sys.stdout.write(json.dumps(result) + '\n')


def large(args: argparse.Namespace) -> dict[str, dict]:
    """All methods and the defaults on the large image, each in a process of its own."""
    names = [*args.methods.split(','), 'default', 'RealESRGANer own']
    found = {name: {'times': []} for name in dict.fromkeys(names)}
    for turn in range(args.large_turns):
        for name in list(found) if turn % 2 == 0 else list(found)[::-1]:
            command = [sys.executable, *sys.argv, '--one', name]
            child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            one = json.loads(child.stdout.splitlines()[-1])
            found[name]['times'].append(one.pop('seconds'))
            for key, value in one.items():
                found[name][key] = max(value, found[name].get(key, 0))
    return with_ratios(found)


def large_equality(args: argparse.Namespace, net: torch.nn.Module) -> dict:
    """The large image with our defaults and without tiles."""
    image = picture(args, *args.large)
    whole = make('fp32 untiled', net, args)(image)
    upscaler = make('default', net, args)
    tiled = upscaler(image)
    differing = np.abs(np.subtract(tiled, whole, dtype=np.int16))
    return {
        'tile': upscaler.tile,
        'overlap': upscaler.overlap,
        'largest': int(differing.max()),
        'mean': float(differing.mean()),
        'differing': float((differing > 0).mean()),
    }


def run(args: argparse.Namespace) -> dict:
    net = build(args)
    found = {
        'machine': description(args.device),
        'setting': {
            'network': f'{type(net).__name__} {args.blocks} x {args.features}',
            'weights': 'trained' if args.weights else 'random, seed 0',
            'image': f'{len(args.images)} photographs' if args.images else 'synthetic noise',
            'tile': args.tile,
            'overlap': args.overlap,
            'size': list(args.size),
            'overlap_tile': args.overlap_tile,
            'radius': receptive_radius(net, SCALE),
        },
        'speed': speeds(args, net),
        'overlaps': overlaps(args, net),
    }
    if args.large_turns:
        found['large'] = {'size': list(args.large), 'limit': args.limit * 2**20, 'methods': large(args)}
        found['large']['equality'] = large_equality(args, net)
        where = 'cuda' if args.device == 'cuda' else 'host_growth'
        found['large']['within_limit'] = found['large']['methods']['default'][where] <= args.limit * 2**20
    return found


def table(result: dict) -> str:
    """Markdown."""
    s = result['setting']
    height, width = s['size']
    lines = [
        f'{s["network"]}, weights {s["weights"]}, {s["image"]}. '
        + ', '.join(f'{k} {v}' for k, v in result['machine'].items())
        + '.',
        '',
        f'LR {width} x {height}, tile {s["tile"]}, overlap {s["overlap"]}; methods in turns. Differences from fp32 '
        'without tiles, in levels of 256.',
        '',
        '| method | seconds | times as fast | largest difference | mean |',
        '|---|---|---|---|---|',
    ]
    for name, e in result['speed'].items():
        lines.append(f'| {name} | {e["seconds"]:.3f} | {e["faster"]:.2f} | {e["largest"]} | {e["mean"]:.4f} |')
    lines += [
        '',
        f'Tiles of {s["overlap_tile"]} against no tiles, in levels of 256. Beyond {s["radius"]} LR pixels no pixel has '
        'any influence. Steps: of the difference, from pixel to pixel across the borders of tiles and elsewhere.',
        '',
        '| overlap | largest | mean | share above 1 | step at borders: mean, largest | elsewhere | RealESRGANer: '
        'largest | mean |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for e in result['overlaps']:
        at, elsewhere = e['step_at_borders'], e['step_elsewhere']
        lines.append(
            f'| {e["overlap"]} | {e["largest"]} | {e["mean"]:.4f} | {e["above_1"]:.1e} | {at[0]:.3f}, {at[1]} '
            f'| {elsewhere[0]:.3f}, {elsewhere[1]} | {e["largest_RealESRGANer"]} | {e["mean_RealESRGANer"]:.4f} |'
        )
    if 'large' in result:
        lines += large_table(result['large'], s)
    return '\n'.join(lines) + '\n'


def large_table(found: dict, setting: dict) -> list[str]:
    height, width = found['size']
    equality, methods = found['equality'], found['methods']
    cuda = 'cuda' in methods['default']
    lines = [
        '',
        f'LR {width} x {height}: {height * width * SCALE**2 / 1e6:.0f} megapixels of output, each method in a process '
        f'of its own, {len(methods["default"]["times"])} turns. Growth: beyond what libraries, network and input take; '
        f'the output, {height * width * 3 * SCALE**2 / 2**20:.0f} MiB, is part of it.',
        '',
        f'| method | seconds | times as fast | growth of the process | whole process |{" GPU |" if cuda else ""}',
        f'|---|---|---|---|---|{"---|" if cuda else ""}',
    ]
    for name, e in methods.items():
        note = f' (tile {equality["tile"]}, overlap {equality["overlap"]})' if name == 'default' else ''
        lines.append(
            f'| {name}{note} | {e["seconds"]:.1f} | {e["faster"]:.2f} | {e["host_growth"] / 2**20:.0f} MiB '
            f'| {e["host"] / 2**20:.0f} MiB |' + (f' {e["cuda"] / 2**20:.0f} MiB |' if cuda else '')
        )
    return [
        *lines,
        '',
        f'Limit {found["limit"] / 2**20:.0f} MiB for the default: {"kept" if found["within_limit"] else "NOT kept"}. '
        f'Default against no tiles: largest difference {equality["largest"]}, mean {equality["mean"]:.1e} levels; '
        f'{equality["differing"]:.1e} of the values differ.',
    ]


def main() -> None:
    args = parse()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.one:
        large_in_this_process(args)
        return
    result = run(args)
    publish(result, table(result), args.o)


if __name__ == '__main__':
    main()
