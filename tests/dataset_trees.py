"""Small trees with the structure and the names of the published datasets, and `pdd prepare` on them."""

import hashlib
from pathlib import Path

import cv2
import numpy as np

from pdd_arch.commands.errors import run
from pdd_arch.commands.pdd_cli import main

HR_SIZE = (96, 128)  # height, width


def scene(number: int, size: tuple[int, int] = HR_SIZE) -> np.ndarray:
    """(H, W, 3) uint8 with structure of its own at all scales."""
    rng = np.random.default_rng(number)
    image = np.zeros((*size, 3), np.float32)
    for side in (3, 6, 12, 24, 48):
        coarse = rng.normal(0, 30, (side, side, 3)).astype(np.float32)
        image += cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(image + 128, 0, 255).astype(np.uint8)


def reduced(image: np.ndarray, scale: int = 4) -> np.ndarray:
    """An LR image of it."""
    height, width = image.shape[:2]
    return cv2.resize(image, (width // scale, height // scale), interpolation=cv2.INTER_AREA)


def write(path, image: np.ndarray) -> None:
    """Writes an image; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def pair(hr, lr, number: int, scale: int = 4) -> None:
    """Writes both images of a pair."""
    write(hr, scene(number))
    write(lr, reduced(scene(number), scale))


def realsr(root, per_split: int = 2):
    """RealSR V3 as its archive unpacks."""
    number = 0
    for camera in ('Canon', 'Nikon'):
        for split in ('Train', 'Test'):
            for i in range(1, per_split + 1):
                number += 1
                stem = root / 'RealSR(V3)' / camera / split / '4' / f'{camera}_{i:03d}'
                pair(stem.with_name(f'{stem.name}_HR.png'), stem.with_name(f'{stem.name}_LR4.png'), number)
    return root


def drealsr(root):
    """DRealSR, x4: patches for training, pairs of several cameras for the test."""
    for i in range(3):
        name = f'DSC_{i:04d}_{i}.png'
        pair(root / 'Train_x4/train_HR' / name, root / 'Train_x4/train_LR' / name, 100 + i)
    for i, camera in enumerate(('canon_10', 'panasonic_44', 'sony_160')):
        folder = root / 'Test_x4'
        pair(folder / f'test_HR/{camera}_x4.png', folder / f'test_LR/{camera}_x1.png', 110 + i)
    return root


def ntire2020(root):
    """NTIRE 2020 track 1; the training images have no ground truth."""
    for i in range(1, 4):
        write(root / f'Corrupted-tr-x/{i:06d}.png', scene(200 + i))
    for i in (801, 802):
        pair(root / f'DIV2K_valid_HR/{i:04d}.png', root / f'Corrupted-va-x/{i:04d}.png', i)
    return root


def df2k(root):
    """DIV2K and Flickr2K, each in a folder of its own."""
    for i in (1, 2):
        write(root / f'DIV2K/DIV2K_train_HR/{i:04d}.png', scene(300 + i))
        write(root / f'Flickr2K/Flickr2K_HR/{i:06d}.png', scene(310 + i, (100, 150)))
    return root


def city100(root):
    """City100: 001H.PNG and 001L.PNG, of one size; scenes 1 to 12 and two of the authors' test."""
    for i in (*range(1, 13), 16, 48):
        hr = scene(400 + i, (98, 130))
        small = cv2.resize(hr, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
        folder = root / 'City100/City100_iPhoneX'
        write(folder / f'{i:03d}H.PNG', hr)
        write(folder / f'{i:03d}L.PNG', cv2.resize(small, (130, 98), interpolation=cv2.INTER_CUBIC))
    return root


TREES = {'realsr': realsr, 'drealsr': drealsr, 'ntire2020': ntire2020, 'df2k': df2k, 'city100': city100}


def fingerprint(folder) -> dict[str, tuple]:
    """Content and time of change of everything below a folder."""
    entries = {}
    for path in sorted(folder.rglob('*')):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else 'folder'
        entries[str(path.relative_to(folder))] = (content, status.st_mtime_ns, status.st_mode)
    return entries


def prepare(name, *extra, source='downloads'):
    return main(['prepare', name, source, *extra])


def failure(capsys, name, *extra):
    """The last line, as the command writes it, and what it wrote before."""
    assert run('pdd', main, ['prepare', name, 'downloads', *extra]) == 1
    out, err = capsys.readouterr()
    assert err.startswith('pdd: error: ')
    assert err.count('\n') == 1
    return err, out


def names(folder):
    return sorted(p.name for p in Path(folder).iterdir())


def spoil(path, at=None):
    """Cut a file in half, or change the byte `at`."""
    content = bytearray(path.read_bytes())
    if at is None:
        del content[len(content) // 2 :]
    else:
        content[at] ^= 0x55
    path.write_bytes(content)
