"""The training set: what a sample is, that it can be drawn again, and every wrong input."""

import copy
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.utils.lmdb_util import make_lmdb_from_imgs

from pdd_arch.basicsr_loop.data_loading import PositionedSampler
from pdd_arch.data.positioned_index import PositionedIndex, positioned
from pdd_arch.data.section import DatasetSection, validate_sources
from pdd_arch.data.sources import open_source
from pdd_arch.data.unpaired_adaptation_dataset import UnpairedAdaptationDataset
from pdd_arch.degradations.lr_synthesis import synthesise_lr
from pdd_arch.errors import DataError, MissingFileError, OptionError
from pdd_arch.images import decoding
from pdd_arch.training.run_state import TrainingRun


def write_images(folder, count, height, width, seed=0):
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(count):
        pixels = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f'{i:02d}.png'), pixels)
    return folder


@pytest.fixture
def opt(tmp_path):
    """3 HR photographs, 17 of the target domain."""
    return {
        'name': 'tiny',
        'type': 'UnpairedAdaptationDataset',
        'phase': 'train',
        'scale': 4,
        'dataroot_gt': str(write_images(tmp_path / 'hr', 3, 40, 50)),
        'dataroot_lq': str(write_images(tmp_path / 'lr', 17, 12, 14, seed=1)),
        'gt_size': 32,
        'io_backend': {'type': 'disk'},
        'batch_size_per_gpu': 4,
        'num_worker_per_gpu': 0,
        'manual_seed': 5,
    }


class Positions(torch.utils.data.Sampler):
    """The indices 0, 1, ... of one process, with their positions."""

    def __init__(self, count, epoch=0, rank=0, world_size=1):
        self.count, self.place = count, (epoch, rank, world_size)

    def __iter__(self):
        return positioned(range(self.count), *self.place)

    def __len__(self):
        return self.count


def draw(opt, sampler, dataset=None):
    """All samples of an epoch in one dictionary, through BasicSR's own dataloader."""
    dataset = dataset or build_dataset(opt)
    iterator = iter(build_dataloader(dataset, opt, num_gpu=1, sampler=sampler, seed=opt['manual_seed']))
    try:
        batches = list(iterator)
    except DataError:
        if opt['num_worker_per_gpu']:
            # the traceback keeps the iterator alive; the garbage collector would wait 5 s for each worker
            iterator._shutdown_workers()
        raise
    return {key: _join([batch[key] for batch in batches]) for key in batches[0]}


def _index(source, path):
    return [source.path(i) for i in range(len(source))].index(path)


def _join(parts):
    return torch.cat(parts) if torch.is_tensor(parts[0]) else [item for part in parts for item in part]


def equal(one, other):
    return all(torch.equal(v, other[k]) if torch.is_tensor(v) else v == other[k] for k, v in one.items())


def test_sample(opt):
    kept = pickle.dumps(opt)
    dataset = UnpairedAdaptationDataset(opt)
    assert pickle.dumps(opt) == kept
    assert len(dataset) == 17
    sample = dataset[0]
    assert sorted(sample) == ['gt', 'gt_path', 'lq', 'lq_real', 'lq_real_path']
    for key, shape in (('gt', (3, 32, 32)), ('lq', (3, 8, 8)), ('lq_real', (3, 8, 8))):
        assert sample[key].shape == shape
        assert sample[key].dtype == torch.float32
        assert sample[key].is_contiguous()
        assert 0 <= sample[key].min() <= sample[key].max() <= 1
    assert _index(dataset.gt, sample['gt_path']) >= 0
    assert _index(dataset.lq, sample['lq_real_path']) >= 0
    with pytest.raises(IndexError, match='index 17 of a dataset of length 17'):
        dataset[17]


