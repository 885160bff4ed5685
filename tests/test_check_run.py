"""``--check``: says what would run, finds what would stop it, and writes nothing."""

from collections import Counter

import pytest
import torch
import yaml
from helpers import (
    NO_D,
    TINY_G,
    batch,
    build,
    merge,
    release_logger,
    run_options,
    run_options_of_sr_model,
    write_images,
)
from programs import python
from test_bad_input import COSINE, WITH_D, assert_refused

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run
from pdd_arch.options.run_options import RunOptions
from pdd_arch.preflight.memory import estimate_memory
from pdd_arch.preflight.networks import open_networks


@pytest.fixture
def check(workplace, capfd):
    """Function of options: runs ``basicsr train --check``; returns status, output and errors."""

    def call(opt, *flags, command='train'):
        (workplace / 'run.yml').write_text(yaml.safe_dump(opt, sort_keys=False))
        before = everything(workplace)
        status = run('basicsr', main, [command, '-opt', 'run.yml', '--check', *flags])
        assert everything(workplace) == before
        out = capfd.readouterr()
        return status, out.out, out.err

    return call


def everything(folder):
    return sorted((str(p), p.stat().st_mtime_ns) for p in folder.rglob('*'))


def test_what_would_run(check):
    status, text, _ = check(merge(run_options(**WITH_D), dict(train=dict(net_d_init_iters=0))))
    assert status == 0
    for line in (
        'student:        RRDBNet, 14,083 parameters, RANDOM weights',
        'discriminator:  UNetDiscriminatorSN',
        'teacher:        moving average of the student, decay 0.9',
        'distill_opt:    PairwiseDistanceLoss; inter_layers: features.0 1, features.4 0.5',
        'feature_net:    squeezenet1_1, weights random',
        'data:           2 HR, 3 target LR; HR crop 32, batch 2',
        'iterations:     2, 1 epochs of 15',
        'learning rate:  0.0001 (Adam), constant',
        'val:            pairs: 1 pairs',
        'metrics:        psnr (calculate_psnr)',
        'resumes:        no: a fresh start',
        'writes to:      experiments/tiny',
        'an ESTIMATE',
        'nothing was written',
    ):
        assert line in text


def test_schedules_in_words(check):
    scheduler = {k: v for k, v in COSINE.items() if v} | dict(periods=[1, 1], restart_weights=[1, 0.5], eta_min=1e-7)
    opt = run_options()
    opt['train']['scheduler'] = scheduler
    assert 'falls by half a cosine to 1e-07 over 1, 1 iterations' in check(opt)[1]
    opt['train']['scheduler'] = dict(type='MultiStepLR', milestones=[1, 5], gamma=0.5)
    assert '0.0001 (Adam), times 0.5 at iteration 1\n' in check(opt)[1]


def test_a_run_that_resumes_or_archives(check, workplace):
    opt = run_options(logger=dict(save_checkpoint_freq=2))
    (workplace / 'run.yml').write_text(yaml.safe_dump(opt))
    assert run('basicsr', main, ['train', '-opt', 'run.yml']) == 0
    release_logger()  # it writes to the log of that run
    assert 'would be renamed' in check(opt)[1]
    text = check(opt, '--auto_resume')[1]
    assert 'resumes:        from experiments/tiny/training_states/2.state, iteration 2' in text
    assert 'renamed' not in text


def test_nothing_would_be_distilled(check):
    status, text, _ = check(run_options(train=dict(distill_warmup_iters=2)))
    assert status == 0
    assert 'WARNING:' in text
    assert 'nothing would be distilled' in text


def test_wrong_weights(check, workplace):
    from basicsr.archs import build_network

    torch.save({'params': build_network(TINY_G | {'num_feat': 4}).state_dict()}, workplace / 'other.pth')
    status, out, error = check(run_options(path=dict(pretrain_network_g='other.pth')))
    assert out == ''
    assert_refused((status, error), 'path.pretrain_network_g', 'have another shape')


