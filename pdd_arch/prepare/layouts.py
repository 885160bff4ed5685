"""The published datasets, as data: folders, names, counts, where they come from, and where they go.

What is known of each layout, and how:

* RealSR V3 (``Canon/Train/4/Canon_001_HR.png``, ``Canon_001_LR4.png``): the authors' repository says that HR and
  LR of version 3 differ in size; the names are those of several public loaders. Counts were not verified.
* DRealSR (``Test_x4/test_HR/sony_160_x4.png``, ``test_LR/sony_160_x1.png``): the authors' page states 93 test
  pairs and 31970 training patches of 192x192 (of HR, presumably) at x4; folder and test names are those of public
  loaders. The names of the training patches were not verified: with and without an ending ``_x1``/``_x4`` will do.
* NTIRE 2020 track 1: folder names and addresses as in public code; counts as in the challenge's report, where
  they are not verified file by file. Training images may be called ``000058`` or ``Flickr2K_000058``.
* DF2K: DIV2K's and Flickr2K's own pages. City100: the authors' repository, listed file by file.

A count that differs is therefore a note, never an error; so is what no name pattern covers.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from basicsr.utils.matlab_functions import imresize

CAMERAS = ('canon', 'nikon', 'olympus', 'panasonic', 'sony')  # of DRealSR
CITY100_CAMERAS = ('iPhoneX', 'NikonD5500')


@dataclass(frozen=True)
class Conversion:
    """What is made of an image, cropped to multiples of the scale, instead of a link to it."""

    name: str  # tells it from other conversions of the same image
    make: Callable[[np.ndarray, str], np.ndarray]  # (H, W, 3) uint8 or uint16, name of the file -> image to write
    divisor: int = 1  # how many times smaller the sides become


@dataclass(frozen=True)
class Side:
    """HR or LR images of a part."""

    folders: tuple[str, ...]  # where they may be below the source; the first is the published place
    templates: tuple[
        str, ...
    ]  # names without extension, {} being what a pair has in common; the first that fits counts
    out: str  # the folder to make, below that of -o
    convert: Conversion | None = None  # what is done with each image; None for a link to the original
    list_name: str = ''  # name of the list of the images, unless it is made of the name of the part


@dataclass(frozen=True)
class Part:
    """Images that belong together: a split of a camera."""

    name: str
    role: str  # train or test
    scale: int  # of the pairs made
    sides: Mapping[str, Side]  # hr, lr or both, in this order
    source_scale: int | None = None  # of the pairs found, where it is another
    published: int | None = None  # number of images or pairs, where it is known
    optional: bool = False  # whether it may be missing
    chosen: frozenset[str] = frozenset()  # if not empty, only these of the common names belong to it
    without: frozenset[str] = frozenset()  # common names that do not belong to it
    groups: tuple[str, ...] = ()  # prefixes of names that get lists of their own


@dataclass(frozen=True)
class Layout:
    """A dataset."""

    title: str  # its name in reports
    home: str  # its folder below that of -o
    parts: tuple[Part, ...]
    get: str  # where to get what is missing, or what to correct
    published_format: tuple[int, int] | None = (3, 8)  # (channels, bits) of every file; None where any will do
    cut: str = ''  # the folder below that of -o whose images may be cut into sub-images


def _realsr(scale: int) -> Layout:
    # the archive's own folder for what belongs to a scale is the bare number
    suffix = '' if scale == 4 else str(scale)
    parts = []
    for camera, split in itertools.product(('Canon', 'Nikon'), ('Train', 'Test')):
        found, home = (f'{camera}/{split}/{scale}',), f'RealSR_V3/{camera}/{split}'
        hr = Side(found, ('{}_HR',), f'{home}/HR{suffix}')
        lr = Side(found, (f'{{}}_LR{scale}',), f'{home}/LR{scale}')
        parts.append(Part(f'{camera}_{split}', split.lower(), scale, {'hr': hr, 'lr': lr}))
    get = 'Get version 3 at https://github.com/csjcai/RealSR; its archive holds RealSR(V3)/Canon and RealSR(V3)/Nikon'
    return Layout(f'RealSR V3, x{scale}', 'RealSR_V3', tuple(parts), get)


def _drealsr(scale: int) -> Layout:
    # HR are the photographs taken at `scale` times the focal length, LR those taken at once
    names = {'HR': (f'{{}}_x{scale}', '{}_x1', '{}'), 'LR': ('{}_x1', f'{{}}_x{scale}', '{}')}
    parts = []
    for split, patches, published in (('Train', 'Train_x{}/train_', 31970), ('Test', 'Test_x{}/', 93)):
        folder, out = f'{split}_x{scale}', f'DRealSR/{patches.format(scale)}'
        sides = {
            key.lower(): Side((f'{folder}/{split.lower()}_{key}', f'{folder}/{key}'), templates, f'{out}{key}')
            for key, templates in names.items()
        }
        counted = published if scale == 4 else None
        parts.append(Part(split, split.lower(), scale, sides, published=counted, groups=CAMERAS))
    get = (
        'Get it by the links under "Dataset" at https://github.com/xiezw5/'
        'Component-Divide-and-Conquer-for-Real-World-Image-Super-Resolution'
    )
    return Layout(f'DRealSR, x{scale}', 'DRealSR', tuple(parts), get)


# made by the challenge from Flickr2K; names differ between copies
_NTIRE_NAMES = ('{}x4', '{}')
_DIV2K_VALID = Side(
    ('DIV2K_valid_HR', 'DIV2K/DIV2K_valid_HR', 'Corrupted-va-y', 'track1-valid-gt'), ('{}',), 'DIV2K/DIV2K_valid_HR'
)


def _ntire2020() -> Layout:
    home = 'NTIRE2020'
    train, valid = (Side((name,), _NTIRE_NAMES, f'{home}/{name}') for name in ('Corrupted-tr-x', 'Corrupted-va-x'))
    clean = Side(('Corrupted-tr-y',), ('{}',), f'{home}/Corrupted-tr-y')
    parts = (
        Part('Train', 'train', 4, {'lr': train}, published=2650),
        Part('Clean', 'train', 4, {'hr': clean}, published=800, optional=True),
        Part('Valid', 'test', 4, {'hr': _DIV2K_VALID, 'lr': valid}, published=100),
    )
    get = (
        'Get it from https://competitions.codalab.org/competitions/22220 (Corrupted-tr-x.zip, '
        'Corrupted-va-x.zip; also below https://data.vision.ee.ethz.ch/alugmayr/NTIRE2019/public/) and '
        'https://data.vision.ee.ethz.ch/cvl/DIV2K/DIV2K_valid_HR.zip'
    )
    return Layout('NTIRE 2020 real-world SR, track 1', home, parts, get)


def _df2k() -> Layout:
    home = 'DF2K/HR'
    div2k = Side(('DIV2K_train_HR', 'DIV2K/DIV2K_train_HR'), ('{}',), home)
    flickr2k = Side(('Flickr2K_HR', 'Flickr2K/Flickr2K_HR', 'Flickr2K'), ('{}',), home)
    parts = (
        Part('DIV2K', 'train', 4, {'hr': div2k}, published=800),
        Part('Flickr2K', 'train', 4, {'hr': flickr2k}, published=2650),
        Part('DIV2K_valid', 'test', 4, {'hr': _DIV2K_VALID}, published=100, optional=True),
    )
    get = (
        'Get it from https://data.vision.ee.ethz.ch/cvl/DIV2K/DIV2K_train_HR.zip and '
        'https://cv.snu.ac.kr/research/EDSR/Flickr2K.tar (its folder Flickr2K_HR)'
    )
    return Layout('DF2K (DIV2K and Flickr2K)', 'DF2K', parts, get, cut=home)


#: of the authors' released test (Models/VDSR/testset in their repository)
_CITY100_AUTHORS_TEST = frozenset(('001', '016', '048', '060', '098'))
#: of this project's experiments (options/pdd_city100.yml)
_CITY100_X4_TEST = frozenset(f'{i:03d}' for i in range(1, 11))


def _downsampled_by_4(image: np.ndarray, _: str) -> np.ndarray:
    """Antialiased bicubic (BasicSR's); the depth stays."""
    largest = np.iinfo(image.dtype).max
    small = imresize(image.astype(np.float32) / largest, 1 / 4)
    return (np.clip(small, 0, 1) * largest).round().astype(image.dtype)


def _city100(camera: str, protocol: str) -> Layout:
    """The published LR images are aligned with HR and interpolated to its size.

    Protocol ``native``: these pairs as they are, at the ratio at which the camera took them (scale 1); the authors'
    five test scenes. ``x4``: LR downsampled by 4 with antialiased bicubic; the first ten scenes are the test.
    """
    native = protocol == 'native'
    # the option file's datasets/city100 is the phone at x4
    home = 'city100' + ('' if camera == CITY100_CAMERAS[0] else f'_{camera}') + ('_native' if native else '')
    folders = (f'City100/City100_{camera}', f'City100_{camera}')
    test = _CITY100_AUTHORS_TEST if native else _CITY100_X4_TEST
    convert = {'hr': Conversion('crop', lambda image, _: image), 'lr': Conversion('reduce', _downsampled_by_4, 4)}

    def sides(role: str) -> dict[str, Side]:
        return {
            key: Side(folders, (f'{{}}{letter}',), f'{home}/{role}_{key}', None if native else convert[key])
            for key, letter in (('hr', 'H'), ('lr', 'L'))
        }

    scale = 1 if native else 4
    parts = (
        Part('train', 'train', scale, sides('train'), 1, 100 - len(test), without=test),
        Part('test', 'test', scale, sides('test'), 1, len(test), chosen=test),
    )
    get = 'Get the folder City100 of https://github.com/ngchc/CameraSR'
    return Layout(f'City100, {camera}, protocol {protocol}', home, parts, get)


def own_folder(name: str, scale: int, folders: Mapping[str, str | None], hr_template: str, lr_template: str) -> Layout:
    """The layout of somebody's own images: ``hr``, ``lr`` (for training), ``test_hr`` and ``test_lr`` below the source.

    The templates of the names are such as ``{}_HR`` and ``{}_LR4``.
    """
    sides = {
        key: Side((folder,), (hr_template if key.endswith('hr') else lr_template,), f'{name}/{key}')
        for key, folder in folders.items()
        if folder
    }
    # HR and LR for training are unrelated in this method: two parts, not pairs
    parts = [Part(key, 'train', scale, {key: sides[key]}) for key in ('hr', 'lr') if key in sides]
    tested = {key: sides[f'test_{key}'] for key in ('hr', 'lr') if f'test_{key}' in sides}
    if tested:
        parts.append(Part('test', 'test', scale, tested))
    get = 'Correct the names given to --hr, --lr, --test-hr and --test-lr'
    return Layout(f'own images {name}', name, tuple(parts), get, None, f'{name}/hr')


#: name on the command line -> function of its options
LAYOUTS: dict[str, Callable[..., Layout]] = {
    'realsr': _realsr,
    'drealsr': _drealsr,
    'ntire2020': _ntire2020,
    'df2k': _df2k,
    'city100': _city100,
}
