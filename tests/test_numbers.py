"""Losses and gradients that are not finite, and gradient clipping."""

import copy
import json
from pathlib import Path

import pytest
import torch
from child_runs import Child, resumable_options, write_options
from helpers import batch, build, step

from pdd_arch.errors import NumbersError
from pdd_arch.models import PDDModel


def parameters(net) -> list[torch.Tensor]:
    return [p.detach().clone() for p in net.state_dict().values()]


def unchanged(net, before) -> bool:
    return all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), before, strict=True))


class Poison:
    """Makes one loss not finite when told to."""

    def __init__(self, criterion, value=float('nan')):
        self.criterion, self.value, self.on = criterion, value, False

    def __call__(self, *args, **kwargs):
        loss = self.criterion(*args, **kwargs)
        return loss * self.value if self.on else loss


def test_step_is_skipped_counted_and_named(capfd):
    model = build()
    model.losses.pixel = Poison(model.losses.pixel)
    step(model, 1)
    student, ema = parameters(model.net_g), parameters(model.net_g_ema)
    adam = copy.deepcopy(model.optimizer_g.state_dict())
    model.losses.pixel.on = True
    step(model, 2)
    assert unchanged(model.net_g, student)
    assert unchanged(model.net_g_ema, ema)
    assert torch.equal(model.optimizer_g.state_dict()['state'][0]['exp_avg'], adam['state'][0]['exp_avg'])
    assert (model.steps.in_a_row, model.steps.total) == (1, 1)
    warning = capfd.readouterr().err
    assert 'iteration 2: not finite: l_g_pix, gradient of net_g (1 in a row, 1 in all' in warning
    model.losses.pixel.on = False
    step(model, 3)
    assert not unchanged(model.net_g, student)
    assert (model.steps.in_a_row, model.steps.total) == (0, 1)


def test_gradient_alone_is_noticed(capfd):
    model = build()
    next(model.net_g.parameters()).register_hook(lambda g: g * float('inf'))
    before = parameters(model.net_g)
    step(model, 2)
    assert unchanged(model.net_g, before)
    assert 'not finite: gradient of net_g (' in capfd.readouterr().err


def test_discriminator_has_its_own_verdict(capfd):
    model = build()
    next(model.net_d.parameters()).register_hook(lambda g: g * float('nan'))
    student = parameters(model.net_g)
    weights = [p.detach().clone() for p in model.net_d.parameters()]
    step(model, 2)
    assert not unchanged(model.net_g, student)
    assert all(torch.equal(a, b) for a, b in zip(model.net_d.parameters(), weights, strict=True))
    assert 'not finite: gradient of net_d (' in capfd.readouterr().err


def test_run_stops_with_state_and_file_names(workplace, monkeypatch, capfd):
    """From iteration 5 on every loss is NaN; three in a row are allowed."""
    plain = PDDModel.feed_data

    def feed(self, data):
        plain(self, data)
        if self.iteration >= 4 and self.net_g.training:
            self.gt = self.gt * float('nan')  # its gradient is 0

    monkeypatch.setattr(PDDModel, 'feed_data', feed)
    write_options(resumable_options('ema', False, 0, train=dict(max_nonfinite=3), val=dict(val_freq=100)))
    assert Child().status() == 1
    line = capfd.readouterr().err.strip().splitlines()[-1]
    assert line.startswith('basicsr: error: iteration 7: not finite: l_g_pix, l_g_percep')
    for word in (
        'in 3 iterations in a row',
        'train.max_nonfinite',
        'hr/00',
        'real/00',
        'saved as iteration 7',
        'grad_clip',
    ):
        assert word in line
    states = 'experiments/tiny/training_states'
    assert sorted(f.stem for f in Path(states).iterdir()) == ['2', '4', '6', '7']
    networks = [torch.load(f'experiments/tiny/models/net_g_{i}.pth', weights_only=True)['params'] for i in (4, 7)]
    assert all(torch.equal(networks[0][k], networks[1][k]) for k in networks[0])
    state = torch.load(f'{states}/7.state', weights_only=True)
    assert state['nonfinite'] == {'in_a_row': 0, 'total': 3}

    monkeypatch.setattr(PDDModel, 'feed_data', plain)
    assert Child('--auto_resume').status() == 0
    assert [json.loads(line)['iter'] for line in Path('losses.jsonl').read_text().splitlines()][-5:] == [
        8,
        9,
        10,
        11,
        12,
    ]


def test_networks_that_are_broken_themselves_are_not_saved(workplace, monkeypatch, capfd):
    """A step that is finite can still throw the weights away: the last good state is an earlier one."""
    plain = PDDModel.optimize_parameters

    def optimize(self, current_iter):
        if current_iter == 5:
            with torch.no_grad():
                next(self.net_g.parameters()).fill_(float('inf'))
        plain(self, current_iter)

    monkeypatch.setattr(PDDModel, 'optimize_parameters', optimize)
    opt = resumable_options('ema', False, 0, train=dict(max_nonfinite=1))
    write_options(opt)
    assert Child().status() == 1
    line = capfd.readouterr().err.strip().splitlines()[-1]
    assert 'iteration 5' in line
    assert 'not finite any more, so nothing is saved' in line
    assert sorted(f.stem for f in Path('experiments/tiny/training_states').iterdir()) == ['2', '4']


def test_row_survives_a_resume():
    model = build(path=dict(models='m', training_states='t'))
    state = model.checkpointer.training_state(0, 2)
    state['nonfinite'] = {'in_a_row': 9, 'total': 20}
    other = build()
    other.resume_training(state)
    other.losses.pixel = Poison(other.losses.pixel)
    other.losses.pixel.on = True
    other.save = lambda *_: None
    with pytest.raises(NumbersError, match='in 10 iterations in a row'):
        step(other, 3)


@pytest.mark.parametrize('network', ['net_g', 'net_d'])
def test_clipping(network):
    key, optimizer = {'net_g': ('grad_clip', 'optimizer_g'), 'net_d': ('grad_clip_d', 'optimizer_d')}[network]
    free, clipped = build(), build(train={key: 1e-3})
    norms = []
    for model in (free, clipped):
        model.feed_data(batch(seed=2))
        model.optimize_parameters(2)
        grads = [p.grad for p in getattr(model, network).parameters() if p.grad is not None]
        assert getattr(model, optimizer).param_groups
        norms.append(torch.linalg.vector_norm(torch.stack([g.norm() for g in grads])))
    assert norms[0] > 2e-3
    torch.testing.assert_close(norms[1], torch.tensor(1e-3), rtol=1e-3, atol=0)
