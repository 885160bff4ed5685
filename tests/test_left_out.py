"""What a file is told to be, and what training says of photographs that it leaves out."""

import cv2
import numpy as np
import pytest

from pdd_arch.data.sources import list_images, open_folder
from pdd_arch.errors import DataError
from pdd_arch.images.names import described, folder_content, look_at
from pdd_arch.images.structure import is_certainly_an_image
from pdd_arch.preflight.data import data_warnings

HEIC = b'\0\0\0\x18ftypheic\0\0\0\0mif1heic'


@pytest.fixture
def folder(tmp_path):
    pixels = np.zeros((20, 20, 3), np.uint8)
    for name, extension in (('a.png', '.png'), ('text.txt', '.png'), ('b.jfif', '.jpg'), ('bitmap', '.bmp')):
        (tmp_path / name).write_bytes(cv2.imencode(extension, pixels)[1].tobytes())
    (tmp_path / 'c.heic').write_bytes(HEIC)
    (tmp_path / 'no_extension').write_bytes(HEIC)
    (tmp_path / 'e.xmp').write_text('<x:xmpmeta/>')
    (tmp_path / 'clip.mp4').write_bytes(b'\0\0\0\x18ftypmp42')
    (tmp_path / 'empty').write_bytes(b'')
    (tmp_path / 'BMW.txt').write_text('BMW is no bitmap, however long the text about it is')
    (tmp_path / 'P6.txt').write_text('P6 is a format')
    return tmp_path


def test_what_a_folder_holds(folder):
    content = folder_content(folder)
    assert content.images == ['a.png', 'b.jfif', 'bitmap', 'text.txt']
    assert content.unread == ['c.heic', 'no_extension']
    assert content.describe_unread() == '1 .heic, 1 without an extension'
    assert content.others == ['BMW.txt', 'P6.txt', 'clip.mp4', 'e.xmp', 'empty']
    told = described([folder / name for name in content.others])
    assert told == '2 other (BMW.txt, P6.txt), 1 video (clip.mp4), 1 sidecar (e.xmp), 1 empty (empty)'


def test_a_photograph_by_its_name_where_the_content_tells_nothing(folder):
    (folder / 'half.heic').write_bytes(b'?')
    assert look_at(folder / 'half.heic') == (None, True, '')
    assert look_at(folder / 'nothing.jpg').is_photograph
    assert not look_at(folder / 'nothing.txt').is_photograph


@pytest.mark.parametrize('content', [b'BM', b'P6 ', b'P6 0 0 255\n', b'BM' + bytes(60)])
def test_short_beginnings_alone_are_no_image(content):
    assert not is_certainly_an_image(content)


def test_training_says_what_it_leaves_out(folder):
    source = open_folder(str(folder), 'datasets.train.dataroot_lq')
    assert source.names == ['a.png', 'b.jfif', 'bitmap', 'text.txt']
    (warning,) = data_warnings({'train': (source, source)})[:1]
    assert warning.startswith(
        f'datasets.train.dataroot_lq: of {folder}, 2 photographs of formats that are not read are'
    )
    assert 'c.heic' in warning


def test_a_folder_of_formats_that_are_not_read(tmp_path):
    (tmp_path / 'c.heic').write_bytes(HEIC)
    with pytest.raises(DataError, match=r'no image in .*found 1 other file.*c\.heic is not read\. Convert it to PNG'):
        list_images(str(tmp_path), 'datasets.train.dataroot_lq')
