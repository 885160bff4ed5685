"""What is compared: runs, and ways to run their step."""

from copy import deepcopy
from pathlib import Path

import torch
from plain import PlainModel

import pdd_arch
from pdd_arch.models import PDDModel
from pdd_arch.options.yaml_file import load_options

LAYERS = {'conv1_2': 0.1, 'conv2_2': 0.1, 'conv3_4': 1, 'conv4_4': 1, 'conv5_4': 1}

#: ways to run a step: model class and changes of the train section
CONFIGURATIONS = {
    'plain': (PlainModel, {}),
    'float32': (PDDModel, {}),
    'float32 channels_last': (PDDModel, dict(channels_last=True)),
    'float32 compiled': (PDDModel, dict(channels_last=True, compile=True)),
    'bf16': (PDDModel, dict(precision='bf16', channels_last=True)),
    'bf16 compiled': (PDDModel, dict(precision='bf16', channels_last=True, compile=True)),
    'bf16 graphs': (PDDModel, dict(precision='bf16', channels_last=True, compile='reduce-overhead')),
    'fp16': (PDDModel, dict(precision='fp16', channels_last=True)),
    'float32 recompute': (PDDModel, dict(channels_last=True, recompute=True)),
    'bf16 recompute': (PDDModel, dict(precision='bf16', channels_last=True, recompute=True)),
    'two parts': (PDDModel, dict(accumulate=2)),
}


def run_options(blocks: int, feature_net: dict | None = None) -> dict:
    """Options of the paper's EMA run with an RRDBNet of so many blocks, as BasicSR hands them to a model."""
    network = dict(type='RRDBNet', num_in_ch=3, num_out_ch=3, scale=4, num_feat=64, num_block=blocks, num_grow_ch=32)
    adam = dict(type='Adam', lr=1e-4, betas=[0.9, 0.99])
    train = dict(
        teacher='ema',
        feature_net=feature_net or dict(type='vgg19', weights='random'),  # speed does not depend on the weights
        distill_opt=dict(type='PairwiseDistanceLoss'),
        distill_warmup_iters=1,
        net_d_init_iters=0,
        pixel_opt=dict(type='HaarWaveletLoss', loss_weight=0.5, weights=[1, 0.1, 0.01]),
        perceptual_opt=dict(type='PerceptualLoss', layer_weights=LAYERS, criterion='l1'),
        gan_opt=dict(type='GANLoss', gan_type='vanilla', loss_weight=0.01),
        optim_g=adam,
        optim_d=dict(adam),
        scheduler=dict(type='MultiStepLR', milestones=[25000], gamma=0.5),
    )
    return dict(
        network_g=network,
        network_d=dict(type='UNetDiscriminatorSN', num_in_ch=3, num_feat=64, skip_connection=True),
        scale=4,
        train=train,
        path={},
        datasets={},
    )


def options_of(file: Path) -> dict:
    """Options of a file, without data and weights."""
    opt = load_options(file)
    opt['path'] = {}
    if opt['train'].get('feature_net', {}).get('weights', 'imagenet') != 'random':
        opt['train']['feature_net'] = {**opt['train'].get('feature_net', {'type': 'vgg19'}), 'weights': 'random'}
    opt['train'] |= dict(net_d_init_iters=0, distill_warmup_iters=1)
    return opt


def build(options: dict, configuration: str, device: str) -> PDDModel:
    """A model with seeded weights; every configuration gets the same."""
    kind, changes = CONFIGURATIONS[configuration]
    opt = deepcopy(options)
    opt |= dict(name='benchmark', model_type='PDDModel', is_train=True, dist=False, rank=0, world_size=1, manual_seed=0)
    opt['num_gpu'] = 0 if device == 'cpu' else 1
    opt['train'] |= changes
    torch.manual_seed(0)
    return kind(opt)


def batch(size: int, side: int, scale: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """A batch of smooth noise of both domains: `size` images each, LR side `side`."""
    g = torch.Generator().manual_seed(seed)
    gt = torch.rand(size, 3, side * scale, side * scale, generator=g)
    lq = torch.nn.functional.interpolate(gt, scale_factor=1 / scale, mode='area')
    return {'lq': lq, 'gt': gt, 'lq_real': torch.rand(size, 3, side, side, generator=g)}


VERSIONS = {'pdd_arch': pdd_arch.__version__, 'torch': torch.__version__}
