"""The benchmark runs, and its yardstick computes what `PDDModel` does."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / 'experiments' / 'benchmark'


@pytest.fixture
def benchmark_step(monkeypatch):
    """Function of flags: runs ``step.py`` in this process."""
    monkeypatch.syspath_prepend(str(FOLDER))
    step = importlib.import_module('step')

    def run(*flags: object) -> None:
        monkeypatch.setattr(sys, 'argv', ['step.py', *map(str, flags)])
        step.main()

    yield run
    for script in FOLDER.glob('*.py'):
        sys.modules.pop(script.stem, None)


def test_unknown_configuration(benchmark_step, capsys):
    with pytest.raises(SystemExit):
        benchmark_step('--configurations', 'plain,fast')
    assert "unknown configuration 'fast'" in capsys.readouterr().err


def test_all_that_a_gpu_has_to_show_runs(benchmark_step, monkeypatch, tmp_path):
    gpu = importlib.import_module('gpu')
    ran = []

    def run(command, **_):
        # in this process: importing torch anew takes longer than the measurements
        script = Path(command[1]).stem
        ran.append(script)
        monkeypatch.setattr(sys, 'argv', command[1:])
        importlib.import_module(script).main()
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(gpu.subprocess, 'run', run)
    monkeypatch.setattr(sys, 'argv', ['gpu.py', '--dry-run', '-o', str(tmp_path)])
    gpu.main()
    assert ran == list(gpu.FLAGS)
    steps = json.loads((tmp_path / 'step.json').read_text())['configurations']
    assert list(steps) == ['plain', 'float32']
    # the obvious way is another program for the same numbers
    assert steps['float32']['loss_deviation'] < 1e-5
    assert steps['plain']['flops'] > steps['float32']['flops'] > 0
    assert set(steps['float32']['phases']) >= {'teacher', 'student', 'features', 'discriminator', 'optimizers'}
    assert '| float32 |' in (tmp_path / 'step.md').read_text()
    assert json.loads((tmp_path / 'curves.json').read_text())['crop'][0]['seconds'] > 0
    assert 'waiting' in json.loads((tmp_path / 'data.json').read_text())  # at the step time just measured
    deviations = json.loads((tmp_path / 'precision.json').read_text())['after']['3']
    assert deviations['bf16']['l_inter'][0] > deviations['float32']['l_inter'][0]


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has CUDA')
def test_gpu_where_there_is_none(benchmark_step, capsys):
    with pytest.raises(SystemExit):
        benchmark_step('--device', 'cuda')
    assert 'no CUDA device' in capsys.readouterr().err
