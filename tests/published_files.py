"""The option files that BasicSR 1.4.2 and Real-ESRGAN 0.3.0 publish, with their keys, classes and data layouts.

Sizes are scaled down: networks of a few channels, crops of a few pixels, 8 iterations, no GPU and no data workers. Some
of the files changed their keys between releases (``use_flip``, ``pretrain_model_g``, ``strict_load``, ``fix_iter``);
here they have those that the classes of these releases read. A run that starts from weights of another names that run.

`TRAINING` and `TESTING` map the file's path below ``options/`` to its options; `published_data` writes their data.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from helpers import merge
from published_data import LISTS
from test_real_esrgan import KERNELS, RESIZING

Section = dict[str, Any]

#: of a training, for 4 iterations and 4 more
TOTAL, HALF = 8, 4
#: of square GT frames; BasicVSR++ takes LR frames of at least 64 pixels
SIDE, SIDE_OF_BASICVSR_PP = 64, 256
PRETRAINED = 'experiments/pretrained_models'
_DISK, _LMDB = {'type': 'disk'}, {'type': 'lmdb'}
_LOADER = dict(
    use_shuffle=True, num_worker_per_gpu=0, batch_size_per_gpu=1, dataset_enlarge_ratio=8, prefetch_mode=None
)
_ADAM = dict(type='Adam', lr=1e-4, weight_decay=0, betas=[0.9, 0.99])
_MULTI_STEP = dict(type='MultiStepLR', milestones=[5], gamma=0.5)
_RESTARTS = dict(type='CosineAnnealingRestartLR', periods=[2, 2, 2, 2], restart_weights=[1, 1, 1, 1], eta_min=1e-7)
_COSINE = dict(type='CosineAnnealingRestartLR', periods=[8], restart_weights=[1], eta_min=1e-7)
_L1 = dict(type='L1Loss', loss_weight=1.0, reduction='mean')
_CHARBONNIER = dict(type='CharbonnierLoss', loss_weight=1.0, reduction='mean')
_GAN = dict(type='GANLoss', gan_type='vanilla', real_label_val=1.0, fake_label_val=0.0, loss_weight=5e-3)
_MEAN = [0.4488, 0.4371, 0.4040]


def weights_of(file: str) -> str:
    """What a run of another file leaves."""
    return f'experiments/{file}/models/net_g_{TOTAL}.pth'


# ---------------------------------------------------------------- sections
def _perceptual(**layers: float) -> Section:
    return dict(
        type='PerceptualLoss', layer_weights=layers, vgg_type='vgg19', use_input_norm=True, range_norm=False,
        perceptual_weight=1.0, style_weight=0, criterion='l1',
    )  # fmt: skip


def _metric(kind: str, crop_border: int, y: bool = False, **more: Any) -> Section:
    return dict(type=f'calculate_{kind}', crop_border=crop_border, test_y_channel=y, **more)


def _div2k(scale: int, gt_size: int, **more: Any) -> Section:
    """Sub-images of DIV2K in the folders of most files."""
    return dict(
        name='DIV2K', type='PairedImageDataset', dataroot_gt='datasets/DIV2K/DIV2K_train_HR_sub',
        dataroot_lq=f'datasets/DIV2K/DIV2K_train_LR_bicubic/X{scale}_sub', filename_tmpl='{}', io_backend=_DISK,
        gt_size=gt_size, use_hflip=True, use_rot=True, **_LOADER, **more,
    )  # fmt: skip


def _listed_div2k(scale: int, gt_size: int, lmdb: bool = False, **more: Any) -> Section:
    """Sub-images of DIV2K that a list names, in folders or LMDBs."""
    end = '.lmdb' if lmdb else ''
    return _div2k(scale, gt_size) | dict(
        dataroot_gt=f'datasets/DF2K/DIV2K_train_HR_sub{end}',
        dataroot_lq=f'datasets/DF2K/DIV2K_train_LR_bicubic_X{scale}_sub{end}',
        meta_info_file=f'{LISTS}/meta_info_DIV2K800sub_GT.txt', io_backend=_LMDB if lmdb else _DISK, **more,
    )  # fmt: skip


def _pairs(name: str, gt: str, lq: str, **more: Any) -> Section:
    return dict(name=name, type='PairedImageDataset', dataroot_gt=gt, dataroot_lq=lq, io_backend=_DISK, **more)


def _set(name: str, scale: int) -> Section:
    """Set5 or Set14, cropped to multiples of 12."""
    return _pairs(name, f'datasets/{name}/GTmod12', f'datasets/{name}/LRbicx{scale}')


def _lq_set(name: str, scale: int) -> Section:
    return dict(name=name, type='SingleImageDataset', dataroot_lq=f'datasets/{name}/LRbicx{scale}', io_backend=_DISK)


def _benchmark(name: str, scale: int, **more: Any) -> Section:
    """A test set as the authors of EDSR pack it."""
    folder = f'datasets/benchmark/{name}'
    more = dict(filename_tmpl=f'{{}}x{scale}', **more)
    return _pairs(name, f'{folder}/HR', f'{folder}/LR_bicubic/X{scale}', **more)


def _frames(name: str, kind: str, gt: str, lq: str, num_frame: int, **more: Any) -> Section:
    return dict(
        name=name, type=kind, dataroot_gt=f'datasets/{gt}', dataroot_lq=f'datasets/{lq}', io_backend=_DISK,
        num_frame=num_frame, **more,
    )  # fmt: skip


def _reds(kind: str, num_frame: int, gt_size: int, **more: Any) -> Section:
    # in the published files only REDSDataset has dataroot_flow, which both read
    return _frames('REDS', kind, 'REDS/train_sharp', 'REDS/train_sharp_bicubic', num_frame) | dict(
        meta_info_file=f'{LISTS}/meta_info_REDS_GT.txt', val_partition='REDS4', gt_size=gt_size, interval_list=[1],
        random_reverse=False, use_hflip=True, use_rot=True, **_LOADER, **more,
    )  # fmt: skip


def _vimeo90k(lq: str) -> Section:
    return _frames(
        'Vimeo90K', 'Vimeo90KRecurrentDataset', 'vimeo90k/vimeo_septuplet/sequences', f'vimeo90k/{lq}', -1
    ) | dict(
        meta_info_file=f'{LISTS}/meta_info_Vimeo90K_train_GT.txt', gt_size=32, interval_list=[1], random_reverse=False,
        use_hflip=True, use_rot=True, flip_sequence=True, **_LOADER,
    )  # fmt: skip


def _reds4(lq: str, padding: str = 'reflection_circle') -> Section:
    """The clips of REDS that are kept for the test, in windows of frames."""
    return _frames(
        'REDS4', 'VideoTestDataset', 'REDS/train_sharp', f'REDS/train_{lq}', 5, cache_data=False, padding=padding,
        meta_info_file=f'{LISTS}/meta_info_REDS4_test_GT.txt',
    )  # fmt: skip


def _vid4(kind: str, lq: str, **more: Any) -> Section:
    return _frames('Vid4', kind, 'Vid4/GT', f'Vid4/{lq}', 7, cache_data=False, padding='reflection_circle', **more)


def _clips(name: str, lq: str) -> Section:
    """Whole clips in memory."""
    return _frames(name, 'VideoRecurrentTestDataset', f'{name}/GT', f'{name}/{lq}', -1, cache_data=True)


def _vimeo90k_test(lq: str, **more: Any) -> Section:
    return _frames(
        'Vimeo90K', 'VideoTestVimeo90KDataset', 'vimeo90k/vimeo_septuplet/sequences', f'vimeo90k/{lq}', 7,
        meta_info_file=f'{LISTS}/meta_info_Vimeo90K_test_GT.txt', cache_data=False, **more,
    )  # fmt: skip


# ---------------------------------------------------------------- networks
def _edsr(scale: int, size: str) -> Section:
    large = size == 'L'
    return dict(
        type='EDSR', num_in_ch=3, num_out_ch=3, num_feat=8 if large else 4, num_block=2 if large else 1, upscale=scale,
        res_scale=0.1 if large else 1, img_range=255.0, rgb_mean=_MEAN,
    )  # fmt: skip


def _msrresnet(scale: int) -> Section:
    return dict(type='MSRResNet', num_in_ch=3, num_out_ch=3, num_feat=4, num_block=1, upscale=scale)


def _rcan(scale: int) -> Section:
    return dict(
        type='RCAN', num_in_ch=3, num_out_ch=3, num_feat=16, num_group=1, num_block=1, squeeze_factor=16, upscale=scale,
        res_scale=1, img_range=255.0, rgb_mean=_MEAN,
    )  # fmt: skip


def _swinir(scale: int) -> Section:
    return dict(
        type='SwinIR', upscale=scale, in_chans=3, img_size=16, window_size=8, img_range=1.0, depths=[1], embed_dim=8,
        num_heads=[2], mlp_ratio=2, upsampler='pixelshuffle', resi_connection='1conv',
    )  # fmt: skip


def _ecbsr(scale: int, channels: int) -> Section:
    return dict(
        type='ECBSR', num_in_ch=channels, num_out_ch=channels, num_block=1, num_channel=4, with_idt=False,
        act_type='prelu', scale=scale,
    )  # fmt: skip


def _edvr(num_frame: int = 5, feat: int = 8, **switches: bool) -> Section:
    return dict(
        type='EDVR', num_in_ch=3, num_out_ch=3, num_feat=feat, num_frame=num_frame, deformable_groups=8,
        num_extract_block=1, num_reconstruct_block=1, center_frame_idx=None,
        **dict(hr_in=False, with_predeblur=False, with_tsa=True) | switches,
    )  # fmt: skip


_RRDB = dict(type='RRDBNet', num_in_ch=3, num_out_ch=3, num_feat=4, num_block=1, num_grow_ch=2)
_VGG_D = dict(type='VGGStyleDiscriminator', num_in_ch=3, num_feat=2)
_UNET_D = dict(type='UNetDiscriminatorSN', num_in_ch=3, num_feat=4, skip_connection=True)
_SPYNET = f'{PRETRAINED}/flownet/spynet_sintel_final-3d2a1287.pth'
_BASICVSR = dict(type='BasicVSR', num_feat=4, num_block=1, spynet_path=_SPYNET)
_BASICVSR_PP = dict(type='BasicVSRPlusPlus', mid_channels=16, num_blocks=1, is_low_res_input=True, spynet_path=_SPYNET)
_HIFACEGAN = dict(
    type='HiFaceGAN', num_in_ch=3, num_feat=2, use_vae=False, z_dim=256, crop_size=64, norm_g='spectralspadebatch3x3',
    is_train=False,
)  # fmt: skip


def _iconvsr(edvr: str, temporal_padding: int) -> Section:
    return dict(
        type='IconVSR', num_feat=8, num_block=1, keyframe_stride=5, temporal_padding=temporal_padding,
        spynet_path=_SPYNET, edvr_path=f'{PRETRAINED}/{edvr}.pth',
    )  # fmt: skip


# ---------------------------------------------------------------- whole files
def _train(
    model: str, scale: int, datasets: Section, network_g: Section, train: Section, metrics: Section, **sections: Any
) -> Section:
    """A file for training; what most have in common, for which `sections` have the exceptions."""
    return dict(
        model_type=model, scale=scale, num_gpu=0, manual_seed=0, datasets=datasets, network_g=network_g,
        path=dict(pretrain_network_g=None, strict_load_g=True, resume_state=None),
        train=dict(optim_g=_ADAM, scheduler=_MULTI_STEP, total_iter=TOTAL, warmup_iter=-1) | train,
        val=dict(val_freq=HALF, save_img=False, metrics=metrics),
        logger=dict(
            print_freq=2, save_checkpoint_freq=HALF, use_tb_logger=False, wandb=dict(project=None, resume_id=None)
        ),
        dist_params=dict(backend='nccl', port=29500),
    ) | sections  # fmt: skip


def _image(scale: int, gt_size: int, network_g: Section, scheduler: Section, start: str | None = None) -> Section:
    """`SRModel` on DIV2K, validated on Set5."""
    return _train(
        'SRModel', scale, dict(train=_div2k(scale, gt_size), val=_set('Set5', scale)), network_g,
        dict(ema_decay=0.999, scheduler=scheduler, pixel_opt=_L1), dict(psnr=_metric('psnr', scale)),
        path=dict(pretrain_network_g=start, strict_load_g=start is None, resume_state=None),
    )  # fmt: skip


def _adversarial(model: str, network_g: Section, start: str) -> Section:
    train = dict(
        ema_decay=0.999, optim_d=_ADAM, pixel_opt=_L1 | dict(loss_weight=1e-2), perceptual_opt=_perceptual(conv5_4=1),
        gan_opt=_GAN, net_d_iters=1, net_d_init_iters=0,
    )  # fmt: skip
    return _train(
        model, 4, dict(train=_div2k(4, 128), val=_set('Set14', 4)), network_g, train, dict(psnr=_metric('psnr', 4)),
        network_d=_VGG_D, path=dict(pretrain_network_g=start, strict_load_g=True, resume_state=None),
        val=dict(val_freq=HALF, save_img=True, metrics=dict(psnr=_metric('psnr', 4))),
    )  # fmt: skip


def _small(scale: int, train_set: Section, channels: int, **of_sets: Any) -> Section:
    """ECBSR, validated on four sets."""
    sets = {
        f'val_{i}' if i > 1 else 'val': _benchmark(name, scale, **of_sets)
        for i, name in enumerate(('Set5', 'Set14', 'B100', 'Urban100'), 1)
    }
    metrics = {kind: _metric(kind, scale, True, better='higher') for kind in ('psnr', 'ssim')}
    return _train(
        'SRModel', scale, dict(train=train_set, **sets), _ecbsr(scale, channels),
        dict(ema_decay=0, scheduler=_MULTI_STEP | dict(gamma=1), pixel_opt=_L1), metrics,
        val=dict(val_freq=HALF, save_img=False, pbar=False, metrics=metrics),
    )  # fmt: skip


def _recurrent(train_set: Section, val: Section, network_g: Section, y: bool) -> Section:
    train = dict(ema_decay=0.999, scheduler=_COSINE, fix_flow=3, flow_lr_mul=0.125, pixel_opt=_CHARBONNIER)
    return _train(
        'VideoRecurrentModel', 4, dict(train=train_set, val=val), network_g, train, dict(psnr=_metric('psnr', 0, y)),
        find_unused_parameters=True,
    )  # fmt: skip


def _edvr_training(feat: int, start: str | None = None) -> Section:
    """With the attention (TSA) in a run that starts from one without."""
    data = dict(train=_reds('REDSDataset', 5, 32, dataroot_flow=None), val=_reds4('sharp_bicubic'))
    train = dict(scheduler=_RESTARTS, dcn_lr_mul=1, pixel_opt=_CHARBONNIER | dict(reduction='sum'))
    sections: Section = {}
    if start:
        train['tsa_iter'] = 2
        sections['find_unused_parameters'] = True
        sections['path'] = dict(pretrain_network_g=start, strict_load_g=False, resume_state=None)
    network_g = _edvr(feat=feat, with_tsa=bool(start))
    return _train('EDVRModel', 4, data, network_g, train, dict(psnr=_metric('psnr', 0)), **sections)


def _training_files() -> Iterator[tuple[str, Section]]:
    for size, restart in (('L', 'train_EDSR_Lx2'), ('M', 'train_EDSR_Mx2')):
        for scale in (2, 3, 4):
            start = weights_of(restart) if scale > 2 else None
            file = _image(scale, 12 * scale, _edsr(scale, size), _MULTI_STEP, start)
            del file['train']['ema_decay']
            yield f'train/EDSR/train_EDSR_{size}x{scale}', file
    for scale in (2, 3):
        start = weights_of('train_MSRResNet_x4')
        yield (
            f'train/SRResNet_SRGAN/train_MSRResNet_x{scale}',
            _image(scale, 12 * scale, _msrresnet(scale), _RESTARTS, start),
        )
    file = _image(4, 48, _msrresnet(4), _RESTARTS)
    file['datasets'] = dict(train=_listed_div2k(4, 48), val=_set('Set5', 4), val_2=_set('Set14', 4))
    del file['datasets']['train']['use_shuffle']
    file['path']['param_key_g'] = 'params'
    file['val']['metrics'] = dict(
        psnr=_metric('psnr', 4, better='higher'), niqe=dict(type='calculate_niqe', crop_border=4, better='lower')
    )
    yield 'train/SRResNet_SRGAN/train_MSRResNet_x4', file
    yield (
        'train/SRResNet_SRGAN/train_MSRGAN_x4',
        _adversarial('SRGANModel', _msrresnet(4), weights_of('train_MSRResNet_x4')),
    )
    yield 'train/ESRGAN/train_RRDBNet_PSNR_x4', _image(4, 48, _RRDB, _RESTARTS)
    yield 'train/ESRGAN/train_ESRGAN_x4', _adversarial('ESRGANModel', _RRDB, weights_of('train_RRDBNet_PSNR_x4'))
    # its network makes images four times as large, its data are twice as large: it cannot run as it is published
    yield 'train/RCAN/train_RCAN_x2', _image(2, 24, _rcan(4), _MULTI_STEP)
    for scale in (2, 4):
        file = _image(scale, 16 * scale, _swinir(scale), _MULTI_STEP) | dict(model_type='SwinIRModel')
        file['datasets']['train'] = _listed_div2k(scale, 16 * scale)
        yield f'train/SwinIR/train_SwinIR_SRx{scale}_scratch', file
    yield 'train/ECBSR/train_ECBSR_x2_m4c16_prelu', _small(2, _listed_div2k(2, 24, color='y'), 1, color='y')
    yield 'train/ECBSR/train_ECBSR_x4_m4c16_prelu', _small(4, _listed_div2k(4, 48, True, color='y'), 1, color='y')
    yield 'train/ECBSR/train_ECBSR_x4_m4c16_prelu_RGB', _small(4, _listed_div2k(4, 48, True), 3)
    yield from _video_files()
    yield 'train/HiFaceGAN/train_hifacegan', _hifacegan()
    yield 'train/StyleGAN/train_StyleGAN2_256_Cmul2_FFHQ', _stylegan2()


def _video_files() -> Iterator[tuple[str, Section]]:
    reds, reds4 = _reds('REDSRecurrentDataset', 5, 32, test_mode=False), _clips('REDS4', 'sharp_bicubic')
    folder = 'train/BasicVSR'
    yield f'{folder}/train_BasicVSR_REDS', _recurrent(reds, reds4, _BASICVSR, False)
    yield f'{folder}/train_IconVSR_REDS', _recurrent(reds, reds4, _iconvsr('edvr_reds', 2), False)
    for lq in ('BDx4', 'BIx4'):
        data = _vimeo90k(lq), _clips('Vid4', lq)
        yield f'{folder}/train_BasicVSR_Vimeo90K_{lq}', _recurrent(*data, _BASICVSR, True)
        yield f'{folder}/train_IconVSR_Vimeo90K_{lq}', _recurrent(*data, _iconvsr('edvr_vimeo90k', 3), True)
    large = reds | dict(num_frame=2, gt_size=SIDE_OF_BASICVSR_PP)
    file = _recurrent(large, reds4, _BASICVSR_PP, False)
    yield 'train/BasicVSRPP/train_BasicVSRPP_REDS', file
    for size, feat in (('M', 8), ('L', 16)):
        name = f'train_EDVR_{size}_x4_SR_REDS'
        yield f'train/EDVR/{name}_woTSA', _edvr_training(feat)
        yield f'train/EDVR/{name}', _edvr_training(feat, weights_of(f'{name}_woTSA'))


def _hifacegan() -> Section:
    gt, lq = 'datasets/FFHQ_512_gt', 'datasets/FFHQ_512_lq_sr4x'
    train_set = _pairs('FFHQ_sr4x', gt, lq, gt_size=64, use_hflip=True, use_rot=False, **_LOADER)
    train = dict(
        optim_d=_ADAM,
        perceptual_opt=_perceptual(relu1_1=0.03, relu2_1=0.06, relu3_1=0.125, relu4_1=0.25, relu5_1=1.0)
        | dict(use_input_norm=False, perceptual_weight=10.0),
        gan_opt=_GAN | dict(type='MultiScaleGANLoss', gan_type='lsgan', loss_weight=1.0),
        feature_matching_opt=dict(type='GANFeatLoss', loss_weight=10.0, criterion='l1'),
        net_d_iters=1,
        net_d_init_iters=0,
    )
    file = _train(
        'HiFaceGANModel', 1, dict(train=train_set, val=_pairs('FFHQ_sr4x_val', gt, lq)), _HIFACEGAN, train,
        dict(psnr=_metric('psnr', 4)), path=dict(pretrain_network_g=None, strict_load_g=True),
        network_d=dict(
            type='HiFaceGANDiscriminator', num_in_ch=3, num_out_ch=3, conditional_d=True, num_feat=2,
            norm_d='spectralinstance',
        ),
    )  # fmt: skip
    file['val']['save_img'] = True
    del file['dist_params']
    return file


def _stylegan2() -> Section:
    train_set = dict(
        name='FFHQ', type='FFHQDataset', dataroot_gt='datasets/ffhq/ffhq_256.lmdb', io_backend=_LMDB, use_hflip=True,
        mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5], **_LOADER,
    )  # fmt: skip
    adam = dict(type='Adam', lr=2e-3)
    train = dict(
        optim_g=adam, optim_d=adam, gan_opt=dict(type='GANLoss', gan_type='wgan_softplus', loss_weight=1.0),
        r1_reg_weight=10, path_batch_shrink=2, path_reg_weight=2, net_g_reg_every=2, net_d_reg_every=4,
        mixing_prob=0.9, net_d_iters=1, net_d_init_iters=0,
    )  # fmt: skip
    shared = dict(out_size=16, channel_multiplier=2, resample_kernel=[1, 3, 3, 1])
    network_g = dict(type='StyleGAN2Generator', num_style_feat=8, num_mlp=2, lr_mlp=0.01, **shared)
    file = _train('StyleGAN2Model', 1, dict(train=train_set), network_g, train, {})
    file['network_d'] = dict(type='StyleGAN2Discriminator', **shared)
    file['val'] = dict(val_freq=HALF, save_img=True)
    del file['scale']
    return file


def _real_esrgan_files() -> Iterator[tuple[str, Section]]:
    """They have validation in comments only."""
    train_set = dict(
        name='DF2K+OST', type='RealESRGANDataset', dataroot_gt='datasets/DF2K', io_backend=_DISK, **KERNELS,
        meta_info='datasets/DF2K/meta_info/meta_info_DF2Kmultiscale+OST_sub.txt', gt_size=32, use_hflip=True,
        use_rot=False, **_LOADER,
    )  # fmt: skip
    layers = dict(conv1_2=0.1, conv2_2=0.1, conv3_4=1, conv4_4=1, conv5_4=1)
    gan = dict(
        optim_d=_ADAM, perceptual_opt=_perceptual(**layers), gan_opt=_GAN | dict(loss_weight=1e-1), net_d_iters=1,
        net_d_init_iters=0,
    )  # fmt: skip
    sharpened = dict(l1_gt_usm=True, percep_gt_usm=True, gan_gt_usm=False)
    discriminator = dict(
        pretrain_network_d=f'{PRETRAINED}/RealESRGAN_x4plus_netD.pth', param_key_d='params', strict_load_d=True
    )

    def file(model: str, scale: int, start: str, **path: Any) -> Section:
        train = dict(ema_decay=0.999, pixel_opt=_L1)
        found = _train(model, scale, dict(train=train_set), _RRDB | (dict(scale=2) if scale == 2 else {}), train, {})
        found['path'] = dict(pretrain_network_g=start, param_key_g='params_ema', strict_load_g=True) | path
        found['path']['resume_state'] = None
        del found['val']
        found |= dict(**RESIZING, gt_size=32, queue_size=2)
        if model == 'RealESRNetModel':
            return found | dict(gt_usm=True)
        found['train'] |= gan
        return found | sharpened | dict(network_d=_UNET_D)

    official, net = f'{PRETRAINED}/ESRGAN_SRx4_DF2KOST_official-ff704c30.pth', f'{PRETRAINED}/RealESRNet_x{{}}plus.pth'
    yield 'train_realesrnet_x4plus', file('RealESRNetModel', 4, official)
    yield (
        'train_realesrnet_x2plus',
        file('RealESRNetModel', 2, f'{PRETRAINED}/RealESRGAN_x4plus.pth', strict_load_g=False),
    )
    yield 'train_realesrgan_x4plus', file('RealESRGANModel', 4, net.format(4))
    yield 'train_realesrgan_x2plus', file('RealESRGANModel', 2, net.format(2))
    yield 'finetune_realesrgan_x4plus', file('RealESRGANModel', 4, net.format(4), **discriminator)
    pairs = file('RealESRGANModel', 4, net.format(4), **discriminator)
    for key in (*RESIZING, 'gt_size', 'queue_size'):
        del pairs[key]
    data = {key: value for key, value in train_set.items() if key not in KERNELS}
    data |= dict(
        name='DIV2K', type='RealESRGANPairedDataset', dataroot_lq='datasets/DF2K',
        meta_info='datasets/DF2K/meta_info/meta_info_DIV2K_sub_pair.txt',
    )  # fmt: skip
    pairs |= dict(high_order_degradation=False, datasets=dict(train=data))
    yield 'finetune_realesrgan_x4plus_pairdata', pairs


# ---------------------------------------------------------------- files of `basicsr test`
def _test(model: str, scale: int, datasets: Section, network_g: Section, weights: str, **val: Any) -> Section:
    return dict(
        model_type=model, scale=scale, num_gpu=0, manual_seed=0, datasets=datasets, network_g=network_g,
        path=dict(pretrain_network_g=weights, strict_load_g=True), val=dict(save_img=True, suffix=None) | val,
    )  # fmt: skip


def _image_test(scale: int, network_g: Section, weights: str, model: str = 'SRModel') -> Section:
    """On Set5, Set14 and DIV2K."""
    valid = 'datasets/DIV2K/DIV2K_valid'
    sets = dict(
        test_1=_set('Set5', scale),
        test_2=_set('Set14', scale),
        test_3=_pairs(
            'DIV2K100', f'{valid}_HR', f'{valid}_LR_bicubic/X{scale}', filename_tmpl=f'{{}}x{scale}'
        ),
    )  # fmt: skip
    metrics = {kind: _metric(kind, scale) for kind in ('psnr', 'ssim')}
    return _test(model, scale, sets, network_g, weights, metrics=metrics)


def _lq_test(model: str, network_g: Section, weights: str) -> Section:
    return _test(model, 4, dict(test_1=_lq_set('Set5', 4), test_2=_lq_set('Set14', 4)), network_g, weights)


def _testing_files() -> Iterator[tuple[str, Section]]:
    for size in 'LM':
        for scale in (2, 3, 4):
            file = _image_test(scale, _edsr(scale, size), f'{PRETRAINED}/EDSR/EDSR_{size}x{scale}.pth')
            file['path']['param_key_g'] = 'params_ema'
            yield f'test/EDSR/test_EDSR_{size}x{scale}', file
    for scale in (2, 3, 4):
        file = _image_test(scale, _msrresnet(scale), weights_of(f'train_MSRResNet_x{scale}'))
        if scale == 4:
            file['path']['param_key_g'] = 'params'
            for metric in file['val']['metrics'].values():
                metric['better'] = 'higher'
        yield f'test/SRResNet_SRGAN/test_MSRResNet_x{scale}', file
    msr, esrgan = weights_of('train_MSRResNet_x4'), f'{PRETRAINED}/ESRGAN/ESRGAN_SRx4_DF2KOST_official-ff704c30.pth'
    yield 'test/SRResNet_SRGAN/test_MSRResNet_x4_woGT', _lq_test('SRModel', _msrresnet(4), msr)
    gan = weights_of('train_MSRGAN_x4')
    yield 'test/SRResNet_SRGAN/test_MSRGAN_x4', _image_test(4, _msrresnet(4), gan, 'SRGANModel')
    yield 'test/ESRGAN/test_RRDBNet_PSNR_x4', _image_test(4, _RRDB, f'{PRETRAINED}/ESRGAN/ESRGAN_PSNR_SRx4.pth')
    yield 'test/ESRGAN/test_ESRGAN_x4', _image_test(4, _RRDB, esrgan, 'ESRGANModel')
    yield 'test/ESRGAN/test_ESRGAN_x4_woGT', _lq_test('ESRGANModel', _RRDB, esrgan)
    # older than the section `val`: it has its switches at the top
    file = _image_test(4, _rcan(4), f'{PRETRAINED}/RCAN_BIX4-official.pth')
    del file['val']
    yield 'test/RCAN/test_RCAN', file | dict(suffix=None, crop_border=None, save_img=True)
    yield from _video_tests()
    face = dict(test_gt=_pairs('FFHQ_sr4x_val', 'datasets/FFHQ_512_gt_val', 'datasets/FFHQ_512_lq_val_sr4x'))
    metrics = {kind: _metric(kind, 4) for kind in ('psnr', 'ssim')}
    yield (
        'test/HiFaceGAN/test_hifacegan',
        _test('HiFaceGANModel', 1, face, _HIFACEGAN, f'{PRETRAINED}/hifacegan.pth', metrics=metrics),
    )
    wild = dict(
        name='FFHQ_in_the_wild', type='SingleImageDataset', dataroot_lq='datasets/real-world-lq', io_backend=_DISK
    )
    yield (
        'test/HiFaceGAN/test_hifacegan_woGT',
        _test('HiFaceGANModel', 1, dict(test_wild=wild), _HIFACEGAN, f'{PRETRAINED}/hifacegan.pth', suffix='generic'),
    )


def _video_tests() -> Iterator[tuple[str, Section]]:
    networks = {'BasicVSR': (_BASICVSR, _BASICVSR), 'IconVSR': (_iconvsr('edvr_reds', 2), _iconvsr('edvr_vimeo90k', 3))}
    for name, (of_reds, of_vimeo) in networks.items():
        weights = f'{PRETRAINED}/BasicVSR/{name}_{{}}.pth'
        metrics = {kind: _metric(kind, 0) for kind in ('psnr', 'ssim')}
        yield (
            f'test/BasicVSR/test_{name}_REDS',
            _test(
                'VideoRecurrentModel', 4, dict(test_1=_clips('REDS4', 'sharp_bicubic')), of_reds,
                weights.format('REDS4'), metrics=metrics,
            ),
        )  # fmt: skip
        metrics = {kind: _metric(kind, 0, True) for kind in ('psnr', 'ssim')}
        for lq in ('BDx4', 'BIx4'):
            yield (
                f'test/BasicVSR/test_{name}_Vimeo90K_{lq}',
                _test(
                    'VideoRecurrentModel', 4, dict(test_1=_vimeo90k_test(lq)), of_vimeo, weights.format(lq),
                    flip_seq=True, center_frame_only=True, metrics=metrics,
                ),
            )  # fmt: skip
    for name, scale, data, network in (
        ('L_deblur_REDS', 1, _reds4('blur', 'replicate'), _edvr(hr_in=True, with_predeblur=True)),
        ('L_deblurcomp_REDS', 1, _reds4('blur_comp', 'replicate'), _edvr(hr_in=True, with_predeblur=True)),
        ('L_x4_SR_REDS', 4, _reds4('sharp_bicubic'), _edvr()),
        ('L_x4_SRblur_REDS', 4, _reds4('blur_bicubic', 'replicate'), _edvr(with_predeblur=True)),
        ('M_x4_SR_REDS', 4, _reds4('sharp_bicubic'), _edvr()),
        ('L_x4_SR_Vid4', 4, _vid4('VideoTestDataset', 'BIx4'), _edvr(7)),
        (
            'L_x4_SR_Vimeo90K',
            4,
            _vimeo90k_test('vimeo_septuplet_matlabLRx4/sequences', padding='reflection_circle'),
            _edvr(7),
        ),
    ):
        weights = f'{PRETRAINED}/EDVR/EDVR_{name}_official.pth'
        metrics = dict(psnr=_metric('psnr', 0))
        yield (
            f'test/EDVR/test_EDVR_{name}',
            _test('EDVRModel', scale, dict(test=data), network, weights, metrics=metrics),
        )
    duf = dict(type='DUF', scale=4, num_layer=16, adapt_official_weights=True)
    data = dict(test=_vid4('VideoTestDUFDataset', 'BIx4', use_duf_downsampling=True))
    yield (
        'test/DUF/test_DUF_official',
        _test(
            'VideoBaseModel', 4, data, duf, f'{PRETRAINED}/DUF_x4_official.pth',
            metrics=dict(psnr_y=_metric('psnr', 8, True)),
        ),
    )  # fmt: skip
    tof = dict(type='TOFlow', adapt_official_weights=True)
    data = dict(test=_vid4('VideoTestDataset', 'BIx4up_direct'))
    metrics = dict(psnr_y=_metric('psnr', 0, True), ssim_y=_metric('ssim', 0, True))
    file = _test('VideoBaseModel', 4, data, tof, f'{PRETRAINED}/tof_official-e81c455f.pth', metrics=metrics)
    yield 'test/TOF/test_TOF_official', file | dict(save_img=True)


def side_of_frames(options: Section) -> int:
    """Of GT frames that a file's network takes."""
    return SIDE_OF_BASICVSR_PP if options['network_g']['type'] == 'BasicVSRPlusPlus' else SIDE


