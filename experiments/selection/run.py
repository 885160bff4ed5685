"""How near a choice of checkpoint without ground truth comes to the best one.

python experiments/selection/run.py --data FOLDER --out experiments/results/selection

FOLDER holds ``datasets/`` (``city100`` and ``photos_hr``, and domains that `pdd prepare synthetic` has made) and
``experiments/pretrained_models`` as `options/pdd_city100.yml` names them. For every domain a run of 800 iterations is
trained with a checkpoint every 50, on images without those that are held out; every checkpoint gets the signals of
`pdd adapt`, and, on test pairs that no signal sees, its PSNR and SSIM. Domains that are finished are not repeated.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from pdd_arch.adaptation.child_training import checkpoints, train
from pdd_arch.adaptation.judge import Judge, Material, averaged_network
from pdd_arch.adaptation.photographs import Photograph
from pdd_arch.adaptation.preset import write_options
from pdd_arch.adaptation.workspace import Split, Workspace
from pdd_arch.images.decoding import image_size
from pdd_arch.inference.methods import tensor_upscaler
from pdd_arch.metrics.measuring import registered_measure
from pdd_arch.options.yaml_file import load_options
from pdd_arch.selection.signals import stacked
from pdd_arch.utils.resources import option_file

DOMAINS = ('phone', 'noise', 'blur', 'jpeg', 'mixed', 'ntire2020')
HELD_OUT_EVERY, OFFSET = 10, 4
ITERATIONS, EVERY = 800, 50
MEASURES = [registered_measure(n, dict(type=f'calculate_{n}', crop_border=4)) for n in ('psnr', 'ssim')]


def photographs(folder: Path) -> list[Photograph]:
    """The images of a folder."""
    return [Photograph(p, *image_size(p)) for p in sorted(folder.iterdir()) if not p.name.startswith('.')]


def split(images: list[Photograph]) -> Split:
    """To train with, to judge by."""
    held_out = images[OFFSET::HELD_OUT_EVERY]
    return Split([p for p in images if p not in held_out], held_out)


def options(data: Path, domain: str) -> dict:
    """Of `pdd_city100.yml`, longer, with the weights by absolute path; the paper's ratio but on the phone."""
    opt = load_options(option_file('pdd_city100.yml'))
    opt.pop('val')
    opt['datasets'].pop('val')
    opt['datasets']['train'].update(dataroot_gt='data/hr', dataroot_lq='data/photographs')
    models = (data / 'experiments/pretrained_models').resolve()
    opt['network_g'] = dict(type='SpandrelNet', path=str(models / 'realesr_general_x4.pth'), scale=4)
    opt['path'] = {'resume_state': None}
    opt['train']['feature_net']['weights'] = str(models / 'squeezenet1_0.pth')
    opt['train']['distill_opt']['inter_weight'] = 0.1 if domain == 'phone' else 1.0
    opt['train']['total_iter'] = ITERATIONS
    opt['logger'].update(save_checkpoint_freq=EVERY, print_freq=EVERY)
    return {**opt, 'name': 'adapt'}


def with_ground_truth(test: Path, net) -> dict[str, float]:
    """Mean PSNR and SSIM over test pairs."""
    scores = []
    for path in sorted((test / 'test_lr').iterdir()):
        lr, hr = (cv2.imread(str(test / side / path.name)) for side in ('test_lr', 'test_hr'))
        output = net(stacked([lr.astype(np.float32) / 255]))[0].clamp(0, 1).mul(255).round()
        image = output.permute(1, 2, 0).numpy().astype(np.uint8)[..., ::-1]
        scores.append([measure.compute(image, hr) for measure in MEASURES])
    return dict(zip(('psnr', 'ssim'), (float(v) for v in np.mean(scores, 0)), strict=True))


def study(data: Path, domain: str, work: Path) -> dict:
    """Signals and ground truth of the checkpoints of one domain, by iteration."""
    root = data / 'datasets' / ('city100' if domain == 'phone' else domain)
    hr_folder = data / 'datasets/photos_hr' if domain == 'phone' else root / 'hr'
    workspace = Workspace(work / domain)
    workspace.root.mkdir(parents=True, exist_ok=True)
    lr, hr = split(photographs(root / 'train_lr')), split(photographs(hr_folder))
    workspace.link('photographs', lr.train)
    workspace.link('hr', hr.train)
    opt = options(data, domain)
    write_options(opt, workspace.option_file('adapt'), 'Written by experiments/selection/run.py')
    train(workspace, 'adapt', ITERATIONS, lambda iteration, path: None, domain)
    judge = Judge.prepare(workspace, Material.read(workspace, lr, hr, opt['scale']), opt, 'cpu')
    saved = checkpoints(workspace, 'adapt')
    measured = judge.measure(workspace, 'adapt', saved)
    file = workspace.root / 'truth.json'
    truth = json.loads(file.read_text()) if file.is_file() else {}
    for iteration in measured:
        if str(iteration) not in truth:
            net = tensor_upscaler(averaged_network(opt, saved.get(iteration), 'cpu'), 'cpu')
            truth[str(iteration)] = with_ground_truth(root, net)
            print(domain, iteration, truth[str(iteration)], flush=True)
    file.write_text(json.dumps(truth))
    curve = {k: {'signals': asdict(measured[k]), 'truth': truth[str(k)]} for k in measured}
    return {'camera': asdict(judge.camera), 'checkpoints': curve}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--domains', nargs='+', default=DOMAINS)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for domain in args.domains:
        file = args.out / f'{domain}.json'
        if not file.is_file():
            file.write_text(json.dumps(study(args.data, domain, args.data / 'selection'), indent=1) + '\n')


if __name__ == '__main__':
    main()
