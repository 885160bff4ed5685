"""Whole runs of several processes: launchers, stopping and resuming together, one process that fails."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from basicsr.archs import build_network
from child_runs import Child, differences, final_state, losses_by_iteration, ranks, resumable_options, write_options
from helpers import TINY_G, merge

from pdd_arch import basicsr_options
from pdd_arch.distributed import processes
from pdd_arch.errors import DataError, OptionError
from pdd_arch.options import command_line

ROOT = 'experiments/tiny'


@pytest.fixture
def opt(workplace):
    """Options of a run with one image for each of two processes."""
    torch.manual_seed(3)
    torch.save({'params': build_network(TINY_G).state_dict()}, workplace / 'student.pth')
    train_set = dict(batch_size_per_gpu=1, dataset_enlarge_ratio=4)  # an epoch of whole batches: BasicSR fills it up
    changes = dict(datasets=dict(train=train_set), path=dict(pretrain_network_g='student.pth'))
    return merge(resumable_options('ema', True, 0), changes)


def finish(children: list[Child]) -> list[int]:
    return [child.status() for child in children]


def test_two_processes_train_as_one(opt):
    """The same images in the same order: losses and weights of the whole batch, here in float32 and over a whole run.

    l_inter, with the moving average as the teacher, is a difference between differences of nearly equal features:
    float32 itself knows it to some 1e-5 only.
    """
    write_options(opt)
    assert finish(ranks(2)) == [0, 0]
    Path(ROOT).rename('two')
    losses = losses_by_iteration()
    Path('losses.jsonl').unlink()
    write_options(merge(opt, dict(datasets=dict(train=dict(batch_size_per_gpu=2)))))
    assert Child().status() == 0
    for iteration, wanted in losses_by_iteration().items():
        del wanted['lr']
        for name, value in wanted.items():
            rtol = 2e-4 if name == 'l_inter' else 1e-6
            assert float.fromhex(losses[iteration][name]) == pytest.approx(float.fromhex(value), rel=rtol), (
                iteration,
                name,
            )
    for name in ('net_g', 'net_d'):
        two, one = (final_state(root)[f'{name}_12.pth']['params'] for root in ('two', ROOT))
        a, b = (torch.cat([v.flatten() for v in weights.values()]) for weights in (two, one))
        assert (a - b).norm() < 1e-6 * b.norm()


def test_stopped_together_and_resumed_as_if_not(opt):
    write_options(opt)
    assert finish(ranks(2)) == [0, 0]
    whole = final_state(ROOT)
    assert len(whole['state']['random']) == 2
    shutil.rmtree('experiments')

    children = ranks(2, pause=0.05)
    children[1].wait_for(5)
    os.kill(children[1].process.pid, signal.SIGUSR1)  # one process is told; all stop after the same iteration
    assert finish(children) == [128 + signal.SIGUSR1] * 2
    states = {int(f.stem) for f in Path(ROOT, 'training_states').iterdir()}
    assert max(states) >= 5
    assert finish(ranks(2, '--auto_resume')) == [0, 0]
    assert differences(final_state(ROOT), whole) == []


def test_all_stop_when_one_fails(opt, monkeypatch, capfd):
    from pdd_arch.models import PDDModel

    plain = PDDModel.feed_data

    def feed(self, data):
        if self.opt['rank'] == 1 and self.iteration == 3:
            raise DataError('real/001.png: cannot be read')
        plain(self, data)

    monkeypatch.setattr(PDDModel, 'feed_data', feed)
    write_options(opt)
    start = time.monotonic()
    statuses = finish(ranks(2))
    assert time.monotonic() - start < 30
    assert 0 not in statuses
    error = capfd.readouterr().err
    assert 'basicsr [rank 1]: error: real/001.png: cannot be read' in error
    assert 'basicsr: error: another process of this run has ended' in error
    assert 'Traceback' not in error


def test_not_finite_in_one_process_skips_the_step_in_all(opt, monkeypatch):
    from pdd_arch.models import PDDModel

    plain = PDDModel.feed_data

    def feed(self, data):
        plain(self, data)
        if self.opt['rank'] == 1 and self.iteration == 3:
            self.gt = self.gt * float('nan')

    monkeypatch.setattr(PDDModel, 'feed_data', feed)
    write_options(merge(opt, dict(val=dict(val_freq=100))))
    assert finish(ranks(2)) == [0, 0]
    state = final_state(ROOT)
    assert state['state']['nonfinite'] == {'in_a_row': 0, 'total': 1}
    assert all(torch.isfinite(v).all() for v in state['net_g_12.pth']['params'].values())


def test_none_starts_when_one_cannot(opt, monkeypatch, capfd):
    """They meet before they look at the data: nobody waits for a process that has ended."""
    plain = basicsr_options.check

    def check(options, *how):
        if os.environ['RANK'] == '1':
            raise DataError('datasets.train.dataroot_gt: the folder hr does not exist')
        return plain(options, *how)

    monkeypatch.setattr(basicsr_options, 'check', check)
    write_options(opt)
    assert finish(ranks(2)) == [1, 1]
    error = capfd.readouterr().err
    assert 'basicsr: error: process 1 of this run cannot start: datasets.train.dataroot_gt' in error
    assert 'basicsr [rank 1]: error: datasets.train.dataroot_gt' in error


def test_processes_with_different_options(opt, monkeypatch, capfd):
    plain = command_line.load_options

    def load(path):
        options = plain(path)
        if os.environ['RANK'] == '1':
            options['train']['ema_decay'] = 0.5
        return options

    monkeypatch.setattr(command_line, 'load_options', load)
    write_options(opt)
    assert finish(ranks(2)) == [1, 1]
    assert 'train.ema_decay: 0.9 in process 0, 0.5 in process 1' in capfd.readouterr().err


# ---------------------------------------------------------------- SLURM
@pytest.fixture
def scontrol(workplace, monkeypatch):
    """A stand-in for SLURM's command, which expands node lists."""
    tool = workplace / 'bin' / 'scontrol'
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\n[ "$2" = hostnames ] || exit 1\necho 127.0.0.1\necho other\n')
    tool.chmod(0o755)
    monkeypatch.setenv('PATH', str(tool.parent), prepend=os.pathsep)


def test_slurm(opt, scontrol):
    write_options(merge(opt, dict(train=dict(total_iter=2), dist_params=dict(backend='nccl', port=None))))
    assert finish(ranks(2, launcher='slurm')) == [0, 0]
    assert Path(ROOT, 'training_states/2.state').is_file()


def test_slurm_outside_of_a_job(monkeypatch):
    monkeypatch.delenv('SLURM_PROCID', raising=False)
    with pytest.raises(OptionError, match=r"--launcher slurm: start with srun; 'SLURM_PROCID' is not among"):
        processes.init_dist('slurm')


def test_node_list_that_scontrol_does_not_know(monkeypatch, workplace):
    for key, value in dict(SLURM_PROCID='0', SLURM_NTASKS='1', SLURM_NODELIST='gpu[1-2]').items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv('PATH', str(workplace))
    with pytest.raises(OptionError, match=r"scontrol, which expands 'gpu\[1-2\]', cannot be run"):
        processes.init_dist('slurm')
