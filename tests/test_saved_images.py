"""Names under which a validation saves images: those that the file system does not take are found before a run."""

import os

import pytest
import torch
import yaml
from basicsr.archs import build_network
from helpers import TINY_G, release_logger, run_options, single

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run


def said(opt, capfd, *command) -> str:
    """What the check and the run say, which is the same, or nothing."""
    with open('run.yml', 'w') as file:
        yaml.safe_dump(opt, file)
    errors = []
    for flags in (['--check'], []):
        release_logger()
        run('basicsr', main, [*command, '-opt', 'run.yml', *flags])
        errors.append('\n'.join(line for line in capfd.readouterr().err.splitlines() if 'error:' in line))
    assert errors[0] == errors[1]
    return errors[0]


def renamed(workplace, stem: str) -> None:
    for folder in ('val_hr', 'val_lr'):
        for old in (workplace / folder).iterdir():
            old.rename(workplace / folder / f'{stem}.png')


@pytest.mark.parametrize('kind', ['pairs', 'LR only'])
def test_training(workplace, capfd, kind):
    opt = run_options(val=dict(save_img=True))
    if kind == 'LR only':
        opt['datasets']['val'] = single(opt['datasets']['val'])
        del opt['val']['metrics']
    renamed(workplace, 'n' * 249)  # with _2.png 255 bytes
    assert said(opt, capfd, 'train') == ''
    assert os.listdir(f'experiments/tiny/visualization/{"n" * 249}') == [f'{"n" * 249}_2.png']
    renamed(workplace, 'n' * 250)
    error = said(opt, capfd, 'train')
    assert error.startswith('basicsr: error: datasets.val: val_lr/nnn')
    assert error.endswith(
        'would be saved under a name too long for the file system (256 bytes). Give the image a shorter name, or set '
        'val.save_img: false.'
    )
    assert said(opt | {'val': opt['val'] | {'save_img': False}}, capfd, 'train') == ''


def test_test(workplace, capfd):
    """Where the name or the suffix of the test follows; characters of several bytes."""
    torch.save({'params': build_network(dict(TINY_G)).state_dict()}, 'net.pth')
    opt = {key: value for key, value in run_options().items() if key in ('name', 'model_type', 'scale', 'num_gpu')}
    opt |= {'network_g': TINY_G, 'path': {'pretrain_network_g': 'net.pth'}}
    opt |= {'datasets': {'test_1': run_options()['datasets']['val']}, 'val': {'save_img': True}}
    renamed(workplace, '\u7167' * 82)  # 246 bytes, with _tiny.png 255
    assert said(opt, capfd, 'test') == ''
    opt['val']['suffix'] = 'later'
    assert 'datasets.test_1: val_lr/' in (error := said(opt, capfd, 'test'))
    assert '(256 bytes)' in error
