"""``logger.wandb``: what Weights & Biases is told; the package itself is a stand-in."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from helpers import merge, release_logger, run_options

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run
from pdd_arch.errors import OptionError
from pdd_arch.options.run_options import RunOptions
from pdd_arch.preflight.run import check_plan

STAND_IN = """
import json
import os
import types


def init(**given):
    if os.path.exists('offline'):
        raise RuntimeError('api_key not configured\\n(no-tty)')
    with open('told.json', 'w') as f:
        json.dump(given, f)
    return types.SimpleNamespace(id=given['id'] or 'drawn')
"""


@pytest.fixture
def wandb(workplace, monkeypatch):
    pytest.importorskip('tensorboard')
    Path('stand_in').mkdir()
    Path('stand_in/wandb.py').write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(workplace / 'stand_in'))
    yield workplace
    sys.modules.pop('wandb', None)


def train(**options):
    opt = run_options(train=dict(total_iter=1), logger=dict(use_tb_logger=True, wandb=dict(project='p', **options)))
    Path('run.yml').write_text(yaml.safe_dump(merge(opt, dict(val=None))))
    release_logger()
    return run('basicsr', main, ['train', '-opt', 'run.yml'])


def test_everything_is_passed_on(wandb, capfd):
    assert train(name='my run', entity='team', tags=['a', 'b'], mode='offline') == 0
    told = json.loads(Path('told.json').read_text())
    assert told.pop('config')['train']['total_iter'] == 1
    assert told == {
        'project': 'p', 'name': 'my run', 'entity': 'team', 'tags': ['a', 'b'], 'mode': 'offline',
        'id': None, 'resume': 'never', 'sync_tensorboard': True,
    }  # fmt: skip
    assert 'Use wandb logger with id=drawn; project=p.' in capfd.readouterr().err


def test_defaults_are_basicsrs(wandb):
    assert train(resume_id='abc', tags=None) == 0
    told = json.loads(Path('told.json').read_text())
    del told['config']
    assert told == {'project': 'p', 'name': 'tiny', 'id': 'abc', 'resume': 'allow', 'sync_tensorboard': True}


def test_wandb_that_cannot_start_is_one_line(wandb, capfd):
    Path('offline').write_text('')
    assert train() == 1
    error = capfd.readouterr().err.splitlines()[-1]
    assert 'logger.wandb: wandb cannot start (RuntimeError: api_key not configured (no-tty))' in error
    assert 'logger.wandb.mode: offline' in error


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(project='p', mode='of-line'), r"logger.wandb.mode: expected 'online', 'offline' or 'disabled'"),
        (dict(project='p', tags='a'), 'logger.wandb.tags: expected a list of words'),
        (dict(project='p', group='a'), 'logger.wandb.group: unknown key'),
        (dict(project='p', name=3), 'logger.wandb.name: expected'),
        (dict(entity='team'), 'logger.wandb.entity: given, but logger.wandb.project is not'),
        (dict(mode='offline', project=None), 'logger.wandb.mode: given, but logger.wandb.project is not'),
        (dict(tags=[3], project='p'), r'logger.wandb.tags\[0\]: expected'),
    ],
)
def test_what_is_wrong(wandb, options, words):
    opt = run_options(logger=dict(use_tb_logger=True))
    opt['logger']['wandb'] = options
    with pytest.raises(OptionError, match=words):
        check_plan(RunOptions.of(opt))


def test_not_set(wandb):
    check_plan(RunOptions.of(run_options(logger=dict(wandb=dict(resume_id=None)))))
