"""LR synthesis of the methods that are compared with."""

import random

import numpy as np
import pytest

from pdd_arch.degradations.lr_synthesis import LRSynthesis, inject_noise
from pdd_arch.degradations.real_esrgan import RealESRGAN


@pytest.fixture
def hr() -> np.ndarray:
    """A smooth image."""
    y, x = np.mgrid[:64, :64].astype(np.float32) / 64
    return np.stack([x, y, 0.5 + 0.4 * np.sin(9 * x * y)], axis=-1).astype(np.float32)


@pytest.mark.parametrize('scale', [1, 2, 4])
def test_real_esrgan_depends_on_its_generator_alone(hr, scale):
    before = np.random.get_state()[1].copy(), random.getstate()
    images = [RealESRGAN()(hr, scale, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert images[0].shape == (64 // scale, 64 // scale, 3)
    assert images[0].dtype == np.float32
    np.testing.assert_array_equal(images[0], images[1])
    assert np.abs(images[0] - images[2]).max() > 0.01
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert random.getstate() == before[1]


def test_real_esrgan_degrades(hr):
    clean = LRSynthesis(4, ('area',))(hr, np.random.default_rng(0))
    images = [RealESRGAN()(hr, 4, np.random.default_rng(seed)) for seed in range(12)]
    for image in images:
        assert 0 <= image.min() <= image.max() <= 1
        np.testing.assert_allclose(image * 255, np.round(image * 255), atol=1e-3)
    assert np.mean([np.abs(image - clean).mean() for image in images]) > 0.02
    # still the same picture
    assert np.abs(np.mean(images, axis=0) - clean).mean() < 0.06


def test_injected_noise_is_the_target_domain_s():
    rng = np.random.default_rng(0)

    def target() -> np.ndarray:
        level = rng.random()
        structure = rng.random((2, 2, 3)).repeat(8, 0).repeat(8, 1) if rng.random() < 0.5 else 0
        noise = 0.05 * rng.standard_normal((16, 16, 3))
        return np.clip(0.3 + 0.2 * level + 0.4 * structure + noise, 0, 1).astype(np.float32)

    lr = np.full((16, 16, 3), 0.5, np.float32)
    added = np.stack([inject_noise(lr, target) - lr for _ in range(20)])
    # of the flat crops only: those with structure vary by three times as much
    assert added.std() == pytest.approx(0.05, rel=0.15)
    assert abs(added.mean()) < 0.01


def test_in_place_of_the_kernels_and_after_them(hr):
    rng = np.random.default_rng
    made = LRSynthesis(4, degradation=RealESRGAN())(hr, rng(3))
    np.testing.assert_array_equal(made, RealESRGAN()(hr, 4, rng(3)))
    noisy = LRSynthesis(4, noise_injection=True)(hr, rng(3), lambda: np.eye(16, dtype=np.float32)[..., None] * 0.1)
    assert np.abs(noisy - LRSynthesis(4)(hr, rng(3))).max() > 0.05
