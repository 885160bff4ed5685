"""Cost of a step against batch size, crop and number of feature layers.

    python experiments/benchmark/curves.py -o curves.json
    python experiments/benchmark/curves.py --device cuda --blocks 23 --batches 1,2,4,8,16 --sides 24,32,48,64,96

Growth is that of the time against that of the pixels from row to row: 1 is linear. Beside it, the same of a lone 3 x 3
convolution over as many pixels of the output: what the machine itself does with larger images.
"""

import argparse
import itertools
import math
import statistics
import time
from copy import deepcopy
from pathlib import Path

import torch
from configurations import CONFIGURATIONS, batch, build, run_options
from machine import best_time, description, synchronise
from output import publish
from torch.nn import functional as F

LAYERS = ('conv2_1', 'conv3_1', 'conv4_1', 'conv5_1')


def seconds(options: dict, size: int, side: int, args: argparse.Namespace) -> float:
    """Median time of a step."""
    model = build(options, args.configuration, args.device)
    times = []
    for i in range(args.turns + 1):
        model.feed_data(batch(size, side, options['scale'], i))
        synchronise(args.device)
        start = time.perf_counter()
        model.optimize_parameters(i + 2)
        synchronise(args.device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def with_layers(options: dict, count: int) -> dict:
    """The distances on the first `count` layers only; everything is as deep as ever for the perceptual loss."""
    chosen = dict.fromkeys(LAYERS[:count], 0.25)
    changed = deepcopy(options)
    changed['train']['distill_opt'] |= dict(inter_layers=chosen, intra_layers=chosen)
    return changed


def convolution(pixels: int, images: int, device: str) -> float:
    """Seconds of a 3 x 3 convolution with 64 channels over square images, forward and backward."""
    side = round(math.sqrt(pixels / images))
    weight = torch.randn(64, 64, 3, 3, device=device, requires_grad=True)
    x = torch.randn(images, 64, side, side, device=device).to(memory_format=torch.channels_last).requires_grad_()
    return best_time(lambda: F.conv2d(x, weight, padding=1).sum().backward(), device)


def growth(rows: list[dict]) -> None:
    """Add the exponents of time against pixels between neighbouring rows."""
    for before, row in itertools.pairwise(rows):
        pixels = math.log(row['pixels'] / before['pixels'])
        row['exponent'] = math.log(row['seconds'] / before['seconds']) / pixels
        row['convolution'] = math.log(row['lone'] / before['lone']) / pixels


def run(args: argparse.Namespace) -> dict:
    options = run_options(args.blocks)
    by_batch = [
        dict(batch=n, seconds=seconds(options, n, args.side, args), pixels=n * args.side**2) for n in args.batches
    ]
    by_side = [
        dict(side=s, seconds=seconds(options, args.batch, s, args), pixels=args.batch * s**2) for s in args.sides
    ]
    for rows in (by_batch, by_side):
        for row in rows:
            images = 2 * row.get('batch', args.batch)  # of both domains
            row['lone'] = convolution(2 * row['pixels'] * options['scale'] ** 2, images, args.device)
        growth(rows)
    by_layers = [
        dict(layers=n, seconds=seconds(with_layers(options, n), args.batch, args.side, args)) for n in args.layers
    ]
    return {
        'machine': description(args.device),
        'blocks': args.blocks,
        'configuration': args.configuration,
        'batch': by_batch,
        'crop': by_side,
        'layers of each distance': by_layers,
    }


def table(result: dict) -> str:
    """Markdown."""
    text = ''
    for title in ('batch', 'crop', 'layers of each distance'):
        text += f'| {title} | seconds | growth | of a lone convolution |\n|---|---|---|---|\n'
        for row in result[title]:
            growths = [f'{row[k]:.2f}' if k in row else '' for k in ('exponent', 'convolution')]
            text += f'| {next(iter(row.values()))} | {row["seconds"]:.3f} | {" | ".join(growths)} |\n'
        text += '\n'
    return text


def main() -> None:
    def numbers(text: str) -> list[int]:
        return [int(n) for n in text.split(',')]

    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--configuration', choices=CONFIGURATIONS, default='float32 channels_last')
    parser.add_argument('--blocks', type=int, default=2, help='of the RRDBNet')
    parser.add_argument('--batches', type=numbers, default='1,2,4', help='images of each domain')
    parser.add_argument('--sides', type=numbers, default='16,24,32,48', help='of the LR crops')
    parser.add_argument('--batch', type=int, default=2, help='where the crop varies')
    parser.add_argument('--side', type=int, default=24, help='where the batch varies')
    parser.add_argument('--layers', type=numbers, default='1,2,3,4', help='of each distance')
    parser.add_argument('--turns', type=int, default=3)
    parser.add_argument('--threads', type=int, help='of torch')
    parser.add_argument('-o', type=Path, help='write the result as JSON to this file, and tables beside it')
    args = parser.parse_args()
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda: this machine has no CUDA device')
    if args.threads:
        torch.set_num_threads(args.threads)
    result = run(args)
    publish(result, table(result), args.o)


if __name__ == '__main__':
    main()
