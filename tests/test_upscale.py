"""`pdd upscale`: everything good is done once, nothing is overwritten, what failed is said."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from photo_material import Nearest, doubled, nearest, pattern, pillow, save_compact
from PIL import Image

from pdd_arch.commands import upscale as command
from pdd_arch.commands.errors import run
from pdd_arch.commands.pdd_cli import main
from pdd_arch.inference import LoadedNetwork
from pdd_arch.photo_files.reading import read_photo
from pdd_arch.upscaling import inputs, job
from pdd_arch.upscaling.engine import PhotoUpscaler
from pdd_arch.upscaling.record import RECORD, Record
from pdd_arch.utils import atomic
from pdd_arch.utils.locks import LOCK_FILE


def pdd(*arguments):
    """Exit status."""
    return run('pdd', main, ['upscale', *map(str, arguments)])


@pytest.fixture
def model(tmp_path):
    return save_compact(tmp_path / 'model.pth')


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, with two photographs in ``photos``, and the nearest-neighbour network as every model."""
    folder = tmp_path / 'place'
    (folder / 'photos').mkdir(parents=True)
    for i, name in enumerate(('a.png', 'b.png')):
        write(folder / 'photos' / name, i)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(command, 'load_network', lambda model, option: nearest())
    return folder


def write(path, seed=0, kind='PNG'):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pillow(np.roll(pattern(3), seed, axis=1), kind))
    return path


def files(folder):
    """Names below a folder, without the record."""
    found = (p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file())
    return sorted(name for name in found if not name.endswith((RECORD, LOCK_FILE)))


