"""What an interrupted run has done, so that the next one need not do it again."""

import contextlib
import json
from pathlib import Path
from typing import Any

from pdd_arch.utils.atomic import writing


class Journal:
    """What is known of files, kept on disk for as long as their size and time of change stay the same.

    A line is appended for each file; a last line that was cut off is passed over. `path` None keeps it in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._known: dict[str, dict[str, Any]] = {}
        if path and path.is_file():
            for line in path.read_text('utf-8', 'replace').splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    self._known[entry['key']] = entry

    def get(self, key: str, file: Path) -> dict[str, Any] | None:
        """The entry of a key, if `file` has not changed since."""
        entry = self._known.get(key)
        return entry if entry and entry.get('stamp') == _stamp(file) else None

    def put(self, key: str, file: Path, **facts: object) -> None:
        """Remembers facts that hold while `file` does not change."""
        entry = self._known[key] = {'key': key, 'stamp': _stamp(file), **facts}
        if self.path:
            # the line break comes first: a line that was cut off must not spoil this one
            with writing(self.path), self.path.open('a', encoding='utf-8') as log:
                log.write(f'\n{json.dumps(entry)}')


def _stamp(file: Path) -> list[int] | None:
    with contextlib.suppress(OSError):
        status = file.stat()
        return [status.st_size, status.st_mtime_ns]
    return None
