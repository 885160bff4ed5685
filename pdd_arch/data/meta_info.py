"""Lists of images in text files, as BasicSR writes them."""

import re
from os import path as osp

from pdd_arch.errors import DataError, MissingFileError
from pdd_arch.images.names import is_image_name
from pdd_arch.utils.files import open_file
from pdd_arch.utils.wording import shown

# longer than any path, two of them, and a size
_MAX_LINE = 10_000

# 'name', 'name (h,w)', 'name (h,w,c)', 'name (h,w,c) 1': BasicSR's line, the last number a PNG compression level
_META_LINE = re.compile(r'^(?P<name>.+?)(?:\s+\((?P<h>\d+),\s*(?P<w>\d+)(?:,\s*\d+)?\)(?:\s+\S+)?)?$')


def parse_meta_info(path: str, key: str) -> list[tuple[str, tuple[int, int] | None]]:
    """Names, and sizes (height, width) where they are given, of a meta-info file.

    Raises:
        MissingFileError, DataError: there is no such file, it lists nothing, or is not text; `key` is its option.
    """
    path = osp.expanduser(str(path))
    entries = []
    try:
        with open_file(path) as file:
            # not `for line in file`: the line of a file that is no text may be as long as the file
            while line := file.readline(_MAX_LINE):
                if len(line) == _MAX_LINE:
                    raise DataError(f'a line of {_MAX_LINE} characters or more')
                # a byte-order mark is what some editors put first
                text = line.decode('utf-8-sig' if file.tell() == len(line) else 'utf-8').strip()
                if '\0' in text:
                    raise DataError('it holds zero bytes')
                if text:
                    entries.append(_entry(text))
    except MissingFileError:
        raise MissingFileError(
            f'the file {shown(path)} does not exist', where=key, way_out='Correct the path.'
        ) from None
    except (DataError, OSError, UnicodeDecodeError) as error:
        reason = error.what if isinstance(error, DataError) else error
        raise DataError(
            f'{shown(path)} is not read as a list of images ({reason})',
            where=key,
            way_out='Name a text file with one name a line.',
        ) from None
    if not entries:
        raise DataError(
            f'{shown(path)} lists no image', where=key, way_out='Write one name a line, relative to the data folder.'
        )
    return entries


def listed_names(path: str, root: str, key: str) -> list[str]:
    """Names in a meta-info file, relative to the data folder `root`; DataError where one lies outside.

    A list may come from somebody else: it must not choose among all files of the machine.
    """
    top = osp.abspath(root)
    below = []
    for name, _ in parse_meta_info(path, key):
        relative = osp.relpath(name, top) if osp.isabs(name) else osp.normpath(name)
        if relative.split(osp.sep, 1)[0] == osp.pardir:
            raise DataError(
                f'{shown(path)} lists {shown(name)}, which lies outside {shown(root)}',
                where=key,
                way_out='Correct the list, or name a folder that holds all of the images as the data folder.',
            )
        below.append(relative)
    return below


def _entry(line: str) -> tuple[str, tuple[int, int] | None]:
    # one space for many: the pattern would try all of them in all ways
    match = _META_LINE.match(' '.join(line.split()) if len(line) > 500 else line)
    assert match  # any line that is not empty
    name = match['name'].split(', ')[0].strip()
    if not is_image_name(name):
        name = name.split()[0]  # BasicSR's rule; a name with spaces and an extension is kept whole
    return name, (int(match['h']), int(match['w'])) if match['h'] else None
