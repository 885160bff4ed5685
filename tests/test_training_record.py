"""The record of a run as data."""

import json
from pathlib import Path

from child_runs import Child, resumable_options, write_options
from helpers import merge

from pdd_arch.errors import DataError
from pdd_arch.training.record import RECORD, TrainingRecord, read_record

ROOT = Path('experiments/tiny')


def events() -> list[dict]:
    return [json.loads(line) for line in (ROOT / RECORD).read_text().splitlines()]


def test_run_in_two_parts(workplace):
    opt = resumable_options('ema', False, 0, train=dict(total_iter=3), logger=dict(print_freq=1))
    write_options(opt)
    assert Child().status() == 0
    kinds = ['start', 'step', 'step', 'checkpoint', 'step', 'validation', 'checkpoint', 'checkpoint', 'validation']
    assert [e['event'] for e in events()] == [*kinds, 'end']
    assert [e['file'] for e in events() if e['event'] == 'checkpoint'] == [
        'net_g_2.pth',
        'net_g_3.pth',
        'net_g_latest.pth',
    ]
    write_options(merge(opt, dict(train=dict(total_iter=6))))
    assert Child('--auto_resume').status() == 0
    start = [e for e in events() if e['event'] == 'start'][1]
    assert (start['iteration'], start['total_iterations']) == (3, 6)
    history = read_record(ROOT)
    assert sorted(history.losses['l_g_pix']) == [1, 2, 3, 4, 5, 6]
    assert sorted(history.validation['pairs']['psnr']) == [3, 6]
    assert history.end['status'] == 'finished'
    assert history.iteration == 6
    log = ''.join(file.read_text() for file in sorted(ROOT.glob('train_*.log')))
    assert f'l_g_pix: {history.losses["l_g_pix"][2]:.4e}' in log  # the text log has the same numbers


def test_models_of_basicsr_and_failures_are_recorded_too(workplace, monkeypatch):
    from basicsr.models.sr_model import SRModel

    plain = SRModel.feed_data

    def feed(self, data):
        if not hasattr(self, 'count'):
            self.count = 0
        self.count += 1
        if self.count == 3:
            raise DataError('cannot be read', where='real/001.png', way_out='Remove it.')
        plain(self, data)

    monkeypatch.setattr(SRModel, 'feed_data', feed)
    opt = resumable_options('ema', False, 0, logger=dict(save_checkpoint_freq=1))
    train = {k: opt['train'][k] for k in ('optim_g', 'scheduler')}
    write_options(opt | dict(model_type='SRModel', train=train | dict(total_iter=4, pixel_opt=dict(type='L1Loss'))))
    assert Child().status() == 1
    assert [e['event'] for e in events()] == ['start', 'step', 'checkpoint', 'step', 'checkpoint', 'end']
    end = read_record(ROOT).end
    assert (end['status'], end['error']['kind'], end['error']['where']) == ('failed', 'DataError', 'real/001.png')


def test_record_that_cannot_be_written_is_told_once(tmp_path, capsys):
    record = TrainingRecord(tmp_path / 'missing')
    record.add('start', iteration=0)
    record.end(1, 'finished')
    assert capsys.readouterr().err.count('record.jsonl cannot be written: No such file') == 1


def test_line_of_a_killed_process_is_closed(tmp_path):
    (tmp_path / RECORD).write_text('{"event": "step", "iterat')
    TrainingRecord(tmp_path).add('step', iteration=2, losses={'l_g_pix': 0.5})
    assert read_record(tmp_path).losses == {'l_g_pix': {2: 0.5}}