@pytest.mark.parametrize('augment', [False, True])
def test_crops_come_from_the_photographs(opt, augment):
    """Each crop is found in its photograph in RGB order, and LR is made of the GT crop as it stands."""
    opt |= {'use_hflip': augment, 'use_rot': augment, 'lr_synthesis': {'resize': ['area']}}
    dataset = UnpairedAdaptationDataset(opt)
    for i in range(12):
        sample = dataset[i]
        gt = sample['gt'].numpy().transpose(1, 2, 0)
        lq = synthesise_lr(np.ascontiguousarray(gt), 4, 'area').transpose(2, 0, 1)
        np.testing.assert_array_equal(sample['lq'].numpy(), lq)
        for key, path in (('gt', 'gt_path'), ('lq_real', 'lq_real_path')):
            crop = np.rint(sample[key].numpy() * 255).astype(np.uint8).transpose(1, 2, 0)
            photograph = cv2.cvtColor(cv2.imread(sample[path]), cv2.COLOR_BGR2RGB)
            turned = [np.rot90(c, k) for c in (crop, crop[:, ::-1]) for k in range(4)] if augment else [crop]
            windows = np.lib.stride_tricks.sliding_window_view(photograph, crop.shape)
            assert any((windows == t).all((-3, -2, -1)).any() for t in turned)


def test_every_augmentation_in_both_domains_independently(opt, tmp_path):
    """With a crop as large as the image, its corners tell which of the 8 turns it got."""
    for side, size in (('gt', 8), ('lq', 2)):
        pixels = np.zeros((size, size, 3), np.uint8)
        pixels[0, 0], pixels[0, -1], pixels[-1, 0] = 10, 20, 30
        (tmp_path / f'c{side}').mkdir()
        cv2.imwrite(str(tmp_path / f'c{side}' / 'a.png'), pixels)
        opt[f'dataroot_{side}'] = str(tmp_path / f'c{side}')

    def corners(image):
        return tuple(round(float(image[0, y, x]) * 255) for y, x in ((0, 0), (0, -1), (-1, 0)))

    def turns(**flags):
        dataset = UnpairedAdaptationDataset({**opt, 'gt_size': 8, **flags})
        seen = set()
        for i in range(600):
            sample = dataset[PositionedIndex(0, 0, i)]
            seen.add((corners(sample['gt']), corners(sample['lq_real'])))
        return seen

    assert turns(use_hflip=False, use_rot=False) == {((10, 20, 30), (10, 20, 30))}
    assert len(turns(use_hflip=True, use_rot=False)) == 2 * 2
    assert len(turns(use_hflip=False, use_rot=True)) == 4 * 4
    assert len(turns()) == 8 * 8


