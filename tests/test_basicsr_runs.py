"""Runs of BasicSR's and Real-ESRGAN's own models keep what is promised of every run."""

import errno
import json
import os
import random
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch
import yaml
from basicsr.archs import build_network
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.models import build_model
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import ARCH_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY
from child_runs import differences, final_state
from helpers import TINY_D, merge, release_logger, run_options, write_images
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_real_esrgan import file_of

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run
from pdd_arch.data.positioned_index import PositionedIndex
from pdd_arch.errors import OptionError

ROOT = Path('experiments/tiny')
PAIRS = dict(type='PairedImageDataset', dataroot_gt='hr', dataroot_lq='lr', io_backend=dict(type='disk'))
SWINIR = dict(
    type='SwinIR', upscale=4, img_size=8, window_size=4, embed_dim=8, depths=[1], num_heads=[2], mlp_ratio=2,
    upsampler='pixelshuffledirect', in_chans=3, img_range=1.0, resi_connection='1conv',
)  # fmt: skip
SRVGG = dict(type='SRVGGNetCompact', num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=1, upscale=4)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Six pairs; validation looks at two of them."""
    monkeypatch.chdir(tmp_path)
    for folder, side, count in (('hr', 48, 6), ('lr', 12, 6), ('val_hr', 48, 2), ('val_lr', 12, 2)):
        write_images(tmp_path / folder, count, side, side, seed=side)
    return tmp_path


def options(model: str = 'SRModel', **changes) -> dict:
    """Nine iterations over three epochs, a state every second one, a validation every third."""
    of_gan = model in ('SRGANModel', 'ESRGANModel', 'RealESRGANModel')
    opt = file_of('RealESRGANModel' if of_gan else 'RealESRNetModel', model_type=model, network_g=None)
    opt['network_g'] = SRVGG
    if of_gan:
        opt['network_d'] = TINY_D
    if not model.startswith('RealESR'):
        opt['datasets']['train'] = dict(
            name='train', **PAIRS, gt_size=32, use_hflip=True, use_rot=True, num_worker_per_gpu=0,
            batch_size_per_gpu=2, dataset_enlarge_ratio=1,
        )  # fmt: skip
    train = dict(total_iter=9, scheduler=dict(milestones=[3, 6]), ema_decay=0.9)
    opt = merge(opt, dict(train=train, val=dict(val_freq=3, save_img=False), logger=dict(save_checkpoint_freq=2)))
    return merge(opt, changes)


def basicsr(opt: dict, *flags: str, command: str = 'train') -> int:
    Path('run.yml').write_text(yaml.safe_dump(opt, sort_keys=False))
    release_logger()
    return run('basicsr', main, [command, '-opt', 'run.yml', *flags])


def at_iteration(monkeypatch, iteration: int, action, model: type = SRModel) -> None:
    """Have something done within one iteration of a run, once."""
    plain, done = model.optimize_parameters, []

    def optimize(self, current_iter):
        plain(self, current_iter)
        if current_iter == iteration and not done:
            done.append(True)
            action()

    monkeypatch.setattr(model, 'optimize_parameters', optimize)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def record(kind: str) -> list[dict]:
    events = [json.loads(line) for line in (ROOT / 'record.jsonl').read_text().splitlines()]
    return [event for event in events if event['event'] == kind]


def files(folder: str) -> set[str]:
    return {file.name for file in (ROOT / folder).iterdir()}


def log_text() -> str:
    return '\n'.join(file.read_text() for file in sorted(ROOT.glob('train_*.log')))


# ---------------------------------------------------------------- exact resuming
@pytest.mark.parametrize(
    ('model', 'workers'), [('SRModel', 0), ('SRModel', 2), ('SwinIRModel', 0), ('SRGANModel', 0), ('ESRGANModel', 0)]
)
def test_stopped_and_resumed_is_uninterrupted(place, monkeypatch, capfd, model, workers):
    """Stopped in the middle of an epoch and once more at its end."""
    opt = options(model, datasets=dict(train=dict(num_worker_per_gpu=workers)))
    if model == 'SwinIRModel':
        opt['network_g'] = SWINIR
    assert basicsr(opt) == 0, capfd.readouterr().err
    whole = final_state('experiments/tiny', 9)
    shutil.move('experiments', 'whole')
    kind = MODEL_REGISTRY.get(model)
    for iteration, flags in ((5, ()), (6, ('--auto_resume',))):
        at_iteration(monkeypatch, iteration, terminate, kind)
        assert basicsr(opt, *flags) == 143
        assert f'{iteration}.state' in files('training_states')
    assert basicsr(opt, '--auto_resume') == 0, capfd.readouterr().err
    assert differences(final_state('experiments/tiny', 9), whole) == []


def test_epochs_differ_in_what_is_drawn(place):
    """BasicSR gives its workers the same seed in every epoch, and so the same crops."""
    dataset = PairedImageDataset(options()['datasets']['train'] | dict(phase='train', scale=4, manual_seed=0))
    first, again, later = (dataset[PositionedIndex(0, epoch, 0)]['gt'] for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    before = random.getstate()
    dataset[PositionedIndex(1, 0, 1)]
    assert random.getstate() == before


# ---------------------------------------------------------------- checkpoints
def test_a_checkpoint_is_what_basicsr_writes(place, capfd):
    """Its own loop can go on from it: names, keys and types are the same."""
    assert basicsr(options('SRGANModel', train=dict(total_iter=2), val=None)) == 0, capfd.readouterr().err
    assert files('models') == {f'net_{net}_{i}.pth' for net in 'gd' for i in (2, 'latest')}
    networks = {net: torch.load(ROOT / f'models/net_{net}_2.pth', weights_only=True) for net in 'gd'}
    assert {net: list(content) for net, content in networks.items()} == {'g': ['params', 'params_ema'], 'd': ['params']}
    state = torch.load(ROOT / 'training_states/2.state', weights_only=True)
    assert state.keys() >= {'epoch', 'iter', 'optimizers', 'schedulers'}
    assert (state['iter'], len(state['optimizers']), len(state['schedulers'])) == (2, 2, 2)


def test_the_end_is_a_checkpoint_to_go_on_from(place):
    assert basicsr(options(train=dict(total_iter=3))) == 0
    assert files('training_states') == {'2.state', '3.state'}
    assert basicsr(options(train=dict(total_iter=5)), '--auto_resume') == 0
    assert 'Resuming training from epoch: 0, iter: 3' in log_text()


def test_newest_and_best_are_kept(place, monkeypatch):
    """Nobody asked for a checkpoint where the best result is found, and later ones must not push it out."""
    values = iter([1.0, 5.0, 2.0, 2.0])
    monkeypatch.setitem(METRIC_REGISTRY._obj_map, 'calculate_mine', lambda img, img2: next(values))
    opt = options(logger=dict(keep_checkpoints=1, keep_best='mine', save_checkpoint_freq=4), train=dict(total_iter=9))
    opt['val']['metrics'] = dict(mine=dict(type='calculate_mine'))
    shutil.rmtree('val_hr'), shutil.rmtree('val_lr')
    for folder, side in (('val_hr', 48), ('val_lr', 12)):
        write_images(place / folder, 1, side, side)
    assert basicsr(opt) == 0
    assert files('training_states') == {'6.state', '9.state'}
    assert files('models') == {'net_g_6.pth', 'net_g_9.pth', 'net_g_latest.pth'}
    best = torch.load(ROOT / 'training_states/9.state', weights_only=True)['best_metrics']
    assert best['pairs']['mine'] == {'better': 'higher', 'val': 5.0, 'iter': 6}


def test_best_results_go_on_over_an_interruption(place, monkeypatch):
    values = iter([5.0, 1.0, 1.0, 1.0, 1.0])
    monkeypatch.setitem(METRIC_REGISTRY._obj_map, 'calculate_mine', lambda img, img2: next(values))
    opt = options(datasets=dict(val=dict(dataroot_gt='one_hr', dataroot_lq='one_lr')), train=dict(total_iter=6))
    opt['val']['metrics'] = dict(mine=dict(type='calculate_mine'))
    for folder, side in (('one_hr', 48), ('one_lr', 12)):
        write_images(place / folder, 1, side, side)
    at_iteration(monkeypatch, 4, terminate)
    assert basicsr(opt) == 143
    assert basicsr(opt, '--auto_resume') == 0
    assert 'Best: 5.0000 @ 3 iter' in log_text().rpartition('Validation pairs')[2]


def test_a_failed_write_ends_the_run_and_leaves_what_was_there(place, monkeypatch, capfd):
    plain = torch.save

    def full(content, file, *args):
        if 'iter' in content and content['iter'] == 4:
            raise OSError(errno.ENOSPC, 'No space left on device')
        plain(content, file, *args)

    monkeypatch.setattr(torch, 'save', full)
    assert basicsr(options()) == 1
    line = capfd.readouterr().err.strip().splitlines()[-1]
    assert 'training_states/4.state: could not be written: ' in line
    assert 'No space left on device' in line
    assert files('models') == {'net_g_2.pth'}  # networks of a state that is not there would be in the way
    assert files('training_states') == {'2.state'}
    monkeypatch.setattr(torch, 'save', plain)
    assert basicsr(options(), '--auto_resume') == 0


def test_a_damaged_state_is_passed_over(place, capfd):
    assert basicsr(options(train=dict(total_iter=4))) == 0
    file = ROOT / 'models/net_g_4.pth'
    content = bytearray(file.read_bytes())
    content[-200] ^= 1
    file.write_bytes(content)
    assert basicsr(options(), '--auto_resume') == 0
    assert 'Continuing from the state before it, ' in log_text()
    assert 'iter: 2.' in log_text()


def test_a_model_without_a_run_saves_and_loads_as_well(place):
    opt = merge(options('SRModel'), dict(is_train=True, dist=False, path=dict(models='m', training_states='s')))
    model = build_model(opt)
    model.save(0, 3)
    assert {file.name for file in Path('m').iterdir()} == {'net_g_3.pth'}
    model.resume_training(torch.load('s/3.state', weights_only=True))
    with pytest.raises(OptionError, match='holds 0 optimizers, this run has 1'):
        model.resume_training(dict(optimizers=[], schedulers=[]))


# ---------------------------------------------------------------- weights
WEIGHTS = {
    'missing': (dict(), ['path.pretrain_network_g: ', 'start.pth', 'does not exist']),
    'other network': (dict(network_g=dict(num_feat=4)), ['path.pretrain_network_g: ', 'does not fit SRVGGNetCompact']),
    'code': (dict(), ['path.pretrain_network_g: ', 'start.pth is refused']),
}


@pytest.mark.parametrize('case', WEIGHTS)
@pytest.mark.parametrize('command', ['train', 'test'])
def test_weights_that_cannot_be_loaded(place, capfd, case, command):
    if case != 'missing':
        torch.save(dict(params=build_network(SRVGG).state_dict()) if case != 'code' else Run(), 'start.pth')
    opt = options(**merge(WEIGHTS[case][0], dict(path=dict(pretrain_network_g='start.pth'))))
    if command == 'test':
        opt['datasets'] = dict(test_1=opt['datasets']['val'])
    assert basicsr(opt, command=command) == 1
    line = capfd.readouterr().err.strip().splitlines()[-1]
    for words in WEIGHTS[case][1]:
        assert words in line
    assert 'may be a bug' not in line


class Run:
    """What a weight file must not make."""


def test_weights_in_all_their_forms(place, capfd):
    """As for `PDDModel`: safetensors, prefixes, and BasicSR's own way back to ``params``."""
    network = build_network(SRVGG)
    save_file({f'net_g.{k}': v for k, v in network.state_dict().items()}, 'start.safetensors')
    torch.save(dict(params=network.state_dict()), 'start.pth')
    for file, key in (('start.safetensors', None), ('start.pth', 'params_ema'), ('start.pth', 'anything')):
        opt = options(path=dict(pretrain_network_g=file), train=dict(total_iter=1, optim_g=dict(lr=1e-30)))
        opt['path']['param_key_g'] = key
        assert basicsr(opt) == 0, capfd.readouterr().err
        trained = torch.load(ROOT / 'models/net_g_1.pth', weights_only=True)['params']
        assert differences(dict(trained), dict(network.state_dict())) == []


