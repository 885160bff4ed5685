"""Wrong option files for SRModel: what ``basicsr train --check`` says of each, and that it says it before a run."""

import os

import pytest
import yaml
from other_models import SWINIR, TINY_D, assert_refused, basicsr, changed, data, place, right_file  # noqa: F401
from programs import python

PERCEPTUAL = dict(type='PerceptualLoss', layer_weights={'conv5_4': 1.0})
IMAGES = dict(type='PairedImageDataset', dataroot_gt='hr', dataroot_lq='lr', io_backend=dict(type='disk'))


#: what is changed (`...`: taken away), and what the error says
WRONG = {
    # ---------------------------------------------------------------- datasets
    'folder': ({'datasets.train.dataroot_gt': 'hrr'}, ['datasets.train.dataroot_gt: the folder hrr', "mean 'hr'"]),
    'folder of validation': ({'datasets.val.dataroot_lq': 'nowhere'}, ['datasets.val.dataroot_lq: the folder nowhere']),
    'empty folder': ({'datasets.train.dataroot_lq': 'empty'}, ['datasets.train.dataroot_lq: no image in empty']),
    'images in sub-folders': ({'datasets.train.dataroot_gt': 'nested'}, ['dataroot_gt: no image in nested', '(sub)']),
    'other names': ({'datasets.train.dataroot_lq': 'renamed'}, ['hr/001.png has no LR image: renamed/001.png']),
    'other scale': ({'datasets.train.dataroot_lq': 'other_scale'}, ['These two fit scale 2', '`scale`']),
    'corrupt image': ({'datasets.train.dataroot_lq': 'broken'}, ['dataroot_lq: broken/001.png: is a truncated PNG']),
    'swapped': (
        {'datasets.train.dataroot_lq': 'hr', 'datasets.train.dataroot_gt': 'lr', 'datasets.train.gt_size': 8},
        ['HR and LR are swapped'],
    ),
    'no list': ({'datasets.train.meta_info_file': 'no.txt'}, ['datasets.train.meta_info_file: the file no.txt']),
    'list of other names': (
        {'datasets.train.meta_info_file': 'names.txt'},
        ['names.txt line 2 asks for hr/nobody.png'],
    ),
    'LMDB without a list': (
        dict.fromkeys(['datasets.train.dataroot_gt', 'datasets.train.dataroot_lq'], 'no_meta.lmdb')
        | {'datasets.train.io_backend.type': 'lmdb'},
        ['no_meta.lmdb is not an LMDB made by BasicSR', 'meta_info.txt'],
    ),
    'backend': (
        {'datasets.train.io_backend.type': 'dsk'},
        ["io_backend.type: expected 'disk' or 'lmdb'", "mean 'disk'"],
    ),
    'no backend': ({'datasets.train.io_backend': ...}, ['datasets.train.io_backend: missing']),
    'crop of no multiple': ({'datasets.train.gt_size': 30}, ['datasets.train.gt_size: 30 is not divisible', 'Use 28']),
    'large crop': ({'datasets.train.gt_size': 256}, ['is 48x56 pixels', 'gt_size: 256', '48 or less']),
    'no crop': ({'datasets.train.gt_size': ...}, ['datasets.train.gt_size: missing']),
    'crop as text': ({'datasets.train.gt_size': '32'}, ['datasets.train.gt_size', "found '32'"]),
    'one channel': ({'datasets.train.color': 'y'}, ["datasets.train.color: 'y' gives images of one channel"]),
    'no batch': ({'datasets.train.batch_size_per_gpu': ...}, ['datasets.train.batch_size_per_gpu: missing']),
    'batch of none': ({'datasets.train.batch_size_per_gpu': 0}, ['batch_size_per_gpu: expected a whole number', '0']),
    'large batch': ({'datasets.train.batch_size_per_gpu': 16}, ['dataset_enlarge_ratio: 1 makes epochs of 2', 'to 8']),
    'no workers': ({'datasets.train.num_worker_per_gpu': ...}, ['datasets.train.num_worker_per_gpu: missing']),
    'flips as text': ({'datasets.train.use_hflip': 'yes'}, ['datasets.train.use_hflip: expected true or false']),
    'prefetch mode': ({'datasets.train.prefetch_mode': 'gpu'}, ["datasets.train.prefetch_mode: expected 'cpu'"]),
    'dataset': ({'datasets.val.type': 'SingleImageDatset'}, ['datasets.val.type', "mean 'SingleImageDataset'"]),
    'phase': ({'datasets.valid': IMAGES}, ["datasets.valid: unknown phase, expected 'train' or 'val'"]),
    'no training data': ({'datasets.train': ...}, ['datasets.train: missing']),
    'faces for SRModel': (
        {'datasets.train.type': 'FFHQDataset', 'datasets.train.io_backend': dict(type='lmdb')}
        | {'datasets.train.dataroot_gt': 'faces.lmdb', 'datasets.train.mean': [0.5] * 3, 'datasets.train.std': [1] * 3},
        ["datasets.train.type: FFHQDataset gives no 'lq' in a sample, which SRModel takes"],
    ),
    # ---------------------------------------------------------------- networks and weights
    'no scale': ({'scale': ...}, ['scale: missing, PairedImageDataset needs it']),
    'two scales': ({'scale': 2}, ['network_g.upscale: 4, but scale is 2']),
    'scale of the images': ({'scale': 2, 'network_g.upscale': 2}, ['These two fit scale 4']),
    'type of network': ({'network_g.type': 'MSRResnet'}, ['network_g.type: no network', "Did you mean 'MSRResNet'"]),
    'network argument': ({'network_g.num_blocks': 3}, ['network_g.num_blocks', "Did you mean 'num_block'"]),
    'network argument as text': ({'network_g.num_feat': '64'}, ["network_g.num_feat: expected a number, found '64'"]),
    'network without type': ({'network_g.type': ...}, ['network_g.type: missing']),
    'input channels': ({'network_g.num_in_ch': 1}, ['network_g: MSRResNet does not take the images of 8x8 pixels']),
    'no network': ({'network_g': ...}, ['network_g: missing']),
    'no weights': ({'path.pretrain_network_g': 'no.pth'}, ["path.pretrain_network_g: 'no.pth' does not exist"]),
    'weights of another': ({'path.pretrain_network_g': 'other.pth'}, ['other.pth does not fit MSRResNet: 13 have']),
    'a page for weights': ({'path.pretrain_network_g': 'text.pth'}, ['path.pretrain_network_g', 'a web page']),
    'folder for weights': ({'path.pretrain_network_g': 'hr'}, ["path.pretrain_network_g: 'hr' is a folder"]),
    'wrong param_key': ({'path.pretrain_network_g': 'root.pth'}, ["no key 'params'", 'Set path.param_key_g: ~']),
    'old key of weights': ({'path.pretrain_model_g': 'fits.pth'}, ['path.pretrain_model_g', "'pretrain_network_g'"]),
    'folder of an unknown key': ({'path.pretrained': None}, ['path.pretrained: None, but BasicSR makes a folder']),
    'strict as a word': ({'path.strict_load_g': 'no'}, ['path.strict_load_g: expected true or false']),
    'no state': ({'path.resume_state': '7.state'}, ['path.resume_state: 7.state does not exist']),
    # ---------------------------------------------------------------- training
    'rate as text': ({'train.optim_g.lr': '0.0001'}, ["train.optim_g.lr: expected a positive number, found '0.0001'"]),
    'rate as list': ({'train.optim_g.lr': [1e-4]}, ['train.optim_g.lr: expected a positive number']),
    'optimizer': (
        {'train.optim_g.type': 'AdamW'},
        ["train.optim_g.type: 'AdamW', but BasicSR's models know Adam only"],
    ),
    'optimizer argument': ({'train.optim_g.weight_deacy': 0.1}, ['weight_deacy: Adam has no such', "'weight_decay'"]),
    'no optimizer': ({'train.optim_g': ...}, ['train.optim_g: missing, SRModel needs it']),
    'betas': ({'train.optim_g.betas': [0.9]}, ['train.optim_g.betas: expected two numbers']),
    'no schedule': ({'train.scheduler': ...}, ['train.scheduler: missing, SRModel needs it']),
    'schedule': ({'train.scheduler': dict(type='StepLR')}, ["train.scheduler.type: unknown schedule 'StepLR'"]),
    'schedule argument': (
        {'train.scheduler': dict(type='MultiStepLR', milestone=[100])},
        ["train.scheduler.milestone: unknown key. Did you mean 'milestones'"],
    ),
    'milestone': ({'train.scheduler.milestones': 100}, ['train.scheduler.milestones: expected a list of iterations']),
    'short periods': (
        {'train.scheduler': dict(type='CosineAnnealingRestartLR', periods=[1, 1], restart_weights=[1, 1])},
        ['train.scheduler.periods: together 2 iterations, but train.total_iter is 4'],
    ),
    'restart weights': (
        {'train.scheduler': dict(type='CosineAnnealingRestartLR', periods=[4, 4], restart_weights=[1])},
        ['train.scheduler.restart_weights: expected as many as periods (2), found 1'],
    ),
    'no total_iter': ({'train.total_iter': ...}, ['train.total_iter: missing']),
    'half an iteration': ({'train.total_iter': 4.5}, ['train.total_iter: expected a whole number', '4.5']),
    'average in percent': ({'train.ema_decay': 99.9}, ['train.ema_decay: expected a number in [0, 1)']),
    'warm-up as a word': ({'train.warmup_iter': 'none'}, ['train.warmup_iter: expected a whole number']),
    'no training': ({'train': ...}, ['train: missing']),
    # ---------------------------------------------------------------- losses
    'no loss': ({'train.pixel_opt': ...}, ['train: no loss to train with, expected pixel_opt or perceptual_opt']),
    'loss': ({'train.pixel_opt.type': 'L3Loss'}, ["train.pixel_opt.type: no loss 'L3Loss'", "mean 'L1Loss'"]),
    'loss argument': ({'train.pixel_opt.loss_wieght': 1}, ['loss_wieght: L1Loss has no such', "mean 'loss_weight'"]),
    'weight as text': ({'train.pixel_opt.loss_weight': '1.0'}, ['train.pixel_opt.loss_weight: expected a number']),
    'reduction': ({'train.pixel_opt.reduction': 'avg'}, ['train.pixel_opt: L1Loss cannot be built', 'mode: avg']),
    'no reduction': ({'train.pixel_opt.reduction': 'none'}, ['train.pixel_opt: the loss of an image has a value for']),
    'loss of features': ({'train.pixel_opt': PERCEPTUAL}, ['PerceptualLoss does not belong here', 'perceptual_opt']),
    'loss of pixels': ({'train.perceptual_opt': dict(type='L1Loss')}, ['L1Loss compares no features', 'pixel_opt']),
    'layer': (
        {'train.perceptual_opt': PERCEPTUAL | dict(layer_weights={'conv54': 1})},
        ["train.perceptual_opt.layer_weights: unknown layer 'conv54' of vgg19", "mean 'conv5_4'"],
    ),
    'layers as a list': (
        {'train.perceptual_opt': PERCEPTUAL | dict(layer_weights=['conv5_4'])},
        ['train.perceptual_opt.layer_weights: expected a mapping'],
    ),
    'VGG': ({'train.perceptual_opt': PERCEPTUAL | dict(vgg_type='vgg')}, ['vgg_type: expected', "mean 'vgg19'"]),
    'criterion': ({'train.perceptual_opt': PERCEPTUAL | dict(criterion='l2')}, ['criterion', 'has an error in l2']),
    # ---------------------------------------------------------------- validation, log
    'metric': ({'val.metrics.psnr.type': 'calculate_psn'}, ['val.metrics.psnr.type', "mean 'calculate_psnr'"]),
    'metric argument': ({'val.metrics.psnr.test_ychannel': True}, ['psnr.test_ychannel', "mean 'test_y_channel'"]),
    'metric without border': ({'val.metrics.psnr.crop_border': ...}, ['val.metrics.psnr.crop_border: missing']),
    'metrics as a list': ({'val.metrics': ['psnr']}, ['val.metrics: expected a section per metric']),
    'small images': (
        {'val.metrics.psnr.type': 'calculate_niqe', 'val.metrics.psnr.test_y_channel': ...},
        ['no number'],
    ),
    'no val_freq': ({'val.val_freq': ...}, ['val.val_freq: missing']),
    'val_freq of 0': ({'val.val_freq': 0}, ['val.val_freq: expected a whole number of at least 1']),
    'no save_img': ({'val.save_img': ...}, ['val.save_img: missing']),
    'no log': ({'logger': ...}, ['logger: missing']),
    'no print_freq': ({'logger.print_freq': ...}, ['logger.print_freq: missing']),
    'curves without TensorBoard': (
        {'logger.wandb': dict(project='x')},
        ['logger.wandb.project: given, but logger.use'],
    ),
    'GPUs': ({'num_gpu': 8}, ['num_gpu: 8 CUDA device(s) asked for']),
    'GPUs as text': ({'num_gpu': '1'}, ["num_gpu: expected 'auto'"]),
    'processes': ({'dist_params': dict(bakend='nccl')}, ["dist_params.bakend: unknown key. Did you mean 'backend'"]),
    'model': ({'model_type': 'SRModle'}, ['model_type: no model', "mean 'SRModel'"]),
    'name': ({'name': 'a/b'}, ['name: expected a word without slashes']),
}


