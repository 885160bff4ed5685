"""Downloads: hash, continuation, refusal of plain http, and a cache that several processes share."""

import functools
import hashlib
import http.server
import os
import re
import shutil
import signal
import ssl
import subprocess
import threading
import time

import pytest

from pdd_arch.errors import MissingFileError, WeightsError
from pdd_arch.weights import download as module
from pdd_arch.weights.download import download

CONTENT = bytes(range(256)) * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
OPTION = 'feature_net.weights'


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT under several manners; `asked` records (path, Range)."""

    asked: list[tuple[str, str | None]]

    def do_GET(self):
        wanted = self.headers.get('Range')
        self.asked.append((self.path, wanted))
        start = int(wanted[6:-1]) if wanted else 0
        if self.path == '/gone':
            return self.send_error(404)
        if self.path in ('/to-http', '/to-https', '/to-file'):
            self.send_response(302)
            port = self.server.server_port
            places = {'/to-http': 'http://localhost/w', '/to-https': f'https://localhost:{port}/w'}
            self.send_header('Location', places.get(self.path, 'file:///etc/passwd'))
            self.send_header('Content-Length', '0')
            return self.end_headers()
        if self.path == '/no-range':
            start = 0
        if start >= len(CONTENT):
            return self.send_error(416)
        claimed = start
        if self.path == '/elsewhere' and start:
            start, claimed = start + 7, start + 7
        body = CONTENT[start:]
        self.send_response(206 if claimed else 200)
        if claimed:
            self.send_header('Content-Range', f'bytes {claimed}-{len(CONTENT) - 1}/{len(CONTENT)}')
        if self.path != '/no-length':
            self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.path == '/breaks' and not wanted:
            body = body[: len(body) // 3]
        if self.path == '/slow' and not wanted:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            time.sleep(20)
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope='module')
def certificate(tmp_path_factory):
    """A self-signed certificate of localhost."""
    if shutil.which('openssl') is None:
        pytest.skip('needs the openssl command')
    folder = tmp_path_factory.mktemp('certificate')
    command = (
        'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost '
        '-addext subjectAltName=DNS:localhost -keyout key.pem -out certificate.pem'
    )
    subprocess.run(
        command.split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def server(certificate, monkeypatch):
    """(address, requests) of a local https server that this process trusts."""
    asked = []
    handler = type('Recording', (Handler,), {'asked': asked})
    httpd = http.server.ThreadingHTTPServer(('localhost', 0), handler)
    httpd.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / 'certificate.pem', certificate / 'key.pem')
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    httpd.handle_error = lambda *_: None  # a client that breaks off is part of the tests
    thread = threading.Thread(target=functools.partial(httpd.serve_forever, 0.02), daemon=True)
    thread.start()
    monkeypatch.setenv('SSL_CERT_FILE', str(certificate / 'certificate.pem'))
    for name in ('https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.delenv(name, raising=False)
    yield f'https://localhost:{httpd.server_port}', asked
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture
def target(tmp_path):
    return tmp_path / 'cache' / 'weights.pth'


def in_child(function, *args) -> int:
    """Calls a function in a forked process, and returns its number."""
    child = os.fork()
    if not child:
        status = 1
        try:
            function(*args)
            status = 0
        finally:
            os._exit(status)
    return child


def names_in(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize('digits', [8, 64])
def test_file_address(tmp_path, target, digits):
    (tmp_path / 'w').write_bytes(CONTENT)
    assert download((tmp_path / 'w').as_uri(), target, DIGEST[:digits], OPTION) == target
    assert target.read_bytes() == CONTENT
    assert names_in(target.parent) == ['weights.pth']
    (tmp_path / 'w').unlink()
    download((tmp_path / 'w').as_uri(), target, DIGEST, OPTION)  # cached: nothing is fetched


@pytest.mark.parametrize('path', ['/w', '/no-length', '/to-https'])
def test_https(server, target, path):
    download(server[0] + path, target, DIGEST, OPTION)
    assert target.read_bytes() == CONTENT
    assert names_in(target.parent) == ['weights.pth']


@pytest.mark.parametrize(
    ('path', 'ranges'),
    [
        ('/w', ['bytes=1000-']),
        ('/no-range', ['bytes=1000-']),  # answers with all of the file
        ('/elsewhere', ['bytes=1000-', None]),  # continues at another byte
    ],
)
def test_what_is_left_is_continued(server, target, path, ranges):
    target.parent.mkdir()
    target.with_name('weights.pth.part').write_bytes(CONTENT[:1000])
    download(server[0] + path, target, DIGEST, OPTION)
    assert target.read_bytes() == CONTENT
    assert [wanted for _, wanted in server[1]] == ranges


@pytest.mark.parametrize('left', [b'<html>' * 9, CONTENT + b'x', CONTENT])
def test_what_is_left_may_be_wrong_or_whole(server, target, left):
    target.parent.mkdir()
    target.with_name('weights.pth.part').write_bytes(left)
    download(f'{server[0]}/w', target, DIGEST, OPTION)
    assert target.read_bytes() == CONTENT
    assert len(server[1]) == (1 if left == CONTENT else 2)


def test_broken_transfer_is_continued_by_the_next_attempt(server, target):
    third = len(CONTENT) // 3
    with pytest.raises(MissingFileError) as caught:
        download(f'{server[0]}/breaks', target, DIGEST, OPTION)
    assert re.search(
        r'needs weights\.pth, which is not at .*weights\.pth and could not be downloaded', str(caught.value)
    )
    assert f'Fetch {server[0]}/breaks on a machine with internet access and put it there' in str(caught.value)
    assert target.with_name('weights.pth.part').stat().st_size == third
    download(f'{server[0]}/breaks', target, DIGEST, OPTION)
    assert target.read_bytes() == CONTENT
    assert server[1][1] == ('/breaks', f'bytes={third}-')


def test_killed_download_is_continued(server, target, monkeypatch):
    monkeypatch.setattr(module, 'CHUNK', 2**12)
    child = in_child(download, f'{server[0]}/slow', target, DIGEST, 'x')
    part = target.with_name('weights.pth.part')
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert 0 < part.stat().st_size < len(CONTENT)
    assert not target.exists()
    download(f'{server[0]}/slow', target, DIGEST, OPTION)
    assert target.read_bytes() == CONTENT
    assert server[1][1][1].startswith('bytes=')


@pytest.mark.parametrize(
    ('address', 'said'),
    [
        ('http://localhost/w', r'http://localhost/w is refused: a download over http could be'),
        ('ftp://localhost/w', 'a download over ftp could be'),
        ('weights.pth', 'a download over no protocol could be'),
        ('{server}/to-http', r'/to-http leads to http://localhost/w, which is refused: a download over http'),
    ],
)
def test_only_https(server, target, address, said):
    with pytest.raises(WeightsError, match=said):
        download(address.format(server=server[0]), target, DIGEST, OPTION)
    assert not target.exists()


def test_redirect_to_a_local_file(server, target):
    with pytest.raises(MissingFileError, match=r"Redirection to url 'file:///etc/passwd' is not allowed"):
        download(f'{server[0]}/to-file', target, DIGEST, OPTION)


def test_certificate_is_verified(server, target, monkeypatch):
    monkeypatch.delenv('SSL_CERT_FILE')
    with pytest.raises(MissingFileError, match=r'could not be downloaded \(SSLCertVerificationError'):
        download(f'{server[0]}/w', target, DIGEST, OPTION)


def test_wrong_hash_leaves_nothing(server, target):
    with pytest.raises(WeightsError, match=r'/w gave is not weights\.pth: its SHA-256 does not begin with 00000000'):
        download(f'{server[0]}/w', target, '0' * 64, OPTION)
    assert 'weights.pth' not in names_in(target.parent)
    assert 'weights.pth.part' not in names_in(target.parent)


def test_wrong_file_in_the_cache_is_not_touched(server, target):
    target.parent.mkdir()
    target.write_bytes(b'mine')
    with pytest.raises(WeightsError, match=r'cache/weights\.pth is not the file that .*/w should give: .* Remove it'):
        download(f'{server[0]}/w', target, DIGEST, OPTION)
    assert target.read_bytes() == b'mine'
    assert not server[1]


def test_absent_file_and_absent_server(server, target, monkeypatch):
    with pytest.raises(MissingFileError, match=r'could not be downloaded \(HTTPError: .*Not Found\)'):
        download(f'{server[0]}/gone', target, DIGEST, OPTION)
    with pytest.raises(MissingFileError, match=r'could not be downloaded \(.*refused\)'):
        download('https://localhost:1/w', target, DIGEST, OPTION)


@pytest.mark.parametrize('code', ['EROFS', 'ENOSPC', 'EACCES'])
def test_folder_that_cannot_be_written(tmp_path, target, monkeypatch, code):
    import errno

    number = getattr(errno, code)

    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    (tmp_path / 'w').write_bytes(CONTENT)
    monkeypatch.setattr(module, '_copy' if code == 'ENOSPC' else 'open', refuse, raising=False)
    with pytest.raises(MissingFileError) as caught:
        download((tmp_path / 'w').as_uri(), target, DIGEST, OPTION)
    text = str(caught.value)
    for part in (OPTION, str(target), os.strerror(number), (tmp_path / 'w').as_uri(), 'put it there'):
        assert part in text
    assert '\n' not in text


def test_several_processes_at_once(server, target):
    """One of them downloads; all find the file whole."""
    children = [in_child(download, f'{server[0]}/w', target, DIGEST, 'x') for _ in range(3)]
    threads = [threading.Thread(target=download, args=(f'{server[0]}/w', target, DIGEST, 'x')) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert target.read_bytes() == CONTENT
    assert len(server[1]) == 1
