"""Adapt a pretrained network to a real phone and compare, on captured pairs, what each part of the method brings.

    python experiments/city100/run.py --data FOLDER [--out experiments/results/city100]

FOLDER holds what `options/pdd_city100.yml` names (``datasets/`` and ``experiments/pretrained_models/``). Each variant
is one ``basicsr train`` run of that file with a few overrides, started in FOLDER; a variant that has its final
checkpoint is not run again. The ten captured pairs are looked at for the table only.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import cv2
import torch
import torchvision
import yaml

import pdd_arch
from pdd_arch.inference.methods import bicubic_upscaler, network_upscaler
from pdd_arch.metrics.measuring import format_table, measure_methods, registered_measure, write_csv
from pdd_arch.options.yaml_file import load_options
from pdd_arch.utils.resources import option_file

# rows of the table -> what is changed in the option file (dotted keys; None removes a key)
VARIANTS = {
    'adapted': {},
    'supervised on synthetic only': {'train.distill_opt': None},
    'inter weight 1': {'train.distill_opt.inter_weight': 1.0},
    'inter weight 0.02': {'train.distill_opt.inter_weight': 0.02},
    'inter weight 1, no intra': {'train.distill_opt.inter_weight': 1.0, 'train.distill_opt.intra_weight': 0},
    'no inter': {'train.distill_opt.inter_weight': 0},
}


def variant_options(base: dict, name: str) -> dict:
    """The option file of a variant."""
    opt = json.loads(json.dumps(base))
    opt['name'] = 'city100_' + name.replace(',', '').replace(' ', '_')
    opt['logger']['save_checkpoint_freq'] = opt['train']['total_iter']
    opt['val']['save_img'] = False
    for path, value in VARIANTS[name].items():
        *sections, key = path.split('.')
        section = opt
        for part in sections:
            section = section[part]
        if value is None:
            del section[key]
        else:
            section[key] = value
    return opt


def train(opt: dict, folder: Path) -> Path:
    """Run a variant in `folder` unless it is finished; the path of its final checkpoint."""
    final = folder / 'experiments' / opt['name'] / 'models' / 'net_g_latest.pth'
    if not final.is_file():
        file = folder / f'{opt["name"]}.yml'
        file.write_text(yaml.safe_dump(opt, sort_keys=False))
        subprocess.run([sys.executable, '-m', 'pdd_arch', 'train', '-opt', file.name], cwd=folder, check=True)
    return final


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, required=True, help='folder with datasets/ and experiments/')
    parser.add_argument('--out', type=Path, default=Path('experiments/results/city100'))
    parser.add_argument('--iterations', type=int, help='instead of those of the option file')
    args = parser.parse_args()
    base = load_options(option_file('pdd_city100.yml'))
    if args.iterations:
        base['train']['total_iter'] = base['val']['val_freq'] = args.iterations
    finals = {name: train(variant_options(base, name), args.data).resolve() for name in VARIANTS}

    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.chdir(args.data)  # the option file's paths start here
    pairs = {
        lr.stem: (cv2.imread(str(lr)), cv2.imread(str(Path(base['datasets']['val']['dataroot_gt']) / lr.name)))
        for lr in sorted(Path(base['datasets']['val']['dataroot_lq']).glob('*.png'))
    }
    start = base['path']
    methods = {
        'bicubic': bicubic_upscaler(base['scale']),
        'generalist (pretrained)': network_upscaler(
            base['network_g'], start['pretrain_network_g'], start['param_key_g']
        ),
    }
    for name, final in finals.items():
        methods[name] = network_upscaler(base['network_g'], final, 'params_ema')
    metrics = base['val']['metrics']
    measures = [
        registered_measure('PSNR', metrics['psnr'], decimals=2),
        registered_measure('SSIM', metrics['ssim']),
        registered_measure('feature distance', metrics['feature_distance']),
    ]
    _, scores = measure_methods(pairs, methods, measures)
    table = format_table(scores, measures, f'mean over {len(pairs)} captured pairs', markdown=True)
    print(table)
    environment = {
        'pdd_arch': pdd_arch.__version__,
        'torch': torch.__version__,
        'torchvision': torchvision.__version__,
        'opencv': cv2.__version__,
        'python': platform.python_version(),
        'processor': f'{platform.machine()}, {torch.get_num_threads()} thread(s)',
        'iterations': base['train']['total_iter'],
        'manual_seed': base['manual_seed'],
    }
    (out / 'table.md').write_text(table, encoding='utf-8')
    (out / 'environment.json').write_text(json.dumps(environment, indent=1) + '\n', encoding='utf-8')
    write_csv(out / 'per_image.csv', scores, measures)


if __name__ == '__main__':
    main()