# ---------------------------------------------------------------- a folder that is stopped and continued
def test_a_hundred_photographs_three_broken_stopped_halfway(tmp_path, model, monkeypatch, capsys):
    photos, out = tmp_path / 'photos', tmp_path / 'out'
    for i in range(97):
        write(photos / f'{i:03}.png', i)
    good = (photos / '000.png').read_bytes()
    (photos / '010x.png').write_bytes(good[: len(good) // 2])
    (photos / '050x.jpg').write_bytes(b'')
    (photos / '090x.webp').write_bytes(b'not an image at all')
    seen, made = [], PhotoUpscaler.upscale

    def stopping(self, photo, progress=None):
        if len(seen) == 50:
            raise KeyboardInterrupt
        seen.append(photo.pixels.tobytes())
        return made(self, photo, progress)

    monkeypatch.setattr(PhotoUpscaler, 'upscale', stopping)
    assert pdd(photos, '-o', out, '--model', model) == 130
    assert 'the same command again continues' in capsys.readouterr().err
    first = {name: (out / name).read_bytes() for name in files(out)}
    times = {name: (out / name).stat().st_mtime_ns for name in first}
    assert len(first) == 50

    monkeypatch.setattr(PhotoUpscaler, 'upscale', lambda *a, **k: seen.append(a[1].pixels.tobytes()) or made(*a, **k))
    assert pdd(photos, '-o', out, '--model', model) == 1
    told = capsys.readouterr()
    assert '47 written to' in told.out
    assert '50 done already, 3 failed' in told.out
    failed = re.findall(r'FAILED: .*/(\S+): (.*)', told.err)
    assert [name for name, _ in failed] == ['010x.png', '050x.jpg', '090x.webp']
    assert ['truncated PNG' in failed[0][1], 'is empty' in failed[1][1], 'is not an image' in failed[2][1]] == [
        True
    ] * 3
    assert files(out) == [f'{i:03}.png' for i in range(97)]
    assert len(seen) == 97
    assert all((out / name).read_bytes() == content for name, content in first.items())
    assert {name: (out / name).stat().st_mtime_ns for name in first} == times
    sizes = {read_photo(out / name).pixels.shape for name in files(out)}
    assert sizes == {(20, 28, 3)}

    assert pdd(photos, '-o', out, '--model', model) == 1
    assert '0 written to' in capsys.readouterr().out
    assert len(seen) == 97


def test_killed_between_record_and_name(place, monkeypatch, capsys):
    def killed(*names):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, 'replace', killed)
        assert pdd('photos', '-o', 'out') == 130
    assert files(place / 'out') == []
    record = place / 'out' / RECORD
    record.write_text(record.read_text() + '{"version": 1, "output": "b.p')  # half a line
    assert pdd('photos', '-o', 'out') == 0
    assert pdd('photos', '-o', 'out') == 0
    assert '0 written to out, 2 done already, 0 failed' in capsys.readouterr().out
    lines = record.read_text().splitlines()
    assert [json.loads(line)['output'] for line in lines if line.endswith('}')] == ['a.png', 'a.png', 'b.png']


def test_two_at_once_in_a_folder(place, capsys):
    (place / 'out').mkdir()
    code = "import pathlib; from pdd_arch.upscaling.record import Record; place = Record(pathlib.Path('out'))"
    command_line = [sys.executable, '-c', f'{code}\nwith place.alone(): print(flush=True); input()']
    with subprocess.Popen(command_line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b'\n'
        assert pdd('photos', '-o', 'out') == 1
        told = capsys.readouterr().err
        assert '-o: another run is writing to out. Wait for it' in told
        assert told.count('\n') == 1
        assert files(place / 'out') == []
        assert pdd('photos', '-o', 'out', '--dry-run') == 0  # writes nothing
        other.communicate(b'\n')
    assert pdd('photos', '-o', 'out') == 0
    assert files(place / 'out') == ['a.png', 'b.png']


def test_what_another_process_has_recorded_meanwhile_is_known(place):
    early = Record(place / 'out')
    assert pdd('photos', '-o', 'out') == 0
    assert not early.is_output('a.png')
    with early.alone():
        assert early.is_output('a.png')


def test_a_disk_that_is_full_stops_and_leaves_nothing_half(place, monkeypatch, capsys):
    def full(*names):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, 'replace', full)
        assert pdd('photos', '-o', 'out') == 1
    assert 'cannot be written (No space left on device)' in capsys.readouterr().err
    assert files(place / 'out') == []


@pytest.mark.parametrize(
    ('removed', 'status', 'outputs'), [('a.png', 0, ['a.png', 'b.png', 'c.png']), ('b.png', 1, ['a.png', 'c.png'])]
)
def test_a_photograph_that_is_removed_meanwhile(place, monkeypatch, capsys, removed, status, outputs):
    """While a.png is upscaled, all of which was read already; another fails alone."""
    write(place / 'photos' / 'c.png', 3)

    def read_and_remove(path):
        photo = read_photo(path)
        (place / 'photos' / removed).unlink()
        return photo

    monkeypatch.setattr(job, 'read_photo', once(read_and_remove))
    assert (pdd('photos', '-o', 'out'), files(place / 'out')) == (status, outputs)
    failed = 'pdd upscale: FAILED: photos/b.png: the file does not exist (any more)'
    assert (failed in capsys.readouterr().err) is bool(status)


def once(first):
    """`first` at the first call, then `read_photo`."""
    calls = iter([first])
    return lambda path: next(calls, read_photo)(path)


def test_a_photograph_that_is_replaced_meanwhile_is_not_taken_for_done(place, monkeypatch, capsys):
    def read_and_replace(path):
        photo = read_photo(path)
        write(path, 7)
        return photo

    with monkeypatch.context() as patch:
        patch.setattr(job, 'read_photo', once(read_and_replace))
        assert pdd('photos', '-o', 'out') == 0
    assert pdd('photos', '-o', 'out') == 1
    assert 'out/a.png exists and was made with other options or from another photograph' in capsys.readouterr().err
    assert pdd('photos', '-o', 'out', '--overwrite') == 0
    assert '1 written to out, 1 done already' in capsys.readouterr().out


# ---------------------------------------------------------------- nothing is overwritten
@pytest.mark.parametrize(
    ('change', 'options', 'reason'),
    [
        (lambda place: None, ['--outscale', 3], 'was made with other options or from another photograph'),
        (lambda place: write(place / 'photos/a.png', 5), [], 'from another photograph'),
        (lambda place: (place / 'out/a.png').write_bytes(b'retouched'), [], 'or has been changed since'),
        (lambda place: (place / 'out' / RECORD).unlink(), [], '2 files are in the way; out/a.png exists and was not'),
    ],
    ids=['options', 'source', 'output', 'record'],
)
def test_other_outputs_are_not_replaced_unasked(place, capsys, change, options, reason):
    assert pdd('photos', '-o', 'out') == 0
    change(place)
    before = {name: (place / 'out' / name).read_bytes() for name in files(place / 'out')}
    assert pdd('photos', '-o', 'out', *options) == 1
    assert reason in capsys.readouterr().err
    assert {name: (place / 'out' / name).read_bytes() for name in files(place / 'out')} == before
    assert pdd('photos', '-o', 'out', '--overwrite', *options) == 0
    assert pdd('photos', '-o', 'out', *options) == 0
    assert '0 written to out, 2 done already' in capsys.readouterr().out


def test_a_copied_photograph_is_the_same_photograph(place, capsys):
    assert pdd('photos', '-o', 'out') == 0
    os.utime(place / 'photos/a.png')
    assert pdd('photos', '-o', 'out') == 0
    assert '2 done already' in capsys.readouterr().out


def test_inputs_are_never_outputs(place, capsys):
    before = {name: (place / name).read_bytes() for name in files(place)}
    assert pdd('photos', '-o', 'photos', '--overwrite') == 1
    assert 'would replace an input' in capsys.readouterr().err
    (place / 'link').symlink_to(place / 'photos')
    assert pdd('photos', '-o', 'link', '--overwrite') == 1
    assert pdd('photos/a.png', '-o', 'photos/a.png', '--overwrite') == 1
    assert {name: (place / name).read_bytes() for name in before} == before
    # beside the inputs, and a second time
    for _ in range(2):
        assert pdd('photos', '-o', 'photos', '--suffix', '_x2') == 0
    assert files(place / 'photos') == ['a.png', 'a_x2.png', 'b.png', 'b_x2.png']
    assert {name: (place / name).read_bytes() for name in before} == before


def test_two_outputs_of_one_name(place, capsys):
    write(place / 'photos/a.jpg', kind='JPEG')
    assert pdd('photos', '-o', 'out', '--format', 'png') == 1
    assert 'photos/a.png and photos/a.jpg would both become out/a.png' in capsys.readouterr().err
    assert not (place / 'out').exists()
    assert pdd('photos', '-o', 'out') == 0
    assert files(place / 'out') == ['a.jpg', 'a.png', 'b.png']


# ---------------------------------------------------------------- inputs and outputs
def test_patterns_folders_and_sub_folders(place, capsys):
    write(place / 'photos/deep/c.JPG', kind='JPEG')
    write(place / 'photos/odd[1].png')
    write(place / 'photos/.hidden.png')
    (place / 'photos/notes.txt').write_text('no image')
    for out, arguments, wanted in (
        ('o1', ['photos/?.png'], ['a.png', 'b.png']),
        ('o2', ['photos'], ['a.png', 'b.png', 'odd[1].png']),
        ('o3', ['photos', '--recursive'], ['a.png', 'b.png', 'deep/c.JPG', 'odd[1].png']),
        ('o4', ['photos/**/*.JPG'], ['deep/c.JPG']),
        ('o5', ['photos/odd[1].png', 'photos/a.png', 'photos/[a]*'], ['a.png', 'odd[1].png']),
        (
            'photos/o6',
            ['photos', '--recursive', '--format', 'webp'],
            ['a.webp', 'b.webp', 'deep/c.webp', 'odd[1].webp'],
        ),
    ):
        assert pdd(*arguments, '-o', out) == 0
        assert files(place / out) == wanted
    assert pdd('photos', '--recursive', '--format', 'webp', '-o', 'photos/o6') == 0  # without its own outputs
    assert '0 written to photos/o6, 4 done already' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('name', 'kind', 'arguments', 'wanted'),
    [
        ('a.jpeg', 'JPEG', [], 'a.jpeg'),
        ('a.jpg', 'PNG', [], 'a.png'),  # by its content
        ('a.bmp', 'BMP', [], 'a.png'),
        ('a.tif', 'TIFF', ['--suffix', '_x2'], 'a_x2.tif'),
        ('a.png', 'PNG', ['--format', 'tiff'], 'a.tif'),
        ('a.jpeg', 'JPEG', ['--format', 'jpg'], 'a.jpeg'),
    ],
)
def test_names_and_formats(place, name, kind, arguments, wanted):
    write(place / 'one' / name, kind=kind)
    assert pdd('one', '-o', 'out', *arguments) == 0
    assert files(place / 'out') == [wanted]
    assert Image.open(place / 'out' / wanted).format == {'.png': 'PNG', '.tif': 'TIFF'}.get(wanted[-4:], 'JPEG')


