"""The feature network: layers, weights, and the bank that runs it."""

import pytest
import torch
import torchvision
from torch import nn

from pdd_arch.errors import MissingFileError, OptionError, WeightsError
from pdd_arch.features import FeatureNet
from pdd_arch.features.feature_net import NETWORK_TYPES, layer_positions


@pytest.fixture
def image():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def reference_features(kind, seed, positions, x):
    """What torchvision's own network gives, module by module, with nothing in place; maps at `positions`."""
    torch.manual_seed(seed)
    features = getattr(torchvision.models, kind)(weights=None).features
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (x - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    maps = {}
    for i, module in enumerate(features[: max(positions) + 1]):
        if isinstance(module, nn.ReLU):
            module.inplace = False
        x = module(x)
        if i in positions:
            maps[i] = x
    return maps


@pytest.mark.parametrize(
    ('kind', 'layers'),
    [
        ('vgg19', {'relu2_1': 6, 'pool1': 4, 'conv3_4': 16}),
        ('vgg16', {'conv3_3': 14, 'features.14': 14, 'conv1_1': 0}),
        ('alexnet', {'features.3': 3}),
        ('squeezenet1_0', {'features.0': 0}),
        ('squeezenet1_1', {'features.4': 4}),
    ],
)
def test_layers_are_torchvisions(kind, layers, image):
    net = FeatureNet(layers, type=kind, weights='random', seed=3)
    with torch.no_grad():
        wanted = reference_features(kind, 3, layers.values(), image)
        for layer, found in net(image).items():
            torch.testing.assert_close(found, wanted[layers[layer]])
        shallow = min(layers, key=layers.get)
        torch.testing.assert_close(net(image, [shallow])[shallow], wanted[layers[shallow]])
    assert len(net.features) == max(layers.values()) + 1, 'cut after the deepest layer'


def test_vgg19_names_cover_the_network():
    positions = layer_positions('vgg19')
    assert (positions['conv1_1'], positions['conv5_4'], positions['pool5']) == (0, 34, 36)
    for kind in NETWORK_TYPES:
        assert 'features.0' in layer_positions(kind)


def test_tapped_before_the_relu(image):
    maps = FeatureNet(['conv1_1', 'relu1_1'], type='vgg16', weights='random')(image)
    assert maps['conv1_1'].min() < 0
    torch.testing.assert_close(maps['relu1_1'], maps['conv1_1'].relu())


def test_random_weights_of_another_device_are_others(image):
    chosen = dict(layers=['features.0'], type='squeezenet1_1', weights='random', seed=77)
    with torch.device('meta'):
        assert next(FeatureNet(**chosen).parameters()).is_meta
    first, second = FeatureNet(**chosen), FeatureNet(**chosen)
    torch.testing.assert_close(first(image), second(image))
    assert first.features[0].weight.data_ptr() != second.features[0].weight.data_ptr()


def test_random_leaves_the_global_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    FeatureNet(['features.0'], type='squeezenet1_1', weights='random')
    assert torch.equal(torch.rand(1), expected)


def test_frozen_but_transparent(image):
    net = FeatureNet(['features.0'], type='squeezenet1_1', weights='random').train()
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())
    image.requires_grad_()
    net(image)['features.0'].sum().backward()
    assert image.grad.abs().sum() > 0


def test_normalisations(image):
    options = dict(layers=['features.0'], type='squeezenet1_1', weights='random')
    plain = FeatureNet(**options)
    torch.testing.assert_close(FeatureNet(**options, range_norm=True)(image * 2 - 1), plain(image))
    mean, std = plain.mean, plain.std
    torch.testing.assert_close(FeatureNet(**options, use_input_norm=False)((image - mean) / std), plain(image))
    scaled = FeatureNet(**options, feature_scale=0.5)(image)['features.0']
    torch.testing.assert_close(scaled, 0.5 * plain(image)['features.0'])


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('part', ['whole', 'features'])
def test_weights_from_a_file(tmp_path, image, suffix, part):
    from safetensors.torch import save_file

    torch.manual_seed(3)
    state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    if part == 'features':
        state = {k: v for k, v in state.items() if k.startswith('features.')}
    file = tmp_path / f'weights{suffix}'
    save_file(state, file) if suffix == '.safetensors' else torch.save(state, file)
    layers = ['features.0', 'features.4']
    from_file = FeatureNet(layers, type='squeezenet1_1', weights=str(file))(image)
    seeded = FeatureNet(layers, type='squeezenet1_1', weights='random', seed=3)(image)
    for layer in layers:
        assert torch.equal(from_file[layer], seeded[layer])


