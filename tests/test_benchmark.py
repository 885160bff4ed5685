"""The benchmark runs, and its yardstick computes what `PDDModel` does."""

import importlib
import json
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
    for name in ('step', 'plain', 'configurations', 'phases', 'work', 'machine', 'output'):
        sys.modules.pop(name, None)


def test_dry_run(benchmark_step, tmp_path):
    file = tmp_path / 'step.json'
    size = ('--blocks', 1, '--batch', 1, '--side', 8, '--turns', 1)
    benchmark_step(*size, '--no-memory', '-o', file)
    found = json.loads(file.read_text())['configurations']
    assert list(found) == ['plain', 'float32']
    # the obvious way is another program for the same numbers
    assert found['float32']['loss_deviation'] < 1e-5
    assert found['plain']['flops'] > found['float32']['flops'] > 0
    assert set(found['float32']['phases']) >= {'generalist', 'specialist', 'features', 'discriminator', 'optimizers'}
    assert '| float32 |' in file.with_suffix('.md').read_text()


def test_unknown_configuration(benchmark_step, capsys):
    with pytest.raises(SystemExit):
        benchmark_step('--configurations', 'plain,fast')
    assert "unknown configuration 'fast'" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has CUDA')
def test_gpu_where_there_is_none(benchmark_step, capsys):
    with pytest.raises(SystemExit):
        benchmark_step('--device', 'cuda')
    assert 'no CUDA device' in capsys.readouterr().err
