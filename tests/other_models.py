"""Small option files and data for models of BasicSR and Real-ESRGAN, for tests of what is said about wrong ones."""

import os
from copy import deepcopy
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
import torch
import yaml
from basicsr.archs import build_network
from helpers import TINY_D, merge, release_logger, write_images
from test_real_esrgan import file_of

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run

TINY_G = dict(type='MSRResNet', num_in_ch=3, num_out_ch=3, num_feat=4, num_block=1, upscale=4)
SWINIR = dict(
    type='SwinIR', upscale=4, img_size=8, window_size=4, embed_dim=8, depths=[1], num_heads=[2], mlp_ratio=2,
    upsampler='pixelshuffledirect', in_chans=3, img_range=1.0, resi_connection='1conv',
)  # fmt: skip
EDVR = dict(
    type='EDVR', num_in_ch=3, num_out_ch=3, num_feat=4, num_frame=3, deformable_groups=1, num_extract_block=1,
    num_reconstruct_block=1, with_tsa=True,
)  # fmt: skip
ADAM = dict(type='Adam', lr=2e-4, weight_decay=0, betas=[0.9, 0.99])
GAN = dict(type='GANLoss', gan_type='vanilla', loss_weight=0.1)
WITH_D = dict(network_d=TINY_D, train=dict(optim_d=ADAM, gan_opt=GAN))

#: a class of the user's own, which overrides nothing, one that reads options and one that fails
MY_MODEL = """
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY
from torch import nn
import torch


@MODEL_REGISTRY.register()
class MySRModel(SRModel):
    def init_training_settings(self):
        self.strength = self.opt['train']['strength'] * 2
        super().init_training_settings()

    def optimize_parameters(self, current_iter):
        if self.opt['train'].get('fails'):
            raise ValueError('the strength is too large')
        super().optimize_parameters(current_iter)

    def get_optimizer(self, optim_type, params, lr, **kwargs):
        return getattr(torch.optim, optim_type)(params, lr, **kwargs)


@LOSS_REGISTRY.register()
class MyLoss(nn.Module):
    def __init__(self, loss_weight=1.0, power=2):
        super().__init__()
        self.loss_weight, self.power = loss_weight, power

    def forward(self, pred, target):
        return self.loss_weight * ((pred - target).abs() ** self.power).mean()


@METRIC_REGISTRY.register()
def my_metric(img, img2, crop_border, power=1):
    return float(abs(img.astype(float) - img2).mean() ** power)
"""


def base(model: str = 'SRModel', **changes) -> dict:
    """A right option file for pairs of images."""
    opt = dict(
        name='tiny', model_type=model, scale=4, num_gpu=0, manual_seed=0,
        datasets=dict(
            train=dict(
                name='train', type='PairedImageDataset', dataroot_gt='hr', dataroot_lq='lr',
                io_backend=dict(type='disk'), gt_size=32, use_hflip=True, use_rot=True, num_worker_per_gpu=0,
                batch_size_per_gpu=2, dataset_enlarge_ratio=1, prefetch_mode=None,
            ),
            val=dict(
                name='val', type='PairedImageDataset', dataroot_gt='hr', dataroot_lq='lr', io_backend=dict(type='disk')
            ),
        ),
        network_g=TINY_G,
        path=dict(pretrain_network_g=None, strict_load_g=True, resume_state=None),
        train=dict(
            ema_decay=0.999, optim_g=ADAM, scheduler=dict(type='MultiStepLR', milestones=[100], gamma=0.5),
            total_iter=4, warmup_iter=-1, pixel_opt=dict(type='L1Loss', loss_weight=1.0, reduction='mean'),
        ),
        val=dict(
            val_freq=4, save_img=False,
            metrics=dict(psnr=dict(type='calculate_psnr', crop_border=4, test_y_channel=False)),
        ),
        logger=dict(print_freq=1, save_checkpoint_freq=4, use_tb_logger=False),
        dist_params=dict(backend='nccl', port=29500),
    )  # fmt: skip
    return merge(opt, changes)


