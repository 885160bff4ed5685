"""Lists of images and LMDBs of validation sets: the check and BasicSR's datasets read them alike, or both refuse."""

import json
import shutil
import unicodedata

import cv2
import numpy as np
import pytest
import yaml
from basicsr.data import build_dataset
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from helpers import run_options, single, validation_pairs, write_images

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run
from pdd_arch.data.paired_check import check_paired_dataset
from pdd_arch.data.sources import open_source
from pdd_arch.errors import DataError, MissingFileError, OptionError, PDDError

NAMES = ('1.png', '2.png', 'my photo 1.png', 'Paris, France.png', 'a.b.png', 'übergröße.png', 'x (2).png', 'no.png.png')


@pytest.fixture
def opt(tmp_path):
    """Pairs at scale 4 under names that lists hold badly."""
    rng = np.random.default_rng(0)
    for side, factor in (('gt', 4), ('lq', 1), ('gt/sub', 4)):
        (tmp_path / side).mkdir()
        for name in NAMES if side != 'gt/sub' else ('deep.png',):
            image = rng.integers(0, 256, (8 * factor, 10 * factor, 3), dtype=np.uint8)
            cv2.imencode('.png', image)[1].tofile(tmp_path / side / name)
    return validation_pairs(tmp_path)


def listed(opt, tmp_path, content):
    """The options with a list of this text or these bytes."""
    (tmp_path / 'list.txt').write_bytes(content if isinstance(content, bytes) else content.encode())
    return {**opt, 'meta_info_file': str(tmp_path / 'list.txt')}


def read(opt):
    """Names of GT and LR images that the dataset reads, below their folders, after reading all of them."""
    data = build_dataset(opt)
    for i in range(len(data)):
        data[i]
    if opt['type'] == 'SingleImageDataset':
        return [path.removeprefix(opt['dataroot_lq'] + '/') for path in data.paths]
    return [tuple(p[f'{s}_path'].removeprefix(opt[f'dataroot_{s}'] + '/') for s in ('gt', 'lq')) for p in data.paths]


READ = {
    'BasicSR': ('1.png (32,40,3)\n2.png (32,40,3)\n', ['1.png', '2.png']),
    'compression level': ('1.png (32,40,3) 1\n2.png (32, 40, 3) 1', ['1.png', '2.png']),
    'level only': ('1.png 1\nmy photo 1.png 1', ['1.png', 'my photo 1.png']),
    'spaces': ('my photo 1.png (32,40,3)\nx (2).png\n', ['my photo 1.png', 'x (2).png']),
    'commas': ('Paris, France.png\nParis, France.png, 2.png', ['Paris, France.png'] * 2),
    'two extensions': ('no.png.png', ['no.png.png']),
    'byte-order mark': ('\ufeff1.png (32,40,3)\n2.png', ['1.png', '2.png']),
    'two lists joined': ('\ufeff1.png\n\ufeff2.png', ['1.png', '2.png']),
    'Windows': ('1.png (32,40,3)\r\n2.png\r\n', ['1.png', '2.png']),
    'old Mac': ('1.png (32,40,3)\r2.png\r', ['1.png', '2.png']),
    'empty lines': ('\n1.png\n\n   \n2.png\n\n\n', ['1.png', '2.png']),
    'tabs': ('1.png\t(32,40,3)\n\t2.png\t\n', ['1.png', '2.png']),
    'twice': ('1.png\n1.png\n', ['1.png', '1.png']),
    'not ASCII': ('übergröße.png (32,40,3)', ['übergröße.png']),
    'round about': ('./1.png\nsub/../2.png', ['1.png', '2.png']),
}


@pytest.mark.parametrize('case', READ)
def test_read_alike(opt, tmp_path, case):
    text, names = READ[case]
    for options in (listed(opt, tmp_path, text), listed(single(opt), tmp_path, text)):
        assert check_paired_dataset(options, 'datasets.val') == len(names)
    assert read(listed(single(opt), tmp_path, text)) == names
    assert [gt for gt, _ in read(listed(opt, tmp_path, text))] == names


def test_pairs(opt, tmp_path):
    for text in ('1.png, 1.png\n2.png,a.b.png', '1.png, 1.png (32,40,3)\r\n./2.png,\t./a.b.png\r\n'):
        options = listed(opt, tmp_path, text)
        assert check_paired_dataset(options, 'datasets.val') == 2
        assert read(options) == [('1.png', '1.png'), ('2.png', 'a.b.png')]


def test_partner_by_template_or_by_name(opt, tmp_path):
    shutil.copy(tmp_path / 'lq' / '1.png', tmp_path / 'lq' / '1x4.png')
    options = listed({**opt, 'filename_tmpl': '{}x4'}, tmp_path, '1.png\n2.png, 2.png\n')
    assert check_paired_dataset(options, 'datasets.val') == 2
    assert read(options) == [('1.png', '1x4.png'), ('2.png', '2.png')]
    shutil.copy(tmp_path / 'lq' / '1.png', tmp_path / 'lq' / 'deep.png')
    # BasicSR looks for LR images in one folder
    assert read(listed(opt, tmp_path, 'sub/deep.png')) == [('sub/deep.png', 'deep.png')]


