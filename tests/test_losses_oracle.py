"""Losses and gradients against the reference numbers: 1e-9 relative in float64, 1e-4 in float32."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from basicsr.losses import build_loss

from pdd_arch.features import FeatureBank, FeatureNet
from pdd_arch.losses import FeaturePerceptualLoss

FIXTURES = np.load(Path(__file__).parent / 'oracle' / 'losses.npz')
DTYPES = {'f32': torch.float32, 'f64': torch.float64}
RELATIVE = {'f32': 1e-4, 'f64': 1e-9}
# criteria that the released code names differently
RENAMED = {'cosine_sim': 'cosine_released'}


def cases(*parts):
    """Fixture groups: the keys under a prefix without what belongs to one gradient."""
    prefix = '/'.join(parts) + '/'
    return sorted({k.rsplit('/value', 1)[0] for k in FIXTURES.files if k.startswith(prefix) and k.endswith('/value')})


def assert_close(name, value, precision):
    expected = FIXTURES[name]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(value, expected, rtol=RELATIVE[precision], atol=RELATIVE[precision] * scale)


def assert_gradient(recipes, prefix, gradient, precision):
    norm, total, sample = recipes.grad_summary(gradient.numpy())
    expected_norm = float(FIXTURES[f'{prefix}/norm'])
    assert norm == pytest.approx(expected_norm, rel=RELATIVE[precision])
    # the sum cancels: its error is measured against the norm
    assert total == pytest.approx(float(FIXTURES[f'{prefix}/sum']), abs=RELATIVE[precision] * expected_norm * 10)
    largest = np.abs(FIXTURES[f'{prefix}/sample']).max()
    np.testing.assert_allclose(sample, FIXTURES[f'{prefix}/sample'], rtol=0, atol=RELATIVE[precision] * largest * 10)


@pytest.fixture(scope='module')
def feature_nets(vgg19_weights):
    """One cut VGG19 per gain and precision."""
    cache = {}

    def get(gain, precision):
        if (gain, precision) not in cache:
            layers = [f'conv{b}_{i}' for b in range(1, 6) for i in range(1, 5) if not (b < 3 and i > 2)]
            net = FeatureNet(layers, type='vgg19', weights=vgg19_weights(gain))
            cache[gain, precision] = net.to(DTYPES[precision])
        return cache[gain, precision]

    return get


def distill_views(recipes, precision):
    x1, ref1, x2, ref2 = (torch.from_numpy(a).to(DTYPES[precision]) for a in recipes.distill_inputs())
    return x1.requires_grad_(), ref1.requires_grad_(), x2.requires_grad_(), ref2.requires_grad_()


@pytest.mark.parametrize('case', cases('distill'))
def test_distance_losses(case, recipes, feature_nets):
    _, gain, precision, term, kind = case.split('/')
    options = dict(type='PairwiseDistanceLoss', feature_net=None)
    if term == 'inter':
        options.update(inter_distance=kind, intra_weight=0)
    else:
        distance, criterion = kind.split(',')
        options.update(intra_distance=distance, intra_criterion=RENAMED.get(criterion, criterion), inter_weight=0)
    loss = build_loss(options)
    loss.feature_net = feature_nets(gain, precision)
    x1, ref1, x2, ref2 = distill_views(recipes, precision)
    l_inter, l_intra = loss(x1, ref1, x2, ref2)
    value, other = (l_inter, l_intra) if term == 'inter' else (l_intra, l_inter)
    assert other is None
    assert_close(f'{case}/value', value.item(), precision)
    value.backward()
    assert ref1.grad is None
    assert ref2.grad is None
    assert_gradient(recipes, f'{case}/d_x1', x1.grad, precision)
    assert_gradient(recipes, f'{case}/d_x2', x2.grad, precision)


def test_zero_distance_has_no_gradient_and_no_nan(recipes, feature_nets):
    loss = build_loss(dict(type='PairwiseDistanceLoss', intra_weight=0, feature_net=None))
    loss.feature_net = feature_nets('hot', 'f64')
    _, ref1, _, ref2 = (x.detach() for x in distill_views(recipes, 'f64'))
    x1 = ref1.clone().requires_grad_()
    value, _ = loss(x1, ref1, ref2, ref2)
    value.backward()
    prefix = 'distill/hot/f64/zero_distance/gram_change'
    assert value.item() == pytest.approx(float(FIXTURES[f'{prefix}/inter']), abs=1e-12)
    assert x1.grad.norm().item() == pytest.approx(float(FIXTURES[f'{prefix}/inter_grad_norm_x1']), abs=1e-12)


@pytest.mark.parametrize('case', cases('wvt'))
def test_wavelet_loss(case, recipes):
    _, precision, kind = case.split('/')
    options = {'option': dict(loss_weight=0.5, weights=[1, 0.1, 0.01]), 'default': {}}[kind]
    pred, target = (torch.from_numpy(a).to(DTYPES[precision]) for a in recipes.pair_inputs())
    value = build_loss(dict(type='HaarWaveletLoss', **options))(pred.requires_grad_(), target)
    assert_close(f'{case}/value', value.item(), precision)
    value.backward()
    assert_gradient(recipes, f'{case}/d_pred', pred.grad, precision)


# the fixtures' weights, 0.7 and 1.3, show in the values: the reference's at weight 1 times these
PERCEPTUAL = {
    'option': dict(perceptual_weight=1.0, style_weight=0, criterion='l1'),
    'fro_style': dict(perceptual_weight=0.7, style_weight=1.3, criterion='fro'),
    'l1_style': dict(perceptual_weight=0, style_weight=1.3, criterion='l1'),
}


@pytest.mark.parametrize('case', cases('percep'))
def test_perceptual_loss(case, recipes, feature_nets):
    _, gain, precision, kind, term = case.split('/')
    loss = FeaturePerceptualLoss(recipes.LAYER_WEIGHTS_PERCEP, **PERCEPTUAL[kind])
    pred, target = (torch.from_numpy(a).to(DTYPES[precision]) for a in recipes.pair_inputs())
    pred.requires_grad_()
    images = {'pred': pred, 'target': target}
    features = FeatureBank(feature_nets(gain, precision)).extract(images, dict.fromkeys(images, loss.layers))
    value = loss.terms(features['pred'], features['target'])[f'l_g_{term}']
    assert_close(f'{case}/value', value.item(), precision)
    value.backward()
    assert_gradient(recipes, f'{case}/d_pred', pred.grad, precision)


@pytest.mark.parametrize('case', cases('gan'))
def test_gan_loss(case, recipes):
    """BasicSR's own loss is the one meant: weight 1e-2 for the generator, 1 for the discriminator."""
    _, precision, kind, side = case.split('/')
    logit = torch.from_numpy(recipes.logit_input()).to(DTYPES[precision]).requires_grad_()
    loss = build_loss(dict(type='GANLoss', gan_type=kind, loss_weight=1e-2))
    value = loss(logit, side != 'd_fake', is_disc=side != 'g')
    assert_close(f'{case}/value', value.item(), precision)
    value.backward()
    assert_gradient(recipes, f'{case}/d_logit', logit.grad, precision)


def test_every_fixture_is_used():
    """No group of the fixtures is left out by the parametrisation above."""
    used = {k for group in ('distill', 'wvt', 'percep', 'gan') for k in cases(group)}
    named = {re.sub(r'/(value|d_\w+/(norm|sum|sample))$', '', k) for k in FIXTURES.files}
    assert {k for k in named if k not in used and '/zero_distance/' not in k} == set()
