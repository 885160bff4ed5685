"""A network in the forms of other tools: each is read by its tool, agrees with PyTorch, or is not written."""

import importlib.util
import json
import os
import stat
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from basicsr.archs import build_network
from helpers import write_images
from safetensors import safe_open

from pdd_arch.commands.pdd_cli import main
from pdd_arch.errors import DataError, MissingFileError, OptionError, WeightsError
from pdd_arch.export import forms, verify
from pdd_arch.export.forms import FORMS
from pdd_arch.export.job import CARD, export_model
from pdd_arch.export.traced import in_float16, second_half_in_float16, with_half_weights, write_onnx
from pdd_arch.inference import forward_padded
from pdd_arch.inference.load import load_network
from pdd_arch.weights.checkpoints import read_checkpoint, state_dict_hash

COMPACT = dict(type='SRVGGNetCompact', num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=4, act_type='prelu')
# spandrel knows RRDBNets of this growth only
RRDB = dict(type='RRDBNet', num_in_ch=3, num_out_ch=3, scale=4, num_feat=8, num_block=1, num_grow_ch=32)
SWINIR = dict(
    type='SwinIR', img_size=16, embed_dim=8, depths=[2], num_heads=[2], window_size=8, mlp_ratio=2, upscale=4
) | dict(upsampler='nearest+conv', img_range=1.0, resi_connection='1conv')
NETWORKS = {
    'compact': COMPACT,
    'compact_x2': COMPACT | dict(upscale=2),
    'rrdb': RRDB,
    'rrdb_x2': RRDB | dict(scale=2),
    'swinir': SWINIR,
}


@pytest.fixture
def weights(tmp_path):
    """Function of a name in NETWORKS: a weight file with random numbers."""

    def path(name='compact'):
        torch.manual_seed(0)
        file = tmp_path / f'{name}.pth'
        torch.save({'params': build_network(NETWORKS[name]).state_dict()}, file)
        return file

    return path


@pytest.fixture
def photos(tmp_path):
    """A folder with two photographs, one of odd sides."""
    write_images(tmp_path / 'photos', 1, 24, 30)
    write_images(tmp_path / 'more', 1, 21, 27)
    (tmp_path / 'more').rename(tmp_path / 'photos/more')
    next((tmp_path / 'photos/more').iterdir()).rename(tmp_path / 'photos/odd.png')
    (tmp_path / 'photos/more').rmdir()
    return tmp_path / 'photos'


@pytest.mark.parametrize('name', NETWORKS)
def test_every_form_agrees(weights, photos, tmp_path, name):
    model, out = weights(name), tmp_path / 'out'
    files = export_model(model, out, verify=photos)
    assert [file.form for file in files] == list(FORMS)
    assert sorted(p.name for p in out.iterdir()) == sorted([CARD, *(file.path.name for file in files)])
    for file in files:
        assert 0 <= file.difference <= 1
        assert file.bytes == file.path.stat().st_size
        assert stat.S_IMODE(file.path.stat().st_mode) == stat.S_IMODE((out / CARD).stat().st_mode)
    real_esrgan = ('spandrel', 'RealESRGANer') if name != 'swinir' else ('spandrel',)
    assert files[0].read_by == real_esrgan
    # weights come back as they were
    own = state_dict_hash(load_network(model).net.state_dict())
    for file in files[:2]:
        assert state_dict_hash(load_network(file.path).net.state_dict()) == own


@pytest.mark.parametrize('name', ['rrdb_x2', 'swinir'])
def test_onnx_takes_any_size(weights, photos, tmp_path, name):
    network = load_network(weights(name))
    (file,) = export_model(weights(name), tmp_path / 'out', ['onnx'], verify=photos)
    session = onnxruntime.InferenceSession(str(file.path))
    assert session.get_inputs()[0].shape == ['batch', 3, 'height', 'width']
    assert session.get_modelmeta().custom_metadata_map['scale'] == str(network.scale)
    multiple = 2 if name == 'rrdb_x2' else 8
    for size in ((1, 3, 17, 40), (2, 3, 33, 31), (1, 3, 9, 9)):
        images = torch.rand(size, generator=torch.Generator().manual_seed(1))
        output = session.run(None, {'input': images.numpy()})[0]
        with torch.no_grad():
            wanted = forward_padded(network.net, images, multiple)
        torch.testing.assert_close(torch.from_numpy(output), wanted, rtol=0, atol=1e-4)