def right_file(model: str) -> dict:
    """A right option file for each model of these tests."""
    if model == 'SwinIRModel':
        return base(model) | dict(network_g=deepcopy(SWINIR))
    if model in ('SRGANModel', 'ESRGANModel'):
        return base(model, **WITH_D)
    if model in ('RealESRNetModel', 'RealESRGANModel'):
        return file_of(model, datasets=dict(val=dict(dataroot_gt='hr', dataroot_lq='lr')))
    if model in ('VideoBaseModel', 'EDVRModel'):
        return _video(model)
    if model == 'StyleGAN2Model':
        return _style_gan()
    if model == 'HiFaceGANModel':
        return _hi_face_gan()
    if model == 'MySRModel':
        return base(model, train=dict(strength=1)) | {'import': ['my_model.py']}
    return base(model)


def _video(model: str) -> dict:
    frames = dict(dataroot_gt='reds_gt', dataroot_lq='reds_lq', io_backend=dict(type='disk'), num_frame=3)
    opt = base(model) | dict(network_g=deepcopy(EDVR))
    opt['datasets'] = dict(
        train=dict(
            name='REDS', type='REDSDataset', **frames, dataroot_flow=None, meta_info_file='reds.txt',
            val_partition='REDS4', gt_size=32, interval_list=[1], random_reverse=False, use_hflip=True, use_rot=True,
            num_worker_per_gpu=0, batch_size_per_gpu=1, dataset_enlarge_ratio=1, prefetch_mode=None,
        ),
        val=dict(name='REDS4', type='VideoTestDataset', **frames, cache_data=True, padding='reflection_circle'),
    )  # fmt: skip
    opt['datasets']['val'] |= dict(dataroot_gt='reds4_gt', dataroot_lq='reds4_lq')
    return opt


def _style_gan() -> dict:
    opt = base('StyleGAN2Model')
    del opt['scale'], opt['datasets']['val'], opt['train']['ema_decay'], opt['train']['pixel_opt']
    opt['datasets']['train'] = dict(
        name='FFHQ', type='FFHQDataset', dataroot_gt='faces.lmdb', io_backend=dict(type='lmdb'), use_hflip=True,
        mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5], num_worker_per_gpu=0, batch_size_per_gpu=2,
    )  # fmt: skip
    opt['network_g'] = dict(type='StyleGAN2Generator', out_size=16, num_style_feat=8, num_mlp=1, channel_multiplier=1)
    opt['network_d'] = dict(type='StyleGAN2Discriminator', out_size=16, channel_multiplier=1)
    opt['train'] |= dict(
        optim_d=deepcopy(ADAM), gan_opt=dict(type='GANLoss', gan_type='wgan_softplus', loss_weight=1), r1_reg_weight=10,
        path_reg_weight=2, path_batch_shrink=2, mixing_prob=0.9, net_g_reg_every=4, net_d_reg_every=16,
    )  # fmt: skip
    opt['val'] = dict(val_freq=4, save_img=True)
    return opt


def _hi_face_gan() -> dict:
    opt = base('HiFaceGANModel', scale=1, train=dict(ema_decay=0, optim_d=ADAM, gan_opt=GAN | dict(gan_type='hinge')))
    for section in opt['datasets'].values():
        section |= dict(dataroot_gt='faces', dataroot_lq='faces')
    opt['datasets']['train']['gt_size'] = 64
    opt['network_g'] = dict(type='HiFaceGAN', num_in_ch=3, num_feat=4, use_vae=False, z_dim=8, crop_size=64)
    opt['network_d'] = dict(type='HiFaceGANDiscriminator', num_in_ch=3, num_out_ch=3, num_feat=4, n_layers_d=2)
    opt['train']['gan_opt']['type'] = 'MultiScaleGANLoss'
    return opt


