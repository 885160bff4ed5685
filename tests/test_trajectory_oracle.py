"""Twelve iterations of the whole training step against the reference code's numbers.

Float64: 1e-9 relative everywhere. Float32: the tolerances that separate noise from error (tests/oracle/README.md).
"""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from basicsr.models import build_model
from helpers import TINY_G, options
from torch import nn

FIXTURES = np.load(Path(__file__).parent / 'oracle' / 'trajectories.npz')
META = json.loads(str(FIXTURES['meta_json']))
CONFIGS = META['configs']
KEYS = [str(k) for k in FIXTURES['keys']]
DTYPES = {'f32': torch.float32, 'f64': torch.float64}


def build_run(config, recipes, weights):
    """The model of a configuration that is described with the released code's names, filled by the recipe."""
    ema = config['use_net_g_ema']
    train = dict(
        teacher='ema' if ema else 'static',
        ema_decay=config['ema_decay'],
        feature_net=dict(type='vgg19', weights=weights),
        distill_opt=dict(inter_layers=None, intra_layers=None),  # the defaults: the released option files' layers
        distill_warmup_iters=config['domain_opt_warmup_iters'],
        detach_synthetic=config['domain_opt_detach'],
        gan_on_real=not config.get('domain_opt_wogan', False),
        net_d_iters=config.get('net_d_iters', 1),
        net_d_init_iters=config['net_d_init_iters'],
        scheduler=dict(milestones=config.get('milestones', [1000])),
    )
    opt = options(network_teacher=None if ema else TINY_G, train=train)
    opt['train']['perceptual_opt']['layer_weights'] = recipes.LAYER_WEIGHTS_PERCEP
    model = build_model(opt)
    fill = {'net_g': recipes.G_SEED, 'net_g_ema': recipes.G_SEED, 'net_d': recipes.D_SEED}
    if not ema:
        fill['net_teacher'] = recipes.GFIX_SEED
    for name, seed in fill.items():
        recipes.fill_module(getattr(model, name), seed)
    return model


@pytest.fixture(params=[(c, p) for c in CONFIGS for p in DTYPES], ids='-'.join, scope='module')
def run(request, recipes, vgg19_weights):
    """One configuration, run: the model, its log per iteration, and what is needed to compare."""
    name, precision = request.param
    dtype = DTYPES[precision]
    model = build_run(CONFIGS[name], recipes, vgg19_weights('cool' if name.endswith('_cool') else 'hot'))
    for module in vars(model).values():
        if isinstance(module, nn.Module):
            module.to(dtype)
    logs, rates = [], []
    for iteration in range(1, 13):
        model.update_learning_rate(iteration, warmup_iter=-1)
        arrays = recipes.step_inputs(iteration)
        model.feed_data(
            {k: torch.from_numpy(a).to(dtype) for k, a in zip(('lq', 'gt', 'lq_real'), arrays, strict=True)}
        )
        model.optimize_parameters(iteration)
        logs.append(dict(model.get_current_log()))
        rates.append([o.param_groups[0]['lr'] for o in model.optimizers])
    return SimpleNamespace(
        model=model,
        name=name,
        prefix=f'{name}/{precision}',
        double=precision == 'f64',
        logs=logs,
        rates=rates,
    )


def test_logged_losses(run):
    expected = FIXTURES[f'{run.prefix}/log']
    for i, (row, log) in enumerate(zip(expected, run.logs, strict=True)):
        assert set(log) == {k for k, v in zip(KEYS, row, strict=True) if not np.isnan(v)}, f'iteration {i + 1}'
        for key, value in zip(KEYS, row, strict=True):
            if np.isnan(value):
                continue
            if run.double:
                tolerance = dict(rel=1e-9)
            elif key.startswith('out_d'):
                tolerance = dict(abs=3e-5)
            else:
                tolerance = dict(rel=1e-4 if i < 6 else 2e-3)
            assert log[key] == pytest.approx(value, **tolerance), f'{key} in iteration {i + 1}'


def test_log_keys_come_in_order(run):
    order = META['order_of_log_keys'][run.name]
    assert [list(log) for log in run.logs] == order


@pytest.mark.parametrize('net', ['net_g', 'net_g_ema', 'net_d'])
def test_final_weights(run, recipes, net):
    module = getattr(run.model, net)
    sample = recipes.flat_params(module)[:: recipes.PARAM_STRIDE]
    expected = FIXTURES[f'{run.prefix}/final_sample/{net}']
    tolerance = dict(rtol=1e-9, atol=1e-12) if run.double else dict(rtol=0, atol=5e-5)
    np.testing.assert_allclose(sample, expected, **tolerance)
    relative = 1e-9 if run.double else 1e-4
    expected = FIXTURES[f'{run.prefix}/final_param_norms/{net}']
    np.testing.assert_allclose(recipes.param_norms(module), expected, rtol=relative, atol=relative)


def test_spectral_norm_vectors(run, recipes):
    """One power iteration per forward of D: three in an iteration that updates S, two in one that does not."""
    expected = FIXTURES[f'{run.prefix}/final_sn_buffers_net_d']
    tolerance = 1e-9 if run.double else 1e-4
    np.testing.assert_allclose(recipes.flat_buffers(run.model.net_d), expected, rtol=tolerance, atol=tolerance)


def test_learning_rates(run):
    np.testing.assert_allclose(run.rates, FIXTURES[f'{run.prefix}/lr_g_d'], rtol=1e-12)