@pytest.mark.parametrize('case', WRONG)
def test_wrong(place, capfd, case):  # noqa: F811
    changes, words = WRONG[case]
    assert_refused(basicsr(changed(right_file('SRModel'), changes), '--check'), capfd.readouterr(), words)


#: what runs, but not as its author thinks
DOUBTFUL = {
    'key': ({'train.emadecay': 0.9}, "train.emadecay: SRModel reads no such key. Did you mean 'ema_decay'?"),
    'section': ({'ema_decay': 0.9}, "ema_decay: SRModel reads no such key. Did you mean 'train.ema_decay'?"),
    'key of the log': (
        {'logger.save_checkpoints_freq': 4},
        "logger.save_checkpoints_freq: SRModel reads no such key. Did you mean 'save_checkpoint_freq'?",
    ),
    'key of a dataset': (
        {'datasets.train.use_hflp': True},
        "datasets.train.use_hflp: PairedImageDataset reads no such key. Did you mean 'use_hflip'?",
    ),
    'discriminator': ({'network_d': TINY_D}, 'network_d: SRModel reads no such key.\n'),
    'keys of another model': ({'gt_usm': True, 'queue_size': 2}, 'gt_usm, queue_size: SRModel reads no such keys.\n'),
    'validation without data': ({'datasets.val': ...}, 'NOTHING IS VALIDATED'),
    'data without validation': ({'val': ...}, 'NOTHING IS VALIDATED'),
}


