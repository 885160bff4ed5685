"""A small table and a small run for the tests of `pdd report`."""

import json
import re

import cv2
import numpy as np
import yaml

from pdd_arch.commands.errors import run
from pdd_arch.commands.pdd_cli import main
from pdd_arch.training.record import TrainingRecord

HOSTILE = '<img src=x onerror=alert(1)>'
CLOSING = '</script><script>alert(2)</script>{{data}}'
GREY, GREEN, BLUE, RED = (128, 128, 128), (0, 160, 0), (200, 0, 0), (0, 0, 200)  # BGR
IMAGES = ('a1', 'a2', 'a10', HOSTILE.replace('/', ''))
#: of `adapted` over `generalist`, in the order of IMAGES
GAINS = (0.5, -1.0, 2.0, 0.25)


def pdd(*args):
    """The command in this process: its exit status."""
    return run('pdd', main, ['report', *map(str, args)])


def embedded(file, name):
    """The JSON of one of the page's data elements."""
    text = file.read_text(encoding='utf-8')
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL)[1])


def flat(colour, height=48, width=64):
    return np.full((height, width, 3), colour, np.uint8)


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def make_table(folder, noise=0):
    """A table of three rows and four images; the outputs of each row are of one colour."""
    rng = np.random.default_rng(0)
    rows = {'bicubic': (GREY, 1), 'generalist': (GREEN, 1), 'adapted': (BLUE, 3)}
    table = dict(
        title=f'Miniature {HOSTILE}',
        notes=[CLOSING],
        baseline='generalist',
        metrics=[dict(name='PSNR', better='higher', decimals=2), dict(name='LPIPS', better='lower', decimals=4)],
        rows=[],
        datasets={'phone': {'lq': 'lq', 'gt': 'gt'}},
    )
    for image in IMAGES:
        write(folder / 'lq' / f'{image}x4.png', flat(GREY, 12, 16))
        write(folder / 'gt' / f'{image}.png', flat(RED, 49, 66))  # a little more than 4 times the LR
    for name, (colour, seeds) in rows.items():
        for image in IMAGES:
            picture = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) if noise else flat(colour)
            write(folder / 'out' / name / f'{image}.png', picture)
        table['rows'].append(
            dict(
                name=name,
                dataset='phone',
                reference=name == 'bicubic',
                seeds=[
                    dict(
                        seed=s,
                        scores={
                            image: [
                                20 + (gain + 0.1 * (s - 1) if name == 'adapted' else 0),
                                0.3 - (name == 'adapted') / 10,
                            ]
                            for image, gain in zip(IMAGES, GAINS, strict=True)
                        },
                        outputs=f'out/{name}' if s == 0 else None,
                        command=f'basicsr train -opt {CLOSING}',
                        commit='0123456789abcdef',
                    )
                    for s in range(seeds)
                ],
            )
        )
    save(folder, table)
    return folder


def save(folder, table):
    (folder / 'table.json').write_text(json.dumps(table))


def load(folder):
    return json.loads((folder / 'table.json').read_text())


def write_record(folder):
    """The record of a finished run of 100 iterations."""
    record = TrainingRecord(folder)
    record.add('start', iteration=0, epoch=0, total_iterations=100)
    for iteration, inter, pix in ((20, 2.0, 0.04), (40, 1.0, float('nan'))):
        record.add('step', iteration=iteration, losses=dict(l_inter=inter, l_g_pix=pix))
    record.add('validation', iteration=50, dataset='pairs', metrics=dict(psnr=22.5, lpips=0.4))
    record.add('step', iteration=100, losses=dict(l_inter=0.5, l_g_pix=0.03))
    record.add('validation', iteration=100, dataset='pairs', metrics=dict(psnr=23.0))
    record.end(100, 'finished')


def make_run(root):
    """A finished run with saved images."""
    folder = root / 'experiments' / 'tiny'
    rng = np.random.default_rng(0)
    for name in ('p', 'q'):
        truth = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        write(root / 'lr' / f'{name}.png', cv2.resize(truth, (16, 12), interpolation=cv2.INTER_AREA))
        write(root / 'hr' / f'{name}.png', truth)
        for iteration in (50, 75, 100):
            write(folder / 'visualization' / name / f'{name}_{iteration}.png', truth // 100 * iteration)
    options = dict(
        name='tiny',
        scale=4,
        train=dict(total_iter=100),
        datasets=dict(val=dict(name='pairs', type='PairedImageDataset', dataroot_lq='lr', dataroot_gt='hr')),
        val=dict(
            val_freq=50,
            metrics=dict(
                psnr=dict(type='calculate_psnr', crop_border=0),
                lpips=dict(type='calculate_nothing', better='lower'),
            ),
        ),
    )
    (folder / 'tiny.yml').write_text(yaml.safe_dump(options))
    (folder / 'train_tiny_20260101_000000.log').touch()
    write_record(folder)
    return folder
