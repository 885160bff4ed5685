"""What `pdd adapt` is given: folders, numbers and networks, checked before anything is done."""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pdd_arch.adaptation.preset import FEATURES
from pdd_arch.data.sources import require_folder
from pdd_arch.errors import MissingFileError, OptionError
from pdd_arch.features.feature_net import imagenet_features
from pdd_arch.inference.load import load_network
from pdd_arch.utils.files import sha256_of
from pdd_arch.utils.wording import did_you_mean, one_of, shown
from pdd_arch.weights import zoo

HR_HELP = (
    'HR photographs are needed: sharp, clean images of anything, a hundred or more, that have nothing to do with your '
    'camera. DIV2K (800 photographs, data.vision.ee.ethz.ch/cvl/DIV2K) and Flickr2K suit, or your own best ones '
    'downsampled to half their size. `pdd prepare df2k --help` says how to get and prepare them.'
)


@dataclass(frozen=True)
class Generalist:
    """The network that is adapted: its weights as an option file in any folder names them, their SHA-256."""

    weights: str
    scale: int
    sha256: str
    notes: tuple[str, ...] = ()  # what was done to read it

    def described(self) -> dict[str, str | int]:
        """What the record tells of it, without paths."""
        entry = zoo.generalist(self.weights) if zoo.is_zoo(self.weights) else None
        name = self.weights.removeprefix(zoo.ZOO_PREFIX) if entry else Path(self.weights).name
        published = {'licence': entry.licence, 'source': entry.url} if entry else {}
        return {'name': name, 'scale': self.scale, 'sha256': self.sha256, **published}


def find_generalist(source: str) -> Generalist:
    """The network that ``--generalist`` names; it is downloaded if need be. Raises as `load_network`."""
    loaded = load_network(source, '--generalist')
    published = zoo.is_zoo(source) or (source in zoo.ZOO and not Path(source).expanduser().exists())
    weights = f'{zoo.ZOO_PREFIX}{loaded.name}' if published else os.path.abspath(loaded.file)
    return Generalist(weights, loaded.scale, sha256_of(loaded.file), loaded.notes)


def find_features(kind: str, weights: str) -> list[str]:
    """Type of the feature network and its weights, ``imagenet`` (downloaded if need be) or an absolute path.

    Raises OptionError for an unknown type, MissingFileError for weights that are not there.
    """
    require_known('--features', kind, FEATURES)
    if weights == 'imagenet':
        imagenet_features(kind, '--feature-weights')
        return [kind, weights]
    path = os.path.abspath(os.path.expanduser(weights))
    if not os.path.isfile(path):
        raise MissingFileError(
            f'there is no file {shown(path)}',
            where='--feature-weights',
            way_out=f"Give torchvision's weights of {kind}, or leave it out: then they are downloaded.",
        )
    return [kind, path]


def require_known(where: str, name: str, known: Iterable[str]) -> None:
    """Raise OptionError for a name that is not known."""
    if name not in known:
        hint = did_you_mean(name, known)
        raise OptionError(where=where, expected=one_of(known), found=repr(name), way_out=hint)


def check_folders(photographs: Path, hr: Path, out: Path) -> None:
    """Make sure that nothing is written where photographs are, and that no image has two roles.

    Raises MissingFileError for a folder that does not exist, OptionError for one that lies where it must not.
    """
    places = {'PHOTOS': photographs, '--hr': hr}
    for what, folder in places.items():
        require_folder(str(folder), what)
    if os.path.samefile(photographs, hr):
        raise OptionError(f'{shown(hr)} is the folder of the photographs itself', where='--hr', way_out=HR_HELP)
    root = Path(os.path.realpath(out))
    for what, folder in places.items():
        source = Path(os.path.realpath(folder))
        if root == source or source in root.parents:
            problem = f'{shown(out)} lies in the folder of {what}, where nothing is written'
            raise OptionError(problem, where='-o', way_out='Choose a folder elsewhere.')
        if root in source.parents:
            problem = f'{shown(folder)} lies in the output folder {shown(out)}'
            raise OptionError(problem, where=what, way_out='Choose another folder for -o.')


def check_numbers(iterations: int | None, batch: int | None, inter_weight: float | None) -> None:
    """Raise OptionError for numbers that make no sense; None stands for the default."""
    for what, value in (('iterations', iterations), ('batch', batch)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise OptionError(where=what, expected='a whole number of at least 1', found=repr(value))
    if inter_weight is not None and not 0 <= inter_weight < math.inf:
        raise OptionError(where='inter_weight', expected='a number of at least 0', found=repr(inter_weight))
