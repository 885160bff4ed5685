"""The folder of an adaptation: what lies where, and whether a command continues what another has begun."""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pdd_arch.adaptation.photographs import Photograph, PhotographSet
from pdd_arch.errors import DataError, OptionError
from pdd_arch.images.names import with_image_extension
from pdd_arch.inference.load import ADAPTATION, ADAPTED_MODEL
from pdd_arch.utils.atomic import PARTIAL, write_json, writing
from pdd_arch.utils.files import read_json
from pdd_arch.utils.locks import LOCK_FILE, folder_held
from pdd_arch.utils.wording import shown

#: one photograph in so many, and at most so many, are kept from training to choose by
HELD_OUT_SHARE, MOST_HELD_OUT = 10, 12
#: file systems that do not support symbolic links say so by one of these
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
#: settings that stand for the content of files
_DIGESTS = {'images': 'the images in the folders', 'weights': 'the weights of the generalist or the features'}
_BRIEF = 60
MADE_ANEW = 'Remove it and give the same command again: it is made anew.'


@dataclass(frozen=True)
class Settings:
    """What an adaptation depends on besides its images; those without a comment are arguments of `adapt`."""

    pdd_arch: str  # version of this package
    photographs: str
    hr: str
    generalist: str  # its weights, as an option file names them from any folder
    preset: str
    features: list[str]  # type of the feature network and its weights (imagenet or an absolute path)
    weights: list[str | None]  # SHA-256 of the generalist's, and of the feature network's if they are a file
    iterations: int
    batch: int | None
    inter_weight: float | None
    tune: bool
    device: str

    @property
    def ratio(self) -> float:
        """Of the inter-model to the intra-model distance."""
        return 1.0 if self.inter_weight is None else self.inter_weight


