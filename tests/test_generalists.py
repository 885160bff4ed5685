"""Published networks as teacher and student: names of their tensors, files by name, all scales."""

import hashlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.archs import build_network
from helpers import NO_D, merge, options, release_logger, run_options

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.errors import MissingFileError, OptionError, WeightsError
from pdd_arch.inference import forward_padded, required_multiple
from pdd_arch.inference.methods import network_upscaler
from pdd_arch.options.run_options import RunOptions
from pdd_arch.preflight.networks import open_networks, open_weights
from pdd_arch.weights import download, key_layouts, zoo
from pdd_arch.weights.checkpoints import OpenedWeights, read_checkpoint, state_dict_of

# spandrel knows RRDBNets of this growth only
RRDB = dict(type='RRDBNet', num_in_ch=3, num_out_ch=3, scale=4, num_feat=8, num_block=1, num_grow_ch=32)
COMPACT = dict(type='SRVGGNetCompact', num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=4, act_type='prelu')
SWINIR = dict(
    type='SwinIR', img_size=16, embed_dim=8, depths=[2], num_heads=[2], window_size=8, mlp_ratio=2, upscale=4
) | dict(upsampler='nearest+conv', img_range=1.0, resi_connection='1conv')
FEATURES = {'features.0': 1.0, 'features.4': 0.5}


def rrdbnet(scale=4, seed=0):
    torch.manual_seed(seed)
    return build_network(RRDB | dict(scale=scale))


def swinir():
    torch.manual_seed(0)
    return build_network(SWINIR)


def compact():
    torch.manual_seed(0)
    return build_network(COMPACT)


#: family -> network section, scale, and the content of a checkpoint as its authors lay it out
FAMILIES = {
    'Real-ESRGAN x4plus': (RRDB, 4, lambda: {'params_ema': rrdbnet().state_dict()}),
    'Real-ESRGAN x2plus': (RRDB | dict(scale=2), 2, lambda: {'params_ema': rrdbnet(2).state_dict()}),
    'realesr-general': (COMPACT, 4, lambda: {'params': compact().state_dict()}),
    'BSRGAN': (RRDB, 4, lambda: key_layouts.rename_rrdbnet(rrdbnet().state_dict(), 'bsrgan')),
    'ESRGAN, first code': (RRDB, 4, lambda: key_layouts.rename_rrdbnet(rrdbnet().state_dict(), 'esrgan')),
    'ESRGAN, BasicSR': (RRDB, 4, lambda: {'params': rrdbnet().state_dict()}),
    'SwinIR-real': (SWINIR, 4, lambda: {'params_ema': swinir().state_dict()}),
}


def param_key(content):
    return next((k for k in ('params_ema', 'params') if k in content), None)


# ---------------------------------------------------------------- names of tensors
def test_names_of_the_three_codes():
    """Spelled out, not by the functions under test."""
    state = rrdbnet().state_dict()
    bsrgan, esrgan = (key_layouts.rename_rrdbnet(state, layout) for layout in ('bsrgan', 'esrgan'))
    pairs = [
        ('conv_first.weight', 'conv_first.weight', 'model.0.weight'),
        ('body.0.rdb1.conv1.weight', 'RRDB_trunk.0.RDB1.conv1.weight', 'model.1.sub.0.RDB1.conv1.0.weight'),
        ('body.0.rdb3.conv5.bias', 'RRDB_trunk.0.RDB3.conv5.bias', 'model.1.sub.0.RDB3.conv5.0.bias'),
        ('conv_body.bias', 'trunk_conv.bias', 'model.1.sub.1.bias'),
        ('conv_up1.weight', 'upconv1.weight', 'model.3.weight'),
        ('conv_up2.weight', 'upconv2.weight', 'model.6.weight'),
        ('conv_hr.weight', 'HRconv.weight', 'model.8.weight'),
        ('conv_last.weight', 'conv_last.weight', 'model.10.weight'),
    ]
    for ours, second, first in pairs:
        assert torch.equal(bsrgan[second], state[ours])
        assert torch.equal(esrgan[first], state[ours])
    assert len(bsrgan) == len(esrgan) == len(state)


