"""Mutated image files through the header check and the decoder: python tests/fuzz_images.py --cases 10000

Small valid files of every format and kind of pixels are cut, spliced, overwritten and made to lie about their
size. Each must end in an image or in one clear error that names the file: no other exception, no native crash,
no hang. The cases run in a process of its own with a limit on its memory; when that dies, the case it was at is
noted and the next process goes on behind it. Case numbers and the seed reproduce a case: --only NUMBER.

Not part of the test suite (pytest collects ``test_*.py``); takes some minutes.
"""

import argparse
import io
import json
import os
import platform
import resource
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import PIL
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NAME = 'case.img'
SECONDS = 20  # a case that takes longer hangs
MEMORY = 4 * 2**30  # beyond what the process has after its imports
LIES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 60000, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
CHUNK_NAMES = (b'IHDR', b'PLTE', b'IDAT', b'eXIf', b'tRNS', b'acTL', b'fcTL', b'iCCP', b'gAMA')


# ---------------------------------------------------------------- seeds
def seeds() -> dict[str, bytes]:
    """Valid files, by name."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    pixels = cv2.GaussianBlur(noise, (0, 0), 1)
    deep = pixels.astype(np.uint16) * 257
    picture = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6

    def pil(kind: str, image: Image.Image = picture, **options) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    def opencv(extension: str, array: np.ndarray) -> bytes:
        return cv2.imencode(extension, array)[1].tobytes()

    frames = dict(save_all=True, append_images=[picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)])
    return {
        'png': pil('PNG'),
        'png16': opencv('.png', deep),
        'png palette': pil('PNG', picture.convert('P')),
        'png gray alpha': pil('PNG', picture.convert('LA')),
        'png exif': pil('PNG', exif=exif),
        'apng': pil('PNG', **frames),
        'jpeg': pil('JPEG'),
        'jpeg progressive': pil('JPEG', progressive=True, exif=exif),
        'jpeg gray': pil('JPEG', picture.convert('L')),
        'jpeg cmyk': pil('JPEG', picture.convert('CMYK')),
        'webp': pil('WEBP', exif=exif),
        'webp lossless': pil('WEBP', lossless=True),
        'webp alpha': pil('WEBP', picture.convert('RGBA')),
        'webp animated': pil('WEBP', **frames),
        'tiff': pil('TIFF', exif=exif),
        'tiff16': opencv('.tif', deep),
        'tiff lzw': pil('TIFF', compression='tiff_lzw'),
        'tiff deflate': pil('TIFF', compression='tiff_adobe_deflate'),
        'tiff jpeg': pil('TIFF', compression='jpeg'),
        'tiff pages': pil('TIFF', **frames),
        'tiff big': pil('TIFF', big_tiff=True),
        'tiff float': opencv('.tif', pixels.astype(np.float32)),
        'bmp': pil('BMP'),
        'bmp palette': pil('BMP', picture.convert('P')),
        'jpeg 2000': pil('JPEG2000'),
        'ppm': pil('PPM'),
        'ppm16': opencv('.ppm', deep),
        'pbm': pil('PPM', picture.convert('1')),
    }


# ---------------------------------------------------------------- mutations
def overwrite(content: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    for at in rng.integers(len(content), size=int(rng.integers(1, 17))):
        content[at] = int(rng.integers(256))


def flip_bit(content: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))


def truncate(content: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    del content[int(rng.integers(len(content))) :]


def lie(content: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    """Puts numbers that break arithmetic where sizes, counts and offsets stand."""
    for _ in range(int(rng.integers(1, 4))):
        width = int(rng.choice([1, 2, 4]))
        number = LIES[int(rng.integers(len(LIES)))] % 256**width
        top = len(content) if rng.random() < 0.3 else min(len(content), 80)
        at = int(rng.integers(top))
        content[at : at + width] = number.to_bytes(width, 'little' if rng.random() < 0.5 else 'big')


def lie_in_a_tag(content: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    """Changes an entry of a TIFF directory; in other formats, as :func:`lie`."""
    if bytes(content[:2]) not in (b'II', b'MM') or len(content) < 12:
        return lie(content, rng, others)
    order = '<' if content[:2] == b'II' else '>'
    at = struct.unpack(f'{order}I', content[4:8])[0]
    if at + 14 > len(content):
        return lie(content, rng, others)
    count = max(struct.unpack(f'{order}H', content[at : at + 2])[0], 1)
    entry = at + 2 + 12 * int(rng.integers(min(count, 40)))
    number = LIES[int(rng.integers(len(LIES)))]
    field, code = ((2, 'H'), (4, 'I'), (8, 'I'))[int(rng.integers(3))]
    new = struct.pack(order + code, number % 256 ** struct.calcsize(code))
    content[entry + field : entry + field + len(new)] = new
    return None


def splice(content: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    """A piece of another file, or of this one, in place of some bytes or between them."""
    source = bytes(content) if rng.random() < 0.5 else others[int(rng.integers(len(others)))]
    start = int(rng.integers(len(source)))
    piece = source[start : start + int(rng.integers(1, 400))]
    at = int(rng.integers(len(content)))
    content[at : at + (len(piece) if rng.random() < 0.5 else 0)] = piece


def cut_out(content: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    at = int(rng.integers(len(content)))
    del content[at : at + int(rng.integers(1, 200))]


def blank(content: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    at, length = int(rng.integers(len(content))), int(rng.integers(1, 300))
    fill = bytes([int(rng.choice([0, 255]))])
    content[at : at + length] = fill * min(length, len(content) - at)


def rename_chunk(content: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    names = [name for name in CHUNK_NAMES if name in content]
    if not names:
        return splice(content, rng, others)
    at = content.index(names[int(rng.integers(len(names)))])
    content[at : at + 4] = CHUNK_NAMES[int(rng.integers(len(CHUNK_NAMES)))]
    return None


def recompress(content: bytearray, rng: np.random.Generator, others: list[bytes]) -> None:
    """Changes what lies inside the compressed data of a PNG: filters and pixels; otherwise as :func:`overwrite`."""
    start = content.find(b'IDAT')
    length = struct.unpack('>I', content[start - 4 : start])[0] if start > 4 else 0
    try:
        raw = bytearray(zlib.decompress(content[start + 4 : start + 4 + length]))
    except zlib.error:
        raw = bytearray()
    if not raw:
        return overwrite(content, rng, others)
    MUTATIONS[int(rng.integers(4))](raw, rng, others)
    new = zlib.compress(raw)
    content[start - 4 : start + 8 + length] = struct.pack('>I', len(new)) + b'IDAT' + new + bytes(4)
    repair_checksums(content)
    return None


MUTATIONS = (overwrite, flip_bit, truncate, lie, lie, lie_in_a_tag, splice, cut_out, blank, rename_chunk, recompress)


def repair_checksums(content: bytearray) -> None:
    """Makes the checksums of a PNG right again: a lie with a wrong checksum gets nowhere."""
    at = 8
    while at + 12 <= len(content):
        end = at + 8 + struct.unpack('>I', content[at : at + 4])[0]
        if end + 4 > len(content):
            return
        content[end : end + 4] = struct.pack('>I', zlib.crc32(content[at + 4 : end]))
        at = end + 4


def mutated(seed: int, number: int, files: dict[str, bytes]) -> tuple[str, bytes]:
    """Name of the valid file, and what became of it."""
    rng = np.random.default_rng((seed, number))
    names = sorted(files)
    name = names[number % len(names)]
    content = bytearray(files[name])
    others = list(files.values())
    for _ in range(1 + int(rng.geometric(0.6))):
        if content:
            MUTATIONS[int(rng.integers(len(MUTATIONS)))](content, rng, others)
    if content[:4] == b'\x89PNG' and rng.random() < 0.7:
        repair_checksums(content)
    return name, bytes(content)


# ---------------------------------------------------------------- one case
def outcome_of(content: bytes, path: Path) -> str:
    """``image``, ``turned`` (an image whose EXIF rotation is in doubt), ``error``, or what is wrong here."""
    from pdd_arch.errors import PDDError
    from pdd_arch.images import decoding
    from pdd_arch.images.structure import MAX_PIXELS

    path.write_bytes(content)
    found = {}
    for look in (decoding.image_size, decoding.read_raw):
        try:
            found[look] = look(path)
        except PDDError as error:
            text = str(error)
            if NAME not in text or '\n' in text or len(text) > 600:
                return f'BAD MESSAGE {text[:200]!r}'
        except Exception as error:
            return f'EXCEPTION {look.__name__}: {type(error).__name__}: {str(error)[:150]}'
    image = found.get(decoding.read_raw)
    if image is None:
        return 'error'
    if image.dtype not in (np.uint8, np.uint16) or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        return f'BAD IMAGE {image.dtype} {image.shape}'
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        return f'TOO LARGE {image.shape}'
    if decoding.image_size not in found:
        return 'BAD CHECK: refused by the header check, but decoded'
    told = found[decoding.image_size]
    if told == image.shape[1::-1] != image.shape[:2]:
        return 'turned'  # of a damaged EXIF block, OpenCV reads on where this package stops, or the other way round
    if told != image.shape[:2]:
        return f'BAD SIZE {told} {image.shape[:2]}'
    return 'image'


def work(seed: int, first: int, end: int, folder: Path) -> None:
    """Runs cases, and tells of each on standard output when it begins and how it ended."""
    sys.path.insert(0, str(ROOT))
    import pdd_arch  # noqa: F401

    cv2.setNumThreads(1)
    files = seeds()
    with open('/proc/self/statm') as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # a handler in Python would wait for the native code to end
    tell = os.fdopen(os.dup(1), 'w', buffering=1)
    for number in range(first, end):
        name, content = mutated(seed, number, files)
        tell.write(json.dumps([number, name]) + '\n')
        signal.alarm(SECONDS)
        started = time.monotonic()
        outcome = outcome_of(content, folder / NAME)
        signal.alarm(0)
        tell.write(json.dumps([number, name, outcome, round(time.monotonic() - started, 3)]) + '\n')


# ---------------------------------------------------------------- all cases
def run(seed: int, cases: int, folder: Path) -> tuple[Counter, list[tuple[int, str, str]], float]:
    """Counts of (file, outcome), findings (number, file, what), and the longest case in seconds."""
    counts: Counter = Counter()
    findings, slowest, first = [], 0.0, 0
    while first < cases:
        command = [sys.executable, __file__, '--work', str(first), '--cases', str(cases), '--seed', str(seed)]
        with (
            open(folder / 'stderr.txt', 'wb') as stderr,
            subprocess.Popen([*command, '--folder', str(folder)], stdout=subprocess.PIPE, stderr=stderr) as process,
        ):
            begun = None
            for line in process.stdout:
                number, name, *ended = json.loads(line)
                if not ended:
                    begun = (number, name)
                    continue
                begun, first = None, number + 1
                outcome, seconds = ended
                slowest = max(slowest, seconds)
                counts[name, outcome.split(' ')[0]] += 1
                if outcome not in ('image', 'error', 'turned'):
                    findings.append((number, name, outcome))
        if begun:
            code = -process.returncode
            what = 'HANG' if code == signal.SIGALRM else f'CRASH {signal.Signals(code).name if code > 0 else -code}'
            counts[begun[1], what.split(' ')[0]] += 1
            findings.append((*begun, what))
            first = begun[0] + 1
        elif process.returncode:
            raise SystemExit(
                f'the worker ended with {process.returncode}:\n{(folder / "stderr.txt").read_text()[-2000:]}'
            )
    return counts, findings, slowest


def main() -> int:
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--cases', type=int, default=10_000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', type=int, help='run this case in this process and show its outcome')
    parser.add_argument('--summary', type=Path, help='also write the summary here, as JSON')
    parser.add_argument('--work', type=int, help=argparse.SUPPRESS)
    parser.add_argument('--folder', type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work is not None:
        work(chosen.seed, chosen.work, chosen.cases, chosen.folder)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        if chosen.only is not None:
            sys.path.insert(0, str(ROOT))
            import pdd_arch  # noqa: F401

            name, content = mutated(chosen.seed, chosen.only, seeds())
            print(name, outcome_of(content, Path(folder) / NAME))  # noqa: T201
            return 0
        started = time.monotonic()
        counts, findings, slowest = run(chosen.seed, chosen.cases, Path(folder))
    table: dict[str, dict[str, int]] = {}
    for (name, outcome), count in sorted(counts.items()):
        table.setdefault(name, {})[outcome] = count
    summary = {
        'cases': sum(counts.values()),
        'seed': chosen.seed,
        'seconds': round(time.monotonic() - started),
        'slowest case in seconds': slowest,
        'versions': {'python': platform.python_version(), 'opencv': cv2.__version__, 'numpy': np.__version__}
        | {'pillow': PIL.__version__},
        'outcomes': dict(sum((Counter(row) for row in table.values()), Counter())),
        'by file': table,
        'findings': findings,
    }
    print(json.dumps(summary, indent=1))  # noqa: T201
    if chosen.summary:
        chosen.summary.write_text(json.dumps(summary, indent=1) + '\n')
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
