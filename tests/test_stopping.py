"""Signals end a run between two iterations, with a state; a second one ends it at once."""

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from child_runs import Child, differences, final_state, losses_by_iteration, resumable_options, write_options
from helpers import write_images

from pdd_arch.basicsr_loop import data_loading
from pdd_arch.models import PDDModel
from pdd_arch.utils.signals import SIGNALS, Stopped, StopRequest

ROOT = 'experiments/tiny'


@pytest.fixture(autouse=True)
def interruptible():
    """A shell's background jobs have Ctrl-C switched off, nohup's hanging up; what is switched off stays off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)
    signal.signal(signal.SIGHUP, hang_up)


def states() -> list[int]:
    folder = Path(ROOT, 'training_states')
    return sorted(int(f.stem) for f in folder.glob('*.state'))


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_signal_finishes_the_iteration_and_writes_a_state(workplace, capfd, signum, workers):
    write_options(resumable_options('ema', False, workers, logger=dict(save_checkpoint_freq=100)))
    child = Child(pause=0.1)
    child.wait_for(5)
    os.kill(child.process.pid, signum)
    assert child.status() == 128 + signum
    assert states() == [5]
    error = capfd.readouterr().err
    assert f'{signum.name}: finishing this iteration' in error
    assert f'basicsr: stopped by {signum.name} after iteration 5' in error
    assert 'Traceback' not in error


def test_stopped_and_resumed_is_uninterrupted(workplace):
    """Also at the end of an epoch, where the next one has just begun, and with signals to data workers as well."""
    write_options(resumable_options('ema', True, 2, path=dict(pretrain_network_g=None)))
    assert Child().status() == 0
    whole, losses = final_state(ROOT), losses_by_iteration()
    shutil.rmtree('experiments')
    Path('losses.jsonl').unlink()
    child = Child(pause=0.05)
    for iteration in (1, 4, 5, 8, 11):
        child.wait_for(iteration)
        for pid in [child.process.pid, *children(child.process.pid)]:  # as a terminal or batch system does
            os.kill(pid, signal.SIGINT)
        assert child.status() == 130
        child = Child('--auto_resume', pause=0.05)
    assert child.status() == 0
    assert differences(final_state(ROOT), whole) == []
    assert losses_by_iteration() == losses


def children(pid: int) -> list[int]:
    """Processes started by `pid` (Linux)."""
    file = Path(f'/proc/{pid}/task/{pid}/children')
    return [int(p) for p in file.read_text().split()] if file.exists() else []


def test_second_signal_ends_at_once(workplace):
    write_options(resumable_options('ema', False, 0))
    child = Child(pause=5)
    child.wait_for(1)
    os.kill(child.process.pid, signal.SIGTERM)
    time.sleep(0.2)
    assert child.process.is_alive()
    os.kill(child.process.pid, signal.SIGTERM)
    start = time.monotonic()
    assert child.status() == -signal.SIGTERM
    assert time.monotonic() - start < 3
    assert states() == []


def test_signal_before_the_first_iteration(workplace, monkeypatch, capfd):
    def slow(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)

    monkeypatch.setattr(PDDModel, 'init_training_settings', slow)
    write_options(resumable_options('ema', False, 0))
    assert Child().status() == 143
    assert 'stopped by SIGTERM before the first iteration; no state was written' in capfd.readouterr().err


def test_handlers_are_given_back(workplace):
    from pdd_arch.commands.basicsr_cli import main

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    write_options(resumable_options('ema', False, 0, train=dict(total_iter=1)))
    main(['train', '-opt', 'run.yml'])
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_signal_that_is_switched_off_stays_off(workplace):
    """nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        write_options(resumable_options('ema', False, 0))
        child = Child(pause=0.05)
        child.wait_for(3)
        os.kill(child.process.pid, signal.SIGHUP)
        assert child.status() == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(not hasattr(signal, 'sigtimedwait'), reason='this system does not tell who sent a signal')
