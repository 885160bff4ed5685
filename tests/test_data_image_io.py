"""Reading images: every depth and layout, orientation, and broken files."""

import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image

from pdd_arch.errors import DataError, MissingFileError
from pdd_arch.images import decoding
from pdd_arch.images.decoding import content_size, decode_raw, image_size, read_image, to_float32

RNG = np.random.default_rng(0)


def decode_image(content: bytes, source: str) -> np.ndarray:
    return to_float32(decode_raw(content, source))


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
    assert content_size(content, 'x') == (6, 9)


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
    assert content_size(content, 'x') == image_size(path) == upright.shape[:2]


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
        for look in (image_size, read_image):
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
    assert image_size(path) == (64, 64)
    np.testing.assert_array_equal(read_image(path), decode_image(jpeg, 'x'))
    path.write_bytes(whole[: len(whole) // 2 + len(block) // 2])
    with pytest.raises(DataError, match='truncated JPEG'):
        image_size(path)


def test_damaged_png(tmp_path):
    content = bytearray(encode(RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)))
    content[len(content) // 2] ^= 0xFF
    path = tmp_path / 'damaged.png'
    path.write_bytes(content)
    with pytest.raises(DataError, match=r'damaged\.png: is a truncated or damaged PNG'):
        read_image(path)
    assert image_size(path) == (64, 64)
    with pytest.raises(DataError, match=r'damaged\.png: is a damaged PNG \(wrong checksum'):
        image_size(path, deep=True)


@pytest.mark.parametrize('look', [read_image, image_size])
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


def photograph(height=200, width=200):
    return cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8), (0, 0), 2)


def test_jpeg_damaged_in_the_middle(tmp_path):
    """libjpeg repairs it and complains to standard error only."""
    content = bytearray(encode(photograph(), '.jpg'))
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    path = tmp_path / 'a.jpg'
    path.write_bytes(content)
    assert image_size(path) == (200, 200), 'the structure is whole'
    for look in (read_image, lambda p: image_size(p, deep=True)):
        with pytest.raises(DataError, match=r'a\.jpg: is a truncated or damaged JPEG .*\(libjpeg: Corrupt JPEG data: '):
            look(path)


@pytest.mark.parametrize('padding', [b'\0' * 5, b'\xff' * 4])
def test_padded_jpeg_is_fine(padding, capfd):
    """Some cameras pad before the end marker; libjpeg complains of that too."""
    content = encode(photograph(), '.jpg')
    np.testing.assert_array_equal(
        decode_image(content[:-2] + padding + content[-2:], 'x'), decode_image(content, 'x'), strict=True
    )
    assert capfd.readouterr().err == ''


def test_standard_error_of_others_is_passed_on(monkeypatch, capfd):
    content, plain = encode(photograph(8, 8), '.jpg'), cv2.imdecode

    def decode(*args):
        os.write(2, b'from another thread\n')
        return plain(*args)

    monkeypatch.setattr(cv2, 'imdecode', decode)
    decode_image(content, 'x')
    assert capfd.readouterr().err == 'from another thread\n'


