"""LR synthesis against the reference numbers, and its options."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

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


def test_size_must_divide():
    with pytest.raises(ValueError, match='30x32 cannot be divided by the scale 4'):
        synthesise_lr(np.zeros((30, 32, 3), np.float32), 4, 'area')


def test_kernels_are_equally_likely():
    synthesis = LRSynthesis(None, 4)
    rng = np.random.default_rng(1)
    counts = Counter(synthesis.pick(rng) for _ in range(3000))
    assert set(counts) == set(DEFAULT_KERNELS)
    # standard deviation 26
    assert all(abs(count - 1000) < 130 for count in counts.values())
    assert LRSynthesis({'resize': 'matlab_bicubic'}, 4).kernels == ('matlab_bicubic',)


@pytest.mark.parametrize(
    ('opt', 'message'),
    [
        (
            {'resize': ['bicubic', 'bilinaer']},
            r"`datasets\.train\.lr_synthesis\.resize` holds 'bilinaer'; expected "
            r"'bicubic', 'bilinear', 'area' or 'matlab_bicubic'\. Did you mean 'bilinear'\?",
        ),
        ({'resize': []}, r'lr_synthesis\.resize` is \[\]; expected a list of'),
        ({'resize': 3}, r'lr_synthesis\.resize` is 3; expected a list of'),
        ({'resise': ['area']}, r"lr_synthesis\.resise` is not known.*Did you mean 'resize'\?"),
        ('area', r"lr_synthesis` is 'area'; expected a block"),
    ],
)
def test_wrong_options(opt, message):
    with pytest.raises(OptionError, match=message):
        LRSynthesis(opt, 4)