# ---------------------------------------------------------------- signals and failures
def test_signal_in_a_validation_does_not_wait_for_its_end(place, monkeypatch):
    looked_at = []

    def slow(self):
        plain(self)
        if type(self.lq) is not torch.Tensor:  # in the rehearsal of the check
            return
        looked_at.append(True)
        if len(looked_at) == 1:
            terminate()

    plain = SRModel.test
    monkeypatch.setattr(SRModel, 'test', slow)
    opt = options(logger=dict(save_checkpoint_freq=100))
    assert basicsr(opt) == 143
    assert len(looked_at) == 1  # of two images
    assert files('training_states') == {'3.state'}
    state = torch.load(ROOT / 'training_states/3.state', weights_only=True)
    assert not state['validated']
    shutil.move('experiments', 'stopped')
    monkeypatch.setattr(SRModel, 'test', plain)
    assert basicsr(options(logger=dict(save_checkpoint_freq=3), train=dict(total_iter=3))) == 0
    before_validation = torch.load(ROOT / 'training_states/3.state', weights_only=True)
    assert differences(state['random'], before_validation['random']) == []
    shutil.rmtree('experiments'), shutil.move('stopped', 'experiments')
    assert basicsr(opt, '--auto_resume') == 0
    assert [event['iteration'] for event in record('validation')] == [3, 6, 9, 9]