def test_signal_while_data_workers_start(workplace, monkeypatch):
    """A worker that has just been forked has not said yet that it leaves signals to the main process."""
    plain = data_loading.leave_signals_to_the_main_process

    def signalled_first():
        for signum in SIGNALS:
            os.kill(os.getpid(), signum)
        plain()

    monkeypatch.setattr(data_loading, 'leave_signals_to_the_main_process', signalled_first)
    write_options(resumable_options('ema', False, 2))
    assert Child().status() == 0


@pytest.mark.skipif(not hasattr(signal, 'sigtimedwait'), reason='this system does not tell who sent a signal')
@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGKILL])
def test_data_workers_end_with_the_main_process(workplace, monkeypatch, signum):
    """They ignore everybody's SIGTERM but the main process's, and do not outlive it however it ends."""
    plain = PDDModel.init_training_settings

    def with_threads_in_workers(self):
        # as some libraries do: a thread that is there before the worker can say which signals it wants
        idle = threading.Thread(target=time.sleep, args=(60,), daemon=True)
        os.register_at_fork(after_in_child=idle.start)
        plain(self)

    monkeypatch.setattr(PDDModel, 'init_training_settings', with_threads_in_workers)
    write_options(resumable_options('ema', False, 2))
    child = Child(pause=0.3)
    child.wait_for(2)
    workers = children(child.process.pid)
    assert len(workers) >= 2
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    child.wait_for(3)
    assert child.process.is_alive()
    assert {*workers} & {*children(child.process.pid)}
    os.kill(child.process.pid, signum)
    end = time.monotonic() + 20
    while any(os.path.exists(f'/proc/{pid}') for pid in workers):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert child.status() == (143 if signum == signal.SIGTERM else -signum)


def test_signal_before_the_loop_is_remembered():
    """Where Python forks a worker it drops the exception that a handler raises."""
    request = StopRequest()
    with pytest.raises(Stopped):
        request.receive(signal.SIGTERM)
    assert request.signum == signal.SIGTERM


def test_signal_in_a_validation_does_not_wait_for_its_end(workplace, monkeypatch):
    write_images(workplace / 'val_hr', 8, 48, 56)
    write_images(workplace / 'val_lr', 8, 12, 14)
    plain, begun = PDDModel.test, workplace / 'begun'

    def slow(self):
        plain(self)
        begun.touch()
        time.sleep(2)

    monkeypatch.setattr(PDDModel, 'test', slow)
    write_options(resumable_options('ema', False, 0, logger=dict(save_checkpoint_freq=100)))
    child = Child()
    while not begun.exists():
        assert child.process.is_alive()
        time.sleep(0.01)
    os.kill(child.process.pid, signal.SIGTERM)
    start = time.monotonic()
    assert child.status() == 143
    assert time.monotonic() - start < 6
    assert states() == [3]
    monkeypatch.setattr(PDDModel, 'test', plain)
    assert Child('--auto_resume').status() == 0
    state = final_state(ROOT)['state']
    assert state['best_metrics']['pairs']['psnr']['iter'] > 0


def test_models_of_basicsr_are_stopped_and_resumed_too(workplace):
    opt = resumable_options('ema', False, 0, logger=dict(save_checkpoint_freq=1000))
    train = {k: opt['train'][k] for k in ('optim_g', 'scheduler')}
    opt |= dict(model_type='SRModel', train=train | dict(total_iter=100000, pixel_opt=dict(type='L1Loss')))
    write_options(opt)
    child = Child()
    while not list(workplace.glob('experiments/tiny/*.log')):
        assert child.process.is_alive()
        time.sleep(0.01)
    time.sleep(1.0)
    os.kill(child.process.pid, signal.SIGTERM)
    assert child.status() == 143
    (reached,) = states()
    opt['train']['total_iter'] = reached + 3
    write_options(opt)
    assert Child('--auto_resume').status() == 0
    assert f'iter: {reached}.' in sorted(workplace.glob('experiments/tiny/*.log'))[-1].read_text()