def test_layouts(weights, photos, tmp_path):
    pth, safetensors = export_model(weights(), tmp_path / 'out', ['pth', 'safetensors'], verify=photos)
    assert set(read_checkpoint(pth.path)) == {'params_ema'}
    with safe_open(safetensors.path, 'pt') as content:
        facts = content.metadata()
    assert (facts['format'], facts['architecture'], facts['scale']) == ('pt', 'SRVGGNetCompact', '4')


def test_export_of_an_export_is_equal(weights, photos, tmp_path):
    (first,) = export_model(weights(), tmp_path / 'a', ['pth'], verify=photos)
    (second,) = export_model(first.path, tmp_path / 'b', ['safetensors'], verify=photos)
    (third,) = export_model(second.path, tmp_path / 'c', ['pth'], verify=photos)
    original = read_checkpoint(weights())['params']
    for name, value in read_checkpoint(third.path)['params_ema'].items():
        assert torch.equal(value, original[name])


def test_half_falls_back_to_what_agrees(weights, photos, tmp_path, monkeypatch):
    real = verify.largest_difference
    calls = []

    def fails_twice(*args):
        calls.append(args)
        return 1.5 if len(calls) < 3 else real(*args)

    monkeypatch.setattr('pdd_arch.export.verify.largest_difference', fails_twice)
    (file,) = export_model(weights(), tmp_path / 'out', ['onnx-fp16'], verify=photos)
    assert file.note.startswith('weights stored in float16, computed in float32')
    assert file.note in (tmp_path / 'out' / CARD).read_text()
    assert len(calls) == 3


@pytest.mark.parametrize('transform', [in_float16, second_half_in_float16, with_half_weights])
def test_types_of_half_files(weights, tmp_path, transform):
    path = tmp_path / 'half.onnx'
    write_onnx(load_network(weights('rrdb')), path, {}, transform)
    given = onnxruntime.InferenceSession(str(path)).get_inputs()[0]
    assert given.type == ('tensor(float16)' if transform is in_float16 else 'tensor(float)')
    write_onnx(load_network(weights('rrdb')), tmp_path / 'whole.onnx', {})
    assert path.stat().st_size < 0.9 * (tmp_path / 'whole.onnx').stat().st_size


def test_wrong_output_is_not_left(weights, photos, tmp_path, monkeypatch):
    def wrong(network, path, facts):
        state = {name: value * 1.5 for name, value in network.net.state_dict().items()}
        torch.save({'params_ema': state}, path)

    broken = replace(FORMS['pth'], candidates={'': wrong})
    monkeypatch.setitem(forms.FORMS, 'pth', broken)
    with pytest.raises(WeightsError, match=r'pth: its output in spandrel differs .* Written and verified: safetensors'):
        export_model(weights(), tmp_path / 'out', ['pth', 'safetensors'], verify=photos)
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [CARD, 'compact.safetensors']
    assert '| `compact.pth`' not in (tmp_path / 'out' / CARD).read_text()


@pytest.mark.parametrize('form', ['pth', 'safetensors', 'torchscript'])
def test_a_full_disk_is_not_laid_at_the_network(weights, photos, tmp_path, monkeypatch, form):
    def full(path, content):
        raise OSError(28, 'No space left on device')

    model = weights()
    monkeypatch.setattr('pathlib.Path.write_bytes', full)
    with pytest.raises(DataError, match=r'cannot be written \(No space left on device\)'):
        export_model(model, tmp_path / 'out', [form], verify=photos)
    assert list((tmp_path / 'out').iterdir()) == []


@pytest.mark.parametrize('content', [b'', b'nothing of use'])
def test_unreadable_file_is_not_left(weights, photos, tmp_path, monkeypatch, content):
    broken = replace(FORMS['onnx'], candidates={'': lambda network, path, facts: path.write_bytes(content)})
    monkeypatch.setitem(forms.FORMS, 'onnx', broken)
    with pytest.raises(WeightsError, match='onnx: onnxruntime cannot use it'):
        export_model(weights(), tmp_path / 'out', ['onnx'], verify=photos)
    assert list((tmp_path / 'out').iterdir()) == []


