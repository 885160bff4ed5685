"""Metrics as BasicSR's validation calls them."""

import lpips
import numpy as np
import pytest
import torch
import torchvision
from basicsr.metrics import calculate_metric

from pdd_arch.errors import DataError, MissingFileError, OptionError, WeightsError
from pdd_arch.metrics import feature_distance, lpips_metric
from pdd_arch.utils import download

RANDOM = dict(type='squeezenet1_1', weights='random')


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    img = rng.integers(0, 256, (72, 80, 3), dtype=np.uint8)
    noisy = np.clip(img + rng.normal(0, 20, img.shape), 0, 255).astype(np.uint8)
    return dict(img=noisy, img2=img)


@pytest.fixture
def trunk(tmp_path):
    torch.manual_seed(0)
    file = tmp_path / 'alexnet.pth'
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), file)
    lpips_metric._network.cache_clear()
    return str(file)


def test_lpips_equals_the_package(pair, trunk):
    """The same trunk put into the package's own network gives the same number."""
    value = calculate_metric(
        pair, dict(type='calculate_lpips', crop_border=4, net='alex', weights=trunk, better='lower')
    )
    torch.manual_seed(0)
    model = lpips.LPIPS(net='alex', pnet_rand=True, verbose=False).eval()
    features = torchvision.models.alexnet(weights=None).features
    features.load_state_dict({k[9:]: v for k, v in torch.load(trunk).items() if k.startswith('features')})
    numbered = dict(features.named_children())
    for part in (model.net.slice1, model.net.slice2, model.net.slice3, model.net.slice4, model.net.slice5):
        for number, module in part.named_children():
            module.load_state_dict(numbered[number].state_dict())
    a, b = (
        torch.from_numpy(x[4:-4, 4:-4, ::-1].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        for x in (pair['img'], pair['img2'])
    )
    with torch.no_grad():
        assert value == pytest.approx(model(a, b).item(), rel=1e-5)
    assert value > 0
    assert lpips_metric._network.cache_info().misses == 1


def test_lpips_is_built_once(pair, trunk):
    for _ in range(3):
        calculate_metric(pair, dict(type='calculate_lpips', crop_border=0, weights=trunk))
    assert lpips_metric._network.cache_info().misses == 1


def test_lpips_without_weights_is_an_error(pair, monkeypatch, tmp_path):
    lpips_metric._network.cache_clear()
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(download, '_request', lambda *a: (_ for _ in ()).throw(OSError('offline')))
    with pytest.raises(MissingFileError, match=r'alexnet-owt-7be5be79\.pth, which is not at.*\(OSError: offline\)'):
        calculate_metric(pair, dict(type='calculate_lpips', crop_border=0))
    with pytest.raises(OptionError, match=r"unknown network 'alexx'.*Did you mean 'alex'"):
        calculate_metric(pair, dict(type='calculate_lpips', crop_border=0, net='alexx'))


def test_lpips_with_the_weights_of_another_network(pair, trunk):
    with pytest.raises(WeightsError, match='not a torchvision state dict of vgg16'):
        calculate_metric(pair, dict(type='calculate_lpips', crop_border=0, net='vgg', weights=trunk))


def test_feature_distance(pair):
    options = dict(type='calculate_feature_distance', crop_border=4, feature_net=RANDOM, better='lower')
    value = calculate_metric(pair, options)
    assert 0 < value < 4
    assert calculate_metric(dict(img=pair['img2'], img2=pair['img2']), options) == 0
    grey = dict(img=np.full_like(pair['img2'], 128), img2=pair['img2'])
    assert calculate_metric(grey, options) > value
    chw = {k: v.transpose(2, 0, 1) for k, v in pair.items()}
    assert calculate_metric(chw, options | dict(input_order='CHW')) == pytest.approx(value)


def test_feature_distance_by_its_definition(pair):
    net = feature_distance.FeatureNet(['features.1'], **RANDOM)
    a, b = (torch.from_numpy(x[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255 for x in pair.values())
    with torch.no_grad():
        fa, fb = (net(x)['features.1'] for x in (a, b))
        expected = 2 - 2 * torch.nn.functional.cosine_similarity(fa, fb, dim=1)
        found = feature_distance.feature_distance(a, b, net)
    # |a/|a| - b/|b||^2 = 2 - 2 cos, where neither vector is zero
    assert (fa.norm(dim=1) > 0).all()
    assert (fb.norm(dim=1) > 0).all()
    torch.testing.assert_close(found, expected.mean((1, 2)), rtol=1e-4, atol=1e-6)


def test_sizes_must_agree(pair):
    pair['img2'] = pair['img2'][:-4]
    with pytest.raises(DataError, match=r'differ in size: \(72, 80\) and \(68, 80\)'):
        calculate_metric(pair, dict(type='calculate_feature_distance', crop_border=0, feature_net=RANDOM))


def test_crop_that_leaves_nothing(pair):
    with pytest.raises(DataError, match='crop_border: 36 leaves nothing'):
        calculate_metric(pair, dict(type='calculate_feature_distance', crop_border=36, feature_net=RANDOM))


def test_iqa_without_pyiqa_says_what_to_install(pair, monkeypatch):
    import sys

    from pdd_arch.metrics import iqa

    iqa._metric.cache_clear()
    monkeypatch.setitem(sys.modules, 'pyiqa', None)
    with pytest.raises(OptionError, match='pip install pyiqa'):
        calculate_metric(pair, dict(type='calculate_iqa', crop_border=0, metric='dists'))