def write_data(root: Path) -> None:
    """All data and weights that the option files of these tests name."""
    write_images(root / 'hr', 2, 48, 56)
    write_images(root / 'lr', 2, 12, 14)
    write_images(root / 'faces', 2, 64, 64)
    (root / 'meta.txt').write_text('000.png\n001.png\n')
    for clip, count in (('reds_{}/001', 100), ('reds4_{}/000', 3)):
        for side, size in (('gt', 32), ('lq', 8)):
            folder = root / clip.format(side)
            folder.mkdir(parents=True)
            _, png = cv2.imencode('.png', np.full((size, size, 3), 90, np.uint8))
            for number in range(count):
                (folder / f'{number:08d}.png').write_bytes(png.tobytes())
    (root / 'reds.txt').write_text('001 100 (32,32,3)\n')
    write_lmdb(root / 'faces.lmdb', 2, 16)
    (root / 'my_model.py').write_text(MY_MODEL)
    # wrong ones
    (root / 'empty').mkdir()
    (root / 'nested' / 'sub').mkdir(parents=True)
    write_images(root / 'nested' / 'sub', 1, 48, 56)
    write_images(root / 'renamed', 2, 12, 14)
    (root / 'renamed' / '001.png').rename(root / 'renamed' / 'b.png')
    write_images(root / 'other_scale', 2, 24, 28)
    write_images(root / 'broken', 2, 12, 14)
    (root / 'broken' / '001.png').write_bytes((root / 'broken' / '000.png').read_bytes()[:200])
    (root / 'no_meta.lmdb').mkdir()
    (root / 'names.txt').write_text('000.png\nnobody.png\n')
    (root / 'reds_short.txt').write_text('001 100\n')
    torch.save({'params': build_network(TINY_G).state_dict()}, root / 'fits.pth')
    torch.save(build_network(TINY_G).state_dict(), root / 'root.pth')
    torch.save({'params': build_network(TINY_G | dict(num_feat=8)).state_dict()}, root / 'other.pth')
    (root / 'text.pth').write_text('<html>404</html>')


def write_lmdb(path: Path, count: int, size: int) -> None:
    """An LMDB as BasicSR makes it."""
    path.mkdir()
    _, png = cv2.imencode('.png', np.full((size, size, 3), 90, np.uint8))
    env = lmdb.open(str(path), map_size=2**20)
    with env.begin(write=True) as transaction:
        for number in range(count):
            transaction.put(f'{number:08d}'.encode(), png.tobytes())
    env.close()
    (path / 'meta_info.txt').write_text(''.join(f'{n:08d}.png ({size},{size},3) 1\n' for n in range(count)))


def changed(opt: dict, changes: dict) -> dict:
    """The file with values set at dotted paths; `...` removes a key."""
    opt = deepcopy(opt)
    for path, value in changes.items():
        *sections, last = path.split('.')
        section = opt
        for key in sections:
            section = section[key]
        if value is ...:
            del section[last]
        else:
            section[last] = deepcopy(value)
    return opt


def basicsr(opt: dict, *flags: str, command: str = 'train') -> int:
    """The exit status of a command with these options."""
    with open('run.yml', 'w') as file:
        yaml.safe_dump(opt, file, sort_keys=False)
    release_logger()
    return run('basicsr', main, [command, '-opt', 'run.yml', *flags])


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('models')
    write_data(folder)
    return folder


@pytest.fixture
def place(data, monkeypatch):
    """Where the data lies, on a machine without a GPU; a check writes nothing, so that tests can share it."""
    monkeypatch.chdir(data)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    return data


def assert_refused(status: int, output, words: list[str]) -> None:
    """One line at the end, which holds the words, and nothing created."""
    lines = output.err.strip().splitlines()
    assert status == 1, output
    assert output.out == ''
    assert lines[-1].startswith('basicsr: error: ')
    for word in words:
        assert word in lines[-1]
    assert 'may be a bug' not in output.err
    assert not os.path.exists('experiments')
