"""The commands as a user runs them: outputs, checkpoints that other tools load, resuming, torchrun."""

import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.archs import build_network
from helpers import TINY_G, merge, release_logger, run_options

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run
from pdd_arch.data.unpaired_adaptation_dataset import UnpairedAdaptationDataset
from pdd_arch.errors import OptionError

SRVGG = dict(type='SRVGGNetCompact', num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=4, act_type='prelu')


def command(*args, **kwargs):
    return subprocess.run(args, capture_output=True, text=True, timeout=170, check=False, **kwargs)


def basicsr(*args):
    """The command in this process: its exit status."""
    return run('basicsr', main, list(args))


def write_options(opt, name='run.yml'):
    with open(name, 'w') as f:
        yaml.safe_dump(opt, f, sort_keys=False)


@pytest.fixture
def trained(workplace, capfd):
    """A finished run of 2 iterations, from weights that have no ``params_ema``, and what it printed."""
    opt = run_options(network_g=None, path=dict(pretrain_network_g='start.pth'), val=dict(save_img=True))
    opt['network_g'] = SRVGG
    torch.save({'params': build_network(SRVGG).state_dict()}, 'start.pth')
    release_logger()
    write_options(opt)
    assert basicsr('train', '-opt', 'run.yml') == 0
    release_logger()
    return workplace, capfd.readouterr().err


def test_train_writes_what_basicsr_writes(trained):
    workplace, printed = trained
    run = workplace / 'experiments' / 'tiny'
    # the end of a run gets a state as well, to go on from
    assert {p.name for p in (run / 'models').iterdir()} == {'net_g_2.pth', 'net_g_latest.pth'}
    assert {p.name for p in (run / 'training_states').iterdir()} == {'2.state'}
    assert (run / 'run.yml').is_file()
    assert list(run.glob('train_tiny_*.log'))
    assert (run / 'visualization' / '000' / '000_2.png').is_file()
    assert 'psnr' in printed
    assert 'l_inter' in printed


def test_checkpoint_loads_in_other_tools(trained):
    """RealESRGANer takes params_ema, spandrel recognises the network, BasicSR builds it: all give the same image."""
    from basicsr.archs.srvgg_arch import SRVGGNetCompact
    from realesrgan import RealESRGANer
    from spandrel import ModelLoader

    path = str(trained[0] / 'experiments/tiny/models/net_g_latest.pth')
    content = torch.load(path, weights_only=True)
    assert set(content) == {'params', 'params_ema'}
    net = build_network(SRVGG)
    net.load_state_dict(content['params_ema'])
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    x = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        expected = net(x).clamp(0, 1)[0]
    options = {k: v for k, v in SRVGG.items() if k != 'type'}
    upscaler = RealESRGANer(4, path, model=SRVGGNetCompact(**options), pre_pad=0, device=torch.device('cpu'))
    upscaled = torch.from_numpy(upscaler.enhance(image)[0][..., ::-1].copy()).permute(2, 0, 1)
    assert (upscaled - expected * 255).abs().max() <= 0.51
    found = ModelLoader(device='cpu').load_from_file(path)
    assert (found.scale, found.architecture.id) == (4, 'Compact')
    with torch.no_grad():
        assert (found(x)[0].clamp(0, 1) - expected).abs().max() < 1e-5


def test_spandrel_net_is_the_same_network(trained):
    path = str(trained[0] / 'experiments/tiny/models/net_g_latest.pth')
    net = build_network(dict(type='SpandrelNet', path=path, scale=4))
    weights = torch.load(path, weights_only=True)['params_ema']
    assert all(torch.equal(v, weights[k]) for k, v in net.state_dict().items())
    assert all(p.requires_grad for p in net.parameters())


def test_test_command(trained, capfd):
    workplace, _ = trained
    opt = run_options()
    test = dict(
        name='tested',
        model_type='PDDModel',
        scale=4,
        num_gpu=0,
        datasets=dict(test=opt['datasets']['val']),
        network_g=SRVGG,
        path=dict(pretrain_network_g='experiments/tiny/models/net_g_latest.pth', param_key_g='params_ema'),
        val=dict(save_img=True, color_correction=True, metrics=opt['val']['metrics']),
    )
    write_options(test, 'test.yml')
    assert basicsr('test', '-opt', 'test.yml') == 0
    assert '# psnr' in capfd.readouterr().err
    upscaled = cv2.imread(str(workplace / 'results/tested/visualization/pairs/000_tested.png')).astype(float)
    low = cv2.imread(str(workplace / 'val_lr/000.png')).astype(float)
    # colour correction: the output has the mean of its input
    np.testing.assert_allclose(upscaled.mean((0, 1)), low.mean((0, 1)), atol=4)


