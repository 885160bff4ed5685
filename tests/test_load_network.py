"""A network by whatever people have of it."""

import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from photo_material import save_compact
from safetensors.torch import save_file

from pdd_arch.errors import MissingFileError, WeightsError
from pdd_arch.inference import load_network
from pdd_arch.weights import zoo


def test_the_average_of_a_checkpoint_as_basicsrs_own_network(tmp_path):
    torch.manual_seed(0)
    trained, average = (SRVGGNetCompact(3, 3, 8, 2, 2, 'prelu') for _ in range(2))
    torch.save({'params': trained.state_dict(), 'params_ema': average.state_dict()}, tmp_path / 'net.pth')
    loaded = load_network(tmp_path / 'net.pth')
    assert type(loaded.net) is SRVGGNetCompact
    assert (loaded.scale, loaded.name, loaded.file) == (2, 'net', tmp_path / 'net.pth')
    assert loaded.source == str(tmp_path / 'net.pth')
    assert not loaded.net.training
    x = torch.rand(1, 3, 6, 7)
    with torch.no_grad():
        torch.testing.assert_close(loaded.net(x), average(x))


def test_other_files(tmp_path):
    net = RRDBNet(3, 3, scale=4, num_feat=8, num_block=1, num_grow_ch=4).half()
    save_file(net.state_dict(), tmp_path / 'net.safetensors')
    loaded = load_network(str(tmp_path / 'net.safetensors'))
    assert type(loaded.net) is RRDBNet
    assert loaded.scale == 4
    assert next(loaded.net.parameters()).dtype == torch.float32
    bundled = load_network('bundled:demo_generalist.pth')
    assert (bundled.name, bundled.scale, bundled.file.is_file()) == ('demo_generalist', 4, True)


def test_a_folder_of_an_adaptation(tmp_path):
    folder = tmp_path / 'my_camera'
    folder.mkdir()
    with pytest.raises(MissingFileError, match=r'model: the folder .*my_camera holds no model.pth, which `pdd adapt`'):
        load_network(folder)
    save_compact(folder / 'model.pth')
    assert load_network(folder).name == 'my_camera'


@pytest.mark.parametrize('name', ['zoo:realesr-general-x4v3', 'realesr-general-x4v3'])
def test_a_published_network_with_and_without_prefix(tmp_path, monkeypatch, name):
    monkeypatch.setattr(zoo, 'fetch', lambda path, option: save_compact(tmp_path / 'fetched.pth', scale=4))
    monkeypatch.chdir(tmp_path)
    loaded = load_network(name)
    assert (loaded.name, loaded.scale, loaded.source) == ('realesr-general-x4v3', 4, name)
    assert loaded.file.name == 'realesr-general-x4v3.pth'
    if name == 'realesr-general-x4v3':  # a file comes first
        save_compact(tmp_path / name, scale=2)
        assert load_network(name).scale == 2


def test_one_error_for_what_is_no_network(tmp_path):
    with pytest.raises(
        MissingFileError, match=r"--model: there is no file .*x4plu. Did you mean 'RealESRGAN_x4plus'\?"
    ):
        load_network('RealESRGAN_x4plu', '--model')
    with pytest.raises(MissingFileError, match='zoo:nothing is not known'):
        load_network('zoo:nothing')
    torch.save({'params': {'layer.weight': torch.zeros(3)}}, tmp_path / 'other.pth')
    with pytest.raises(WeightsError, match=r'model: .*other.pth is not a network that spandrel recognises'):
        load_network(tmp_path / 'other.pth')
    state = SRVGGNetCompact(3, 3, 8, 2, 2, 'prelu').state_dict()
    torch.save({'params': state | {'body.2.weight': torch.zeros(4, 8, 3, 3)}}, tmp_path / 'odd.pth')
    with pytest.raises(WeightsError, match=r'model: .*odd.pth is damaged, or a network that only resembles one'):
        load_network(tmp_path / 'odd.pth')
    state['body.0.bias'][0] = float('nan')
    torch.save({'params': state}, tmp_path / 'nan.pth')
    with pytest.raises(WeightsError, match=r'model: .*nan.pth is broken: 1 of'):
        load_network(tmp_path / 'nan.pth')
