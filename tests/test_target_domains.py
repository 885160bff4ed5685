"""Target domains with a ground truth."""

import json

import cv2
import numpy as np
import pytest
from dataset_trees import scene, write
from helpers import write_images

from pdd_arch.degradations.domains import DOMAINS
from pdd_arch.degradations.operations import Downsample, Jpeg, SensorNoise
from pdd_arch.errors import DataError, MissingFileError, OptionError
from pdd_arch.prepare.target_domain import make_domain


@pytest.fixture
def hr() -> np.ndarray:
    y, x = np.mgrid[:96, :128].astype(np.float32) / 128
    return np.stack([x, y, 0.5 + 0.4 * np.sin(40 * x * y)], axis=-1).astype(np.float32)


@pytest.mark.parametrize('name', DOMAINS)
def test_depends_on_its_seed_alone(hr, name):
    before = np.random.get_state()[1].copy()
    one, same, other = (DOMAINS[name](hr, 4, seed) for seed in (1, 1, 2))
    assert one.shape == (24, 32, 3)
    assert one.dtype == np.float32
    assert 0 <= one.min() <= one.max() <= 1
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    clean = Downsample()(hr, 4)
    assert 0.002 < np.abs(one - clean).mean() < 0.1
    json.dumps(DOMAINS[name].declaration())


def test_sensor_noise_has_the_variance_it_declares():
    noise = SensorNoise(shot=0.002, read=0.01)
    np.random.seed(0)
    for level in (0.2, 0.7):
        linear = noise(np.full((200, 200, 3), level, np.float32), 4).astype(np.float64) ** 2.2
        assert linear.var() == pytest.approx(0.002 * level**2.2 + 0.01**2, rel=0.03)
        assert linear.mean() == pytest.approx(level**2.2, rel=0.01)


def test_jpeg_is_what_opencv_writes(hr):
    made = Jpeg((40, 40))(hr, 4)
    code = cv2.imencode('.jpg', np.round(hr * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
    np.testing.assert_array_equal(np.round(made * 255), cv2.imdecode(code, cv2.IMREAD_COLOR))


def test_a_domain_is_made_once_and_from_separate_photographs(tmp_path):
    write_images(tmp_path / 'photos', 12, 34, 46)
    declaration = make_domain('mixed', tmp_path / 'photos', tmp_path / 'out', test=3)
    parts = declaration['images']
    assert [len(parts[p]) for p in ('hr', 'target', 'test')] == [4, 5, 3]
    assert len({n for part in parts.values() for n in part}) == 12
    assert declaration['operations'][1] == {'operation': 'Reduce', 'resize': 'area'}
    pictures = {p: cv2.imread(str(p)) for p in sorted((tmp_path / 'out').glob('*/*.png'))}
    assert len(pictures) == 4 + 5 + 3 + 3
    sizes = {p.parent.name: image.shape[:2] for p, image in pictures.items()}
    assert sizes == {'hr': (32, 44), 'test_hr': (32, 44), 'train_lr': (8, 11), 'test_lr': (8, 11)}

    # continued after an interruption: the same files
    gone = sorted((tmp_path / 'out/train_lr').glob('*.png'))[1]
    gone.unlink()
    kept = {p: p.stat().st_mtime_ns for p in pictures if p != gone}
    make_domain('mixed', tmp_path / 'photos', tmp_path / 'out', test=3)
    np.testing.assert_array_equal(cv2.imread(str(gone)), pictures[gone])
    assert {p: p.stat().st_mtime_ns for p in kept} == kept

    with pytest.raises(DataError, match=r'domain\.json: another domain'):
        make_domain('jpeg', tmp_path / 'photos', tmp_path / 'out', test=3)


def test_wrong_use(tmp_path):
    write_images(tmp_path / 'photos', 5, 32, 32)
    with pytest.raises(OptionError, match=r"unknown target domain 'mixt'.*mixed"):
        make_domain('mixt', tmp_path / 'photos', tmp_path / 'out')
    with pytest.raises(OptionError, match='5 photographs, expected at least 36'):
        make_domain('mixed', tmp_path / 'photos', tmp_path / 'out')
    with pytest.raises(MissingFileError, match=r'nothing: does not exist\. Name the folder'):
        make_domain('mixed', tmp_path / 'nothing', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_command(tmp_path, monkeypatch, capsys):
    from pdd_arch.commands.pdd_cli import main

    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / 'photos', 9, 32, 32)
    assert main(['prepare', 'synthetic', 'photos', '--domain', 'noise', '--test', '2']) == 0
    assert capsys.readouterr().out == 'datasets/noise: 3 hr, 4 target, 2 test\n'


def make(photos, out, **changes):
    return make_domain('mixed', photos, out, **{'test': 2, **changes})


def test_what_is_made_can_be_checked(tmp_path, capsys):
    from pdd_arch.commands.pdd_cli import main

    photos, out = tmp_path / 'photos', tmp_path / 'out'
    for i in range(7):
        write(photos / f'{i}.png', scene(i))
    make(photos, out)
    assert main(['check', str(out)]) == 0
    assert '2 test images against 5 of training' in capsys.readouterr().out
    # not complete until its description is there, which is written last
    (out / 'pdd_prepare.json').unlink()
    with pytest.raises(DataError, match='is not complete'):
        main(['check', str(out)])
    # another photograph under the name of one: made anew
    write(photos / '0.png', scene(70))
    make(photos, out)
    np.testing.assert_array_equal(cv2.imread(str(out / 'test_hr/0.png')), scene(70))


def test_photographs_that_will_not_do(tmp_path):
    photos, out = tmp_path / 'photos', tmp_path / 'out'
    write_images(photos, 7, 32, 32)
    (photos / '._hidden.png').write_bytes(b'')  # as macOS adds it
    (photos / 'folder.png').mkdir()
    with pytest.raises(OptionError, match='--test: expected at least 1 test pair, found 0'):
        make(photos, out, test=0)
    with pytest.raises(DataError, match='which is never changed'):
        make(photos, photos / 'out')
    write(photos / 'same.png', scene(1))
    write(photos / 'same.jpg', scene(2))
    with pytest.raises(
        DataError, match=r"same\.png: has the same name 'same' as same\.jpg; .*differ in more than the ending"
    ):
        make(photos, out)
    (photos / 'same.png').unlink()
    write(photos / 'tiny.png', scene(1, (3, 9)))
    with pytest.raises(DataError, match=r'tiny\.png: is 3x9 pixels'):
        make(photos, out)
    assert not out.exists()
    (photos / 'tiny.png').unlink()
    make(photos, out)
    write(out / 'hr/mine.png', scene(3))
    with pytest.raises(DataError, match=r'mine\.png: does not belong'):
        make(photos, out)
    (out / 'domain.json').write_text('{')
    with pytest.raises(DataError, match=r'domain\.json: cannot be read as JSON'):
        make(photos, out)
