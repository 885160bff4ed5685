"""Real photographs and weights, where PDD_SHARED names the folder that holds them (``data/`` and ``weights/``)."""

import os
from pathlib import Path

import pytest
import torch
import yaml
from helpers import release_logger

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run
from pdd_arch.options.yaml_file import load_options
from pdd_arch.utils.resources import option_file

pytestmark = pytest.mark.data


def test_city100_runs_on_captured_photographs(tmp_path, monkeypatch):
    """The shipped option file, for two iterations, and its checkpoint in RealESRGANer and spandrel."""
    from basicsr.archs.srvgg_arch import SRVGGNetCompact
    from realesrgan import RealESRGANer
    from spandrel import ModelLoader

    shared = Path(os.environ['PDD_SHARED'])
    monkeypatch.chdir(tmp_path)
    Path('datasets').mkdir()
    Path('datasets/city100').symlink_to(shared / 'data/city100_iphonex_x4')
    Path('datasets/photos_hr').symlink_to(shared / 'data/photos_hr')
    Path('experiments').mkdir()
    Path('experiments/pretrained_models').symlink_to(shared / 'weights')
    opt = load_options(option_file('pdd_city100.yml'))
    opt['train'].update(total_iter=2, distill_warmup_iters=1)
    opt['val']['val_freq'] = 2
    Path('run.yml').write_text(yaml.safe_dump(opt, sort_keys=False))
    assert run('basicsr', main, ['train', '-opt', 'run.yml']) == 0
    release_logger()
    path = 'experiments/pdd_city100/models/net_g_latest.pth'
    network = {k: v for k, v in opt['network_g'].items() if k != 'type'}
    RealESRGANer(4, path, model=SRVGGNetCompact(**network), device=torch.device('cpu'))
    assert ModelLoader(device='cpu').load_from_file(path).scale == 4
