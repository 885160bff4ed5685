"""The folder of an adaptation: what lies where, and whether a command continues what another has begun."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pdd_arch.adaptation.photographs import Photograph, PhotographSet
from pdd_arch.errors import DataError, OptionError
from pdd_arch.inference.load import ADAPTED_MODEL
from pdd_arch.utils.atomic import PARTIAL, write_json, writing
from pdd_arch.utils.locks import LOCK_FILE, folder_held
from pdd_arch.utils.wording import shown

#: of the photographs, a share and a limit for what is kept from training to choose by
HELD_OUT_SHARE, MOST_HELD_OUT = 10, 12
#: file systems that do not support symbolic links say so by one of these
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
#: settings that stand for the content of files
_DIGESTS = {'images': 'the images in the folders', 'weights': 'the weights of the generalist or the features'}
_BRIEF = 60
_MADE_ANEW = 'Remove it and give the same command again: it is made anew.'


@dataclass(frozen=True)
class Settings:
    """What an adaptation depends on besides its images; those without a line here are arguments of `adapt`.

    Attributes:
        pdd_arch: version of this package.
        generalist: its weights, as an option file names them from any folder.
        features: type of the feature network and its weights (``imagenet`` or an absolute path).
        weights: SHA-256 of the generalist's weights, and of the feature network's if they are a file.
    """

    pdd_arch: str
    photographs: str
    hr: str
    generalist: str
    preset: str
    features: list[str]
    weights: list[str | None]
    iterations: int
    batch: int | None
    inter_weight: float | None
    tune: bool
    device: str


class Workspace:
    """Paths below the output folder, in which BasicSR's commands are run as well.

    Attributes:
        root: the output folder.
        settings: what the adaptation was begun with.
        record: what was done and found, which `pdd export` reads.
        model: the adapted network.
        page: the comparison before and after.
        preview: a held-out photograph at the present stage of the training.
        camera: the camera as it was estimated.
        table: signals of all checkpoints.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = root / 'settings.json'
        self.record = root / 'adaptation.json'
        self.model = root / ADAPTED_MODEL
        self.page = root / 'report.html'
        self.preview = root / 'preview.png'
        self.camera = root / 'camera.json'
        self.table = root / 'checkpoints.csv'

    def option_file(self, name: str) -> Path:
        """Option file of a run."""
        return self.root / f'{name}.yml'

    def run_folder(self, name: str) -> Path:
        """BasicSR's folder of a run."""
        return self.root / 'experiments' / name

    def images(self, kind: str) -> Path:
        """Folder of links: ``hr``, ``hr_held_out``, ``photographs``, ``photographs_held_out``."""
        return self.root / 'data' / kind

    def check(self, settings: Mapping[str, object], overwrite: bool) -> bool:
        """Make sure, before anything takes time, that an adaptation can be begun or continued here.

        Args:
            settings: everything that the result depends on and that is known so far, as JSON holds it.
            overwrite: whether an adaptation with other settings may be thrown away.

        Returns:
            Whether there is one with these settings.

        Raises:
            OptionError: the folder belongs to an adaptation with other settings.
            DataError: it holds something else.
        """
        if self.settings.is_file():
            known = read_json(
                self.settings,
                'It says what the adaptation there was begun with; remove the folder, or choose another -o.',
            )
            changed = ', '.join(_differences(known, settings))
            if changed and not overwrite:
                raise OptionError(
                    f'{shown(self.root)} was begun with other settings ({changed})',
                    where='-o',
                    way_out='Give the same again to continue, choose another folder, or start anew with --overwrite.',
                )
            return not changed
        # a start that was broken off leaves its lock and a partial file
        if self.root.exists() and not (
            self.root.is_dir() and all(p.name == LOCK_FILE or p.name.endswith(PARTIAL) for p in self.root.iterdir())
        ):
            raise DataError(
                f'{shown(self.root)} exists and was not made by `pdd adapt`, so it is left alone',
                where='-o',
                way_out='Choose another folder.',
            )
        return False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out of the folder, which is made if need be.

        Raises:
            OptionError: one of them is at work there.
            DataError: the folder cannot be made.
        """
        with writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        taken = OptionError(
            f'another `pdd adapt` is at work in {shown(self.root)}',
            where='-o',
            way_out='Wait for it, stop it, or choose another folder.',
        )
        with folder_held(self.root, taken):
            yield

    def begin(self, settings: Mapping[str, object], overwrite: bool) -> bool:
        """Note the settings, or make sure that they are those of the adaptation here. The folder is `held`.

        Args, returned value and errors are those of :meth:`check`; DataError also where the folder cannot be written.
        """
        if self.check(settings, overwrite):
            return True
        if self.settings.is_file():
            with writing(self.root):
                self._clear()
        write_json(self.settings, settings)
        return False

    def _clear(self) -> None:
        """Remove what an adaptation writes, and nothing else; the settings last, by writing others."""
        files = [self.record, self.model, self.page, self.preview, self.camera, self.table]
        for pattern in ('adapt.yml', 'adapt_ratio_*.yml', 'adapt*_signals.json'):
            files += self.root.glob(pattern)
        for path in files:
            path.unlink(missing_ok=True)
        for name in ('experiments', 'data', 'photographs'):
            if (self.root / name).exists():
                shutil.rmtree(self.root / name)

    def finished(self) -> dict[str, Any] | None:
        """The record of an adaptation that is complete, else None."""
        if not all(path.is_file() for path in (self.record, self.model, self.page)):
            return None
        return read_json(self.record)

    def link(self, kind: str, photographs: Sequence[Photograph]) -> None:
        """Fill the folder `images` with numbered links to photographs, or copies where links are not supported."""
        folder = self.images(kind)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for old in folder.iterdir():
                old.unlink()
            for number, photograph in enumerate(photographs, start=1):
                _link_or_copy(photograph.path, folder / f'{number:05d}{photograph.path.suffix.lower()}')


class Split(NamedTuple):
    """Photographs to train with, and others to judge by."""

    train: list[Photograph]
    held_out: list[Photograph]


def split(found: PhotographSet) -> Split:
    """Hold out some photographs, evenly spread: the same in every call, and none that is nearly the same as another.

    Raises:
        DataError: there are fewer than two that differ.
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


