"""A folder of photographs, one after the other: what breaks is reported, what is done is not done again."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from pdd_arch.errors import DataError, OptionError, PDDError
from pdd_arch.images.decoding import image_size
from pdd_arch.photo_files import QUALITY, encode_photo, read_photo, side_problem
from pdd_arch.upscaling.engine import PhotoUpscaler
from pdd_arch.upscaling.inputs import Item
from pdd_arch.upscaling.record import Record
from pdd_arch.utils.atomic import whole_file, writing
from pdd_arch.utils.wording import shown


class Refused(DataError):
    """Outputs exist that may not be overwritten."""


@dataclass
class Outcome:
    """How a job ended: outputs written, those that were there already, and photographs that failed, with the reason."""

    written: list[Item] = field(default_factory=list)
    kept: list[Item] = field(default_factory=list)
    broken: list[tuple[Item, str]] = field(default_factory=list)


class Events:
    """What a job tells while it runs; nothing is done with it here."""

    def begin(self, total: int) -> None:
        """So many photographs will be upscaled."""

    def tiles(self, item: Item, done: int, total: int) -> None:
        """Tiles of the photograph that is being upscaled."""

    def note(self, item: Item, text: str) -> None:
        """Something about a photograph that its owner should know."""

    def end(self, item: Item, reason: str | None) -> None:
        """A photograph is done, or failed for a reason."""


def pending(
    items: Sequence[Item], settings: dict, record: Record, overwrite: bool = False
) -> tuple[list[Item], list[Item]]:
    """What is to be done, and what has been done already, with the same settings from the same photographs.

    Raises:
        Refused: there are other files where outputs would go, and `overwrite` does not allow to replace them.
    """
    todo, kept, others = [], [], []
    for item in items:
        if _is_done(item, settings, record):
            kept.append(item)
            continue
        todo.append(item)
        if os.path.lexists(item.target):
            others.append(item)
    if others and not overwrite:
        what = (
            'was made with other options or from another photograph, or has been changed since'
            if record.is_output(others[0].name)
            else 'was not made by this command'
        )
        count = f'{len(others)} files are in the way; ' if len(others) > 1 else ''
        raise Refused(
            f'{count}{shown(others[0].target)} exists and {what}. Nothing was changed. Allow to replace such files '
            '(--overwrite), or choose another -o.'
        )
    return todo, kept


def _is_done(item: Item, settings: dict, record: Record) -> bool:
    try:
        return record.holds(item.name, item.source, settings)
    except OSError:  # the photograph or the output cannot be read: its turn will tell
        return False


def run_job(
    upscaler: PhotoUpscaler,
    items: Sequence[Item],
    record: Record,
    *,
    quality: int = QUALITY,
    overwrite: bool = False,
    events: Events | None = None,
) -> Outcome:
    """Upscale photographs. Each output is whole or not there, whenever the job is stopped.

    Args:
        upscaler: what is done with each.
        items: of `pdd_arch.upscaling.plan_outputs`.
        record: of the folder of outputs.
        quality: of JPEG and WebP.
        overwrite: whether files that are not outputs of the same job may be replaced.
        events: who is told.

    Returns:
        What became of each.

    Raises:
        Refused: as :func:`pending`, before anything is done.
        DataError: an output cannot be written (disk full ...).
    """
    events, settings = events or Events(), job_settings(upscaler, quality)
    todo, kept = pending(items, settings, record, overwrite)
    outcome = Outcome(kept=kept)
    events.begin(len(todo))
    for item in todo:
        try:
            content, notes = _upscaled(upscaler, item, quality, events)
        except OptionError:  # would be the same for all
            raise
        except PDDError as error:
            reason = str(error).removeprefix(f'{shown(item.source)}: ')
        except Exception as error:
            reason = f'unexpected {type(error).__name__}: {" ".join(str(error).split())[:300]}. This may be a bug'
        else:
            for note in notes:
                events.note(item, note)
            _write(item, content, settings, record)
            outcome.written.append(item)
            events.end(item, None)
            continue
        outcome.broken.append((item, reason))
        events.end(item, reason)
    return outcome


def job_settings(upscaler: PhotoUpscaler, quality: int) -> dict:
    """What decides an output besides its photograph and its format."""
    return {**upscaler.settings, 'quality': quality}


def _upscaled(upscaler: PhotoUpscaler, item: Item, quality: int, events: Events) -> tuple[bytes, list[str]]:
    # known from the header, before anything is computed
    height, width = upscaler.output_size(*image_size(item.source))
    problem = side_problem(width, height, item.format)
    if problem:
        raise DataError(problem)
    photo = read_photo(item.source)
    large = upscaler(photo, lambda done, total: events.tiles(item, done, total))
    content, lost = encode_photo(large, item.format, quality)
    return content, [*photo.notes, *lost]


def _write(item: Item, content: bytes, settings: dict, record: Record) -> None:
    with writing(item.target):
        item.target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(item.target) as partial:
            with partial.open('wb') as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            record.add(item.name, item.source, settings, content)