def test_both_sources_are_drawn_uniformly_and_independently(opt):
    dataset = UnpairedAdaptationDataset(opt)
    pairs = np.zeros((3, 17))
    count = 2550
    for i in range(count):
        sample = dataset[PositionedIndex(i % 17, i // 17, i % 17)]
        pairs[_index(dataset.gt, sample['gt_path']), _index(dataset.lq, sample['lq_real_path'])] += 1
    for counts in (pairs.sum(1), pairs.sum(0), pairs.reshape(-1)):
        expected = count / counts.size
        chi_square = ((counts - expected) ** 2 / expected).sum()
        # mean k-1, standard deviation sqrt(2(k-1)); fixed seeds, so this never flickers
        assert chi_square < counts.size - 1 + 4 * np.sqrt(2 * (counts.size - 1))
    # the longer source may be either one
    swapped = {'dataroot_gt': opt['dataroot_lq'], 'dataroot_lq': opt['dataroot_gt'], 'gt_size': 12}
    assert len(UnpairedAdaptationDataset({**opt, **swapped})) == 17


def test_same_samples_with_any_number_of_workers(opt):
    dataset = build_dataset(opt)
    epochs = [draw({**opt, 'num_worker_per_gpu': n}, Positions(16, epoch=3), dataset) for n in (0, 1, 2)]
    assert equal(epochs[0], epochs[1])
    assert equal(epochs[0], epochs[2])


def test_global_random_state_plays_no_part(opt):
    dataset = UnpairedAdaptationDataset(opt)
    index = PositionedIndex(1, 2, 3)
    first = dataset[index]
    np.random.seed(1)
    torch.manual_seed(1)
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    assert equal(first, dataset[index])
    np.testing.assert_array_equal(numpy_state, np.random.get_state()[1])
    assert torch.equal(torch_state, torch.get_rng_state())
    assert equal(first, UnpairedAdaptationDataset(opt)[index])


def test_what_the_draw_depends_on(opt):
    dataset = UnpairedAdaptationDataset(opt)
    first = dataset[PositionedIndex(1, 2, 3)]
    # not on the index: which photographs are used is part of the draw
    assert equal(first, dataset[PositionedIndex(9, 2, 3)])
    assert not equal(first, dataset[PositionedIndex(1, 3, 3)])
    assert not equal(first, dataset[PositionedIndex(1, 2, 4)])
    for name in ('manual_seed', 'seed'):
        assert not equal(first, UnpairedAdaptationDataset({**opt, name: 6})[PositionedIndex(1, 2, 3)])
    assert equal(first, UnpairedAdaptationDataset({**opt, 'manual_seed': 6, 'seed': 5})[PositionedIndex(1, 2, 3)])


def test_ranks_draw_disjoint_positions(opt):
    """Two processes together draw what one process of twice the length draws."""
    dataset = build_dataset(opt)
    whole = draw(opt, Positions(16), dataset)
    ranks = [draw(opt, Positions(8, rank=r, world_size=2), dataset) for r in (0, 1)]
    for r in (0, 1):
        assert torch.equal(ranks[r]['gt'], whole['gt'][r::2])
        assert torch.equal(ranks[r]['lq_real'], whole['lq_real'][r::2])
    assert not torch.equal(ranks[0]['gt'], ranks[1]['gt'])


def test_positioned_index():
    indices = list(positioned([4, 4, 7], epoch=2, rank=1, world_size=3, start=5))
    assert indices == [4, 4, 7]
    assert [i.position for i in indices] == [16, 19, 22]
    copy = pickle.loads(pickle.dumps(indices[2]))
    assert (copy, copy.epoch, copy.position) == (7, 2, 22)
    assert repr(copy) == 'PositionedIndex(7, epoch=2, position=22)'
    assert ['a', 'b'][PositionedIndex(1, 0, 0)] == 'b'


def test_basicsr_sampler_tells_positions(opt):
    dataset = build_dataset(opt)
    sampler = PositionedSampler(TrainingRun(), dataset, 2, 1, 3)
    sampler.set_epoch(4)
    indices = list(sampler)
    assert [i.position for i in indices[:3]] == [1, 3, 5]
    assert {i.epoch for i in indices} == {4}


def test_plain_indices_are_fresh_each_epoch_and_the_same_in_workers(opt):
    """Without positions the epoch is how often an index was asked for, over all workers."""

    def epochs(workers):
        dataset = UnpairedAdaptationDataset(opt)
        loader = torch.utils.data.DataLoader(dataset, 8, num_workers=workers)
        return [torch.cat([batch['gt'] for batch in loader]) for _ in range(2)]

    main, workers = epochs(0), epochs(2)
    assert not torch.equal(main[0], main[1])
    assert torch.equal(main[0], workers[0])
    assert torch.equal(main[1], workers[1])


def test_cache_lmdb_and_meta_info_give_the_same_samples(opt, tmp_path):
    reference = draw(opt, Positions(8))
    cached = {**opt, 'cache': 'ram', 'num_worker_per_gpu': 2}
    assert equal(reference, draw(cached, Positions(8)))

    meta = tmp_path / 'meta.txt'
    meta.write_text(''.join(f'{i:02d}.png (40,50,3)\n' for i in range(3)))
    assert equal(reference, draw({**opt, 'meta_info_file': str(meta)}, Positions(8)))

    lmdbs = {}
    for side in ('gt', 'lq'):
        names = [f'{i:02d}' for i in range(3 if side == 'gt' else 17)]
        lmdbs[f'dataroot_{side}'] = str(tmp_path / f'{side}.lmdb')
        make_lmdb_from_imgs(opt[f'dataroot_{side}'], lmdbs[f'dataroot_{side}'], [f'{n}.png' for n in names], names)
    for workers in (0, 2):
        for cache in ('none', 'ram'):
            changed = {
                **opt,
                **lmdbs,
                'io_backend': {'type': 'lmdb'},
                'num_worker_per_gpu': workers,
                'cache': cache,
            }
            from_lmdb = draw(changed, Positions(8))
            assert all(torch.equal(reference[k], from_lmdb[k]) for k in ('gt', 'lq', 'lq_real'))


def test_16_bit_and_gray_photographs(opt, tmp_path):
    root = tmp_path / 'mixed'
    root.mkdir()
    cv2.imwrite(str(root / 'a.png'), np.full((16, 16), 65535 // 3, np.uint16))
    cv2.imwrite(str(root / 'b.png'), np.full((16, 16, 4), 85, np.uint8))
    dataset = UnpairedAdaptationDataset({**opt, 'dataroot_lq': str(root), 'cache': 'ram'})
    for i in range(len(dataset)):
        torch.testing.assert_close(dataset[i]['lq_real'], torch.full((3, 8, 8), 1 / 3))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'gt_size': None}, r'^datasets\.train\.gt_size: expected a whole number from 1 .*found None'),
        ({'gt_size': 30}, r'gt_size: 30 is not divisible by the scale 4\. Use 28 or 32\.'),
        ({'gt_size': 2}, r'gt_size: 2 is not divisible by the scale 4\. Use 4\.'),
        ({'gt_size': '32'}, r"gt_size: expected a whole number from 1 .*found '32'"),
        ({'scale': None}, r'^scale: expected a whole number of at least 1, found None'),
        ({'use_rot': 1}, r'^datasets\.train\.use_rot: expected true or false, found 1'),
        ({'cache': 'rma'}, r"cache: expected 'none' or 'ram'.*, found 'rma'\. Did you mean 'ram'\?"),
        ({'manual_seed': -1}, r'manual_seed: expected a whole number of at least 0.*, found -1'),
        ({'lr_synthesis': {'resize': ['cubic']}}, r"lr_synthesis\.resize\[0\]: .*'cubic'.*mean 'bicubic'\?"),
        ({'io_backend': {'type': 'disc'}}, r"io_backend\.type: .*'disc'.*mean 'disk'\?"),
        ({'phase': 'val'}, r'^datasets\.val\.type: Unpaired.*training only\. Validate with PairedImageDataset'),
    ],
)
def test_wrong_options(opt, change, message):
    with pytest.raises(OptionError, match=message):
        UnpairedAdaptationDataset({**opt, **change})