def _named(files: Iterator[tuple[str, Section]]) -> dict[str, Section]:
    return {path: deepcopy({'name': path.rpartition('/')[2]} | file) for path, file in files}


#: options of each file, by its path below ``options/`` and without ``.yml``
TRAINING = _named(_training_files()) | _named(_real_esrgan_files())
TESTING = _named(_testing_files())


#: cannot run as they are published: what the check says
FAULTY = {
    'train/RCAN/train_RCAN_x2': 'network_g',  # its network is for another scale
    'train/HiFaceGAN/train_hifacegan': "train.feature_matching_opt.type: no loss 'GANFeatLoss' is registered",
    'train/StyleGAN/train_StyleGAN2_256_Cmul2_FFHQ': "needs BasicSR's compiled CUDA extension",
    'test/RCAN/test_RCAN': 'val: missing, expected a section',
}


#: keys that stand in files, and that the classes of these releases do not read
UNREAD = ('use_shuffle', 'interval_list', 'padding', 'save_img', 'suffix', 'crop_border', 'gt_size')


def structure(options: Section) -> tuple[object, ...]:
    """The classes of a run, and where its data lie."""
    sets = {(section['type'], section['io_backend']['type']) for section in options['datasets'].values()}
    of_training = options.get('train', {}).values()
    parts = sorted(section['type'] for section in of_training if isinstance(section, dict) and 'type' in section)
    networks = [options[key]['type'] for key in ('network_g', 'network_d') if key in options]
    return (options['model_type'], *sorted(sets), *networks, *parts)


