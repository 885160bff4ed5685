"""What `pdd adapt` gains with 5, 10, 20, 50 and 90 photographs, on pairs that it never sees.

python experiments/adaptation/photographs.py --data FOLDER --work FOLDER --out experiments/results/photographs

FOLDER (--data) as for experiments/selection/run.py. What is finished in --work is not repeated.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from measure import measures, read_pairs, upscaler

from pdd_arch import adapt
from pdd_arch.metrics.measuring import mean_scores, measure_methods

COUNTS = (5, 10, 20, 50, 90)


def some(folder: Path, count: int, target: Path) -> Path:
    """A folder with `count` of the images, evenly spread."""
    images = sorted(folder.iterdir())
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for i in np.linspace(0, len(images) - 1, count).round().astype(int):
        (target / images[i].name).symlink_to(images[i].resolve())
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ('--data', '--work', '--out'):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument('--domains', nargs='+', default=('phone', 'mixed'))
    parser.add_argument('--counts', nargs='+', type=int, default=COUNTS)
    args = parser.parse_args()
    models = args.data / 'experiments/pretrained_models'
    generalist, features = str(models / 'realesr_general_x4.pth'), models / 'squeezenet1_0.pth'
    args.out.mkdir(parents=True, exist_ok=True)
    for domain in args.domains:
        root = args.data / 'datasets' / ('city100' if domain == 'phone' else domain)
        hr = args.data / 'datasets/photos_hr' if domain == 'phone' else root / 'hr'
        pairs = read_pairs(root / 'test_lr', root / 'test_hr')
        for count in (0, *args.counts):
            file = args.out / f'{domain}_{count}.json'
            if file.is_file():
                continue
            record, model = {}, generalist
            if count:
                chosen = some(root / 'train_lr', count, args.work / f'{domain}_{count}_photographs')
                made = args.work / f'{domain}_{count}'
                result = adapt(chosen, hr, made, generalist=generalist, feature_weights=str(features), say=print)
                model, record = str(result.model), {'iteration': result.iteration, 'improved': result.improved}
            _, scores = measure_methods(pairs, {'': upscaler(model)}, measures(features))
            record |= dict(zip(('psnr', 'ssim', 'feature_distance'), mean_scores(scores['']), strict=True))
            file.write_text(json.dumps(record, indent=1) + '\n')
            print(domain, count, record, flush=True)


if __name__ == '__main__':
    main()