def test_absolute_names(opt, tmp_path):
    options = listed(opt, tmp_path, f'{tmp_path}/gt/1.png\n{tmp_path}/gt/2.png, {tmp_path}/lq/1.png')
    assert check_paired_dataset(options, 'datasets.val') == 2
    assert read(options) == [('1.png', '1.png'), ('2.png', '1.png')]


def test_home_folder(opt, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    options = {**listed(opt, tmp_path, '1.png'), 'meta_info_file': '~/list.txt'}
    assert check_paired_dataset(options, 'datasets.val') == len(read(options)) == 1


REFUSED = {
    'nowhere': ('1.png\n\n3.png (32,40,3)', r'list\.txt line 3 asks for .*gt/3\.png, which does not exist'),
    'comment': ('# names\n1.png', r"line 1 asks for .*gt/#, which"),
    'partner nowhere': ('1.png, 3.png', r'line 1 asks for .*lq/3\.png, which does not exist.*filename_tmpl'),
    'outside': ('1.png\n../lq/1.png', r'line 2 lists \.\./lq/1\.png, which lies outside'),
    'partner outside': ('1.png, ../gt/1.png', r'line 1 lists \.\./gt/1\.png, which lies outside'),
    'absolute outside': ('/etc/1.png', r'line 1 lists /etc/1\.png, which lies outside'),
    'quotes': ('"1.png"', r'line 1 asks for .*"1\.png", which'),
    'backslashes': ('sub\\deep.png', r'line 1 asks for .*sub\\deep\.png, which'),
    'empty': ('\ufeff\r\n \n', r'list\.txt lists no image'),
    'UTF-16': ('1.png\n'.encode('utf-16'), r'it is UTF-16, not UTF-8'),
    'UTF-16 without a mark': ('1.png\n'.encode('utf-16-le'), r'line 1 holds zero bytes'),
    'Latin-1': ('1.png\nübergröße.png'.encode('latin-1'), r'line 2 is not UTF-8'),
    'size without a space': ('1.png(32,40,3)', r'line 1 asks for .*gt/1\.png\(32,40,3\), which'),
    'a column too many': ('1.png 2.png', r'line 1 asks for .*gt/1\.png 2\.png, which.*`gt, lq`'),
}  # fmt: skip


@pytest.mark.parametrize('case', REFUSED)
def test_refused_alike(opt, tmp_path, case):
    text, words = REFUSED[case]
    options = listed(opt, tmp_path, text)
    with pytest.raises((DataError, MissingFileError), match=words):
        check_paired_dataset(options, 'datasets.val')
    with pytest.raises((DataError, MissingFileError), match=words):
        build_dataset(options)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('1.png\n3.png\n4.png', r'line 2 asks for .*gt/3\.png, which does not exist \(nor do 1 more of its images\)'),
        ('2.PNG', r"line 1 asks for .*gt/2\.PNG, .*Did you mean '2\.png'\?"),
        (unicodedata.normalize('NFD', 'übergröße.png'), r'line 1 .*accents in another form of Unicode'),
        ('gt/1.png', r'line 1 asks for .*gt/gt/1\.png, .*with names relative to .*gt\.'),
    ],
)
def test_the_line_of_an_image_that_is_not_there(opt, tmp_path, text, words):
    """Of a validation set, and of the data that training reads."""
    options = listed(opt, tmp_path, text)
    with pytest.raises(MissingFileError, match=words):
        build_dataset(options)
    with pytest.raises(MissingFileError, match=words):
        open_source(options, 'gt')


def test_run_with_pairs_in_a_list(workplace, capfd):
    """From the check to the validation, through the command."""
    for folder in ('val_hr', 'val_lr'):
        (workplace / folder / '000.png').rename(workplace / folder / 'my photo.png')
    (workplace / 'list.txt').write_bytes('\ufeffmy photo.png, my photo.png\r\n'.encode())
    opt = run_options(datasets=dict(val=dict(meta_info_file='list.txt')), val=dict(save_img=True))
    (workplace / 'run.yml').write_text(yaml.safe_dump(opt))
    for flags in (['--check'], []):
        assert run('basicsr', main, ['train', '-opt', 'run.yml', *flags]) == 0, capfd.readouterr().err
    assert (workplace / 'experiments/tiny/visualization/my photo/my photo_2.png').is_file()


