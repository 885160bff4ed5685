"""What `pdd adapt` is given: folders, numbers and networks, checked before anything is done."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from pdd_arch.adaptation.preset import FEATURES
from pdd_arch.data.sources import require_folder
from pdd_arch.errors import MissingFileError, OptionError
from pdd_arch.features.feature_net import imagenet_features
from pdd_arch.inference import load_network
from pdd_arch.utils.hashing import sha256_of
from pdd_arch.utils.wording import did_you_mean, one_of, shown
from pdd_arch.weights import zoo

__all__ = ['HR_HELP', 'Network', 'check_folders', 'check_numbers', 'find_features', 'find_generalist']

HR_HELP = (
    'HR photographs are needed: sharp, clean images of anything, a hundred or more, that have nothing to do with your '
    'camera. DIV2K (800 photographs, data.vision.ee.ethz.ch/cvl/DIV2K) and Flickr2K suit, or your own best ones '
    'reduced to half their size. `pdd prepare df2k --help` says how to get and prepare them.'
)


@dataclass(frozen=True)
class Network:
    """A generalist.

    Attributes:
        weights: as an option file names them from any folder.
        scale: upscaling factor.
        sha256: of the file.
    """

    weights: str
    scale: int
    sha256: str

    def described(self) -> dict:
        """For the record, without paths."""
        entry = zoo.generalist(self.weights) if zoo.is_zoo(self.weights) else None
        name = self.weights.removeprefix(zoo.ZOO_PREFIX) if entry else Path(self.weights).name
        published = {'licence': entry.licence, 'source': entry.url} if entry else {}
        return {'name': name, 'scale': self.scale, 'sha256': self.sha256, **published}


def find_generalist(source: str) -> Network:
    """Of ``--generalist``. Fetches what is to be fetched."""
    loaded = load_network(source, '--generalist')
    if zoo.is_zoo(source) or (source in zoo.ZOO and not Path(source).expanduser().exists()):
        weights = f'{zoo.ZOO_PREFIX}{source.removeprefix(zoo.ZOO_PREFIX)}'
    else:
        weights = os.path.abspath(loaded.file)
    return Network(weights, loaded.scale, sha256_of(loaded.file))


def find_features(kind: str, weights: str) -> tuple[str, str]:
    """Type and weights of the feature network, both there."""
    if kind not in FEATURES:
        raise OptionError(f'--features: expected {one_of(FEATURES)}, found {kind!r}.{did_you_mean(kind, FEATURES)}')
    if weights == 'imagenet':
        imagenet_features(kind, '--feature-weights')
        return kind, weights
    path = os.path.abspath(os.path.expanduser(weights))
    if not os.path.isfile(path):
        raise MissingFileError(
            f"--feature-weights: there is no file {shown(path)}. Give torchvision's weights of {kind}, or leave it "
            'out: then they are downloaded.'
        )
    return kind, path


def check_folders(photographs: Path, hr: Path, out: Path) -> None:
    """Nothing is written where photographs are, and no image has two roles.

    Raises:
        MissingFileError, OptionError: a folder does not exist, or lies where it must not.
    """
    places = {'PHOTOS': photographs, '--hr': hr}
    for what, folder in places.items():
        require_folder(str(folder), what)
    if os.path.samefile(photographs, hr):
        raise OptionError(f'--hr: {shown(hr)} is the folder of the photographs itself. {HR_HELP}')
    root = Path(os.path.realpath(out))
    for what, folder in places.items():
        source = Path(os.path.realpath(folder))
        if root == source or source in root.parents:
            raise OptionError(
                f'-o: {shown(out)} lies in the folder of {what}, where nothing is written. Choose a folder elsewhere.'
            )
        if root in source.parents:
            raise OptionError(
                f'{what}: {shown(folder)} lies in the output folder {shown(out)}. Choose another folder for -o.'
            )


def check_numbers(iterations: int | None, batch: int | None, inter_weight: float | None) -> None:
    """Raises OptionError for what makes no sense; None is the default."""
    for what, value in (('iterations', iterations), ('batch', batch)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise OptionError(f'{what}: expected a whole number of at least 1, found {value!r}')
    if inter_weight is not None and not 0 <= inter_weight < math.inf:
        raise OptionError(f'inter_weight: expected a number of at least 0, found {inter_weight!r}')
