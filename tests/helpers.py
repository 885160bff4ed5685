"""Small models and options for tests of a whole training step."""

import logging
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from basicsr.models import build_model
from basicsr.utils import imwrite
from basicsr.utils.logger import initialized_logger

TINY_G = dict(type='RRDBNet', num_in_ch=3, num_out_ch=3, scale=4, num_feat=8, num_block=1, num_grow_ch=4)
TINY_D = dict(type='UNetDiscriminatorSN', num_in_ch=3, num_feat=8, skip_connection=True)
# small and quick; its features are of an untrained network, which no assertion depends on
SMALL_FEATURES = dict(type='squeezenet1_1', weights='random', seed=1)
SMALL_LAYERS = {'features.0': 1.0, 'features.4': 0.5}


def merge(base: dict, changes: dict) -> dict:
    """Deep copy of `base` with nested changes; None removes a key."""
    out = deepcopy(base)
    for key, value in changes.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merge(out[key], value)
        else:
            out[key] = deepcopy(value)
    return out


def options(**changes) -> dict:
    """Options of a small EMA run with everything on, as BasicSR hands them to a model."""
    base = dict(
        name='tiny',
        model_type='PDDModel',
        scale=4,
        num_gpu=0,
        manual_seed=0,
        is_train=True,
        dist=False,
        rank=0,
        world_size=1,
        network_g=TINY_G,
        network_d=TINY_D,
        datasets={},
        path={},
        train=dict(
            teacher='ema',
            ema_decay=0.9,
            feature_net=SMALL_FEATURES,
            distill_opt=dict(type='PairwiseDistanceLoss', inter_layers=SMALL_LAYERS, intra_layers=SMALL_LAYERS),
            distill_warmup_iters=1,
            net_d_init_iters=0,
            pixel_opt=dict(type='HaarWaveletLoss', loss_weight=0.5, weights=[1, 0.1, 0.01]),
            perceptual_opt=dict(type='PerceptualLoss', layer_weights=SMALL_LAYERS, criterion='l1'),
            gan_opt=dict(type='GANLoss', gan_type='vanilla', loss_weight=1e-2),
            optim_g=dict(type='Adam', lr=1e-4, betas=[0.9, 0.99]),
            optim_d=dict(type='Adam', lr=1e-4, betas=[0.9, 0.99]),
            scheduler=dict(type='MultiStepLR', milestones=[100], gamma=0.5),
            total_iter=10,
        ),
        logger=dict(print_freq=1, save_checkpoint_freq=100, use_tb_logger=False),
    )
    return merge(base, changes)


#: changes that switch the discriminator off
NO_D = dict(network_d=None, train=dict(gan_opt=None, optim_d=None, net_d_init_iters=None))


def build(**changes):
    """The model of :func:`options`, with seeded weights."""
    torch.manual_seed(0)
    return build_model(options(**changes))


def batch(seed: int = 0, n: int = 2, size: int = 8, dtype: torch.dtype = torch.float32) -> dict:
    """A random batch of both domains."""
    g = torch.Generator().manual_seed(seed)
    shapes = {'lq': size, 'gt': 4 * size, 'lq_real': size}
    return {k: torch.rand(n, 3, s, s, generator=g, dtype=dtype) for k, s in shapes.items()}


def step(model, iteration: int, **kwargs) -> dict[str, float]:
    """One iteration as BasicSR's loop runs it; returns its log."""
    model.update_learning_rate(iteration, warmup_iter=-1)
    model.feed_data(batch(seed=iteration, **kwargs))
    model.optimize_parameters(iteration)
    return dict(model.get_current_log())


def write_images(folder, count, height, width, seed=0):
    rng = np.random.default_rng(seed)
    for i in range(count):
        imwrite(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), str(folder / f'{i:03d}.png'))


def run_options(**changes):
    """Options of a run on the workplace's data, without a discriminator."""
    opt = options(**NO_D)
    for key in ('is_train', 'dist', 'rank', 'world_size'):
        del opt[key]
    opt['datasets'] = dict(
        train=dict(
            type='UnpairedAdaptationDataset',
            dataroot_gt='hr',
            dataroot_lq='real',
            gt_size=32,
            io_backend=dict(type='disk'),
            use_hflip=True,
            use_rot=True,
            num_worker_per_gpu=0,
            batch_size_per_gpu=2,
            dataset_enlarge_ratio=10,
        ),
        val=dict(
            name='pairs',
            type='PairedImageDataset',
            dataroot_gt='val_hr',
            dataroot_lq='val_lr',
            io_backend=dict(type='disk'),
        ),
    )
    opt['train']['total_iter'] = 2
    opt['val'] = dict(val_freq=2, save_img=False, metrics=dict(psnr=dict(type='calculate_psnr', crop_border=4)))
    return merge(opt, changes)


def run_options_of_sr_model(**changes):
    """As :func:`run_options`, for BasicSR's own model of pairs."""
    opt = run_options(model_type='SRModel')
    opt['datasets']['train'] |= dict(type='PairedImageDataset', dataroot_gt='val_hr', dataroot_lq='val_lr')
    opt['train'] = {key: opt['train'][key] for key in ('ema_decay', 'optim_g', 'scheduler', 'total_iter')}
    opt['train']['pixel_opt'] = dict(type='L1Loss', loss_weight=1.0, reduction='mean')
    return merge(opt, changes)


def release_logger() -> None:
    """Let BasicSR set its logger up anew: it does so once per process, with the streams and log file of that moment."""
    logger = logging.getLogger('basicsr')
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True
    initialized_logger.clear()


def validation_pairs(root: Path) -> dict:
    """The section of a paired validation set at scale 4 in ``gt`` and ``lq`` below `root`."""
    return {
        'name': 'val',
        'type': 'PairedImageDataset',
        'phase': 'val',
        'scale': 4,
        'dataroot_gt': str(root / 'gt'),
        'dataroot_lq': str(root / 'lq'),
        'io_backend': {'type': 'disk'},
    }


def single(opt: dict) -> dict:
    """The section of the LR images alone of a paired set."""
    return {k: v for k, v in opt.items() if k != 'dataroot_gt'} | {'type': 'SingleImageDataset'}
