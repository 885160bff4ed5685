"""Each shim does what its docstring says."""

import importlib
import subprocess
import sys
import warnings

import basicsr.train
import pytest
import torch
import yaml
from basicsr.archs import build_network
from basicsr.archs.vgg_arch import VGGFeatureExtractor
from basicsr.data.prefetch_dataloader import PrefetchDataLoader
from basicsr.utils import registry

import pdd_arch
from pdd_arch import compat
from pdd_arch.basicsr_loop import install
from pdd_arch.basicsr_loop.data_loading import PositionedSampler
from pdd_arch.commands.errors import explain_if_uncaught
from pdd_arch.errors import OptionError
from pdd_arch.options.yaml_file import load_options
from pdd_arch.training.run_state import TrainingRun
from pdd_arch.utils.locks import lock_folder
from pdd_arch.utils.registration import register

NAMES = {
    registry.MODEL_REGISTRY: ['PDDModel'],
    registry.LOSS_REGISTRY: [
        'PairwiseDistanceLoss',
        'HaarWaveletLoss',
        'FeatureDistillationLoss',
        'ContrastiveDistillationLoss',
        'OutputDistillationLoss',
    ],
    registry.DATASET_REGISTRY: ['UnpairedAdaptationDataset'],
    registry.ARCH_REGISTRY: ['SpandrelNet'],
    registry.METRIC_REGISTRY: ['calculate_lpips', 'calculate_feature_distance', 'calculate_iqa'],
}


def test_everything_is_registered():
    for where, names in NAMES.items():
        for name in names:
            assert where.get(name).__name__ == name


def test_importing_again_is_harmless():
    importlib.reload(pdd_arch)
    importlib.reload(pdd_arch.losses.supervised)
    before = basicsr.train.train_pipeline
    compat.apply()
    install(explain_if_uncaught)
    test_everything_is_registered()
    assert basicsr.train.train_pipeline is before  # not wrapped twice


def test_name_of_somebody_else_is_not_taken():
    class L1Loss:
        pass

    before = registry.LOSS_REGISTRY.get('L1Loss')
    with pytest.raises(KeyError, match='already holds that name'):
        register(registry.LOSS_REGISTRY)(L1Loss)
    assert registry.LOSS_REGISTRY.get('L1Loss') is before


def test_sampler_tells_epoch_and_position():
    def indices(rank):
        sampler = PositionedSampler(TrainingRun(), range(5), 2, rank, 2)
        sampler.set_epoch(3)
        return list(sampler)

    both = [indices(0), indices(1)]
    assert {i.epoch for part in both for i in part} == {3}
    assert sorted(i.position for part in both for i in part) == list(range(10))
    assert all(isinstance(i, int) and 0 <= i < 5 for part in both for i in part)


def test_prefetching_passes_errors_on():
    class Broken(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            if index == 2:
                raise RuntimeError('broken sample')
            return index

    batches = iter(PrefetchDataLoader(num_prefetch_queue=1, dataset=Broken(), batch_size=1))
    with pytest.raises(RuntimeError, match='broken sample'):
        list(batches)


def test_option_loader(tmp_path):
    file = tmp_path / 'a.yml'
    file.write_text('b: 1e-4\na: !!float 2e-3\nc: [1, 2.5, ~]\nd: 0x10\ne: 1.5e+3\nf: "1e-4"\n')
    opt = load_options(file)
    assert list(opt) == ['b', 'a', 'c', 'd', 'e', 'f']
    assert list(opt.values()) == [1e-4, 2e-3, [1, 2.5, None], 16, 1500.0, '1e-4']
    assert opt == load_options(file)
    assert yaml.safe_load('a: 1e-4') == {'a': '1e-4'}, "YAML's own loader is left as it was"


def test_look_up_of_basicsrs_own_names(capsys):
    assert registry.ARCH_REGISTRY.get('UNetDiscriminatorSN').__name__ == 'UNetDiscriminatorSN'
    assert capsys.readouterr().out == ''
    with pytest.raises(KeyError, match="No object named 'Nothing' found in 'arch' registry!"):
        registry.ARCH_REGISTRY.get('Nothing')


def test_network_of_a_perceptual_loss_is_built_without_warnings(monkeypatch):
    """By BasicSR's class, with the weights that it always had."""
    asked = []
    monkeypatch.setattr('torchvision.models._api.load_state_dict_from_url', lambda url, **_: asked.append(url) or {})
    monkeypatch.setattr(torch.nn.Module, 'load_state_dict', lambda *_: None)
    with warnings.catch_warnings(), torch.device('meta'):
        warnings.simplefilter('error')
        network = VGGFeatureExtractor(['conv1_2'], 'vgg19', use_input_norm=False)
    assert list(network.vgg_net._modules) == ['conv1_1', 'relu1_1', 'conv1_2']
    assert [url.rpartition('/')[2] for url in asked] == ['vgg19-dcbb9e9d.pth']


def test_option_loader_merges(tmp_path):
    (tmp_path / 'a.yml').write_text('base: &b {x: 1, y: 2}\nother: {<<: *b, y: 3}\n')
    assert load_options(tmp_path / 'a.yml')['other'] == {'x': 1, 'y': 3}


def test_option_loader_copies_aliases(tmp_path):
    """BasicSR takes ``type`` out of the section of an optimizer: the discriminator's would have none."""
    (tmp_path / 'run.yml').write_text('optim_g: &adam {type: Adam, betas: [0.9, 0.99]}\noptim_d: *adam\n')
    opt = load_options(tmp_path / 'run.yml')
    assert opt['optim_d'] == opt['optim_g']
    assert opt['optim_d'] is not opt['optim_g']
    assert opt['optim_d']['betas'] is not opt['optim_g']['betas']


def test_alignment_of_basicsvr_plus_plus_without_a_gpu(monkeypatch, recwarn):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    network = build_network(dict(type='BasicVSRPlusPlus', mid_channels=8, num_blocks=1))
    assert network.is_with_alignment
    assert not torch.cuda.is_available()
    assert not [w for w in recwarn if 'Deformable alignment' in str(w.message)]


def test_import_without_what_only_posix_has():
    """As on Windows: no fcntl, two signals, no flags of open() but its own. What others need is imported before."""
    code = """
import multiprocessing.spawn, os, random, signal, subprocess, sys, tempfile
import cv2, filelock, lpips, lmdb, numpy, PIL.Image, psutil, pydantic, scipy.optimize
import scipy.stats, skimage, spandrel, torch, torch.distributed, torch.utils.data, torchvision, tqdm, yaml
sys.modules['fcntl'], sys.platform = None, 'win32'
for name in ('SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGKILL', 'sigtimedwait', 'pthread_sigmask'):
    delattr(signal, name)
for name in ('O_CLOEXEC', 'O_NONBLOCK', 'register_at_fork', 'memfd_create'):
    delattr(os, name)
import pdd_arch
from pdd_arch.commands import basicsr_cli, pdd_cli
"""
    found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_lock_without_record_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'platform', 'win32')
    lock = lock_folder(tmp_path)
    with pytest.raises(OptionError, match='another run is writing to'):
        lock_folder(tmp_path)
    lock.close()
    lock_folder(tmp_path).close()