@pytest.mark.parametrize('prefetch_mode', [None, 'cpu'])
def test_no_sample_is_drawn_that_nothing_is_trained_with(workplace, monkeypatch, prefetch_mode):
    """BasicSR's loop takes one batch more than it needs, and starts the loader for empty epochs at the end."""
    drawn, plain = [], UnpairedAdaptationDataset.__getitem__

    def noted(self, index):
        drawn.append(int(index))
        return plain(self, index)

    monkeypatch.setattr(UnpairedAdaptationDataset, '__getitem__', noted)
    # two epochs of three images
    data = dict(prefetch_mode=prefetch_mode, batch_size_per_gpu=1, dataset_enlarge_ratio=1)
    write_options(run_options(train=dict(total_iter=6), datasets=dict(train=data)))
    assert basicsr('train', '-opt', 'run.yml') == 0
    assert sorted(drawn) == [0, 0, 1, 1, 2, 2]
    assert torch.load('experiments/tiny/training_states/6.state', weights_only=True)['position']['samples'] == 3


def test_fresh_start_archives_the_old_run(trained):
    workplace, _ = trained
    assert basicsr('train', '-opt', 'run.yml') == 0
    assert len(list((workplace / 'experiments').glob('tiny_archived_*'))) == 1


def test_error_is_one_line_and_the_status_says_so(workplace):
    write_options(run_options(network_g=dict(type='RRDBNett')))
    # the console script of this environment, which need not be activated
    script = shutil.which('basicsr', path=os.path.dirname(sys.executable))
    done = command(script, 'train', '-opt', 'run.yml', cwd=workplace)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith('basicsr: error: network_g.type')
    assert 'Traceback' not in done.stderr
    with pytest.raises(OptionError):
        basicsr('train', '-opt', 'run.yml', '--debug')


@pytest.mark.parametrize('args', [['--help'], ['train', '--help'], ['test', '--help']])
def test_help_has_an_example(args, capsys):
    with pytest.raises(SystemExit) as end:
        basicsr(*args)
    assert end.value.code == 0
    assert 'example: basicsr' in capsys.readouterr().out


@pytest.mark.parametrize('teacher', ['ema', 'static'])
def test_resume_on_cpu(workplace, teacher, capfd):
    """A run continued with --auto_resume goes on with the saved networks, average, optimizer and schedule."""
    changes = dict(logger=dict(save_checkpoint_freq=2), train=dict(total_iter=2))
    if teacher == 'static':
        torch.save({'params_ema': build_network(TINY_G).state_dict()}, 'teacher.pth')
        changes |= dict(
            network_teacher=TINY_G, path=dict(pretrain_network_teacher='teacher.pth', param_key_teacher='params_ema')
        )
        changes['train'] |= dict(teacher='static')
    write_options(run_options(**changes))
    assert basicsr('train', '-opt', 'run.yml') == 0
    models = workplace / 'experiments/tiny/models'
    saved = torch.load(models / 'net_g_2.pth', weights_only=True)
    release_logger()
    assert basicsr('train', '-opt', 'run.yml', '--auto_resume', '--force_yml', 'train:total_iter=4') == 0
    assert 'Resuming training from epoch: 0, iter: 2' in capfd.readouterr().err
    state = torch.load(workplace / 'experiments/tiny/training_states/4.state', weights_only=True)
    assert state['optimizers'][0]['state'][0]['step'] == 4
    final = torch.load(models / 'net_g_4.pth', weights_only=True)
    key = 'conv_first.weight'
    moved = (final['params_ema'][key] - saved['params_ema'][key]).abs().max()
    assert 0 < moved < 1e-3, 'the average went on from where it was'


def test_resume_of_a_run_that_began_with_bare_weights(workplace):
    """The run's own checkpoints are read under `params`, whatever the key of the pretrained weights was."""
    torch.save(build_network(TINY_G).state_dict(), 'bare.pth')
    release_logger()
    write_options(
        run_options(path=dict(pretrain_network_g='bare.pth', param_key_g=''), logger=dict(save_checkpoint_freq=2))
    )
    text = (workplace / 'run.yml').read_text().replace("param_key_g: ''", 'param_key_g: ~')
    (workplace / 'run.yml').write_text(text)
    assert basicsr('train', '-opt', 'run.yml') == 0
    assert basicsr('train', '-opt', 'run.yml', '--auto_resume', '--force_yml', 'train:total_iter=4') == 0
    assert (workplace / 'experiments/tiny/training_states/4.state').is_file()


def test_torchrun_on_cpu(workplace):
    write_options(run_options())
    done = command(
        *(sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', '--master_port=29611'),
        *('-m', 'pdd_arch', 'train', '-opt', 'run.yml', '--launcher', 'pytorch'),
        cwd=workplace,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (workplace / 'experiments/tiny/models/net_g_latest.pth').is_file()
    assert done.stderr.count('Save the latest model') == 1


def test_script_of_a_basicsr_user(workplace):
    """``import pdd_arch`` is all that an existing script needs, before or after an import of basicsr that failed."""
    write_options(merge(run_options(), dict(name='scripted')))
    script = (
        'try:\n    import basicsr\nexcept ImportError:\n    pass\n'
        'import pdd_arch, pdd_arch as again, importlib\nimportlib.reload(pdd_arch)\nimport realesrgan\n'
        'from basicsr.train import train_pipeline\ntrain_pipeline(".")\n'
    )
    (workplace / 'mine.py').write_text(script)
    done = command(sys.executable, 'mine.py', '-opt', 'run.yml', cwd=workplace)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (workplace / 'experiments/scripted/models/net_g_latest.pth').is_file()
