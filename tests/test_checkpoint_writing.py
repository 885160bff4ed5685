"""Checkpoints are there whole or not at all: kills while writing, full and read-only disks, what is kept."""

import multiprocessing
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import torch
from child_runs import Child, losses_by_iteration, resumable_options, write_options
from helpers import build, options, step

from pdd_arch.errors import NumbersError, WeightsError
from pdd_arch.training.checkpoints import prune
from pdd_arch.training.resume import load_resume_state
from pdd_arch.training.run_state import BasicSROptions, TrainingRun
from pdd_arch.utils.atomic import PARTIAL, remove_partial_files
from pdd_arch.weights.checkpoints import read_checkpoint
from pdd_arch.weights.writing import CheckpointWriter, write_checkpoint

_fork = multiprocessing.get_context('fork')
KILLS = 50


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = dict(models='models', training_states='training_states')
    model = build(path=path, train=dict(total_iter=10**6))
    step(model, 1)
    step(model, 2)
    return model


def resume_options(**paths) -> BasicSROptions:
    keys = ('experiments_root', 'log', 'visualization')
    path = dict(models='models', training_states='training_states', **dict.fromkeys(keys, 'run'), **paths)
    return BasicSROptions(options(auto_resume=True, path=path, train=dict(total_iter=10**6)), TrainingRun())


def names(folder: str) -> list[str]:
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def test_killed_while_writing(model):
    """Whatever was under way, a usable state remains, and the next start removes what was half-written."""

    def save_for_ever(first: int) -> None:
        for iteration in range(first, first + 1000):
            model.iteration = iteration
            model.save(0, iteration)

    started = time.monotonic()
    model.save(0, 2)
    # a busy disk takes longer for a state, and the kills must strike at all stages of several
    pace = max(time.monotonic() - started, 0.03)
    rng, newest, left_behind = random.Random(0), 2, 0
    for _ in range(KILLS):
        process = _fork.Process(target=save_for_ever, args=(newest + 1,))
        before = set(names('models') + names('training_states'))
        process.start()
        limit = time.monotonic() + (20 if rng.random() < 0.8 else 0)  # some kills strike before anything is written
        while set(names('models') + names('training_states')) == before and time.monotonic() < limit:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 2 * pace))
        process.kill()
        process.join()
        left_behind += sum(name.endswith(PARTIAL) for name in names('models') + names('training_states'))

        state = load_resume_state(resume_options())
        assert state['iter'] >= newest
        # the newest one is whole: nothing had to be passed over
        assert state['iter'] == max(int(Path(name).stem) for name in names('training_states'))
        assert not [name for name in names('models') + names('training_states') if name.endswith(PARTIAL)]
        newest = state['iter']
    assert newest > 12  # checkpoints were written
    assert left_behind > 0  # and kills struck while they were


def test_killed_while_rewriting_an_iteration(model):
    """The state goes before its networks change: an old state never stands beside new networks."""
    model.save(0, 2)
    rng = random.Random(1)
    for value in range(10):

        def rewrite(value: int = value) -> None:
            with torch.no_grad():
                next(model.net_g.parameters()).fill_(value)
            while True:
                model.checkpointer.last_saved = None
                model.save(0, 3)

        process = _fork.Process(target=rewrite)
        process.start()
        time.sleep(rng.uniform(0.005, 0.05))
        process.kill()
        process.join()
        opt = resume_options()
        state = load_resume_state(opt)  # verifies the networks' hashes
        assert not [note for note in opt.run.notes if 'Continuing' in note]
        assert opt['path']['pretrain_network_g'] == f'models/net_g_{state["iter"]}.pth'


def test_failure_of_one_file_leaves_all_as_they_were(tmp_path):
    (tmp_path / 'a').write_text('old a')
    (tmp_path / 'b').write_text('old b')

    class Unwritable:
        def __reduce__(self):
            raise OSError(28, 'No space left on device')

    with CheckpointWriter() as writer:
        writer.add({'x': torch.zeros(3)}, tmp_path / 'a')
        with pytest.raises(WeightsError, match=r'b: could not be written: .*No space left.*--auto_resume'):
            writer.add({'x': Unwritable()}, tmp_path / 'b')
    assert (tmp_path / 'a').read_text() == 'old a'
    assert (tmp_path / 'b').read_text() == 'old b'
    assert names(tmp_path) == ['a', 'b']