def test_a_test(check):
    opt = run_options()
    opt['datasets'] = dict(test_1=opt['datasets']['val'])
    for key in ('train', 'logger'):
        del opt[key]
    status, text, error = check(opt, command='test')
    assert status == 0, error
    assert 'test_1:         pairs: 1 pairs' in text
    assert 'writes to:      results/tiny' in text


def test_as_a_module(workplace):
    (workplace / 'run.yml').write_text(yaml.safe_dump(run_options()))
    done = python('-m', 'pdd_arch', 'train', '-opt', 'run.yml', '--check')
    assert done.returncode == 0, done.stderr
    assert 'No error found; nothing was written.' in done.stdout


def test_memory_counts_what_is_known():
    opt = run_options(**WITH_D)
    networks = open_networks(RunOptions.of(opt), fetch=False)
    g, d = (sum(p.numel() for p in networks[k].parameters()) * 4 for k in ('network_g', 'network_d'))
    found = estimate_memory(RunOptions.of(opt), networks)
    assert found.gradients - (g + d) < 10_000  # D has buffers
    assert found.optimizers - 2 * (g + d) < 20_000
    assert found.weights > 2 * g + d
    twice = estimate_memory(RunOptions.of(merge(opt, dict(datasets=dict(train=dict(batch_size_per_gpu=4))))), networks)
    assert twice.activations == pytest.approx(2 * found.activations, rel=0.1)
    parts = estimate_memory(RunOptions.of(merge(opt, dict(train=dict(accumulate=2)))), networks)
    assert parts.activations == pytest.approx(found.activations / 2, rel=0.1)


class Alive:
    """Bytes of the storages that autograd keeps, those of networks left out: now, and the most at one time."""

    def __init__(self, *networks):
        self.known = {t.untyped_storage()._cdata for net in networks for t in (*net.parameters(), *net.buffers())}
        self.holders = Counter()
        self.bytes = self.most = 0

    def pack(self, tensor):
        storage = tensor.untyped_storage()
        return tensor if storage._cdata in self.known else Kept(self, tensor, storage._cdata, storage.nbytes())

    def unpack(self, kept):
        return kept.tensor if isinstance(kept, Kept) else kept


class Kept:
    """A tensor that autograd keeps."""

    def __init__(self, alive, tensor, storage, size):
        self.alive, self.tensor, self.storage, self.size = alive, tensor, storage, size
        if not alive.holders[storage]:
            alive.bytes += size
            alive.most = max(alive.most, alive.bytes)
        alive.holders[storage] += 1

    def __del__(self):
        self.alive.holders[self.storage] -= 1
        if not self.alive.holders[self.storage]:
            self.alive.bytes -= self.size


@pytest.mark.parametrize(
    'changes',
    [
        {},
        dict(NO_D),
        dict(train=dict(perceptual_opt=None, pixel_opt=None)),
        dict(train=dict(distill_opt=None)),
        dict(train=dict(detach_synthetic=True, perceptual_opt=None)),
        dict(train=dict(gan_on_real=False)),
        dict(train=dict(accumulate=2)),
        dict(train=dict(recompute=True)),
    ],
    ids=lambda changes: ', '.join(map(str, changes.get('train', changes))) or 'everything',
)
def test_memory_against_a_measured_step(changes):
    """What the estimate says that autograd keeps is what it keeps in a step of the model, within a twentieth."""
    file = merge(run_options(**merge(WITH_D, dict(train=dict(net_d_init_iters=0)))), changes)
    file['datasets']['train']['batch_size_per_gpu'] = 4
    estimate = estimate_memory(RunOptions.of(file), open_networks(RunOptions.of(file), fetch=False))

    model = build(**changes)
    alive = Alive(*(net for net in (model.net_g, model.net_g_ema, model.net_d, model.feature_net) if net is not None))
    model.feed_data(batch(n=4, size=8))
    with torch.autograd.graph.saved_tensors_hooks(alive.pack, alive.unpack):
        model.optimize_parameters(2)
    assert alive.bytes == 0
    assert estimate.activations == pytest.approx(alive.most, rel=0.05)


