"""Seconds from the command to the first iteration, with many images: one checkout against another, in turns.

    python experiments/benchmark/start.py                                # this checkout
    python experiments/benchmark/start.py --before ../earlier -o start.json

Each run is a process of its own. The network is tiny, so that what is timed is what a start consists of: importing,
reading options, looking at the images, reading weights, building the model.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import yaml
from machine import description
from output import publish

CHECKOUT = Path(__file__).resolve().parents[2]
NETWORK = dict(type='SRVGGNetCompact', num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=4, act_type='prelu')


def make_data(folder: Path, images: int) -> None:
    """HR and target-domain images, `images` of each, and weights of the network."""
    rng = np.random.default_rng(0)
    for name, side in (('hr', 192), ('lr', 64)):
        (folder / name).mkdir()
        content = cv2.imencode('.png', rng.integers(0, 255, (side, side, 3), np.uint8))[1].tobytes()
        for i in range(images):
            (folder / name / f'{i:06d}.png').write_bytes(content)
    code = f"""
import pdd_arch, torch
from basicsr.archs import build_network
torch.manual_seed(0)
torch.save({{'params': build_network({NETWORK!r}).state_dict()}}, 'start.pth')
"""
    subprocess.run([sys.executable, '-c', code], cwd=folder, env=environment(CHECKOUT), check=True, capture_output=True)


def options() -> dict:
    """One iteration of supervised training."""
    data = dict(
        type='UnpairedAdaptationDataset', dataroot_gt='hr', dataroot_lq='lr', gt_size=64, io_backend={'type': 'disk'}
    )
    data |= dict(num_worker_per_gpu=0, batch_size_per_gpu=1)
    train = dict(teacher='ema', pixel_opt=dict(type='L1Loss'), optim_g=dict(type='Adam', lr=1e-4), total_iter=1)
    train |= dict(scheduler=dict(type='MultiStepLR', milestones=[10]))
    return dict(
        name='start', model_type='PDDModel', scale=4, num_gpu=0, manual_seed=0, datasets=dict(train=data),
        network_g=NETWORK, path=dict(pretrain_network_g='start.pth'), train=train,
        logger=dict(print_freq=1, save_checkpoint_freq=1000),
    )  # fmt: skip


def environment(checkout: Path) -> dict[str, str]:
    """Imports the package of a checkout."""
    return {**os.environ, 'PYTHONPATH': str(checkout), 'OMP_NUM_THREADS': '1'}


def seconds_to_first_iteration(folder: Path, checkout: Path, name: str) -> float:
    """Time from starting the process until the log tells of iteration 1."""
    command = [sys.executable, '-m', 'pdd_arch', 'train', '-opt', 'start.yml', '--force_yml', f'name={name}']
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment(checkout), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = []
    for line in process.stdout or ():
        lines.append(line)
        if 'iter:       1,' in line:
            found = time.perf_counter() - started
            process.communicate()
            return found
    sys.exit(f'{checkout}: no first iteration:\n{"".join(lines[-5:])}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--before', type=Path, help='another checkout to compare with')
    parser.add_argument('--images', type=int, default=1000, help='images of each domain')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('-o', type=Path, metavar='FILE', help='write JSON and a table there')
    args = parser.parse_args()
    checkouts = {'before': args.before.resolve()} if args.before else {}
    checkouts['now'] = CHECKOUT
    times: dict[str, list[float]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_data(folder, args.images)
        (folder / 'start.yml').write_text(yaml.safe_dump(options()))
        for repeat in range(args.repeats):
            for name, checkout in checkouts.items():
                times[name].append(seconds_to_first_iteration(folder, checkout, f'start_{name}_{repeat}'))
    result = {'machine': description('cpu'), 'images': args.images, 'seconds': times}
    rows = [f'| {name} | {statistics.median(t):.2f} | {min(t):.2f} | {max(t):.2f} |' for name, t in times.items()]
    table = ['| checkout | median s | least | most |', '|---|---|---|---|', *rows, '']
    if args.before:
        ratio = statistics.median(a / b for a, b in zip(times['now'], times['before'], strict=True))
        table += [f'Now over before: {ratio:.2f} (median of {args.repeats} turns).', '']
    head = f'Seconds to the first iteration, {args.images} images of each domain; {result["machine"]["device"]}.'
    publish(result, '\n'.join([head, '', *table]), args.o)


if __name__ == '__main__':
    main()
