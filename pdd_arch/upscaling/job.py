"""Photographs one after the other: what fails is reported, and what has been done is not done again."""

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from pdd_arch.errors import DataError, OptionError, PDDError
from pdd_arch.photo_files.reading import photo_size, read_photo
from pdd_arch.photo_files.writing import check_size, encode_photo
from pdd_arch.upscaling.engine import PhotoUpscaler
from pdd_arch.upscaling.inputs import Item
from pdd_arch.upscaling.record import Record, SourceState
from pdd_arch.utils.atomic import whole_file, writing
from pdd_arch.utils.files import is_name_too_long
from pdd_arch.utils.wording import shown


def pending(
    items: Sequence[Item], settings: Mapping[str, object], record: Record, overwrite: bool = False
) -> tuple[list[Item], list[Item]]:
    """What is to be done, and what has been done already, with the same settings from the same photographs.

    Raises:
        DataError: there are other files where outputs would go, and `overwrite` does not allow them to be replaced.
    """
    todo: list[Item] = []
    kept: list[Item] = []
    for item in items:
        (kept if record.holds(item.name, item.source, settings) else todo).append(item)
    others = [item for item in todo if os.path.lexists(item.target)]
    if others and not overwrite:
        what = (
            'was made with other options or from another photograph, or has been changed since'
            if record.is_output(others[0].name)
            else 'was not made by this command'
        )
        count = f'{len(others)} files are in the way; ' if len(others) > 1 else ''
        raise DataError(
            f'{count}{shown(others[0].target)} exists and {what}. Nothing was changed',
            way_out='Allow such files to be replaced (--overwrite), or choose another -o.',
        )
    return todo, kept


def run_job(
    upscaler: PhotoUpscaler,
    items: Sequence[Item],
    record: Record,
    quality: int,
    progress: Callable[[Item, int, int], None],
) -> Iterator[tuple[Item, list[str], PDDError | None]]:
    """Upscale photographs, and replace files that are in the way.

    Each output is whole or not there, whenever the job is stopped. `progress` is called with a photograph, the number
    of its tiles that are done, and that of all of them.

    Yields:
        Each photograph, what its owner should know (a sentence each), and why there is no output (`where` names the
        photograph), or None.

    Raises:
        OptionError: an option does not fit the network, whatever the photograph.
        DataError: an output cannot be written (disk full ...).
    """
    settings = upscaler.settings(quality)
    for item in items:
        name = shown(item.source)
        notes: list[str] = []
        error = None
        try:
            source = SourceState.of(item.source)
            content, notes = _upscaled(upscaler, item, quality, partial(progress, item))
        except OptionError:  # would be the same for all
            raise
        except PDDError as reason:
            error = reason if reason.where == name else reason.within(name, ': ')
        except Exception as reason:
            what = f'unexpected {type(reason).__name__}: {" ".join(str(reason).split())[:300]}. This may be a bug'
            error = PDDError(what, where=name)
        else:
            with writing(item.target):
                try:
                    item.target.parent.mkdir(parents=True, exist_ok=True)
                    with whole_file(item.target) as unfinished:
                        unfinished.write_bytes(content)
                        record.add(item.name, source, settings, content)
                except OSError as reason:
                    if reason.errno != errno.ENAMETOOLONG:  # any other would be the same for all
                        raise
                    error = _name_too_long(item).within(name, ': ')
        yield item, notes, error


def _name_too_long(item: Item) -> DataError:
    what = f'the name of its output is too long for the folder ({len(os.fsencode(item.target.name))} bytes)'
    return DataError(what, way_out='Rename the photograph.')


def _upscaled(
    upscaler: PhotoUpscaler, item: Item, quality: int, progress: Callable[[int, int], None]
) -> tuple[bytes, list[str]]:
    """The content of the output, and notes; apart, so that no pixels are kept while the next photograph is upscaled."""
    check(upscaler, item)
    photo = read_photo(item.source)
    content, lost = encode_photo(upscaler.upscale(photo, progress), item.format, quality)
    return content, [*photo.notes, *lost]


def check(upscaler: PhotoUpscaler, item: Item) -> tuple[int, int, int, int]:
    """Height and width of a photograph and of its output, known before anything is computed.

    Raises MissingFileError or DataError: the photograph cannot be read, or its output cannot be written.
    """
    height, width = photo_size(item.source)
    large, wide = upscaler.output_size(height, width)
    check_size(wide, large, item.format)
    if is_name_too_long(item.target):
        raise _name_too_long(item)
    return height, width, large, wide
