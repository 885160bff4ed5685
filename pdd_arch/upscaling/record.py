"""What a folder of outputs was made from, so that a job that was stopped can be continued."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pdd_arch.errors import DataError, OptionError
from pdd_arch.utils.files import REPLACE, open_file, sha256_of, sha256_of_open
from pdd_arch.utils.locks import folder_held
from pdd_arch.utils.wording import shown

RECORD = '.pdd_upscale.jsonl'
_VERSION = 1


@dataclass(frozen=True)
class SourceState:
    """What tells whether a photograph is still the one that an output was made from."""

    path: Path
    size: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> 'SourceState':
        """The present state of a file. Raises MissingFileError, or DataError where it cannot be read."""
        with open_file(path) as file:
            status = os.fstat(file.fileno())
            try:
                return cls(path, status.st_size, status.st_mtime_ns, sha256_of_open(file))
            except OSError as error:
                what = f'cannot be read ({error.strerror})'
                raise DataError(what, where=shown(path), way_out=REPLACE) from None


class Record:
    """A file in the folder of outputs, with a line for each: what it was made from, how, and its own hash.

    A line is written before its output gets its name, so that an output without a line was not made by this program,
    and a line without its output counts for nothing. A file that was changed since is not taken for an output either.
    The folder need not exist; without one (None), nothing is recorded and nothing is known.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._entries: dict[str, dict[str, object]] = {}
        self._read()

    def _read(self) -> None:
        try:
            lines = (self._folder / RECORD).read_text('utf-8', 'replace').splitlines() if self._folder else []
        except OSError:
            return
        for line in lines:
            with suppress(ValueError, TypeError, KeyError):  # the last line may be half of one
                entry = json.loads(line)
                if entry['version'] == _VERSION:
                    self._entries[entry['output']] = entry

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes out of the folder, which is made if need be; what they have recorded so far is known.

        Raises OptionError if another process writes to it, and DataError if it cannot be made.
        """
        if self._folder is None:
            yield
            return
        taken = OptionError(
            f'another run is writing to {shown(self._folder)}',
            where='-o',
            way_out='Wait for it, stop it, or choose another folder.',
        )
        with folder_held(self._folder, taken):
            self._read()
            yield

    def is_output(self, name: str) -> bool:
        """Whether `name` (below the folder) has been recorded as an output."""
        return name in self._entries

    def holds(self, name: str, source: Path, settings: Mapping[str, object]) -> bool:
        """Whether the output `name` is there, as it was written, made from `source` as it is now, with `settings`."""
        entry = self._entries.get(name)
        if self._folder is None or entry is None or entry.get('settings') != _digest(settings):
            return False
        output = self._folder / name
        try:
            made, now = output.stat(), source.stat()
            return (
                (made.st_size, now.st_size) == (entry.get('output_bytes'), entry.get('source_bytes'))
                # a copied file has another time
                and (now.st_mtime_ns == entry.get('source_mtime_ns') or sha256_of(source) == entry.get('source_sha256'))
                and sha256_of(output) == entry.get('output_sha256')
            )
        except OSError:  # there is none, or a file cannot be read: its turn will tell
            return False

    def add(self, name: str, source: SourceState, settings: Mapping[str, object], content: bytes) -> None:
        """Record that `content` is about to get the name `name`, made from `source` with `settings` (plain values).

        `source` is as it was before it was read: it may have been changed or removed since.
        """
        if self._folder is None:
            return
        entry = dict(
            version=_VERSION,
            output=name,
            output_bytes=len(content),
            output_sha256=hashlib.sha256(content).hexdigest(),
            source=os.fspath(source.path),
            source_bytes=source.size,
            source_mtime_ns=source.mtime_ns,
            source_sha256=source.sha256,
            settings=_digest(settings),
        )
        with (self._folder / RECORD).open('a+b') as lines:
            lines.seek(max(lines.tell() - 1, 0))
            if lines.read(1) not in (b'', b'\n'):
                lines.write(b'\n')  # ends what a killed process has left of a line
            lines.write(json.dumps(entry).encode() + b'\n')
            lines.flush()
            os.fsync(lines.fileno())
        self._entries[name] = entry


def _digest(settings: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
