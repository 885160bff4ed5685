"""What becomes of a photograph: its size, its levels, its colours, its alpha."""

from pathlib import Path

import numpy as np
import pytest
import torch
from photo_material import Nearest, nearest, pattern, save_compact

from pdd_arch.errors import OptionError
from pdd_arch.inference import LoadedNetwork, load_network
from pdd_arch.photo_files.photo import Photo
from pdd_arch.upscaling.engine import PhotoUpscaler, match_levels
from pdd_arch.utils.color import match_color


@pytest.mark.parametrize(('outscale', 'size'), [(None, (20, 28)), (2.5, (25, 35)), (1, (10, 14)), (0.05, (1, 1))])
@pytest.mark.parametrize('bits', [8, 16])
def test_outscale(bits, outscale, size):
    photo = Photo(pattern(3, bits), pattern(1, bits)[..., 0])
    large = PhotoUpscaler(nearest(), outscale=outscale, device='cpu').upscale(photo)
    assert large.pixels.shape == (*size, 3)
    assert large.alpha.shape == size
    assert large.bits == bits
    if outscale == 1:  # the area average of equal pixels
        np.testing.assert_array_equal(large.pixels, photo.pixels)
        np.testing.assert_array_equal(large.alpha, photo.alpha)


@pytest.mark.parametrize('bits', [8, 16])
def test_color_match_is_the_methods(bits):
    class Tinted(Nearest):
        def forward(self, x):
            return super().forward(x) * torch.tensor([0.5, 0.8, 0.6]).view(3, 1, 1) + 0.1

    photo = Photo(pattern(3, bits, 40, 50))
    tinted = LoadedNetwork(Tinted(), 2, 'tinted', 'tinted', Path('tinted'))
    found = PhotoUpscaler(tinted, color_match=True, tile=16, overlap=0, device='cpu').upscale(photo)
    levels = 2**bits - 1
    reference = torch.from_numpy(photo.pixels[..., ::-1].astype(np.float32) / levels).permute(2, 0, 1)[None]
    wanted = match_color(Tinted()(reference), reference)[0].permute(1, 2, 0).clamp(0, 1).numpy()[..., ::-1]
    assert np.abs(found.pixels.astype(int) - np.rint(wanted * levels)).max() <= (1 if bits == 8 else 3)
    assert found.pixels.dtype == photo.pixels.dtype
    plain = PhotoUpscaler(tinted, device='cpu').upscale(photo)
    assert np.abs(plain.pixels.astype(int) - found.pixels).max() > levels // 10


def test_color_match_of_one_level():
    gray = np.full((4, 4, 3), 40000, np.uint16)
    np.testing.assert_array_equal(match_levels(gray, np.full((2, 2, 3), 77, np.uint8)), np.full((4, 4, 3), 77))
    one = match_levels(gray, np.full((1, 1, 3), 9, np.uint8))
    np.testing.assert_array_equal(one, np.full((4, 4, 3), 9))


def test_gray_stays_gray_and_alpha_that_is_the_same_everywhere_stays(tmp_path):
    upscale = PhotoUpscaler(load_network(save_compact(tmp_path / 'model.pth')), device='cpu').upscale
    gray = Photo(np.repeat(pattern(1), 3, axis=2), np.full((10, 14), 200, np.uint8), gray=True)
    large = upscale(gray)
    assert (large.pixels[..., :1] == large.pixels).all()
    assert (large.alpha == 200).all()
    varied = upscale(Photo(gray.pixels, pattern(1)[..., 0]))
    assert np.ptp(varied.pixels.astype(int), axis=2).max() > 0
    assert varied.alpha.shape == (20, 28)
    with pytest.raises(OptionError, match=r"tile: expected 'auto' or a whole number of at least 0, found 'big'"):
        PhotoUpscaler(nearest(), tile='big')