@pytest.mark.parametrize('layout', key_layouts.RRDBNET_LAYOUTS)
def test_names_round_trip(layout):
    state = build_network(RRDB | dict(num_block=12)).state_dict()  # two digits: 10 is not sorted behind 1
    renamed = key_layouts.rename_rrdbnet(state, layout)
    assert key_layouts.rrdbnet_layout(renamed) == layout
    back = key_layouts.rename_rrdbnet(renamed)
    assert list(back) == list(state)
    assert all(back[k] is state[k] for k in state)


@pytest.mark.parametrize('layout', ['bsrgan', 'esrgan'])
def test_spandrel_reads_the_same_network(layout):
    """spandrel has a conversion of its own: the same image comes out."""
    from spandrel import ModelLoader

    net = rrdbnet().eval()
    found = ModelLoader(device='cpu').load_from_state_dict(key_layouts.rename_rrdbnet(net.state_dict(), layout))
    x = torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(found.model(x), net(x))


def test_other_networks_keep_their_names():
    x2 = key_layouts.rename_rrdbnet(rrdbnet().state_dict(), 'bsrgan')
    del x2['upconv2.weight'], x2['upconv2.bias']  # BSRGANx2: one enlargement
    assert key_layouts.rrdbnet_layout(x2) is None
    assert key_layouts.renamed_for(rrdbnet(), x2) == x2
    with pytest.raises(ValueError, match='not the state dict of an RRDBNet'):
        key_layouts.rename_rrdbnet(x2)
    assert key_layouts.rrdbnet_layout(compact().state_dict()) is None


def test_discriminator_of_the_released_code():
    net = build_network(dict(type='UNetDiscriminatorSN', num_in_ch=3, num_feat=4))
    released = {k.replace('conv', 'conv_', 1): v for k, v in net.state_dict().items()}
    assert 'conv_0.weight' in released
    assert 'conv_1.weight_orig' in released
    state = state_dict_of({'params': released}, 'params', 'd.pth', 'path.pretrain_network_d', net)
    assert state.keys() == net.state_dict().keys()


# ---------------------------------------------------------------- every family, as teacher and as student
@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('own_type', [True, False], ids=['network section', 'SpandrelNet'])
def test_family(tmp_path, family, own_type):
    """Its checkpoint loads, teaches, learns, and what was learned loads in BasicSR, Real-ESRGAN and spandrel."""
    from realesrgan import RealESRGANer
    from spandrel import ModelLoader

    section, scale, make = FAMILIES[family]
    content, file = make(), tmp_path / 'published.pth'
    torch.save(content, file)
    path = {}
    if own_type:
        network, weights = section, dict(pretrain=str(file), param_key=param_key(content))
        path = {
            f'{k}_{n}' if k == 'param_key' else f'{k}_network_{n}': v
            for n in ('g', 'teacher')
            for k, v in weights.items()
        }
    else:
        network = dict(type='SpandrelNet', path=str(file), scale=scale)
    distill = dict(type='PairwiseDistanceLoss', inter_layers=FEATURES, intra_layers=FEATURES)
    train = dict(teacher='static', distill_opt=distill, distill_warmup_iters=0, perceptual_opt=None)
    model = _static_model(merge(NO_D, dict(scale=scale, train=train)), network, path)

    generator = torch.Generator().manual_seed(0)
    batch = {k: torch.rand(2, 3, s, s, generator=generator) for k, s in dict(lq=8, gt=8 * scale, lq_real=8).items()}
    before = {k: v.clone() for k, v in model.get_bare_model(model.net_g).state_dict().items()}
    assert all(torch.equal(v, before[k]) for k, v in model.net_teacher.state_dict().items())
    model.feed_data(batch)
    model.optimize_parameters(1)
    log = model.get_current_log()
    assert log['l_intra'] > 0
    assert all(np.isfinite(v) for v in log.values())
    after = model.get_bare_model(model.net_g).state_dict()
    learned = [k for k in after if after[k].is_floating_point() and not torch.equal(after[k], before[k])]
    assert len(learned) > len(after) / 2
    assert all(torch.equal(v, before[k]) for k, v in model.net_teacher.state_dict().items())

    saved = tmp_path / 'net_g.pth'
    torch.save({'params': after, 'params_ema': model.net_g_ema.state_dict()}, saved)
    net = build_network(section)
    net.load_state_dict(torch.load(saved, weights_only=True)['params_ema'])
    net.eval()
    x = batch['lq'][:1]
    with torch.no_grad():
        expected = net(x)
        torch.testing.assert_close(model.net_g_ema.eval()(x), expected, rtol=1e-4, atol=1e-5)
        found = ModelLoader(device='cpu').load_from_file(saved)
        assert found.scale == scale
        torch.testing.assert_close(found.model.eval()(x), expected, rtol=1e-4, atol=1e-5)
    if section['type'] != 'SwinIR':  # RealESRGANer is for RRDBNet and SRVGGNetCompact
        image = (x[0].permute(1, 2, 0).numpy()[..., ::-1] * 255).round().astype(np.uint8)
        upscaler = RealESRGANer(scale, str(saved), model=build_network(section), pre_pad=0, device=torch.device('cpu'))
        assert upscaler.enhance(image)[0].shape == (8 * scale, 8 * scale, 3)
        assert upscaler.model.state_dict().keys() == net.state_dict().keys()


