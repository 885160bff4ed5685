"""Reading never runs code; writing is all or nothing."""

import os
import pickle

import pytest
import torch

from pdd_arch.errors import MissingFileError, WeightsError
from pdd_arch.weights.checkpoints import OpenedWeights, check_finite, read_checkpoint, state_dict_of
from pdd_arch.weights.writing import write_checkpoint


class Malicious:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f'touch {self.path}',))


def test_round_trip(tmp_path):
    write_checkpoint({'params': {'w': torch.arange(3)}}, tmp_path / 'a.pth')
    assert torch.equal(read_checkpoint(tmp_path / 'a.pth')['params']['w'], torch.arange(3))
    assert [p.name for p in tmp_path.iterdir()] == ['a.pth']
    (tmp_path / 'plain').touch()
    assert (tmp_path / 'a.pth').stat().st_mode == (tmp_path / 'plain').stat().st_mode


@pytest.mark.parametrize('writer', [torch.save, lambda x, p: p.write_bytes(pickle.dumps(x))])
def test_code_in_a_checkpoint_is_refused(tmp_path, writer):
    ran = tmp_path / 'ran'
    writer({'params': Malicious(ran)}, tmp_path / 'bad.pth')
    with pytest.raises(WeightsError, match=r'path\.x: .*bad\.pth is refused'):
        read_checkpoint(tmp_path / 'bad.pth', 'path.x')
    assert not ran.exists()


@pytest.mark.parametrize('content', [b'', b'not weights', b'PK\x03\x04'])
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_damaged_files_are_named(tmp_path, content, suffix):
    file = tmp_path / f'bad{suffix}'
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=rf'bad\{suffix}'):
        read_checkpoint(file)


def test_truncated_checkpoint(tmp_path):
    write_checkpoint({'params': {'w': torch.zeros(1000)}}, tmp_path / 'a.pth')
    data = (tmp_path / 'a.pth').read_bytes()
    (tmp_path / 'a.pth').write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError, match='cannot be read as weights'):
        read_checkpoint(tmp_path / 'a.pth')


def test_folder_and_missing(tmp_path):
    with pytest.raises(MissingFileError, match='is a folder'):
        read_checkpoint(tmp_path)
    with pytest.raises(MissingFileError, match='does not exist'):
        read_checkpoint(tmp_path / 'none.pth')


def test_not_a_dictionary(tmp_path):
    torch.save(torch.zeros(3), tmp_path / 'a.pth')
    with pytest.raises(WeightsError, match='holds a Tensor, expected a dictionary'):
        read_checkpoint(tmp_path / 'a.pth')


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / 'a.pth'
    write_checkpoint({'w': torch.zeros(1)}, file)

    def full(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(torch, 'save', full)
    with pytest.raises(WeightsError, match=r'could not be written: .*No space left.*earlier checkpoints are untouched'):
        write_checkpoint({'w': torch.ones(1)}, file)
    monkeypatch.undo()
    assert read_checkpoint(file)['w'].item() == 0
    assert [p.name for p in tmp_path.iterdir()] == ['a.pth']


def test_state_dict_keys():
    state = {'w': torch.zeros(1)}
    wrapped = {'params': {'module.w': state['w']}}
    assert state_dict_of(wrapped, 'params', 'f', 'path.pretrain_network_g').keys() == {'w'}
    assert state_dict_of({'params': state}, 'params_ema', 'f', 'path.pretrain_network_g') == state
    assert state_dict_of(state, None, 'f', 'path.pretrain_network_g') == state
    g, teacher = 'path.param_key_g', 'path.param_key_teacher'
    with pytest.raises(
        WeightsError, match=r"no key 'params', found \['params_ema'\]. Set path.param_key_g: params_ema"
    ):
        state_dict_of({'params_ema': state}, 'params', 'f', 'path.pretrain_network_g', key_option=g)
    with pytest.raises(WeightsError, match=r'Set path.param_key_teacher: ~'):
        state_dict_of(state, 'params', 'f', 'path.pretrain_network_teacher', key_option=teacher)
    with pytest.raises(WeightsError, match=r'holds no state dict under None.*Set path.param_key_g: params'):
        state_dict_of({'params': state}, None, 'f', 'path.pretrain_network_g', key_option=g)
    # where no option says which key is meant, none is advised
    with pytest.raises(WeightsError, match=r"^f has no key 'params'.* Give a file that holds .* under 'params'\.$"):
        state_dict_of(state, 'params', 'f', '')
    with pytest.raises(WeightsError, match=r'Give a file that is a state dict\.$'):
        state_dict_of({'params': state}, None, 'f', '--generalist')


def test_opened_weights_are_read_once(tmp_path, monkeypatch):
    file, opened = tmp_path / 'a.pth', OpenedWeights()
    torch.save({'w': torch.zeros(1)}, file)
    monkeypatch.chdir(tmp_path)
    content = opened.read(file, 'path.x')
    assert opened.read('a.pth', 'path.y') is content
    torch.save({'w': torch.ones(3)}, file)
    assert len(opened.read(file, 'path.x')['w']) == 3
    opened.release()
    file.unlink()
    with pytest.raises(MissingFileError, match=r'path\.x: .*a\.pth does not exist'):
        opened.read(file, 'path.x')


@pytest.mark.parametrize(
    'tensor',
    [
        torch.ones(3).to_sparse(),
        torch.ones(3, dtype=torch.complex64),
        torch.ones(3, device='meta'),
        torch.ones(1).expand(10**12),
    ],
    ids=['sparse', 'complex', 'meta', 'terabytes'],
)
def test_odd_tensors_are_refused(tmp_path, tensor):
    torch.save({'params': {'weight': tensor}}, tmp_path / 'odd.pth')
    with pytest.raises(WeightsError, match=r'odd\.pth'):
        state_dict_of(read_checkpoint(tmp_path / 'odd.pth'), 'params', tmp_path / 'odd.pth', 'path.pretrain_network_g')


def test_weights_that_are_not_finite_are_refused():
    with pytest.raises(
        WeightsError, match=r'x\.pth is broken: 1 of 2 tensors hold numbers that are not finite \(e\.g\. b\)'
    ):
        check_finite({'a': torch.ones(2), 'b': torch.tensor([float('nan')])}, 'x.pth', 'path.pretrain_network_g')
