"""What `pdd adapt` finds in folders of photographs, and which of them it keeps to judge by."""

import errno
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from pdd_arch.adaptation.photographs import Photograph, PhotographSet, identity, inspect_photographs, jpeg_quality
from pdd_arch.adaptation.workspace import MOST_HELD_OUT, Workspace, split
from pdd_arch.demo.photographs import demo_images
from pdd_arch.errors import DataError, MissingFileError


@pytest.fixture(scope='module')
def images():
    """Photographs that differ, (128, 128, 3) BGR uint8."""
    taken = demo_images()
    names = ('hr/motorcycle_left_0_0', 'test_hr/chelsea_60_20', 'test_hr/rocket_0_130', 'test_hr/coffee_150_0')
    return [taken[f'{name}.png'][60:188, 60:188] for name in names]


@pytest.fixture
def folder(tmp_path, images):
    path = tmp_path / 'photos'
    path.mkdir()
    for number, image in enumerate(images):
        cv2.imwrite(str(path / f'{number}.png'), image)
    return path


def inspect(folder, least=32, target=True):
    return inspect_photographs(folder, 'PHOTOS' if target else '--hr', least, target)


def finding(found, part):
    (one,) = [f for f in found.findings if part in f.text]
    return one


def test_good_photographs_have_nothing_against_them_but_their_number(folder):
    found = inspect(folder)
    assert [(p.path.name, p.height, p.width, p.twin) for p in found.usable] == [
        (f'{i}.png', 128, 128, None) for i in range(4)
    ]
    assert [f.text for f in found.findings] == [
        'few images: from 10 on results lost no structure where that was measured, with 5 they did'
    ]
    assert found.describe() == '4 usable images of 128 x 128 pixels'
    assert inspect(folder, target=False).findings == []


def test_broken_and_small_ones_are_left_out_and_named(folder, images):
    (folder / 'broken.png').write_bytes((folder / '0.png').read_bytes()[:-200])
    (folder / 'empty.jpg').write_bytes(b'')
    cv2.imwrite(str(folder / 'small.png'), images[0][:31])
    found = inspect(folder)
    assert len(found.usable) == 4
    broken = str(finding(found, 'cannot be read'))
    assert broken.startswith('2 images cannot be read and are left out: broken.png: is a truncated PNG')
    assert 'empty.jpg' in broken
    assert 'Replace' not in broken
    assert str(folder) not in broken
    assert finding(found, 'below 32 pixels').names == ('small.png (128 x 31)',)


def test_formats_that_are_not_read_are_named(folder, tmp_path):
    for name in ('a.HEIC', 'b.heic', 'c.dng', '._d.heic'):
        (folder / name).write_bytes(b'x')
    (folder / 'clip.mp4').write_bytes(b'\0\0\0\x18ftypmp42')
    found = inspect(folder)
    unread = finding(found, 'Convert them')
    assert unread.text.startswith('It holds 2 .heic, 1 .dng, which cannot be read here.')
    assert str(unread).endswith('full quality: a.HEIC, b.heic, c.dng')
    assert [error.where for error in found.unreadable] == [f'{folder}/{name}' for name in ('a.HEIC', 'b.heic', 'c.dng')]
    assert all(error.what and error.way_out for error in found.unreadable)
    assert str(finding(found, 'no photograph')) == '1 file is no photograph and is left out: clip.mp4'
    only = tmp_path / 'only'
    only.mkdir()
    (only / 'a.heic').write_bytes(b'x')
    with pytest.raises(DataError, match=r'PHOTOS: no image in .*only\. It holds 1 \.heic'):
        inspect(only)


def test_the_content_decides_not_the_extension(folder, tmp_path, images):
    (folder / '0.png').rename(folder / 'wrong_extension.txt')
    (folder / '1.png').rename(folder / 'no_extension')
    Image.fromarray(images[2][::-1, :, ::-1]).save(folder / 'b.jfif', 'JPEG')
    found = inspect(folder)
    assert [p.path.name for p in found.usable] == ['2.png', '3.png', 'b.jfif', 'no_extension', 'wrong_extension.txt']
    workspace = Workspace(tmp_path / 'out')
    workspace.link('photographs', found.usable)
    # training lists the links by their names
    listed = [path.name for path in sorted(workspace.images('photographs').iterdir())]
    assert listed == ['00001.png', '00002.png', '00003.jpg', '00004.png', '00005.png']


def test_a_folder_that_cannot_be_read(folder, monkeypatch):
    def refused(_path):
        raise PermissionError(errno.EACCES, 'Permission denied')

    monkeypatch.setattr(os, 'scandir', refused)
    with pytest.raises(DataError, match=r'^PHOTOS: .*photos: the folder cannot be read .Permission denied.\. Correct'):
        inspect(folder)


def test_near_duplicates(folder, images):
    brighter = np.clip(images[1].astype(int) + 9, 0, 255).astype(np.uint8)
    cv2.imwrite(str(folder / 'again.jpg'), brighter, [cv2.IMWRITE_JPEG_QUALITY, 95])
    found = inspect(folder)
    assert finding(found, 'nearly the same').names == ('again.jpg',) or finding(found, 'nearly the same').names == (
        '1.png',
    )


