"""Optimizers and schedules by the path of their class."""

import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from child_runs import Child, differences, final_state, losses_by_iteration, resumable_options, write_options
from helpers import NO_D, build, merge, run_options, step

from pdd_arch.errors import OptionError
from pdd_arch.models.deployed_weights import DeployedWeights
from pdd_arch.options.run_options import RunOptions
from pdd_arch.preflight.memory import estimate_memory
from pdd_arch.preflight.networks import open_networks
from pdd_arch.preflight.run import check_plan

#: an optimizer that trains y = (1 - b) z + b x and deploys x, the average of z; to x and back costs rounding
AVERAGING = """
import torch


class Averaging(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, share=0.9):
        super().__init__(params, dict(lr=lr, share=share, trains=False, count=0))

    def _switch(self, to):
        for group in self.param_groups:
            if group['trains'] != to:
                for p in group['params']:
                    z = self.state[p].get('z')
                    if z is not None:
                        b = group['share']
                        p.data.copy_((1 - b) * z + b * p if to else (p - (1 - b) * z) / b)
                group['trains'] = to

    def train(self):
        self._switch(True)

    def eval(self):
        self._switch(False)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            if not group['trains']:
                raise RuntimeError('not in train mode')
            group['count'] += 1
            b = group['share']
            for p in group['params']:
                state = self.state[p]
                if 'z' not in state:
                    state['z'] = p.detach().clone()
                x = (p - (1 - b) * state['z']) / b
                state['z'] -= group['lr'] * p.grad
                x += (state['z'] - x) / group['count']
                p.copy_((1 - b) * state['z'] + b * x)


class NeedsClosure(torch.optim.SGD):
    def step(self, closure):
        super().step(closure)


class HoldsObjects(torch.optim.SGD):
    def state_dict(self):
        return super().state_dict() | {'mine': self}


class Falling(torch.optim.lr_scheduler.LRScheduler):
    def __init__(self, optimizer, by=1.0, last_epoch=-1):
        self.by = by
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        return [base - self.by * self.last_epoch for base in self.base_lrs]
"""
ONE_CYCLE = dict(type='torch.optim.lr_scheduler.OneCycleLR', max_lr=1e-3, total_steps=12)
PLAIN = dict(milestones=None, gamma=None)


@pytest.fixture
def module(workplace, monkeypatch):
    Path('averaging_for_tests.py').write_text(AVERAGING)
    monkeypatch.syspath_prepend(str(workplace))
    yield 'averaging_for_tests'
    sys.modules.pop('averaging_for_tests', None)


def check(**train):
    return check_plan(RunOptions.of(run_options(train=train)))


WORKING = {
    'by path': dict(optim_g=dict(type='torch.optim.AdamW')),
    'by the path of its own module': dict(optim_g=dict(type='torch.optim.nadam.NAdam')),
    'switching': dict(optim_g=dict(type='averaging_for_tests.Averaging', share=0.5, betas=None)),
    'one cycle': dict(scheduler=PLAIN | ONE_CYCLE),
    'cosine': dict(scheduler=PLAIN | dict(type='torch.optim.lr_scheduler.CosineAnnealingLR', T_max=2)),
    'of the user': dict(scheduler=PLAIN | dict(type='averaging_for_tests.Falling', by=1e-6)),
}


@pytest.mark.parametrize('case', WORKING)
def test_checked_and_trained_with(module, case):
    check(**WORKING[case])
    model = build(**merge(NO_D, dict(train=WORKING[case])))
    before = [p.detach().clone() for p in model.net_g.parameters()]
    rates = []
    for i in (1, 2, 3):
        step(model, i)
        rates += model.get_current_learning_rate()
    assert all(not torch.equal(a, b) for a, b in zip(before, model.net_g.parameters(), strict=True))
    assert len(set(rates)) == (1 if 'optim_g' in WORKING[case] else 3)


