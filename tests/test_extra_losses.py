"""``train.extra_losses``: any registered loss, on either domain, beside the named ones."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from basicsr.losses.basic_loss import CharbonnierLoss, L1Loss, WeightedTVLoss
from basicsr.utils.registry import LOSS_REGISTRY
from helpers import NO_D, SMALL_LAYERS, batch, build, merge, options, release_logger, run_options, step
from torch import nn

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run
from pdd_arch.errors import OptionError
from pdd_arch.losses.extra import default_name, takes_target
from pdd_arch.models import PDDModel
from pdd_arch.options.run_options import RunOptions
from pdd_arch.preflight.run import check_plan

#: one of every kind; names that appear in the log
EXTRAS = {
    'on images': (dict(type='CharbonnierLoss', loss_weight=0.1), ['l_charbonnier']),
    'on outputs for the target domain': (dict(type='L1Loss', on='target', name='toward'), ['l_toward']),
    'of the prediction alone': (dict(type='WeightedTVLoss', on='target', loss_weight=0.01), ['l_weighted_tv']),
    'on features': (
        dict(type='PerceptualLoss', layer_weights=SMALL_LAYERS, style_weight=1.0, criterion='fro', loss_weight=0.5),
        ['l_perceptual_g_percep', 'l_perceptual_g_style'],
    ),
    'on features of the target domain': (
        dict(type='PerceptualLoss', on='target', layer_weights=SMALL_LAYERS, name='seen'),
        ['l_seen'],
    ),
    'a second distillation': (
        dict(type='FeatureDistillationLoss', on='target', layers=SMALL_LAYERS, name='fitnets'),
        ['l_fitnets'],
    ),
    'a distillation with several terms': (
        dict(type='PairwiseDistanceLoss', on='target', inter_layers=SMALL_LAYERS, intra_layers=SMALL_LAYERS),
        ['l_pairwise_distance_inter', 'l_pairwise_distance_intra'],
    ),
    'a distillation that couples images': (
        dict(type='ContrastiveDistillationLoss', on='target', layers=SMALL_LAYERS),
        ['l_contrastive_distillation'],
    ),
}
TARGET = ('l_toward', 'l_weighted_tv', 'l_seen', 'l_fitnets', 'l_pairwise', 'l_contrastive')


def check(extra, **changes):
    opt = merge(run_options(), changes)
    opt['train']['extra_losses'] = extra if isinstance(extra, list) else [extra]
    return check_plan(RunOptions.of(opt))


@pytest.mark.parametrize('kind', EXTRAS)
def test_logged_and_trained_with(workplace, kind):
    section, names = EXTRAS[kind]
    check(section)
    plain, more = (build(train=dict(extra_losses=extra)) for extra in (None, [section]))
    logs = []
    for model in (plain, more):
        logs.append([step(model, i) for i in (1, 2)])
    for i in (0, 1):
        expected = [name for name in names if i or not name.startswith(TARGET)]  # distillation begins in the second
        assert [name for name in logs[1][i] if name not in logs[0][i]] == expected
    assert logs[0][0].items() <= logs[1][0].items()  # the other terms are what they were
    assert any(not torch.equal(a, b) for a, b in zip(plain.net_g.parameters(), more.net_g.parameters(), strict=True))


def test_value_on_each_domain():
    """A supervised pair, and student against teacher: as the loss itself says of those outputs."""
    extra = [dict(type='L1Loss', name='a'), dict(type='MSELoss', on='target', loss_weight=3.0, name='b')]
    model = build(**merge(NO_D, dict(train=dict(extra_losses=extra))))
    step(model, 1)
    data = batch(seed=2)
    with torch.no_grad():
        s, t = (model.net_g(data[key]) for key in ('lq', 'lq_real'))
        t_teacher = model.net_teacher(data['lq_real'])
    log = step(model, 2)
    torch.testing.assert_close(log['l_a'], (s - data['gt']).abs().mean().item())
    torch.testing.assert_close(log['l_b'], 3 * ((t - t_teacher) ** 2).mean().item())


def test_only_extra_losses_on_the_target_domain():
    """They distil without `distill_opt`: the teacher is built, and begins after the warm-up."""
    changes = dict(distill_opt=None, extra_losses=[dict(type='L1Loss', on='target')])
    model = build(**merge(NO_D, dict(train=changes)))
    assert 'l_l1' not in step(model, 1)
    assert 'l_l1' in step(model, 2)


@pytest.mark.parametrize('kind', EXTRAS)
def test_accumulated_parts_are_the_whole(kind):
    torch.set_default_dtype(torch.float64)
    try:
        found = []
        for parts in (1, 2):
            model = build(train=dict(extra_losses=[EXTRAS[kind][0]], accumulate=parts, distill_opt=None))
            for net in (model.net_g, model.net_d, model.net_g_ema, *filter(None, [model.feature_net])):
                net.double()
            # the student has to have moved for the norms to have a gradient
            torch.manual_seed(0)
            with torch.no_grad():
                for p in model.net_g.parameters():
                    p.add_(0.01 * torch.randn_like(p))
            log = {}
            for i in (2, 3):
                model.feed_data(batch(seed=i, n=4, dtype=torch.float64))
                model.optimize_parameters(i)
                log = dict(model.get_current_log())
            found.append((log, [p.detach().clone() for p in model.net_g.parameters()]))
        for name, value in found[0][0].items():
            assert found[1][0][name] == pytest.approx(value, rel=1e-9)
        for a, b in zip(found[0][1], found[1][1], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-10)
    finally:
        torch.set_default_dtype(torch.float32)


class _Two(nn.Module):
    def forward(self, pred, target):
        return (pred - target).abs().mean(), 0


class _Map(nn.Module):
    def forward(self, pred, target):
        return (pred - target).abs()


class _Constant(nn.Module):
    def forward(self, pred, target):
        return target.mean()


class _Fails(nn.Module):
    def forward(self, pred, target):
        return (pred - target[:, :, :-1]).mean()


class _Three(nn.Module):
    def forward(self, pred, target, mask):
        return pred.mean()


@pytest.fixture
def own_losses(monkeypatch):
    own = {cls.__name__: cls for cls in (_Two, _Map, _Constant, _Fails, _Three)}
    own['a_function'] = lambda pred, target: (pred - target).abs().mean()
    monkeypatch.setattr(LOSS_REGISTRY, '_obj_map', LOSS_REGISTRY._obj_map | own)


WRONG = {
    'unknown': (dict(type='CharbonierLoss'), r"\[0\].type: no loss .* Did you mean 'CharbonnierLoss'.*--import"),
    'no type': (dict(loss_weight=1), r'extra_losses\[0\].type: missing'),
    'no section': (['L1Loss'], r"extra_losses\[0\]: expected a section, found 'L1Loss'"),
    'unknown domain': (dict(type='L1Loss', on='real'), r"\[0\].on: expected 'synthetic' or 'target', found 'real'"),
    'unknown keyword': (dict(type='L1Loss', los_weight=1), r"\[0\].los_weight: L1Loss has no such option"),
    'weight that is a word': (dict(type='L1Loss', loss_weight='1'), r"\[0\].loss_weight: expected a number, found '1'"),
    'GAN': (dict(type='GANLoss', gan_type='vanilla'), r'GANLoss does not belong here. Put it into train.gan_opt'),
    'distillation on pairs': (dict(type='OutputDistillationLoss'), r'\[0\].on: synthetic, but .* Set on: target'),
    'its own feature network': (
        dict(type='FeatureDistillationLoss', on='target', feature_net=dict(type='vgg16')),
        r'\[0\].feature_net: all losses share train.feature_net',
    ),
    'unknown layer': (
        dict(type='PerceptualLoss', layer_weights={'conv9_9': 1.0}),
        r'extra_losses\[0\].*conv9_9',
    ),
    'name that is taken': (dict(type='L1Loss', name='l_g_pix'), 'it would be logged as l_g_pix, as a loss of another'),
    'name of two words': (dict(type='L1Loss', name='two words'), r"\[0\].name: .* found 'two words'"),
    'twice the same': ([dict(type='L1Loss'), dict(type='L1Loss')], r'\[1\]: .* l_l1, as train.extra_losses\[0\] is'),
    'two numbers': (dict(type='_Two'), r'_Two gives a tuple, expected one number'),
    'a map': (dict(type='_Map'), r'l__?map has shape \(2, 3, 32, 32\), expected one number'),
    'no reduction': (dict(type='L1Loss', reduction='none'), r'l_l1 has shape'),
    'no gradient': (dict(type='_Constant'), 'has no gradient'),
    'it fails': (dict(type='_Fails'), r'test_extra_losses.py line \d+: RuntimeError: The size of tensor a'),
    'three arguments': (dict(type='_Three'), r'_Three fails .*TypeError'),
    'a function': (dict(type='a_function'), 'a_function is no class of losses'),
    'too small a batch': (
        [dict(type='ContrastiveDistillationLoss', on='target', layers=SMALL_LAYERS)],
        r'extra_losses\[0\] compares the images of a batch',
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', WRONG)
def test_what_is_wrong_is_said_before_the_run(workplace, own_losses, case):
    section, words = WRONG[case]
    changes = dict(datasets=dict(train=dict(batch_size_per_gpu=1))) if case == 'too small a batch' else {}
    with pytest.raises(OptionError) as caught:
        check(section, **changes)
    assert re.search(words, str(caught.value)), caught.value


def test_needs_a_teacher(workplace):
    opt = dict(train=dict(teacher='static', distill_opt=None, distill_warmup_iters=None))
    with pytest.raises(OptionError, match=r'^network_teacher: missing'):
        check(dict(type='L1Loss', on='target'), **opt)
    check(dict(type='L1Loss'), **opt)


def test_name_of_a_term_of_another_loss():
    extra = [dict(type='OutputDistillationLoss', on='target', name='x'), dict(type='L1Loss', name='x_inter')]
    extra[0] = dict(
        type='PairwiseDistanceLoss', on='target', name='x', inter_layers=SMALL_LAYERS, intra_layers=SMALL_LAYERS
    )
    model = build(**merge(NO_D, dict(train=dict(extra_losses=extra))))
    step(model, 1)
    with pytest.raises(OptionError, match='two losses are logged as l_x_inter'):
        step(model, 2)


def test_check_and_run(workplace, capfd):
    opt = run_options(train=dict(extra_losses=[EXTRAS['on images'][0], EXTRAS['on features of the target domain'][0]]))
    Path('run.yml').write_text(yaml.safe_dump(opt))
    release_logger()
    assert run('basicsr', main, ['train', '-opt', 'run.yml', '--check']) == 0
    out = capfd.readouterr().out
    assert 'extra loss:     CharbonnierLoss on synthetic, in the log as l_charbonnier\n' in out
    assert 'in the log as l_seen; from iteration 2' in out
    assert 'memory:         about' in out
    assert run('basicsr', main, ['train', '-opt', 'run.yml']) == 0
    err = capfd.readouterr().err
    assert 'l_charbonnier: ' in err
    assert 'l_seen: ' in err


@pytest.mark.parametrize('precision', ['bf16'])
def test_other_precisions(precision):
    model = build(train=dict(precision=precision, recompute=True, extra_losses=[s for s, _ in EXTRAS.values()]))
    for i in (1, 2):
        log = step(model, i)
    assert {name for _, names in EXTRAS.values() for name in names} <= log.keys()


def test_options_without_extra_losses_build_none():
    assert PDDModel(options()).losses.extra == ()
    assert PDDModel(options(train=dict(extra_losses=[]))).losses.extra == ()


def test_names_and_arguments():
    assert [default_name(n) for n in ('HaarWaveletLoss', 'MSELoss', 'L1Loss', 'Loss')] == [
        'haar_wavelet', 'mse', 'l1', 'loss'
    ]  # fmt: skip
    assert [takes_target(cls()) for cls in (L1Loss, CharbonnierLoss, WeightedTVLoss, _Two)] == [True, True, False, True]
