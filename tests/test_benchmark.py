"""The benchmark runs, and its yardstick computes what `PDDModel` does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / 'experiments' / 'benchmark' / 'step.py'


def test_dry_run(tmp_path):
    command = [sys.executable, SCRIPT, '--blocks', '1', '--batch', '1', '--side', '8', '--turns', '1', '--threads', '1']
    file = tmp_path / 'step.json'
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [*command, '--no-memory', '-o', file], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(file.read_text())['configurations']
    assert list(found) == ['plain', 'float32']
    # the obvious way is another program for the same numbers
    assert found['float32']['loss_deviation'] < 1e-5
    assert found['plain']['flops'] > found['float32']['flops'] > 0
    assert set(found['float32']['phases']) >= {'generalist', 'specialist', 'features', 'discriminator', 'optimizers'}
    assert '| float32 |' in file.with_suffix('.md').read_text()


@pytest.mark.parametrize(
    ('flags', 'words'),
    [(['--configurations', 'plain,fast'], "unknown configuration 'fast'"), (['--device', 'cuda'], 'no CUDA device')],
)
def test_wrong_flags(flags, words):
    import torch

    if 'cuda' in flags and torch.cuda.is_available():
        pytest.skip('this machine has CUDA')
    done = subprocess.run([sys.executable, SCRIPT, *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr
