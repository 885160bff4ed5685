"""How fast training samples come: decoding photographs every time, against the cache in memory.

    python experiments/benchmark/data.py -o data.json
    python experiments/benchmark/data.py --photographs FOLDER --step-time 0.35      # share of such a step spent waiting

Without `--photographs`, PNG files of 2 megapixels with the statistics of photographs (sums of smoothed noise) are made.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from machine import description
from torch.utils.data import DataLoader

from pdd_arch.data.unpaired_adaptation_dataset import UnpairedAdaptationDataset

SCALE = 4


def photograph(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8: noise at all scales, as much in each octave, and a little at the finest."""
    image = np.zeros((height, width, 3), np.float32)
    for octave in range(1, 9):
        small = rng.standard_normal((height >> octave or 1, width >> octave or 1, 3)).astype(np.float32)
        image += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    image = 128 + 24 * image + 2 * rng.standard_normal(image.shape).astype(np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)


def make_photographs(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for i in range(count):
        cv2.imwrite(str(folder / f'{i:03d}.png'), photograph(rng, 1224, 1632))


def loader(folder: Path, cache: str, workers: int, args: argparse.Namespace) -> DataLoader:
    dataset = UnpairedAdaptationDataset(
        {
            'phase': 'train', 'scale': SCALE, 'dataroot_gt': str(folder), 'dataroot_lq': str(folder),
            'io_backend': {'type': 'disk'}, 'gt_size': args.side * SCALE, 'cache': cache,
        }
    )  # fmt: skip
    indices = [i % len(dataset) for i in range(args.batch * args.batches)]
    return DataLoader(
        dataset, args.batch, sampler=indices, num_workers=workers, drop_last=True, persistent_workers=workers > 0
    )


def rate(data: DataLoader) -> float:
    """Samples (an HR crop and an LR crop each) a second; the first pass starts workers and does not count."""
    for _ in data:
        break
    start, count = time.perf_counter(), 0
    for batch in data:
        count += len(batch['gt'])
    return count / (time.perf_counter() - start)


def waiting(data: DataLoader, seconds: float) -> float:
    """Share of the time that a loop whose step takes `seconds` waits for data, after its first batch."""
    iterator, waits = iter(data), []
    next(iterator)
    begun = time.perf_counter()
    while True:
        time.sleep(seconds)
        start = time.perf_counter()
        if next(iterator, None) is None:
            break
        waits.append(time.perf_counter() - start)
    return sum(waits) / (time.perf_counter() - begun)


def run(folder: Path, args: argparse.Namespace) -> dict:
    loaders = {
        (cache, workers): loader(folder, cache, workers, args)
        for cache in ('none', 'ram')
        for workers in (0, args.workers)
    }
    rates: dict[tuple, list[float]] = {key: [] for key in loaders}
    for _ in range(args.turns):
        for key, data in loaders.items():  # in turns: the machine's speed may drift
            rates[key].append(rate(data))
    files = sorted(folder.iterdir())
    result = {
        'machine': description('cpu'),
        'photographs': {'files': len(files), 'shape': list(cv2.imread(str(files[0])).shape)},
        'crop': args.side * SCALE,
        'batch': args.batch,
        'samples_per_second': {f'{c}, {w} workers': statistics.median(r) for (c, w), r in rates.items()},
        'times_as_fast': {
            f'{w} workers': statistics.median(a / b for a, b in zip(rates['ram', w], rates['none', w], strict=True))
            for w in (0, args.workers)
        },
    }
    if args.step_time:
        result['waiting'] = {
            f'{c}, {w} workers': waiting(data, args.step_time) for (c, w), data in loaders.items() if w
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--photographs', type=Path, help='folder of photographs, taken for both domains')
    parser.add_argument('--count', type=int, default=24, help='of photographs that are made')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--batches', type=int, default=20)
    parser.add_argument('--side', type=int, default=48, help='of the LR crops')
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--turns', type=int, default=3)
    parser.add_argument('--step-time', type=float, help='seconds of a training step: measures the share of waiting')
    parser.add_argument('-o', type=Path, help='write the result as JSON to this file')
    args = parser.parse_args()
    if args.photographs is not None:
        result = run(args.photographs, args)
    else:
        with tempfile.TemporaryDirectory() as folder:
            make_photographs(Path(folder), args.count)
            result = run(Path(folder), args)
    text = json.dumps(result, indent=1)
    sys.stdout.write(text + '\n')
    if args.o:
        args.o.write_text(text + '\n')


if __name__ == '__main__':
    main()
