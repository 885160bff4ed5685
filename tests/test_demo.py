"""`pdd demo`: its data, its files, its table and picture, and a miniature run from end to end."""

import csv
import hashlib
import json
import os
import re
import shutil

import cv2
import numpy as np
import pytest
import torch
from basicsr.archs.srvgg_arch import SRVGGNetCompact

from pdd_arch.commands import demo
from pdd_arch.commands.errors import run
from pdd_arch.commands.pdd_cli import main
from pdd_arch.demo import photographs, picture
from pdd_arch.errors import DataError, MissingFileError
from pdd_arch.inference.methods import bicubic_upscaler
from pdd_arch.metrics.measuring import format_table, measure_methods, write_csv
from pdd_arch.options.yaml_file import load_options
from pdd_arch.utils.resources import asset, option_file
from pdd_arch.weights.checkpoints import read_checkpoint


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    """A data folder as the demo writes it."""
    folder = tmp_path_factory.mktemp('demo') / 'datasets' / 'pdd_demo'
    assert photographs.prepare_data(folder)
    return folder


@pytest.fixture
def own_copy(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / 'pdd_demo')


# ---------------------------------------------------------------- data
def overlap(one, other):
    """Whether a pixel of a photograph belongs to both regions."""
    return (
        one.photo == other.photo
        and one.right > other.left
        and other.right > one.left
        and one.bottom > other.top
        and other.bottom > one.top
    )


def test_no_pixel_has_two_roles():
    regions = [*photographs.HR_REGIONS, *photographs.TARGET_REGIONS, *photographs.TEST_REGIONS]
    clashes = [(a, b) for i, a in enumerate(regions) for b in regions[i + 1 :] if overlap(a, b)]
    assert clashes == []


def test_overlap_is_seen():
    region = photographs.Region('a.png', 0, 0, 10, 10)
    assert overlap(region, photographs.Region('a.png', 9, 9, 20, 20))
    assert not overlap(region, photographs.Region('a.png', 10, 0, 20, 10))
    assert not overlap(region, photographs.Region('b.png', 0, 0, 10, 10))


def test_preparing_twice_gives_the_same_bytes(prepared, tmp_path):
    assert photographs.prepare_data(tmp_path / 'again')
    assert contents(tmp_path / 'again') == contents(prepared)


def test_layout(prepared):
    names = {kind: {p.name for p in (prepared / kind).iterdir()} for kind in ('hr', 'target_lr', 'test_lr', 'test_hr')}
    assert len(names['hr']) == len(photographs.HR_REGIONS)
    assert len(names['target_lr']) == len(photographs.TARGET_REGIONS)
    assert names['test_lr'] == names['test_hr']
    assert len(names['test_lr']) == len(photographs.TEST_REGIONS)
    for name in names['test_lr']:
        lr, hr = (cv2.imread(str(prepared / part / name)) for part in ('test_lr', 'test_hr'))
        assert hr.shape[:2] == (4 * lr.shape[0], 4 * lr.shape[1])
    assert not [p for p in prepared.parent.iterdir() if p != prepared], 'temporary folder left behind'


def test_training_photographs_hold_a_crop(prepared):
    crop = load_options(option_file('pdd_demo.yml'))['datasets']['train']['gt_size']
    for kind, side in (('hr', crop), ('target_lr', crop // 4)):
        for path in (prepared / kind).iterdir():
            assert min(cv2.imread(str(path)).shape[:2]) >= side, path.name


def test_complete_folder_is_used_again(own_copy):
    before = {p: p.stat().st_mtime_ns for p in own_copy.rglob('*')}
    assert not photographs.prepare_data(own_copy)
    assert {p: p.stat().st_mtime_ns for p in own_copy.rglob('*')} == before


@pytest.mark.parametrize('damage', ['missing', 'altered'])
def test_incomplete_folder_is_made_anew(own_copy, prepared, damage):
    victim = next((own_copy / 'target_lr').iterdir())
    if damage == 'missing':
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:-10])
    assert photographs.prepare_data(own_copy)
    assert contents(own_copy) == contents(prepared)


def test_folder_of_another_camera_is_made_anew(own_copy):
    assert photographs.prepare_data(own_copy, photographs.Camera(read_noise=9.0))
    assert json.loads((own_copy / 'manifest.json').read_text())['recipe']['camera']['read_noise'] == 9.0


def test_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / 'pdd_demo').mkdir()
    (tmp_path / 'pdd_demo' / 'holiday.jpg').write_bytes(b'mine')
    with pytest.raises(DataError, match=r'pdd_demo: exists, but has no manifest\.json .*Move it away'):
        photographs.prepare_data(tmp_path / 'pdd_demo')
    assert (tmp_path / 'pdd_demo' / 'holiday.jpg').read_bytes() == b'mine'


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / 'datasets').write_text('a file where a folder should be')
    with pytest.raises(DataError, match='cannot be written'):
        photographs.prepare_data(tmp_path / 'datasets' / 'pdd_demo')


def test_missing_photograph_is_named():
    with pytest.raises(MissingFileError, match=r'no_such_photo\.png .*scikit-image'):
        photographs._cut(photographs.Region('no_such_photo.png', 0, 0, 8, 8))


def test_camera_blurs_adds_noise_and_is_seeded():
    camera = photographs.Camera()
    scene = np.full((64, 64, 3), 128, np.uint8)
    first, same, other = (camera.photograph(scene, seed) for seed in (1, 1, 2))
    assert first.shape == (16, 16, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    assert 1 < first.astype(float).std() < 15
    assert abs(first.mean() - 128) < 3


# ---------------------------------------------------------------- shipped files
def test_generalist_is_small_and_fits_the_option_file():
    options = load_options(option_file('pdd_demo.yml'))
    weights, key = options['path']['pretrain_network_g'], options['path']['param_key_g']
    assert weights == 'bundled:demo_generalist.pth'
    assert asset('demo_generalist.pth').stat().st_size <= 2**20
    network = dict(options['network_g'])
    assert network.pop('type') == 'SRVGGNetCompact'
    net = SRVGGNetCompact(**network)
    net.load_state_dict(read_checkpoint(weights)[key])
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in net.parameters())