@pytest.mark.parametrize('depth', [8, 16])
@pytest.mark.parametrize('interpolation', [cv2.INTER_CUBIC, cv2.INTER_LINEAR])
def test_upscaled_ones(folder, images, depth, interpolation):
    image = cv2.resize(images[3][::2, ::2], None, fx=4, fy=4, interpolation=interpolation)
    cv2.imwrite(str(folder / 'large.png'), image.astype(np.uint16) * 257 if depth == 16 else image)
    text = finding(inspect(folder), 'upscaled already')
    assert text.names == ('large.png',)
    assert 'Use the originals' in text.text
    assert 'teach no detail' in finding(inspect(folder, target=False), 'upscaled already').text


def test_low_jpeg_quality(folder, images):
    for quality in (40, 90):
        cv2.imwrite(str(folder / f'q{quality}.jpg'), images[2], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert finding(inspect(folder), 'quality below 60').names == ('q40.jpg (40)',)


@pytest.mark.parametrize('depth', [8, 16])
def test_gray_ones(folder, images, depth):
    gray = cv2.cvtColor(images[2], cv2.COLOR_BGR2GRAY)
    cv2.imwrite(str(folder / 'gray.png'), gray.astype(np.uint16) * 257 if depth == 16 else gray)
    assert finding(inspect(folder), 'is gray').names == ('gray.png',)


def test_kinds_of_files_that_cameras_and_scanners_write(folder, images):
    rgb = Image.fromarray(images[2][..., ::-1])
    rgb.convert('CMYK').save(folder / 'cmyk.jpg', quality=95)
    rgb.convert('RGBA').save(folder / 'alpha.png')
    rgb.save(folder / 'scan.tif')
    rgb.save(folder / 'web.webp', quality=95)
    cv2.imwrite(str(folder / 'deep.tif'), images[0].astype(np.uint16) * 257)
    assert len(inspect(folder).usable) == 9


@pytest.mark.parametrize('name', ['ein Bild, schön.png', '写真.png', 'two\nlines.png', os.fsdecode(b'latin\xe9.png')])
def test_names_of_any_kind(folder, name):
    (folder / '0.png').rename(folder / name)
    small = folder / f'small {name}'
    cv2.imwrite(str(folder / 'x.png'), np.zeros((8, 8, 3), np.uint8))
    (folder / 'x.png').rename(small)
    found = inspect(folder)
    assert name in [p.path.name for p in found.usable]
    assert all('\n' not in str(f) for f in found.findings)
    str(finding(found, 'below 32')).encode()  # can be written
    assert len(identity(found)) == 16


def test_folders_that_cannot_be_used(tmp_path, folder):
    with pytest.raises(MissingFileError, match=r'PHOTOS.*does not exist'):
        inspect(tmp_path / 'nothing')
    with pytest.raises(MissingFileError, match=r'0\.png is a file; a folder is expected'):
        inspect(folder / '0.png')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='no image in'):
        inspect(tmp_path / 'empty')
    with pytest.raises(DataError, match='copy the images into one folder') as error:
        inspect(tmp_path)
    assert 'meta-info' not in str(error.value)
    with pytest.raises(DataError, match='holds no usable image: 0 broken, 4 with a side below 200 pixels'):
        inspect(folder, least=200)


def test_identity_changes_with_the_images(folder, images):
    before = identity(inspect(folder))
    assert identity(inspect(folder)) == before
    cv2.imwrite(str(folder / '9.png'), images[0][:, :100])
    assert identity(inspect(folder)) != before
    found = inspect(folder)
    (folder / '9.png').unlink()  # which reading it did not notice
    assert identity(found) != before


@pytest.mark.parametrize('quality', [20, 30, 50, 75, 92, 100])
def test_jpeg_quality_is_that_of_the_encoder(images, quality):
    content = cv2.imencode('.jpg', images[0], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    assert abs(jpeg_quality(content) - quality) <= 1


def test_jpeg_quality_of_other_formats_is_none(images):
    assert jpeg_quality(cv2.imencode('.png', images[0])[1].tobytes()) is None


# ---------------------------------------------------------------- split
def photographs(count, twins=None):
    found = PhotographSet('photos')
    for i in range(count):
        twin = (twins or {}).get(i)
        found.usable.append(Photograph(f'p{i:03d}', 64, 64, None if twin is None else f'p{twin:03d}'))
    return found


@pytest.mark.parametrize(('count', 'kept'), [(2, 1), (19, 1), (20, 2), (55, 5), (1000, MOST_HELD_OUT)])
def test_split_keeps_a_tenth_spread_evenly(count, kept):
    found = photographs(count)
    train, held_out = split(found)
    assert len(held_out) == kept
    assert sorted(train + held_out, key=lambda p: p.path) == found.usable
    assert split(found) == (train, held_out)
    positions = [found.usable.index(p) for p in held_out]
    assert max(np.diff([-1, *positions, count]), default=0) <= 2 * count / kept


def test_split_never_separates_twins():
    found = photographs(40, {i: i - 1 for i in range(1, 36)})
    _, held_out = split(found)
    assert {p.path for p in held_out} <= {f'p{i:03d}' for i in range(36, 40)}
    assert held_out


@pytest.mark.parametrize(('count', 'twins'), [(1, {}), (2, {1: 0}), (3, {1: 0, 2: 0})])
def test_split_needs_two_that_differ(count, twins):
    with pytest.raises(DataError, match=f'at least two different images, .* found {count}'):
        split(photographs(count, twins))