def test_an_unreadable_image_leaves_a_state(place, capfd, monkeypatch):
    opt = options(logger=dict(save_checkpoint_freq=100), datasets=dict(train=dict(batch_size_per_gpu=1)))
    sampler = EnlargedSampler(range(6), 1, 0, 1)
    unlucky = list(sampler)[4]  # of the fifth iteration
    name = f'hr/{unlucky:03d}.png'
    whole = Path(name).read_bytes()
    with monkeypatch.context() as patch:  # the check would have found it
        at_iteration(patch, 3, lambda: Path(name).write_bytes(whole[:100]))
        assert basicsr(opt) == 1
    error = capfd.readouterr().err
    assert f'{unlucky:03d}.png' in error.strip().splitlines()[-1]
    assert 'The state of iteration 4 is saved; continue with --auto_resume.' in log_text()
    assert files('training_states') == {'4.state'}
    Path(name).write_bytes(whole)
    assert basicsr(opt, '--auto_resume') == 0


def test_a_failure_within_an_iteration_leaves_no_state(place, monkeypatch):
    """The networks may have moved and their optimizers not."""

    def fail():
        raise ArithmeticError('in the middle')

    at_iteration(monkeypatch, 3, fail)
    assert basicsr(options(logger=dict(save_checkpoint_freq=100))) == 1
    assert files('training_states') == set()
    assert record('end')[-1]['status'] == 'failed'
    assert record('end')[-1]['iteration'] == 2