def test_provenance_names_the_file_that_is_shipped():
    text = asset('demo_generalist.md').read_text(encoding='utf-8')
    assert hashlib.sha256(asset('demo_generalist.pth').read_bytes()).hexdigest() in text
    assert 'non-commercial' in text
    assert 'train_generalist.py' in text


def test_option_file_keeps_its_promises():
    options = load_options(option_file('pdd_demo.yml'))
    train = options['train']
    assert options['num_gpu'] == 0
    assert train['feature_net']['weights'] == 'random', 'the demo may not download anything'
    assert train['teacher'] == 'ema'
    assert train['distill_opt']['inter_weight'] > 0
    assert train['distill_opt']['intra_weight'] > 0
    for phase in options['datasets'].values():
        for key in ('dataroot_gt', 'dataroot_lq'):
            assert phase[key].startswith(photographs.DATA_FOLDER.as_posix() + '/')
    assert demo.EXPERIMENT_FOLDER.as_posix() == f'experiments/{options["name"]}'


# ---------------------------------------------------------------- table and picture
def constant(*values):
    return dict(zip(('first', 'second'), values, strict=True))


def test_table():
    scores = {
        'bicubic': constant([20.0, 0.5, 0.4, 0.2], [30.0, 0.7, 0.2, 0.1]),
        'adapted': constant([21.0, 0.6, 0.3, 0.1], [31.0, 0.8, 0.1, 0.05]),
    }
    lines = format_table(scores, demo.MEASURES).splitlines()
    assert re.split(r'  +', lines[0])[1:] == ['PSNR ↑', 'SSIM ↑', '1-HaarPSI ↓', 'GMSD ↓']
    assert lines[2].split() == ['bicubic', '25.00', '0.6000', '0.3000', '0.1500']
    assert lines[3].split() == ['adapted', '26.00', '0.7000', '0.2000', '0.0750']
    assert len({len(line) for line in lines}) == 1, 'columns are aligned'


def test_measures_are_zero_distance_for_equal_images_and_grow():
    rng = np.random.default_rng(0)
    truth = cv2.GaussianBlur(rng.integers(0, 256, (64, 72, 3), dtype=np.uint8), (0, 0), 2)
    slightly, strongly = (cv2.GaussianBlur(truth, (0, 0), sigma) for sigma in (1, 3))
    for measure in demo.MEASURES:
        if measure.better == 'lower':
            assert measure.compute(truth, truth) == pytest.approx(0, abs=1e-3)
            assert 0.001 < measure.compute(slightly, truth) < measure.compute(strongly, truth)
        else:
            assert measure.compute(slightly, truth) > measure.compute(strongly, truth)


def test_evaluate_csv_and_picture(prepared, tmp_path):
    pairs = photographs.read_pairs(prepared)
    methods = dict.fromkeys(('bicubic', 'generalist', 'adapted'), bicubic_upscaler(4))
    outputs, scores = measure_methods(pairs, methods, demo.MEASURES)
    assert outputs['adapted'].keys() == pairs.keys()
    assert scores['adapted'] == scores['bicubic']

    write_csv(tmp_path / 'scores.csv', scores, demo.MEASURES)
    with open(tmp_path / 'scores.csv', newline='') as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 3 * (len(pairs) + 1)
    means = [row for row in rows if row['image'] == 'mean']
    assert float(means[0]['PSNR']) == pytest.approx(np.mean([s[0] for s in scores['bicubic'].values()]), abs=1e-5)

    page = picture.comparison_picture(pairs, outputs, scores, 'subtitle')
    assert page.width > 1000
    assert page.height > page.width


def test_details_lie_in_their_images():
    for region, (left, top) in photographs.TEST_REGIONS.items():
        assert left % 4 == top % 4 == 0
        assert left + picture.DETAIL <= region.right - region.left
        assert top + picture.DETAIL <= region.bottom - region.top


# ---------------------------------------------------------------- the command
def test_miniature_of_the_demo(prepared, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(prepared, photographs.DATA_FOLDER)
    threads = torch.get_num_threads()
    assert run('pdd', main, ['demo', '--iterations', '3']) == 0
    assert torch.get_num_threads() == threads
    printed = capsys.readouterr().out
    assert all(f'[{step}/4]' in printed for step in (1, 2, 3, 4))
    assert '(of an earlier run)' in printed
    for method in ('bicubic', 'generalist', 'adapted'):
        assert re.search(rf'^{method} +\d\d\.\d\d +0\.\d{{4}} +0\.\d{{4}} +0\.\d{{4}}$', printed, re.MULTILINE), method
    assert cv2.imread('experiments/pdd_demo/comparison.png') is not None
    assert os.path.getsize('experiments/pdd_demo/comparison.csv') > 0
    assert read_checkpoint('experiments/pdd_demo/models/net_g_latest.pth').keys() >= {'params', 'params_ema'}


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(['demo', '--help'])
    assert stopped.value.code == 0
    assert 'example: pdd demo' in capsys.readouterr().out


@pytest.mark.parametrize('value', ['0', '-3', '1.5', 'many'])
def test_iterations_must_be_a_positive_number(value, capsys):
    with pytest.raises(SystemExit):
        main(['demo', f'--iterations={value}'])
    assert 'expected a whole number of at least 1' in capsys.readouterr().err