def test_decoding_in_threads():
    content = encode(photograph(), '.jpg')
    expected = decode_image(content, 'x')
    found = []
    threads = [threading.Thread(target=lambda: found.append(decode_image(content, 'x'))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert all(np.array_equal(image, expected) for image in found)


def test_pngs_are_decoded_side_by_side(monkeypatch):
    """Each of two threads is inside the decoder until the other one is, too."""
    content, plain = encode(photograph(8, 8)), cv2.imdecode
    both = threading.Barrier(2, timeout=20)

    def decode(*args):
        both.wait()
        return plain(*args)

    monkeypatch.setattr(cv2, 'imdecode', decode)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(decode_image, [content, content], 'ab')
    np.testing.assert_array_equal(first, second)


def test_decoding_without_standard_error():
    content = encode(photograph(), '.jpg')
    expected = decode_image(content, 'x')
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(2)
            status = 0 if np.array_equal(decode_image(content, 'x'), expected) else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_fork_while_another_thread_decodes(monkeypatch):
    """The child neither waits for a lock that nobody opens nor loses its standard error."""
    content, plain = encode(photograph(8, 8), '.jpg'), cv2.imdecode
    inside, forked = threading.Event(), threading.Event()

    def decode(*args):
        inside.set()
        forked.wait(0.3)
        return plain(*args)

    monkeypatch.setattr(cv2, 'imdecode', decode)
    error = os.fstat(2)
    thread = threading.Thread(target=decode_image, args=(content, 'x'))
    thread.start()
    inside.wait(5)
    child = os.fork()
    if not child:
        same = os.path.samestat(os.fstat(2), error)
        monkeypatch.undo()
        decode_image(content, 'x')
        os._exit(0 if same else 1)
    forked.set()
    thread.join(5)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize('kind', ['PNG', 'WEBP', 'TIFF'])
def test_first_of_several_frames(kind):
    first = Image.fromarray(photograph(20, 30))
    options = {'lossless': True} if kind == 'WEBP' else {}
    content = encode_pil(first, kind, save_all=True, append_images=[Image.new('RGB', (30, 20))], **options)
    np.testing.assert_array_equal(decoding.decode_raw(content, 'x')[..., ::-1], np.asarray(first))


@pytest.mark.parametrize(
    ('kind', 'options'),
    [
        *[('JPEG', {}), ('BMP', {}), ('PPM', {}), ('JPEG2000', {}), ('JPEG2000', {'no_jp2': True})],
        *[('WEBP', {}), ('WEBP', {'lossless': True})],
        *[('TIFF', {'big_tiff': True}), ('TIFF', {'compression': 'tiff_lzw'})],
    ],
)
def test_size_from_the_header(kind, options):
    assert content_size(encode_pil(Image.fromarray(photograph(20, 30)), kind, **options), 'x') == (20, 30)


def test_cmyk_jpeg_and_content_against_extension(tmp_path):
    picture = Image.fromarray(photograph(20, 30))
    (tmp_path / 'a.png').write_bytes(encode_pil(picture.convert('CMYK'), 'JPEG', quality=95))
    assert abs(read_image(tmp_path / 'a.png')[..., ::-1] - np.asarray(picture) / 255).mean() < 0.02


@pytest.mark.parametrize('white', [1, 15, 100, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize('header', ['P2', 'P5', 'P6'])
def test_white_of_a_pnm_is_what_its_header_says(header, white):
    """OpenCV leaves the numbers as they are, so that a PNM of 12 bits is all but black."""
    values = np.rint(np.linspace(0, white, 8 * 10)).astype(np.uint16).reshape(8, 10)
    start = f'{header}\n# a comment\n10 8\n{white}\n'.encode()
    stored = values if header != 'P6' else values[..., None].repeat(3, 2)
    if header == 'P2':
        content = start + b' '.join(b'%d' % value for value in values.flat)
    else:
        content = start + stored.astype('>u2' if white > 255 else 'u1').tobytes()
    image = decode_raw(content, 'x.pnm')
    assert image.dtype == (np.uint16 if white > 255 else np.uint8)
    top = np.iinfo(image.dtype).max
    error = 1 if header == 'P2' else 0.51  # OpenCV rounds those of text down
    np.testing.assert_allclose(image[..., 0] / top, values / white, atol=error / top)


def test_white_of_a_jpeg_2000_of_12_bits():
    """One of 16 bits, said to be of 12: the decoder then adds 2 ** 11 and no longer 2 ** 15."""
    values = np.rint(np.linspace(0, 4095, 48 * 40)).astype(np.uint16).reshape(48, 40)
    stored = (values + 2**15 - 2**11)[..., None].repeat(3, 2)
    file = cv2.imencode('.jp2', stored, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])[1]
    content = bytearray(file.tobytes())
    depths = content.index(b'\xff\x4f\xff\x51') + 42
    content[content.index(b'ihdr') + 14] = content[depths] = content[depths + 3] = content[depths + 6] = 12 - 1
    image = decode_raw(bytes(content), 'x.jp2')
    np.testing.assert_array_equal(image[..., 0], np.rint(values * (65535 / 4095)))


def test_jpeg_2000_needs_a_recent_opencv(monkeypatch):
    """OpenCV 4.10 crashes on damaged ones."""
    content = encode_pil(Image.fromarray(photograph(20, 30)), 'JPEG2000')
    monkeypatch.setattr(decoding, '_READS_JPEG2000', False)
    for look in (decode_image, content_size):
        with pytest.raises(DataError, match=r'a\.jp2: is a JPEG 2000, which OpenCV .* not read safely.*4\.12 or newer'):
            look(content, 'a.jp2')
