"""How few iterations adaptation needs: validation curves of long and short schedules on several target domains.

    python experiments/schedules/run.py --data FOLDER --domains phone,noise --schedules long,fast10 --seeds 0,1

FOLDER holds what `options/pdd_city100.yml` names (``datasets/`` and ``experiments/pretrained_models/``); synthetic
target domains are made there out of ``datasets/photos_hr``. A run is one ``basicsr train`` of that file with the
schedule's changes; its checkpoints are measured on the domain's pairs. Finished runs and measurements are not repeated.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import yaml
from domains import DEGRADATIONS, make_domain
from schedules import SCHEDULES, options_of

from pdd_arch.inference.methods import network_upscaler
from pdd_arch.metrics.measuring import mean_scores, measure_methods, registered_measure
from pdd_arch.options.yaml_file import load_options
from pdd_arch.utils.resources import option_file

DOMAINS = ('phone', *DEGRADATIONS)


def prepare(domain: str, base: dict, data: Path) -> dict:
    """The option file on another target domain; the phone's own inter weight and the paper's for synthetic domains."""
    opt = json.loads(json.dumps(base))
    if domain != 'phone':
        make_domain(domain, data / 'datasets/photos_hr', data / 'datasets' / domain)
        train, val = opt['datasets']['train'], opt['datasets']['val']
        train['name'] = val['name'] = domain
        train['dataroot_gt'], train['dataroot_lq'] = f'datasets/{domain}/hr', f'datasets/{domain}/train_lr'
        val['dataroot_gt'], val['dataroot_lq'] = f'datasets/{domain}/test_hr', f'datasets/{domain}/test_lr'
        opt['train']['distill_opt']['inter_weight'] = 1.0
    return opt


def train(opt: dict, data: Path) -> Path:
    """Run unless finished; the folder of its checkpoints."""
    models = data / 'experiments' / opt['name'] / 'models'
    if not (models / 'net_g_latest.pth').is_file():
        file = data / f'{opt["name"]}.yml'
        file.write_text(yaml.safe_dump(opt, sort_keys=False))
        subprocess.run([sys.executable, '-m', 'pdd_arch', 'train', '-opt', file.name], cwd=data, check=True)
    return models


def measure(opt: dict, data: Path, checkpoint: Path | None) -> list[float]:
    """Mean PSNR, SSIM and feature distance on the domain's pairs; of the pretrained network without a checkpoint."""
    val, path = opt['datasets']['val'], opt['path']
    pairs = {
        lr.stem: (cv2.imread(str(lr)), cv2.imread(str(data / val['dataroot_gt'] / lr.name)))
        for lr in sorted((data / val['dataroot_lq']).glob('*.png'))
    }
    weights = checkpoint or data / path['pretrain_network_g']
    upscale = network_upscaler(opt['network_g'], weights, 'params_ema' if checkpoint else path['param_key_g'])
    metrics = json.loads(json.dumps(opt['val']['metrics']))
    feature_net = metrics['feature_distance']['feature_net']
    feature_net['weights'] = str(data / feature_net['weights'])
    measures = [registered_measure(name, o) for name, o in metrics.items()]
    _, scores = measure_methods(pairs, {'it': upscale}, measures)
    return mean_scores(scores['it'])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, required=True, help='folder with datasets/ and experiments/')
    parser.add_argument('--domains', default=','.join(DOMAINS))
    parser.add_argument('--schedules', default=','.join(SCHEDULES))
    parser.add_argument('--seeds', default='0')
    parser.add_argument('--out', type=Path, default=Path('experiments/results/schedules/curves'))
    args = parser.parse_args()
    base, data, out = load_options(option_file('pdd_city100.yml')), args.data.resolve(), args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    for seed in args.seeds.split(','):
        for schedule in args.schedules.split(','):
            for domain in args.domains.split(','):
                file = out / f'{domain}_{schedule}_{seed}.json'
                if file.exists():
                    continue
                opt = options_of(prepare(domain, base, data), SCHEDULES[schedule])
                opt['name'], opt['manual_seed'] = f'schedule_{domain}_{schedule}_{seed}', int(seed)
                models = train(opt, data)
                start = out / f'{domain}_start.json'
                if not start.exists():
                    start.write_text(json.dumps(measure(opt, data, None)))
                checkpoints = {int(p.stem.split('_')[-1]): p for p in models.glob('net_g_[0-9]*.pth')}
                curve = {str(i): measure(opt, data, checkpoints[i]) for i in sorted(checkpoints)}
                file.write_text(json.dumps({'metrics': list(opt['val']['metrics']), 'curve': curve}, indent=1) + '\n')
                print(domain, schedule, seed, curve, flush=True)


if __name__ == '__main__':
    main()
