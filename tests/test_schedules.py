"""The comparison of long and short schedules."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from pdd_arch.options.run_options import validated_file
from pdd_arch.options.yaml_file import load_options
from pdd_arch.utils.resources import option_file

FOLDER = Path(__file__).parents[1] / 'experiments' / 'schedules'


@pytest.fixture
def script(monkeypatch):
    """Function of a name: that script of the folder."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for file in FOLDER.glob('*.py'):
        sys.modules.pop(file.stem, None)


def test_presets_are_a_tenth_and_a_twentieth(script):
    schedules = script('schedules')
    known = schedules.SCHEDULES
    assert known['fast10'].iterations * 10 == known['fast20'].iterations * 20 == known['long'].iterations
    base = load_options(option_file('pdd_city100.yml'))
    for name, schedule in known.items():
        opt = schedules.options_of(base, schedule)
        validated_file(opt, is_train=True)
        assert opt['train']['total_iter'] == schedule.iterations, name
    fast = schedules.options_of(base, known['fast10'])['train']
    # the shipped file is that preset, but that its learning rate is never halved
    assert {k for k in fast if fast[k] != base['train'][k]} == {'scheduler'}


def test_summary(script, tmp_path):
    summary = script('summary')

    def write(name: str, curve: dict) -> None:
        (tmp_path / f'{name}.json').write_text(json.dumps({'curve': curve}))

    (tmp_path / 'phone_start.json').write_text('[20.0, 0.5, 0.4]')
    write('phone_long_0', {'1000': [21.0, 0.6, 0.3], '2000': [20.5, 0.6, 0.3]})
    write('phone_long_97_0', {'2000': [20.75, 0.6, 0.3]})
    write('phone_fast10_1', {'100': [20.2, 0.6, 0.3], '200': [20.9, 0.61, 0.31]})
    rows = [line.split('|') for line in summary.table(*summary.read(tmp_path)).splitlines()[2:]]
    found = {row[2].strip(): [cell.strip() for cell in (row[3], row[4], *row[8:11])] for row in rows}
    # its end against the better end, and against the best checkpoint, of the long ones
    assert found['fast10'] == ['1', '200', '+0.90 dB', '120%', '90%']
    assert found['long'] == ['0', '2000', '+0.50 dB', '67%', '50%']
    assert found['*before*'][2:] == ['', '', '']
