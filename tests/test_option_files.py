"""The shipped option files: each loads and passes the checks, and the paper's have the paper's values."""

import inspect
import re
from pathlib import Path

import pytest
from basicsr.utils.registry import DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY

from pdd_arch.features.feature_net import check_layers
from pdd_arch.losses import PairwiseDistanceLoss
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.schema import FeatureNetOptions, TrainOptions
from pdd_arch.options.yaml_file import load_options
from pdd_arch.preflight.data import check_batch, check_dataset_types
from pdd_arch.preflight.losses import check_feature_size, check_losses
from pdd_arch.preflight.networks import check_networks
from pdd_arch.preflight.run import check_schedule

ROOT = Path(__file__).parents[1]
OPTIONS = ROOT / 'options'
ALL = sorted(path.relative_to(OPTIONS).with_suffix('').as_posix() for path in OPTIONS.rglob('*.yml'))

#: the paper's target domains: option file with the EMA teacher
DOMAINS = ['pdd_realsr', 'pdd_realsr_nikon', 'pdd_drealsr', 'pdd_ntire2020_track1']
EMA = [*DOMAINS, 'pdd_realsr_matlab']
STATIC = [*(f'{name}_static' for name in DOMAINS), 'pdd_realsr_static_released']
PAPER = [*EMA, *STATIC]

SECTIONS = {
    'name', 'model_type', 'scale', 'num_gpu', 'manual_seed', 'datasets', 'network_g', 'network_teacher', 'network_d',
    'path', 'train', 'val', 'logger', 'dist_params',
}  # fmt: skip


def load(name: str) -> dict:
    return load_options(OPTIONS / f'{name}.yml')


def flat(options: dict, prefix: str = '') -> dict:
    """Nested options as ``{'train.optim_g.lr': 1e-4}``."""
    out = {}
    for key, value in options.items():
        if isinstance(value, dict):
            out |= flat(value, f'{prefix}{key}.')
        else:
            out[f'{prefix}{key}'] = value
    return out


def differing(a: dict, b: dict) -> set[str]:
    """Keys whose presence or value differs between two option files."""
    a, b = flat(a), flat(b)
    return {key for key in a.keys() | b.keys() if key not in a or key not in b or a[key] != b[key]}


def test_all_runs_are_shipped():
    assert {*PAPER, 'pdd_city100'} <= set(ALL)


@pytest.mark.parametrize('name', ALL)
def test_file_passes_the_checks(name):
    opt = load(name)
    assert set(opt) <= SECTIONS
    assert opt['name'] == name.rpartition('/')[2]
    assert opt['model_type'] in MODEL_REGISTRY
    options = RunOptions.of(opt)
    check_networks(options.pdd)
    losses = check_losses(options.train)
    check_batch(options, losses.of_views)
    check_feature_size(options, losses)
    check_schedule(options)
    check_dataset_types(options)


@pytest.mark.parametrize('name', ALL)
def test_nothing_in_a_file_is_overlooked(name):
    """Keys that no code reads would be silently without effect."""
    opt = load(name)
    assert set(opt['train']) <= set(TrainOptions.model_fields)
    assert opt['datasets']['train']['type'] in DATASET_REGISTRY
    assert opt['datasets']['val']['type'] in DATASET_REGISTRY
    for metric in opt['val']['metrics'].values():
        assert metric['type'] in METRIC_REGISTRY
        assert metric['better'] in ('higher', 'lower')
        given = set(metric) - {'type', 'better'}
        assert given <= set(inspect.signature(METRIC_REGISTRY.get(metric['type'])).parameters)
    for network in ('g', 'teacher', 'd'):
        keys = {f'pretrain_network_{network}', f'param_key_{network}', f'strict_load_{network}'}
        assert f'network_{network}' in opt or not keys & set(opt['path'])


@pytest.mark.parametrize('name', ALL)
def test_numbers_are_numbers(name):
    """YAML 1.1 reads 1e-4 as a string; a plain loader of somebody else's would, ours must not."""
    text = [f'{k}: {v}' for k, v in flat(load(name)).items() if isinstance(v, str) and re.fullmatch(r'[\d.eE+-]+', v)]
    assert text == []


