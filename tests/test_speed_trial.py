"""`precision: auto` and `threads: auto`: what is measured, what is chosen, and what a resumed run does."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from helpers import build, merge, release_logger, run_options
from torch import nn

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run
from pdd_arch.models import pdd_model
from pdd_arch.training import speed_trial
from pdd_arch.training.speed_trial import Conditions, Measured, fastest

CPU = torch.device('cpu')


@pytest.fixture
def times(monkeypatch):
    """Function of seconds by what is tried: those that passes take from now on. Gives the list of passes made."""

    def take(**seconds: float) -> list[str]:
        passes = []

        def one(_net, _image, conditions):
            passes.append(str(conditions))
            return seconds[f'{conditions.precision}_{conditions.threads}']

        monkeypatch.setattr(speed_trial, '_pass', one)
        return passes

    monkeypatch.setattr(torch, 'get_num_threads', lambda: 2)
    return take


@pytest.mark.parametrize(
    ('seconds', 'chosen'),
    [
        (dict(fp32_2=1, fp32_1=2, bf16_2=0.3, bf16_1=0.6), Conditions('bf16', 2)),
        (dict(fp32_2=3, fp32_1=1, bf16_2=4, bf16_1=2), Conditions('fp32', 1)),  # a busy processor without bf16
        (dict(fp32_2=1, fp32_1=0.95, bf16_2=0.95, bf16_1=0.95), Conditions('fp32', 2)),  # not worth a change
    ],
)
def test_the_fastest_is_chosen(times, seconds, chosen):
    times(**seconds)
    found = fastest(nn.Conv2d(3, 3, 3), 8, CPU, 'auto', 'auto')
    assert found.chosen == chosen
    assert found.seconds == {f'{k[:4]}, {k[5]} thread{"s" * (k[5] > "1")}': v for k, v in seconds.items()}
    assert str(chosen) in str(found)
    assert found.device in str(found)


def test_only_what_is_auto_is_tried(times):
    passes = times(fp32_2=1, bf16_2=2, bf16_1=1)
    assert fastest(nn.Conv2d(3, 3, 3), 8, CPU, 'auto', None).chosen == Conditions('fp32', 2)
    assert fastest(nn.Conv2d(3, 3, 3), 8, CPU, 'bf16', 'auto').chosen == Conditions('bf16', 1)
    assert 'fp32, 1 thread' not in passes


def test_what_is_hopeless_is_tried_once(times):
    passes = times(fp32_2=1, bf16_2=50)
    fastest(nn.Conv2d(3, 3, 3), 8, CPU, 'auto', None)
    assert passes.count('bf16, 2 threads') == 1
    assert passes.count('fp32, 2 threads') == 3


def test_a_real_measurement_leaves_no_trace():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    torch.manual_seed(0)
    wanted = torch.rand(4)
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    found = fastest(net, 8, CPU, 'auto', 'auto')
    assert torch.equal(torch.rand(4), wanted)
    assert torch.get_num_threads() == threads
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert all(seconds > 0 for seconds in found.seconds.values())


def in_bf16(*_):
    return Measured(Conditions('bf16', 1), {'fp32, 1 thread': 2.0, 'bf16, 1 thread': 1.0}, 'a processor')


def train(opt, *flags):
    release_logger()
    Path('run.yml').write_text(yaml.safe_dump(opt))
    return run('basicsr', main, ['train', '-opt', 'run.yml', *flags])


def test_a_run_says_what_it_has_chosen_and_keeps_it(workplace, monkeypatch, capfd):
    monkeypatch.setattr(pdd_model, 'fastest', in_bf16)
    opt = run_options(train=dict(precision='auto', threads='auto'))
    assert train(opt, '--check') == 0
    assert 'auto (fp32 or bf16, measured when the run starts)' in capfd.readouterr().out
    assert train(opt) == 0
    assert 'Trained in bf16, 1 thread (measured, ' in capfd.readouterr().err
    events = [json.loads(line) for line in Path('experiments/tiny/record.jsonl').read_text().splitlines()]
    assert next(e for e in events if e['event'] == 'conditions')['precision'] == 'bf16'
    state = torch.load('experiments/tiny/training_states/2.state', weights_only=True)
    assert state['conditions']['precision'] == 'bf16'

    monkeypatch.setattr(pdd_model, 'fastest', lambda *_: pytest.fail('measured again'))
    assert train(merge(opt, dict(train=dict(total_iter=3))), '--auto_resume') == 0
    assert 'Trained in bf16, 1 thread, as before this state.' in capfd.readouterr().err
    fixed = merge(opt, dict(train=dict(total_iter=4, precision='fp32', threads=None)))
    assert train(fixed, '--auto_resume') == 0
    assert 'Trained in' not in capfd.readouterr().err


def test_the_step_runs_in_what_was_chosen(monkeypatch):
    monkeypatch.setattr(pdd_model, 'fastest', in_bf16)
    model = build(train=dict(precision='auto'))
    assert (model.settings.precision, model.settings.threads) == ('bf16', None)
    assert model.training_step.settings.precision == 'bf16'
