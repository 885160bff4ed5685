"""Choosing without ground truth: statistics, the estimate of a camera, signals and the choice."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from basicsr.losses import build_loss
from helpers import SMALL_FEATURES, SMALL_LAYERS
from torch import nn

from pdd_arch.degradations.operations import Blur, GaussianBlur
from pdd_arch.demo.photographs import HR_REGIONS, TEST_REGIONS, demo_images
from pdd_arch.errors import DataError
from pdd_arch.features import FeatureNet
from pdd_arch.selection import CameraEstimate, Signals, camera, choose, estimate_camera, hold_out
from pdd_arch.selection.camera import camera_statistics

SIGNALS = Signals(20.0, 0.8, 0.1, 25.0, 30.0, 0.9, 0.0, 1.0, 5.0)


@pytest.fixture(scope='module')
def scenes():
    """Crops of the demo's HR photographs, and of others that the `photographs` are taken of; float32."""
    images = {k: v.astype(np.float32) / 255 for k, v in demo_images().items()}
    hr = [images[f'hr/{r.name}.png'][:256, :256] for r in HR_REGIONS if r.bottom - r.top >= 256]
    other = [images[f'test_hr/{r.name}.png'][:256, :256] for r in TEST_REGIONS]
    return hr, other


def taken(scenes, camera: CameraEstimate) -> list[np.ndarray]:
    return [camera.domain(scene, 4, 100 + i) for i, scene in enumerate(scenes)]


def test_statistics_are_numbers_that_noise_blur_and_jpeg_move(scenes):
    image = scenes[1][0]
    plain = camera_statistics(image)
    assert plain.shape == (21,)
    assert np.isfinite(plain).all()
    noisy = camera_statistics(taken([image], CameraEstimate(0, 0, 0.03, 100))[0])
    downsampled, blurred, compressed = (
        camera_statistics(taken([image], CameraEstimate(b, 0, 0, q))[0]) for b, q in ((0, 100), (3, 100), (0, 30))
    )
    assert noisy[0] > downsampled[0] + 0.5
    assert blurred[0] < downsampled[0] - 0.3
    assert (compressed[-2:] > downsampled[-2:] + 0.7).all()


def test_statistics_hardly_depend_on_mirroring_and_on_contrast_only_by_a_shift(scenes):
    image = scenes[1][1][:128, :128]
    mirrored = camera_statistics(np.ascontiguousarray(image[:, ::-1]))
    assert np.abs(mirrored - camera_statistics(image)).max() < 0.05
    steps = camera_statistics(image / 2) - camera_statistics(image)
    assert np.allclose(steps[:19], np.log(0.5), atol=0.1)  # logarithms of sizes
    assert np.allclose(steps[19:], 0, atol=0.05)  # a ratio


def test_flat_image_has_finite_statistics():
    assert np.isfinite(camera_statistics(np.full((32, 40, 3), 0.5, np.float32))).all()


def test_lens_is_the_isotropic_kernel_of_basicsr(scenes):
    image = scenes[1][0]
    blurred = Blur((1.7, 1.7 + 1e-6))(image, 4)
    assert np.abs(GaussianBlur(1.7)(image, 4) - blurred).max() < 1e-5


@pytest.mark.parametrize(
    'true', [CameraEstimate(0, 0, 0.03, 100), CameraEstimate(2.5, 0, 0, 100), CameraEstimate(0, 0, 0, 40)]
)
def test_estimate_recovers_a_known_camera_roughly(scenes, true):
    found = estimate_camera(taken(scenes[1], true), scenes[1], 4)
    assert abs(found.blur - true.blur) < 1
    assert abs(found.read - true.read) < 0.015
    assert abs(found.quality - true.quality) < 12
    assert found.mismatch < 0.3


def test_estimate_is_the_same_in_every_call(scenes, monkeypatch):
    monkeypatch.setattr(camera, '_TRIED', 8)
    monkeypatch.setattr(camera, '_EVALUATIONS', 20)
    photographs = taken(scenes[1], CameraEstimate(1, 0, 0.02, 80))
    assert estimate_camera(photographs, scenes[0], 4) == estimate_camera(photographs, scenes[0], 4)


def test_estimate_can_be_ended_between_two_trials(scenes):
    trials = []

    def check():
        trials.append(None)
        if len(trials) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimate_camera(scenes[1], scenes[0], 4, check)
    assert len(trials) == 3


def test_estimate_needs_images_that_are_large_enough(scenes):
    small = [np.zeros((31, 64, 3), np.float32)]
    with pytest.raises(
        DataError, match='photographs: expected images of at least 32 x 32 pixels, found one of 64 x 31'
    ):
        estimate_camera(small, scenes[0], 4)
    with pytest.raises(DataError, match=r'HR images: .* 128 x 128 pixels, found none'):
        estimate_camera(scenes[1], [], 4)


