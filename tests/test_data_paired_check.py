"""Validation sets are looked over before BasicSR builds them."""

import cv2
import numpy as np
import pytest
from basicsr.data import build_dataset
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from helpers import single, validation_pairs

from pdd_arch.data.paired_check import check_paired_dataset, explain_unreadable
from pdd_arch.errors import DataError, MissingFileError, OptionError

KEY = 'datasets.val'


def write(path, height, width):
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8))


@pytest.fixture
def opt(tmp_path):
    """Two pairs at scale 4; the second ground truth is some pixels too large, as in benchmark sets."""
    for name, size, extra in (('a', (8, 10), (0, 0)), ('b', (9, 7), (3, 1))):
        write(tmp_path / 'lq' / f'{name}.png', *size)
        write(tmp_path / 'gt' / f'{name}.png', *(4 * s + e for s, e in zip(size, extra, strict=True)))
    return validation_pairs(tmp_path)


def test_good_sets(opt, tmp_path):
    assert check_paired_dataset(opt, KEY) == 2
    assert check_paired_dataset(single(opt), KEY) == 2
    assert check_paired_dataset({'type': 'UnpairedAdaptationDataset'}, KEY) == 0

    meta = tmp_path / 'meta.txt'
    meta.write_text('b.png (39,29,3)\n')
    assert check_paired_dataset({**opt, 'meta_info_file': str(meta)}, KEY) == 1
    assert check_paired_dataset({**single(opt), 'meta_info_file': str(meta)}, KEY) == 1

    lmdbs = {'io_backend': {'type': 'lmdb'}}
    for side in ('gt', 'lq'):
        lmdbs[f'dataroot_{side}'] = str(tmp_path / f'{side}.lmdb')
        make_lmdb_from_imgs(
            str(tmp_path / side), lmdbs[f'dataroot_{side}'], ['a.png', 'b.png'], ['a', 'b'], map_size=2**24
        )
    assert check_paired_dataset({**opt, **lmdbs}, KEY) == 2
    assert check_paired_dataset(single({**opt, **lmdbs}), KEY) == 2
    assert len(build_dataset({**opt, **lmdbs})) == 2


def test_filename_template(opt, tmp_path):
    for name in 'ab':
        (tmp_path / 'lq' / f'{name}.png').rename(tmp_path / 'lq' / f'{name}x4.png')
    assert check_paired_dataset({**opt, 'filename_tmpl': '{}x4'}, KEY) == 2
    with pytest.raises(DataError, match=r"gt/a\.png has no LR image: .*lq/a\.png.*filename_tmpl` \(now '\{\}'\)"):
        check_paired_dataset(opt, KEY)


def test_wrong_scale(opt, tmp_path):
    write(tmp_path / 'gt' / 'b.png', 18, 14)
    with pytest.raises(DataError) as caught:
        check_paired_dataset(opt, KEY)
    assert str(caught.value) == (
        f'datasets.val: {tmp_path}/lq/b.png: is 9x7 pixels (height x width) and its HR image {tmp_path}/gt/b.png '
        '18x14; at scale 4 HR is expected to be 36x28. These two fit scale 2. Correct `scale`, '
        '`datasets.val.dataroot_gt` or `datasets.val.dataroot_lq`, or replace the file.'
    )


@pytest.mark.parametrize('size', [(40, 28), (36, 32), (35, 28)])
def test_size_beyond_what_basicsr_crops(opt, tmp_path, size):
    write(tmp_path / 'gt' / 'b.png', *size)
    with pytest.raises(DataError, match=rf'gt/b\.png {size[0]}x{size[1]}.*expected to be 36x28\. Correct'):
        check_paired_dataset(opt, KEY)


def test_training_pairs_must_fit_exactly(opt):
    with pytest.raises(DataError, match=r'datasets\.train: .*gt/b\.png 39x29'):
        check_paired_dataset({**opt, 'phase': 'train', 'gt_size': 8}, 'datasets.train')


def test_wrong_scale_in_lmdb(opt, tmp_path):
    opt['io_backend'] = {'type': 'lmdb'}
    for side in ('gt', 'lq'):
        opt[f'dataroot_{side}'] = str(tmp_path / f'{side}.lmdb')
        make_lmdb_from_imgs(
            str(tmp_path / side), opt[f'dataroot_{side}'], ['a.png', 'b.png'], ['a', 'b'], map_size=2**24
        )
    with pytest.raises(DataError, match=r'lq\.lmdb/a: is 8x10 .*gt\.lmdb/a 32x40; at scale 2'):
        check_paired_dataset({**opt, 'scale': 2}, KEY)
    short = tmp_path / 'short.lmdb'
    make_lmdb_from_imgs(str(tmp_path / 'lq'), str(short), ['a.png'], ['a'], map_size=2**24)
    with pytest.raises(DataError, match=r"in .*gt\.lmdb are not in .*short\.lmdb, the first is 'b'"):
        check_paired_dataset({**opt, 'dataroot_lq': str(short)}, KEY)