def test_sources_that_were_opened_before(opt, monkeypatch):
    """Neither listed nor looked at again, nor copied with the section, as BasicSR does it."""
    reference = draw(opt, Positions(8))
    sources = tuple(open_source(opt, side) for side in ('gt', 'lq'))
    validate_sources(*sources, opt['gt_size'], opt['scale'])
    section = DatasetSection(opt, sources)
    monkeypatch.setattr('os.scandir', None)
    monkeypatch.setattr(type(sources[0]), 'check', None)
    assert equal(reference, draw(section, Positions(8)))
    copied = copy.deepcopy(section)
    assert copied == section == opt
    assert copied.sources is sources
    assert copied['io_backend'] is not opt['io_backend']


def test_noise_is_injected_from_photographs_that_are_read_once(opt, monkeypatch):
    opt['lr_synthesis'] = {'noise_injection': True}
    cached = UnpairedAdaptationDataset({**opt, 'cache': 'ram'})
    dataset = UnpairedAdaptationDataset(opt)
    read, plain = [], decoding.read_raw
    monkeypatch.setattr(decoding, 'read_raw', lambda path: read.append(path) or plain(path))
    for i in range(6):
        assert equal(cached[PositionedIndex(0, 0, i)], dataset[PositionedIndex(0, 0, i)])
    targets = [path for path in read if '/lr/' in path]
    assert len(targets) == len(set(targets)) <= 17


