"""The option files that BasicSR and Real-ESRGAN publish: checked and run on the CPU.

All are checked. Of files that differ in numbers only, one is trained.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import merge
from published_files import HALF, TESTING, TOTAL, TRAINING
from published_place import command, data_of, published_place, small_parts  # noqa: F401  (fixtures)

from pdd_arch.training.record import read_record

#: cannot run as they are published: what the check says
FAULTY = {
    'train/RCAN/train_RCAN_x2': 'network_g',  # its network is for another scale
    'train/HiFaceGAN/train_hifacegan': "train.feature_matching_opt.type: no loss 'GANFeatLoss' is registered",
    'train/StyleGAN/train_StyleGAN2_256_Cmul2_FFHQ': "needs BasicSR's compiled CUDA extension",
    'test/RCAN/test_RCAN': 'val: missing, expected a section',
}
_NOT_CHECKED_YET = pytest.mark.xfail(strict=True, reason='networks and losses of other models are not checked yet')
_NOT_RECORDED_YET = pytest.mark.xfail(
    strict=True, reason='metrics of a video, a tensor of its frames, cannot be recorded yet'
)


def structure(options: dict[str, Any]) -> tuple[str, ...]:
    """The classes that a training consists of, and where its data lie."""
    train, data = options['train'], options['datasets']['train']
    losses = sorted(section['type'] for section in train.values() if isinstance(section, dict) and 'type' in section)
    networks = [options[key]['type'] for key in ('network_g', 'network_d') if key in options]
    return (options['model_type'], data['type'], data['io_backend']['type'], *networks, *losses)


#: by structure the last file, which starts from another's weights where one does
TRAINED = sorted({structure(o): path for path, o in TRAINING.items() if path not in FAULTY}.values())
TRAINED.remove('train/BasicVSRPP/train_BasicVSRPP_REDS')  # takes 15 s; a step of it is in test_registries


def test_most_structures_are_trained():
    assert len(TRAINED) >= 15


@pytest.mark.parametrize('path', sorted({*TRAINING, *TESTING} - {*FAULTY}))
def test_check(published_place, capfd, path):  # noqa: F811
    published_place(TRAINING.get(path) or TESTING[path])
    assert command('train' if path in TRAINING else 'test', '--check') == 0, capfd.readouterr().err
    out = capfd.readouterr().out
    assert 'No error' in out
    assert 'WARNING' not in out
    assert not Path('results').exists()
    assert not Path('experiments', path.rpartition('/')[2]).exists()


@pytest.mark.parametrize(
    'path', [pytest.param(path, marks=() if path in TESTING else _NOT_CHECKED_YET) for path in FAULTY]
)
def test_check_of_files_that_cannot_run(published_place, capfd, path):  # noqa: F811
    published_place(TRAINING.get(path) or TESTING[path])
    assert command('train' if path in TRAINING else 'test', '--check') == 1
    error = capfd.readouterr().err
    assert FAULTY[path] in error
    assert 'may be a bug' not in error


@pytest.mark.parametrize(
    'path',
    [pytest.param(path, marks=_NOT_RECORDED_YET if 'VSR/' in path or 'EDVR/' in path else ()) for path in TRAINED],
)
def test_trains_and_resumes(published_place, capfd, path):  # noqa: F811
    check_training(published_place, capfd, TRAINING[path])


def test_hifacegan_without_the_loss_that_is_gone(published_place, capfd):  # noqa: F811
    """BasicSR 1.4.2 has no GANFeatLoss, which the file for its model names."""
    options = merge(TRAINING['train/HiFaceGAN/train_hifacegan'], dict(train=dict(feature_matching_opt=None)))
    check_training(published_place, capfd, options)


def check_training(published_place, capfd, options: dict[str, Any]) -> None:  # noqa: F811
    """Half of the iterations, then the others, with checkpoints, states and validations."""
    published_place(options)
    assert command('train', '--force_yml', f'train:total_iter={HALF}') == 0, capfd.readouterr().err
    folder = Path('experiments', options['name'])
    before = _weights(folder / f'models/net_g_{HALF}.pth')
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


@pytest.mark.parametrize('path', [path for path in TESTING if path not in FAULTY])
def test_tests(published_place, capfd, path):  # noqa: F811
    options = TESTING[path]
    published_place(options)
    assert command('test') == 0, capfd.readouterr().err
    made = list(Path('results', options['name'], 'visualization').rglob('*.png'))
    assert len(made) >= len(options['datasets'])
    (log,) = Path('results', options['name']).glob('test_*.log')
    for metric in options['val'].get('metrics', ()):
        assert f'# {metric}: ' in log.read_text()
