"""The parts that a model is composed of, each without BasicSR's model around it."""

import copy
from pathlib import Path

import pytest
import torch
from helpers import batch, build, options, step
from torch import nn

from pdd_arch.losses import HaarWaveletLoss
from pdd_arch.models.checkpointer import Checkpointer
from pdd_arch.models.forward_pass import Batch
from pdd_arch.models.losses import Losses
from pdd_arch.models.networks import Networks
from pdd_arch.models.nonfinite import GuardedSteps
from pdd_arch.models.training_step import TrainingStep
from pdd_arch.models.validator import Validator
from pdd_arch.options.settings import AdaptationSettings, val_options
from pdd_arch.training.run_state import BasicSROptions, TrainingRun

CPU = torch.device('cpu')


class Upscale(nn.Module):
    """The smallest network that upscales by 4."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 48, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.pixel_shuffle(self.conv(x), 4)


@pytest.fixture
def networks():
    torch.manual_seed(0)
    student = Upscale()
    return Networks(student, copy.deepcopy(student).requires_grad_(False))


def steps(enabled: bool = False) -> GuardedSteps:
    return GuardedSteps(torch.amp.GradScaler('cpu', enabled=enabled, init_scale=4.0), limit=3)


def adam(networks: Networks) -> torch.optim.Optimizer:
    return torch.optim.Adam(networks.student.parameters(), lr=1e-2)


def test_training_step(networks):
    losses = Losses(pixel=HaarWaveletLoss(weights=[1, 0.1, 0.01]))
    train = dict(distill_opt=None, gan_opt=None, optim_d=None, perceptual_opt=None, net_d_init_iters=None)
    settings = AdaptationSettings.from_options(options(network_d=None, train=train | dict(ema_decay=0.5)))
    training = TrainingStep(networks, losses, {'net_g': adam(networks)}, steps(), settings, CPU)
    before = networks.student.conv.weight.detach().clone()
    logs = [training.run(Batch(**batch(1)), i) for i in range(1, 4)]
    assert [list(log) for log in logs] == [['l_g_pix']] * 3
    assert logs[2]['l_g_pix'] < logs[0]['l_g_pix']
    assert not logs[0]['l_g_pix'].requires_grad
    average, student = networks.ema.conv.weight, networks.student.conv.weight
    assert 0 < (average - before).abs().max() < (student - before).abs().max()


def test_saved_and_resumed(networks, tmp_path):
    def checkpointer(networks: Networks) -> Checkpointer:
        paths = dict(models=str(tmp_path / 'models'), training_states=str(tmp_path / 'states'))
        validator = Validator(networks.ema, val_options(dict(val=dict(metrics=dict(psnr=dict(type='calculate_psnr'))))))
        return Checkpointer(networks, [adam(networks)], [], steps(), validator, TrainingRun(), dict(path=paths))

    first = checkpointer(networks)
    first.steps.total = 2
    first.validator.best['pairs'] = {'psnr': {'better': 'higher', 'val': 30.0, 'iter': 5}}
    first.save(0, 5)
    networks.student.conv.weight.data.zero_()
    first.save(0, 5)  # has been saved
    content = torch.load(tmp_path / 'models/net_g_5.pth', weights_only=True)
    assert content.keys() == {'params', 'params_ema'}
    assert content['params']['conv.weight'].abs().max() > 0
    second = checkpointer(networks)
    second.resume(torch.load(tmp_path / 'states/5.state', weights_only=True))
    assert (second.last_saved, second.steps.total) == (5, 2)
    assert second.validator.best == first.validator.best
    second.save(-1, -1)
    assert Path(tmp_path, 'models/net_g_latest.pth').is_file()


def test_validator(networks):
    lq = batch(1)['lq']
    whole = Validator(networks.ema, val_options({})).upscale(lq)
    tiled = Validator(networks.ema, val_options(dict(val=dict(tile=6, tile_overlap=2)))).upscale(lq)
    torch.testing.assert_close(tiled, whole)
    assert networks.ema.training  # as before
    metrics = dict(psnr=dict(type='calculate_psnr'), niqe=dict(type='calculate_niqe', better='lower'))
    validator = Validator(networks.ema, val_options(dict(val=dict(metrics=metrics))), 'pairs/psnr')
    saved = {'psnr': {'better': 'higher', 'val': 30.0, 'iter': 5}, 'gone': {'better': 'higher', 'val': 1.0, 'iter': 5}}
    validator.restore_best({'pairs': saved})
    assert validator.best_iteration() == 5
    assert validator.best['pairs']['niqe'] == {'better': 'lower', 'val': float('inf'), 'iter': -1}


# ---------------------------------------------------------------- overflows in fp16
def test_overflow_lowers_the_scale_and_nothing_else():
    net = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    guarded = steps(enabled=True)
    guarded.in_a_row = guarded.total = 2
    loss = net(torch.ones(1, 2)).sum()
    guarded.scaler.scale(loss).backward()
    net.weight.grad.fill_(float('inf'))
    before = copy.deepcopy(net.state_dict())
    assert not guarded.take('net_g', optimizer, {'l_g_pix': loss}, 0.1)
    guarded.scaler.update()
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert guarded.scaler.get_scale() == 2.0
    assert guarded.end_iteration(1) is None
    assert (guarded.in_a_row, guarded.total) == (2, 2)


def test_average_rests_when_the_scaler_skips_the_step():
    model = build(train=dict(precision='fp16', ema_decay=0.5))
    step(model, 1)
    hook = next(model.net_g.parameters()).register_hook(lambda g: g * float('inf'))
    student, average = (copy.deepcopy(net.state_dict()) for net in (model.net_g, model.net_g_ema))
    model.steps.in_a_row = 4
    step(model, 2)
    assert all(torch.equal(v, student[k]) for k, v in model.net_g.state_dict().items())
    assert all(torch.equal(v, average[k]) for k, v in model.net_g_ema.state_dict().items())
    assert (model.steps.in_a_row, model.steps.total) == (4, 0)
    hook.remove()
    step(model, 3)
    assert not torch.equal(model.net_g_ema.conv_first.weight, average['conv_first.weight'])
    assert model.steps.in_a_row == 0


# ---------------------------------------------------------------- options that carry a run
def test_copies_of_options_share_the_run():
    opt = BasicSROptions(options(), TrainingRun())
    twin = copy.deepcopy(opt)
    assert twin.run is opt.run
    assert twin == opt
    assert twin['train'] is not opt['train']
