"""Scripts of the user's own that call BasicSR's pipelines: they take all flags and end as the commands do."""

import os
import re
import sys

import pytest
import torch
import yaml
from basicsr.test import test_pipeline as run_test
from basicsr.train import train_pipeline
from child_runs import of_ranks
from helpers import run_options
from programs import Program, python

from pdd_arch.basicsr_options import Checked
from pdd_arch.errors import OptionError
from pdd_arch.utils.signals import Stopped

#: README's script
SCRIPT = """
import os

import pdd_arch
from basicsr.train import train_pipeline
from basicsr.utils.registry import LOSS_REGISTRY
from pdd_arch.losses import DistillationLoss


@LOSS_REGISTRY.register()
class FeatureMeanLoss(DistillationLoss):
    def __init__(self, layers, loss_weight=1.0, feature_net=None):
        super().__init__(feature_net, layers)

    def terms(self, images, features):
        student, teacher = features.student_real, features.teacher_real
        return {'l_mean': sum((student[n].mean() - teacher[n].mean()).abs() for n in self.layers)}


if __name__ == '__main__':
    train_pipeline(os.getcwd())
"""
OWN_LOSS = 'train:distill_opt={type: FeatureMeanLoss, layers: [features.0]}'
COMMAND = ('my_loss.py', '-opt', 'run.yml', '--force_yml', OWN_LOSS)


def write(folder, opt=None):
    (folder / 'run.yml').write_text(yaml.safe_dump(opt or run_options(), sort_keys=False))
    (folder / 'my_loss.py').write_text(SCRIPT)


def script(*flags):
    return python(*COMMAND, *flags)


@pytest.fixture
def argv(monkeypatch):
    """Function of the arguments of the running script; hooks that are set go with the test."""
    monkeypatch.setattr(sys, 'excepthook', sys.__excepthook__)
    return lambda *flags: monkeypatch.setattr(sys, 'argv', ['mine.py', '-opt', 'run.yml', *flags])


def everything(folder):
    return sorted((str(p), p.stat().st_mtime_ns) for p in folder.rglob('*') if p.is_file())


def test_check_of_a_finished_run_changes_nothing(workplace):
    write(workplace)
    finished = workplace / 'experiments' / 'tiny' / 'models' / 'net_g_latest.pth'
    finished.parent.mkdir(parents=True)
    finished.write_bytes(b'of weeks')
    before = everything(workplace)
    done = script('--check')
    assert done.returncode == 0, done.stderr
    assert 'distill_opt:    FeatureMeanLoss; layers: features.0' in done.stdout
    assert done.stdout.endswith('No error found; nothing was written.\n')
    assert everything(workplace) == before


def test_check_in_several_processes_speaks_once(workplace):
    write(workplace)
    together = [Program(*COMMAND, '--check', '--launcher', 'pytorch', environment=e) for e in of_ranks(2)]
    done = [program.completed() for program in together]
    assert [d.returncode for d in done] == [0, 0], done
    printed = ''.join(d.stdout for d in done)
    assert printed.count('No error found') == 1
    assert '2 processes, ' in printed
    assert not (workplace / 'experiments').exists()


def test_check_without_the_launcher_that_the_run_needs(workplace, argv):
    write(workplace)
    argv('--check', '--launcher', 'pytorch')
    with pytest.raises(OptionError, match='start with torchrun'):
        train_pipeline('.')


def test_check_of_a_test(workplace, argv, capfd):
    opt = run_options(name='tested')
    opt = {k: v for k, v in opt.items() if k not in ('train', 'logger')} | {
        'datasets': {'test': opt['datasets']['val']}
    }
    write(workplace, opt)
    argv('--check')
    before = everything(workplace)
    with pytest.raises(Checked) as end:
        run_test('.')
    assert end.value.code == 0
    assert 'writes to:      results/tested' in capfd.readouterr().out
    assert everything(workplace) == before


@pytest.mark.parametrize('pipeline', [train_pipeline, run_test])
def test_help(argv, capfd, pipeline):
    argv('--help')
    with pytest.raises(SystemExit) as end:
        pipeline('.')
    assert end.value.code == 0
    text = capfd.readouterr().out
    for flag in ('--check', '--auto_resume', '--force_yml', '--debug', '--launcher'):
        assert flag in text


# ---------------------------------------------------------------- how it ends
def ends(error, capfd):
    """What is printed when nothing has caught `error`."""
    sys.excepthook(type(error), error, error.__traceback__)
    return capfd.readouterr().err


@pytest.mark.parametrize('pipeline', [train_pipeline, run_test])
def test_error_is_one_line(workplace, argv, capfd, pipeline):
    write(workplace, run_options(network_g=dict(type='RRDBNett')))
    argv()
    with pytest.raises(OptionError) as caught:
        pipeline('.')
    assert (
        ends(caught.value, capfd) == f'mine.py: error: {caught.value}\n' != ends(OptionError('of another part'), capfd)
    )
    argv('--debug')
    with pytest.raises(OptionError) as caught:
        pipeline('.')
    assert 'Traceback' in ends(caught.value, capfd)


def test_errors_that_scripts_meet(workplace, argv, capfd, monkeypatch):
    from pdd_arch.models import PDDModel

    write(workplace)
    argv()

    def fail(*_):
        raise torch.OutOfMemoryError('CUDA out of memory.\nmore')

    monkeypatch.setattr(PDDModel, 'optimize_parameters', fail)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        train_pipeline('.')
    text = ends(caught.value, capfd).splitlines()[-1]
    assert text.startswith('mine.py: error: out of memory on the GPU: CUDA out of memory. Reduce datasets.train.gt')


def test_stopped_script_says_so_once(workplace, argv, capfd, monkeypatch):
    from pdd_arch.models import PDDModel

    write(workplace)
    argv()

    def stop(*_):
        raise Stopped(15, 'after iteration 1, whose state is saved.')

    monkeypatch.setattr(PDDModel, 'optimize_parameters', stop)
    with pytest.raises(Stopped) as caught:
        train_pipeline('.')
    assert caught.value.code == 143
    assert capfd.readouterr().err.splitlines()[-1] == (
        'mine.py: stopped by SIGTERM after iteration 1, whose state is saved.'
    )


@pytest.mark.parametrize('flags', [(), ('--check',)])
def test_mistake_in_a_class_of_the_user(workplace, flags):
    write(workplace)
    (workplace / 'my_loss.py').write_text(SCRIPT.replace('teacher[n]', 'missing'))
    done = script(*flags)
    assert done.returncode == 1
    traceback, last = done.stderr.strip().split('Traceback ')[1].split('\nmy_loss.py: error: ')
    assert "{'l_mean': sum((student[n].mean() - missing.mean()).abs()" in traceback
    files = re.findall(r'File "(.*)"', traceback)
    assert {os.path.basename(file) for file in files} == {'my_loss.py'}
    assert last.startswith("my_loss.py line 17: NameError: name 'missing' is not defined. Correct it there; --debug ")
