"""Metrics as BasicSR's validation calls them, against the packages that they come from."""

import functools

import cv2
import lpips
import numpy as np
import piq
import pytest
import skimage.data
import skimage.metrics
import torch
import torch.nn.functional as F
import torchvision
from basicsr.metrics import calculate_metric

from pdd_arch.errors import DataError, MissingFileError, OptionError, WeightsError
from pdd_arch.metrics import availability, dists_metric, feature_distance, lpips_metric
from pdd_arch.weights import download

RANDOM = dict(type='squeezenet1_1', weights='random')
#: of BasicSR's calculate_niqe with 4 border pixels cut; numpy 2.4, opencv 5.0, scipy 1.17
NIQE_OF_COFFEE = 4.0794


@pytest.fixture(scope='module')
def pair():
    """A stored photograph (BGR, as OpenCV reads it), and what JPEG and noise made of it."""
    truth = np.ascontiguousarray(skimage.data.astronaut()[100:292, 150:350, ::-1])
    jpeg = cv2.imdecode(cv2.imencode('.jpg', truth, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)
    noise = np.random.default_rng(0).normal(0, 8, truth.shape)
    return dict(img=np.clip(jpeg + noise, 0, 255).astype(np.uint8), img2=truth)


@functools.cache
def features_of(network):
    """A trunk with seeded weights: the ImageNet ones are not on this machine, and a comparison needs none."""
    torch.manual_seed(0)
    with torch.device('meta'):
        features = getattr(torchvision.models, network)(weights=None).features
    features.to_empty(device='cpu')
    for module in features.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
            torch.nn.init.normal_(module.bias, std=0.05)
    return features.requires_grad_(False)


@pytest.fixture(scope='module')
def trunks(tmp_path_factory):
    """Function of a network's name: the file of its weights, in torchvision's form without the classifier."""
    folder = tmp_path_factory.mktemp('trunks')

    def path(network):
        file = folder / f'{network}.pth'
        if not file.exists():
            torch.save({f'features.{k}': v for k, v in features_of(network).state_dict().items()}, file)
        return str(file)

    return path


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """An empty cache, and no network."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(download, '_request', lambda *a: (_ for _ in ()).throw(OSError('offline')))
    lpips_metric.network.cache_clear()
    dists_metric.network.cache_clear()
    return tmp_path


def rgb_tensor(image, crop=4):
    inner = np.ascontiguousarray(image[crop:-crop, crop:-crop, ::-1])
    return torch.from_numpy(inner).permute(2, 0, 1)[None].float() / 255


# ---------------------------------------------------------------- PSNR, SSIM, NIQE: BasicSR's own
@pytest.mark.parametrize('luma', [False, True])
def test_psnr_and_ssim_equal_scikit_image(pair, luma):
    a, b = (x[4:-4, 4:-4].astype(float) for x in pair.values())
    if luma:  # BT.601 with head and foot room, as MATLAB's rgb2ycbcr; the images are BGR
        a, b = (x @ np.array([24.966, 128.553, 65.481]) / 255 + 16 for x in (a, b))
    psnr, ssim = (
        calculate_metric(pair, dict(type=f'calculate_{name}', crop_border=4, test_y_channel=luma))
        for name in ('psnr', 'ssim')
    )
    assert psnr == pytest.approx(skimage.metrics.peak_signal_noise_ratio(b, a, data_range=255), abs=1e-3)
    gaussian = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=None if luma else 2)
    expected = skimage.metrics.structural_similarity(b, a, data_range=255, **gaussian)
    assert ssim == pytest.approx(expected, abs=1e-3)


def test_niqe_on_this_stack():
    """BasicSR's code, which its authors compared with MATLAB's; what is held here is its own value."""
    coffee = np.ascontiguousarray(skimage.data.coffee()[..., ::-1])
    value = calculate_metric(dict(img=coffee), dict(type='calculate_niqe', crop_border=4))
    assert value == pytest.approx(NIQE_OF_COFFEE, abs=1e-3)
    blurred = cv2.GaussianBlur(coffee, (0, 0), 2)
    assert calculate_metric(dict(img=blurred), dict(type='calculate_niqe', crop_border=4)) > value


# ---------------------------------------------------------------- LPIPS
@pytest.mark.parametrize('net', lpips_metric.TRUNKS)
def test_lpips_equals_the_package(pair, trunks, net):
    """The same trunk put into the package's own network gives the same number; its linear layers are the published."""
    trunk = lpips_metric.TRUNKS[net]
    value = calculate_metric(
        pair, dict(type='calculate_lpips', crop_border=4, net=net, weights=trunks(trunk), better='lower')
    )
    model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    numbered = dict(features_of(trunk).named_children())
    for name, part in model.net.named_children():
        for number, module in part.named_children():
            assert name.startswith('slice')
            module.load_state_dict(numbered[number].state_dict())
    with torch.no_grad():
        expected = model(*(rgb_tensor(x) * 2 - 1 for x in pair.values())).item()
    assert value == pytest.approx(expected, rel=1e-4)
    assert value == pytest.approx(expected, abs=1e-3)
    assert expected > 1e-3


def test_lpips_is_built_once(pair, trunks):
    lpips_metric.network.cache_clear()
    for _ in range(3):
        calculate_metric(pair, dict(type='calculate_lpips', crop_border=0, weights=trunks('alexnet')))
    assert lpips_metric.network.cache_info().misses == 1


@pytest.mark.parametrize('zipped', [True, False])
def test_lpips_keeps_nothing_of_its_file(pair, trunks, tmp_path, zipped):
    """Of a large file the part that is needed is read in place; what becomes of the file later must not matter."""
    file = tmp_path / 'alexnet.pth'
    torch.save(torch.load(trunks('alexnet')), file, _use_new_zipfile_serialization=zipped)
    options = dict(type='calculate_lpips', crop_border=4)
    expected = calculate_metric(pair, options | dict(weights=trunks('alexnet')))
    assert calculate_metric(pair, options | dict(weights=str(file))) == expected
    file.write_bytes(bytes(file.stat().st_size))
    assert calculate_metric(pair, options | dict(weights=str(file))) == expected


def test_lpips_of_several_pairs_at_once(pair, trunks):
    model = lpips_metric.network('alex', trunks('alexnet'))
    a, b = (rgb_tensor(x) for x in pair.values())
    with torch.no_grad():
        found = lpips_metric.distance(model, torch.cat([a, b]), torch.cat([b, b]))
        expected = model(a, b, normalize=True).flatten()
    torch.testing.assert_close(found, torch.cat([expected, torch.zeros(1)]), rtol=0, atol=1e-6)


def test_lpips_without_weights_is_an_error(pair, offline):
    with pytest.raises(MissingFileError, match=r'alexnet-owt-7be5be79\.pth, which is not at.*\(OSError: offline\)'):
        calculate_metric(pair, dict(type='calculate_lpips', crop_border=0))
    with pytest.raises(OptionError, match=r"unknown network 'alexx'.*Did you mean 'alex'"):
        calculate_metric(pair, dict(type='calculate_lpips', crop_border=0, net='alexx'))


def test_lpips_with_the_weights_of_another_network(pair, trunks):
    with pytest.raises(WeightsError, match='not a torchvision state dict of vgg16'):
        calculate_metric(pair, dict(type='calculate_lpips', crop_border=0, net='vgg', weights=trunks('alexnet')))


# ---------------------------------------------------------------- DISTS
@pytest.fixture(scope='module')
def channel_weights():
    """Seeded alpha and beta; as in the authors' code, they are divided by their sum when they are used."""
    generator = torch.Generator().manual_seed(0)
    return {k: torch.rand(1, 1475, 1, 1, generator=generator) for k in ('alpha', 'beta')}


@pytest.fixture(scope='module')
def dists(trunks, channel_weights, tmp_path_factory):
    file = tmp_path_factory.mktemp('dists') / 'weights.pt'
    torch.save(channel_weights, file)
    return dict(type='calculate_dists', crop_border=4, weights=trunks('vgg16'), dists_weights=str(file))


def test_dists_equals_piq(pair, dists, channel_weights, monkeypatch):
    """piq's own constructor, given the same files in place of its downloads; it expects weights whose sum is 1."""
    total = sum(v.sum() for v in channel_weights.values())
    normalised = {k: v / total for k, v in channel_weights.items()}
    monkeypatch.setattr(torch.hub, 'load_state_dict_from_url', lambda *a, **k: normalised)

    def vgg16(**_):
        with torch.device('meta'):
            net = torchvision.models.vgg16(weights=None)
        net.features.load_state_dict(features_of('vgg16').state_dict(), assign=True)
        return net

    monkeypatch.setattr(piq.perceptual, 'vgg16', vgg16)
    model = piq.DISTS()
    value = calculate_metric(pair, dists)
    assert 0 < value < 1
    large = {k: np.pad(v, ((0, 80), (0, 80), (0, 0)), mode='reflect') for k, v in pair.items()}
    with torch.no_grad():
        assert value == pytest.approx(model(*map(rgb_tensor, pair.values())).item(), abs=1e-5)
        shrunk = model(*map(rgb_tensor, large.values())).item()
    assert calculate_metric(large, dists | dict(resize=True)) == pytest.approx(shrunk, abs=1e-5)
    assert abs(calculate_metric(large, dists) - shrunk) > 1e-4
    assert calculate_metric(dict(img=pair['img2'], img2=pair['img2']), dists) == pytest.approx(0, abs=1e-5)


def stages(x):
    """The image and the five stages of VGG16 with the authors' pooling, in float64."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    window = torch.tensor([0.5, 1, 0.5], dtype=torch.float64)
    window = window[:, None] * window / 4
    found, x = [x], (x - mean) / std
    for position, module in enumerate(features_of('vgg16')[:30]):
        if isinstance(module, torch.nn.MaxPool2d):
            kernel = window.expand(x.shape[1], 1, 3, 3)
            x = (F.conv2d(x.square(), kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()
        elif isinstance(module, torch.nn.Conv2d):
            x = F.conv2d(x, module.weight.double(), module.bias.double(), padding=1)
        else:
            x = x.relu()
        if position in (3, 8, 15, 22, 29):  # the last ReLU of each block
            found.append(x)
    return found


def test_dists_by_its_definition(pair, dists, channel_weights):
    """The paper's similarities of means and of structure, channel by channel, written out."""
    mean_x, mean_y, var_x, var_y, covariance = [], [], [], [], []
    for x, y in zip(*(stages(rgb_tensor(image).double()) for image in pair.values()), strict=True):
        x, y = x[0].flatten(1), y[0].flatten(1)
        mean_x, mean_y = [*mean_x, x.mean(1)], [*mean_y, y.mean(1)]
        var_x, var_y = [*var_x, x.var(1, correction=0)], [*var_y, y.var(1, correction=0)]
        covariance.append(((x - x.mean(1, keepdim=True)) * (y - y.mean(1, keepdim=True))).mean(1))
    mx, my, vx, vy, cov = map(torch.cat, (mean_x, mean_y, var_x, var_y, covariance))
    texture = (2 * mx * my + 1e-6) / (mx**2 + my**2 + 1e-6)
    structure = (2 * cov + 1e-6) / (vx + vy + 1e-6)
    alpha, beta = (channel_weights[k].double().flatten() for k in ('alpha', 'beta'))
    expected = 1 - ((alpha * texture).sum() + (beta * structure).sum()) / (alpha.sum() + beta.sum())
    assert calculate_metric(pair, dists) == pytest.approx(expected.item(), abs=1e-4)


def test_dists_with_wrong_weights(pair, dists, trunks):
    with pytest.raises(WeightsError, match='not a torchvision state dict of vgg16'):
        calculate_metric(pair, dists | dict(weights=trunks('alexnet')))
    with pytest.raises(WeightsError, match=r'alpha should have shape \(1, 1475, 1, 1\), found nothing'):
        calculate_metric(pair, dists | dict(dists_weights=trunks('alexnet')))


# ---------------------------------------------------------------- distance of features
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
    pair = pair | dict(img2=pair['img2'][:-4])
    with pytest.raises(DataError, match=r'differ in size: \(192, 200\) and \(188, 200\)'):
        calculate_metric(pair, dict(type='calculate_feature_distance', crop_border=0, feature_net=RANDOM))


def test_crop_that_leaves_nothing(pair):
    with pytest.raises(DataError, match='crop_border: 96 leaves nothing'):
        calculate_metric(pair, dict(type='calculate_feature_distance', crop_border=96, feature_net=RANDOM))


def test_iqa_without_pyiqa_says_what_to_install(pair, monkeypatch):
    import sys

    from pdd_arch.metrics import iqa

    iqa.network.cache_clear()
    monkeypatch.setitem(sys.modules, 'pyiqa', None)
    with pytest.raises(OptionError, match='pip install pyiqa'):
        calculate_metric(pair, dict(type='calculate_iqa', crop_border=0, metric='dists'))


# ---------------------------------------------------------------- what can be computed, and what a number means
def test_missing_weights_are_named_before_anything_starts(offline, trunks):
    computed, missing = availability.availability(
        dict(
            psnr=dict(type='calculate_psnr', crop_border=4),
            niqe=dict(type='calculate_niqe', crop_border=4),
            lpips=dict(type='calculate_lpips', crop_border=4),
            vgg=dict(type='calculate_lpips', crop_border=4, net='vgg'),
            lpips_file=dict(type='calculate_lpips', crop_border=4, weights=trunks('alexnet')),
            dists=dict(type='calculate_dists', crop_border=4),
            distance=dict(type='calculate_feature_distance', crop_border=4),
            random=dict(type='calculate_feature_distance', crop_border=4, feature_net=RANDOM),
            other=dict(type='calculate_lpip', crop_border=4),
        )
    )
    assert computed == ['psnr', 'niqe', 'lpips_file', 'random']
    assert missing.keys() == {'lpips', 'vgg', 'dists', 'distance', 'other'}
    place = offline / 'checkpoints'
    assert missing['lpips'] == (
        'metrics.lpips: not computed: its weights are not on this machine. Download https://download.pytorch.org/models/'
        f'alexnet-owt-7be5be79.pth to {place / "alexnet-owt-7be5be79.pth"}, or give paths.'
    )
    assert f'vgg16-397923af.pth to {place}' in missing['dists']
    assert f'{dists_metric.URL} to {place}' in missing['dists']
    assert "Did you mean 'calculate_lpips'" in missing['other']
    assert all(reason.startswith(f'metrics.{name}: not computed: ') for name, reason in missing.items())
    # asked to fetch, it says what stood in the way
    _, said = availability.availability(dict(dists=dict(type='calculate_dists', crop_border=4)), fetch=True)
    assert 'vgg16-397923af.pth, which is not at' in said['dists']
    assert 'OSError: offline' in said['dists']


def test_what_a_number_means():
    def said(**options):
        return availability.describe(dict(crop_border=4, **options))

    y = said(type='calculate_psnr', test_y_channel=True)
    assert (y['colour'], y['range'], y['crop_border']) == ("Y of BasicSR's YCbCr (BT.601)", '8 bit, 0 to 255', 4)
    assert y['package'].startswith('basicsr 1.4')
    assert said(type='calculate_ssim')['colour'] == 'RGB'
    vgg = said(type='calculate_lpips', net='vgg', better='lower')
    assert (vgg['range'], vgg['better']) == ('-1 to 1, from 8 bit', 'lower')
    assert vgg['weights'] == 'vgg16 imagenet, linear layers of version 0.1'
    assert said(type='calculate_dists')['weights'] == 'vgg16 imagenet, DISTS official'
    assert said(type='calculate_feature_distance', feature_net=RANDOM)['weights'] == 'squeezenet1_1 random'
    assert 'non-commercial' in said(type='calculate_iqa', metric='musiq')['package']
    assert 'YCbCr' in said(type='calculate_niqe')['colour']
    assert said(type='my_metric')['package'] == 'registered by the user'
    # without being told
    directions = [said(type=f'calculate_{name}')['better'] for name in ('psnr', 'niqe', 'lpips', 'dists')]
    assert directions == ['higher', 'lower', 'lower', 'lower']
