"""Everything that BasicSR and Real-ESRGAN register: usable, trained in a test, or not supported for a reason.

A name that is in none of the tables fails: whoever adds one, or updates BasicSR, says what becomes of it.
"""

import subprocess
import sys

import basicsr.archs
import numpy as np
import pytest
import torch
import yaml
from basicsr.losses import build_loss
from basicsr.metrics import calculate_metric
from basicsr.utils import registry
from helpers import TINY_D, TINY_G, merge
from test_real_esrgan import file_of, real_esrgan_place, train  # noqa: F401  (a fixture)

OWN = 'registered by this package; its own tests'
REAL_ESRGAN = 'trained in tests/test_real_esrgan.py'
EXTENSION = "needs BasicSR's compiled CUDA extension (an installation of BasicSR with BASICSR_EXT=True)"
VIDEO = 'for sequences of frames; its datasets read the layout of one video benchmark'
FACES = 'for faces, with a layout and a loop of its own'
OF_VIDEO = 'reads the layout of one video benchmark'

# ---------------------------------------------------------------- models
_GAN = {k: file_of('RealESRGANModel')['train'][k] for k in ('optim_d', 'gan_opt')}
_SWINIR = dict(
    type='SwinIR', upscale=4, img_size=8, window_size=4, embed_dim=8, depths=[1], num_heads=[2], mlp_ratio=2,
    upsampler='pixelshuffledirect', in_chans=3, img_range=1.0, resi_connection='1conv',
)  # fmt: skip
#: changes to an option file with pairs
TRAINED = {
    'SRModel': {},
    'SwinIRModel': dict(network_g=None),
    'SRGANModel': dict(network_d=TINY_D, train=_GAN),
    'ESRGANModel': dict(network_d=TINY_D, train=_GAN),
}
MODELS = {
    'PDDModel': OWN,
    'RealESRNetModel': REAL_ESRGAN,
    'RealESRGANModel': REAL_ESRGAN,
    'StyleGAN2Model': EXTENSION,
    'HiFaceGANModel': FACES,
    'EDVRModel': VIDEO,
    **dict.fromkeys(['VideoBaseModel', 'VideoGANModel', 'VideoRecurrentModel', 'VideoRecurrentGANModel'], VIDEO),
}

# ---------------------------------------------------------------- datasets
DATASETS = {
    'UnpairedAdaptationDataset': OWN,
    'PairedImageDataset': 'trained below',
    'SingleImageDataset': 'for validation; tests/test_pdd_model.py',
    'RealESRGANDataset': REAL_ESRGAN,
    'RealESRGANPairedDataset': REAL_ESRGAN,
    'FFHQDataset': FACES,
    **dict.fromkeys(['REDSDataset', 'REDSRecurrentDataset', 'Vimeo90KDataset', 'Vimeo90KRecurrentDataset'], OF_VIDEO),
    **dict.fromkeys(['VideoTestDataset', 'VideoTestDUFDataset', 'VideoTestVimeo90KDataset'], OF_VIDEO),
    'VideoRecurrentTestDataset': OF_VIDEO,
}

# ---------------------------------------------------------------- losses, metrics, networks
#: options, and what the loss is called with beside an image
USABLE_LOSSES = {
    'L1Loss': ({}, 'image'),
    'MSELoss': ({}, 'image'),
    'CharbonnierLoss': ({}, 'image'),
    'WeightedTVLoss': ({}, None),
    'GANLoss': (dict(gan_type='vanilla'), True),
    'MultiScaleGANLoss': (dict(gan_type='vanilla'), True),
}
LOSSES = {
    'PerceptualLoss': 'computed on the shared feature network; tests/test_losses.py',
    **dict.fromkeys(['PairwiseDistanceLoss', 'HaarWaveletLoss', 'FeatureDistillationLoss'], OWN),
    **dict.fromkeys(['ContrastiveDistillationLoss', 'OutputDistillationLoss'], OWN),
}
USABLE_METRICS = ('calculate_psnr', 'calculate_ssim', 'calculate_niqe')
OF_TENSORS = 'takes batches of tensors, validation has images'
METRICS = {
    'calculate_psnr_pt': OF_TENSORS,
    'calculate_ssim_pt': OF_TENSORS,
    **dict.fromkeys(['calculate_lpips', 'calculate_dists', 'calculate_feature_distance', 'calculate_iqa'], OWN),
}
USABLE_NETWORKS = {
    'RRDBNet': {k: v for k, v in TINY_G.items() if k != 'type'},
    'SRVGGNetCompact': dict(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=1, upscale=4),
    'MSRResNet': dict(num_in_ch=3, num_out_ch=3, num_feat=8, num_block=1, upscale=4),
    'EDSR': dict(num_in_ch=3, num_out_ch=3, num_feat=8, num_block=1, upscale=4),
    'RCAN': dict(num_in_ch=3, num_out_ch=3, num_feat=16, num_group=1, num_block=1, upscale=4),
    'SwinIR': {k: v for k, v in _SWINIR.items() if k != 'type'},
    'RIDNet': dict(in_channels=3, mid_channels=16, out_channels=3),
    'ECBSR': dict(num_in_ch=3, num_out_ch=3, num_block=1, num_channel=8, with_idt=False, act_type='prelu', scale=4),
}
NETWORKS = {
    'SpandrelNet': OWN,
    'UNetDiscriminatorSN': 'a discriminator; trained below',
    'VGGStyleDiscriminator': 'a discriminator; tests/test_pdd_model.py',
    'VGGFeatureExtractor': "part of BasicSR's PerceptualLoss",
    'BasicVSRPlusPlus': f'{VIDEO}; without CUDA it leaves its alignment out, and warns',
    'DFDNet': FACES,
    'StyleGAN2Generator': EXTENSION,
    'StyleGAN2Discriminator': EXTENSION,
    'HiFaceGAN': FACES,
    'HiFaceGANDiscriminator': FACES,
    **dict.fromkeys(['BasicVSR', 'IconVSR', 'EDVR', 'DUF', 'SpyNet', 'TOFlow'], VIDEO),
}


