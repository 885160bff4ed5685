"""Networks on pairs of LR and HR photographs: PSNR, SSIM and feature distance.

python experiments/adaptation/measure.py --lr FOLDER --hr FOLDER --features squeezenet1_0.pth MODEL [MODEL ...]

MODEL: what `pdd upscale --model` takes. RGB, 4 border pixels left out; the feature distance is that of
`calculate_feature_distance` with SqueezeNet 1.0.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from pdd_arch.inference import TiledUpscaler, load_network
from pdd_arch.metrics.measuring import Measure, format_table, measure_methods, registered_measure


def measures(features: Path) -> list[Measure]:
    """The columns, with SqueezeNet's weights in a file."""
    network = {'type': 'squeezenet1_0', 'weights': str(features)}
    distance = dict(type='calculate_feature_distance', crop_border=4, feature_net=network, better='lower')
    return [
        registered_measure('PSNR', dict(type='calculate_psnr', crop_border=4), decimals=2),
        registered_measure('SSIM', dict(type='calculate_ssim', crop_border=4)),
        registered_measure('feature distance', distance),
    ]


def read_pairs(lr: Path, hr: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images of the same name in two folders."""
    return {p.stem: (cv2.imread(str(p)), cv2.imread(str(hr / p.name))) for p in sorted(lr.iterdir())}


def upscaler(model: str):
    """A function from an LR to an HR image."""
    loaded = load_network(model)
    return TiledUpscaler(loaded.net, loaded.scale)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('models', nargs='+', metavar='MODEL')
    for name in ('--lr', '--hr', '--features'):
        parser.add_argument(name, type=Path, required=True)
    args = parser.parse_args()
    columns, pairs = measures(args.features), read_pairs(args.lr, args.hr)
    _, scores = measure_methods(pairs, {m: upscaler(m) for m in args.models}, columns)
    print(format_table(scores, columns, f'mean over {len(pairs)} pairs', markdown=True))


if __name__ == '__main__':
    main()
