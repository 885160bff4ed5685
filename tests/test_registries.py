"""Everything that BasicSR and Real-ESRGAN register: trained in a test, or not supported for a reason."""

import inspect
import subprocess
import sys
from pathlib import Path

import basicsr.archs
import numpy as np
import pytest
import torch
import yaml
from basicsr.data import build_dataset
from basicsr.losses import build_loss
from basicsr.metrics import calculate_metric
from published_files import TRAINING
from published_place import data_of, published_place, small_parts  # noqa: F401  (fixtures)
from registered_classes import KINDS, LOSSES, METRICS, NETWORKS, TESTS, UNSUPPORTED, registered, rows, table
from test_real_esrgan import file_of, real_esrgan_place  # noqa: F401  (a fixture)


def test_every_name_has_its_place():
    """Whoever adds a name, or updates BasicSR, says what becomes of it; and of those that are gone."""
    nowhere = [row.name for row in rows() if not (row.trained or row.unsupported)]
    assert not nowhere
    names = set().union(*map(registered, KINDS))
    assert {*NETWORKS, *LOSSES, *METRICS, *TESTS, *UNSUPPORTED} <= names


def test_the_table_is_up_to_date():
    file = Path(__file__).parents[1] / 'experiments' / 'results' / 'registered_classes.md'
    assert file.read_text(encoding='utf-8') == table(), 'run: python experiments/registries.py'


@pytest.mark.parametrize('name', TESTS)
def test_tests_that_are_named(name):
    """They are there, and the name stands in them or in what they share."""
    folder = Path(__file__).parent
    texts = [(folder / f'{file}.py').read_text(encoding='utf-8') for file in (TESTS[name], 'helpers')]
    assert any(name in text for text in texts)


@pytest.mark.parametrize('name', LOSSES)
def test_losses(name):
    options, target = LOSSES[name]
    image = torch.rand(2, 3, 8, 8, requires_grad=True)
    others = {'image': (torch.rand(2, 3, 8, 8),), None: ()}.get(target, (target,))
    build_loss(dict(type=name, **options))(image, *others).backward()
    assert torch.isfinite(image.grad).all()


@pytest.mark.parametrize('name', METRICS)
def test_metrics(name):
    images = np.random.default_rng(0).integers(0, 256, (2, 208, 208, 3), np.uint8)
    data = dict(img=images[0]) if name == 'calculate_niqe' else dict(img=images[0], img2=images[1])
    assert np.isfinite(calculate_metric(data, dict(type=name, crop_border=4)))


@pytest.mark.parametrize('name', NETWORKS)
def test_networks(name):
    options, shape = NETWORKS[name]
    network = basicsr.archs.build_network(dict(type=name, **options))
    output = network(torch.rand(1, *shape))
    output.mean().backward()
    assert output.shape[-1] in (shape[-1], 4 * shape[-1])
    learns = [p.grad is not None for p in network.parameters() if p.requires_grad]
    assert all(learns)


# ---------------------------------------------------------------- why some are not supported
@pytest.mark.parametrize('name', ['calculate_psnr_pt', 'calculate_ssim_pt'])
def test_metrics_of_tensors(name):
    images = np.zeros((2, 32, 32, 3), np.uint8)
    with pytest.raises(IndexError):
        calculate_metric(dict(img=images[0], img2=images[1]), dict(type=name, crop_border=4))


def test_ffhq(published_place):  # noqa: F811
    options = TRAINING['train/StyleGAN/train_StyleGAN2_256_Cmul2_FFHQ']
    published_place(options)
    dataset = build_dataset({**options['datasets']['train'], 'phase': 'train'})
    assert {*dataset[0]} == {'gt', 'gt_path'}
    assert dataset[0]['gt'].shape == (3, 16, 16)


def test_spynet_gives_a_flow():
    flow = basicsr.archs.build_network(dict(type='SpyNet'))(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64))
    flow.mean().backward()
    assert flow.shape == (1, 2, 64, 64)


def test_dfdnet_asks_for_positions():
    forward = inspect.signature(basicsr.archs.dfdnet_arch.DFDNet.forward)
    assert forward.parameters['part_locations'].default is inspect.Parameter.empty


def test_the_extension_is_needed():
    """StyleGAN2's activation has no other implementation."""
    from basicsr.ops import fused_act

    if hasattr(fused_act.fused_act, 'fused_act_ext'):
        pytest.skip('BasicSR was compiled with its extension')
    with pytest.raises(NameError, match='fused_act_ext'):
        fused_act.fused_leaky_relu(torch.rand(1, 2, 4, 4), torch.zeros(2))


def test_after_importing_real_esrgan(real_esrgan_place):  # noqa: F811
    """Its package registers the same names anew, also for the datasets and the discriminator."""
    opt = file_of('RealESRNetModel', train=dict(total_iter=1), val=dict(val_freq=1))
    (real_esrgan_place / 'run.yml').write_text(yaml.safe_dump(opt))
    code = (
        'import sys, pdd_arch, realesrgan, torch\n'
        'from basicsr.train import train_pipeline\n'
        'from basicsr.utils.registry import MODEL_REGISTRY\n'
        "assert MODEL_REGISTRY.get('RealESRNetModel').__module__.startswith('realesrgan')\n"
        'torch.set_num_threads(1)\n'
        "train_pipeline('.')\n"
    )
    done = subprocess.run([sys.executable, '-c', code, '-opt', 'run.yml'], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (real_esrgan_place / 'experiments/tiny/models/net_g_latest.pth').is_file()
