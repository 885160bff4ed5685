"""The training under `pdd adapt`, played by short scripts: progress, signals, and what is said of failures."""

import signal

import pytest

from pdd_arch.adaptation import child_training
from pdd_arch.adaptation.child_training import TrainingFailed, train
from pdd_arch.adaptation.workspace import Workspace
from pdd_arch.errors import DataError
from pdd_arch.training import subprocesses
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
        monkeypatch.setattr(subprocesses, 'PROGRAM', ('-S', str(tmp_path / 'trainer.py')))

    return put


STEPS = """
import os, signal, sys, time
os.makedirs('experiments/adapt/models'); os.makedirs('experiments/adapt/training_states')
assert sys.argv[1:] == ['train', '-opt', 'adapt.yml', '--auto_resume']
for i in range(10, 60, 10):
    with open('experiments/adapt/train_adapt_1.log', 'a') as log:
        log.write(f'2026 INFO: [adapt][epoch:  0, iter:      {i:,d}, lr:(1.0e-04,)] l_pix: 1\\n')
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
            'print("basicsr: error: x.png: broken. Replace it. Continue with --auto_resume.")\n'
            'raise SystemExit(1)',
            r'^x\.png: broken\. Replace it\. Then give the same command to continue\.$',
        ),
        (
            'print("basicsr: error: out of memory on the GPU: no"); raise SystemExit(1)',
            r'ran out of memory\. .*--batch',
        ),
        (
            'print("basicsr: error: name: another run is writing to x"); raise SystemExit(1)',
            'an earlier `pdd adapt` has started here is still at work',
        ),
        ('raise SystemExit(3)', r'ended with status 3; .*adapt_output\.txt says why'),
    ],
)
def test_training_that_fails_says_why_and_what_to_do(space, trainer, code, said):
    trainer(code)
    with pytest.raises(TrainingFailed, match=said) as error:
        train(space, 'adapt', 50, lambda *_: None)
    assert 'auto_resume' not in str(error.value)


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
