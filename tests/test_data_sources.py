"""Folder, meta-info file, LMDB and RAM cache."""

import pickle
import shutil
import time

import cv2
import numpy as np
import pytest
import torch

from pdd_arch.data import cache
from pdd_arch.data.cache import CachedSource, RecentImages
from pdd_arch.data.meta_info import parse_meta_info
from pdd_arch.data.section import data_identity
from pdd_arch.data.sources import FileSource, LmdbSource, open_source
from pdd_arch.data.unpaired_adaptation_dataset import UnpairedAdaptationDataset
from pdd_arch.errors import DataError, MissingFileError, OptionError


@pytest.fixture
def folder(tmp_path):
    """Four images, one of 16 bits, an odd number of bytes in one, and files that are none."""
    root = tmp_path / 'photos'
    root.mkdir()
    rng = np.random.default_rng(3)
    for i, size in enumerate([(20, 30), (21, 31), (24, 24), (40, 20)]):
        dtype = np.uint16 if i == 2 else np.uint8
        pixels = rng.integers(0, np.iinfo(dtype).max + 1, (*size, 3)).astype(dtype)
        cv2.imwrite(str(root / f'img{i}.png'), pixels)
    (root / 'Thumbs.db').write_bytes(b'x')
    (root / '.hidden.png').write_bytes(b'x')
    (root / 'sub').mkdir()
    return root


def make_lmdb(folder, target):
    # a spawned process imports this module, and BasicSR cannot be imported there before pdd_arch
    from basicsr.utils.lmdb_util import make_lmdb_from_imgs

    names = sorted(p.name for p in folder.glob('img*.png'))
    make_lmdb_from_imgs(str(folder), str(target), names, [n[:-4] for n in names])
    return target


def same_pixels(one, other):
    assert len(one) == len(other)
    for i in range(len(one)):
        np.testing.assert_array_equal(one.read_raw(i), other.read_raw(i))
        assert one.check(i) == other.check(i) == one.read_raw(i).shape[:2]


def test_folder(folder):
    source = open_source({'dataroot_gt': str(folder)}, 'gt')
    assert source.names == [f'img{i}.png' for i in range(4)]
    assert source.path(0) == str(folder / 'img0.png')
    assert source.key == 'datasets.train.dataroot_gt'
    assert source.read_raw(2).dtype == np.uint16


@pytest.mark.parametrize('backend', ['disk', 'lmdb'])
def test_lmdb_gives_the_same_pixels(folder, tmp_path, backend):
    target = make_lmdb(folder, tmp_path / 'photos.lmdb')
    source = open_source({'dataroot_lq': str(target), 'io_backend': {'type': backend}}, 'lq')
    same_pixels(source, open_source({'dataroot_lq': str(folder)}, 'lq'))
    assert source.path(0) == str(target / 'img0')
    same_pixels(pickle.loads(pickle.dumps(source)), source)
    # the same database twice in one process, which LMDB itself refuses
    same_pixels(LmdbSource(str(target), 'a'), LmdbSource(str(target), 'b'))


@pytest.mark.parametrize(
    'text',
    [
        'img0.png (20,30,3)\nimg2.png (24,24,3)\n',
        'img0.png\n\nimg2.png',
        'img0.png, x/0.png\nimg2.png, y',
    ],
)
@pytest.mark.parametrize('name', ['meta_info_file', 'meta_info_file_gt'])
def test_meta_info(folder, tmp_path, text, name):
    meta = tmp_path / 'meta.txt'
    meta.write_text(text)
    source = open_source({'dataroot_gt': str(folder), name: str(meta)}, 'gt')
    same_pixels(source, FileSource(str(folder), ['img0.png', 'img2.png'], ''))
    target = make_lmdb(folder, tmp_path / 'photos.lmdb')
    same_pixels(source, open_source({'dataroot_gt': str(target), name: str(meta)}, 'gt'))


def test_meta_info_belongs_to_gt(folder, tmp_path):
    meta = tmp_path / 'meta.txt'
    meta.write_text('img1.png')
    opt = {'dataroot_lq': str(folder), 'dataroot_gt': str(folder), 'meta_info_file': str(meta)}
    assert len(open_source(opt, 'gt')) == 1
    assert len(open_source(opt, 'lq')) == 4
    assert len(open_source({**opt, 'meta_info_file_lq': str(meta)}, 'lq')) == 1


def test_meta_info_lines(tmp_path):
    meta = tmp_path / 'meta.txt'
    meta.write_text('a.b.png (12,34,3) 1\nsub/my photo.JPG (5, 6)\nkey 9\n')
    assert parse_meta_info(meta, 'k') == [('a.b.png', (12, 34)), ('sub/my photo.JPG', (5, 6)), ('key', None)]