def _static_model(changes, network, path):
    from basicsr.models import build_model

    torch.manual_seed(0)
    opt = options(**changes)
    opt['network_g'], opt['network_teacher'], opt['path'] = network, network, path
    return build_model(opt)


@pytest.mark.parametrize(('name', 'scale'), [('DnCNN', 1), ('SPAN', 2)])
def test_networks_that_only_spandrel_has(tmp_path, name, scale):
    """As teacher and student; denoising keeps the size. What is saved is again one that spandrel recognises."""
    from spandrel import ModelLoader, architectures

    torch.manual_seed(0)
    if name == 'DnCNN':
        net = architectures.DnCNN.DnCNN(in_nc=3, out_nc=3, nc=8, nb=4)
    else:
        net = architectures.SPAN.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=16, upscale=scale)
    torch.save(net.state_dict(), tmp_path / 'published.pth')
    network = dict(type='SpandrelNet', path=str(tmp_path / 'published.pth'), scale=scale)
    distill = dict(type='PairwiseDistanceLoss', inter_layers=FEATURES, intra_layers=FEATURES)
    train = dict(teacher='static', distill_opt=distill, distill_warmup_iters=0, perceptual_opt=None)
    model = _static_model(merge(NO_D, dict(scale=scale, train=train)), network, {})
    generator = torch.Generator().manual_seed(0)
    sides = dict(lq=16, gt=16 * scale, lq_real=16)
    model.feed_data({k: torch.rand(2, 3, s, s, generator=generator) for k, s in sides.items()})
    before = {k: v.clone() for k, v in model.net_g.named_parameters()}
    model.optimize_parameters(1)
    assert model.get_current_log()['l_intra'] > 0
    assert any(not torch.equal(v, before[k]) for k, v in model.net_g.named_parameters())
    torch.save({'params': model.net_g.state_dict()}, tmp_path / 'saved.pth')
    found = ModelLoader(device='cpu').load_from_file(tmp_path / 'saved.pth')
    assert (found.architecture.id, found.scale) == (name, scale)
    again = build_network(network | dict(path=str(tmp_path / 'saved.pth')))
    x = torch.rand(1, 3, 16, 16, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(x), model.net_g.eval()(x), rtol=1e-4, atol=1e-5)


