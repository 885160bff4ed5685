"""The option files that BasicSR and Real-ESRGAN publish: checked and run on the CPU.

Of files that differ in numbers only, one is run, which begins with the check; the others are checked with ``--check``.
"""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from published_files import FAULTY, HALF, TESTED, TESTING, TOTAL, TRAINED, TRAINING, UNPUBLISHED, UNREAD
from published_place import command, data_of, published_place, small_parts  # noqa: F401  (fixtures)

from pdd_arch.training.record import read_record


def test_most_structures_are_run():
    assert len(TRAINED) >= 14
    assert len(TESTED) >= 15


@pytest.mark.parametrize('path', sorted({*TRAINING, *TESTING} - {*FAULTY, *TRAINED, *TESTED}))
def test_check(published_place, capfd, path):  # noqa: F811
    published_place(TRAINING.get(path) or TESTING[path])
    assert command('train' if path in TRAINING else 'test', '--check') == 0, capfd.readouterr().err
    out = capfd.readouterr().out
    assert 'No error' in out
    for line in out.splitlines():
        assert 'WARNING' not in line or any(key in line for key in UNREAD)
    assert not Path('results').exists()
    assert not Path('experiments', path.rpartition('/')[2]).exists()


@pytest.mark.parametrize('path', FAULTY)
def test_check_of_files_that_cannot_run(published_place, capfd, path):  # noqa: F811
    published_place(TRAINING.get(path) or TESTING[path])
    assert command('train' if path in TRAINING else 'test', '--check') == 1
    error = capfd.readouterr().err
    assert FAULTY[path] in error
    assert 'may be a bug' not in error


@pytest.mark.parametrize('path', TRAINED)
def test_trains_and_resumes(published_place, capfd, path):  # noqa: F811
    published_place(TRAINING[path])
    check_training(TRAINING[path], capfd)


@pytest.mark.parametrize('name', UNPUBLISHED)
def test_what_no_file_trains_as_published(published_place, capfd, name):  # noqa: F811
    published_place(UNPUBLISHED[name])
    check_training(UNPUBLISHED[name], capfd)


def check_training(options: dict[str, Any], capfd) -> None:
    """``run.yml`` trains half of its iterations, then the others, with checkpoints, states and validations."""
    assert command('train', '--force_yml', f'train:total_iter={HALF}') == 0, capfd.readouterr().err
    folder = Path('experiments', options['name'])
    before = _weights(folder / f'models/net_g_{HALF}.pth')
    with patch('pdd_arch.preflight.run.rehearse', return_value=None):  # as in the first half
        assert command('train', '--auto_resume') == 0, capfd.readouterr().err
    after = _weights(folder / f'models/net_g_{TOTAL}.pth')
    assert any(not torch.equal(after[key], before[key]) for key in after)
    assert torch.load(folder / f'training_states/{TOTAL}.state', weights_only=True)['iter'] == TOTAL
    history = read_record(folder)
    assert history.end is not None
    assert history.iteration == TOTAL
    validated = {o['name'] for phase, o in options['datasets'].items() if phase != 'train'} if 'val' in options else ()
    assert {*history.validation} == {*validated}
    for results in history.validation.values():
        assert {*results} == {*options['val']['metrics']}
        assert all({*values} == {HALF, TOTAL} for values in results.values())


def _weights(file: Path) -> dict[str, torch.Tensor]:
    return torch.load(file, weights_only=True)['params']


@pytest.mark.parametrize('path', TESTED)
def test_tests(published_place, capfd, path):  # noqa: F811
    options = TESTING[path]
    published_place(options)
    assert command('test') == 0, capfd.readouterr().err
    made = list(Path('results', options['name'], 'visualization').rglob('*.png'))
    assert len(made) >= len(options['datasets'])
    (log,) = Path('results', options['name']).glob('test_*.log')
    for metric in options['val'].get('metrics', ()):
        assert f'# {metric}: ' in log.read_text()