@pytest.mark.parametrize(
    ('where', 'known'),
    [
        (registry.MODEL_REGISTRY, {*TRAINED, *MODELS}),
        (registry.DATASET_REGISTRY, {*DATASETS}),
        (registry.LOSS_REGISTRY, {*USABLE_LOSSES, *LOSSES}),
        (registry.METRIC_REGISTRY, {*USABLE_METRICS, *METRICS}),
        (registry.ARCH_REGISTRY, {*USABLE_NETWORKS, *NETWORKS}),
    ],
    ids=lambda value: getattr(value, '_name', ''),
)
def test_every_name_has_its_place(where, known):
    # of a test of this process: what is registered by a script
    theirs = {k for k, v in where if v.__module__.split('.')[0] in ('basicsr', 'realesrgan', 'pdd_arch')}
    assert {name.removesuffix('_basicsr') for name in theirs} == known


@pytest.mark.parametrize('model', TRAINED)
def test_trains(real_esrgan_place, capfd, model):  # noqa: F811
    pairs = dict(
        name='pairs', type='PairedImageDataset', dataroot_gt='val_hr', dataroot_lq='val_lr', gt_size=32,
        io_backend=dict(type='disk'), use_hflip=True, use_rot=True, num_worker_per_gpu=0, batch_size_per_gpu=1,
        dataset_enlarge_ratio=4,
    )  # fmt: skip
    opt = merge(file_of('RealESRNetModel', model_type=model), TRAINED[model])
    opt['datasets']['train'] = pairs
    opt.setdefault('network_g', _SWINIR)
    assert train(opt, '--check') == 0, capfd.readouterr().err
    assert train(opt) == 0, capfd.readouterr().err
    assert (real_esrgan_place / 'experiments/tiny/models/net_g_2.pth').is_file()


@pytest.mark.parametrize('name', USABLE_LOSSES)
def test_losses(name):
    options, target = USABLE_LOSSES[name]
    image = torch.rand(2, 3, 8, 8, requires_grad=True)
    others = {'image': (torch.rand(2, 3, 8, 8),), None: ()}.get(target, (target,))
    build_loss(dict(type=name, **options))(image, *others).backward()
    assert torch.isfinite(image.grad).all()


@pytest.mark.parametrize('name', USABLE_METRICS)
def test_metrics(name):
    images = np.random.default_rng(0).integers(0, 256, (2, 208, 208, 3), np.uint8)
    data = dict(img=images[0]) if name == 'calculate_niqe' else dict(img=images[0], img2=images[1])
    assert np.isfinite(calculate_metric(data, dict(type=name, crop_border=4)))


@pytest.mark.parametrize('name', USABLE_NETWORKS)
def test_networks(name):
    network = basicsr.archs.build_network(dict(type=name, **USABLE_NETWORKS[name]))
    output = network(torch.rand(1, 3, 16, 16))
    output.mean().backward()
    assert output.shape[-1] in (16, 64)


def test_the_extension_is_needed():
    """StyleGAN2's activation has no other implementation."""
    from basicsr.ops import fused_act

    if hasattr(fused_act.fused_act, 'fused_act_ext'):
        pytest.skip('BasicSR was compiled with its extension')
    with pytest.raises(NameError, match='fused_act_ext'):
        fused_act.fused_leaky_relu(torch.rand(1, 2, 4, 4), torch.zeros(2))


def test_after_importing_real_esrgan(real_esrgan_place):  # noqa: F811
    """Its package registers the same names anew, also for the datasets and the discriminator."""
    opt = file_of('RealESRNetModel', train=dict(total_iter=1), val=dict(val_freq=1))
    (real_esrgan_place / 'run.yml').write_text(yaml.safe_dump(opt))
    code = (
        'import sys, pdd_arch, realesrgan, torch\n'
        'from basicsr.train import train_pipeline\n'
        'from basicsr.utils.registry import MODEL_REGISTRY\n'
        "assert MODEL_REGISTRY.get('RealESRNetModel').__module__.startswith('realesrgan')\n"
        'torch.set_num_threads(1)\n'
        "train_pipeline('.')\n"
    )
    done = subprocess.run([sys.executable, '-c', code, '-opt', 'run.yml'], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (real_esrgan_place / 'experiments/tiny/models/net_g_latest.pth').is_file()
