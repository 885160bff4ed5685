"""Data, list and training of the tests of `pdd tables`."""

from pathlib import Path

import torch
import yaml
from helpers import TINY_G, run_options, write_images

from pdd_arch.commands import basicsr_cli
from pdd_arch.commands.errors import run
from pdd_arch.commands.pdd_cli import main
from pdd_arch.tables import runner

LIST = {
    'title': 'Tiny',
    'opt': 'tiny.yml',
    'baseline': 'start',
    'seeds': [0, 1],
    'datasets': {'a': {}, 'b': {'datasets.train.dataroot_lq': 'real2'}},
    'rows': [
        {'name': 'bicubic', 'method': 'bicubic'},
        {'name': 'start', 'method': 'start'},
        {'name': 'adapted'},
        {'name': 'no distillation', 'changes': {'train.distill_opt': None}, 'datasets': ['a']},
    ],
}


def make_folder(workplace):
    """Data, start weights, option file and list in the current folder."""
    from basicsr.archs import build_network

    write_images(workplace / 'real2', 2, 16, 20, seed=5)
    torch.manual_seed(0)
    torch.save({'params': build_network(dict(TINY_G)).state_dict()}, 'start.pth')
    opt = run_options(path=dict(pretrain_network_g='start.pth', param_key_g='params'))
    opt['train']['optim_g']['lr'] = 1e-2  # so that two iterations show in 8 bits
    opt['val']['metrics'] = {'PSNR': dict(type='calculate_psnr', crop_border=4, better='higher', decimals=2)}
    Path('tiny.yml').write_text(yaml.safe_dump(opt))
    Path('list.yml').write_text(yaml.safe_dump(LIST))
    return workplace


def train_here(monkeypatch):
    """Names of the option files trained, in this process: a new one takes longer than the training."""
    seen = []

    def run_here(_self, arguments, log, device):
        seen.append(Path(arguments[2]).stem)
        before = torch.get_num_threads()
        code = run('basicsr', basicsr_cli.main, arguments)
        torch.set_num_threads(before)
        log.write_text(f'ended with {code}\n')
        return code

    monkeypatch.setattr(runner.Trainings, 'run', run_here)
    return seen


def tables(*flags: str) -> int:
    return main(['tables', 'list.yml', '-o', 'out', *flags])