def test_only_own_temporary_files_are_removed(tmp_path):
    for name in (f'.abc{PARTIAL}', f'notes{PARTIAL}', 'net_g_5.pth'):
        (tmp_path / name).touch()
    assert remove_partial_files(tmp_path) == [f'.abc{PARTIAL}']
    assert names(tmp_path) == ['net_g_5.pth', f'notes{PARTIAL}']


# ---------------------------------------------------------------- disks
@pytest.fixture
def small_disk(workplace):
    """A disk of 400 KB at experiments/."""
    folder = workplace / 'experiments'
    folder.mkdir()
    mounted = shutil.which('mount') and subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=400k', 'tmpfs', str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip('needs the right to mount a small tmpfs')
    yield folder
    subprocess.run(['umount', '-l', str(folder)], check=True)


def one_line(capfd) -> str:
    lines = [line for line in capfd.readouterr().err.strip().splitlines() if line]
    assert 'Traceback' not in '\n'.join(lines)
    assert lines[-1].startswith('basicsr: error: ')
    return lines[-1]


def test_full_disk_stops_the_run_and_the_earlier_state_goes_on(small_disk, capfd):
    opt = resumable_options('ema', False, 0, logger=dict(save_checkpoint_freq=1))
    write_options(opt)
    assert Child().status() == 1
    line = one_line(capfd)
    assert 'could not be written' in line
    assert 'No space left on device' in line
    assert '--auto_resume' in line
    reached = max(losses_by_iteration())
    states = [int(Path(name).stem) for name in names('experiments/tiny/training_states')]
    assert states == list(range(1, reached))
    assert not list(small_disk.rglob(f'.*{PARTIAL}'))

    subprocess.run(['mount', '-o', 'remount,size=40m', str(small_disk)], check=True)
    assert Child('--auto_resume').status() == 0
    assert max(losses_by_iteration()) == 12


def test_read_only_disk_stops_the_run_and_the_earlier_state_loads(small_disk, capfd):
    subprocess.run(['mount', '-o', 'remount,size=40m', str(small_disk)], check=True)
    write_options(resumable_options('ema', False, 0))
    child = Child(pause=0.2)
    child.wait_for(5)
    done = subprocess.run(['mount', '-o', 'remount,ro', str(small_disk)], capture_output=True, check=False)
    if done.returncode:  # the log is open for writing: the folder alone, then
        subprocess.run(['mount', '--bind', *['experiments/tiny/models'] * 2], check=True)
        subprocess.run(['mount', '-o', 'remount,bind,ro', 'experiments/tiny/models'], check=True)
    assert child.status() == 1
    assert 'Read-only file system' in one_line(capfd)
    if done.returncode:
        subprocess.run(['umount', '-l', 'experiments/tiny/models'], check=True)
    assert Child('--auto_resume').status() == 0
    assert max(losses_by_iteration()) == 12


def test_limit_on_file_size(workplace, capfd):
    """The same without the right to mount: a write that fails in the middle."""
    import resource
    import signal

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        try:
            write_checkpoint({'x': torch.zeros(50_000)}, 'big.pth')
        except WeightsError as e:
            os._exit(42 if 'File too large' in str(e) else 43)
        os._exit(0)

    write_checkpoint({'x': torch.zeros(50_000)}, 'big.pth')
    process = _fork.Process(target=limited)
    process.start()
    process.join()
    assert process.exitcode == 42
    assert read_checkpoint('big.pth')['x'].shape == (50_000,)
    assert not [name for name in names('.') if name.endswith(PARTIAL)]