def test_one_photograph_into_a_file(place, capsys):
    assert pdd('photos/a.png', '-o', 'large.tif') == 0
    np.testing.assert_array_equal(read_photo('large.tif').pixels, doubled(read_photo('photos/a.png').pixels))
    assert not (place / RECORD).exists()
    assert pdd('photos/a.png', '-o', 'large.tif') == 1
    assert 'large.tif exists and was not made by this command' in capsys.readouterr().err
    assert pdd('photos/a.png', '-o', 'large.tif', '--overwrite') == 0
    assert pdd('photos', '-o', 'all.png') == 1
    assert 'a file takes the output of one photograph' in capsys.readouterr().err


def test_dry_run_writes_nothing(place, capsys):
    (place / 'photos/c.png').write_bytes(b'')
    before = files(place)
    assert pdd('photos', '-o', 'out', '--outscale', 2.5, '--dry-run') == 1
    told = capsys.readouterr().out
    assert 'photos/a.png (14 x 10) -> out/a.png (35 x 25)' in told
    assert 'photos/c.png: would fail: is empty' in told
    assert files(place) == before


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['', '-o', 'out'], "INPUT: expected a file, folder or pattern, found ''"),
        (['photos/a.png', '-o', 'large.bmp'], '-o large.bmp: images of this kind are not written. Give a folder'),
        (['nothing', '-o', 'out'], 'nothing: there is no such file or folder'),
        (['photo', '-o', 'out'], "Did you mean 'photos'?"),
        (['photos/*.jpg', '-o', 'out'], 'the pattern matches no image'),
        (['.', '-o', 'out'], 'holds images in sub-folders only; --recursive goes into them'),
        (['photos', '-o', 'notes'], '-o notes: is a file; expected a folder'),
        (['photos', '-o', 'out', '--half'], 'half: computes in fp16, which needs a GPU; found the device cpu'),
        (['photos', '-o', 'out', '--outscale', '0'], 'outscale: expected a number above 0, 16 at most, found 0.0'),
        (['photos', '-o', 'out', '--device', 'abacus'], "device: expected a device of torch such as 'cpu'"),
        (['photos/a.png', '-o', 'a.png', '--format', 'jpg'], '--format jpg does not fit -o a.png'),
        (['photos/a.png', '-o', 'a.png', '--compare', 'x'], '--compare: writes a page beside the outputs'),
    ],
)
def test_one_line_for_what_is_wrong(place, capsys, arguments, message):
    (place / 'notes').write_text('')
    if '--device' not in arguments:
        arguments = [*arguments, '--device', 'cpu']
    assert pdd(*arguments) == 1
    told = capsys.readouterr().err
    assert message in told
    assert told.count('\n') == 1
    assert not (place / 'out').exists()