# ---------------------------------------------------------------- numbers of iterations
@pytest.mark.parametrize('model', ['SRModel', 'PDDModel'])
def test_the_last_validation_has_the_number_of_the_last_iteration(place, model):
    opt = options() if model == 'SRModel' else of_pdd_model()
    opt = merge(opt, dict(train=dict(total_iter=4), val=dict(val_freq=100, save_img=True)))
    opt['logger']['use_tb_logger'] = True
    assert basicsr(opt) == 0
    assert re.findall(r'@ (\d+) iter', log_text()) == ['4']
    assert [event['iteration'] for event in record('validation')] == [4]
    assert (ROOT / 'visualization/000/000_4.png').is_file()
    curve = EventAccumulator('tb_logger/tiny').Reload().Scalars('metrics/pairs/psnr')
    assert [point.step for point in curve] == [4]


@pytest.mark.parametrize('model', ['SRModel', 'PDDModel'])
def test_a_test_has_no_number_of_an_iteration(place, capfd, model):
    opt = options() if model == 'SRModel' else of_pdd_model()
    opt['datasets'] = dict(test_1=opt['datasets']['val'])
    assert basicsr(opt, command='test') == 0
    error = capfd.readouterr().err
    assert re.search(r'# psnr: \d+\.\d{4}\n', error)
    assert 'Best' not in error