# ---------------------------------------------------------------- what is written, what is kept
def test_broken_networks_are_not_saved(model):
    with torch.no_grad():
        next(model.net_g.parameters())[0] = float('nan')
    with pytest.raises(NumbersError, match=r'iteration 2: .* of net_g is not finite'):
        model.save(0, 2)
    assert names('training_states') == []


def test_newest_are_kept(tmp_path):
    models, states = tmp_path / 'models', tmp_path / 'training_states'
    models.mkdir()
    states.mkdir()
    for i in (5, 10, 15, 20, 100):
        (states / f'{i}.state').touch()
        for label in ('net_g', 'net_d'):
            (models / f'{label}_{i}.pth').touch()
    (models / 'net_g_latest.pth').touch()
    (models / 'net_g_mine.pth').touch()
    (models / 'net_g_7.pth').touch()  # of a run that was killed before it wrote the state
    removed = prune(models, states, keep=2, best=10)
    assert names(states) == ['10.state', '100.state', '20.state']
    networks = {f'{label}_{i}.pth' for label in ('net_g', 'net_d') for i in (10, 20, 100)}
    assert {*names(models)} == networks | {'net_g_latest.pth', 'net_g_mine.pth'}
    assert 'net_g_7.pth' in removed


def test_best_checkpoint_is_kept_and_saved_when_it_is_found(workplace, monkeypatch):
    """The third validation is the best: nobody asked for a checkpoint there, and later ones must not push it out."""
    from pdd_arch.commands.basicsr_cli import main
    from pdd_arch.models import PDDModel

    results = iter([1.0, 2.0, 9.0, 3.0, 3.0])

    def validation(self, _loader, current_iter, *_):
        self._initialize_best_metric_results('pairs')
        self._update_best_metric_result('pairs', 'psnr', next(results), current_iter)

    monkeypatch.setattr(PDDModel, 'nondist_validation', validation)
    opt = resumable_options('ema', False, 0)
    opt['logger'] = dict(print_freq=1, save_checkpoint_freq=4, keep_checkpoints=1, keep_best='psnr')
    write_options(opt)
    assert main(['train', '-opt', 'run.yml']) == 0
    assert names('experiments/tiny/training_states') == ['12.state', '9.state']
    assert names('experiments/tiny/models') == ['net_g_12.pth', 'net_g_9.pth', 'net_g_latest.pth']
    record = torch.load('experiments/tiny/training_states/12.state', weights_only=True)['best_metrics']
    assert record == {'pairs': {'psnr': {'better': 'higher', 'val': 9.0, 'iter': 9}}}


# ---------------------------------------------------------------- what is read
TAMPERED = {
    'iteration of another state': dict(iter=10),
    'iteration that is a word': dict(iter='4'),
    'epoch beyond all': dict(epoch=10**9),
    'position that is a word': dict(position={'epoch': 'x', 'samples': 0}),
    'path for a network': dict(networks={'net_g': {'file': '/etc/passwd', 'sha256': ''}}),
    'optimizers that are none': dict(optimizers='x'),
    'generators that are none': dict(random=[3]),
    'options that are no JSON': dict(options='{'),
    'junk in a scheduler': dict(schedulers=[{'get_lr': 'x'}, {}]),
    'junk in an optimizer': dict(optimizers=[{'state': {}, 'param_groups': 3}] * 2),
}


@pytest.mark.parametrize('case', TAMPERED)
def test_tampered_state_is_refused(model, case):
    model.save(0, 2)
    state = Path('training_states/2.state')
    torch.save(torch.load(state, weights_only=True) | TAMPERED[case], state)
    opt = resume_options()

    def resume() -> None:
        content = load_resume_state(opt)
        build(path=opt['path']).resume_training(content)

    with pytest.raises(WeightsError, match=r'2\.state'):
        resume()


def test_tampered_state_is_passed_over(model):
    model.save(0, 1)
    model.save(0, 2)
    state = Path('training_states/2.state')
    torch.save(torch.load(state, weights_only=True) | dict(iter=10), state)
    opt = resume_options()
    assert load_resume_state(opt)['iter'] == 1
    assert 'its iteration is 10' in opt.run.notes[0]