def test_a_result_that_its_format_cannot_hold(place, capsys):
    (place / 'wide').mkdir()
    (place / 'wide/long.webp').write_bytes(pillow(np.zeros((2, 9000, 3), np.uint8), 'WEBP'))
    assert pdd('wide', '-o', 'out') == 1
    assert (
        'wide/long.webp: a WebP has at most 16383 pixels a side, and the result has 18000 x 4'
        in capsys.readouterr().err
    )


def test_the_default_model_is_named_loudly(place, capsys):
    assert pdd('photos', '-o', 'out') == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith('NO --model GIVEN: using zoo:realesr-general-x4v3')


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as end:
        pdd('--help')
    assert end.value.code == 0
    assert "example: pdd upscale photos 'more/*.jpg' -o large --model adapted --outscale 2.5" in ' '.join(
        capsys.readouterr().out.split()
    )


# ---------------------------------------------------------------- nothing is left out without a word
def fill_with_everything(folder):
    """One readable photograph of each kind, and files of all others; what is in the folder already stays."""
    write(folder / 'b.jfif', 1, 'JPEG')
    write(folder / 'e.gif', 2, 'GIF')
    write(folder / 'wrong_extension.txt', 3)
    write(folder / 'no_extension', 4)
    (folder / 'c.heic').write_bytes(b'\0\0\0\x18ftypheic\0\0\0\0mif1heic')
    (folder / 'heic_called.jpg').write_bytes(b'\0\0\0\x18ftypheic\0\0\0\0mif1heic')
    (folder / 'd.dng').write_bytes(b'II*\0\x08\0\0\0\0\0\0\0')
    (folder / 'clip.mp4').write_bytes(b'\0\0\0\x18ftypmp42')
    (folder / 'e.xmp').write_text('<x:xmpmeta/>')
    (folder / 'BMW.txt').write_text('BMW is no bitmap')
    (folder / 'broken_link.jpg').symlink_to('nowhere.jpg')
    (folder / 'loop.jpg').symlink_to('loop.jpg')
    os.mkfifo(folder / 'pipe.jpg')  # opening it would wait for ever
    (folder / '._a.png').write_bytes(b'\0\5\x16\7')
    write(folder / '.hidden.png')
    write(folder / 'folder.jpg' / 'inside.png')