def test_outputs_that_are_not_finite_are_refused(weights, photos, monkeypatch):
    network = load_network(weights())
    reference = verify.Reference(network, photos)
    nan = reference.outputs(1)[0] * torch.nan
    monkeypatch.setitem(verify.READERS, 'tool', lambda path, network: (lambda x: nan, 1))
    assert verify.largest_difference(weights(), 'tool', reference) == np.inf
    monkeypatch.setitem(verify.READERS, 'tool', lambda path, network: (lambda x: x, 1))
    with pytest.raises(WeightsError, match='tool makes'):
        verify.largest_difference(weights(), 'tool', reference)


def test_missing_package_is_said_before_anything_is_written(weights, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == 'onnx' else find(name))
    with pytest.raises(OptionError, match=r'needs onnx: pip install "pdd_arch\[export\]"'):
        export_model(weights(), tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    assert export_model(weights(), tmp_path / 'out', ['pth'])[0].path.is_file()


def test_existing_files(weights, photos, tmp_path, monkeypatch):
    out = tmp_path / 'out'
    export_model(weights(), out, ['pth'], verify=photos)
    before = (out / 'compact.pth').read_bytes()
    with pytest.raises(OptionError, match=r'holds compact\.pth, MODEL_CARD\.md already'):
        export_model(weights(), out, verify=photos)
    assert sorted(p.name for p in out.iterdir()) == [CARD, 'compact.pth']
    assert (out / 'compact.pth').read_bytes() == before
    export_model(weights(), out, ['pth', 'safetensors'], verify=photos, overwrite=True)
    # a form that fails leaves an earlier file
    before = (out / 'compact.pth').read_bytes()
    broken = replace(FORMS['pth'], candidates={'': lambda network, path, facts: path.write_bytes(b'')})
    monkeypatch.setitem(forms.FORMS, 'pth', broken)
    with pytest.raises(WeightsError, match=r'the earlier compact\.pth is untouched'):
        export_model(weights(), out, ['pth'], verify=photos, overwrite=True)
    assert (out / 'compact.pth').read_bytes() == before
    monkeypatch.undo()
    with pytest.raises(OptionError, match='is the model itself'):
        export_model(out / 'compact.pth', out, ['pth'], verify=photos, overwrite=True)


def test_card_of_an_adapted_model(weights, photos, tmp_path):
    folder = tmp_path / 'my_phone'
    folder.mkdir()
    weights().rename(folder / 'model.pth')
    note = {
        'generalist': {'name': 'zoo:RealESRGAN_x4plus', 'file': '/home/somebody/weights/gen.pth'},
        'photographs': {'count': 200, 'names': [f'IMG_{i}.jpg' for i in range(200)]},
        'options': {'train': {'total_iter': 2000}, 'command': 'pdd adapt /home/somebody/photos -o out'},
        'metrics': {'psnr': 25.123456789},
        'remark': 'see https://example.org/a/b',
    }
    (folder / 'adaptation.json').write_text(json.dumps(note))
    export_model(folder, tmp_path / 'out', ['pth'], verify=photos)
    card = (tmp_path / 'out' / CARD).read_text()
    assert card.startswith('# my_phone\n')
    for part in ('- count: 200', 'and 188 more', '  - total_iter: 2000', 'psnr: 25.1235', 'gen.pth', 'BSD-3-Clause'):
        assert part in card
    assert 'https://example.org/a/b' in card
    assert '### High-resolution photographs\n\nNot known.' in card
    assert 'somebody' not in card
    assert str(tmp_path) not in card


def adapted(weights, folder, note):
    """A folder as `pdd adapt` leaves it, with that text in its note."""
    folder.mkdir()
    weights().rename(folder / 'model.pth')
    (folder / 'adaptation.json').write_text(note)
    return folder


def test_card_of_a_hostile_note(weights, photos, tmp_path):
    note = {
        '<script>1</script>\n\n# Licences': '[x](javascript:1)',
        'metrics': '```\n# free',
        'options': {'a\n# b': {'c|d': '<img>'}, 'lone': '\ud800', 'deep': [[[[[[[[[[[['x']]]]]]]]]]]]},
        'hr': 'y' * 10**6,
        'photographs': {f'k{i}': i for i in range(10**4)},
    }
    folder = adapted(weights, tmp_path / 'a|b`c<d', json.dumps(note))
    (file,) = export_model(folder, tmp_path / 'out', ['pth'], verify=photos)
    card = (tmp_path / 'out' / CARD).read_text()
    assert len(card) < 10**4
    lines = card.splitlines()
    assert [line for line in lines if line.startswith('# ')] == ['# a\\|b\\`c\\<d']
    assert [line for line in lines if line.startswith('### \\<script')]
    assert '<' not in card.partition('## Use')[0].replace('\\<', '')
    for part in (
        '- \\[x\\](javascript:1)',
        '- \\`\\`\\` # free',
        '- a # b:',
        '- c\\|d: \\<img\\>',
        'and 9900 more',
        '- lone: ?',
    ):
        assert part in card
    assert '| a\\|b\\`c\\<d.pth |' in card
    assert f'--model {chr(39)}{file.path.name}{chr(39)}' in card  # for a shell


@pytest.mark.parametrize('note', ['{"a":', '[1]', 'null', '[' * 10**5, '\x00'])
def test_a_damaged_note_is_said_before_anything_is_written(weights, photos, tmp_path, note):
    folder = adapted(weights, tmp_path / 'cam', note)
    with pytest.raises(DataError, match=r'adaptation\.json: '):
        export_model(folder, tmp_path / 'out', ['pth'], verify=photos)
    assert not (tmp_path / 'out').exists()


def test_impossible_names_and_places(weights, photos, tmp_path):
    folder = adapted(weights, tmp_path / 'cam', '{}')
    (tmp_path / 'model').mkdir()
    weights().rename(tmp_path / 'model/model.pth')
    before = (folder / 'model.pth').read_bytes()
    with pytest.raises(OptionError, match='is a model of `pdd adapt`, which is never replaced'):
        export_model(tmp_path / 'model', folder, ['pth'], verify=photos, overwrite=True)
    assert (folder / 'model.pth').read_bytes() == before
    odd = tmp_path / os.fsdecode(b'\xff.pth')
    odd.write_bytes(before)
    with pytest.raises(OptionError, match='is not UTF-8'):
        export_model(odd, tmp_path / 'out', ['pth'], verify=photos)
    with pytest.raises(OptionError, match='is a file; expected a folder'):
        export_model(folder, folder / 'model.pth', ['pth'], verify=photos)


def test_card_says_what_is_not_known(weights, photos, tmp_path):
    (file,) = export_model(weights('rrdb'), tmp_path / 'out', ['pth'], verify=photos)
    card = (tmp_path / 'out' / CARD).read_text()
    assert 'Not known: it was exported from the weight file `rrdb.pth`' in card
    assert file.sha256 in card
    assert 'num_feat=8, num_block=1, num_grow_ch=32' in card
    assert str(tmp_path) not in card


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        (dict(forms=['onx']), OptionError, "--to: expected .* found 'onx'"),
        (dict(forms=[]), OptionError, 'found none'),
        (dict(side=3), OptionError, '--verify-size'),
        (dict(verify='no/such'), MissingFileError, '--verify: there is no file or folder'),
        (dict(verify='tiny'), DataError, '--verify: expected photographs of at least 16x16'),
        (dict(verify='empty'), DataError, 'no image in'),
    ],
)
def test_bad_arguments(weights, tmp_path, monkeypatch, arguments, error, message):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / 'tiny', 1, 8, 30)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(error, match=message):
        export_model(weights(), 'out', **{'forms': ['pth'], **arguments})
    assert not (tmp_path / 'out').exists()


def test_command(weights, tmp_path, capsys):
    out = tmp_path / 'out'
    assert main(['export', str(weights()), '-o', str(out), '--to', 'pth', 'onnx']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ['form', 'pth', 'onnx']
    assert 'spandrel, RealESRGANer' in lines[1]
    assert lines[-1] == f'{out / CARD} says how each is used.'
    with pytest.raises(SystemExit):
        main(['export', str(weights()), '-o', str(out), '--to', 'tflite'])
    assert 'torchscript' in capsys.readouterr().err
