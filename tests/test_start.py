"""The start of a run reads each thing once: image headers, folders and weight files."""

import os
from collections import Counter

import pytest
import torch
from basicsr.archs import build_network
from child_runs import write_options
from helpers import NO_D, SMALL_FEATURES, TINY_D, TINY_G, merge, run_options

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.features.feature_net import FeatureNet
from pdd_arch.images import decoding
from pdd_arch.weights import checkpoints


@pytest.fixture
def counted(monkeypatch):
    """How often image headers, weight files (by file name) and folders have been read."""
    counts: dict[str, Counter] = {'headers': Counter(), 'weights': Counter(), 'folders': Counter()}

    def counting(kind, module, name):
        plain = getattr(module, name)

        def count(path, *args, **kwargs):
            name = str(getattr(path, 'name', path))  # of an open file
            counts[kind][os.path.basename(name) if kind == 'weights' else os.path.relpath(name)] += 1
            return plain(path, *args, **kwargs)

        monkeypatch.setattr(module, name, count)

    counting('headers', decoding, 'image_size')
    counting('weights', checkpoints.torch, 'load')
    counting('folders', os, 'scandir')
    return counts


def test_everything_is_read_once(workplace, counted):
    torch.manual_seed(0)
    torch.save({'params': build_network(dict(TINY_G)).state_dict()}, 'generalist.pth')
    torch.save({'params': build_network(dict(TINY_D)).state_dict()}, 'd.pth')
    features = FeatureNet(('features.4',), **SMALL_FEATURES).features.state_dict()
    torch.save({f'features.{k}': v for k, v in features.items()}, 'features.pth')
    everything_on = run_options(
        network_d=TINY_D,
        path=dict(pretrain_network_g='generalist.pth', pretrain_network_d='d.pth'),
        train=dict(
            feature_net=dict(type='squeezenet1_1', weights='features.pth', seed=None),
            gan_opt=dict(type='GANLoss', gan_type='vanilla', loss_weight=0.01),
            optim_d=dict(type='Adam', lr=1e-4),
            net_d_init_iters=0,
            perceptual_opt=None,
        ),
    )
    write_options(everything_on)
    assert main(['train', '-opt', 'run.yml']) == 0
    images = [f'{folder}/{i:03d}.png' for folder, count in (('hr', 2), ('real', 3)) for i in range(count)]
    assert {image: counted['headers'][image] for image in images} == dict.fromkeys(images, 1)
    assert {folder: counted['folders'][folder] for folder in ('hr', 'real')} == {'hr': 1, 'real': 1}
    files = ('generalist.pth', 'd.pth', 'features.pth')
    assert {file: counted['weights'][file] for file in files} == dict.fromkeys(files, 1)


def test_networks_of_a_resumed_run_are_read_once(workplace, counted):
    opt = merge(run_options(), NO_D)
    write_options(merge(opt, dict(logger=dict(save_checkpoint_freq=2))))
    assert main(['train', '-opt', 'run.yml']) == 0
    write_options(merge(opt, dict(train=dict(total_iter=4), logger=dict(save_checkpoint_freq=2))))
    counted['weights'].clear()
    assert main(['train', '-opt', 'run.yml', '--auto_resume']) == 0
    assert counted['weights']['net_g_2.pth'] == 1  # for the student and its moving average


def test_network_that_brings_its_weights_is_read_once(workplace, counted):
    torch.manual_seed(0)
    torch.save({'params': build_network(dict(TINY_G)).state_dict()}, 'generalist.pth')
    own = dict(type='SpandrelNet', path='generalist.pth')
    static = dict(teacher='static', distill_warmup_iters=0, detach_synthetic=True)
    path = dict(pretrain_network_g=None)
    opt = merge(run_options(path=path, train=static), NO_D) | dict(network_g=own, network_teacher=own)
    write_options(opt)
    assert main(['train', '-opt', 'run.yml']) == 0
    assert counted['weights']['generalist.pth'] == 1