def _one_of_each(files: dict[str, Section]) -> list[str]:
    """By structure the last file, which starts from weights of another where one does."""
    return sorted({structure(options): path for path, options in files.items() if path not in FAULTY}.values())


TESTED, TRAINED = _one_of_each(TESTING), _one_of_each(TRAINING)
#: take seconds, and their classes are trained elsewhere: in tests/test_registries.py, with other files, and in
#: tests/test_real_esrgan.py
for _path in ('BasicVSRPP/train_BasicVSRPP_REDS', 'BasicVSR/train_IconVSR_Vimeo90K_BIx4'):
    TRAINED.remove(f'train/{_path}')
TRAINED.remove('train_realesrnet_x2plus')


def _without_files() -> Iterator[tuple[str, Section]]:
    """What no file trains as it is published: with one made of those."""
    yield 'RCAN', merge(TRAINING['train/RCAN/train_RCAN_x2'], dict(network_g=_rcan(2)))
    compact = dict(type='SRVGGNetCompact', num_in_ch=3, num_out_ch=3, num_feat=4, num_conv=1, upscale=4)
    file = _image(4, 48, compact, _MULTI_STEP)
    yield 'SRVGGNetCompact', merge(file, dict(train=dict(pixel_opt=dict(type='MSELoss'))))
    septuplets = merge(_vimeo90k('BIx4'), dict(type='Vimeo90KDataset', num_frame=7, flip_sequence=None))
    file = _edvr_training(8) | dict(model_type='VideoBaseModel', network_g=_edvr(7))
    yield 'Vimeo90KDataset', file | dict(datasets=dict(train=septuplets, val=_vimeo90k_test('BIx4')))
    yield 'HiFaceGANModel', merge(_hifacegan(), dict(train=dict(feature_matching_opt=None)))
    adversarial = dict(network_d=_UNET_D, train=dict(optim_d=_ADAM, gan_opt=_GAN, net_d_iters=1, net_d_init_iters=0))
    yield 'VideoGANModel', merge(_edvr_training(8) | dict(model_type='VideoGANModel'), adversarial)
    file = TRAINING['train/BasicVSR/train_BasicVSR_REDS'] | dict(model_type='VideoRecurrentGANModel')
    yield 'VideoRecurrentGANModel', merge(merge(file, adversarial), dict(train=dict(lr_flow=1e-5)))


#: options by what they train
UNPUBLISHED = {name: {**file, 'name': name} for name, file in _without_files()}