@pytest.mark.parametrize('case', DOUBTFUL)
def test_doubtful(place, capfd, case):  # noqa: F811
    changes, text = DOUBTFUL[case]
    assert basicsr(changed(right_file('SRModel'), changes), '--check') == 0
    out = capfd.readouterr().out
    assert 'WARNING:' in out
    assert text in out
    assert out.endswith('data and a training step; nothing was written.\n')


def test_what_a_right_file_says(place, capfd):  # noqa: F811
    assert basicsr(right_file('SRModel'), '--check') == 0
    text = capfd.readouterr().out
    for line in (
        'run:            tiny, SRModel, scale 4, CPU',
        'network_g:      MSRResNet, 1,851 parameters, RANDOM weights',
        'data:           2 pairs; HR crop 32, batch 2',
        'iterations:     4, 4 epochs of 1',
        'learning rate:  0.0002 (Adam), constant',
        'val:            val: 2 pairs',
    ):
        assert line in text
    assert text.endswith(
        'No error found in options, networks, weights, data and a training step; nothing was written.\n'
    )


def test_numbers_as_published_files_write_them(place, capfd):  # noqa: F811
    """``!!float 4e5`` is a whole number to BasicSR."""
    changes = {'train.total_iter': 4.0, 'val.val_freq': 4.0, 'logger.save_checkpoint_freq': 4.0}
    assert basicsr(changed(right_file('SRModel'), changes), '--check') == 0, capfd.readouterr().err