def test_unknown_layer_names_a_near_one():
    with pytest.raises(OptionError, match=r"unknown layer 'conv3_5' of vgg19; known: conv1_1 ... pool5.*Did you mean"):
        FeatureNet(['conv3_5'], weights='random')


def test_weights_of_another_network(tmp_path):
    torch.save(torchvision.models.squeezenet1_0(weights=None).state_dict(), tmp_path / 's.pth')
    expected = r's\.pth is not a torchvision state dict of squeezenet1_1: features\.0\.weight should have shape'
    with pytest.raises(WeightsError, match=expected):
        FeatureNet(['features.0'], type='squeezenet1_1', weights=str(tmp_path / 's.pth'))


@pytest.fixture
def local_weights(tmp_path, monkeypatch):
    """Torchvision's entry of SqueezeNet's weights, moved to a local file whose name holds its hash."""
    import hashlib

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'cache'))
    torch.manual_seed(3)
    file = tmp_path / 'plain.pth'
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    file = file.rename(tmp_path / f'squeezenet1_1-{digest[:8]}.pth')
    entry = torchvision.models.get_model_weights('squeezenet1_1')['IMAGENET1K_V1']
    monkeypatch.setattr(type(entry), 'url', property(lambda self: file.as_uri()))
    return file


def test_download_is_cached_and_checked(local_weights, image, tmp_path):
    net = FeatureNet(['features.0'], type='squeezenet1_1', weights='imagenet')
    seeded = FeatureNet(['features.0'], type='squeezenet1_1', weights='random', seed=3)
    assert torch.equal(net(image)['features.0'], seeded(image)['features.0'])
    assert (tmp_path / 'cache/checkpoints' / local_weights.name).is_file()


def test_download_with_a_wrong_hash(local_weights):
    local_weights.write_bytes(local_weights.read_bytes() + b'x')
    with pytest.raises(WeightsError, match=rf'gave is not {local_weights.name}: its SHA-256 does not begin with'):
        FeatureNet(['features.0'], type='squeezenet1_1', weights='imagenet')


def test_offline_names_the_file_and_its_place(local_weights):
    local_weights.unlink()
    expected = (
        rf'feature_net\.weights \(imagenet\): needs {local_weights.name}, which is not at .*checkpoints.*Fetch file:'
    )
    with pytest.raises(MissingFileError, match=expected):
        FeatureNet(['features.0'], type='squeezenet1_1', weights='imagenet')


# ---------------------------------------------------------------- bank
def test_bank_equals_single_passes(image):
    net = FeatureNet(['features.0', 'features.4'], type='squeezenet1_1', weights='random').double()
    images = {'a': image.double(), 'b': image.double().flip(0).requires_grad_(), 'c': image[..., :32].double()}
    layers = {'a': ['features.0'], 'b': ['features.4'], 'c': ['features.4', 'features.0']}
    found = net.extract(images, layers)
    for name, wanted in layers.items():
        assert list(found[name]) == wanted
        for layer in wanted:
            torch.testing.assert_close(found[name][layer], net(images[name])[layer])
    assert found['b']['features.4'].requires_grad
    assert not found['a']['features.0'].requires_grad


def test_bank_runs_once_for_constants_and_once_with_gradients(image):
    net = FeatureNet(['features.0'], type='squeezenet1_1', weights='random')
    calls = []
    net.register_forward_pre_hook(lambda module, args: calls.append((len(args[0]), torch.is_grad_enabled())))
    images = {'a': image, 'b': image, 'c': image.clone().requires_grad_(), 'd': image}
    net.extract(images, {'a': ['features.0'], 'b': ['features.0'], 'c': ['features.0'], 'd': []})
    assert sorted(calls) == [(2, True), (4, False)]
