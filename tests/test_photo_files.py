"""Every kind of photograph keeps its pixels, depth, transparency, profile and metadata when it is upscaled."""

import io

import cv2
import numpy as np
import pytest
import tifffile
from photo_material import (
    HEIGHT,
    MAKER_NOTE,
    WIDTH,
    XMP,
    chunk,
    doubled,
    exif,
    nearest,
    pattern,
    pillow,
    png,
    profile,
    source,
    stand_upright,
    stored,
    tiff,
)
from PIL import Image

from pdd_arch.errors import DataError, OptionError
from pdd_arch.images.structure import CAMERA_RAW, format_of
from pdd_arch.photo_files.photo import Photo
from pdd_arch.photo_files.reading import decode_photo, photo_size, read_photo
from pdd_arch.photo_files.writing import EXTENSIONS, check_size, encode_photo, write_photo
from pdd_arch.upscaling.engine import PhotoUpscaler

READS_ANIMATED_WEBP = pytest.mark.skipif(
    tuple(map(int, cv2.__version__.split('.')[:2])) < (4, 11), reason='OpenCV reads no animated WebP before 4.11'
)
UPSCALE = PhotoUpscaler(nearest(), device='cpu').upscale
LOSSY = {'JPEG': 4, 'WebP': 0}  # at quality 100


def upscaled(content, kind=None, quality=100):
    """Content and notes of the file that `content` becomes."""
    large = UPSCALE(decode_photo(content, 'photo'))
    made, lost = encode_photo(large, kind or large.format, quality)
    return made, [*large.notes, *lost]


def same(found, wanted, kind):
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).max() <= LOSSY.get(kind, 0)


# ---------------------------------------------------------------- depths and modes
@pytest.mark.parametrize(
    ('kind', 'channels', 'bits'),
    [
        *[(kind, channels, bits) for kind in ('PNG', 'TIFF') for channels in (1, 2, 3, 4) for bits in (8, 16)],
        *[('JPEG', 1, 8), ('JPEG', 3, 8), ('WebP', 3, 8), ('WebP', 4, 8)],
    ],
)
def test_depth_mode_and_transparency_are_kept(kind, channels, bits):
    if (kind, channels, bits) == ('TIFF', 2, 16):
        with pytest.raises(DataError, match='photo: is a TIFF of a kind that is not read'):
            upscaled(source(kind, channels, bits)[0])
        return
    content, array = source(kind.upper(), channels, bits)
    made, notes = upscaled(content)
    assert notes == []
    same(stored(made), doubled(array), kind)


@pytest.mark.parametrize('kind', ['PNG', 'TIFF', 'JPEG', 'WebP'])
@pytest.mark.parametrize(('channels', 'bits'), [(1, 8), (2, 16), (4, 16), (3, 8)])
def test_a_format_that_has_less_says_what_is_lost(kind, channels, bits):
    array = pattern(channels, bits)
    made, notes = upscaled(png(array), kind)
    wanted = doubled(array)
    expected = []
    if bits == 16 and kind in LOSSY:
        expected.append(f'16 bits were reduced to 8, as a {kind} has no more')
        wanted = np.rint(wanted / 257.0).astype(np.uint8)
    if channels in (2, 4) and kind == 'JPEG':
        expected.append('transparency was dropped, as a JPEG has none')
        wanted = wanted[..., :-1]
    if channels <= 2 and (kind == 'WebP' or (kind, channels, bits) == ('TIFF', 2, 16)):
        wanted = wanted[..., [0, 0, 0, *range(1, wanted.shape[2])]]
    assert notes == expected
    same(stored(made), wanted, kind)


def test_palette_one_bit_and_a_transparent_color():
    colors = Image.fromarray(pattern(3)).quantize(6)
    file = io.BytesIO()
    colors.save(file, 'PNG', transparency=bytes([0, 90, 180]))
    wanted = np.asarray(Image.open(file).convert('RGBA'))
    same(stored(upscaled(file.getvalue())[0]), doubled(wanted), 'PNG')

    file = io.BytesIO()
    bilevel = Image.fromarray(pattern(1)[..., 0]).convert('1')
    bilevel.save(file, 'PNG')
    same(stored(upscaled(file.getvalue())[0]), doubled(np.asarray(bilevel.convert('L')))[..., None], 'PNG')

    for channels, bits in ((1, 8), (1, 16), (3, 8), (3, 16)):
        array = pattern(channels, bits)
        key = b''.join(int(v).to_bytes(2, 'big') for v in array[2, 3])
        alpha = ~(array == array[2, 3]).all(axis=2, keepdims=True) * array.dtype.type(2**bits - 1)
        found = stored(upscaled(png(array, [(b'tRNS', key)]))[0])
        same(found, doubled(np.concatenate([array, alpha.astype(array.dtype)], axis=2)), 'PNG')


