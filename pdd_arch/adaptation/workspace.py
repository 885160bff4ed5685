"""The folder of an adaptation: what lies where, and whether a command continues what another has begun."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pdd_arch.adaptation.photographs import Photograph, PhotographSet
from pdd_arch.errors import DataError, OptionError
from pdd_arch.inference.load import ADAPTED_MODEL
from pdd_arch.utils.atomic import PARTIAL, whole_file, writing
from pdd_arch.utils.locks import LOCK_FILE, folder_held
from pdd_arch.utils.wording import shown

__all__ = ['Workspace', 'read_json', 'split']

#: of the photographs, a share and a limit for what is kept from training to choose by
HELD_OUT_SHARE, MOST_HELD_OUT = 10, 12
#: what a start that was broken off leaves in a new folder
_TRACES = {LOCK_FILE, f'settings.json{PARTIAL}'}
#: file systems that know no symbolic links say so by one of these
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
#: settings that stand for the content of files
_DIGESTS = {'images': 'the images in the folders', 'weights': 'the weights of the generalist or the features'}
_BRIEF = 60


@dataclass(frozen=True)
class Workspace:
    """Paths below the output folder, which is also where BasicSR's commands are run.

    Attributes:
        root: the output folder.
    """

    root: Path

    @property
    def settings(self) -> Path:
        """What the adaptation was begun with."""
        return self.root / 'settings.json'

    @property
    def record(self) -> Path:
        """What was done and found; `pdd export` reads it."""
        return self.root / 'adaptation.json'

    @property
    def model(self) -> Path:
        """The adapted network."""
        return self.root / ADAPTED_MODEL

    @property
    def page(self) -> Path:
        """Before and after."""
        return self.root / 'report.html'

    @property
    def preview(self) -> Path:
        """A held-out photograph as the training stands."""
        return self.root / 'preview.png'

    @property
    def camera(self) -> Path:
        """The camera as it was estimated."""
        return self.root / 'camera.json'

    @property
    def checkpoints(self) -> Path:
        """Signals of all checkpoints."""
        return self.root / 'checkpoints.csv'

    def option_file(self, name: str) -> Path:
        """Of a run."""
        return self.root / f'{name}.yml'

    def run_folder(self, name: str) -> Path:
        """BasicSR's folder of a run."""
        return self.root / 'experiments' / name

    def images(self, kind: str) -> Path:
        """Folder of links: ``hr``, ``hr_held_out``, ``photographs``, ``photographs_held_out``."""
        return self.root / 'data' / kind

    def check(self, settings: Mapping, overwrite: bool) -> None:
        """Make sure, before anything takes time, that an adaptation can be made or continued here.

        Args:
            settings: as for :meth:`begin`, all or some.
            overwrite: as there.

        Raises:
            OptionError: the folder belongs to an adaptation with other settings.
            DataError: it holds something else.
        """
        if self.settings.is_file():
            changed = ', '.join(_differences(_known(self.settings), settings))
            if changed and not overwrite:
                raise OptionError(
                    f'-o: {shown(self.root)} was begun with other settings ({changed}). Give the same again to '
                    'continue, choose another folder, or start anew with --overwrite.'
                )
        elif self.root.exists() and (not self.root.is_dir() or {p.name for p in self.root.iterdir()} - _TRACES):
            raise DataError(
                f'-o: {shown(self.root)} exists and was not made by `pdd adapt`, so it is left alone. Choose another '
                'folder.'
            )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other processes out of the folder, which is made if need be.

        Raises:
            OptionError: one of them is at work there.
            DataError: the folder cannot be made.
        """
        with writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        taken = OptionError(
            f'-o: another `pdd adapt` is at work in {shown(self.root)}. Wait for it, stop it, or choose another folder.'
        )
        with folder_held(self.root, taken):
            yield

    def begin(self, settings: Mapping, overwrite: bool) -> bool:
        """Note the settings, or make sure that they are those of the adaptation here. The folder is `held`.

        Args:
            settings: everything that the result depends on, plain data.
            overwrite: throw away what another adaptation has left.

        Returns:
            Whether something is continued.

        Raises:
            OptionError, DataError: as :meth:`check`, or the folder cannot be written.
        """
        self.check(settings, overwrite)
        known = _known(self.settings) if self.settings.is_file() else None
        if known is not None and not any(_differences(known, settings)):
            return True
        with writing(self.root):
            if known is not None:
                self._clear()
            with whole_file(self.settings) as partial:
                partial.write_text(json.dumps(settings, indent=1) + '\n', encoding='utf-8')
        return False

    def _clear(self) -> None:
        """Removes what an adaptation writes, and nothing else; the settings last, by writing others."""
        files = [self.record, self.model, self.page, self.preview, self.camera, self.checkpoints]
        files += (
            p for pattern in ('adapt.yml', 'adapt_ratio_*.yml', 'adapt*_signals.json') for p in self.root.glob(pattern)
        )
        for path in files:
            path.unlink(missing_ok=True)
        for name in ('experiments', 'data', 'photographs'):
            if (self.root / name).exists():
                shutil.rmtree(self.root / name)

    def finished(self) -> dict | None:
        """The record of an adaptation that is complete, else None."""
        if not all(path.is_file() for path in (self.record, self.model, self.page)):
            return None
        return read_json(self.record)

    def link(self, kind: str, photographs: Sequence[Photograph]) -> list[Path]:
        """Links to photographs, all that a folder holds, under names without surprises.

        Args:
            kind: as for :meth:`images`.
            photographs: to be linked to.

        Returns:
            The links, in the order of `photographs`. Copies where the file system knows no links.
        """
        folder, links = self.images(kind), []
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for old in folder.iterdir():
                old.unlink()
            for number, photograph in enumerate(photographs, start=1):
                link = folder / f'{number:05d}{photograph.path.suffix.lower()}'
                _link_or_copy(photograph.path, link)
                links.append(link)
        return links


def split(found: PhotographSet) -> tuple[list[Photograph], list[Photograph]]:
    """Photographs to train with, and some, evenly spread, to choose by: the same in every call.

    None that is nearly the same as one of the others is kept from training.

    Raises:
        DataError: there are fewer than two that differ.
    """
    twins = {p.twin for p in found.usable if p.twin}
    single = [p for p in found.usable if p.twin is None and str(p.path) not in {str(t) for t in twins}]
    if len(found.usable) < 2 or not single:
        raise DataError(
            f'{shown(found.folder)}: expected at least two different images, one to learn from and one to judge by, '
            f'found {len(found.usable)}{" that are all alike" if len(found.usable) > 1 else ""}. Add more.'
        )
    count = min(max(len(found.usable) // HELD_OUT_SHARE, 1), MOST_HELD_OUT, len(single))
    step = len(single) / count
    kept = [single[int((i + 0.5) * step)] for i in range(count)]
    return [p for p in found.usable if p not in kept], kept


def _link_or_copy(path: Path, link: Path) -> None:
    try:
        link.symlink_to(os.path.abspath(path))
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(path, link)


def read_json(path: Path) -> dict:
    """What a file of the folder holds.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return dict(json.loads(path.read_text('utf-8')))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f'{shown(path)}: cannot be read ({error}). Remove it and give the same command again: it is made anew.'
        ) from None


def _known(path: Path) -> dict:
    try:
        return read_json(path)
    except DataError as error:
        reason = str(error).split(' Remove it', 1)[0]
        raise DataError(
            f'{reason} It says what the adaptation there was begun with; remove the folder, or choose another -o.'
        ) from None


def _differences(known: Mapping, wanted: Mapping) -> Iterator[str]:
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