@pytest.mark.parametrize('given', ['photos', 'photos/*'])
def test_what_looks_like_a_photograph_is_upscaled_or_named(place, capsys, given):
    fill_with_everything(place / 'photos')
    assert pdd(given, '-o', 'out') == 1
    told = capsys.readouterr()
    written = ['a.png', 'b.jpg', 'b.png', 'e.png', 'no_extension.png', 'wrong_extension.txt.png']
    assert files(place / 'out') == written
    assert '6 written to out, 6 failed' in told.out
    failed = dict(re.findall(r'FAILED: photos/(\S+): (.*)', told.err))
    assert {name: reason[:25] for name, reason in failed.items()} == {
        'broken_link.jpg': 'the file does not exist (',
        'c.heic': 'is in the format HEIC, wh',
        'd.dng': "is a camera's raw file, w",
        'heic_called.jpg': 'is in the format HEIC, wh',
        'loop.jpg': 'cannot be read (Too many ',
        'pipe.jpg': 'cannot be read (it is a p',
    }
    assert failed['c.heic'].endswith('Convert it to PNG or TIFF, or export it as JPEG of full quality.')
    assert 'Convert it to TIFF or PNG with a raw developer' in failed['d.dng']
    assert '1 other (BMW.txt), 1 video (clip.mp4), 1 sidecar (e.xmp)' in told.out
    assert '1 (photos/folder.jpg)' in told.out
    assert ('.hidden.png' in told.out) == (given == 'photos')  # a pattern matches no hidden files
    assert pdd(given, '-o', 'out') == 1
    assert '0 written to out, 6 done already, 6 failed' in capsys.readouterr().out
    assert pdd(given, '-o', 'elsewhere', '--dry-run') == 1
    told = capsys.readouterr().out
    assert 'photos/c.heic: would fail: is in the format HEIC' in told
    assert '1 video (clip.mp4)' in told