WRONG = {
    'no such module': (dict(optim_g=dict(type='schedulefre.AdamWScheduleFree')), "no module 'schedulefre'. Install"),
    'no such class': (dict(optim_g=dict(type='torch.optim.AdmW')), "no class 'AdmW'.*Did you mean 'AdamW'"),
    'no class': (dict(optim_g=dict(type='os.system')), "os has no class 'system'"),
    'no optimizer': (dict(optim_g=dict(type='torch.nn.Linear')), 'torch.nn.Linear is no such optimizer'),
    'needs a closure': (dict(optim_g=dict(type='torch.optim.LBFGS', betas=None)), 'LBFGS is no such optimizer'),
    'step needs a closure': (
        dict(optim_g=dict(type='averaging_for_tests.NeedsClosure', betas=None)),
        r'optim_g: averaging_for_tests.NeedsClosure: .*closure',
    ),
    'objects in its state': (
        dict(optim_g=dict(type='averaging_for_tests.HoldsObjects', betas=None)),
        r'optim_g.type: .* its state_dict\(\) holds more than tensors',
    ),
    'not for convolutions': (dict(optim_g=dict(type='torch.optim.Muon', betas=None)), 'optim_g: torch.optim.Muon: '),
    'unknown keyword': (dict(optim_g=dict(type='torch.optim.AdamW', momentm=1)), 'optim_g.momentm: .*no such option'),
    'keyword of another kind': (dict(optim_g=dict(type='torch.optim.AdamW', amsgrad=1)), 'amsgrad: expected true or'),
    'three decays': (dict(optim_g=dict(betas=[0.9, 0.9, 0.9])), 'optim_g.betas: expected two numbers'),
    'three decays by path': (
        dict(optim_g=dict(type='torch.optim.Adam', betas=[0.9] * 3)),
        'optim_g.betas: expected two numbers',
    ),
    'schedule without path': (dict(scheduler=dict(type='OneCycleLR')), "scheduler.type: .*, found 'OneCycleLR'"),
    'mistyped schedule': (dict(scheduler=dict(type='MultistepLR')), "Did you mean 'MultiStepLR'"),
    'schedule that ends too early': (
        dict(total_iter=100, scheduler=PLAIN | ONE_CYCLE),
        'OneCycleLR: Tried to step 13 times. The specified number of total steps is 12',
    ),
    'schedule without its arguments': (
        dict(scheduler=PLAIN | dict(type='torch.optim.lr_scheduler.StepLR')),
        'scheduler.step_size: missing',
    ),
    'unknown keyword of a schedule': (
        dict(scheduler=PLAIN | dict(type='torch.optim.lr_scheduler.StepLR', step_size=2, milestones=[1])),
        'scheduler.milestones: .*no such option',
    ),
    'schedule with a function': (
        dict(scheduler=PLAIN | dict(type='torch.optim.lr_scheduler.LambdaLR', lr_lambda='lambda n: n')),
        'LambdaLR needs a function, which an option file cannot hold',
    ),
    'schedule of a metric': (
        dict(scheduler=PLAIN | dict(type='torch.optim.lr_scheduler.ReduceLROnPlateau')),
        'ReduceLROnPlateau follows a metric',
    ),
    'schedule below zero': (
        dict(scheduler=PLAIN | dict(type='averaging_for_tests.Falling')),
        'the learning rate becomes -',
    ),
    'schedule without bounds': (
        dict(
            total_iter=2000, scheduler=dict(type='torch.optim.lr_scheduler.ExponentialLR', gamma=3.0, milestones=None)
        ),
        'the learning rate becomes inf',
    ),
    'no path': (dict(optim_g=dict(type='.Adam')), r"optim_g.type: expected the path of a class, .* found '.Adam'"),
    'optimizer for a schedule': (dict(scheduler=PLAIN | dict(type='torch.optim.Adam')), 'Adam is no schedule'),
    'warm-up before it': (
        dict(warmup_iter=5, scheduler=PLAIN | dict(type='torch.optim.lr_scheduler.ExponentialLR', gamma=0.9)),
        'train.warmup_iter: 5, but .*ExponentialLR computes',
    ),
    'momentum is missing': (
        dict(optim_g=dict(type='Adagrad', betas=None), scheduler=PLAIN | ONE_CYCLE),
        'OneCycleLR: .*momentum',
    ),
}