def test_missing_and_empty_folders(opt, tmp_path):
    with pytest.raises(MissingFileError, match=r'datasets\.train\.dataroot_gt: the folder .*nowhere does not exist'):
        UnpairedAdaptationDataset({**opt, 'dataroot_gt': str(tmp_path / 'nowhere')})
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match=r'datasets\.train\.dataroot_lq: no image in .*empty: found nothing'):
        UnpairedAdaptationDataset({**opt, 'dataroot_lq': str(tmp_path / 'empty')})


def test_image_smaller_than_the_crop(opt, tmp_path):
    cv2.imwrite(f'{opt["dataroot_gt"]}/01.png', np.zeros((31, 40, 3), np.uint8))
    with pytest.raises(DataError) as caught:
        UnpairedAdaptationDataset(opt)
    path = f'{opt["dataroot_gt"]}/01.png'
    assert str(caught.value) == (
        f'datasets.train.dataroot_gt: {path}: is 31x40 pixels (height x width), smaller than the 32x32 '
        'crop that `datasets.train.gt_size: 32` takes. Remove it, or lower gt_size to 28 or less.'
    )
    dataset = UnpairedAdaptationDataset({**opt, 'validate': False})
    with pytest.raises(DataError, match=r'01\.png: is 31x40 pixels'):
        list(dataset)
    opt['gt_size'] = 28
    UnpairedAdaptationDataset(opt)
    cv2.imwrite(f'{opt["dataroot_lq"]}/03.png', np.zeros((9, 6, 3), np.uint8))
    cv2.imwrite(f'{opt["dataroot_lq"]}/05.png', np.zeros((6, 9, 3), np.uint8))
    with pytest.raises(
        DataError,
        match=r'03\.png: is 9x6 pixels.*7x7 crop that `datasets\.train\.gt_size: 28` at scale 4 takes\. '
        r'Remove it, or lower gt_size to 24 or less\. 1 more of 17 images cannot be used: .*05\.png\.',
    ):
        UnpairedAdaptationDataset(opt)


def test_meta_info_lists_a_missing_file(opt, tmp_path):
    meta = tmp_path / 'meta.txt'
    meta.write_text('00.png\n77.png\n')
    with pytest.raises(
        MissingFileError, match=r'meta_info_file: .*line 2 asks for .*77\.png, which does not exist\. Correct'
    ):
        UnpairedAdaptationDataset({**opt, 'meta_info_file': str(meta)})


def truncate(path):
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ('spoil', 'found'),
    [
        (truncate, 'is a truncated PNG'),
        (lambda path: Path(path).write_bytes(b''), r'is empty \(0 bytes\)'),
        (lambda path: Path(path).write_text('hello, world'), r"is not an image.*b'hello, world'"),
    ],
)
@pytest.mark.parametrize('side', ['gt', 'lq'])
def test_broken_image(opt, spoil, found, side):
    """Found before training starts, and named when it happens in the middle of a run, in a worker too."""
    path = f'{opt[f"dataroot_{side}"]}/01.png'
    dataset = build_dataset(opt)
    spoil(path)
    with pytest.raises(DataError, match=rf'datasets\.train\.dataroot_{side}: .*/01\.png: {found}'):
        UnpairedAdaptationDataset(opt)
    with pytest.raises(DataError, match=rf'/01\.png: {found}'):
        UnpairedAdaptationDataset({**opt, 'validate': False, 'cache': 'ram'})
    for workers in (0, 2):
        running = {**opt, 'num_worker_per_gpu': workers}
        with pytest.raises(DataError, match=rf'/01\.png: {found}.*Replace or remove it'):
            draw(running, Positions(64), dataset)