class Workspace:
    """Paths below the output folder, in which BasicSR's commands are run as well."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = root / 'settings.json'  # what the adaptation was begun with
        self.record = root / ADAPTATION  # what was done and found, which `pdd export` reads
        self.model = root / ADAPTED_MODEL
        self.page = root / 'report.html'  # before and after
        self.preview = root / 'preview.png'  # a held-out photograph at the present stage of the training
        self.camera = root / 'camera.json'  # the estimated camera
        self.table = root / 'checkpoints.csv'  # signals of all checkpoints

    def option_file(self, name: str) -> Path:
        return self.root / f'{name}.yml'

    def run_folder(self, name: str) -> Path:
        return self.root / 'experiments' / name

    def images(self, kind: str) -> Path:
        """Folder of links: ``hr``, ``hr_held_out``, ``photographs``, ``photographs_held_out``."""
        return self.root / 'data' / kind

    def check(self, settings: Mapping[str, object], overwrite: bool) -> bool:
        """Whether there is an adaptation with these settings here; makes sure that one can be begun or continued.

        `settings` are those known so far, as JSON holds them. Others raise OptionError, unless `overwrite` allows to
        throw that adaptation away; a folder that holds something else, or cannot be read, is a DataError in any case.
        """
        with writing(self.root):
            begun = self.settings.is_file()
            # a start that was broken off leaves its lock and a partial file
            if not begun and self.root.exists() and not (self.root.is_dir() and all(map(_left, self.root.iterdir()))):
                problem = f'{shown(self.root)} exists and was not made by `pdd adapt`, so it is left alone'
                raise DataError(problem, where='-o', way_out='Choose another folder.')
        if not begun:
            return False
        way_out = 'It says what the adaptation there was begun with; remove the folder, or choose another -o.'
        changed = ', '.join(_differences(read_json(self.settings, way_out), settings))
        if changed and not overwrite:
            raise OptionError(
                f'{shown(self.root)} was begun with other settings ({changed})',
                where='-o',
                way_out='Give the same again to continue, choose another folder, or start anew with --overwrite.',
            )
        return not changed

    def held(self) -> AbstractContextManager[None]:
        """Within the block other processes are kept out of the folder. Raises OptionError, DataError: `folder_held`."""
        taken = OptionError(
            f'another `pdd adapt` is at work in {shown(self.root)}',
            where='-o',
            way_out='Wait for it, stop it, or choose another folder.',
        )
        return folder_held(self.root, taken)

    def begin(self, settings: Mapping[str, object], overwrite: bool) -> bool:
        """As :meth:`check`; notes the settings where they are new. The folder is `held`."""
        if self.check(settings, overwrite):
            return True
        if self.settings.is_file():
            with writing(self.root):
                self._clear()
        write_json(self.settings, settings)
        return False

    def _clear(self) -> None:
        """Remove what an adaptation writes, and nothing else; the settings stay until others replace them."""
        files = [self.record, self.model, self.page, self.preview, self.camera, self.table]
        for pattern in ('adapt.yml', 'adapt_ratio_*.yml', 'adapt*_signals.json'):
            files += self.root.glob(pattern)
        for path in files:
            path.unlink(missing_ok=True)
        for folder in (self.root / name for name in ('experiments', 'data', 'photographs')):
            if folder.exists():
                shutil.rmtree(folder)

    def finished(self) -> dict[str, Any] | None:
        """The record of an adaptation that is complete, else None."""
        complete = all(path.is_file() for path in (self.record, self.model, self.page))
        return read_json(self.record, MADE_ANEW) if complete else None

    def link(self, kind: str, photographs: Sequence[Photograph]) -> None:
        """Fill the folder `images` with numbered links to photographs, or copies where links are not supported."""
        folder = self.images(kind)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for old in folder.iterdir():
                old.unlink()
            for number, photograph in enumerate(photographs, start=1):
                link = folder / with_image_extension(photograph.path, f'{number:05d}')
                try:
                    link.symlink_to(os.path.abspath(photograph.path))
                except OSError as error:
                    if error.errno not in _NO_LINKS:
                        raise
                    shutil.copyfile(photograph.path, link)


class Split(NamedTuple):
    """Photographs to train with, and others to judge by."""

    train: list[Photograph]
    held_out: list[Photograph]


def split(found: PhotographSet) -> Split:
    """Hold out some photographs, evenly spread: the same in every call, and none that is nearly the same as another.

    Raises DataError for fewer than two that differ.
    """
    twins = {p.twin for p in found.usable}
    single = [p for p in found.usable if p.twin is None and p.path not in twins]
    if len(found.usable) < 2 or not single:
        raise DataError(
            where=shown(found.folder),
            expected='at least two different images, one to learn from and one to judge by',
            found=f'{len(found.usable)}{" that are all alike" if len(found.usable) > 1 else ""}',
            way_out='Add more.',
        )
    count = min(max(len(found.usable) // HELD_OUT_SHARE, 1), MOST_HELD_OUT, len(single))
    step = len(single) / count
    kept = [single[int((i + 0.5) * step)] for i in range(count)]
    return Split([p for p in found.usable if p not in kept], kept)


def _left(path: Path) -> bool:
    return path.name == LOCK_FILE or path.name.endswith(PARTIAL)


@contextmanager
def taken_from(path: Path) -> Iterator[None]:
    """Within the block a KeyError or TypeError becomes a DataError: the file lacks something, or has too much."""
    try:
        yield
    except (KeyError, TypeError) as error:
        raise DataError(f'lacks what `pdd adapt` writes ({error})', where=shown(path), way_out=MADE_ANEW) from None


def _differences(known: Mapping[str, object], wanted: Mapping[str, object]) -> Iterator[str]:
    for key, now in wanted.items():
        before = known.get(key)
        if key != 'pdd_arch' and before != now:  # another version continues as well
            change = f'{key.replace("_", " ")}: {_brief(before)}, now {_brief(now)}'
            yield f'{_DIGESTS[key]} have changed' if key in _DIGESTS else change


def _brief(value: object) -> str:
    text = shown(str(value)) if value is not None else 'not given'
    return text if len(text) <= _BRIEF else f'...{text[-_BRIEF:]}'