def test_a_folder_of_nothing_that_can_be_read(place, capsys):
    (place / 'raw').mkdir()
    (place / 'raw/c.heic').write_bytes(b'\0\0\0\x18ftypheic\0\0\0\0mif1heic')
    assert pdd('raw', '-o', 'out') == 1
    assert 'FAILED: raw/c.heic: is in the format HEIC' in capsys.readouterr().err
    (place / 'raw/c.heic').rename(place / 'raw/c.mp4')
    (place / 'raw/c.mp4').write_bytes(b'\0\0\0\x18ftypmp42')
    assert pdd('raw', '-o', 'out') == 1
    assert 'holds no image (PNG, JPEG, WebP, TIFF ...); left out, as no photographs: 1 video (c.mp4)' in (
        capsys.readouterr().err
    )
    assert pdd('raw/c.mp4', '-o', 'out') == 1  # named itself, it is meant
    assert 'FAILED: raw/c.mp4: is a video, not an image' in capsys.readouterr().err


def test_a_folder_that_cannot_be_searched_is_an_error(place, monkeypatch, capsys):
    write(place / 'photos/locked/c.png')
    scandir = os.scandir

    def refused(path):
        if os.fspath(path).endswith('locked'):
            raise PermissionError(13, 'Permission denied', os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', refused)
    assert pdd('photos', '-o', 'out', '--recursive') == 1
    assert 'photos/locked: the folder cannot be read (Permission denied)' in capsys.readouterr().err
    assert files(place / 'out') == ['a.png', 'b.png']


def test_links_to_folders_are_named(place, capsys):
    (place / 'photos/link').symlink_to('.')
    assert pdd('photos', '-o', 'out', '--recursive') == 0
    assert 'links to folders, which are not followed: 1 (photos/link)' in capsys.readouterr().out


# ---------------------------------------------------------------- names
def test_long_names(place, capsys):
    for name in ('m' * 240 + '.png', '\u7167' * 80 + '.png', 'x' * 251 + '.png', 'y' * 255, 'z.png'):
        write(place / 'photos' / name)
    assert pdd('photos', '-o', 'out') == 1  # 'y...' gets an extension, for which there is no room
    told = capsys.readouterr()
    assert f'photos/{"y" * 255}: the name of its output is too long for the folder (259 bytes). Rename' in told.err
    assert len(files(place / 'out')) == 6
    (place / 'photos' / ('y' * 255)).unlink()
    assert pdd('photos', '-o', 'out') == 0
    assert '0 written to out, 6 done already' in capsys.readouterr().out


def test_a_suffix_that_makes_a_name_too_long_is_said_before_anything_is_computed(place, capsys):
    write(place / 'photos' / ('m' * 249 + '.png'))
    assert pdd('photos', '-o', 'out', '--suffix', '_x4') == 1
    told = capsys.readouterr().err
    assert '--suffix _x4: makes the name of the output for photos/mmm' in told
    assert 'Choose a shorter one, or rename that photograph.' in told
    assert not (place / 'out').exists()
    assert pdd('photos', '-o', 'out', '--suffix', '_x') == 0


def test_a_name_that_only_the_writing_finds_too_long(place, monkeypatch, capsys):
    replace = os.replace

    def refused(source, target):
        if str(target).endswith('a.png'):
            raise OSError(36, 'File name too long', str(target))
        replace(source, target)

    monkeypatch.setattr(atomic.os, 'replace', refused)
    assert pdd('photos', '-o', 'out') == 1
    assert 'FAILED: photos/a.png: the name of its output is too long' in capsys.readouterr().err
    assert files(place / 'out') == ['b.png']


@pytest.mark.parametrize('arguments', [['x' * 300, '-o', 'out'], ['photos', '-o', 'x' * 300]])
def test_arguments_that_are_too_long(place, capsys, arguments):
    assert pdd(*arguments) == 1
    told = capsys.readouterr().err
    assert 'xxx: is a name too long for the file system. Choose a shorter one.' in told
    assert told.count('\n') == 1


def test_names_of_all_kinds(place, capsys):
    names = ['two\nlines.png', os.fsdecode(b'latin\xe9.png'), '-dash.png', 'dot.', 'space.png ', 'A.png', '%s{0}.png']
    names += ['e\u0301.png', '\u00e9.png', 'scan.1', 'scan.2', 'a:b.png', '[b]*.png']
    for name in names:
        write(place / 'photos' / name)
    assert pdd('photos', '-o', 'out') == 0
    told = capsys.readouterr()
    assert '15 written to out, 0 failed' in told.out
    told.err.encode()  # can be written
    assert {'scan.1.png', 'scan.2.png', 'dot..png', 'A.png', 'a.png'} <= {*files(place / 'out')}


def test_outputs_of_one_name_are_told_apart(place):
    write(place / 'photos/a.gif', kind='GIF')
    write(place / 'photos/a.bmp', kind='BMP')
    assert pdd('photos', '-o', 'out') == 0
    assert files(place / 'out') == ['a.bmp.png', 'a.gif.png', 'a.png', 'b.png']


def test_a_file_system_that_does_not_tell_cases_apart(place, monkeypatch, capsys):
    write(place / 'photos/A.png')
    monkeypatch.setattr(inputs, '_ignores_case', lambda path: True)
    assert pdd('photos', '-o', 'out') == 1
    assert 'photos/a.png and photos/A.png would both become out/a.png' in capsys.readouterr().err


# ---------------------------------------------------------------- the page
def test_compare_of_two_photographs_that_differ_in_the_extension(place, monkeypatch, capsys):
    write(place / 'photos/a.jpg', kind='JPEG')
    write(place / 'photos/c.gif', kind='GIF')
    networks = {name: LoadedNetwork(Nearest(), 2, name, name, Path(name)) for name in ('mine', 'theirs')}
    monkeypatch.setattr(command, 'load_network', lambda model, option: networks[model])
    assert pdd('photos', '-o', 'out', '--model', 'mine', '--compare', 'theirs') == 0
    assert '4 of 4 photographs beside theirs' in capsys.readouterr().out
    assert files(place / 'out/compare') == [f'theirs/{name}.png' for name in ('a.jpg', 'a', 'b', 'c')]


def test_compare(place, tmp_path, monkeypatch, capsys):
    def load(model, option):
        scale = 4 if option == '--compare' else 2
        return LoadedNetwork(Nearest(scale), scale, model, model, tmp_path)

    monkeypatch.setattr(command, 'load_network', load)
    (place / 'photos/c.png').write_bytes(b'')
    command_line = ('photos', '-o', 'out', '--model', 'mine', '--compare', 'theirs', '--outscale', 3)
    for _ in range(2):
        assert pdd(*command_line) == 1
        told = capsys.readouterr()
        assert 'out/compare.html: 2 of 2 photographs beside theirs' in told.out
        assert 'FAILED: photos/c.png: is empty' in told.err
    assert files(place / 'out') == ['a.png', 'b.png', 'compare.html', 'compare/theirs/a.png', 'compare/theirs/b.png']
    page = (place / 'out/compare.html').read_text()
    data = json.loads(re.search(r'<script[^>]*id="data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])
    assert [p['name'] for p in data['pictures']] == ['a.png', 'b.png']
    assert [v['label'] for v in data['pictures'][0]['versions']] == ['input, bicubic', 'theirs', 'mine']
    assert data['baseline'] == 'theirs'
    assert [data['pictures'][0][side] for side in ('width', 'height')] == [42, 30]


def test_a_photograph_that_only_the_generalist_fails_on(place, monkeypatch, capsys):
    class Failing(Nearest):
        def forward(self, x):
            return super().forward(x) * torch.nan

    networks = {'mine': nearest(), 'theirs': LoadedNetwork(Failing(), 2, 'theirs', 'theirs', Path('theirs'))}
    monkeypatch.setattr(command, 'load_network', lambda model, option: networks[model])
    assert pdd('photos', '-o', 'out', '--model', 'mine', '--compare', 'theirs') == 1
    told = capsys.readouterr()
    assert '0 of 2 photographs beside theirs' in told.out
    assert told.err.count('FAILED with theirs: photos/') == 2
    assert files(place / 'out') == ['a.png', 'b.png', 'compare.html']