FAILING_STEPS = {
    'None for nothing': (dict(path=dict(pretrain_network_g='None')), ["path.pretrain_network_g: 'None'", 'Write ~']),
    'pairs without a target domain': (
        dict(datasets=dict(train=dict(type='PairedImageDataset', dataroot_gt='val_hr', dataroot_lq='val_lr'))),
        ['datasets.train.type', 'no images of the target domain', 'UnpairedAdaptationDataset'],
    ),
    'two lists of the same images': (
        dict(datasets=dict(train=dict(meta_info_file='run.yml', meta_info_file_gt='hr/000.png'))),
        ['datasets.train.meta_info_file: differs from meta_info_file_gt. Remove one'],
    ),
    'a loss for each pixel': (
        dict(train=dict(pixel_opt=dict(type='L1Loss', reduction='none', weights=None))),
        ['train.pixel_opt', 'a value for each pixel', 'one number'],
    ),
    'a discriminator for other crops': (
        merge(
            WITH_D, dict(network_d=dict(type='VGGStyleDiscriminator', num_feat=8, input_size=128, skip_connection=None))
        ),
        ['network_d', 'gt_size 32', 'AssertionError'],
    ),
    'a specialist with other channels': (dict(network_g=dict(num_out_ch=4)), ['network_g', '4 channels', 'num_out_ch']),
}


@pytest.mark.parametrize('flags', [['--check'], []], ids=['check', 'run'])
@pytest.mark.parametrize('case', FAILING_STEPS)
def test_step_that_would_fail(workplace, capfd, case, flags):
    changes, words = FAILING_STEPS[case]
    (workplace / 'run.yml').write_text(yaml.safe_dump(run_options(**changes), sort_keys=False))
    assert_refused((run('basicsr', main, ['train', '-opt', 'run.yml', *flags]), capfd.readouterr().err), *words)


#: networks with a size of their own, and what is said of crops of 32 pixels
FIXED_SIZES = {
    'discriminator': (
        merge(
            WITH_D, dict(network_d=dict(type='VGGStyleDiscriminator', num_feat=8, input_size=128, skip_connection=None))
        ),
        ['network_d: VGGStyleDiscriminator does not take the images of 32x32', 'gt_size: 128 it works'],
    ),
    'half the size in a U': (
        merge(
            WITH_D, dict(network_g=dict(scale=2), scale=2, datasets=dict(train=dict(gt_size=28), val=None), val=None)
        ),
        ['network_d: UNetDiscriminatorSN does not take the images of 28x28', 'gt_size: 32 it works'],
    ),
    'transformer with windows': (
        dict(
            network_g=dict(
                **{key: None for key in TINY_G if key != 'type'},
                **dict(type='SwinIR', upscale=4, img_size=8, window_size=4, depths=[1], embed_dim=8, num_heads=[1]),
                **dict(upsampler='pixelshuffledirect', mlp_ratio=1),
            ),
            datasets=dict(train=dict(gt_size=24)),
        ),
        ['network_g: SwinIR does not take the images of 6x6', 'gt_size: 32 it works'],
    ),
    'other channels': (
        merge(WITH_D, dict(network_d=dict(num_in_ch=4))),
        ['network_d: UNetDiscriminatorSN does not take', '4 channels', 'Correct its options.'],
    ),
}


@pytest.mark.parametrize('case', FIXED_SIZES)
def test_networks_with_a_size_of_their_own(workplace, capfd, case):
    """Found by the run itself, not only by ``--check``."""
    changes, words = FIXED_SIZES[case]
    (workplace / 'run.yml').write_text(yaml.safe_dump(run_options(**changes), sort_keys=False))
    assert_refused((run('basicsr', main, ['train', '-opt', 'run.yml']), capfd.readouterr().err), *words)