@pytest.mark.parametrize('name', PAPER)
def test_paper_values(name):
    """The values of the paper and of the released option files."""
    opt = load(name)
    matlab, static = name == 'pdd_realsr_matlab', name in STATIC
    settings = RunOptions.of(opt).train
    train, data = opt['train'], opt['datasets']['train']

    assert opt['scale'] == 4
    assert (data['gt_size'], data['batch_size_per_gpu']) == (192, 8)
    assert data['use_hflip'] is data['use_rot'] is True
    kernels = ['matlab_bicubic'] if matlab else ['bicubic', 'bilinear', 'area']
    assert data['lr_synthesis'] == {'resize': kernels}

    assert settings.teacher == ('static' if static else 'ema')
    assert settings.ema_decay == 0.999
    assert settings.distill_warmup_iters == (0 if static else 5)
    assert settings.detach_synthetic is static
    assert settings.gan_on_real is True
    assert (settings.net_d_iters, settings.net_d_init_iters) == (1, 300)
    assert settings.precision == 'fp32'
    assert settings.channels_last is True
    assert settings.feature_net == FeatureNetOptions(type='vgg19', weights='imagenet')

    assert train['distill_opt'] == {
        'type': 'PairwiseDistanceLoss',
        'inter_layers': {'conv2_1': 0.25, 'conv3_1': 0.25, 'conv4_1': 0.25, 'conv5_1': 0.25},
        'intra_layers': {'conv2_2': 0.1, 'conv3_4': 0.3, 'conv4_4': 1, 'conv5_4': 1},
        'inter_weight': 0.5 if matlab else 1.0,
        'intra_weight': 1.0,
        'inter_distance': 'gram_change',
        'intra_distance': 'l1',
        'intra_criterion': 'ce',
        'intra_pairing': 'cross_domain',
    }
    assert train['pixel_opt'] == {'type': 'HaarWaveletLoss', 'loss_weight': 0.5, 'weights': [1, 0.1, 0.01]}
    assert train['perceptual_opt'] == {
        'type': 'PerceptualLoss',
        'layer_weights': {'conv1_2': 0.1, 'conv2_2': 0.1, 'conv3_4': 1, 'conv4_4': 1, 'conv5_4': 1},
        'perceptual_weight': 1.0,
        'style_weight': 0,
        'criterion': 'l1',
    }
    assert (train['gan_opt']['gan_type'], train['gan_opt']['loss_weight']) == ('vanilla', 0.01)
    for optimizer in (train['optim_g'], train['optim_d']):
        assert optimizer == {'type': 'Adam', 'lr': 1e-4, 'weight_decay': 0, 'betas': [0.9, 0.99]}
    assert train['scheduler'] == {
        'type': 'MultiStepLR',
        'milestones': [25000, 100000, 200000, 300000],
        'gamma': 0.5,
    }
    assert (train['total_iter'], train['warmup_iter']) == (100000, -1)

    assert opt['val']['val_freq'] == 2500
    psnr, lpips = opt['val']['metrics']['psnr'], opt['val']['metrics']['lpips']
    assert (psnr['type'], psnr['crop_border'], psnr['test_y_channel']) == ('calculate_psnr', 4, False)
    assert (lpips['type'], lpips['net'], lpips['better']) == ('calculate_lpips', 'alex', 'lower')


@pytest.mark.parametrize('name', PAPER)
def test_paper_networks(name):
    opt = load(name)
    rrdb = {
        'type': 'RRDBNet',
        'num_in_ch': 3,
        'num_out_ch': 3,
        'num_feat': 64,
        'num_block': 23,
        'num_grow_ch': 32,
        'scale': 4,
    }
    assert opt['network_g'] == rrdb
    assert opt.get('network_teacher') == (rrdb if name in STATIC else None)
    assert opt['network_d'] == {
        'type': 'UNetDiscriminatorSN',
        'num_in_ch': 3,
        'num_feat': 64,
        'skip_connection': True,
    }


