"""Tables: wrong and changed lists, failures, interruptions, two at a time."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from table_material import LIST, make_folder, tables, train_here

from pdd_arch.commands.pdd_cli import main
from pdd_arch.errors import DataError, MissingFileError, OptionError
from pdd_arch.tables import runner
from pdd_arch.training import subprocesses
from pdd_arch.training.subprocesses import Trainings
from pdd_arch.utils.signals import Stopped

table_folder = pytest.fixture(make_folder)
trained = pytest.fixture(train_here)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'rowz': []}, 'rowz'),
        (
            {'rows': [{'name': 'x', 'method': 'guess'}]},
            "rows[0].method: expected 'train', 'start' or 'bicubic', found 'guess'",
        ),
        ({'rows': [{'name': 'x'}, {'name': 'x'}]}, "'x' appears twice"),
        ({'baseline': 'strat'}, "'strat' is not a row"),
        ({'rows': [{'name': 'start', 'datasets': ['c']}]}, "unknown dataset 'c'"),
        ({'datasets': {}}, 'datasets'),
        ({'seeds': []}, 'seeds'),
        ({'seeds': [1, 1]}, 'seed 1 appears twice'),
        ({'rows': [{'name': 'start'}, {'name': 'a b'}, {'name': 'a_b'}]}, "'a_b on a' would be kept in files named"),
        ({'rows': [{'name': 'start', 'method': 'start', 'checkpoint': 'x.pth'}]}, 'found both'),
        ({'changes': {'train.ema_decai': 0.5}}, 'bicubic on a: train.ema_decai: unknown key'),
        ({'changes': {'val.metrics': None}}, 'bicubic on a: val.metrics: missing'),
        ({'changes': {'datasets.val': None}}, 'bicubic on a: datasets.val: missing'),
        ({'metrics': {'P': {'type': 'calculate_psnrr', 'crop_border': 4}}}, "Did you mean 'calculate_psnr'?"),
        ({'metrics': {'P': {'crop_border': 4}}}, 'metrics.P.type'),
        ({'metrics': {'P': {'type': 'calculate_psnr', 'crop_boarder': 4}}}, 'metrics.P.crop_boarder'),
        ({'metrics': {'P': {'type': 'calculate_psnr', 'crop_border': 4, 'decimals': 'two'}}}, 'metrics.P.decimals'),
        (
            {'metrics': {'N': {'type': 'calculate_niqe', 'crop_border': 4, 'better': 'higher'}}},
            "metrics.N.better: of calculate_niqe, lower values are better, found 'higher'",
        ),
        ({'rows': [*LIST['rows'], {'name': 'x', 'changes': {'val.metrics.PSNR.crop_border': 0}}]}, 'same columns'),
    ],
)
def test_wrong_lists(table_folder, change, words):
    Path('list.yml').write_text(yaml.safe_dump({**LIST, **change}))
    with pytest.raises(OptionError, match=re.escape(words)):
        tables('--dry-run')


def test_columns_of_one_name_are_refused_before_training(table_folder, trained):
    psnr = {'type': 'calculate_psnr', 'crop_border': 4, 'label': 'P'}
    Path('list.yml').write_text(yaml.safe_dump({**LIST, 'metrics': {'a': psnr, 'b': psnr}}))
    with pytest.raises(DataError, match=r'list\.yml: metrics: expected different names'):
        tables()
    assert trained == []


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        (['--only', 'adopted'], "no row has 'adopted' in its name"),
        (['--datasets', 'a,c'], "'c' is not in the list, expected 'a' or 'b'"),
    ],
)
def test_wrong_choices(table_folder, flags, words):
    with pytest.raises(OptionError, match=words):
        tables('--dry-run', *flags)


@pytest.mark.parametrize('flags', [['--seeds', '0,0'], ['--seeds', 'a'], ['--jobs', '0']])
def test_wrong_numbers(table_folder, flags, capsys):
    with pytest.raises(SystemExit):
        tables('--dry-run', *flags)
    assert 'expected' in capsys.readouterr().err


def test_a_changed_list_is_refused_before_anything_runs(table_folder, trained):
    rows = [{'name': 'start', 'method': 'start'}, {'name': 'adapted'}]
    few = {**LIST, 'rows': rows, 'datasets': {'a': {}}, 'seeds': [0]}
    Path('list.yml').write_text(yaml.safe_dump(few))
    assert tables('--only', 'start') == 0
    rows[0]['changes'] = {'val.metrics.PSNR.crop_border': 0}
    rows[1]['changes'] = {'val.metrics.PSNR.crop_border': 0}
    Path('list.yml').write_text(yaml.safe_dump(few))
    with pytest.raises(DataError, match=r'a_start\.json: measured with other options'):
        tables('--only', 'adapted')
    assert trained == []


def test_other_metrics_need_no_new_training(table_folder, trained):
    rows = [{'name': 'start', 'method': 'start'}, {'name': 'adapted', 'datasets': ['a']}]
    few = {**LIST, 'rows': rows, 'seeds': [0]}
    Path('list.yml').write_text(yaml.safe_dump(few))
    assert tables() == 0
    before = Path('out/table.json').read_text()
    psnr = {'type': 'calculate_psnr', 'crop_border': 4, 'better': 'higher'}
    # how a column is printed, and where else a row is measured, changes no number
    Path('list.yml').write_text(yaml.safe_dump({**few, 'metrics': {'PSNR': {**psnr, 'decimals': 3, 'label': 'P'}}}))
    assert tables() == 0
    assert '| P ↑ |' in Path('out/table.md').read_text()
    rows[1]['datasets'] = ['a', 'b']
    Path('list.yml').write_text(yaml.safe_dump(few))
    assert tables() == 0
    assert trained == ['a_adapted_seed0', 'b_adapted_seed0']

    Path('list.yml').write_text(
        yaml.safe_dump({**few, 'metrics': {'PSNR': psnr, 'SSIM': {**psnr, 'type': 'calculate_ssim'}}})
    )
    trained.clear()
    assert main(['tables', 'list.yml', '-o', 'out2']) == 0
    assert trained == []  # the same runs, measured anew
    first, second = (json.loads(text)['rows'][1]['seeds'][0] for text in (before, Path('out2/table.json').read_text()))
    assert [v[:1] for v in second['scores'].values()] == list(first['scores'].values())


def test_a_damaged_result_is_named(table_folder):
    assert tables('--only', 'bicubic') == 0
    Path('out/cells/a_bicubic.json').write_text('{"fing')
    with pytest.raises(DataError, match=r'a_bicubic\.json: cannot be read as JSON .* Delete it to measure again'):
        tables()


def test_one_at_a_time_in_a_folder(table_folder):
    Path('out').mkdir()
    code = 'import sys; from pdd_arch.utils.locks import lock_folder; x = lock_folder("out"); print()'
    code = f'{code}; sys.stdout.flush(); sys.stdin.read()'
    with subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(OptionError, match='-o out: another `pdd tables` is writing there'):
            tables('--only', 'bicubic')
        other.kill()
    assert tables('--only', 'bicubic') == 0


def test_an_unforeseen_failure_stops_its_row_only(table_folder, monkeypatch, capsys):
    real = runner.validation_pairs

    def fails_on_b(opt):
        yield from real(opt)
        if opt['datasets']['train']['dataroot_lq'] == 'real2':
            raise ZeroDivisionError('by zero')

    monkeypatch.setattr(runner, 'validation_pairs', fails_on_b)
    assert tables('--only', 'bicubic') == 1
    assert re.search('b_bicubic: .*ZeroDivisionError: by zero', capsys.readouterr().err)
    table = json.loads(Path('out/table.json').read_text())
    assert [len(r['seeds']) for r in table['rows'] if r['name'] == 'bicubic'] == [1, 0]
    assert not Path('out/cells/b_bicubic.json').exists()


@pytest.mark.parametrize(
    ('value', 'reason'), [(float('nan'), 'not a number'), (np.linalg.LinAlgError('SVD'), 'LinAlgError SVD')]
)
def test_a_metric_that_gives_no_number(table_folder, monkeypatch, capsys, value, reason):
    from basicsr.utils.registry import METRIC_REGISTRY

    def nothing(img, img2, **_):
        if isinstance(value, Exception):
            raise value
        return value

    monkeypatch.setitem(METRIC_REGISTRY._obj_map, 'calculate_nothing', nothing)
    metrics = {'N|1': {'type': 'calculate_nothing', 'better': 'lower'}}
    Path('list.yml').write_text(yaml.safe_dump({**LIST, 'rows': LIST['rows'][:2], 'metrics': metrics}))
    assert tables() == 1
    said = capsys.readouterr().err
    assert f'metrics.N|1: no number for 1 of 1 images of bicubic on a (the first: 000: {reason})' in said
    assert 'images of start on b' in said
    assert 'NaN' not in Path('out/table.json').read_text()
    assert r'| N\|1 ↓ |' in Path('out/table.md').read_text()
    assert '| n/a |' in Path('out/table.md').read_text()
    assert tables() == 1  # still said, and not measured again


def test_a_signal_stops_the_runs_and_starts_no_more(table_folder, monkeypatch):
    started, stopped = [], threading.Event()

    def run_until_stopped(_self, arguments, log, device):
        started.append(arguments)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.wait(20)
        return 143

    monkeypatch.setattr(runner.Trainings, 'run', run_until_stopped)
    monkeypatch.setattr(runner.Trainings, 'stop', lambda _self: stopped.set())
    with pytest.raises(Stopped, match='143'):
        tables('--only', 'adapted')
    assert len(started) == 1  # of four
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_run_is_asked_to_end(tmp_path, monkeypatch):
    runs, ended = Trainings(), []
    monkeypatch.setattr(subprocesses.sys, 'executable', 'sleep')
    monkeypatch.setattr(subprocesses, 'PROGRAM', ())
    thread = threading.Thread(target=lambda: ended.append(runs.run(['60'], tmp_path / 'log', '7')))
    thread.start()
    while not runs._started:
        time.sleep(0.01)
    runs.stop()
    thread.join(20)
    assert ended == [-signal.SIGTERM]
    with pytest.raises(InterruptedError):
        runs.run(['60'], tmp_path / 'log', None)


def test_no_such_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFileError, match=r'list\.yml: no such list'):
        tables()
    assert list(tmp_path.iterdir()) == []
