"""Real-ESRGAN's own option files: its keys, its models in training, and its degradation in ours."""

import random
import shutil
import sys

import numpy as np
import pytest
import torch
import yaml
from basicsr.utils import img_process_util
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from helpers import TINY_D, TINY_G, merge, release_logger, run_options, write_images

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run
from pdd_arch.data.section import lr_synthesis_of
from pdd_arch.degradations.real_esrgan import RealESRGAN
from pdd_arch.errors import PDDError
from pdd_arch.options.degradation import LRSynthesisOptions
from pdd_arch.options.messages import validated
from pdd_arch.options.run_options import RunOptions
from pdd_arch.preflight.real_esrgan import check_real_esrgan

KINDS = ['iso', 'aniso', 'generalized_iso', 'generalized_aniso', 'plateau_iso', 'plateau_aniso']
SHARES = [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
#: of the published option files: what the dataset reads ...
KERNELS = dict(
    blur_kernel_size=21, kernel_list=KINDS, kernel_prob=SHARES, sinc_prob=0.1, blur_sigma=[0.2, 3],
    betag_range=[0.5, 4], betap_range=[1, 2],
    blur_kernel_size2=21, kernel_list2=KINDS, kernel_prob2=SHARES, sinc_prob2=0.1, blur_sigma2=[0.2, 1.5],
    betag_range2=[0.5, 4], betap_range2=[1, 2], final_sinc_prob=0.8,
)  # fmt: skip
#: ... and what the models read
RESIZING = dict(
    resize_prob=[0.2, 0.7, 0.1], resize_range=[0.15, 1.5], gaussian_noise_prob=0.5, noise_range=[1, 30],
    poisson_scale_range=[0.05, 3], gray_noise_prob=0.4, jpeg_range=[30, 95], second_blur_prob=0.8,
    resize_prob2=[0.3, 0.4, 0.3], resize_range2=[0.3, 1.2], gaussian_noise_prob2=0.5, noise_range2=[1, 25],
    poisson_scale_range2=[0.05, 2.5], gray_noise_prob2=0.4, jpeg_range2=[30, 95],
)  # fmt: skip


def file_of(model: str, **changes) -> dict:
    """An option file with the keys and values of the published one, a tiny network and few iterations."""
    opt = dict(
        name='tiny', model_type=model, scale=4, num_gpu=0, manual_seed=0, **RESIZING, gt_size=32, queue_size=2,
        datasets=dict(
            train=dict(
                name='DF2K+OST', type='RealESRGANDataset', dataroot_gt='hr', meta_info='meta.txt',
                io_backend=dict(type='disk'), **KERNELS, gt_size=32, use_hflip=True, use_rot=False,
                use_shuffle=True, num_worker_per_gpu=0, batch_size_per_gpu=1, dataset_enlarge_ratio=1,
                prefetch_mode=None,
            ),
            val=dict(
                name='pairs', type='PairedImageDataset', dataroot_gt='val_hr', dataroot_lq='val_lr',
                io_backend=dict(type='disk'),
            ),
        ),
        network_g=TINY_G,
        path=dict(pretrain_network_g=None, param_key_g='params_ema', strict_load_g=True, resume_state=None),
        train=dict(
            ema_decay=0.999,
            optim_g=dict(type='Adam', lr=2e-4, weight_decay=0, betas=[0.9, 0.99]),
            scheduler=dict(type='MultiStepLR', milestones=[1000], gamma=0.5),
            total_iter=2, warmup_iter=-1,
            pixel_opt=dict(type='L1Loss', loss_weight=1.0, reduction='mean'),
        ),
        val=dict(val_freq=2, save_img=True, metrics=dict(psnr=dict(type='calculate_psnr', crop_border=4))),
        logger=dict(
            print_freq=1, save_checkpoint_freq=2, use_tb_logger=False, wandb=dict(project=None, resume_id=None)
        ),
        dist_params=dict(backend='nccl', port=29500),
    )  # fmt: skip
    if model == 'RealESRNetModel':
        return merge(opt | dict(gt_usm=True), changes)
    gan = dict(
        optim_d=opt['train']['optim_g'],
        gan_opt=dict(type='GANLoss', gan_type='vanilla', real_label_val=1.0, fake_label_val=0.0, loss_weight=0.1),
        net_d_iters=1,
        net_d_init_iters=0,
    )
    switches = dict(l1_gt_usm=True, percep_gt_usm=True, gan_gt_usm=False)
    return merge(merge(opt | switches | dict(network_d=TINY_D), dict(train=gan)), changes)


@pytest.fixture
def real_esrgan_place(workplace):
    (workplace / 'meta.txt').write_text('000.png\n001.png\n')
    torch.save({'params_ema': _network().state_dict()}, 'tiny.pth')
    return workplace


def _network():
    from basicsr.archs import build_network

    return build_network(TINY_G)


def train(opt, *flags) -> int:
    with open('run.yml', 'w') as file:
        yaml.safe_dump(opt, file, sort_keys=False)
    release_logger()
    return run('basicsr', main, ['train', '-opt', 'run.yml', *flags])


@pytest.mark.parametrize('num_gpu', [0, pytest.param(1, marks=pytest.mark.gpu)])
@pytest.mark.parametrize('model', ['RealESRNetModel', 'RealESRGANModel'])
def test_trains_and_resumes(real_esrgan_place, capfd, model, num_gpu):
    opt = file_of(model, num_gpu=num_gpu)
    if model == 'RealESRGANModel':  # which the published file continues from RealESRNet
        opt['path']['pretrain_network_g'] = 'tiny.pth'
    assert train(opt, '--check') == 0, capfd.readouterr().err
    assert train(opt) == 0, capfd.readouterr().err
    opt['train']['total_iter'] = opt['val']['val_freq'] = 4
    assert train(opt, '--auto_resume') == 0, capfd.readouterr().err
    folder = real_esrgan_place / 'experiments' / 'tiny'
    weights = torch.load(folder / 'models' / 'net_g_4.pth', weights_only=True)
    assert set(weights) == {'params', 'params_ema'}
    before = torch.load(folder / 'models' / 'net_g_2.pth', weights_only=True)
    assert any(not torch.equal(weights['params'][k], before['params'][k]) for k in weights['params'])
    assert torch.load(folder / 'training_states' / '4.state', weights_only=True)['iter'] == 4
    assert (folder / 'visualization' / '000' / '000_4.png').is_file()
    assert 'may be a bug' not in capfd.readouterr().err


def test_pairs_of_real_esrgan(real_esrgan_place, capfd):
    """Fine-tuning on pairs, with a list of pairs and without."""
    pairs = dict(type='RealESRGANPairedDataset', dataroot_gt='val_hr', dataroot_lq='val_lr', meta_info='pairs.txt')
    (real_esrgan_place / 'pairs.txt').write_text('000.png, 000.png\n')
    changes = dict(high_order_degradation=False, datasets=dict(train=pairs | dict.fromkeys(KERNELS)))
    opt = file_of('RealESRGANModel', **changes, **dict.fromkeys(RESIZING))
    opt['datasets']['train']['dataset_enlarge_ratio'] = 4
    assert train(opt) == 0, capfd.readouterr().err
    del opt['datasets']['train']['meta_info']
    assert train(opt, '--check') == 0, capfd.readouterr().err


@pytest.mark.parametrize('model', ['RealESRNetModel', 'RealESRGANModel'])
@pytest.mark.parametrize('key', [*RESIZING, *(f'datasets.train.{key}' for key in KERNELS), 'gt_size'])
def test_a_missing_key_is_named(real_esrgan_place, model, key):
    opt = file_of(model)
    section = opt['datasets']['train'] if '.' in key else opt
    section[f'{key.rpartition(".")[2]}_'] = section.pop(key.rpartition('.')[2])
    with pytest.raises(PDDError) as found:
        check_real_esrgan(RunOptions.of(opt))
    assert str(found.value) == f"{key}: missing. Did you mean '{key.rpartition('.')[2]}_'?"


WRONG = {
    'queue_size': (dict(queue_size=3, datasets=dict(train=dict(batch_size_per_gpu=2))), 'a multiple of the 2 images'),
    'gt_size': (dict(gt_size=24), 'from 26 to 400, found 24'),
    'scale': (dict(scale=3, network_g=dict(scale=3)), 'a divisor of 400'),
    'resize_range[0]': (dict(resize_range=[0.02, 1.5]), 'too small for the blur kernels'),
    'noise_range2': (dict(noise_range2=[25, 1]), 'the first not larger, found [25, 1]'),
    'high_order_degradation': (dict(high_order_degradation=False), 'gives no LR images'),
    'datasets.train.type': (
        dict(datasets=dict(train=dict(type='PairedImageDataset', dataroot_lq='real'))),
        'makes the LR images itself',
    ),
    'datasets.train.kernel_prob': (dict(datasets=dict(train=dict(kernel_prob=[1]))), 'as many as kernel_list (6)'),
    'datasets.train.sinc_prob': (dict(datasets=dict(train=dict(sinc_prob=-1))), 'a probability'),
    'datasets.train.meta_info': (dict(datasets=dict(train=dict(meta_info='none.txt'))), 'does not exist'),
    'datasets.train.dataroot_gt': (dict(datasets=dict(train=dict(dataroot_gt='hrr'))), "Did you mean 'hr'"),
    'path.pretrain_network_g': (dict(path=dict(pretrain_network_g='none.pth')), 'does not exist'),
}


@pytest.mark.parametrize('key', WRONG)
def test_wrong_values_are_found_by_the_check(real_esrgan_place, capfd, key):
    changes, part = WRONG[key]
    assert train(file_of('RealESRNetModel', **changes), '--check') == 1
    error = capfd.readouterr().err
    assert error.startswith(f'basicsr: error: {key}: ')
    assert part in error
    assert not (real_esrgan_place / 'experiments').exists()


@pytest.mark.parametrize(
    ('text', 'line'),
    [('000.png\n\n001.png\n', 2), ('000.png\na photograph.png\n', 2), ('\ufeff000.png\n', 1), ('missing.png\n', 1)],
)
def test_lines_that_basicsr_misreads(real_esrgan_place, text, line):
    write_images(real_esrgan_place / 'hr', 1, 48, 48)
    (real_esrgan_place / 'hr' / '000.png').rename(real_esrgan_place / 'hr' / 'a photograph.png')
    write_images(real_esrgan_place / 'hr', 1, 48, 48)
    (real_esrgan_place / 'meta.txt').write_text(text, encoding='utf-8')
    with pytest.raises(PDDError, match=rf'datasets\.train\.meta_info, line {line}: expected the name of an image'):
        check_real_esrgan(RunOptions.of(file_of('RealESRNetModel')))


def pairs(**changes) -> dict:
    """An option file that fine-tunes on pairs of a list."""
    data = dict(type='RealESRGANPairedDataset', dataroot_gt='val_hr', dataroot_lq='val_lr', meta_info='pairs.txt')
    train = data | dict.fromkeys(KERNELS) | dict(dataset_enlarge_ratio=4) | changes
    return file_of(
        'RealESRGANModel', high_order_degradation=False, datasets=dict(train=train), **dict.fromkeys(RESIZING)
    )


WRONG_PAIRS = {
    'crop': (dict(gt_size=64), 'smaller than the 64x64 crop'),
    'crop and scale': (dict(gt_size=30), '30 is not divisible by the scale 4'),
    'no crop': (dict(gt_size=None), 'datasets.train.gt_size: missing'),
    'mean alone': (dict(mean=[0.5, 0.5, 0.5]), 'datasets.train.std: missing'),
    'options of an LMDB': (dict(io_backend=dict(type='disk', readonly=True)), 'io_backend.readonly: is for type: lmdb'),
    'another backend': (dict(io_backend=dict(type='memcached')), 'expected {type: disk} or {type: lmdb}, found'),
    'LMDB that is none': (dict(io_backend=dict(type='lmdb')), "is 'lmdb', but datasets.train.dataroot_gt is val_hr"),
    'names with spaces': (dict(meta_info='spaces.txt'), "line 2: expected the names of a GT and an LR image, `gt, lq`"),
    'empty line': (dict(meta_info='empty.txt'), 'line 2: expected'),
}  # fmt: skip


@pytest.mark.parametrize('case', WRONG_PAIRS)
def test_pairs_that_the_run_fails_on(real_esrgan_place, case):
    changes, words = WRONG_PAIRS[case]
    good = '000.png, 000.png\n'
    for name, text in dict(pairs=good, spaces=f'{good}000.png 000.png', empty=f'{good}\n').items():
        (real_esrgan_place / f'{name}.txt').write_text(text)
    with pytest.raises(PDDError) as found:
        check_real_esrgan(RunOptions.of(pairs(**changes)))
    assert words in str(found.value)


@pytest.mark.parametrize('text', ['000.png\x0c001.png\n', '000.png\u2028001.png\n', '000.png\x1d001.png'])
def test_lines_are_those_that_basicsr_reads(real_esrgan_place, text):
    """Other characters that Python's `splitlines` takes for the end of a line."""
    (real_esrgan_place / 'meta.txt').write_text(text, encoding='utf-8')
    with pytest.raises(PDDError, match=r'meta_info, line 1: expected the name of an image'):
        check_real_esrgan(RunOptions.of(file_of('RealESRNetModel')))


@pytest.mark.parametrize('names', [['000', '001'], ['a.b', '001']], ids=['read', 'dots'])
def test_lmdb(real_esrgan_place, capfd, names):
    """Of whose names these datasets take what stands before the first dot."""
    for side, folder in (('gt', 'val_hr'), ('lq', 'val_lr')):
        images = [f'{name}.png' for name in names]
        for name in images:
            shutil.copy(real_esrgan_place / folder / '000.png', real_esrgan_place / f'{side}_{name}')
        keys = [f'{side}_{name}' for name in images]
        make_lmdb_from_imgs('.', f'{side}.lmdb', keys, names, map_size=2**22)
        (real_esrgan_place / f'{side}.lmdb' / 'meta_info.txt').write_text(''.join(f'{n} (9,9,3) 1\n' for n in images))
    in_lmdb = dict(io_backend=dict(type='lmdb'), meta_info=None, dataroot_gt='gt.lmdb')
    synthetic = file_of('RealESRNetModel', datasets=dict(train=in_lmdb))
    for opt in (synthetic, pairs(**in_lmdb, dataroot_lq='lq.lmdb')):
        if names[0] == 'a.b':
            with pytest.raises(PDDError, match=r"gt\.lmdb holds the image 'a\.b', which BasicSR looks for as 'a'"):
                check_real_esrgan(RunOptions.of(opt))
        else:
            check_real_esrgan(RunOptions.of(opt))
    if names[0] == '000':
        assert train(synthetic) == 0, capfd.readouterr().err


def test_filter2d_in_any_memory_format():
    image, kernel = torch.rand(2, 3, 16, 12), torch.rand(2, 5, 5)
    for kernels in (kernel, kernel[:1]):
        plain = img_process_util.filter2D(image, kernels)
        other = img_process_util.filter2D(image.contiguous(memory_format=torch.channels_last), kernels)
        assert torch.equal(plain, other)
    models = [m for n, m in sys.modules.items() if n.endswith(('realesrnet_model', 'realesrgan_model'))]
    assert models
    assert {m.filter2D for m in models} == {img_process_util.filter2D}


# ---------------------------------------------------------------- its degradation in our training data
def synthesis(**options):
    return lr_synthesis_of(validated(LRSynthesisOptions, dict(degradation='real_esrgan', **options)), 4)


def test_published_keys_are_the_defaults():
    published = synthesis(**KERNELS, **RESIZING).degradation
    assert published == RealESRGAN() == synthesis().degradation
    assert vars(published).keys() == {*KERNELS, *RESIZING}


def blocks() -> np.ndarray:
    """Gray blocks of 4x4 pixels, which every way of downsampling by 4 reduces alike; (64, 64, 3)."""
    return np.random.default_rng(0).random((16, 16, 1), np.float32).repeat(4, 0).repeat(4, 1).repeat(3, 2)


#: leave an image as it is, but for JPEG of the best quality
NOTHING = dict(
    kernel_list=['iso'], kernel_prob=[1], blur_sigma=[0.01, 0.02], sinc_prob=0, resize_prob=[0, 0, 1],
    gaussian_noise_prob=1, noise_range=[0, 0], jpeg_range=[100, 100], second_blur_prob=0, resize_prob2=[0, 0, 1],
    gaussian_noise_prob2=1, noise_range2=[0, 0], jpeg_range2=[100, 100], final_sinc_prob=0,
)  # fmt: skip
EFFECTS = [
    dict(blur_sigma=[2.9, 3]),
    dict(sinc_prob=1),
    dict(kernel_list=['plateau_iso'], blur_sigma=[1, 1.1], betap_range=[1, 1]),
    dict(kernel_list=['generalized_iso'], blur_sigma=[1, 1.1], betag_range=[0.5, 1]),
    dict(resize_prob=[0, 1, 0], resize_range=[0.1, 1]),
    dict(noise_range=[30, 30]),
    dict(gaussian_noise_prob=0, poisson_scale_range=[3, 3]),
    dict(jpeg_range=[5, 5]),
    dict(second_blur_prob=1, kernel_list2=['iso'], kernel_prob2=[1], blur_sigma2=[2.9, 3], sinc_prob2=0),
    dict(second_blur_prob=1, sinc_prob2=1),
    dict(resize_prob2=[0, 1, 0], resize_range2=[0.1, 1]),
    dict(noise_range2=[25, 25]),
    dict(gaussian_noise_prob2=0, poisson_scale_range2=[2.5, 2.5]),
    dict(jpeg_range2=[5, 5]),
    dict(final_sinc_prob=1),
]


@pytest.mark.parametrize('effect', EFFECTS, ids=lambda effect: '+'.join(effect))
def test_each_option_has_its_effect(effect):
    def change(**options):
        made = synthesis(**NOTHING | options)
        return np.mean(
            [np.abs(made(blocks(), np.random.default_rng(i)) - blocks()[2::4, 2::4]).mean() for i in range(12)]
        )

    quiet = change()
    assert quiet < 0.01
    assert change(**effect) > 2 * quiet


def test_gray_noise_is_the_same_in_all_channels():
    flat = np.full((64, 64, 3), 0.5, np.float32)
    for gray, same in ((1, True), (0, False)):
        made = synthesis(**NOTHING | dict(noise_range2=[20, 20], gray_noise_prob2=gray))
        lr = made(flat, np.random.default_rng(0))
        assert bool(np.ptp(lr, axis=2).mean() < 0.02) is same


def test_kernel_sizes_reach_the_largest(monkeypatch):
    seen = set()
    monkeypatch.setattr('pdd_arch.degradations.real_esrgan.filtered', lambda im, kernel: seen.add(len(kernel)) or im)
    made = synthesis(blur_kernel_size=9, blur_kernel_size2=7, second_blur_prob=1, final_sinc_prob=1)
    for i in range(30):
        made(blocks(), np.random.default_rng(i))
    assert seen == {7, 9}


WRONG_VALUES = {
    'resize_prob': ([0.5, 0.5], [0, 0, 0], [-1, 1, 1], 0.5),
    'resize_range': ([1.2, 1.5], [0, 1], [1.5], [0.5, float('inf')]),
    'gaussian_noise_prob': (1.5, -0.1, '50%', True),
    'noise_range': ([30, 1], [-1, 3], 30, [1, 300]),
    'poisson_scale_range': ([3, 0.05], [0.05, 'x']),
    'gray_noise_prob': (40,),
    'jpeg_range': ([95, 30], [0, 95], [30, 101], [30, 60, 95]),
    'second_blur_prob': ([0.8],),
    'blur_kernel_size': (20, 5, 21.0, 1001),
    'kernel_list': ([], ['iso', 'skew'], 'iso'),
    'kernel_prob': ([], [float('nan')] * 6, [0] * 6, [1] * 5),
    'sinc_prob': (2,),
    'blur_sigma': ([3, 0.2], [2, 2], [0, 3]),
    'betag_range': ([2, 4], [0, 4]),
    'betap_range': ([1, 0.5],),
    'final_sinc_prob': (None,),
}


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        (name, value)
        for key, values in WRONG_VALUES.items()
        for value in values
        for name in (key, f'{key}2')
        if name in {*KERNELS, *RESIZING}
    ],
)
def test_wrong_values(key, value):
    with pytest.raises(PDDError) as found:
        synthesis(**{key: value})
    assert key in found.value.where
    assert found.value.expected


