"""Files that people give as weights: what is used, and what the others are said to be."""

import json
import logging
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from basicsr.archs import build_network
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from helpers import TINY_D, TINY_G, build, release_logger, run_options
from PIL import Image
from safetensors.torch import save_file

from pdd_arch import Upscaler
from pdd_arch.adaptation.arguments import find_generalist
from pdd_arch.commands import basicsr_cli
from pdd_arch.commands.pdd_cli import main
from pdd_arch.errors import MissingFileError, PDDError, WeightsError
from pdd_arch.export.job import export_model
from pdd_arch.features.feature_net import load_trunk
from pdd_arch.inference import load_network
from pdd_arch.inference.methods import trained_network
from pdd_arch.preflight.missing import require_file
from pdd_arch.weights.checkpoints import check_fits, read_checkpoint, state_dict_of

WHERE, KEY = 'path.pretrain_network_g', 'path.param_key_g'
PREFIXES = ('module.', '_orig_mod.', 'module._orig_mod.', 'net_g.', 'model.', 'generator.', 'model.net_g._orig_mod.')


def compact(seed: int = 0) -> SRVGGNetCompact:
    torch.manual_seed(seed)
    return SRVGGNetCompact(3, 3, 8, 2, 2, 'prelu')


def prefixed(prefix: str, state: dict) -> dict:
    return {prefix + name: value for name, value in state.items()}


STATE = compact().state_dict()
D_STATE = build_network(TINY_D).state_dict()
TRUNK = {'features.0.weight': torch.rand(64, 3, 3, 3), 'features.0.bias': torch.rand(64)}