@pytest.mark.parametrize('case', WRONG)
def test_what_is_wrong_is_said_before_the_run(module, case):
    train, words = WRONG[case]
    with pytest.raises(OptionError, match=words):
        check(**train)


def test_weights_to_deploy_and_back():
    """Validation and saving see x; training goes on from the very bits of y."""
    namespace: dict = {}
    exec(AVERAGING, namespace)  # noqa: S102
    p = torch.nn.Parameter(torch.randn(50, generator=torch.Generator().manual_seed(0)))
    optimizer = namespace['Averaging']([p], lr=0.1)
    weights = DeployedWeights([optimizer, torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)])
    for _ in range(3):
        p.grad = p.detach().sin()
        optimizer.step()
    y = p.detach().clone()
    with weights.in_place(), weights.in_place():
        assert not torch.equal(p, y)
        torch.testing.assert_close(p.detach(), (y - 0.1 * optimizer.state[p]['z']) / 0.9)
        saved = weights.in_training()
        assert torch.equal(saved[0][0], y)
        assert saved[1] is None
    assert torch.equal(p, y)
    assert optimizer.param_groups[0]['trains']
    assert weights.in_training() is None


@pytest.mark.parametrize('ema_decay', [0, 0.9])
def test_resumed_exactly(module, ema_decay):
    """Killed and resumed at iterations where the other run neither saved nor validated."""
    changes = dict(
        network_teacher=dict(
            type='RRDBNet', num_in_ch=3, num_out_ch=3, scale=4, num_feat=8, num_block=1, num_grow_ch=4
        ),
        train=dict(
            teacher='static',
            ema_decay=ema_decay,
            distill_warmup_iters=0,
            optim_g=dict(type='averaging_for_tests.Averaging', lr=1e-3, betas=None),
            scheduler=PLAIN | ONE_CYCLE | dict(cycle_momentum=False),
        ),
    )
    opt = merge(resumable_options('ema', False, 0), changes)
    opt['train']['scheduler'] = ONE_CYCLE | dict(cycle_momentum=False)
    opt['path'] = dict(pretrain_network_g='g.pth', pretrain_network_teacher='t.pth')
    opt['import'] = ['averaging_for_tests.py']
    from basicsr.archs import build_network

    for seed, name in enumerate(('g.pth', 't.pth')):
        torch.manual_seed(seed)
        torch.save({'params': build_network(dict(opt['network_g'])).state_dict()}, name)
    write_options(opt)
    assert Child().status() == 0
    whole, losses = final_state('experiments/tiny'), losses_by_iteration()
    assert not torch.equal(
        whole['state']['training_weights'][0][0], next(iter(whole['net_g_12.pth']['params'].values()))
    )
    shutil.rmtree('experiments')
    Path('losses.jsonl').unlink()
    write_options(merge(opt, dict(logger=dict(save_checkpoint_freq=5), val=dict(val_freq=7))))
    child = Child(pause=0.05)
    child.wait_for(3)
    child.process.terminate()  # the state of an iteration that the other run did not save
    assert child.status() == 128 + signal.SIGTERM
    child = Child('--auto_resume', pause=0.05)
    child.wait_for(7)
    time.sleep(0.02)
    child.kill()
    child.status()
    assert Child('--auto_resume').status() == 0
    found = final_state('experiments/tiny')
    for state in (found['state'], whole['state']):
        state.pop('best_metrics')
        state.pop('validated')
    assert differences(found, whole) == []
    assert losses_by_iteration() == losses


def test_memory_of_an_optimizer_that_is_not_torchs(module):
    def optimizers(kind):
        options = RunOptions.of(run_options(train=dict(optim_g=dict(type=kind, betas=None))))
        return estimate_memory(options, open_networks(options, False)).optimizers

    assert optimizers('averaging_for_tests.Averaging') == optimizers('SGD') == optimizers('Adam') // 2
