"""Fetching weight files: never over plain http, never a wrong file in place of a good one.

A file is gathered in ``NAME.part`` beside its target. Only when it is complete and its hash is right it is
renamed; a transfer that broke off is continued by the next one.
"""

import contextlib
import functools
import http.client
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO, Any
from urllib.response import addinfourl

from basicsr.utils import get_root_logger
from filelock import FileLock
from tqdm import tqdm

from pdd_arch.errors import MissingFileError, WeightsError
from pdd_arch.utils.files import sha256_of

TIMEOUT = 30.0  # seconds without a single byte
LOCK_TIMEOUT = 3600.0  # seconds to wait for another process that downloads the same file
CHUNK = 2**20


def download(url: str, target: str | Path, sha256: str, where: str) -> Path:
    """Bring a file from ``https://`` or ``file:`` to `target`, unless it is there, and verify its hash either way.

    `sha256` has all 64 digits, or the first 8 or more (as in torchvision's file names). Raises WeightsError for a wrong
    hash (a file that lay there is left alone) or another kind of address; MissingFileError, which says how to put the
    file there by hand, where it cannot be fetched or stored.
    """
    target = Path(target)
    _check_scheme(url, url, where, allowed=('https', 'file'))
    if not re.fullmatch('[0-9a-fA-F]{8,64}', sha256):
        raise ValueError(f'sha256 must be 8 to 64 hexadecimal digits, not {sha256!r}')
    if not target.is_file():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock := Path(f'{target}.lock'), timeout=LOCK_TIMEOUT):
                # another process may have brought it meanwhile
                if not target.is_file():
                    _fetch(url, target, sha256, where)
                # removed while it is held: whoever waits for it then finds the file in place
                with contextlib.suppress(OSError):
                    lock.unlink()
        except (OSError, http.client.HTTPException) as e:
            raise MissingFileError(
                f'needs {target.name}, which is not at {target} and could not be downloaded ({_reason(e)})',
                where=where,
                way_out=f'Fetch {url} on a machine with internet access and put it there, or give the path of the '
                'file.',
            ) from None
    if not _has_hash(target, sha256):
        raise WeightsError(
            f'{target} is not the file that {url} should give: its SHA-256 does not begin with {sha256[:8]}',
            where=where,
            way_out='Remove it, to have it downloaded again, or put the right file there.',
        )
    return target


def _has_hash(path: Path, sha256: str) -> bool:
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns).startswith(sha256.lower())


@functools.lru_cache(maxsize=32)
def _sha256(path: Path, size: int, modified: int) -> str:
    """A file is hashed once per process; its size and time of modification tell whether it is the same."""
    return sha256_of(path)


def _fetch(url: str, target: Path, sha256: str, where: str) -> None:
    part = Path(f'{target}.part')
    continued = part.exists() and part.stat().st_size > 0
    _transfer(url, part, where)
    if continued and not _has_hash(part, sha256):
        # the beginning was of another version of the file, or of another server's error page
        get_root_logger().warning(f'{where}: the partial download of {target.name} is unusable; starting over')
        part.unlink()
        _transfer(url, part, where)
    if not _has_hash(part, sha256):
        part.unlink()
        raise WeightsError(
            f'what {url} gave is not {target.name}: its SHA-256 does not begin with {sha256[:8]}. It was removed',
            where=where,
            way_out=f'Try again, or put the right file at {target}.',
        )
    os.replace(part, target)


def _transfer(url: str, part: Path, where: str) -> None:
    """Bring `part` to the full length. Raises OSError; what has arrived stays for the next attempt."""
    have = part.stat().st_size if part.exists() else 0
    try:
        response = _request(url, have, where)
    except urllib.error.HTTPError as e:
        e.close()
        if e.code != 416 or not have:
            raise
        # nothing lies behind what we have: it is complete, or of another file; the hash will tell
        return
    start = 0
    if response.status == 206:  # the server continues; -1: it does not say where
        match = re.match(r'bytes (\d+)-', response.headers.get('Content-Range', ''))
        start = int(match[1]) if match else -1
    if start not in (0, have):
        response.close()
        response, start = _request(url, 0, where), 0
    with response, open(part, 'ab') as file:
        if start == 0:
            file.truncate(0)
        length = response.headers.get('Content-Length', '')
        _copy(response, file, start, start + int(length) if length.isdigit() else None, part.stem)
        file.flush()
        os.fsync(file.fileno())


def _request(url: str, start: int, where: str) -> addinfourl:
    # a compressed answer would have another length, and other places to continue at
    request = urllib.request.Request(url, headers={'User-Agent': 'pdd-arch', 'Accept-Encoding': 'identity'})
    if start:
        request.add_header('Range', f'bytes={start}-')
    response: addinfourl = urllib.request.build_opener(_SafeRedirects(where)).open(request, timeout=TIMEOUT)
    return response


def _copy(response: addinfourl, file: IO[bytes], start: int, total: int | None, name: str) -> None:
    get_root_logger().info(f'Downloading {name}' + (f', {total / 2**20:.1f} MiB' if total else ''))
    with tqdm(desc=name, total=total, initial=start, unit='B', unit_scale=True, disable=None, leave=False) as bar:
        while chunk := response.read(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
    if total is not None and (done := file.tell()) != total:
        raise OSError(f'the connection ended after {done} of {total} bytes; start again to continue')


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, where: str) -> None:
        self.where = where

    def redirect_request(self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str):
        _check_scheme(newurl, req.full_url, self.where)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(url: str, asked: str, where: str, allowed: tuple[str, ...] = ('https',)) -> None:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in allowed:
        leads = '' if url == asked else f' leads to {url}, which'
        raise WeightsError(
            f'{asked}{leads} is refused: a download over {scheme or "no protocol"} could be tampered with',
            where=where,
            way_out='Use an https:// address, or fetch the file yourself and give its path.',
        )


def _reason(e: Exception) -> str:
    reason = getattr(e, 'reason', None)  # of an HTTPError, a text
    e = reason if isinstance(reason, Exception) else e
    text = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
    return ' '.join(f'{type(e).__name__}: {text}'.split())