def of_pdd_model() -> dict:
    opt = run_options(datasets=dict(train=dict(dataroot_lq='lr', batch_size_per_gpu=2, dataset_enlarge_ratio=1)))
    return merge(opt, dict(val=dict(save_img=False)))


# ---------------------------------------------------------------- other kinds of models
class MiddleFrame(torch.nn.Module):
    """Upscales the middle one of (N, frames, 3, h, w)."""

    def __init__(self):
        super().__init__()
        self.net = build_network(SRVGG)

    def forward(self, x):
        return self.net(x[:, x.shape[1] // 2])


def of_videos() -> dict:
    for side, folder in ((48, 'gt'), (12, 'lq')):
        for clip in ('calendar', 'city'):
            Path(folder, clip).mkdir(parents=True)
            write_images(Path(folder, clip), 3, side, side, seed=side)
    clips = dict(
        name='Vid4', type='VideoTestDataset', dataroot_gt='gt', dataroot_lq='lq', cache_data=False, num_frame=3,
        padding='replicate', io_backend=dict(type='disk'),
    )  # fmt: skip
    loader = dict(num_worker_per_gpu=0, batch_size_per_gpu=2)
    opt = options('VideoBaseModel', train=dict(total_iter=4), val=dict(val_freq=2))
    opt |= dict(datasets=dict(train=clips | loader, val=clips), network_g=dict(type='MiddleFrame'))
    opt['logger'] |= dict(keep_checkpoints=1, keep_best='psnr')
    return opt


def test_a_model_of_videos(place, monkeypatch, capfd):
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, 'MiddleFrame', MiddleFrame)
    opt = of_videos()
    at_iteration(monkeypatch, 3, terminate)
    assert basicsr(opt) == 143, capfd.readouterr().err
    assert basicsr(opt, '--auto_resume') == 0, capfd.readouterr().err
    assert [event['iteration'] for event in record('validation')] == [2, 4, 4]
    assert all(0 < event['metrics']['psnr'] < 100 for event in record('validation'))
    assert set(re.findall(r'@ (\d+) iter', log_text())) <= {'2', '4'}
    best = torch.load(ROOT / 'training_states/4.state', weights_only=True)['best_metrics']['Vid4']['psnr']
    assert files('training_states') == {'4.state', f'{best["iter"]}.state'}


class OnlyWeights(SRModel):
    """Saves one network, under names of its own, and no state."""

    def save(self, epoch, current_iter):
        self.save_network(self.net_g, 'net_mine', current_iter, param_key='weights')


def test_a_model_with_a_way_of_its_own_to_save(place, monkeypatch, capfd):
    monkeypatch.setitem(MODEL_REGISTRY._obj_map, 'OnlyWeights', OnlyWeights)
    assert basicsr(options('OnlyWeights', logger=dict(keep_checkpoints=2))) == 0, capfd.readouterr().err
    assert files('models') == {'net_mine_8.pth', 'net_mine_9.pth', 'net_mine_latest.pth'}
    assert [event['file'] for event in record('checkpoint')][-2:] == ['net_mine_9.pth', 'net_mine_latest.pth']