def test_spandrel_net_of_a_network_that_basicsr_has_not(tmp_path):
    """One enlargement (BSRGANx2): spandrel's own network; a resumed run reads its own checkpoint."""
    state = key_layouts.rename_rrdbnet(rrdbnet().state_dict(), 'bsrgan')
    del state['upconv2.weight'], state['upconv2.bias']
    torch.save(state, tmp_path / 'x2.pth')
    net = build_network(dict(type='SpandrelNet', path=str(tmp_path / 'x2.pth'), scale=2))
    assert net(torch.rand(1, 3, 5, 6)).shape == (1, 3, 10, 12)
    again = state_dict_of({'params': net.state_dict()}, 'params', 'x', 'x', net)
    assert again.keys() == net.state_dict().keys()
    with pytest.raises(OptionError, match=r'SpandrelNet scale: .* is an x2 network, expected 4'):
        build_network(dict(type='SpandrelNet', path=str(tmp_path / 'x2.pth'), scale=4))


# ---------------------------------------------------------------- files by name
@pytest.fixture
def published(tmp_path, monkeypatch):
    """A zoo of one entry, whose address is a file on this machine."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'cache'))
    file = tmp_path / 'tiny.pth'
    torch.save(key_layouts.rename_rrdbnet(rrdbnet().state_dict(), 'bsrgan'), file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    entry = replace(zoo.ZOO['BSRGAN'], url=file.as_uri(), sha256=sha256)
    monkeypatch.setattr(zoo, 'ZOO', {'tiny': entry})
    return entry


#: networks of the zoo that BasicSR has too. Not among them are SwinIR, for which spandrel pads to whole windows and
#: BasicSR does not, and BSRGANx2: one upsampling layer, where BasicSR's x2 network folds pixels and upsamples twice
BASICSR_NETWORKS = {
    'realesr-general-x4v3': COMPACT | dict(num_feat=64, num_conv=32),
    'RealESRGAN_x2plus': RRDB | dict(scale=2, num_feat=64, num_block=23),
    **dict.fromkeys(
        ('RealESRGAN_x4plus', 'BSRGAN', 'ESRGAN', 'ESRGAN_old_names'), RRDB | dict(num_feat=64, num_block=23)
    ),
}


def test_zoo_file_is_fetched_once_and_used(published, monkeypatch, workplace):
    content = read_checkpoint('zoo:tiny', 'path.pretrain_network_g')
    assert content.keys() == {'params'}
    assert published.file.is_file()
    monkeypatch.setattr(download, '_request', lambda *a: pytest.fail('asked for it again'))
    lr = np.random.default_rng(0).integers(0, 256, (9, 10, 3), dtype=np.uint8)
    assert network_upscaler(RRDB, 'zoo:tiny', 'params')(lr).shape == (36, 40, 3)
    # as teacher and student of a run, with the default key, although the file has none
    opt = run_options(network_g=None, path=dict(pretrain_network_g='zoo:tiny', param_key_g='params_ema'))
    opt['network_g'] = dict(RRDB)
    with open('run.yml', 'w') as f:
        yaml.safe_dump(merge(opt, dict(train=dict(total_iter=1))), f)
    release_logger()
    assert main(['train', '-opt', 'run.yml']) == 0


def test_zoo_is_not_fetched_by_a_check(published, monkeypatch):
    monkeypatch.setattr(download, '_request', lambda *a: pytest.fail('a check must not download'))
    opt = run_options(path=dict(pretrain_network_g='zoo:tiny'))
    networks = open_networks(RunOptions.of(opt), fetch=False)
    assert 'network_g' in networks
    open_weights(RunOptions.of(opt), networks, False, OpenedWeights())
    opt['network_g'], opt['path'] = dict(type='SpandrelNet', path='zoo:tiny'), {}
    with pytest.raises(
        MissingFileError, match=r'network_g\.path: zoo:tiny is not at .*tiny\.pth yet.*A run would fetch'
    ):
        open_networks(RunOptions.of(opt), fetch=False)


def test_zoo_refuses_another_file(published):
    published.file.parent.mkdir(parents=True)
    published.file.write_bytes(b'something else')
    with pytest.raises(WeightsError, match=r'path\.x: .*is not the file that .*SHA-256'):
        read_checkpoint('zoo:tiny', 'path.x')


def test_zoo_offline_and_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(download, '_request', lambda *a: (_ for _ in ()).throw(OSError('offline')))
    with pytest.raises(MissingFileError, match=r'needs BSRGAN\.pth, which is not at .*Fetch https://github.com/cszn'):
        read_checkpoint('zoo:BSRGAN')
    with pytest.raises(MissingFileError, match=r"zoo:BSRGANN is not known\. Did you mean 'BSRGAN'"):
        read_checkpoint('zoo:BSRGANN')


def test_zoo_table():
    for name, entry in zoo.ZOO.items():
        assert len(entry.sha256) == 64, name
        assert int(entry.sha256, 16)
        assert entry.url.startswith('https://github.com/')
        assert entry.licence
        assert entry.source
        if name in BASICSR_NETWORKS:
            with torch.device('meta'):
                net = build_network(BASICSR_NETWORKS[name])
            assert getattr(net, 'scale', getattr(net, 'upscale', None)) == entry.scale


# ---------------------------------------------------------------- scales
@pytest.mark.parametrize(
    ('kind', 'scale'), [*(('RRDBNet', s) for s in (1, 2, 4)), *(('SRVGGNetCompact', s) for s in (1, 2, 3, 4))]
)
def test_scale_from_data_to_validation(workplace, kind, scale):
    """Training and validation at a scale, with validation images whose sides fit nothing."""
    rng = np.random.default_rng(0)
    for folder, size in (('val_lr', (11, 13)), ('val_hr', (11 * scale, 13 * scale))):
        cv2.imwrite(f'{folder}/000.png', rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    for i in range(3):  # LR crops of scale 1 are as large as HR crops
        cv2.imwrite(f'real/{i:03d}.png', rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    network = RRDB | dict(scale=scale) if kind == 'RRDBNet' else COMPACT | dict(upscale=scale)
    opt = run_options(network_g=None, scale=scale, val=dict(save_img=True, val_freq=1), train=dict(total_iter=1))
    opt['network_g'] = network
    opt['datasets']['train']['gt_size'] = 24
    with open('run.yml', 'w') as f:
        yaml.safe_dump(opt, f)
    release_logger()
    assert main(['train', '-opt', 'run.yml']) == 0
    picture = cv2.imread('experiments/tiny/visualization/000/000_1.png')
    assert picture.shape == (11 * scale, 13 * scale, 3)


def test_network_that_does_not_enlarge_by_scale():
    """BasicSR's RRDBNet takes `scale: 3` and enlarges by 4."""
    opt = run_options(scale=3)
    opt['network_g'] = RRDB | dict(scale=3)
    with pytest.raises(OptionError, match='network_g: an image of 16x16 pixels becomes 64x64, but scale is 3'):
        open_networks(RunOptions.of(opt), fetch=True)


def test_padding_changes_nothing_inside():
    """Far from the cut sides an image is upscaled as before; a size that fits is not touched."""
    net = rrdbnet(2).eval()
    x = torch.rand(1, 3, 41, 43, generator=torch.Generator().manual_seed(0))
    assert required_multiple(net) == 2
    assert required_multiple(swinir()) == 8
    assert required_multiple(rrdbnet()) == 1
    with torch.no_grad():
        padded, whole = forward_padded(net, x, 2), net(x[..., :40, :42])
    assert padded.shape == (1, 3, 82, 86)
    torch.testing.assert_close(padded[..., :16, :16], whole[..., :16, :16])
    seen = []
    forward_padded(lambda t: seen.append(t) or t, x, 1)
    assert seen[0] is x
    assert forward_padded(swinir().eval(), x[..., :3, :5], 8).shape == (1, 3, 12, 20)