def test_premultiplied_alpha_is_divided_out():
    array = pattern(4, 16)
    array[..., 3] = np.maximum(array[..., 3], 30000)
    multiplied = array.copy()
    multiplied[..., :3] = np.rint(array[..., :3] * (array[..., 3:] / 65535.0))
    found = stored(upscaled(tiff(multiplied, extrasamples=['assocalpha']))[0])
    assert np.abs(found.astype(int) - doubled(array)).max() <= 2


@pytest.mark.parametrize('bits', [8, 16])
def test_a_tiff_whose_zero_is_white(bits):
    array = pattern(1, bits)
    file = io.BytesIO()
    tifffile.imwrite(file, array[..., 0], photometric='miniswhite', metadata=None)
    same(stored(upscaled(file.getvalue())[0]), doubled(2**bits - 1 - array), 'TIFF')


def test_cmyk():
    cmyk = Image.fromarray(pattern(3)).convert('CMYK')
    file = io.BytesIO()
    cmyk.save(file, 'JPEG', quality=100, subsampling=0)
    made, notes = upscaled(file.getvalue())
    assert ['CMYK without a profile' in n for n in notes] == [True]
    same(stored(made), doubled(np.asarray(Image.open(file).convert('RGB'))), 'JPEG')
    assert Image.open(io.BytesIO(made)).info['icc_profile'][16:20] == b'RGB '
    file = io.BytesIO()
    cmyk.save(file, 'JPEG', icc_profile=profile(b'CMYK'))
    with pytest.raises(DataError, match='photo: is CMYK with a profile that cannot be used'):
        upscaled(file.getvalue())


def test_formats_that_are_not_written_become_png():
    photo = decode_photo(pillow(pattern(3), 'BMP'), 'photo')
    assert photo.format == 'BMP'
    same(stored(encode_photo(photo, 'PNG')[0]), pattern(3), 'PNG')
    with pytest.raises(OptionError, match="format: expected 'PNG', 'JPEG', 'WebP' or 'TIFF', found 'BMP'"):
        encode_photo(photo, 'BMP')


def test_quality():
    sizes = [len(upscaled(pillow(pattern(3, 8, 60, 80), 'JPEG'), kind, q)[0]) for kind in LOSSY for q in (50, 95, 100)]
    assert sizes[0] < sizes[1] < sizes[2]
    assert sizes[3] < sizes[4]
    found = stored(upscaled(png(pattern(3, 8, 60, 80)), 'WebP', quality=95)[0])
    assert 0 < np.abs(found.astype(int) - doubled(pattern(3, 8, 60, 80))).max() <= 8


# ---------------------------------------------------------------- orientation
@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize(
    ('kind', 'channels', 'bits'),
    [('JPEG', 3, 8), ('JPEG', 1, 8), ('WebP', 4, 8)]
    + [(kind, channels, bits) for kind in ('PNG', 'TIFF') for channels, bits in ((3, 8), (4, 8), (1, 16), (4, 16))],
)
def test_photographs_stand_upright_whatever_reads_them(kind, channels, bits, orientation):
    content, array = source(kind.upper(), channels, bits, orientation)
    made, _ = upscaled(content)
    same(stored(made), doubled(stand_upright(array, orientation)), kind)
    tags = Image.open(io.BytesIO(made)).getexif()
    assert tags.get(0x0112, 1) == 1
    if kind != 'TIFF':
        width, height = (HEIGHT, WIDTH) if orientation > 4 else (WIDTH, HEIGHT)
        assert [tags.get_ifd(0x8769)[tag] for tag in (0xA002, 0xA003)] == [2 * width, 2 * height]


# ---------------------------------------------------------------- profiles and metadata
def with_everything(kind):
    """An image with a profile and all metadata that the format has."""
    array, icc = pattern(3), profile()
    if kind == 'PNG':
        content = pillow(array, 'PNG', icc_profile=icc, exif=exif(6), dpi=(240, 240))
        return content[:33] + chunk(b'iTXt', b'XML:com.adobe.xmp\0\0\0\0\0' + XMP) + content[33:]
    if kind == 'TIFF':
        tags = Image.Exif()
        tags.load(exif(6))
        tags[700] = XMP
        return pillow(array, 'TIFF', icc_profile=icc, exif=tags, dpi=(240, 240))
    options = dict(icc_profile=icc, exif=exif(6), quality=100)
    if kind == 'WebP':
        return pillow(array, 'WEBP', xmp=XMP, **options)
    made = pillow(array, 'JPEG', dpi=(240, 240), comment='a comment', **options)
    packet = b'http://ns.adobe.com/xap/1.0/\0' + XMP
    return made[:2] + b'\xff\xe1' + (len(packet) + 2).to_bytes(2, 'big') + packet + made[2:]