@pytest.mark.parametrize('name', DOMAINS)
def test_static_differs_from_ema_only_where_it_should(name):
    ema, static = load(name), load(f'{name}_static')
    teacher_network = {f'network_teacher.{key}' for key in static['network_teacher']}
    assert differing(ema, static) == teacher_network | {
        'name',
        'path.pretrain_network_g',
        'path.param_key_g',
        'path.pretrain_network_teacher',
        'path.param_key_teacher',
        'path.strict_load_teacher',
        'train.teacher',
        'train.distill_warmup_iters',
        'train.detach_synthetic',
    }
    # the natural reading: a student trained on bicubic LR images, a frozen blind-SR generalist
    assert 'RealESRGAN_x4plus' in ema['path']['pretrain_network_g']
    assert 'ESRGAN_SRx4_DF2KOST' in static['path']['pretrain_network_g']
    assert static['path']['pretrain_network_teacher'] == ema['path']['pretrain_network_g']
    assert static['path']['param_key_teacher'] == ema['path']['param_key_g'] == 'params_ema'


def test_released_static_exchanges_the_checkpoints():
    natural, released = load('pdd_realsr_static'), load('pdd_realsr_static_released')
    weights = {'pretrain_network_g', 'param_key_g', 'pretrain_network_teacher', 'param_key_teacher'}
    assert differing(natural, released) == {'name', *(f'path.{key}' for key in weights)}
    for key in ('pretrain_network', 'param_key'):
        assert natural['path'][f'{key}_g'] == released['path'][f'{key}_teacher']
        assert natural['path'][f'{key}_teacher'] == released['path'][f'{key}_g']


def test_matlab_variant():
    changes = {'name', 'datasets.train.lr_synthesis.resize', 'train.distill_opt.inter_weight'}
    assert differing(load('pdd_realsr'), load('pdd_realsr_matlab')) == changes


@pytest.mark.parametrize('name', DOMAINS[1:])
def test_domains_differ_only_in_their_data(name):
    changed = differing(load('pdd_realsr'), load(name)) - {'name'}
    assert {key.rsplit('.', 1)[0] for key in changed} == {'datasets.train', 'datasets.val'}
    assert {key.rsplit('.', 1)[1] for key in changed} == {'name', 'dataroot_lq', 'dataroot_gt'}
    assert 'datasets.train.dataroot_gt' not in changed


def test_city100_measures_with_the_network_that_it_trains_with():
    opt = load('pdd_city100')
    trained, measured = opt['train']['feature_net'], opt['val']['metrics']['feature_distance']['feature_net']
    assert {key: trained[key] for key in measured} == measured
    assert 'network_d' not in opt
    loss = opt['train']['distill_opt']
    assert len(loss['inter_layers']) == len(loss['intra_layers']) == 4
    check_layers((*loss['inter_layers'], *loss['intra_layers']), opt['train']['feature_net']['type'])


@pytest.mark.parametrize(('name', 'share'), [('fast/pdd_realsr_10k', 10), ('fast/pdd_realsr_5k', 20)])
def test_fast_presets_are_the_paper_s_run_but_for_the_schedule(name, share):
    paper, fast = load('pdd_realsr'), load(name)
    schedule = {'name', 'train.total_iter', 'train.scheduler.milestones', 'val.val_freq', 'logger.save_checkpoint_freq'}
    assert schedule <= differing(paper, fast) <= schedule | {'train.ema_decay'}
    assert fast['train']['total_iter'] * share == paper['train']['total_iter']
    assert fast['train']['scheduler']['milestones'][0] * share == paper['train']['scheduler']['milestones'][0]


def test_reference_names_every_option():
    """The option reference against the code that reads the options."""
    assert 'options/README.md' in (ROOT / 'README.md').read_text(encoding='utf-8')
    text = (OPTIONS / 'README.md').read_text(encoding='utf-8')
    loss = set(inspect.signature(PairwiseDistanceLoss).parameters)
    named = set(re.findall(r'`([a-z_]+)`', text))
    assert set(TrainOptions.model_fields) | loss <= named
    assert 'PairwiseDistanceLoss' in LOSS_REGISTRY


def test_readme_names_every_option_file():
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    assert [name for name in ALL if f'{name}.yml' not in text] == []
