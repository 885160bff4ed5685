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

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from basicsr.utils.matlab_functions import imresize

CAMERAS = ('canon', 'nikon', 'olympus', 'panasonic', 'sony')  # of DRealSR
CITY100_CAMERAS = ('iPhoneX', 'NikonD5500')


@dataclass(frozen=True)
class Conversion:
    """What is made of an image instead of a link to it. Its sides are cut to multiples of the scale before.

    Attributes:
        name: tells it from others that the same image may have been converted by.
        make: (H, W, 3) uint8 or uint16, and the name of the file -> the image to write.
        divisor: by which it divides the sides.
    """

    name: str
    make: Callable[[np.ndarray, str], np.ndarray]
    divisor: int = 1


@dataclass(frozen=True)
class Side:
    """HR or LR images of a part.

    Attributes:
        folders: where they may be below the source; the first is the published place.
        templates: of their names without extension, ``{}`` being what a pair has in common; the first that fits.
        out: folder to make, below that of ``-o``.
        convert: what is done with each image; None for a link to the original.
        list_name: of the list of the images, where not made of the name of the part.
    """

    folders: tuple[str, ...]
    templates: tuple[str, ...]
    out: str
    convert: Conversion | None = None
    list_name: str = ''


@dataclass(frozen=True)
class Part:
    """Images that belong together: a split of a camera.

    Attributes:
        name: for ``--only``, reports and file names.
        role: ``train`` or ``test``.
        scale: of the pairs made; ``source_scale`` that of the pairs found, where it is another.
        published: number of images or pairs; None where it is not known.
        optional: may be missing.
        chosen: of the common names, only these; ``without``: not these.
        groups: prefixes of names that get lists of their own.
    """

    name: str
    role: str
    scale: int
    hr: Side | None = None
    lr: Side | None = None
    source_scale: int | None = None
    published: int | None = None
    optional: bool = False
    chosen: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    groups: tuple[str, ...] = ()

    @property
    def sides(self) -> dict[str, Side]:
        return {key: side for key, side in (('hr', self.hr), ('lr', self.lr)) if side}


@dataclass(frozen=True)
class Layout:
    """A dataset.

    Attributes:
        name: on the command line.
        title: in reports.
        home: its folder below that of ``-o``.
        get: what to do where something is missing: where to get it.
        published_format: (channels, bits) of every file, or None where any will do.
        cut: part whose HR images may be cut into sub-images, or None.
    """

    name: str
    title: str
    home: str
    parts: tuple[Part, ...]
    get: str
    published_format: tuple[int, int] | None = (3, 8)
    cut: str | None = None


def _realsr(scale: int = 4) -> Layout:
    # the archive's own folder for what belongs to a scale is the bare number
    suffix = '' if scale == 4 else str(scale)
    parts = []
    for camera in ('Canon', 'Nikon'):
        for split in ('Train', 'Test'):
            found, home = (f'{camera}/{split}/{scale}',), f'RealSR_V3/{camera}/{split}'
            hr = Side(found, ('{}_HR',), f'{home}/HR{suffix}')
            lr = Side(found, (f'{{}}_LR{scale}',), f'{home}/LR{scale}')
            parts.append(Part(f'{camera}_{split}', split.lower(), scale, hr, lr))
    get = 'Get version 3 at https://github.com/csjcai/RealSR; its archive holds RealSR(V3)/Canon and RealSR(V3)/Nikon'
    return Layout('realsr', f'RealSR V3, x{scale}', 'RealSR_V3', tuple(parts), get)


def _drealsr(scale: int = 4) -> Layout:
    # HR are the photographs taken at `scale` times the focal length, LR those taken at once
    hr_names, lr_names = (f'{{}}_x{scale}', '{}_x1', '{}'), ('{}_x1', f'{{}}_x{scale}', '{}')
    parts = []
    for split, patches, published in (('Train', 'Train_x{}/train_', 31970), ('Test', 'Test_x{}/', 93)):
        folder = f'{split}_x{scale}'
        hr, lr = (
            Side((f'{folder}/{split.lower()}_{key}', f'{folder}/{key}'), names, f'DRealSR/{patches.format(scale)}{key}')
            for key, names in (('HR', hr_names), ('LR', lr_names))
        )
        counted = published if scale == 4 else None
        parts.append(Part(split, split.lower(), scale, hr, lr, published=counted, groups=CAMERAS))
    get = (
        'Get it by the links under "Dataset" at https://github.com/xiezw5/'
        'Component-Divide-and-Conquer-for-Real-World-Image-Super-Resolution'
    )
    return Layout('drealsr', f'DRealSR, x{scale}', 'DRealSR', tuple(parts), get)


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
        Part('Train', 'train', 4, lr=train, published=2650),
        Part('Clean', 'train', 4, hr=clean, published=800, optional=True),
        Part('Valid', 'test', 4, _DIV2K_VALID, valid, published=100),
    )
    get = (
        'Get it from https://competitions.codalab.org/competitions/22220 (Corrupted-tr-x.zip, '
        'Corrupted-va-x.zip; also below https://data.vision.ee.ethz.ch/alugmayr/NTIRE2019/public/) and '
        'https://data.vision.ee.ethz.ch/cvl/DIV2K/DIV2K_valid_HR.zip'
    )
    return Layout('ntire2020', 'NTIRE 2020 real-world SR, track 1', home, parts, get)


