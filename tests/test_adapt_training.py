"""The training under `pdd adapt`, played by short scripts: progress, signals, and what is said of failures."""

import signal
import subprocess
import sys

import pytest
import torch

from pdd_arch.adaptation import child_training
from pdd_arch.adaptation.child_training import TrainingFailed, train
from pdd_arch.adaptation.workspace import Workspace
from pdd_arch.errors import DataError, NumbersError
from pdd_arch.training import subprocesses as trainings
from pdd_arch.training.record import RECORD, TrainingRecord
from pdd_arch.utils.locks import LOCK_FILE
from pdd_arch.utils.signals import Stopped


@pytest.fixture
def space(tmp_path):
    return Workspace(tmp_path / 'out')


@pytest.fixture
def trainer(space, tmp_path, monkeypatch):
    """Function of Python code: what runs in place of the training, in the folder of the adaptation."""
    space.root.mkdir()
    monkeypatch.setattr(child_training, '_POLL_SECONDS', 0.01)

    def put(code: str) -> None:
        (tmp_path / 'trainer.py').write_text(code)
        monkeypatch.setattr(trainings, 'PROGRAM', ('-S', str(tmp_path / 'trainer.py')))

    return put


STEPS = """
import json, os, signal, sys, time
os.makedirs('experiments/adapt/models'); os.makedirs('experiments/adapt/training_states')
assert sys.argv[1:] == ['train', '-opt', 'adapt.yml', '--auto_resume']
for i in range(10, 60, 10):
    with open('experiments/adapt/record.jsonl', 'a') as record:
        record.write(json.dumps({'event': 'step', 'iteration': i, 'losses': {'l_pix': 1}}) + '\\n')
    open(f'experiments/adapt/training_states/{i}.state', 'w').close()
    open(f'experiments/adapt/models/net_g_{i}.pth', 'w').close()
    time.sleep(0.1)
"""


def test_training_tells_its_progress_where_there_is_no_terminal(space, trainer, capsys):
    trainer(STEPS)
    seen = []
    train(space, 'adapt', 50, lambda iteration, path: seen.append((iteration, path.name)), 'teaching')
    assert seen[0] == (10, 'net_g_10.pth')
    assert seen == sorted(set(seen))
    told = capsys.readouterr().err
    assert 'teaching: step 10 of 50, 00:0' in told
    assert ' left\n' in told
    states = sorted(p.stem for p in (space.run_folder('adapt') / 'training_states').iterdir())
    assert states[-2:] == ['40', '50']
    assert '10' not in states  # nobody goes back that far


def test_training_that_has_ended_is_not_repeated(space, trainer):
    trainer('raise SystemExit(1)')
    folder = space.run_folder('adapt') / 'models'
    folder.mkdir(parents=True)
    (folder / 'net_g_latest.pth').write_text('')
    train(space, 'adapt', 50, lambda *_: None)


@pytest.mark.parametrize(
    ('code', 'said'),
    [
        ('import os; os.kill(os.getpid(), 9)', r'was killed, as a rule by the system for want of memory\. Close'),
        (
            'print("INFO: error: of no matter")\n'
            'print("basicsr: error: x.png: broken. Replace it.")\n'
            'raise SystemExit(1)',
            r'status 1 and the line "basicsr: error: x\.png: broken\. Replace it\."\. .*adapt_output\.txt has all .*'
            r'Give the same command to continue\.$',
        ),
        ('raise SystemExit(3)', r'ended with status 3\. .*adapt_output\.txt has all that it printed'),
    ],
)
def test_training_that_fails_without_a_record_is_quoted(space, trainer, code, said):
    trainer(code)
    with pytest.raises(TrainingFailed, match=said):
        train(space, 'adapt', 50, lambda *_: None)