def test_options_of_the_degradation_without_it():
    options = validated(LRSynthesisOptions, dict(jpeg_range=[30, 95]))
    with pytest.raises(PDDError, match=r'jpeg_range: without effect.*degradation: real_esrgan'):
        lr_synthesis_of(options, 4)


@pytest.mark.parametrize('workers', [0, 2])
def test_samples_depend_on_seed_epoch_and_position_alone(workplace, workers):
    from basicsr.data import build_dataset

    from pdd_arch.data.positioned_index import positioned

    section = run_options()['datasets']['train']
    opt = section | dict(phase='train', scale=4, manual_seed=3, name='a', lr_synthesis=dict(degradation='real_esrgan'))

    def samples(number, seed):
        random.seed(seed)
        np.random.seed(seed)
        indices = list(positioned([0, 1, 2, 0], 5))
        loader = torch.utils.data.DataLoader(build_dataset(opt), sampler=indices, num_workers=number)
        return torch.cat([sample['lq'] for sample in loader])

    assert torch.equal(samples(0, 1), samples(workers, 2))


def test_a_run_with_it(workplace, capfd):
    """The keys as a user copies them from the two sections of Real-ESRGAN's file."""
    synthesis = dict(degradation='real_esrgan', **KERNELS, **RESIZING)
    opt = run_options(datasets=dict(train=dict(lr_synthesis=synthesis)))
    assert train(opt) == 0, capfd.readouterr().err