def test_meta_info_of_other_editors(tmp_path, folder):
    """Byte-order mark, CRLF, blank lines, duplicates, absolute and roundabout names below the folder."""
    meta = tmp_path / 'meta.txt'
    text = f'\ufeffimg0.png (20,30,3)\r\n\r\nimg0.png\r\n{folder}/img1.png\r\nsub/../img2.png'
    meta.write_bytes(text.encode())
    source = open_source({'dataroot_gt': str(folder), 'meta_info_file': str(meta)}, 'gt')
    assert source.names == ['img0.png', 'img0.png', 'img1.png', 'img2.png']


def test_long_meta_info(tmp_path):
    """Many lines, and one that a careless pattern would take minutes for."""
    meta = tmp_path / 'meta.txt'
    meta.write_text('a' + ' ' * 9000 + 'b\n' + ''.join(f'{i:07d}.png (480,480,3)\n' for i in range(10**5)) * 2)
    started = time.monotonic()
    assert len(parse_meta_info(meta, 'k')) == 2 * 10**5 + 1
    assert time.monotonic() - started < 20


@pytest.mark.parametrize('chunk_bytes', [1, 3000, 2**29])
def test_ram_cache_equals_disk_and_is_shared(folder, chunk_bytes):
    source = open_source({'dataroot_gt': str(folder)}, 'gt')
    cached = CachedSource(source, chunk_bytes)
    same_pixels(cached, source)
    assert [cached.path(i) for i in range(4)] == [source.path(i) for i in range(4)]
    assert all(tensor.is_shared() for tensor in cached.tensors)
    assert len(cached.tensors) == {1: 4, 3000: 3, 2**29: 1}[chunk_bytes]


@pytest.mark.parametrize('start', ['fork', 'spawn'])
def test_memory_is_shared_with_workers(folder, start):
    """What a worker writes shows in the parent: there is one copy of the pixels, and one count of visits."""
    opt = {'dataroot_gt': str(folder), 'dataroot_lq': str(folder), 'scale': 4, 'gt_size': 16, 'cache': 'ram'}
    dataset = UnpairedAdaptationDataset(opt)
    second = UnpairedAdaptationDataset(opt)
    visits = [second[3]['lq_real'], second[3]['lq_real']]
    process = torch.multiprocessing.get_context(start).Process(target=_work, args=(dataset,))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert torch.equal(dataset[3]['lq_real'], visits[1])
    assert (dataset.gt.read_raw(0) == 7).all()


def _work(dataset):
    dataset[3]
    dataset.gt.read_raw(0)[:] = 7


def test_identity_is_that_of_the_names(folder, tmp_path):
    """The same for a copy elsewhere, an LMDB and a cache; another for other names, or sides exchanged."""
    opt = {'dataroot_gt': str(folder), 'dataroot_lq': str(make_lmdb(folder, tmp_path / 'photos.lmdb'))}
    first = data_identity(opt)
    assert len(first) == 16
    moved = tmp_path / 'elsewhere'
    shutil.copytree(folder, moved)
    assert data_identity({'dataroot_gt': str(moved), 'dataroot_lq': str(folder)}) == first
    assert data_identity({'dataroot_gt': f'{moved}/', 'dataroot_lq': str(moved)}) == first
    dataset = UnpairedAdaptationDataset({**opt, 'scale': 4, 'gt_size': 16, 'cache': 'ram'})
    assert dataset.identity() == first
    (moved / 'img0.png').rename(moved / 'img9.png')
    renamed = data_identity({'dataroot_gt': str(moved), 'dataroot_lq': str(folder)})
    exchanged = data_identity({'dataroot_gt': str(folder), 'dataroot_lq': str(moved)})
    (moved / 'img9.png').unlink()
    fewer = data_identity({'dataroot_gt': str(moved), 'dataroot_lq': str(folder)})
    assert len({first, renamed, exchanged, fewer}) == 4


def test_identity_opens_no_image(folder):
    opt = {'dataroot_gt': str(folder), 'dataroot_lq': str(folder)}
    first = data_identity(opt)
    for path in folder.glob('img*'):
        path.write_bytes(b'')
    assert data_identity(opt) == first


def test_ram_cache_without_shared_memory(folder, monkeypatch):
    monkeypatch.setattr(cache, '_available_shared_memory', lambda: 100)
    source = open_source({'dataroot_gt': str(folder)}, 'gt')
    cached = CachedSource(source)
    same_pixels(cached, source)
    assert not any(tensor.is_shared() for tensor in cached.tensors)


