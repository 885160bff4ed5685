"""Files that are broken, hostile or simply not what they should be: one clear error each, and nothing executed.

``CASES`` is data; ``pytest --bad-inputs FILE`` writes what is said about each into a table.
"""

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from bad_input_report import note
from PIL import Image
from safetensors.torch import save_file

from pdd_arch.data.paired_check import check_paired_dataset
from pdd_arch.data.section import data_identity
from pdd_arch.data.unpaired_adaptation_dataset import UnpairedAdaptationDataset
from pdd_arch.errors import DataError, MissingFileError, OptionError, PDDError, WeightsError
from pdd_arch.features import FeatureNet
from pdd_arch.weights.checkpoints import check_fits, read_checkpoint, state_dict_of


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        given: what it is, in words.
        provoke: puts it into an empty folder and uses it; must raise.
        kind: class of the error.
        said: words of its message, the name of the file among them.
    """

    given: str
    provoke: Callable[[Path], object]
    kind: type[PDDError]
    said: tuple[str, ...]


CASES: dict[str, Case] = {}


def case(name: str, given: str, kind: type[PDDError], *said: str):
    """Adds the decorated function, which takes a folder, as a case."""

    def add(provoke):
        assert name not in CASES
        CASES[name] = Case(given, provoke, kind, said)
        return provoke

    return add


def error_of(chosen: Case, folder: Path) -> PDDError:
    try:
        chosen.provoke(folder)
    except PDDError as error:
        return error
    raise AssertionError(f'{chosen.given}: accepted')


# ---------------------------------------------------------------- images
def photograph(height: int = 40, width: int = 48) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


def encoded(kind: str, pixels: np.ndarray | None = None, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photograph() if pixels is None else pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, data: bytes = b'', **changed) -> bytes:
    """A PNG with valid checksums, whatever it claims."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))

    header = struct.pack('>IIBBBBB', width, height, changed.get('depth', 8), 2, 0, 0, 0)
    body = chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(data)) + chunk(b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + body


def with_bytes(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def jpeg_claiming(height: int, width: int) -> bytes:
    content = encoded('JPEG')
    return with_bytes(content, content.index(b'\xff\xc0') + 5, struct.pack('>HH', height, width))


def jpeg_of_many_scans() -> bytes:
    content = encoded('JPEG', photograph(400, 400), progressive=True)
    content = with_bytes(content, content.index(b'\xff\xc2') + 5, struct.pack('>HH', 16000, 16000))
    scan = content.rindex(b'\xff\xda')
    return content[:scan] + content[scan:-2] * 60 + b'\xff\xd9'


def options(folder: Path, **changes) -> dict:
    opt = {'dataroot_gt': str(folder), 'dataroot_lq': str(folder), 'scale': 4, 'gt_size': 16, 'cache': 'ram'}
    return opt | changes


def train_on(folder: Path, **changes) -> None:
    """Builds the dataset and takes a sample: the header check, the decoder, and the crop."""
    UnpairedAdaptationDataset(options(folder, **changes))[0]


def image_case(name: str, given: str, content: Callable[[], bytes], *said: str, file: str = 'photo.png') -> None:
    def provoke(folder):
        (folder / file).write_bytes(content())
        train_on(folder)

    CASES[name] = Case(given, provoke, DataError, (file, *said))


def middle(content: bytes, new: bytes = bytes(40)) -> bytes:
    return with_bytes(content, len(content) // 2, new)


_BROKEN = 'is a truncated or damaged'
image_case('empty image', 'a file of 0 bytes', lambda: b'', 'is empty (0 bytes)')
image_case(
    'text', 'a text file called .png', lambda: b'hello, world', "is not an image (12 bytes, beginning with b'hello"
)
image_case(
    'web page', 'an error page saved as .jpg', lambda: b'<!DOCTYPE html><html>404', 'is not an image', file='a.jpg'
)
image_case('signature only', 'the first 8 bytes of a PNG', lambda: png(9, 9)[:8], f'{_BROKEN} PNG')
image_case('half a PNG', 'a PNG cut in half', lambda: encoded('PNG')[:900], 'is a truncated PNG')
image_case('half a JPEG', 'a JPEG cut in half', lambda: encoded('JPEG')[:700], 'is a truncated JPEG', file='a.jpg')
image_case('half a WebP', 'a WebP cut in half', lambda: encoded('WEBP')[:200], 'is a truncated WebP', file='a.webp')
image_case('half a TIFF', 'a TIFF cut in half', lambda: encoded('TIFF')[:99], 'TIFF', file='a.tif')
image_case('half a BMP', 'a BMP cut in half', lambda: encoded('BMP')[:999], f'{_BROKEN} BMP', file='a.bmp')
image_case('damaged PNG', 'a PNG with 40 bytes overwritten', lambda: middle(encoded('PNG')), f'{_BROKEN} PNG')
image_case(
    'damaged JPEG',
    'a JPEG with 40 bytes in the middle overwritten',
    lambda: middle(encoded('JPEG', photograph(200, 200))),
    f'{_BROKEN} JPEG',
    'Corrupt JPEG data',
    file='a.jpg',
)
image_case(
    'JPEG without a piece',
    'a JPEG that lacks 300 bytes of its middle',
    lambda: (lambda c: c[: len(c) // 2] + c[len(c) // 2 + 300 :])(encoded('JPEG', photograph(200, 200))),
    f'{_BROKEN} JPEG',
    file='a.jpg',
)
image_case(
    'PNG without pixels', 'a PNG whose data is empty', lambda: png(30, 30), 'libpng error: Not enough image data'
)
image_case('bomb', 'a PNG that claims 60000x60000 pixels', lambda: png(60000, 60000), 'is too large', '60000x60000')
image_case('huge PNG', 'a PNG that claims 2^31-1 squared', lambda: png(2**31 - 1, 2**31 - 1), 'is too large')
image_case(
    'JPEG bomb', 'a JPEG that claims 65500x65500', lambda: jpeg_claiming(65500, 65500), 'too large', file='a.jpg'
)
image_case('scans', 'a JPEG of 60 scans and 256 Mpixel', jpeg_of_many_scans, 'scans, which would take', file='a.jpg')
image_case(
    'PNM bomb', 'a PNM that claims 10^18 pixels', lambda: b'P6 999999999 999999999 255\n', 'too large', file='a.ppm'
)
image_case('no height', 'a PNG 10 pixels wide and 0 high', lambda: png(10, 0), 'its header says 0x10 pixels')
image_case(
    'JPEG of no size', 'a JPEG 0 pixels wide', lambda: jpeg_claiming(20, 0), 'its header says 20x0', file='a.jpg'
)
image_case('depth 7', 'a PNG of 7 bits per channel', lambda: png(30, 30, bytes(3000), depth=7), f'{_BROKEN} PNG')
image_case(
    'pixel', 'an image of one pixel', lambda: encoded('PNG', photograph(1, 1)), 'is 1x1 pixels', 'smaller than the'
)
image_case(
    'float TIFF',
    'a float TIFF full of NaN',
    lambda: cv2.imencode('.tif', np.full((40, 40, 3), np.nan, np.float32))[1].tobytes(),
    'has float32 pixels; images of 8 or 16 bits',
    file='a.tif',
)
image_case('EXR', 'an OpenEXR file called .png', lambda: b'\x76\x2f\x31\x01' + bytes(60), 'in the format OpenEXR')
image_case(
    'animation',
    'an animated GIF called .png',
    lambda: encoded('GIF', save_all=True, append_images=[Image.new('RGB', (48, 40))]),
    'is in the format GIF, which is not read here; expected PNG, JPEG',
)
image_case(
    'TIFF loop', 'a TIFF whose directory lies behind its end', lambda: b'II*\0\xff\xff\xff\x7f' + bytes(30), 'TIFF'
)
image_case(
    'JPEG 2000',
    'a JPEG 2000 without codestream',
    lambda: b'\0\0\0\x0cjP  \r\n\x87\n' + bytes(40),
    'no size',
    file='a.jp2',
)


@case('folder as image', 'a folder called photo.png, listed', DataError, 'photo.png', 'it is a folder, not a file')
def _(folder):
    (folder / 'photo.png').mkdir()
    (folder / 'list.txt').write_text('photo.png')
    train_on(folder, meta_info_file=str(folder / 'list.txt'), meta_info_file_lq=str(folder / 'list.txt'))


@case('pipe', 'a named pipe called photo.png', DataError, 'photo.png', 'a pipe or device, not a file')
def _(folder):
    os.mkfifo(folder / 'photo.png')
    train_on(folder)


@case('device', 'a link to /dev/zero called photo.png', DataError, 'photo.png', 'a pipe or device, not a file')
def _(folder):
    (folder / 'photo.png').symlink_to('/dev/zero')
    train_on(folder)


@case(
    'link to itself', 'a link to itself called photo.png', DataError, 'photo.png', 'Too many levels of symbolic links'
)
def _(folder):
    (folder / 'photo.png').symlink_to('photo.png')
    train_on(folder)


@case('dangling link', 'a link to nothing called photo.png', MissingFileError, 'photo.png', 'does not exist')
def _(folder):
    (folder / 'photo.png').symlink_to('nowhere.png')
    train_on(folder)


@case('sparse giant', 'a file of 4 GiB of nothing called photo.png', DataError, 'photo.png', 'has 4294967296 bytes')
def _(folder):
    with open(folder / 'photo.png', 'wb') as file:
        file.truncate(2**32)
    train_on(folder)


@case('line break in a name', 'a broken file whose name holds a line break', DataError, r'a\nb.png', 'is empty')
def _(folder):
    (folder / 'a\nb.png').write_bytes(b'')
    train_on(folder)


@case('name that is no text', 'a broken file whose name is not UTF-8', DataError, r'\udcff', 'is empty')
def _(folder):
    with open(os.fsencode(folder) + b'/a\xff.png', 'wb'):
        pass
    train_on(folder)


@case(
    'vanished', 'a file removed after the dataset was built', MissingFileError, 'photo.png', 'does not exist (any more)'
)
def _(folder):
    (folder / 'photo.png').write_bytes(encoded('PNG'))
    dataset = UnpairedAdaptationDataset(options(folder, cache='none'))
    (folder / 'photo.png').unlink()
    dataset[0]


# ---------------------------------------------------------------- datasets and lists
def listed(folder: Path, text: str | bytes) -> None:
    """Trains on what a list names."""
    (folder / 'photo.png').write_bytes(encoded('PNG'))
    (folder / 'list.txt').write_bytes(text if isinstance(text, bytes) else text.encode())
    train_on(folder, meta_info_file=str(folder / 'list.txt'))


def list_case(name: str, given: str, text: str | bytes, *said: str, kind: type[PDDError] = DataError) -> None:
    CASES[name] = Case(given, lambda folder: listed(folder, text), kind, said)


_LIST = 'list.txt is not read as a list of images'
list_case(
    'path upwards', 'a list that names ../../etc/x.png', '../../etc/x.png\n', 'list.txt line 1 lists', 'lies outside'
)
list_case('hidden path upwards', 'a list that names a/../../x.png', 'photo.png\na/../../x.png\n', 'lies outside')
list_case('absolute path', 'a list that names /etc/x.png', '/etc/x.png\n', 'lists /etc/x.png, which lies outside')
list_case('empty list', 'a list of blank lines', '\n \r\n\t\n', 'list.txt lists no image')
list_case('binary list', 'a list that is no text', bytes(range(256)), _LIST)
list_case('zero bytes in a list', 'a list with zero bytes', b'pho\0to.png\n', _LIST, 'zero bytes')
list_case('endless line', 'a list of one line of 10 million spaces', 'a' + ' ' * 10**7 + 'b', _LIST, 'line 1 has')
list_case('gone', 'a list that names a missing file', 'gone.png', 'gone.png', 'does not exist', kind=MissingFileError)


@case('pipe as list', 'a named pipe as list', DataError, _LIST, 'a pipe or device')
def _(folder):
    os.mkfifo(folder / 'list.txt')
    train_on(folder, meta_info_file=str(folder / 'list.txt'))


@case('no folder', 'a data folder that does not exist', MissingFileError, 'photoss does not exist', "mean 'photos'?")
def _(folder):
    (folder / 'photos').mkdir()
    train_on(folder / 'photoss')


@case(
    'zero byte in a folder', 'a data folder whose name holds a zero byte', MissingFileError, r'a\x00b', 'does not exist'
)
def _(folder):
    train_on(Path(f'{folder}/a\0b'))


@case('folder of nothing', 'an empty data folder', DataError, 'no image in', 'found nothing')
def _(folder):
    train_on(folder)


@case('identity', 'an empty data folder, when a run is resumed', DataError, 'no image in')
def _(folder):
    data_identity(options(folder))


@case('images below', 'images in sub-folders only', DataError, 'found 1 sub-folder with images (sub)', 'not searched')
def _(folder):
    (folder / 'sub').mkdir()
    (folder / 'sub' / 'photo.png').write_bytes(encoded('PNG'))
    train_on(folder)


def pairs(folder: Path, lq: bytes, gt: bytes, **changes) -> None:
    for side, content in (('lq', lq), ('gt', gt)):
        (folder / side).mkdir()
        (folder / side / 'a.png').write_bytes(content)
    opt = {'type': 'PairedImageDataset', 'phase': 'val', 'scale': 4, 'io_backend': {'type': 'disk'}}
    roots = {f'dataroot_{side}': str(folder / side) for side in ('lq', 'gt')}
    check_paired_dataset(opt | roots | changes, 'datasets.val')


@case('damaged pair', 'a validation JPEG damaged in its middle', DataError, 'dataroot_gt', 'a.png', 'Corrupt JPEG data')
def _(folder):
    pairs(folder, encoded('PNG', photograph(50, 50)), middle(encoded('JPEG', photograph(200, 200))))


@case('wrong scale', 'a validation pair of another scale', DataError, 'a.png', 'These two fit scale 2')
def _(folder):
    pairs(folder, encoded('PNG', photograph(20, 20)), encoded('PNG', photograph(40, 40)))


@case('template', 'a file name template that reads attributes', OptionError, 'filename_tmpl', 'one pair of braces')
def _(folder):
    pairs(folder, encoded('PNG'), encoded('PNG'), filename_tmpl='{0.x}{1}')


# ---------------------------------------------------------------- LMDB
def database(folder: Path, values: dict[str, bytes], meta: str) -> Path:
    import lmdb

    root = folder / 'data.lmdb'
    with lmdb.open(str(root), map_size=2**24) as env, env.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key.encode(), value)
    (root / 'meta_info.txt').write_text(meta)
    return root


@case('bare LMDB', 'an LMDB folder without files', MissingFileError, 'bare.lmdb is not an LMDB made by BasicSR')
def _(folder):
    (folder / 'bare.lmdb').mkdir()
    train_on(folder / 'bare.lmdb')


@case(
    'LMDB without list', 'an LMDB without meta_info.txt', MissingFileError, 'data.lmdb is not an LMDB', 'meta_info.txt'
)
def _(folder):
    root = database(folder, {'a': encoded('PNG')}, '')
    (root / 'meta_info.txt').unlink()
    train_on(root)


@case('LMDB with an empty list', 'an LMDB whose meta_info.txt is empty', DataError, 'meta_info.txt lists no image')
def _(folder):
    train_on(database(folder, {'a': encoded('PNG')}, ''))


@case('LMDB without the key', 'an LMDB that lacks a listed image', DataError, 'data.lmdb/b', "has no key 'b'")
def _(folder):
    train_on(database(folder, {'a': encoded('PNG')}, 'a.png (40,48,3) 1\nb.png (40,48,3) 1\n'))


@case('LMDB with nothing', 'an LMDB without any key', DataError, 'data.lmdb/a', "has no key 'a'")
def _(folder):
    train_on(database(folder, {}, 'a.png (40,48,3) 1\n'))


@case('LMDB value cut', 'an LMDB with a truncated image', DataError, 'data.lmdb/a: is a truncated PNG')
def _(folder):
    train_on(database(folder, {'a': encoded('PNG')[:700]}, 'a.png (40,48,3) 1\n'))


@case('LMDB of 0 bytes', 'an LMDB whose data.mdb is empty', DataError, 'data.lmdb/a: the LMDB cannot be read')
def _(folder):
    root = database(folder, {'a': encoded('PNG')}, 'a.png (40,48,3) 1\n')
    (root / 'data.mdb').write_bytes(b'')
    train_on(root)


@case('LMDB of nonsense', 'an LMDB whose data.mdb is overwritten', DataError, 'data.lmdb/a: the LMDB cannot be read')
def _(folder):
    root = database(folder, {'a': encoded('PNG')}, 'a.png (40,48,3) 1\n')
    (root / 'data.mdb').write_bytes(b'nonsense' * 4096)
    train_on(root)


@case('LMDB cut', 'an LMDB whose data.mdb is cut', DataError, 'data.lmdb/a: the LMDB is truncated')
def _(folder):
    root = database(folder, {'a': encoded('PNG')}, 'a.png (40,48,3) 1\n')
    content = (root / 'data.mdb').read_bytes()
    (root / 'data.mdb').write_bytes(content[:8192])
    train_on(root)


# ---------------------------------------------------------------- weights
NET = torch.nn.Linear(2, 3)


class Hostile:
    """Unpickled without care, it makes a file."""

    def __init__(self, folder: Path) -> None:
        self.command = f'touch {folder / "executed"}'

    def __reduce__(self):
        return os.system, (self.command,)


def load(file: Path, param_key: str | None = 'params') -> None:
    option = 'path.pretrain_network_g'
    content = read_checkpoint(file, option)
    check_fits(NET, state_dict_of(content, param_key, file, option), file, option)


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def good_weights() -> bytes:
    return saved({'params': NET.state_dict()})


def weights_case(name: str, given: str, content: Callable[[], bytes], *said: str, file: str = 'net.pth') -> None:
    def provoke(folder):
        (folder / file).write_bytes(content())
        load(folder / file)

    CASES[name] = Case(given, provoke, WeightsError, ('path.pretrain_network_g', file, *said))


def archive(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == 'zip':
        with zipfile.ZipFile(buffer, 'w') as file:
            file.writestr('word/document.xml', 'x' * 500)
    else:
        with tarfile.open(fileobj=buffer, mode='w') as file:
            file.addfile(tarfile.TarInfo('storages'), io.BytesIO(b''))
    return buffer.getvalue()


def traced() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(NET, torch.zeros(1, 2)), buffer)
    return buffer.getvalue()


def tensors_of(header: dict | bytes, length: int | None = None) -> bytes:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(text) if length is None else length) + text + bytes(24)


_UNREADABLE = 'cannot be read'
weights_case('empty weights', 'a weight file of 0 bytes', lambda: b'', _UNREADABLE)
weights_case('half the weights', 'a weight file cut in half', lambda: good_weights()[:700], _UNREADABLE)
weights_case(
    'web page as weights',
    'an error page saved as .pth',
    lambda: b'<!DOCTYPE html><html>404</html>',
    'it is a web page (HTML). Download the file itself',
)
weights_case(
    'zip', 'a word processor document (a zip) called .pth', lambda: archive('zip'), 'is a zip archive of 1 files'
)
weights_case('tar', 'a tar archive called .pth', lambda: archive('tar'), 'is a tar archive of 1 files')
weights_case('TorchScript', 'a TorchScript archive', traced, 'is a TorchScript archive')
weights_case(
    'objects', 'a checkpoint with a NumPy array of objects', lambda: saved({'params': np.array([{}])}), 'refused'
)
weights_case('whole network', 'a pickled network in place of its tensors', lambda: saved(NET), 'as a whole (torch.nn')
weights_case('list of tensors', 'a list in place of a dictionary', lambda: saved([torch.zeros(1)]), 'holds a list')
weights_case('no params', 'a checkpoint without the key', lambda: saved({'weights': 1}), "has no key 'params'")
weights_case('numbers', 'a checkpoint of numbers', lambda: saved({'params': {'weight': 3}}), 'holds no state dict')
weights_case(
    'another network',
    'weights of another network',
    lambda: saved({'params': {'bias': torch.zeros(4)}}),
    'does not fit Linear',
)
weights_case(
    'safetensors header',
    'safetensors with a broken header',
    lambda: tensors_of(b'{"a": '),
    _UNREADABLE,
    file='a.safetensors',
)
weights_case(
    'safetensors length',
    'safetensors whose header claims 10^18 bytes',
    lambda: tensors_of({}, 10**18),
    _UNREADABLE,
    file='a.safetensors',
)
weights_case(
    'safetensors offsets',
    'safetensors with a tensor behind the end of the file',
    lambda: tensors_of({'a': {'dtype': 'F32', 'shape': [10**6], 'data_offsets': [0, 4 * 10**6]}}),
    _UNREADABLE,
    file='a.safetensors',
)


@case('hostile checkpoint', 'a checkpoint whose pickle runs a command', WeightsError, 'net.pth is refused')
def _(folder):
    (folder / 'net.pth').write_bytes(saved({'params': Hostile(folder)}))
    load(folder / 'net.pth')


@case('hostile pickle', 'a plain pickle that runs a command, called .pth', WeightsError, 'net.pth is refused')
def _(folder):
    (folder / 'net.pth').write_bytes(pickle.dumps(Hostile(folder)))
    load(folder / 'net.pth')


@case(
    'hostile VGG', 'weights of the feature network that run a command', WeightsError, 'feature_net.weights', 'vgg.pth'
)
def _(folder):
    (folder / 'vgg.pth').write_bytes(saved({'features.0.weight': Hostile(folder)}))
    FeatureNet(['features.0'], type='squeezenet1_1', weights=str(folder / 'vgg.pth'))


@case(
    'other VGG', 'weights of another feature network', WeightsError, 'a.safetensors is not a torchvision state dict of'
)
def _(folder):
    save_file({'features.0.weight': torch.zeros(1)}, folder / 'a.safetensors')
    FeatureNet(['features.0'], type='squeezenet1_1', weights=str(folder / 'a.safetensors'))


@case('missing weights', 'weights that do not exist', MissingFileError, 'net.pth does not exist')
def _(folder):
    load(folder / 'net.pth')


@case('folder as weights', 'a folder in place of weights', MissingFileError, 'net.pth is a folder')
def _(folder):
    (folder / 'net.pth').mkdir()
    load(folder / 'net.pth')


# ---------------------------------------------------------------- tests
@pytest.mark.timeout(60)
@pytest.mark.parametrize('name', CASES)
def test_one_clear_error(name, tmp_path):
    chosen = CASES[name]
    error = error_of(chosen, tmp_path)
    text = str(error)
    assert type(error) is chosen.kind, text
    for words in chosen.said:
        assert words in text
    assert '\n' not in text
    text.encode()  # can be written to a log
    assert len(text) < 800
    assert not (tmp_path / 'executed').exists()
    note(text.replace(f'{tmp_path}{os.sep}', ''), chosen.given)


def test_the_hostile_pickle_would_run(tmp_path):
    """The tests above would notice."""
    pickle.loads(pickle.dumps(Hostile(tmp_path)))
    assert (tmp_path / 'executed').exists()


def test_messages_hold_no_folder(tmp_path):
    assert 'datasets.train.dataroot_gt: ' in str(error_of(CASES['empty image'], tmp_path))


@pytest.mark.parametrize('where', ['open', 'scandir'])
def test_permissions(where, tmp_path, monkeypatch):
    """Mocked: tests may run as root, whom nothing is refused."""
    (tmp_path / 'photo.png').write_bytes(encoded('PNG'))
    plain = getattr(os, where)

    def refuse(path, *args, **kwargs):
        if str(path).startswith(str(tmp_path)):
            raise PermissionError(13, 'Permission denied', str(path))
        return plain(path, *args, **kwargs)

    monkeypatch.setattr(os, where, refuse)
    with pytest.raises(DataError, match=r'cannot be read \(Permission denied\)\. ') as caught:
        train_on(tmp_path)
    assert ('photo.png' if where == 'open' else str(tmp_path)) in str(caught.value)
