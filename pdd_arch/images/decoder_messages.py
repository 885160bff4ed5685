"""What the image libraries inside OpenCV say about a damaged file.

libjpeg repairs what it can and complains on the process's standard error; OpenCV has no way to hear of it. So
the descriptor is redirected while an image is decoded, which takes some microseconds. It belongs to the whole
process, so only one thread at a time can decode in this way.
"""

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator

_DAMAGE = re.compile(r'Corrupt JPEG data[^\n]*|Premature end of JPEG[^\n]*|Inconsistent progression[^\n]*')
_EXTRANEOUS = re.compile(r'(\d+) extraneous bytes before marker 0xd9')
_COMPLAINT = re.compile(r'lib\w+ error: [^\n]{1,100}')

_lock = threading.RLock()
if hasattr(os, 'register_at_fork'):
    # a worker forked in the middle of another thread's decoding would have a lock that nobody opens, and no
    # standard error
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


@contextlib.contextmanager
def messages_of_decoder() -> Iterator[list[str]]:
    """Gathers what is written to standard error, if there is one, in the block; then the list holds one string."""
    gathered: list[str] = []
    with _lock, contextlib.ExitStack() as opened:
        try:
            kept = os.dup(2)
        except OSError:
            yield gathered
            return
        opened.callback(os.close, kept)
        aside = _temporary_descriptor()
        opened.callback(os.close, aside)
        os.dup2(aside, 2)
        try:
            yield gathered
        finally:
            os.dup2(kept, 2)
            if length := os.lseek(aside, 0, os.SEEK_CUR):
                os.lseek(aside, 0, os.SEEK_SET)
                gathered.append(os.read(aside, length).decode(errors='replace'))


def pass_on(messages: list[str]) -> None:
    """Writes to standard error what was kept from it, another thread's perhaps, without libjpeg's complaints."""
    rest = _DAMAGE.sub('', ''.join(messages))
    if rest.strip():
        with contextlib.suppress(OSError):
            os.write(2, rest.encode())


def jpeg_damage(messages: list[str], content: bytes) -> str | None:
    """libjpeg's complaint if it means damaged pixels, in brackets, or None."""
    found = _DAMAGE.search(''.join(messages))
    if found is None:
        return None
    # some cameras pad a file before its end marker; what a decoder that lost its place leaves over looks like data
    if padded := _EXTRANEOUS.search(found[0]):
        end = content.rfind(b'\xff\xd9')
        if set(content[max(end - int(padded[1]), 0) : end]) in ({0}, {255}):
            return None
    return f' (libjpeg: {found[0].strip()})'


def decoder_complaint(messages: list[str]) -> str:
    """What a library said of a file that it gave up, in brackets, or nothing. OpenCV's own lines name its sources."""
    found = _COMPLAINT.search(''.join(messages))
    return f' ({found[0].strip()})' if found else ''


def _temporary_descriptor() -> int:
    if hasattr(os, 'memfd_create'):
        return os.memfd_create('decoder-messages')
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