def test_ram_cache_larger_than_memory(folder, monkeypatch):
    monkeypatch.setattr(cache, 'available_host_memory', lambda: 100)
    with pytest.raises(DataError, match=r'4 images take 0\.0 MiB decoded but only.*Set `cache: none`'):
        CachedSource(open_source({'dataroot_gt': str(folder)}, 'gt'))


def test_recent_images_are_kept_up_to_a_number_of_bytes(folder, monkeypatch):
    source = open_source({'dataroot_gt': str(folder)}, 'gt')
    sizes = [source.read_raw(i).nbytes for i in range(4)]
    recent = RecentImages(source, sizes[0] + sizes[1])
    same_pixels(recent, source)
    read, plain = [], source.read_raw
    monkeypatch.setattr(source, 'read_raw', lambda index: read.append(index) or plain(index))
    for index in (0, 1, 0, 1, 2, 1, 3, 2):
        np.testing.assert_array_equal(recent.read_raw(index), plain(index))
    # image 2, of 16 bits, takes nearly all of the room
    assert read == [0, 1, 2, 1, 3, 2]
    assert recent.path(3) == source.path(3)


def test_missing_folder(folder):
    with pytest.raises(MissingFileError, match=r"_gt: the folder .*photoss does.*mean 'photos'\?"):
        open_source({'dataroot_gt': f'{folder}s'}, 'gt')
    with pytest.raises(MissingFileError, match=r'dataroot_gt: .*img0\.png is a file; a folder is expected'):
        open_source({'dataroot_gt': str(folder / 'img0.png')}, 'gt')
    with pytest.raises(OptionError, match=r'datasets\.train\.dataroot_gt: missing, expected a folder'):
        open_source({}, 'gt')


def test_folder_without_images(tmp_path):
    root = tmp_path / 'empty'
    root.mkdir()

    def message():
        with pytest.raises(DataError) as caught:
            open_source({'dataroot_lq': str(root)}, 'lq')
        return str(caught.value)

    assert message().startswith(f'datasets.train.dataroot_lq: no image in {root}: found nothing. Put images')
    (root / 'Thumbs.db').write_bytes(b'x')
    (root / 'notes.txt').write_text('x')
    assert 'found 2 other files (Thumbs.db, notes.txt). Put images there' in message()
    (root / 'city').mkdir()
    assert 'and 1 sub-folder without images' in message()
    (root / 'city' / 'a.JPG').write_bytes(b'x')
    assert 'and 1 sub-folder with images (city). Sub-folders are not searched: name one of them' in message()


def test_wrong_backend(folder):
    opt = {'dataroot_gt': str(folder)}
    with pytest.raises(OptionError, match=r"type: expected 'disk' or 'lmdb', found 'lmbd'\. Did .*'lmdb'\?"):
        open_source({**opt, 'io_backend': {'type': 'lmbd'}}, 'gt')
    with pytest.raises(OptionError, match=r"io_backend\.type: expected .*, found 'disk, please'"):
        open_source({**opt, 'io_backend': 'disk, please'}, 'gt')
    with pytest.raises(OptionError, match=r"is 'lmdb', but .*dataroot_gt is .*not end in \.lmdb"):
        open_source({**opt, 'io_backend': {'type': 'lmdb'}}, 'gt')


def test_broken_lmdb_and_meta_info(folder, tmp_path):
    bare = tmp_path / 'bare.lmdb'
    bare.mkdir()
    with pytest.raises(MissingFileError, match=r'bare\.lmdb is not an LMDB made by BasicSR'):
        open_source({'dataroot_gt': str(bare)}, 'gt')
    target = make_lmdb(folder, tmp_path / 'photos.lmdb')
    with open(target / 'meta_info.txt', 'a') as file:
        file.write('gone.png (8,8,3) 1\n')
    source = open_source({'dataroot_gt': str(target)}, 'gt')
    with pytest.raises(DataError, match=r"gone: meta_info\.txt lists .* has no key 'gone'"):
        source.read_raw(4)
    meta = tmp_path / 'meta.txt'
    opt = {'dataroot_gt': str(target), 'meta_info_file': str(meta)}
    with pytest.raises(MissingFileError, match=r'meta_info_file: the file .*meta\.txt does not'):
        open_source(opt, 'gt')
    meta.write_text('\n')
    with pytest.raises(DataError, match=r'meta\.txt lists no image'):
        open_source(opt, 'gt')
    meta.write_text('img00.png')
    with pytest.raises(DataError, match=r"first is 'img00'\. Did you mean 'img0'\? Correct the list"):
        open_source(opt, 'gt')
    (target / 'data.mdb').write_bytes(b'nonsense' * 1000)
    with pytest.raises(DataError, match=r'img0: the LMDB cannot be read'):
        source.read_raw(0)
