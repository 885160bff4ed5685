"""Upscaling from Python: paths, Pillow images, arrays."""

import numpy as np
import pytest
from photo_material import doubled, exif, nearest, pattern, pillow, profile, save_compact
from PIL import Image

import pdd_arch
from pdd_arch import Upscaler
from pdd_arch.errors import DataError, MissingFileError, OptionError
from pdd_arch.photo_files.reading import read_photo


@pytest.fixture(scope='module')
def upscale():
    return Upscaler(nearest(), device='cpu')


def test_three_lines(tmp_path):
    model, photo = save_compact(tmp_path / 'model.pth'), tmp_path / 'photo.jpg'
    photo.write_bytes(pillow(pattern(3), 'JPEG', exif=exif(6), icc_profile=profile()))

    upscale = Upscaler(model)
    upscale(photo).save(tmp_path / 'large.png')

    large = Image.open(tmp_path / 'large.png')
    assert large.size == (20, 28)
    assert large.info['icc_profile'] == profile()
    assert large.getexif()[0x0112] == 1
    assert upscale.scale == 2
    assert upscale.device.type in ('cpu', 'cuda')
    assert 'Upscaler' in pdd_arch.__all__


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_arrays(upscale, channels, bits):
    array = pattern(channels, bits)
    array = array[..., 0] if channels == 1 else array
    result = upscale(array)
    np.testing.assert_array_equal(result.array, doubled(array))
    assert result.array.dtype == array.dtype
    assert result.size == (28, 20)
    image = np.asarray(result.image)
    np.testing.assert_array_equal(image, doubled(array if bits == 8 else np.rint(array / 257).astype(np.uint8)))


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK'])
def test_pillow_images(upscale, mode):
    image = Image.fromarray(pattern(4)).convert('RGB' if mode in ('P', 'CMYK') else 'RGBA').convert(mode)
    wanted = image.convert({'1': 'L', 'P': 'RGB', 'CMYK': 'RGB'}.get(mode, mode))
    result = upscale(image)
    np.testing.assert_array_equal(result.array, doubled(np.asarray(wanted)))
    assert result.image.size == (28, 20)


def test_a_pillow_image_brings_what_belongs_to_it(upscale, tmp_path):
    path = tmp_path / 'a.jpg'
    path.write_bytes(pillow(pattern(3), 'JPEG', exif=exif(6), icc_profile=profile()))
    result = upscale(Image.open(path))
    np.testing.assert_array_equal(result.photo.pixels, doubled(read_photo(path).pixels))
    assert result.image.info['icc_profile'] == profile()
    assert result.save(tmp_path / 'b.jpg') == []
    assert Image.open(tmp_path / 'b.jpg').getexif()[0x010F] == 'Maker'


def test_saving(upscale, tmp_path):
    result = upscale(pattern(4, 16))
    assert result.save(tmp_path / 'a.jpg') == [
        '16 bits were reduced to 8, as a JPEG has no more',
        'transparency was dropped, as a JPEG has none',
    ]
    with pytest.raises(DataError, match=r'a.jpg: exists and is not overwritten'):
        result.save(tmp_path / 'a.jpg')
    result.save(tmp_path / 'a.jpg', quality=60, overwrite=True)


def test_options(upscale):
    seen = []
    assert Upscaler(nearest(), outscale=3, tile=8, overlap=0, device='cpu')(
        pattern(3), lambda done, total: seen.append((done, total))
    ).size == (42, 30)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with pytest.raises(OptionError, match="outscale: expected a number above 0, 16 at most, found 'x'"):
        Upscaler(nearest(), outscale='x')


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (3, 'expected a path, a Pillow image or a numpy array, found int'),
        (np.zeros((4, 4, 3)), r'expected an array of uint8 or uint16, found float64. Values in \[0, 1\]'),
        (np.zeros((4, 4, 2), np.uint8), r'expected the shape \(H, W\), .* found \(4, 4, 2\)'),
        (np.zeros((0, 4), np.uint8), r'found \(0, 4\)'),
        (Image.new('LAB', (4, 4)), "a Pillow image of mode 'LAB' is not supported"),
    ],
)
def test_what_is_no_image(upscale, image, message):
    with pytest.raises(DataError, match=message):
        upscale(image)


def test_what_is_not_there(upscale, tmp_path):
    with pytest.raises(MissingFileError, match=r'the file does not exist'):
        upscale(tmp_path / 'none.jpg')
    with pytest.raises(MissingFileError, match=r'model: there is no file .*none\.pth'):
        Upscaler(tmp_path / 'none.pth')
