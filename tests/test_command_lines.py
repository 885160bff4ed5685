"""Command lines of `pdd` as shells and scripts make them."""

import os

import pytest
import torch

from pdd_arch.commands.errors import run
from pdd_arch.commands.parsers import file_path
from pdd_arch.commands.pdd_cli import main
from pdd_arch.errors import OptionError
from pdd_arch.inference import TiledUpscaler

#: E stands for a variable of a shell that is not set
EMPTY = [
    'upscale photos -o E',
    'upscale photos -o out --model E',
    'upscale photos -o out --compare E',
    'adapt E --hr hr -o out',
    'adapt photos --hr E -o out',
    'adapt photos --hr hr -o E',
    'adapt photos --hr hr -o out --generalist E',
    'adapt photos --hr hr -o out --feature-weights E',
    'prepare folder E -o out',
    'prepare folder photos -o E',
    'prepare folder photos -o out --lr E',
    'prepare synthetic E --domain noise',
    'check E',
    'check photos --json E',
    'report E',
    'report photos -o E',
    'export E -o out',
    'export bundled:demo_generalist.pth -o E',
    'tables E -o out',
    'tables list.yml -o E',
    'convert-options E',
    'convert-options theirs.yml -o E',
]


@pytest.mark.parametrize('line', EMPTY)
def test_an_empty_name_is_not_the_current_folder_nor_a_default(tmp_path, monkeypatch, capsys, line):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run('pdd', main, ['' if word == 'E' else word for word in line.split()])
    assert ended.value.code == 2
    assert "expected a name, found ''" in capsys.readouterr().err
    assert os.listdir() == []


def test_the_home_folder(monkeypatch):
    """Of an option that a shell does not look at, such as --output=~/out."""
    monkeypatch.setenv('HOME', '/somewhere')
    assert str(file_path('~/out')) == '/somewhere/out'
    assert str(file_path('~nobody_of_this_name/out')) == '~nobody_of_this_name/out'


@pytest.mark.parametrize('device', ['meta', 'xla', 'hpu'])
def test_devices_that_torch_cannot_compute_on_here(device):
    with pytest.raises(OptionError, match=rf"device: torch cannot compute on '{device}' here .* Use cpu or cuda\."):
        TiledUpscaler(torch.nn.Upsample(scale_factor=2), 2, device=device)
