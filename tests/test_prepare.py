"""`pdd prepare` on small trees of the published structure, whole and damaged in each way."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from basicsr.data import build_dataset
from dataset_trees import (
    TREES,
    city100,
    df2k,
    drealsr,
    failure,
    fingerprint,
    names,
    ntire2020,
    pair,
    prepare,
    realsr,
    reduced,
    scene,
    spoil,
    write,
)

from pdd_arch.commands.errors import run
from pdd_arch.commands.pdd_cli import main
from pdd_arch.data.paired_check import check_paired_dataset
from pdd_arch.data.sources import LmdbSource, open_source
from pdd_arch.errors import MissingFileError
from pdd_arch.images.decoding import read_raw
from pdd_arch.options.yaml_file import load_options
from pdd_arch.prepare.sub_images import crop_positions
from pdd_arch.utils.resources import option_file


# ---------------------------------------------------------------- the published layouts
@pytest.mark.parametrize(
    ('dataset', 'options', 'counts'),
    [
        ('realsr', ['pdd_realsr', 'pdd_realsr_nikon'], (2, 2)),
        ('drealsr', ['pdd_drealsr'], (3, 3)),
        ('ntire2020', ['pdd_ntire2020_track1'], (3, 2)),
        ('city100', ['pdd_city100'], (4, 10)),
    ],
)
def test_option_files_find_what_is_prepared(place, dataset, options, counts):
    TREES[dataset](place)
    before = fingerprint(place)
    assert prepare(dataset) == 0
    assert fingerprint(place) == before
    for name in options:
        data = load_options(option_file(f'{name}.yml'))['datasets']
        lq = {k: v for k, v in data['train'].items() if k.startswith(('dataroot_lq', 'io_backend'))}
        assert len(open_source(lq, 'lq')) == counts[0]
        val = {**data['val'], 'phase': 'val', 'scale': 4}
        assert check_paired_dataset(val, 'datasets.val') == counts[1]
        assert len(build_dataset(val)) == counts[1]


def test_realsr(place, capsys):
    realsr(place)
    assert prepare('realsr') == 0
    home = Path('datasets/RealSR_V3')
    assert names(home / 'Canon/Test/LR4') == names(home / 'Canon/Test/HR') == ['Canon_001.png', 'Canon_002.png']
    link = home / 'Nikon/Train/LR4/Nikon_002.png'
    assert link.is_symlink()
    assert not os.readlink(link).startswith('/')
    assert link.resolve() == place / 'RealSR(V3)/Nikon/Train/4/Nikon_002_LR4.png'
    listed = (home / 'meta_info/meta_info_Canon_Test_LR.txt').read_text()
    assert listed == 'Canon_001.png (24,32,3)\nCanon_002.png (24,32,3)\n'
    assert 'Canon_Train: 2 pairs; pixels (height x width): HR 96x128, LR 24x32' in capsys.readouterr().out
    assert main(['check', str(home)]) == 0


def test_other_scales(place):
    for camera in ('Canon', 'Nikon'):
        for split in ('Train', 'Test'):
            folder = place / f'{camera}/{split}/2'
            pair(folder / f'{camera}_001_HR.png', folder / f'{camera}_001_LR2.png', 1, scale=2)
    assert prepare('realsr', '--scale', '2') == 0
    assert names('datasets/RealSR_V3/Canon/Test') == ['HR2', 'LR2']


def test_drealsr_has_a_list_of_each_camera(place):
    drealsr(place)
    assert prepare('drealsr') == 0
    home = Path('datasets/DRealSR')
    assert names(home / 'Test_x4/HR') == ['canon_10.png', 'panasonic_44.png', 'sony_160.png']
    assert (home / 'meta_info/meta_info_Test_LR_panasonic.txt').read_text() == 'panasonic_44.png (24,32,3)\n'
    assert not (home / 'meta_info/meta_info_Test_LR_nikon.txt').exists()


def test_count_that_differs_from_the_published_is_a_note(place, capsys):
    drealsr(place)
    assert prepare('drealsr') == 0
    assert 'note [count]' in capsys.readouterr().out


def test_ntire_uses_div2k_where_it_lies(place):
    """The validation images may have been unpacked where the option file wants them."""
    ntire2020(place)
    shutil.move(place / 'DIV2K_valid_HR', 'datasets/DIV2K/DIV2K_valid_HR')
    before = fingerprint(Path('datasets/DIV2K'))
    assert main(['prepare', 'ntire2020', 'downloads', 'datasets/DIV2K']) == 0
    assert fingerprint(Path('datasets/DIV2K')) == before
    assert main(['check', 'datasets/NTIRE2020']) == 0


def test_df2k_sub_images_and_lmdb(place):
    df2k(place)
    assert prepare('df2k', '--sub-images', '--size', '64', '--step', '32', '--lmdb') == 0
    home = Path('datasets/DF2K')
    assert names(home / 'HR') == ['000001.png', '000002.png', '0001.png', '0002.png']
    assert (home / 'meta_info/meta_info_DIV2K.txt').read_text() == '0001.png (96,128,3)\n0002.png (96,128,3)\n'
    # 96 is cut at 0 and 32, 128 at 0, 32 and 64; 100 at 0, 32 and 36, 150 at 0, 32, 64 and 86
    assert len(names(home / 'HR_sub')) == 2 * 2 * 3 + 2 * 3 * 4
    last = read_raw(home / 'HR_sub/000001_s012.png')
    assert (last == scene(311, (100, 150))[36:, 86:]).all()
    data = LmdbSource(str(home / 'HR_sub.lmdb'), 'hr')
    assert len(data) == 36
    assert (data.read_raw(data.names.index('000001_s012')) == last).all()
    assert (home / 'meta_info/meta_info_HR_sub.txt').read_text().startswith('000001_s001.png (64,64,3)\n')


def test_crop_positions():
    assert crop_positions(480, 480, 240) == [0]
    assert crop_positions(300, 480, 240) == [0]
    assert crop_positions(960, 480, 240) == [0, 240, 480]
    assert crop_positions(1000, 480, 240) == [0, 240, 480, 520]


def test_city100_protocols(place):
    city100(place)
    assert prepare('city100') == 0
    home = Path('datasets/city100')
    assert names(home / 'test_hr') == [f'{i:03d}.png' for i in range(1, 11)]
    # 98x130 is cut to 96x128
    assert read_raw(home / 'test_hr/001.png').shape == (96, 128, 3)
    low = read_raw(home / 'test_lr/001.png')
    assert low.shape == (24, 32, 3)
    expected = reduced(read_raw(place / 'City100/City100_iPhoneX/001L.PNG')[:96, :128])
    assert np.abs(low.astype(int) - expected).mean() < 3
    assert main(['check', str(home)]) == 0

    assert prepare('city100', '--protocol', 'native') == 0
    native = Path('datasets/city100_native')
    assert names(native / 'test_lr') == ['001.png', '016.png', '048.png']
    assert read_raw(native / 'test_lr/016.png').shape == (98, 130, 3)
    assert main(['check', str(native)]) == 0


def test_own_folder_of_pairs_side_by_side(place):
    for i in range(2):
        pair(place / f'{i}_HR.png', place / f'{i}_LR4.png', 50 + i)
    extra = [
        '--name',
        'downloads_set',
        '--test-hr',
        '.',
        '--test-lr',
        '.',
        '--hr-template',
        '{}_HR',
        '--lr-template',
        '{}_LR4',
    ]
    assert prepare('folder', *extra) == 0
    assert names('datasets/downloads_set/test_hr') == ['0.png', '1.png']


def test_own_folder_of_two_names(place):
    for i in range(2):
        write(place / f'raw/photo_{i}.jpg', scene(i))
        pair(place / f'eval/hr/{i}.png', place / f'eval/lr/{i}.png', 50 + i)
    extra = ['--name', 'phone', '--lr', 'raw', '--test-hr', 'eval/hr', '--test-lr', 'eval/lr']
    assert prepare('folder', *extra) == 0
    assert names('datasets/phone/lr') == ['photo_0.jpg', 'photo_1.jpg']
    assert names('datasets/phone/test_hr') == names('datasets/phone/test_lr') == ['0.png', '1.png']
    assert main(['check', 'datasets/phone']) == 0


def test_own_folder_of_everything(place, capsys):
    for i, name in enumerate(('a.png', 'b.jpg')):
        write(place / name, scene(i))
    (place / 'b.jpg').rename(place / 'wrong extension.txt')
    (place / 'clip.mp4').write_bytes(b'\0\0\0\x18ftypmp42')
    (place / 'c.heic').write_bytes(b'\0\0\0\x18ftypheic\0\0\0\0mif1heic')
    err, out = failure(capsys, 'folder', '--name', 'phone')
    assert 'c.heic: is in the format HEIC, which is not read here' in err
    assert 'Convert it to PNG or TIFF' in err
    assert '[name] downloads: holds 1 file besides photographs, left out: 1 video (clip.mp4)' in out
    assert prepare('folder', '--name', 'phone', '--skip-bad') == 0
    assert names('datasets/phone/lr') == ['a.png', 'wrong extension.jpg']
    assert main(['check', 'datasets/phone']) == 0
    assert run('pdd', main, ['check', 'downloads']) == 1
    assert 'c.heic: is in the format HEIC' in capsys.readouterr().out


def test_long_names(place, capsys):
    write(place / f'{"m" * 248}.png', scene(1))
    assert prepare('folder', '--name', 'long', '--hr', '.') == 0
    assert names('datasets/long/hr') == [f'{"m" * 248}.png']
    err, _ = failure(capsys, 'folder', '--name', 'cut', '--hr', '.', '--sub-images')
    assert 'its name is too long: those of its sub-images have five letters more. Rename it' in err


def test_parts_one_after_the_other(place):
    realsr(place)
    assert prepare('realsr', '--only', 'Canon') == 0
    assert not Path('datasets/RealSR_V3/Nikon').exists()
    assert prepare('realsr', '--only', 'nikon_test') == 0
    sets = json.loads(Path('datasets/RealSR_V3/pdd_prepare.json').read_text())['sets']
    assert [one['name'] for one in sets] == ['Canon_Train', 'Canon_Test', 'Nikon_Test']
    with pytest.raises(MissingFileError, match=r'--only Cannon: .* no such part\. Did you mean'):
        prepare('realsr', '--only', 'Cannon')


# ---------------------------------------------------------------- damage
CANON = Path('downloads/RealSR(V3)/Canon/Test/4')


def test_missing_folder(place, capsys):
    realsr(place)
    shutil.rmtree(place / 'RealSR(V3)/Nikon')
    err, out = failure(capsys, 'realsr')
    assert 'the folder Nikon/Train/4 of part Nikon_Train is missing' in err
    assert 'https://github.com/csjcai/RealSR' in err
    assert '--only' in err
    assert 'Nikon_Test' in out
    assert prepare('realsr', '--only', 'Canon') == 0


def test_missing_source(place, capsys):
    err, _ = failure(capsys, 'drealsr')
    assert 'downloads: does not exist' in err
    place.mkdir()
    failure(capsys, 'drealsr')
    assert not Path('datasets').exists()


@pytest.mark.parametrize('lost', ['HR', 'LR4'])
def test_missing_pair(place, capsys, lost):
    realsr(place)
    (CANON / f'Canon_002_{lost}.png').unlink()
    err, _ = failure(capsys, 'realsr')
    assert f'Canon_002_{lost}.png is expected in' in err
    assert not Path('datasets/RealSR_V3/Canon').exists()


def test_wrong_scale(place, capsys):
    realsr(place)
    write(CANON / 'Canon_001_LR4.png', reduced(scene(3), 2))
    err, _ = failure(capsys, 'realsr')
    assert 'Canon_001_LR4.png: is 48x64 pixels (height x width) and its HR image 96x128; at scale 4' in err
    assert 'These two fit scale 2.' in err


def test_broken_files(place, capsys):
    realsr(place)
    spoil(CANON / 'Canon_001_LR4.png')
    spoil(CANON / 'Canon_002_LR4.png', at=600)
    (CANON / 'Canon_002_HR.png').write_text('<html>quota exceeded</html>')
    err, out = failure(capsys, 'realsr')
    assert '(3 errors in all, listed above.)' in err
    assert 'Canon_001_LR4.png: is a truncated PNG' in out
    assert 'Canon_002_LR4.png: is a damaged PNG (wrong checksum' in out
    assert 'Canon_002_HR.png: is not an image' in out
    assert 'Unpack or download it again.' in out


def test_bad_images_are_left_out_where_asked(place, capsys):
    realsr(place)
    spoil(CANON / 'Canon_001_LR4.png')
    assert prepare('realsr', '--skip-bad') == 0
    assert 'note [broken]' in capsys.readouterr().out
    assert names('datasets/RealSR_V3/Canon/Test/HR') == ['Canon_002.png']


@pytest.mark.parametrize(
    ('change', 'told'),
    [
        (lambda image: image.astype(np.uint16) * 257, '16-bit RGB; 8-bit RGB is expected'),
        (lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2BGRA), '8-bit RGB with alpha, or CMYK; 8-bit RGB is expected'),
        (lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), '8-bit grayscale; 8-bit RGB is expected'),
    ],
)
def test_wrong_format(place, capsys, change, told):
    ntire2020(place)
    write(place / 'Corrupted-va-x/0802.png', change(reduced(scene(802))))
    err, _ = failure(capsys, 'ntire2020')
    assert f'0802.png: is {told}' in err
    _, out = failure(capsys, 'ntire2020', '--quick')
    assert told in out


def test_names_that_clash_or_are_unknown(place, capsys):
    drealsr(place)
    write(place / 'Test_x4/test_HR/sony_160.png', scene(1))
    err, _ = failure(capsys, 'drealsr')
    assert "has the same name 'sony_160' as" in err
    (place / 'Test_x4/test_HR/sony_160.png').unlink()

    realsr(place)
    write(CANON / 'Canon_001_LR2.png', scene(1))
    assert prepare('realsr') == 0
    assert 'Canon_001_LR2.png: is not named as expected (NAME_HR or NAME_LR4)' in capsys.readouterr().out


# ---------------------------------------------------------------- the command
def test_report_as_json(place, capsys):
    realsr(place)
    (CANON / 'Canon_002_LR4.png').unlink()
    assert run('pdd', main, ['prepare', 'realsr', 'downloads', '--json', '-']) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report['complete']
    assert [p['kind'] for p in report['problems']] == ['pair']
    assert report['sets'][1] | {'sizes': ''} == {
        **{'name': 'Canon_Test', 'role': 'test', 'scale': 4, 'count': 1, 'sizes': ''},
        **{'hr': True, 'lr': True},
    }


@pytest.mark.parametrize('name', ['', 'realsr', 'drealsr', 'ntire2020', 'df2k', 'city100', 'folder'])
def test_help_ends_with_an_example(capsys, name):
    with pytest.raises(SystemExit) as stopped:
        main(['prepare', *([name] if name else []), '--help'])
    assert stopped.value.code == 0
    assert 'example: pdd prepare ' in ' '.join(capsys.readouterr().out.splitlines()[-2:])


def test_wrong_arguments(place, capsys):
    df2k(place)
    err, _ = failure(capsys, 'df2k', '--sub-images', '--size', '10', '--step', '20')
    assert '--step: 20 is larger than --size 10' in err
    err, _ = failure(capsys, 'folder', '--lr-template', 'x')
    assert "--lr-template: expected text with one pair of braces, as {}_LR4, found 'x'" in err
