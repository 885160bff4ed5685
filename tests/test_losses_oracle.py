"""Losses and gradients against the reference numbers: 1e-9 relative in float64, 1e-4 in float32.

The gradient jumps where a ReLU, a maximum or an absolute value changes sides. Convolutions round differently on
different processors, so that a few of millions of float32 values change sides, which moves a gradient by up to 1e-2.
Where it is not that of the reference, it must be the gradient of our own float64 computation (which is held to the
reference by 1e-9) with every value on the side that it has in float32, to the same 1e-4.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from basicsr.losses import build_loss
from torch.overrides import TorchFunctionMode

from pdd_arch.features import FeatureNet
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


def stored(prefix):
    """The summary of a gradient in the fixtures: norm, sum and sample."""
    return tuple(FIXTURES[f'{prefix}/{part}'] for part in ('norm', 'sum', 'sample'))


def deviation(summary, expected):
    """Largest deviation of a gradient from another, in units of the tolerance for its norm."""
    norm, total, sample = expected
    relative = abs(summary[0] - norm) / norm
    # the sum cancels: its error is measured against the norm
    of_sum = abs(summary[1] - total) / norm / 10
    return max(relative, of_sum, np.abs(summary[2] - sample).max() / np.abs(sample).max() / 10)


def assert_gradient(recipes, prefix, gradient, precision):
    assert deviation(recipes.grad_summary(gradient.numpy()), stored(prefix)) <= RELATIVE[precision]


class Sides(TorchFunctionMode):
    """Records on which side of a kink each value is, or puts the values of another pass on the sides recorded."""

    def __init__(self, recorded=None):
        super().__init__()
        self.recorded, self.taken, self.changed, self.values = recorded, [], 0, 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is F.relu:
            return args[0] * self._side(args[0] > 0)
        if function is torch.Tensor.abs:
            return args[0] * self._side(args[0].sign())
        if function is F.l1_loss:
            difference = args[0] - args[1]
            return (difference * self._side(difference.sign())).mean()
        if function is F.max_pool2d:
            _, where = function(*args, **kwargs | {'return_indices': True})
            return args[0].flatten(2).gather(2, self._side(where).flatten(2)).reshape(where.shape)
        return function(*args, **kwargs)

    def _side(self, own):
        side = own if self.recorded is None else self.recorded[len(self.taken)].to(own.dtype)
        self.taken.append(side)
        self.changed, self.values = self.changed + int((side != own).sum()), self.values + own.numel()
        return side


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
    found = [recipes.grad_summary(x.grad.numpy()) for x in (x1, x2)]
    expected = [stored(f'{case}/d_{name}') for name in ('x1', 'x2')]
    if precision == 'f32' and max(map(deviation, found, expected)) > RELATIVE['f32']:
        expected = gradients_with_sides_of_float32(recipes, loss, gain, feature_nets)
    assert max(map(deviation, found, expected)) <= RELATIVE[precision]


def gradients_with_sides_of_float32(recipes, loss, gain, feature_nets):
    """Summaries of the gradients in float64 of x1 and x2, with every value on the side that float32 puts it on."""
    recorded = None
    for precision in ('f32', 'f64'):
        loss.feature_net = feature_nets(gain, precision)
        views = distill_views(recipes, precision)
        with Sides(recorded) as sides:
            value = sum(term for term in loss(*views) if term is not None)
        recorded = sides.taken
    # rounding moves a value across zero where it is within some 1e-6 of it: otherwise it is a mistake
    assert 0 < sides.changed < 1e-5 * sides.values
    return [recipes.grad_summary(g.numpy()) for g in torch.autograd.grad(value, (views[0], views[2]))]


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
    features = feature_nets(gain, precision).extract(images, dict.fromkeys(images, loss.layers))
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