def test_cameras_are_told_in_words():
    assert str(CameraEstimate(0, 0, 0, 100)) == 'no blur, noise or compression to speak of'
    told = str(CameraEstimate(1.04, 0.03, 0.04, 80))
    assert (
        told
        == 'a blur of 1.0 pixels of the result, noise of 4.0 % in the dark and 5.0 % in full light, JPEG of quality 80'
    )


@pytest.fixture(scope='module')
def held_out(scenes):
    true = CameraEstimate(1.0, 0, 0.01, 90)
    return hold_out(taken(scenes[1][:2], true), scenes[0][:3], true, 4)


@pytest.fixture(scope='module')
def tools():
    distances = dict(type='PairwiseDistanceLoss', inter_layers=SMALL_LAYERS, intra_layers=SMALL_LAYERS)
    return FeatureNet(**SMALL_FEATURES, layers=list(SMALL_LAYERS)), build_loss(
        dict(distances, feature_net=SMALL_FEATURES)
    )


def bicubic(images: torch.Tensor) -> torch.Tensor:
    return nn.functional.interpolate(images, scale_factor=4, mode='bicubic')


def test_held_out_images_have_one_size_and_are_stored_in_8_bits(held_out):
    assert held_out.photographs.shape == (2, 3, 64, 64)
    assert held_out.hr.shape == (3, 3, 256, 256)
    assert held_out.simulated.shape == held_out.synthetic.shape == (3, 3, 64, 64)
    for lr in (held_out.simulated, held_out.synthetic):
        assert torch.allclose(lr * 255, (lr * 255).round(), atol=1e-3)
    assert not torch.equal(held_out.simulated, held_out.synthetic)


def test_the_generalist_itself_agrees_with_itself(held_out, tools):
    outputs = held_out.upscale(bicubic)
    signals = held_out.measure(outputs, outputs, *tools)
    assert signals.structure == pytest.approx(1, abs=1e-6)
    assert signals.inter == pytest.approx(0, abs=1e-6)
    assert signals.intra > 0
    assert signals.niqe > 0
    assert signals.synthetic_psnr > signals.simulated_psnr  # the camera makes it harder
    without = held_out.measure(outputs, outputs, tools[0], None)
    assert (without.inter, without.intra) == (None, None)


def test_psnr_is_that_of_a_known_error(held_out, tools):
    outputs = held_out.upscale(bicubic)
    middle = replace(held_out, hr=torch.full_like(held_out.hr, 0.5))
    known = replace(outputs, simulated=torch.full_like(outputs.simulated, 0.6), synthetic=middle.hr)
    signals = middle.measure(known, outputs, *tools)
    error = (round(0.6 * 255) / 255 - 0.5) ** 2
    assert signals.simulated_psnr == pytest.approx(-10 * math.log10(error), abs=1e-3)
    assert signals.synthetic_psnr == pytest.approx(-10 * math.log10((128 / 255 - 0.5) ** 2), abs=0.05)


@pytest.mark.parametrize('scale', [1, 2])
def test_outputs_too_small_for_niqe_have_none(scenes, tools, scale):
    camera = CameraEstimate(0, 0, 0, 100)
    held_out = hold_out([s[:64, :64] for s in scenes[1]], scenes[0], camera, scale)
    outputs = held_out.upscale(lambda x: nn.functional.interpolate(x, scale_factor=scale))
    assert held_out.measure(outputs, outputs, *tools).niqe is None


def test_choice_takes_the_best_psnr_over_both_kinds_of_pairs():
    measured = {
        10: replace(SIGNALS, simulated_psnr=20.00, synthetic_psnr=25.0),
        20: replace(SIGNALS, simulated_psnr=20.95, synthetic_psnr=25.5),
        30: replace(SIGNALS, simulated_psnr=21.00, synthetic_psnr=25.2),  # 0.04 better here, 0.06 worse there
        40: replace(SIGNALS, simulated_psnr=20.95, synthetic_psnr=25.5),
        50: replace(SIGNALS, simulated_psnr=20.60, synthetic_psnr=26.0),
    }
    choice = choose(measured)
    assert choice.key == 20  # the earlier of two that are alike
    assert '20.95 dB' in choice.reason
    assert '5 checkpoints' in choice.reason
    assert choose({k: measured[k] for k in (10, 30)}).key == 30


def test_choice_passes_over_what_is_no_number():
    assert choose({1: replace(SIGNALS, simulated_psnr=math.nan), 2: SIGNALS}).key == 2
    with pytest.raises(DataError, match='found none'):
        choose({1: replace(SIGNALS, simulated_psnr=math.nan)})
    with pytest.raises(DataError, match='expected at least one'):
        choose({})