@pytest.mark.parametrize('written', EXTENSIONS)
@pytest.mark.parametrize('kind', EXTENSIONS)
def test_profile_exif_xmp_and_resolution_go_along(kind, written):
    content = with_everything(kind)
    made, _ = upscaled(content, written)
    image = Image.open(io.BytesIO(made))
    image.load()
    assert image.size == (2 * HEIGHT, 2 * WIDTH)
    assert image.info['icc_profile'] == profile()
    tags = image.getexif()
    assert tags[0x010F] == 'Maker'
    assert tags.get(0x0112, 1) == 1
    directory = tags.get_ifd(0x8769)
    assert directory[0x9003] == '2024:05:06 07:08:09'
    assert [directory[0xA002], directory[0xA003]] == [2 * HEIGHT, 2 * WIDTH]
    assert directory[0x927C] == MAKER_NOTE
    assert [float(v) for v in tags.get_ifd(0x8825)[2]] == [47, 22, 30]
    xmp = decode_photo(made, 'made').metadata.xmp.decode()
    assert 'tiff:Orientation="1"' in xmp
    assert f'tiff:ImageWidth="{2 * HEIGHT}" exif:PixelXDimension="{2 * HEIGHT}"' in xmp
    assert f'<tiff:ImageLength>{2 * WIDTH}</tiff:ImageLength><xmp:Rating>4<' in xmp
    if kind != 'WebP' and written != 'WebP':
        assert image.info['dpi'] == pytest.approx((240, 240), rel=1e-3)


def test_texts_and_what_colors_mean_in_a_png():
    extra = [(b'gAMA', (45455).to_bytes(4, 'big')), (b'tEXt', b'Author\0Somebody'), (b'tEXt', b'Comment\0short')]
    extra.append((b'iTXt', b'Title\0\0\0\0\0' + 'Żółw'.encode()))
    content = png(pattern(3), extra)
    image = Image.open(io.BytesIO(upscaled(content)[0]))
    assert image.text == {'Author': 'Somebody', 'Comment': 'short', 'Title': 'Żółw'}
    assert image.info['gamma'] == pytest.approx(0.45455)
    made, notes = upscaled(content, 'JPEG')
    assert Image.open(io.BytesIO(made)).info['comment'] == b'short'
    assert notes == [
        'its gamma and primaries are left out, for which a JPEG has no place',
        'texts are left out, for which a JPEG has no place: Author, Title',
    ]


def test_iptc_records():
    records = b'\x1c\x02\x78\0\x07caption'
    resource = b'Photoshop 3.0\x008BIM\x04\x04\0\0' + len(records).to_bytes(4, 'big') + records
    made = pillow(pattern(3), 'JPEG')
    content = made[:20] + b'\xff\xed' + (len(resource) + 2).to_bytes(2, 'big') + resource + made[20:]
    for kind in ('JPEG', 'TIFF'):
        content, notes = upscaled(content, kind)
        assert notes == []
        assert decode_photo(content, 'made').metadata.iptc == records
    assert upscaled(content, 'PNG')[1] == ['IPTC records are left out, for which a PNG has no place']


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'TIFF'])
def test_a_gray_profile_stays_with_a_gray_image(kind):
    gray = profile(b'GRAY')
    content = pillow(pattern(1), kind, icc_profile=gray)
    assert Image.open(io.BytesIO(upscaled(content)[0])).info['icc_profile'] == gray
    made, notes = upscaled(content, 'WebP')
    assert 'icc_profile' not in Image.open(io.BytesIO(made)).info
    assert notes[0] == 'its colour profile is one for GRAY, does not fit the file written, and is left out'


def test_the_thumbnail_goes_and_nothing_else():
    content = pillow(pattern(3), 'JPEG', exif=exif(3, thumbnail=True))
    assert b'thumbnail' in content
    made = upscaled(content)[0]
    assert b'thumbnail' not in made
    assert MAKER_NOTE in made
    plain = decode_photo(upscaled(pillow(pattern(3), 'JPEG', exif=exif()))[0], 'plain').metadata.exif
    # behind it is what was the thumbnail's directory, to which nothing points any more
    assert decode_photo(made, 'made').metadata.exif.startswith(plain)