def test_pdd_check_reads_the_same(workplace, capsys):
    from pdd_arch.commands.pdd_cli import main as pdd

    write_images(workplace / 'val_lr', 3, 12, 14)
    (workplace / 'list.txt').write_text('000.png, 002.png')
    section = run_options()['datasets']['val'] | {'meta_info_file': 'list.txt'}
    lr_only = {k: v for k, v in section.items() if k != 'dataroot_gt'} | {'type': 'SingleImageDataset', 'name': 'lr'}
    (workplace / 'run.yml').write_text(yaml.safe_dump({'scale': 4, 'datasets': {'val': section, 'val_2': lr_only}}))
    run('pdd', pdd, ['check', 'run.yml', '--json', '-'])
    sets = json.loads(capsys.readouterr().out)['sets']
    assert [sets[0]['compared'], sets[1]['images']['lr']['count']] == [1, 1]


# ---------------------------------------------------------------- LMDB
@pytest.fixture
def in_lmdb(opt, tmp_path):
    """The pairs in LMDBs; BasicSR makes keys from names without their extension."""
    names = [name for name in NAMES if name.isascii()]
    keys = [name.removesuffix('.png') for name in names]
    for side in ('gt', 'lq'):
        make_lmdb_from_imgs(str(tmp_path / side), str(tmp_path / f'{side}.lmdb'), names, keys, map_size=2**24)
    folders = {f'dataroot_{side}': str(tmp_path / f'{side}.lmdb') for side in ('gt', 'lq')}
    return {**opt, **folders, 'io_backend': {'type': 'lmdb'}}


def test_lmdb(in_lmdb):
    """Keys with dots; in two datasets of a process at once."""
    options = {**in_lmdb, 'dataroot_gt': f'{in_lmdb["dataroot_gt"]}/'}
    assert check_paired_dataset(options, 'datasets.val') == 7
    one, other = build_dataset(options), build_dataset(single(in_lmdb))
    keys = sorted(name.removesuffix('.png') for name in NAMES if name.isascii())
    assert [path['gt_path'] for path in one.paths] == [path['lq_path'] for path in one.paths] == keys
    for i in range(7):
        assert one[i]['gt'].shape == (3, 32, 40)
        assert other[i]['lq'].shape == (3, 8, 10)


def test_list_for_an_lmdb(in_lmdb, tmp_path):
    options = listed(in_lmdb, tmp_path, 'a.b.png (32,40,3)\n2.png, 1.png\n')
    assert check_paired_dataset(options, 'datasets.val') == 2
    assert [(p['gt_path'], p['lq_path']) for p in build_dataset(options).paths] == [('a.b', 'a.b'), ('2', '1')]
    with pytest.raises(DataError, match=r"the first is '3'"):
        check_paired_dataset(listed(in_lmdb, tmp_path, '3.png'), 'datasets.val')


# ---------------------------------------------------------------- options that the datasets fail on
FAILING = {
    'options of an LMDB': (dict(io_backend=dict(type='disk', readonly=True)), 'io_backend.readonly: is for type: lmdb'),
    'mean alone': (dict(mean=[0.5, 0.5, 0.5]), 'val.std: missing, but mean is given'),
    'two numbers': (dict(mean=[0, 0], std=[1, 1]), 'val.mean: expected a number for each channel (3)'),
    'division by zero': (dict(mean=[0, 0, 0], std=[1, 1, 0]), 'none of them 0, found [1, 1, 0]'),
    'no crop': (dict(phase='train'), 'val.gt_size: missing'),
    'crop and scale': (dict(phase='train', gt_size=30), '30 is not divisible by the scale 4. Use 28.'),
    'crop and images': (dict(phase='train', gt_size=64), 'smaller than the 64x64 crop'),
}


@pytest.mark.parametrize('case', FAILING)
def test_options_that_the_run_fails_on(opt, case):
    changes, words = FAILING[case]
    with pytest.raises(PDDError) as caught:
        check_paired_dataset({**opt, **changes}, 'datasets.val')
    assert words in str(caught.value)
    if case == 'crop and scale':  # the loss would fail
        return
    with pytest.raises((KeyError, TypeError, ValueError, RuntimeError, OptionError, AssertionError)):
        build_dataset({**opt, **changes})[0]


def test_training_pairs_need_no_flips(opt):
    options = {**opt, 'phase': 'train', 'gt_size': 16}
    assert check_paired_dataset(options, 'datasets.train') == 8
    assert build_dataset(options)[0]['gt'].shape == (3, 16, 16)


def test_luminance_for_a_network_of_colours(workplace, capfd):
    write_images(workplace / 'hr', 1, 48, 56)
    opt = run_options(datasets=dict(val=dict(color='y')))
    (workplace / 'run.yml').write_text(yaml.safe_dump(opt))
    assert run('basicsr', main, ['train', '-opt', 'run.yml']) == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert "datasets.val.color: 'y' gives images of one channel, which network_g does not take" in last
    assert not (workplace / 'experiments').exists()