def _df2k() -> Layout:
    home = 'DF2K/HR'
    div2k = Side(('DIV2K_train_HR', 'DIV2K/DIV2K_train_HR'), ('{}',), home)
    flickr2k = Side(('Flickr2K_HR', 'Flickr2K/Flickr2K_HR', 'Flickr2K'), ('{}',), home)
    parts = (
        Part('DIV2K', 'train', 4, hr=div2k, published=800),
        Part('Flickr2K', 'train', 4, hr=flickr2k, published=2650),
        Part('DIV2K_valid', 'test', 4, hr=_DIV2K_VALID, published=100, optional=True),
    )
    get = (
        'Get it from https://data.vision.ee.ethz.ch/cvl/DIV2K/DIV2K_train_HR.zip and '
        'https://cv.snu.ac.kr/research/EDSR/Flickr2K.tar (its folder Flickr2K_HR)'
    )
    return Layout('df2k', 'DF2K (DIV2K and Flickr2K)', 'DF2K', parts, get, cut=home)


#: of the authors' released test (Models/VDSR/testset in their repository)
_CITY100_AUTHORS_TEST = frozenset(('001', '016', '048', '060', '098'))
#: of this project's experiments (options/pdd_city100.yml)
_CITY100_X4_TEST = frozenset(f'{i:03d}' for i in range(1, 11))


_CROPPED = Conversion('crop', lambda image, _: image)


def _downsampled_by_4(image: np.ndarray, _: str) -> np.ndarray:
    """Antialiased bicubic (BasicSR's); the depth stays."""
    largest = np.iinfo(image.dtype).max
    small = imresize(image.astype(np.float32) / largest, 1 / 4)
    return (np.clip(small, 0, 1) * largest).round().astype(image.dtype)


_DOWNSAMPLED_BY_4 = Conversion('reduce', _downsampled_by_4, 4)


def _city100(camera: str = 'iPhoneX', protocol: str = 'x4') -> Layout:
    """Protocols: the published LR images are aligned with HR and interpolated to its size.

    ``native``: these pairs as they are, at the ratio at which the camera took them: scale 1; the authors' five test
    scenes. ``x4``: LR downsampled by 4 with antialiased bicubic; the first ten scenes are the test.
    """
    native = protocol == 'native'
    # the option file's datasets/city100 is the phone at x4
    home = 'city100' + ('' if camera == CITY100_CAMERAS[0] else f'_{camera}') + ('_native' if native else '')
    folders = (f'City100/City100_{camera}', f'City100_{camera}')
    test = _CITY100_AUTHORS_TEST if native else _CITY100_X4_TEST

    def side(letter: str, out: str) -> Side:
        convert = _DOWNSAMPLED_BY_4 if letter == 'L' else _CROPPED
        return Side(folders, (f'{{}}{letter}',), f'{home}/{out}', None if native else convert)

    scale = 1 if native else 4
    parts = (
        Part('train', 'train', scale, side('H', 'train_hr'), side('L', 'train_lr'), 1, 100 - len(test), without=test),
        Part('test', 'test', scale, side('H', 'test_hr'), side('L', 'test_lr'), 1, len(test), chosen=test),
    )
    get = 'Get the folder City100 of https://github.com/ngchc/CameraSR'
    return Layout('city100', f'City100, {camera}, protocol {protocol}', home, parts, get)


def own_folder(
    name: str,
    scale: int,
    folders: dict[str, str | None],
    hr_template: str = '{}',
    lr_template: str = '{}',
) -> Layout:
    """The layout of somebody's own images.

    Args:
        name: of the folder to make.
        scale: of its pairs.
        folders: ``hr``, ``lr`` (training), ``test_hr``, ``test_lr``: folders below the source, or None.
        hr_template, lr_template: of the names, as ``{}_HR`` and ``{}_LR4``.
    """

    def side(key: str) -> Side | None:
        template = hr_template if key.endswith('hr') else lr_template
        folder = folders.get(key)
        return Side((folder,), (template,), f'{name}/{key}') if folder else None

    parts = []
    # HR and LR for training are unrelated in this method: two parts, not pairs
    if folders.get('hr'):
        parts.append(Part('hr', 'train', scale, hr=side('hr')))
    if folders.get('lr'):
        parts.append(Part('lr', 'train', scale, lr=side('lr')))
    if folders.get('test_hr') or folders.get('test_lr'):
        parts.append(Part('test', 'test', scale, side('test_hr'), side('test_lr')))
    get = 'Correct the names given to --hr, --lr, --test-hr and --test-lr'
    return Layout('folder', f'own images {name}', name, tuple(parts), get, None, f'{name}/hr')


#: name on the command line -> function of its options
LAYOUTS: dict[str, Callable[..., Layout]] = {
    'realsr': _realsr,
    'drealsr': _drealsr,
    'ntire2020': _ntire2020,
    'df2k': _df2k,
    'city100': _city100,
}