@pytest.fixture
def logged():
    """Lines of BasicSR's log."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger('basicsr')
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


def same(net: torch.nn.Module, state: dict = STATE) -> None:
    torch.testing.assert_close(dict(net.state_dict()), dict(state))


# ---------------------------------------------------------------- prefixes
#: a Lightning file that also holds a discriminator and the network of a loss
GAN = prefixed('net_g.', STATE) | prefixed('net_d.', D_STATE) | prefixed('perceptual.vgg.', TRUNK)
AVERAGED = prefixed('module.', STATE) | {'n_averaged': torch.tensor(7)}


@pytest.mark.parametrize('prefix', PREFIXES)
@pytest.mark.parametrize('nested', [False, True], ids=['bare', 'lightning'])
def test_a_prefix_of_all_tensors_is_removed_and_said(tmp_path, prefix, nested):
    file, said = tmp_path / 'net.pth', []
    content = prefixed(prefix, STATE)
    torch.save({'state_dict': content, 'epoch': 3, 'optimizer_states': []} if nested else content, file)
    loaded = load_network(file)
    same(loaded.net)
    assert loaded.notes == (f'{file}: the prefix {prefix} is removed from the names of its tensors',)
    key = 'state_dict' if nested else None
    state = state_dict_of(read_checkpoint(file), key, file, WHERE, compact(1), KEY, said.append)
    assert state.keys() == STATE.keys()
    assert said == list(loaded.notes)


@pytest.mark.parametrize(
    ('content', 'prefix', 'left'), [(GAN, 'net_g.', len(GAN) - len(STATE)), (AVERAGED, 'module.', 1)]
)
def test_a_network_among_others(tmp_path, content, prefix, left):
    file, said = tmp_path / 'net.ckpt', []
    torch.save({'state_dict': content}, file)
    loaded = load_network(file)
    same(loaded.net)
    assert f'prefix {prefix} is removed' in loaded.notes[0]
    assert f'{left} of {len(content)} tensors are left out' in loaded.notes[0]
    state = state_dict_of(read_checkpoint(file), 'state_dict', file, WHERE, compact(1), KEY, said.append)
    assert state.keys() == STATE.keys()
    assert said == list(loaded.notes)


def test_two_that_fit_are_not_guessed_but_the_average_is_the_one_to_deploy(tmp_path):
    """As of params and params_ema."""
    file = tmp_path / 'two.ckpt'
    other = compact(1).state_dict()
    torch.save({'state_dict': prefixed('net_g.', other) | prefixed('net_g_ema.', STATE)}, file)
    same(load_network(file).net)
    content = read_checkpoint(file)
    with pytest.raises(
        WeightsError, match=r'net_g\. and net_g_ema\. Set path.param_key_g: state_dict.net_g \(or state'
    ):
        state_dict_of(content, 'state_dict', file, WHERE, compact(), KEY)
    chosen = state_dict_of(content, 'state_dict.net_g_ema', file, WHERE, compact(), KEY)
    torch.testing.assert_close(chosen, dict(STATE))
    torch.save(prefixed('a.', STATE) | prefixed('b.', other), file)
    with pytest.raises(WeightsError, match=r'several networks, below the prefixes a\. and b\. Save the tensors of one'):
        load_network(file)


@pytest.mark.parametrize('letter', ['g', 'teacher', 'd'])
def test_weights_of_a_training(tmp_path, monkeypatch, logged, letter):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    wanted = build_network(TINY_D if letter == 'd' else TINY_G).state_dict()
    torch.save({'params': prefixed('module._orig_mod.', wanted)}, 'net.pth')
    path = {f'pretrain_network_{letter}': 'net.pth'}
    static = dict(network_teacher=TINY_G, train=dict(teacher='static')) if letter == 'teacher' else {}
    model = build(path=path, **static)
    net = {'g': 'net_g', 'teacher': 'net_teacher', 'd': 'net_d'}[letter]
    same(getattr(model, net), wanted)
    assert 'net.pth: the prefix module._orig_mod. is removed from the names of its tensors' in logged


def test_the_log_of_a_run_and_its_check(workplace, capfd):
    torch.save({'state_dict': prefixed('generator.', build_network(TINY_G).state_dict())}, workplace / 'net.pth')
    release_logger()  # `build_network` has set it up, without a file
    opt = run_options(path=dict(pretrain_network_g='net.pth', param_key_g='state_dict'), train=dict(total_iter=2))
    (workplace / 'run.yml').write_text(yaml.safe_dump(opt))
    said = 'net.pth: the prefix generator. is removed'
    assert basicsr_cli.main(['train', '-opt', 'run.yml', '--check']) == 0
    assert said in capfd.readouterr().err
    assert basicsr_cli.main(['train', '-opt', 'run.yml']) == 0
    assert said in next(Path('experiments/tiny').glob('train_*.log')).read_text()


def test_every_other_place_that_takes_a_network(tmp_path, monkeypatch, logged, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save(prefixed('model.', STATE), 'net.pth')
    said = 'net.pth: the prefix model. is removed from the names of its tensors'
    Image.new('RGB', (24, 24), 'gray').save('a.png')
    assert main(['upscale', 'a.png', '-o', 'out', '--model', 'net.pth', '--device', 'cpu']) == 0
    assert said in capsys.readouterr().err
    heard = []
    Upscaler('net.pth', device='cpu', say=heard.append)
    assert heard == [said]
    assert find_generalist('net.pth').notes == (said,)
    export_model('net.pth', 'exported', ['safetensors'], say=heard.append)
    assert heard == [said, said]
    assert main(['export', 'net.pth', '-o', 'again', '--to', 'pth']) == 0
    assert said in capsys.readouterr().out
    same(build_network(dict(type='SpandrelNet', path='net.pth')))
    assert logged.count(said) == 1
    section = dict(type='SRVGGNetCompact', num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=2)
    same(trained_network(section, 'net.pth', None))  # `pdd tables`, `pdd report`
    assert logged.count(said) == 2


def test_feature_and_metric_weights(tmp_path, logged):
    file = str(tmp_path / 'vgg.pth')
    torch.save({'epoch': 1, 'state_dict': prefixed('module.', TRUNK | {'classifier.0.weight': torch.zeros(1)})}, file)
    trunk = load_trunk('vgg19', file, depth=1)
    torch.testing.assert_close(trunk[0].weight, TRUNK['features.0.weight'])
    assert f'{file}: the prefix module. is removed from the names of its tensors' in logged


# ---------------------------------------------------------------- used
def test_the_content_decides_not_the_name(tmp_path):
    save_file(STATE, tmp_path / 'a.safetensors', metadata={'format': 'pt', 'author': 'someone'})
    shutil.copy(tmp_path / 'a.safetensors', tmp_path / 'b.pth')
    shutil.copy(tmp_path / 'a.safetensors', tmp_path / 'c.bin')
    torch.save({'params': STATE}, tmp_path / 'd.safetensors')
    torch.save({'params': STATE}, tmp_path / 'e.pth', _use_new_zipfile_serialization=False)
    shutil.copy(tmp_path / 'e.pth', tmp_path / 'f.safetensors')
    for file in sorted(tmp_path.iterdir()):
        same(load_network(file).net)


@pytest.mark.parametrize(
    ('content', 'key'),
    [
        ({'ema': STATE}, 'ema'),
        ({'ema_model': STATE, 'optimizer': {'state': {}}}, 'ema_model'),
        ({'model': {'state_dict': prefixed('module.', STATE), 'epoch': 3}, 'args': {}}, 'model.state_dict'),
        ({'model': {'discriminator': D_STATE, 'generator': STATE}}, 'model.generator'),
        ({'params': STATE | {'total_ops': torch.zeros(1), 'body.0.total_params': torch.zeros(1)}}, 'params'),
    ],
    ids=['only the average', 'average and optimizer', 'wrapped twice', 'beside D', 'counts of a profiler'],
)
def test_nested_weights_and_the_key_that_is_advised(tmp_path, content, key):
    file = tmp_path / 'net.pth'
    torch.save(content, file)
    same(load_network(file).net)
    read = read_checkpoint(file)
    with pytest.raises(WeightsError, match=rf'no key .*Set path\.param_key_g: {key}$'):
        state_dict_of(read, 'weights', file, WHERE, compact(), KEY)
    state = state_dict_of(read, key, file, WHERE, compact(), KEY)
    check_fits(compact(), state, file, WHERE)


@pytest.mark.parametrize('kind', [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(tmp_path, kind):
    torch.save({'params': {k: v.to(kind) for k, v in STATE.items()}}, tmp_path / 'net.pth')
    net = load_network(tmp_path / 'net.pth').net
    assert {v.dtype for v in net.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(dict(net.state_dict()), dict(STATE), rtol=0.01, atol=0.01)


# ---------------------------------------------------------------- said what it is
def text(content):
    return lambda file: file.write_text(content)


def binary(content):
    return lambda file: file.write_bytes(content)


def saved(content, **how):
    return lambda file: torch.save(content, file, **how)


def an_archive(file):
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('weights/RealESRGAN.pth', 'x')


def a_tar(file):
    with tarfile.open(file, 'w') as archive:
        archive.add(__file__, 'release/net.pth')


def an_index(file):
    file.write_text(json.dumps({'metadata': {}, 'weight_map': {'a': 'net-00001-of-00002.safetensors'}}, indent=2))


def of_torchscript(file):
    torch.jit.trace(torch.nn.Linear(2, 3), torch.zeros(1, 2)).save(str(file))


optimizer = torch.optim.Adam(compact().parameters())
LORA = {f'{k}.lora_{side}.weight': torch.zeros(1) for k in 'ab' for side in ('down', 'up')}
#: name -> name of the file, how it is written, words of the message
OTHERS = {
    'empty file': ('net.pth', binary(b''), ['is empty (0 bytes)', 'Download or copy it again']),
    'zeros': ('net.pth', binary(bytes(9999)), ['zero bytes at its beginning', 'Download or copy it again']),
    'page': ('net.pth', text('\n<!DOCTYPE html><title>404</title>'), ['is a web page', 'Download the file itself']),
    'pointer': (
        'net.pth',
        text('version https://git-lfs.github.com/spec/v1\noid x\n'),
        ['LFS pointer', 'git lfs pull'],
    ),
    'server': ('net.pth', text('<?xml version="1.0"?><Error/>'), ['is an XML document', 'Give a weight file']),
    'option file': ('net.yml', text('name: x\nscale: 4\n'), ["is a text file, which begins with 'name: x"]),
    'index': ('net.safetensors.index.json', an_index, ['is the index of weights', 'into one state dict']),
    'photograph': ('a.png', lambda f: Image.new('RGB', (9, 9)).save(f), ['is an image (PNG)']),
    'ONNX': (
        'net.onnx',
        binary(b'\x08\x08\x12\x07pytorch\x1a\x052.0.0'),
        ['is an ONNX model', 'Take the .pth or .saf'],
    ),
    'ONNX beside': ('g.onnx', binary(b'\x08\x08\x12\x07pytorch\x1a\x052.0.0'), ['ONNX model', 'g.pth beside it']),
    'fp16 beside': ('g_fp16.onnx', binary(b'\x08\x08\x12\x07pytorch\x1a\x052.0'), ['ONNX model', 'g.pth beside it']),
    'TorchScript': ('g.torchscript.pt', of_torchscript, ['is a TorchScript archive', 'g.pth beside it']),
    'ncnn': ('net.param', text('7767517\n75 83\n'), ['.param file of an ncnn model', 'Take the .pth']),
    'Keras': ('net.h5', binary(b'\x89HDF\r\n\x1a\n' + bytes(99)), ['is an HDF5 file']),
    'NumPy': ('net.npy', lambda f: np.save(f, np.zeros(3)), ['is a NumPy array']),
    'zip': ('net.zip', an_archive, ['is a zip archive', 'Unpack it, and give weights/RealESRGAN.pth from it']),
    'tar': ('net.pth', a_tar, ['is a tar archive', 'Unpack it, and give release/net.pth from it']),
    'gzip': ('net.pth', binary(b'\x1f\x8b\x08\0' + bytes(9)), ['is a packed archive', 'Unpack it']),
    'pickle': ('net.pth', binary(pickle.dumps({'a': np.zeros(3)})), ['is refused']),
    'whole network': ('net.pth', saved(compact()), ['as a whole (basicsr.archs.srvgg_arch.SRV', 'net.state_dict()']),
    'whole, old': ('net.pth', saved(compact(), _use_new_zipfile_serialization=False), ['as a whole (basicsr.archs']),
    'nothing': ('net.pth', saved({}), ['is empty: a dictionary without entries', 'Give the weights of']),
    'state': (
        '10.state',
        saved(dict(iter=10, epoch=1, optimizers=[], schedulers=[])),
        ['is a training state', 'net_g_N'],
    ),
    'optimizer': ('net.pth', saved(optimizer.state_dict()), ['is the state of an optimizer', 'Give the weights of']),
    'torch_ema': ('net.pth', saved({'decay': 0.9, 'shadow_params': [torch.zeros(1)]}), ['without the names of its']),
    'LoRA': ('net.pth', saved({'params': LORA}), ['is a LoRA', 'Merge it into the network']),
    'U-Net D': ('net_d_5.pth', saved({'params': D_STATE}), ['is a discriminator (UNet', 'net_g_5.pth']),
    'mixture': ('net.pth', saved(STATE | {'epoch': 3}), ["another kind ('epoch')", 'Save its tensors alone']),
    'int8': ('net.pth', saved({'params': {k: v.to(torch.int8) for k, v in STATE.items()}}), ['whole numbers for']),
}


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', OTHERS)
def test_what_is_no_network_is_told_alike_everywhere(tmp_path, name):
    file, write, words = OTHERS[name]
    file = tmp_path / file
    for beside in ('g.pth', 'net_g_5.pth'):
        torch.save({'params': STATE}, tmp_path / beside)
    write(file)

    def as_training():
        state = state_dict_of(read_checkpoint(file, WHERE), 'params', file, WHERE, compact(), KEY)
        check_fits(compact(), state, file, WHERE)

    for place in (lambda: load_network(file, WHERE), as_training):
        with pytest.raises(WeightsError) as caught:
            place()
        message = str(caught.value)
        for word in words:
            assert word in message
        assert KEY not in message  # no key helps
        assert message.startswith(f'{WHERE}: {file}')
        assert '\n' not in message


def test_a_training_state_names_the_network_beside_it(tmp_path):
    for folder in ('models', 'training_states'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'models/net_g_10.pth').touch()
    torch.save(dict(iter=10, optimizers=[], schedulers=[]), tmp_path / 'training_states/10.state')
    with pytest.raises(WeightsError, match=r'Take .*net_g_10\.pth\.$'):
        load_network(tmp_path / 'training_states/10.state')


@pytest.mark.parametrize('discriminator', [{}, D_STATE], ids=['empty', 'whole'])
def test_generator_and_discriminator(tmp_path, discriminator):
    file = tmp_path / 'both.pth'
    torch.save({'generator': STATE, 'discriminator': discriminator}, file)
    with pytest.raises(WeightsError, match=r"several things \(discriminator, generator\).*\['generator'\]"):
        load_network(file)
    content = read_checkpoint(file)
    with pytest.raises(WeightsError, match=r'Set path\.param_key_g: generator$'):
        state_dict_of(content, 'params', file, WHERE, compact(), KEY)
    assert state_dict_of(content, 'generator', file, WHERE, compact(), KEY).keys() == STATE.keys()


def test_the_advice_is_a_key_that_fits_or_none(tmp_path):
    other = {'layer.weight': torch.zeros(2)}
    with pytest.raises(
        WeightsError, match=r"'params', found .*Give a file that holds .* weights of SRVGGNetCompact\.$"
    ):
        state_dict_of({'ema': other}, 'params', 'x.pth', WHERE, compact(), KEY)
    with pytest.raises(WeightsError, match=r'Give a file that is a state dict, with weights of SRVGGNetCompact\.$'):
        state_dict_of({'weights': 1}, None, 'x.pth', WHERE, compact(), KEY)
    with pytest.raises(WeightsError, match=r'Set path\.param_key_g: params_ema$'):
        state_dict_of({'a': other, 'params_ema': STATE}, 'params', 'x.pth', WHERE, compact(), KEY)


def test_the_advice_names_the_option_that_sets_the_key(tmp_path):
    """Of a row of `pdd tables` too."""
    torch.save({'params': STATE}, tmp_path / 'net.pth')
    section = dict(type='SRVGGNetCompact', num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=2)
    with pytest.raises(WeightsError, match=r'^rows: x: checkpoint: .*Set param_key of that row: params$'):
        trained_network(section, tmp_path / 'net.pth', 'ema', 'cpu', 'rows: x: checkpoint', 'param_key of that row')


def test_a_part_of_divided_weights(tmp_path):
    file = tmp_path / 'net-00001-of-00002.safetensors'
    save_file(dict(list(STATE.items())[:3]), file)
    for place in (
        lambda: load_network(file),
        lambda: check_fits(compact(), state_dict_of(read_checkpoint(file), None, file, '', compact()), file, ''),
    ):
        with pytest.raises(WeightsError, match=r'a part of the weights \(file 1 of 2\).*tensors of all parts into one'):
            place()


def test_folders(tmp_path):
    torch.save({'params': STATE}, tmp_path / 'net.pth')
    with zipfile.ZipFile(tmp_path / 'net.pth') as archive:
        archive.extractall(tmp_path / 'unpacked')
    for place in (load_network, read_checkpoint):
        with pytest.raises(MissingFileError, match=r'A \.pth file was unpacked into it: give that file itself'):
            place(tmp_path / 'unpacked')
    shutil.rmtree(tmp_path / 'unpacked')
    for place in (load_network, read_checkpoint):
        with pytest.raises(MissingFileError, match=r'Give the path of a weight file in it: net\.pth\.$'):
            place(tmp_path)


def test_other_weights_for_a_discriminator_say_what_they_are(tmp_path):
    net = build_network(TINY_D)
    with pytest.raises(PDDError, match='does not fit UNetDiscriminatorSN: 2'):
        check_fits(net, STATE, 'x.pth', 'path.pretrain_network_d')


def test_a_list_of_quantized_tensors(tmp_path):
    quantized = torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8)
    torch.save({'params': {'weight': quantized}}, tmp_path / 'q.pth')
    with pytest.raises(WeightsError, match=r'quantized, complex.*Give its weights before they were quantized'):
        load_network(tmp_path / 'q.pth')


PUBLISHED = 'Give zoo:RealESRGAN_x4plus, which is downloaded and verified.'
URL = 'https://github.com/xinntao/Real-ESRGAN/releases/download/v0.1.0/RealESRGAN_x4plus.pth'
MISSING = {
    URL: (r'address', PUBLISHED),
    'https://example.org/net.pth': (r'address', 'Download the file, and give its path.'),
    'RealESRGAN_x4plus.pth': (r'no file|does not exist', PUBLISHED),
    'zoo:realesrgan_x4plus': (r'is not known', "Did you mean 'RealESRGAN_x4plus'?"),
    'NET.PTH': (r'no file|does not exist', "Did you mean 'net.pth'?"),
    'net.pth ': (r'no file|does not exist', "Did you mean 'net.pth'?"),
    '': (r"an empty text|''", ' weight file'),
    'bundled:x': (r'bundled:x is not shipped', 'Known: demo_generalist.pth'),
}  # fmt: skip


@pytest.mark.parametrize('given', MISSING)
def test_a_name_without_a_file_says_what_to_give(tmp_path, monkeypatch, given):
    what, way_out = MISSING[given]
    monkeypatch.chdir(tmp_path)
    torch.save(STATE, 'net.pth')
    for read, where in ((load_network, '--model'), (lambda path, key: require_file(key, path), WHERE)):
        with pytest.raises(MissingFileError, match=what) as caught:
            read(given, where)
        assert str(caught.value).startswith(f'{where}: ')
        assert way_out in caught.value.way_out


def test_tensors_of_another_shape_are_no_bug(tmp_path):
    """Of BasicSR's RRDBNet by their names."""
    state = build_network(TINY_G).state_dict()
    torch.save({name: value.transpose(0, -1).contiguous() for name, value in state.items()}, tmp_path / 'net.pth')
    with pytest.raises(WeightsError, match=r'net\.pth is damaged, or a network that only resembles one'):
        load_network(tmp_path / 'net.pth')