def test_pairs_that_do_not_match(opt, tmp_path):
    write(tmp_path / 'lq' / 'c.png', 8, 8)
    with pytest.raises(DataError, match=r'3 LR images but 2 GT images: .*lq/c\.png has no ground truth'):
        check_paired_dataset(opt, KEY)
    (tmp_path / 'lq' / 'c.png').unlink()
    (tmp_path / 'lq' / 'b.png').rename(tmp_path / 'lq' / 'b.jpg')
    with pytest.raises(DataError, match=r'gt/b\.png has no LR image.*There is b\.jpg: both must have the same'):
        check_paired_dataset(opt, KEY)


@pytest.mark.parametrize('side', ['gt', 'lq'])
def test_folders(opt, tmp_path, side):
    key = rf'datasets\.val\.dataroot_{side}'
    with pytest.raises(MissingFileError, match=rf'{key}: the folder .*nowhere does not exist'):
        check_paired_dataset({**opt, f'dataroot_{side}': str(tmp_path / 'nowhere')}, KEY)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match=rf'{key}: no image in .*empty: found nothing'):
        check_paired_dataset({**opt, f'dataroot_{side}': str(tmp_path / 'empty')}, KEY)
    with pytest.raises(OptionError, match=rf'{key}: missing'):
        check_paired_dataset({**opt, f'dataroot_{side}': None}, KEY)
    (tmp_path / side / 'Thumbs.db').write_bytes(b'x')
    with pytest.raises(DataError, match=rf'{key}: .*Thumbs\.db is not an image, and BasicSR reads every.*Remove it'):
        check_paired_dataset(opt, KEY)


@pytest.mark.parametrize('kind', ['truncated', 'damaged', 'empty', 'text'])
def test_broken_file(opt, tmp_path, kind):
    path = tmp_path / 'lq' / 'b.png'
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 0xFF
    spoilt = {'truncated': content[:99], 'damaged': bytes(damaged), 'empty': b'', 'text': b'hello, world'}[kind]
    path.write_bytes(spoilt)
    found = {
        'truncated': 'is a truncated PNG',
        'damaged': 'is a damaged PNG',
        'empty': 'is empty',
        'text': 'is not an image',
    }[kind]
    for changed in (opt, single(opt)):
        with pytest.raises(DataError, match=rf'datasets\.val\.dataroot_lq: .*lq/b\.png: {found}.*Replace or'):
            check_paired_dataset(changed, KEY)
    # unreadable only once the run is on: BasicSR's own error does not name the file
    dataset = build_dataset(opt)
    with pytest.raises(DataError, match=r'lq/b\.png: is .*Replace or remove it'):
        dataset[[p['lq_path'] for p in dataset.paths].index(str(path))]


def test_explain_unreadable(opt, tmp_path):
    good, bad = tmp_path / 'gt' / 'a.png', tmp_path / 'bad.png'
    cause = AttributeError("'NoneType' object has no attribute 'astype'")
    assert explain_unreadable(cause, [str(good), 'lmdb_key']) is None
    bad.write_bytes(b'')
    error = explain_unreadable(cause, [str(good), str(bad)])
    assert isinstance(error, DataError)
    assert 'bad.png: is empty' in str(error)
    assert error.__cause__ is cause
    assert isinstance(explain_unreadable(cause, [str(tmp_path / 'gone.png')]), MissingFileError)


def test_options(opt, tmp_path):
    with pytest.raises(OptionError, match=r'datasets\.val\.io_backend: missing\. Write'):
        check_paired_dataset({**opt, 'io_backend': None}, KEY)
    with pytest.raises(OptionError, match=r"io_backend\.type: .*'dusk'.*mean 'disk'\?"):
        check_paired_dataset({**opt, 'io_backend': {'type': 'dusk'}}, KEY)
    with pytest.raises(OptionError, match=r"is 'lmdb', but datasets\.val\.dataroot_gt is .*not end in \.lmdb"):
        check_paired_dataset({**opt, 'io_backend': {'type': 'lmdb'}}, KEY)
    with pytest.raises(OptionError, match=r'datasets\.val\.scale: expected a positive .*found None'):
        check_paired_dataset({**opt, 'scale': None}, KEY)
    with pytest.raises(OptionError, match=r'meta_info_file: is empty, which SingleImageDataset cannot take'):
        check_paired_dataset({**single(opt), 'meta_info_file': None}, KEY)
    meta = tmp_path / 'meta.txt'
    meta.write_text('gone.png\n')
    with pytest.raises(MissingFileError, match=r'meta\.txt line 1 asks for .*gt/gone\.png, which does not exist'):
        check_paired_dataset({**opt, 'meta_info_file': str(meta)}, KEY)