def test_everything_that_is_missing_at_once(tmp_path, monkeypatch, capfd):
    """As a newcomer sees it who tries one of BasicSR's own files."""
    monkeypatch.chdir(tmp_path)
    changes = {'path.pretrain_network_g': 'net.pth', 'datasets.train.meta_info_file': 'list.txt'}
    assert basicsr(changed(right_file('SRModel'), changes), '--check') == 1
    lines = capfd.readouterr().err.strip().splitlines()
    sets = [f'datasets.{phase}.dataroot_{side}' for phase in ('train', 'val') for side in ('gt', 'lq')]
    named = {line.split(': ')[2] for line in lines}
    assert named == {*sets, 'path.pretrain_network_g', 'datasets.train.meta_info_file'}
    assert all(line.startswith('basicsr: error: ') for line in lines)
    assert len(lines) == len(named)


def test_weights_to_download_are_listed(place, capfd, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    opt = changed(right_file('SRModel'), {'train.perceptual_opt': PERCEPTUAL})
    assert basicsr(opt, '--check') == 0, capfd.readouterr().err
    (line,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith('download:')]
    assert 'vgg19-dcbb9e9d.pth' in line
    assert line.endswith(', for train.perceptual_opt')


def test_a_test(place, capfd):  # noqa: F811
    opt = right_file('SwinIRModel')
    opt['datasets'] = {'test_1': opt['datasets']['val']}
    del opt['train'], opt['logger']
    assert basicsr(opt, '--check', command='test') == 0, capfd.readouterr().err
    assert 'data and a first image; nothing was written.' in capfd.readouterr().out
    opt['network_g'] = {k: v for k, v in SWINIR.items() if k != 'window_size'}
    assert basicsr(opt, '--check', command='test') == 1
    assert 'network_g.window_size: missing, SwinIRModel needs it' in capfd.readouterr().err


FORKED = """
import os, sys
import torch
from pdd_arch.commands.basicsr_cli import main

assert main(['train', '-opt', 'run.yml', '--check']) == 0
child = os.fork()
if not child:
    torch.ones((), requires_grad=True).mul(2).backward()
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_processes_forked_after_a_check_can_compute_gradients(place, tmp_path):  # noqa: F811
    """The first gradient of a process must not be that of the rehearsal, which is one of fake tensors."""
    (tmp_path / 'forks.py').write_text(FORKED)
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(right_file('SRModel')))
    for name in ('hr', 'lr'):
        os.symlink(place / name, tmp_path / name)
    done = python('forks.py', folder=tmp_path)
    assert done.returncode == 0, done.stderr
