"""LR synthesis against the reference numbers, and its options."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pdd_arch.data.section import lr_synthesis_of, read_section
from pdd_arch.degradations.lr_synthesis import DEFAULT_KERNELS, LRSynthesis, synthesise_lr
from pdd_arch.errors import OptionError

ORACLE = Path(__file__).parent / 'oracle'
sys.path.insert(0, str(ORACLE))
import recipes  # noqa: E402


@pytest.mark.parametrize('kind', ['noise', 'smooth'])
@pytest.mark.parametrize(
    ('kernel', 'name'),
    [('bicubic', 'bicubic'), ('bilinear', 'bilinear'), ('area', 'area'), ('matlab_bicubic', 'matlab')],
)
def test_matches_reference(kind, kernel, name):
    with np.load(ORACLE / 'data.npz') as reference:
        expected = reference[f'lr/{kind}/{name}/quantised_u8']
    hr = recipes.image_f32(kind)
    kept = hr.copy()
    lr = synthesise_lr(hr, 4, kernel)
    assert lr.dtype == np.float32
    assert lr.flags['C_CONTIGUOUS']
    np.testing.assert_array_equal(np.round(lr * 255).astype(int), expected)
    np.testing.assert_array_equal(lr, expected.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(hr, kept)


def test_matlab_kernel_before_rounding():
    from basicsr.utils.matlab_functions import imresize

    with np.load(ORACLE / 'data.npz') as reference:
        for kind in ('noise', 'smooth'):
            raw = reference[f'lr/{kind}/matlab/raw_f64']
            assert abs(imresize(recipes.image_f32(kind), 1 / 4) - raw).max() < 3e-7


def synthesis(block):
    """What the block of the option file asks for."""
    opt = {'dataroot_gt': 'a', 'dataroot_lq': 'b', 'gt_size': 32, 'scale': 4, 'lr_synthesis': block}
    section, scale, _ = read_section(opt)
    return lr_synthesis_of(section.lr_synthesis, scale)


def test_size_must_divide():
    with pytest.raises(ValueError, match='30x32 cannot be divided by the scale 4'):
        synthesise_lr(np.zeros((30, 32, 3), np.float32), 4, 'area')


def test_kernels_are_equally_likely():
    synthesis = LRSynthesis(4)
    rng = np.random.default_rng(1)
    counts = Counter(synthesis.pick(rng) for _ in range(3000))
    assert set(counts) == set(DEFAULT_KERNELS)
    # standard deviation 26
    assert all(abs(count - 1000) < 130 for count in counts.values())


@pytest.mark.parametrize('resize', ['matlab_bicubic', ['matlab_bicubic']])
def test_one_kernel(resize):
    assert synthesis({'resize': resize}).kernels == ('matlab_bicubic',)
    assert synthesis(None) == synthesis({}) == LRSynthesis(4)


@pytest.mark.parametrize(
    ('opt', 'message'),
    [
        (
            {'resize': ['bicubic', 'bilinaer']},
            r'datasets\.train\.lr_synthesis\.resize\[1\]: expected '
            r"'bicubic', 'bilinear', 'area' or 'matlab_bicubic', found 'bilinaer'\. Did you mean 'bilinear'\?",
        ),
        ({'resize': []}, r'lr_synthesis\.resize: expected .* list of .*found \[\]'),
        ({'resize': 3}, r'lr_synthesis\.resize: expected .* list of .*found 3'),
        ({'resise': ['area']}, r"lr_synthesis\.resise: unknown key.*Did you mean 'resize'\?"),
        ('area', r"lr_synthesis: expected a section, found 'area'"),
        ({'degradation': 'real_esrgan', 'resize': 'area'}, r"degradation: 'real_esrgan' takes no `resize`"),
        ({'noise_injection': 1}, r'noise_injection: expected true or false, found 1'),
    ],
)
def test_wrong_options(opt, message):
    with pytest.raises(OptionError, match=message):
        synthesis(opt)
