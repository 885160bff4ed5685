"""What an interrupted run has done, so that the next one need not do it again."""

import json
from pathlib import Path
from typing import Any

from pdd_arch.utils.atomic import writing


class Journal:
    """What is known of files, kept on disk.

    A line is appended for each file; a last line that was cut off is passed over. A file counts as known while
    its size and time of change are the same.

    Args:
        path: of the journal; None keeps it in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._known: dict[str, dict[str, Any]] = {}
        if path and path.is_file():
            for line in path.read_text('utf-8', 'replace').splitlines():
                try:
                    entry = json.loads(line)
                    self._known[entry['key']] = entry
                except (ValueError, KeyError, TypeError):
                    continue

    def get(self, key: str, file: Path) -> dict[str, Any] | None:
        """The entry of a key, if `file` has not changed since."""
        entry = self._known.get(key)
        return entry if entry and entry.get('stamp') == _stamp(file) else None

    def put(self, key: str, file: Path, **facts: object) -> None:
        """Remembers facts that hold while `file` does not change."""
        entry = {'key': key, 'stamp': _stamp(file), **facts}
        self._known[key] = entry
        if self.path:
            # the line break comes first: a line that was cut off must not spoil this one
            with writing(self.path), self.path.open('a', encoding='utf-8') as log:
                log.write(f'\n{json.dumps(entry)}')


def _stamp(file: Path) -> list[int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
