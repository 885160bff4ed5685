"""`pdd check` on prepared trees: what it tells, and each kind of damage that it finds."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from dataset_trees import HR_SIZE, fingerprint, ntire2020, pair, realsr, reduced, scene, write

from pdd_arch.commands.errors import run
from pdd_arch.commands.pdd_cli import main
from pdd_arch.errors import DataError, MissingFileError
from pdd_arch.prepare.measures import Thumbnails, fit_of_pair, near_duplicates

TEST = Path('downloads/RealSR(V3)/Canon/Test/4')


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A prepared RealSR; its images are links, so damage to the download shows."""
    monkeypatch.chdir(tmp_path)
    realsr(tmp_path / 'downloads')
    assert main(['prepare', 'realsr', 'downloads']) == 0
    return Path('datasets/RealSR_V3')


def report(capsys, *targets, status=1):
    """The report as JSON, and standard error."""
    capsys.readouterr()
    assert run('pdd', main, ['check', *map(str, targets), '--json', '-']) == status
    out, err = capsys.readouterr()
    return json.loads(out), err


def kinds(told, errors=True):
    return sorted({p['kind'] for p in told['problems'] if p['is_error'] == errors})


def test_sizes_are_of_images_that_are_there(tmp_path, capsys):
    write(tmp_path / 'a/upright.png', scene(1, (60, 40)))
    write(tmp_path / 'a/across.png', scene(2, (40, 60)))
    assert main(['check', str(tmp_path / 'a')]) == 0
    assert '40x60 to 60x40 pixels (2 sizes)' in capsys.readouterr().out


def test_what_it_tells(home, capsys):
    before = fingerprint(Path('.'))
    assert main(['check', str(home)]) == 0
    out = capsys.readouterr().out
    assert 'Canon_Test (test, scale 4)' in out
    assert 'HR: 2 images, 96x128 pixels, 2 8-bit RGB; broken: 0' in out
    assert '2 pairs compared; misalignment in LR pixels: median 0.0, at most 0.' in out
    assert 'near-duplicates: 0 (4 test images against 4 of training)' in out
    assert out.endswith('No error found.\n')

    told, err = report(capsys, home, status=0)
    assert err == ''
    one = told['sets'][1]
    assert (one['name'], one['compared']) == ('Canon_Test', 2)
    assert one['images']['lr']['sizes'] == {'min': [24, 32], 'max': [24, 32]}
    assert one['images']['lr']['formats'] == {'8-bit RGB': 2}
    assert one['colour']['max'] < 1
    assert one['shift']['max'] < 0.2
    assert fingerprint(Path('.')) == before


def test_broken_and_missing_files(home, capsys):
    path = TEST / 'Canon_001_LR4.png'
    path.write_bytes(path.read_bytes()[:-40])
    (TEST / 'Canon_002_HR.png').unlink()
    told, err = report(capsys, home)
    assert kinds(told) == ['broken']
    texts = ' '.join(p['text'] for p in told['problems'])
    assert 'is a truncated PNG' in texts
    assert 'does not exist (any more)' in texts
    assert told['sets'][1]['images']['hr']['broken'] == 1
    assert '(2 errors in all, listed above.)' in err


def test_shifted_lr(home, capsys):
    """LR shows what lies 8 HR pixels further to the left: its content lies 2 LR pixels to the right."""
    wide = scene(77, (HR_SIZE[0], HR_SIZE[1] + 8))
    write(TEST / 'Canon_001_HR.png', wide[:, 8:])
    write(TEST / 'Canon_001_LR4.png', reduced(wide[:, :-8]))
    told, err = report(capsys, home)
    assert kinds(told) == ['shift']
    assert 'Canon_001.png: lies +2.0 pixels to the right and' in err
    assert 'at most 1 is expected' in err
    assert run('pdd', main, ['check', str(home), '--max-shift', '3']) == 0


def test_lr_of_another_colour(home, capsys):
    low = reduced(scene(3)) + np.array([0, 0, 25])
    write(TEST / 'Canon_001_LR4.png', low.clip(0, 255).astype(np.uint8))
    told, err = report(capsys, home)
    assert kinds(told) == ['colour']
    assert 'in mean R, G, B (at most 10 is expected)' in err
    red, green, _ = told['sets'][1]['colour']['mean']
    assert red > 10 > green
    assert run('pdd', main, ['check', str(home), '--max-colour', '30']) == 0