def test_damaged_metadata_do_not_cost_the_photograph():
    for broken in (b'Exif\0\0II*\0\xff\xff\0\0', b'Exif\0\0nothing of the kind', exif()[:40]):
        made, notes = upscaled(pillow(pattern(3), 'JPEG', exif=broken, quality=100, subsampling=0))
        assert len(notes) == 1
        assert 'left out' in notes[0]
        same(stored(made), doubled(pattern(3)), 'JPEG')
        assert 'exif' not in Image.open(io.BytesIO(made)).info


def test_damaged_files_are_refused_or_read_and_written():
    """Whatever bytes are wrong, there is one error, or a photograph that every format takes."""
    random, ends = np.random.default_rng(0), set()
    for kind in EXTENSIONS:
        whole = with_everything(kind)
        for _ in range(60):
            content = bytearray(whole)
            for place in random.integers(0, min(len(content), 1500), 3):
                content[place] = random.integers(256)
            try:
                photo = decode_photo(bytes(content), 'photo')
            except DataError:
                ends.add('refused')
                continue
            ends.add('read')
            for written in ('PNG', 'TIFF', 'JPEG'):
                decode_photo(encode_photo(photo, written)[0], 'made')
    assert ends == {'refused', 'read'}


def test_exif_data_of_wrong_types():
    block = bytearray(exif()[6:])
    order = 'little' if block[:2] == b'II' else 'big'
    at = block.index((0x010F).to_bytes(2, order))
    block[at + 2 : at + 4] = (3).to_bytes(2, order)  # whole numbers, not a text
    content = png(pattern(3), [(b'eXIf', bytes(block))])
    assert upscaled(content, 'PNG')[1] == []
    made, notes = upscaled(content, 'TIFF')
    assert notes == ['its EXIF data hold values of wrong types and are left out']
    same(stored(made), doubled(pattern(3)), 'TIFF')


def test_metadata_too_large_for_a_jpeg():
    array, tags = pattern(3), Image.Exif()
    tags[0x010F], tags[0x9286] = 'Maker', b'x' * 70_000
    made, notes = upscaled(png(array, [(b'eXIf', tags.tobytes()[6:])]), 'JPEG')
    assert notes == ['its EXIF data exceed the 64 KiB that a JPEG has for them and are left out']
    same(stored(made), doubled(array), 'JPEG')


# ---------------------------------------------------------------- several pictures in one file
@pytest.mark.parametrize(
    ('kind', 'note'),
    [
        ('PNG', 'it has 2 frames; only the first is upscaled and written'),
        pytest.param('WEBP', 'it has 2 frames; only the first is upscaled and written', marks=READS_ANIMATED_WEBP),
        ('TIFF', 'it has 2 pages; only the first is upscaled and written'),
        ('MPO', 'it holds 2 pictures (a gain map, depth or preview); only the main one is upscaled and written'),
    ],
)
def test_only_the_first_of_several_pictures(kind, note):
    file = io.BytesIO()
    first, second = Image.fromarray(pattern(3)), Image.fromarray(255 - pattern(3))
    options = dict(lossless=True) if kind == 'WEBP' else dict(quality=100, subsampling=0) if kind == 'MPO' else {}
    first.save(file, kind, save_all=True, append_images=[second], **options)
    made, notes = upscaled(file.getvalue())
    assert notes == [note]
    same(stored(made)[..., :3], doubled(pattern(3)), 'JPEG' if kind == 'MPO' else {'WEBP': 'WebP'}.get(kind, kind))