def test_discriminator_of_the_right_size(check, workplace):
    write_images(workplace / 'hr', 2, 132, 140)
    write_images(workplace / 'real', 3, 36, 40)
    opt = merge(FIXED_SIZES['discriminator'][0], dict(datasets=dict(train=dict(gt_size=128))))
    assert check(run_options(**opt))[0] == 0


class NeedsValues(torch.nn.Module):
    """A network that torch's ``meta`` device cannot run."""

    def __init__(self, num_feat=4):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 1)

    def forward(self, x):
        assert x.mean().item() < 10
        return self.conv(torch.nn.functional.interpolate(x, scale_factor=4))


def test_network_that_needs_values(check, monkeypatch):
    from basicsr.utils.registry import ARCH_REGISTRY

    monkeypatch.setitem(ARCH_REGISTRY._obj_map, 'NeedsValues', NeedsValues)
    opt = run_options(network_g=None)
    opt['network_g'] = dict(type='NeedsValues')
    status, text, error = check(opt)
    assert status == 0, error
    assert 'memory:         no estimate' in text


# ---------------------------------------------------------------- what will be used
@pytest.mark.parametrize(
    ('asked', 'there', 'words'),
    [
        ('auto', 0, 'CPU (num_gpu: auto, and this machine has no CUDA GPU)'),
        ('auto', 2, '2 GPU(s) (num_gpu: auto, all of this machine)'),
        (0, 2, 'CPU\n'),
        (1, 2, '1 GPU(s)\n'),
    ],
)
def test_device(check, monkeypatch, asked, there, words):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: there)
    # torch itself, which asks the driver in a step of an optimizer, must not believe that CUDA is available
    monkeypatch.setattr('pdd_arch.preflight.run.check_device', lambda options: None)
    opt = run_options(num_gpu=asked)
    status, text, error = check(opt)
    assert status == 0, error
    assert f'run:            tiny, scale 4, {words}' in text
    status, text, error = check(run_options_of_sr_model(num_gpu=asked))
    assert status == 0, error
    assert f'run:            tiny, SRModel, scale 4, {words}' in text


def test_weights_to_download(check, monkeypatch, workplace):
    """Of losses, metrics and networks: each file once, with its place and all that need it."""
    monkeypatch.setenv('TORCH_HOME', str(workplace / 'cache'))
    metrics = dict(
        lpips=dict(type='calculate_lpips', crop_border=4, net='vgg'),
        dists=dict(type='calculate_dists', crop_border=4),
        distance=dict(
            type='calculate_feature_distance', crop_border=4, feature_net=dict(type='alexnet'), layers=['features.0']
        ),
        psnr=dict(type='calculate_psnr', crop_border=4),
    )
    net = dict(feature_net=dict(type='squeezenet1_1', weights='imagenet', seed=None))
    srvgg = dict(type='SRVGGNetCompact', num_in_ch=3, num_out_ch=3, num_feat=64, num_conv=32, upscale=4)
    opt = run_options(train=net, val=dict(metrics=metrics), network_g=None)
    opt |= dict(network_g=srvgg, path=dict(pretrain_network_g='zoo:realesr-general-x4v3', param_key_g='params'))
    status, text, error = check(opt)
    assert status == 0, error
    lines = [line.split(None, 1)[1] for line in text.splitlines() if line.startswith('download:')]
    found = [(line.partition(' to ')[0].rsplit('/', 1)[1], line.partition(', for ')[2]) for line in lines]
    assert found == [
        ('realesr-general-x4v3.pth', 'path.pretrain_network_g'),
        ('squeezenet1_1-b8a52dc0.pth', 'train.feature_net'),
        ('vgg16-397923af.pth', 'val.metrics.lpips, val.metrics.dists'),
        ('DISTS_weights-f5e65c96.pth', 'val.metrics.dists'),
        ('alexnet-owt-7be5be79.pth', 'val.metrics.distance'),
    ]
    assert all(str(workplace / 'cache') in line for line in lines)