def _link_or_copy(path: Path, link: Path) -> None:
    try:
        link.symlink_to(os.path.abspath(path))
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(path, link)


def read_json(path: Path, way_out: str = _MADE_ANEW) -> dict[str, Any]:
    """The content of a file that an adaptation has written.

    Raises:
        DataError: it cannot be read, or is no JSON object; `way_out` is the advice.
    """
    try:
        return dict(json.loads(path.read_text('utf-8')))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f'cannot be read ({error})', where=shown(path), way_out=way_out) from None


@contextlib.contextmanager
def taken_from(path: Path) -> Iterator[None]:
    """Turn what the content of a file lacks, or has too much, into an error that names the file.

    Raises:
        DataError: in place of a KeyError or TypeError.
    """
    try:
        yield
    except (KeyError, TypeError) as error:
        raise DataError(f'lacks what `pdd adapt` writes ({error})', where=shown(path), way_out=_MADE_ANEW) from None


def _differences(known: Mapping[str, object], wanted: Mapping[str, object]) -> Iterator[str]:
    for key, now in wanted.items():
        before = known.get(key)
        if key == 'pdd_arch' or before == now:  # another version continues as well
            continue
        if key in _DIGESTS:
            yield f'{_DIGESTS[key]} have changed'
        else:
            yield f'{key.replace("_", " ")}: {_brief(before)}, now {_brief(now)}'


def _brief(value: object) -> str:
    text = shown(str(value)) if value is not None else 'not given'
    return text if len(text) <= _BRIEF else f'...{text[-_BRIEF:]}'
