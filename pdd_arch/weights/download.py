"""Fetching weight files: never over plain http, never a wrong file in place of a good one.

A file is gathered in ``NAME.part`` beside its target. Only when it is complete and its hash is right it is
renamed; a transfer that broke off is continued by the next one.
"""

import contextlib
import fcntl
import functools
import hashlib
import http.client
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from basicsr.utils import get_root_logger

from pdd_arch.errors import MissingFileError, WeightsError

__all__ = ['download', 'has_hash']

SCHEMES = ('https', 'file')
TIMEOUT = 30.0  # seconds without a single byte
LOCK_TIMEOUT = 3600.0  # seconds to wait for another process that downloads the same file
CHUNK = 2**20


def download(url: str, target: str | Path, sha256: str, option: str) -> Path:
    """Brings a file to its place, unless it is there already.

    Args:
        url: ``https://`` or ``file:``.
        target: where the file belongs; its folder is made.
        sha256: hash of the file in hex: all 64 digits, or the first 8 or more (as in torchvision's file names).
        option: option key that wants the file; it appears in error messages.

    Returns:
        The path of the file, whose hash has been verified.

    Raises:
        WeightsError: the hash is wrong (of what was fetched, or of a file that lay there: it is left alone), or
            the address is neither https nor file.
        MissingFileError: the file cannot be fetched or stored; says how to put it there by hand.
    """
    target = Path(target)
    _check_scheme(url, url, option)
    if not re.fullmatch('[0-9a-fA-F]{8,64}', sha256):
        raise ValueError(f'sha256 must be 8 to 64 hexadecimal digits, not {sha256!r}')
    if not target.is_file():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _only_one(target):
                # another process may have brought it meanwhile
                if not target.is_file():
                    _fetch(url, target, sha256, option)
                    return target
        except (OSError, http.client.HTTPException) as e:
            raise MissingFileError(
                f'{option}: needs {target.name}, which is not at {target} and could not be downloaded ({_reason(e)}). '
                f'Fetch {url} on a machine with internet access and put it there, or give the path of the file.'
            ) from None
    if not has_hash(target, sha256):
        raise WeightsError(
            f'{option}: {target} is not the file that {url} should give: its SHA-256 does not begin with '
            f'{sha256[:8]}. Remove it, to have it downloaded again, or put the right file there.'
        )
    return target


def has_hash(path: str | Path, sha256: str) -> bool:
    """Whether the SHA-256 of a file begins with the given hexadecimal digits."""
    status = os.stat(path)
    return _sha256(os.fspath(path), status.st_size, status.st_mtime_ns).startswith(sha256.lower())


@functools.lru_cache(maxsize=32)
def _sha256(path: str, size: int, modified: int) -> str:
    """The same file is read once a process; size and time of change tell whether it is the same."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _fetch(url: str, target: Path, sha256: str, option: str) -> None:
    part = target.with_name(f'{target.name}.part')
    continued = part.exists() and part.stat().st_size > 0
    _transfer(url, part, option)
    if continued and not has_hash(part, sha256):
        # the beginning was of another version of the file, or of another server's error page
        get_root_logger().warning(
            f'{option}: what an earlier download left of {target.name} is of no use; starting over'
        )
        part.unlink()
        _transfer(url, part, option)
    if not has_hash(part, sha256):
        part.unlink()
        raise WeightsError(
            f'{option}: what {url} gave is not {target.name}: its SHA-256 does not begin with {sha256[:8]}. It was '
            f'removed. Try again, or put the right file at {target}.'
        )
    os.replace(part, target)


def _transfer(url: str, part: Path, option: str) -> None:
    """Brings `part` to the full length. Raises OSError; what has arrived stays for the next attempt."""
    have = part.stat().st_size if part.exists() else 0
    try:
        response = _request(url, have, option)
    except urllib.error.HTTPError as e:
        e.close()
        if e.code != 416 or not have:
            raise
        # nothing lies behind what we have: it is complete, or of another file; the hash will tell
        return
    start = _start(response)
    if start not in (0, have):
        response.close()
        response, start = _request(url, 0, option), 0
    with response, open(part, 'ab') as file:
        if start == 0:
            file.truncate(0)
        length = response.headers.get('Content-Length', '')
        total = start + int(length) if length.isdigit() else None
        _copy(response, file, start, total, part.name.removesuffix('.part'))
        file.flush()
        os.fsync(file.fileno())


def _request(url: str, start: int, option: str):
    # a compressed answer would have another length, and other places to continue at
    request = urllib.request.Request(url, headers={'User-Agent': 'pdd-arch', 'Accept-Encoding': 'identity'})
    if start:
        request.add_header('Range', f'bytes={start}-')
    return _opener(option).open(request, timeout=TIMEOUT)


def _start(response) -> int:
    """Where in the file an answer begins: 0 unless the server continues; -1 where it does not say."""
    if getattr(response, 'status', None) != 206:
        return 0
    match = re.match(r'bytes (\d+)-', response.headers.get('Content-Range', ''))
    return int(match[1]) if match else -1


def _copy(response, file, start: int, total: int | None, name: str) -> None:
    get_root_logger().info(f'Downloading {name}' + (f', {total / 2**20:.1f} MiB' if total else ''))
    done, shown = start, 0.0
    while chunk := response.read(CHUNK):
        file.write(chunk)
        done += len(chunk)
        if sys.stderr.isatty() and time.monotonic() - shown > 0.5:
            shown = time.monotonic()
            share = f' of {total / 2**20:.1f}' if total else ''
            sys.stderr.write(f'\r{name}: {done / 2**20:.1f}{share} MiB')
            sys.stderr.flush()
    if shown:
        sys.stderr.write('\n')
    if total is not None and done != total:
        raise OSError(f'the connection ended after {done} of {total} bytes; start again to continue')


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, option: str) -> None:
        self.option = option

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        _check_scheme(newurl, req.full_url, self.option, allowed=('https',))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(option: str) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_SafeRedirects(option))


def _check_scheme(url: str, asked: str, option: str, allowed: tuple[str, ...] = SCHEMES) -> None:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in allowed:
        leads = '' if url == asked else f' leads to {url}, which'
        raise WeightsError(
            f'{option}: {asked}{leads} is refused: a download over {scheme or "no protocol"} could be tampered with. '
            'Use an https:// address, or fetch the file yourself and give its path.'
        )


@contextlib.contextmanager
def _only_one(target: Path) -> Iterator[None]:
    """One process at a time downloads a file; the lock of a process that was killed is void."""
    with open(target.with_name(f'{target.name}.lock'), 'w') as lock:
        started = time.monotonic()
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - started > LOCK_TIMEOUT:
                    raise TimeoutError('another process holds the download and does not finish') from None
                time.sleep(0.1)
        yield
        # removed while it is held: whoever waits for it then finds the file in place
        with contextlib.suppress(OSError):
            os.unlink(lock.name)


def _reason(e: Exception) -> str:
    if isinstance(e, urllib.error.URLError) and not isinstance(e, urllib.error.HTTPError):
        e = e.reason if isinstance(e.reason, Exception) else e
    text = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
    return ' '.join(f'{type(e).__name__}: {text}'.split())