def ended_by(folder, error: Exception) -> str:
    """Code of a training whose record ends with an error."""
    TrainingRecord(folder).end(20, 'failed', error)
    lines = (folder / RECORD).read_text()
    return (
        'import os; os.makedirs("experiments/adapt", exist_ok=True)\n'
        f'with open("experiments/adapt/{RECORD}", "a") as record: record.write({lines!r})\n'
        'raise SystemExit(1)'
    )


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (
            DataError('broken', where='x.png', found='none', way_out='Replace it. Continue with --auto_resume.'),
            r'^x\.png: broken, found none\. Put that right; then give the same command to continue\.$',
        ),
        (NumbersError('weights are not finite', way_out='Set train.grad_clip.'), r'^weights .* finite\. Start anew'),
        (OSError(28, 'No space left on device'), r'^OSError: .*No space left on device\. Put that right'),
        (torch.OutOfMemoryError('no'), r'ran out of memory\. .*--batch'),
    ],
)
def test_training_that_fails_says_why_and_what_to_do(space, trainer, tmp_path, error, said):
    trainer(ended_by(tmp_path, error))
    with pytest.raises(TrainingFailed, match=said) as failed:
        train(space, 'adapt', 50, lambda *_: None)
    assert 'auto_resume' not in str(failed.value)
    assert 'train.' not in str(failed.value)


def test_the_error_of_an_earlier_attempt_is_not_told_again(space, trainer, tmp_path):
    trainer(ended_by(tmp_path, DataError('broken', where='x.png')))
    with pytest.raises(TrainingFailed, match='broken'):
        train(space, 'adapt', 50, lambda *_: None)
    trainer('import os; os.kill(os.getpid(), 9)')
    with pytest.raises(TrainingFailed, match='was killed'):
        train(space, 'adapt', 50, lambda *_: None)


def test_training_that_an_earlier_command_has_left_running(space, trainer):
    trainer('raise SystemExit(1)')
    folder = space.run_folder('adapt')
    folder.mkdir(parents=True)
    code = (
        'import fcntl, sys; file = open(sys.argv[1], "w"); fcntl.lockf(file, fcntl.LOCK_EX); print(flush=True); input()'
    )
    command = [sys.executable, '-S', '-c', code, str(folder / LOCK_FILE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(TrainingFailed, match='an earlier `pdd adapt` has started here is still at work'):
            train(space, 'adapt', 50, lambda *_: None)
        other.communicate(b'\n')


def test_the_record_is_read_only_when_it_has_grown(space, trainer, monkeypatch):
    trainer(STEPS + 'time.sleep(1)')
    reads, plain = [], child_training.read_record
    monkeypatch.setattr(child_training, 'read_record', lambda path: reads.append(path) or plain(path))
    train(space, 'adapt', 50, lambda *_: None)
    assert 2 <= len(reads) <= 6  # at the start, and for each of the five lines


def test_training_that_cannot_write_its_output(space, trainer):
    trainer('')
    (space.root / child_training.OUTPUT).mkdir()
    with pytest.raises(DataError, match=r'adapt_output\.txt: cannot be written'):
        train(space, 'adapt', 50, lambda *_: None)


def test_a_signal_is_handed_on_and_a_second_one_too(space, trainer, capfd):
    trainer(
        'import os, signal, time\n'
        'def first(*_):\n'
        '    print("first", flush=True); signal.signal(signal.SIGTERM, signal.SIG_DFL)\n'
        '    os.kill(os.getppid(), signal.SIGTERM)\n'
        'signal.signal(signal.SIGTERM, first)\n'
        'os.kill(os.getppid(), signal.SIGTERM)\n'
        'time.sleep(60)\n'
        'time.sleep(60)'
    )
    with pytest.raises(Stopped) as stopped:
        train(space, 'adapt', 50, lambda *_: None)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert stopped.value.message == 'stopped by SIGTERM while training. Give the same command to continue.'
    assert (space.root / child_training.OUTPUT).read_text() == 'first\n'
    assert capfd.readouterr().err.count('saves its state. Once more: stop at once.') == 1


def test_training_ends_when_its_preview_fails(space, trainer):
    trainer(STEPS + 'open("ended", "w"); time.sleep(60)')

    def fail(*_):
        raise DataError('preview: no space')

    with pytest.raises(DataError, match='preview: no space'):
        train(space, 'adapt', 50, fail)
    assert not (space.root / 'ended').exists()