# ---------------------------------------------------------------- files
def test_a_file_is_not_overwritten_unasked(tmp_path):
    photo, file = Photo(pattern(3)), tmp_path / 'a.png'
    assert write_photo(photo, file) == []
    before = file.read_bytes()
    with pytest.raises(DataError, match=r'a.png: exists and is not overwritten'):
        write_photo(Photo(255 - pattern(3)), file)
    assert file.read_bytes() == before
    write_photo(Photo(255 - pattern(3)), file, overwrite=True)
    np.testing.assert_array_equal(read_photo(file).pixels, 255 - pattern(3))
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(OptionError, match=r'a.gif: expected a name that ends in one of .png, .jpg'):
        write_photo(Photo(pattern(3)), tmp_path / 'a.gif')
    with pytest.raises(OptionError, match='quality: expected a whole number from 1 to 100, found 0'):
        write_photo(Photo(pattern(3)), tmp_path / 'a.jpg', quality=0)
    with pytest.raises(DataError, match='a WebP has at most 16383 pixels a side, and the result has 16384 x 2'):
        encode_photo(Photo(np.zeros((2, 16384, 3), np.uint8)), 'WebP')
    with pytest.raises(DataError, match='a JPEG has at most 65500 pixels a side'):
        check_size(3, 70000, 'JPEG')
    check_size(70000, 70000, 'PNG')
    with pytest.raises(DataError, match='photo: is a truncated JPEG'):
        decode_photo(pillow(pattern(3), 'JPEG')[:300], 'photo')
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- formats that Pillow reads, on some machines
AVIF = pytest.mark.skipif('.avif' not in Image.registered_extensions(), reason='this Pillow reads no AVIF')


@pytest.mark.parametrize('mode', ['L', 'P', 'RGB'])
def test_gif(mode):
    image = Image.fromarray(pattern(3)).convert(mode)
    file = io.BytesIO()
    image.save(file, 'GIF', comment=b'seen')
    photo = decode_photo(file.getvalue(), 'a.gif')
    expected = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert('RGB'))
    np.testing.assert_array_equal(photo.pixels[..., ::-1], expected)
    assert (photo.format, photo.alpha, photo.metadata.texts) == ('GIF', None, {'Comment': 'seen'})


def test_gif_with_transparency_and_frames():
    image = Image.fromarray(pattern(3)).quantize(16)
    file = io.BytesIO()
    image.save(file, 'GIF', transparency=image.getpixel((0, 0)), save_all=True, append_images=[image.rotate(180)])
    photo = decode_photo(file.getvalue(), 'a.gif')
    assert photo.alpha[0, 0] == 0
    assert photo.alpha.max() == 255
    assert photo.notes == ('it has 2 frames; only the first is upscaled and written',)


@AVIF
@pytest.mark.parametrize('orientation', range(1, 9))
def test_avif_stands_upright(tmp_path, orientation):
    path, array = tmp_path / 'a.avif', pattern(3)
    Image.fromarray(array).save(path, quality=100, subsampling='4:4:4', exif=exif(orientation), xmp=XMP)
    photo = read_photo(path)
    upright = stand_upright(array, orientation)
    assert np.abs(photo.pixels[..., ::-1].astype(int) - upright).max() <= 6
    assert photo_size(path) == upright.shape[:2]
    assert photo.format == 'AVIF'
    assert b'Rating>4' in photo.metadata.xmp


@AVIF
def test_avif_with_alpha_or_damage():
    content = pillow(pattern(4), 'AVIF')
    assert decode_photo(content, 'a.avif').alpha.shape == (HEIGHT, WIDTH)
    with pytest.raises(DataError, match=r'a\.avif: is a truncated or damaged AVIF that cannot be decoded'):
        decode_photo(content[:200], 'a.avif')


def test_avif_where_pillow_reads_none(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'registered_extensions', dict)
    (tmp_path / 'a.avif').write_bytes(b'\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf')
    for read in (read_photo, photo_size):
        with pytest.raises(DataError, match=r'in the format AVIF, which is not read here.* Pillow 11\.3'):
            read(tmp_path / 'a.avif')


@pytest.mark.parametrize('name', ['a.dng', 'a.tif'])
def test_the_preview_in_a_raw_file_is_no_photograph(tmp_path, name):
    version = (50706, 1, 4, bytes([1, 4, 0, 0]), True)
    (tmp_path / name).write_bytes(tiff(pattern(3), subfiletype=1, extratags=[version]))
    with pytest.raises(DataError, match=r"is a camera's raw file, which is not read here.* raw developer"):
        read_photo(tmp_path / name)


@pytest.mark.parametrize(
    ('head', 'kind'),
    [
        (b'\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf', 'AVIF'),
        (b'\0\0\0\x18ftypmif1\0\0\0\0mif1heic', 'HEIC'),
        (b'\0\0\0\x18ftypheix\0\0\0\0mif1heix', 'HEIC'),
        (b'\0\0\0\x18ftypcrx \0\0\0\1crx isom', CAMERA_RAW),
        (b'II*\0\x10\0\0\0CR\2\0', CAMERA_RAW),
        (b'\0\0\0\x18ftypisom\0\0\0\0isommp42', None),
    ],
)
def test_formats_by_their_beginning(head, kind):
    assert format_of(head) == kind
