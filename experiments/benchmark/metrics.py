"""Times LPIPS on many images: its network built once, against built for every image.

    python experiments/benchmark/metrics.py -o metrics_cpu.json
    python experiments/benchmark/metrics.py --sizes 1024 --nets alex,vgg -o metrics_gpu.json   (a GPU is used if there)

Built for every image means what a metric does that calls ``lpips.LPIPS(net=...)`` inside: torchvision's network, its
weights out of the cache on disk, the linear layers, and then the image. Both ways take turns in blocks of ten images,
and the time of ours includes its one building. Weights are seeded random ones in files of the real size: speed does
not depend on them. Both numbers of each image are compared.
"""

import argparse
import contextlib
import tempfile
import time
import warnings
from pathlib import Path

import pdd_arch  # noqa: F401  # isort: skip  makes basicsr importable
import lpips
import numpy as np
import torch
import torchvision
from basicsr.metrics import calculate_metric
from machine import description, synchronise
from output import publish

from pdd_arch.metrics import lpips_metric
from pdd_arch.metrics.images import device, to_tensor

BLOCK = 10


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--nets', default='alex,squeeze', help='alex, vgg, squeeze')
    parser.add_argument('--sizes', default='64,128,256', help='sides of the images')
    parser.add_argument('--images', type=int, default=100)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('-o', '--output', type=Path, help='JSON file; a table is written beside it')
    return parser.parse_args()


def weights(net: str, cache: Path) -> str:
    """A file of seeded weights where torchvision looks for the ImageNet ones."""
    trunk = lpips_metric.TRUNKS[net]
    url = torchvision.models.get_model_weights(trunk)['IMAGENET1K_V1'].url
    file = cache / 'checkpoints' / url.rsplit('/', 1)[1]
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        torch.manual_seed(0)
        torch.save(getattr(torchvision.models, trunk)(weights=None).state_dict(), file)
    return str(file)


def rebuilt(net: str, images: tuple[np.ndarray, np.ndarray]) -> float:
    """LPIPS of two images with a network of its own."""
    model = lpips.LPIPS(net=net, verbose=False).to(device())
    with torch.no_grad():
        return model(*(to_tensor(image, 0) for image in images), normalize=True).item()


def measure(net: str, side: int, count: int, file: str) -> dict:
    """Seconds of both ways for `count` images, and the largest difference of their numbers."""
    rng = np.random.default_rng(0)
    pairs = [tuple(rng.integers(0, 256, (2, side, side, 3), dtype=np.uint8)) for _ in range(count)]
    options = dict(type='calculate_lpips', crop_border=0, net=net, weights=file)
    lpips_metric.network.cache_clear()
    seconds, numbers = {'once': 0.0, 'every image': 0.0}, {'once': [], 'every image': []}
    ways = {
        'every image': lambda pair: rebuilt(net, pair),
        'once': lambda pair: calculate_metric(dict(img=pair[0], img2=pair[1]), options),
    }
    for start in range(0, count, BLOCK):
        for way, compute in ways.items():
            began = time.perf_counter()
            numbers[way] += [compute(pair) for pair in pairs[start : start + BLOCK]]
            synchronise(device().type)
            seconds[way] += time.perf_counter() - began
    difference = np.abs(np.subtract(*numbers.values())).max()
    ratio = seconds['every image'] / seconds['once']
    return dict(net=net, side=side, images=count, seconds=seconds, ratio=ratio, largest_difference=float(difference))


def table(result: dict) -> str:
    machine = result['machine']
    text = f'{machine["device"]}, {machine["threads"]} thread(s), torch {machine["torch"]}\n\n'
    text += '| LPIPS | images | built for every image, s | built once, s | ratio | largest difference |\n'
    text += '|---|---|---:|---:|---:|---:|\n'
    for row in result['rows']:
        every, once = row['seconds']['every image'], row['seconds']['once']
        text += f'| {row["net"]} | {row["images"]} of {row["side"]}x{row["side"]} | {every:.1f} | {once:.2f} '
        text += f'| {row["ratio"]:.1f} | {row["largest_difference"]:.1e} |\n'
    return text


def main() -> None:
    args = parse()
    warnings.simplefilter('ignore', UserWarning)  # lpips calls torchvision in an old way
    torch.set_num_threads(args.threads)
    rows = []
    with tempfile.TemporaryDirectory() as cache, contextlib.ExitStack() as stack:
        before = torch.hub.get_dir()
        torch.hub.set_dir(cache)
        stack.callback(torch.hub.set_dir, before)
        for net in args.nets.split(','):
            file = weights(net, Path(cache))
            rows += [measure(net, int(side), args.images, file) for side in args.sizes.split(',')]
    result = dict(machine=description(device().type), rows=rows)
    publish(result, table(result), args.output)


if __name__ == '__main__':
    main()
