"""Reading images: every depth and layout, orientation, and broken files."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from pdd_arch.data.image_io import check_image_file, decode_image, image_size, read_image
from pdd_arch.errors import DataError, MissingFileError

RNG = np.random.default_rng(0)


def encode(array: np.ndarray, extension: str = '.png') -> bytes:
    return cv2.imencode(extension, array)[1].tobytes()


def encode_pil(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize('extension', ['.png', '.tif'])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_depth_and_channels(extension, dtype, channels):
    top = np.iinfo(dtype).max
    pixels = RNG.integers(0, top + 1, (6, 9, channels)).astype(dtype)
    content = encode(pixels, extension)
    image = decode_image(content, 'x')
    colour = np.repeat(pixels, 3, 2) if channels == 1 else pixels[..., :3]
    assert image.shape == (6, 9, 3)
    assert image.dtype == np.float32
    assert image.flags['C_CONTIGUOUS']
    np.testing.assert_array_equal(image, colour.astype(np.float32) / np.float32(top))
    assert image_size(content) == (6, 9)


def test_dark_16_bit_image_stays_16_bit():
    """RealESRGANer would take it for an 8-bit one."""
    image = decode_image(encode(np.full((4, 4, 3), 200, np.uint16)), 'x')
    np.testing.assert_allclose(image, 200 / 65535)


def test_gray_with_alpha_palette_and_bilevel():
    gray_alpha = RNG.integers(0, 256, (6, 9, 2)).astype(np.uint8)
    image = decode_image(encode_pil(Image.fromarray(gray_alpha, 'LA'), 'PNG'), 'x')
    np.testing.assert_array_equal(image, np.repeat(gray_alpha[..., :1], 3, 2).astype(np.float32) / 255)
    colour = Image.fromarray(RNG.integers(0, 256, (6, 9, 3)).astype(np.uint8))
    for mode in ('P', '1'):
        converted = colour.convert(mode)
        expected = np.asarray(converted.convert('RGB'))[..., ::-1] / np.float32(255)
        np.testing.assert_array_equal(decode_image(encode_pil(converted, 'PNG'), 'x'), expected)


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'TIFF', 'WEBP'])
@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
def test_exif_orientation_is_applied(kind, orientation, tmp_path):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :8] = 255  # a white bar on the left of the stored image
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode_pil(Image.fromarray(pixels), kind, exif=exif)
    path = tmp_path / 'phone.img'
    path.write_bytes(content)
    image = read_image(path)
    upright = {1: pixels, 3: np.rot90(pixels, 2), 6: np.rot90(pixels, -1), 8: np.rot90(pixels)}[orientation]
    assert image.shape == upright.shape
    assert abs(image - upright / 255.0).max() < 0.1  # JPEG and WebP are lossy
    assert image_size(content) == image_size(path) == check_image_file(path) == upright.shape[:2]


@pytest.mark.parametrize('extension', ['.png', '.jpg', '.webp', '.bmp', '.tif'])
@pytest.mark.parametrize('kept', [0.5, 0.95])
def test_truncated_file_is_an_error(extension, kept, tmp_path):
    pixels = cv2.GaussianBlur(RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8), (0, 0), 2)
    content = encode(pixels, extension)
    path = tmp_path / f'half{extension}'
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(DataError, match=rf'half\{extension}: is a truncated.*Replace or remove it\.'):
        read_image(path)


@pytest.mark.parametrize('extension', ['.png', '.jpg', '.webp'])
def test_truncation_is_seen_without_decoding(extension, tmp_path, monkeypatch):
    """Some versions of OpenCV return grey pixels for half a file, so its opinion is not asked."""
    content = encode(RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8), extension)
    path = tmp_path / f'half{extension}'
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: np.full((64, 64, 3), 128, np.uint8))
    for lost in (1, 4, len(content) // 2):
        path.write_bytes(content[:-lost])
        for look in (check_image_file, read_image):
            with pytest.raises(DataError, match='is a truncated'):
                look(path)


def test_jpeg_with_thumbnail_and_trailing_bytes(tmp_path):
    """The thumbnail's own end marker does not count; bytes behind the image do not matter."""
    pixels = RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    jpeg, thumbnail = encode(pixels, '.jpg'), encode(pixels[:8, :8], '.jpg')
    block = b'Exif\0\0' + thumbnail
    whole = jpeg[:2] + b'\xff\xe1' + (len(block) + 2).to_bytes(2, 'big') + block + jpeg[2:]
    path = tmp_path / 'a.jpg'
    path.write_bytes(whole + b'trailer')
    assert check_image_file(path) == (64, 64)
    np.testing.assert_array_equal(read_image(path), decode_image(jpeg, 'x'))
    path.write_bytes(whole[: len(whole) // 2 + len(block) // 2])
    with pytest.raises(DataError, match='truncated JPEG'):
        check_image_file(path)


def test_damaged_png(tmp_path):
    content = bytearray(encode(RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)))
    content[len(content) // 2] ^= 0xFF
    path = tmp_path / 'damaged.png'
    path.write_bytes(content)
    with pytest.raises(DataError, match=r'damaged\.png: is a truncated or damaged PNG'):
        read_image(path)
    assert check_image_file(path) == (64, 64)
    with pytest.raises(DataError, match=r'damaged\.png: is a damaged PNG \(wrong checksum'):
        check_image_file(path, deep=True)


@pytest.mark.parametrize('look', [read_image, check_image_file, image_size])
def test_empty_text_and_missing_files(look, tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(b'')
    with pytest.raises(DataError, match=r'a\.png: is empty \(0 bytes\).*Replace or remove it'):
        look(path)
    path.write_text('<html>404 Not Found</html>')
    with pytest.raises(DataError, match=r"a\.png: is not an image.*b'<html>404 No'\).*Replace or remove it"):
        look(path)
    with pytest.raises(MissingFileError, match=r'b\.png: the file does not exist'):
        look(tmp_path / 'b.png')
    with pytest.raises(DataError, match='cannot be read'):
        look(tmp_path)


def test_float_image_is_an_error():
    with pytest.raises(DataError, match=r'a\.tif: has float32 pixels; images of 8 or 16 bits'):
        decode_image(encode(RNG.random((4, 4, 3)).astype(np.float32), '.tif'), 'a.tif')