def test_test_image_that_was_trained_on(home, capsys):
    """Also where it was brightened, blurred and compressed."""
    train = scene(1)  # Canon/Train, the first
    changed = cv2.GaussianBlur(cv2.convertScaleAbs(train, alpha=0.9, beta=10), (0, 0), 1.5)
    changed = cv2.imdecode(cv2.imencode('.jpg', changed, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR)
    write(TEST / 'Canon_002_HR.png', changed)
    write(TEST / 'Canon_002_LR4.png', reduced(changed))
    told, err = report(capsys, home)
    assert kinds(told) == ['duplicate']
    assert 'Canon/Test/HR/Canon_002.png: is nearly the same as the training image' in err
    assert 'Canon/Train/HR/Canon_001.png' in err
    assert len(told['duplicates']) == 1


def test_duplicates_between_two_datasets(home, capsys):
    """A test image of one dataset in the training images of another."""
    write(Path('downloads/other/a.png'), scene(3))
    assert main(['prepare', 'folder', 'downloads/other', '--name', 'other']) == 0
    told, _ = report(capsys, home, 'datasets/other')
    assert [Path(d['train']).name for d in told['duplicates']] == ['a.png']


def test_wrong_scale_and_depth(home, capsys):
    write(TEST / 'Canon_001_LR4.png', reduced(scene(3), 3))
    write(TEST / 'Canon_002_LR4.png', reduced(scene(4)).astype(np.uint16) * 257)
    told, _ = report(capsys, home)
    assert kinds(told) == ['format', 'scale']
    texts = ' '.join(p['text'] for p in told['problems'])
    assert 'is 32x42 pixels (height x width) and its HR image 96x128' in texts
    assert 'is 16-bit RGB and its HR image 8-bit RGB; one depth is expected' in texts


def test_alpha_is_a_note(home, capsys):
    write(TEST / 'Canon_002_LR4.png', cv2.cvtColor(reduced(scene(4)), cv2.COLOR_BGR2BGRA))
    told, _ = report(capsys, home, status=0)
    assert kinds(told, errors=False) == ['format']
    assert told['sets'][1]['images']['lr']['formats'] == {'8-bit RGB': 1, '8-bit RGB with alpha, or CMYK': 1}


def test_file_in_no_list(home, capsys):
    write(home / 'Canon/Test/HR/more.png', scene(90))
    told, err = report(capsys, home)
    assert kinds(told) == ['count']
    assert 'more.png: is in the folder but in no list' in err


def test_option_file(home, capsys, tmp_path):
    ntire2020(tmp_path / 'downloads/ntire')
    text = """
scale: 4
datasets:
  train: {type: UnpairedAdaptationDataset, dataroot_gt: datasets/RealSR_V3/Canon/Train/HR,
          dataroot_lq: datasets/RealSR_V3/Canon/Train/LR4}
  val: {type: PairedImageDataset, dataroot_gt: datasets/RealSR_V3/Canon/Test/HR,
        dataroot_lq: datasets/RealSR_V3/Canon/Test/LR4, io_backend: {type: disk}}
  test_1: {type: VideoTestDataset}
"""
    Path('run.yml').write_text(text)
    told, _ = report(capsys, 'run.yml', status=0)
    assert [s['name'] for s in told['sets']] == ['train.hr', 'train.lr', 'val', 'test_1']
    assert told['sets'][2]['compared'] == 2
    assert 'VideoTestDataset, which is not inspected' in told['problems'][0]['text']

    os.rename(home / 'Canon/Test/LR4/Canon_001.png', home / 'Canon/Test/LR4/Canon_001x.png')
    told, err = report(capsys, 'run.yml')
    assert kinds(told) == ['pair']
    assert 'HR/Canon_001.png: has no LR image Canon_001.png in datasets/RealSR_V3/Canon/Test/LR4' in err


def test_lmdb(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        pair(Path(f'own/hr/{i}.png'), Path(f'own/lr/{i}.png'), i)
    assert main(['prepare', 'folder', 'own', '--name', 'a', '--test-hr', 'hr', '--test-lr', 'lr', '--lmdb']) == 0
    text = """
scale: 4
datasets:
  val: {type: PairedImageDataset, dataroot_gt: datasets/a/test_hr.lmdb, dataroot_lq: datasets/a/test_lr.lmdb,
        io_backend: {type: lmdb}}
"""
    Path('run.yml').write_text(text)
    told, _ = report(capsys, 'run.yml', status=0)
    assert told['sets'][0]['compared'] == 2
    told, _ = report(capsys, 'datasets/a/test_lr.lmdb', status=0)
    assert told['sets'][0]['images']['lr']['count'] == 2


def test_targets_that_are_none(home):
    with pytest.raises(MissingFileError, match='nowhere: no such folder'):
        main(['check', 'nowhere'])
    with pytest.raises(DataError, match='no image in'):
        main(['check', 'datasets'])
    (home / 'pdd_prepare.json').write_text('{')
    with pytest.raises(DataError, match=r'pdd_prepare\.json: cannot be read'):
        main(['check', str(home)])
    with pytest.raises(DataError, match=r'report\.json: cannot be written'):
        main(['check', str(home / 'Canon/Test/HR'), '--json', 'no/report.json'])


def test_help_ends_with_an_example(capsys):
    with pytest.raises(SystemExit):
        main(['check', '--help'])
    assert 'example: pdd check' in ' '.join(capsys.readouterr().out.splitlines()[-3:])


# ---------------------------------------------------------------- measures
@pytest.mark.parametrize('size', [(160, 200), (156, 204)])
@pytest.mark.parametrize('moved', [(0, 0), (-4, 8), (6, -10)])
def test_shift_is_measured_through_blur_and_noise(size, moved):
    """Also where LR sides are odd; `moved` is (right, down) in HR pixels."""
    large = scene(5, (size[0] + 24, size[1] + 24))
    right, down = moved
    hr = large[12 : 12 + size[0], 12 : 12 + size[1]]
    seen = large[12 - down : 12 - down + size[0], 12 - right : 12 - right + size[1]]
    low = reduced(cv2.GaussianBlur(seen, (0, 0), 1.8)) + np.random.default_rng(0).normal(0, 5, (*reduced(hr).shape,))
    fit = fit_of_pair(low.clip(0, 255).astype(np.uint8), hr)
    assert fit.shift == pytest.approx((right / 4, down / 4), abs=0.3)
    assert max(map(abs, fit.mean)) < 2
    if moved == (0, 0):
        assert 2 < min(fit.absolute) < 10  # of blur and noise


def test_shift_does_not_pass_for_a_difference_in_colour():
    large = scene(5, (160, 232))
    fit = fit_of_pair(reduced(large[:, :-32]), large[:, 32:])
    assert fit.shift == pytest.approx((8, 0), abs=0.1)
    assert max(fit.absolute) < 0.5  # rounding


def test_16_bit_images_are_compared_in_levels_of_255():
    hr = scene(6)
    fit = fit_of_pair(reduced(hr).astype(np.uint16) * 257, hr)
    assert max(fit.absolute) < 0.5


def test_flat_and_tiny_images_have_no_shift_and_resemble_none():
    flat = np.full((64, 64, 3), 200, np.uint8)
    assert fit_of_pair(reduced(flat), flat).shift is None
    assert fit_of_pair(reduced(scene(1, (40, 40))), scene(1, (40, 40))).shift is None
    thumbnails = Thumbnails()
    thumbnails.add('flat', flat)
    assert len(thumbnails) == 0


def test_different_scenes_are_no_duplicates():
    train, test = Thumbnails(), Thumbnails()
    for i in range(40):
        train.add(str(i), scene(i))
    for i in range(35, 50):
        test.add(str(i), reduced(scene(i)))
    assert [(d.train, d.test) for d in near_duplicates(train, test)] == [(str(i), str(i)) for i in range(35, 40)]
    assert near_duplicates(Thumbnails(), test) == []
