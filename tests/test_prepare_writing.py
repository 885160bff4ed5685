"""`pdd prepare` writes whole files or none, continues what was interrupted, and leaves the source alone."""

import os
import signal
from pathlib import Path

import pytest
from dataset_trees import city100, df2k, failure, fingerprint, names, ntire2020, prepare, realsr, scene, spoil, write

from pdd_arch.commands.errors import run
from pdd_arch.commands.pdd_cli import main
from pdd_arch.data.sources import LmdbSource
from pdd_arch.errors import DataError
from pdd_arch.images.decoding import read_raw
from pdd_arch.prepare import sub_images
from pdd_arch.prepare.journal import Journal
from pdd_arch.prepare.verify import Facts
from pdd_arch.prepare.write import Made


def test_source_is_never_the_output(place, capsys):
    realsr(place)
    before = fingerprint(place)
    for out in ('downloads', 'downloads/deep/er'):
        err, _ = failure(capsys, 'realsr', '-o', out)
        assert 'which is never changed' in err
    Path('RealSR_V3').symlink_to(place)
    err, _ = failure(capsys, 'realsr', '-o', '.')
    assert 'which is never changed' in err
    assert fingerprint(place) == before


def test_unwritable_output(place, capsys):
    realsr(place)
    Path('datasets').write_text('a file')
    err, _ = failure(capsys, 'realsr')
    assert 'cannot be written (' in err
    assert 'run the same command again' in err


def test_full_disk(place, capsys, monkeypatch):
    city100(place)

    def no_space(self, data):
        raise OSError(28, 'No space left on device', str(self))

    monkeypatch.setattr(Path, 'write_bytes', no_space)
    err, _ = failure(capsys, 'city100')
    assert 'No space left on device' in err
    monkeypatch.undo()
    os.chdir(place.parent)
    assert [p for p in Path('datasets').rglob('*') if 'partial' in p.name] == []
    assert prepare('city100') == 0


def test_dry_run_writes_nothing(place, capsys):
    realsr(place)
    assert prepare('realsr', '--dry-run') == 0
    assert 'Canon_Train: 2 pairs' in capsys.readouterr().out
    assert not Path('datasets').exists()


def test_copies(place):
    ntire2020(place)
    assert prepare('ntire2020') == 0
    assert prepare('ntire2020', '--copy') == 0
    made = Path('datasets/NTIRE2020/Corrupted-tr-x/000001.png')
    assert not made.is_symlink()
    assert made.read_bytes() == (place / 'Corrupted-tr-x/000001.png').read_bytes()


def test_what_is_no_part_of_it(place, capsys):
    """Links of an earlier run go; files of others are not touched, and stop it."""
    ntire2020(place)
    assert prepare('ntire2020') == 0
    (place / 'Corrupted-tr-x/000003.png').unlink()
    assert prepare('ntire2020') == 0
    assert names('datasets/NTIRE2020/Corrupted-tr-x') == ['000001.png', '000002.png']
    other = Path('datasets/NTIRE2020/Corrupted-tr-x/mine.png')
    write(other, scene(1))
    err, _ = failure(capsys, 'ntire2020')
    assert 'mine.png: does not belong to the dataset' in err
    assert other.exists()


def test_interrupted_and_continued(place, capsys, monkeypatch):
    """Stopped while verifying, cutting and writing the LMDB; nothing is done twice, and the end is the same."""
    df2k(place)
    command = [
        'prepare',
        'df2k',
        'downloads',
        '--sub-images',
        '--size',
        '64',
        '--step',
        '32',
        '--lmdb',
        '--workers',
        '1',
    ]
    assert main([*command, '-o', 'whole']) == 0

    from pdd_arch.prepare import verify

    def stop_after(module, name, calls):
        real, made = getattr(module, name), []

        def counted(*args, **kwargs):
            if len(made) == calls:
                raise KeyboardInterrupt
            made.append(args)
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, counted)
        return made

    home = Path('datasets/DF2K')
    stop_after(verify, 'read_facts', 3)
    assert run('pdd', main, command) == 130
    assert not (home / 'HR').exists()
    assert run('pdd', main, ['check', str(home)]) == 1
    assert 'is not complete' in capsys.readouterr().err

    monkeypatch.undo()
    monkeypatch.chdir(place.parent)
    read = stop_after(verify, 'read_facts', 9)
    stop_after(sub_images, 'encode_png', 8)
    assert run('pdd', main, command) == 130
    assert len(read) == 1  # three of four were read before
    assert len(names(home / 'HR_sub')) == 8
    assert not (home / 'pdd_prepare.json').exists()

    monkeypatch.undo()
    monkeypatch.chdir(place.parent)
    encoded = stop_after(sub_images, 'encode_png', 99)
    real_read = sub_images.read_content
    puts = []

    def read_to_put(path):
        if len(puts) == 10:
            raise KeyboardInterrupt
        puts.append(path)
        return real_read(path)

    monkeypatch.setattr(sub_images, 'read_content', read_to_put)
    assert run('pdd', main, command) == 130
    assert len(encoded) == 30  # one image, of six crops, was finished
    assert not (home / 'HR_sub.lmdb').exists()

    monkeypatch.undo()
    monkeypatch.chdir(place.parent)
    more = []
    monkeypatch.setattr(sub_images, 'read_content', lambda path: (more.append(path), real_read(path))[1])
    assert run('pdd', main, command) == 0
    assert len(more) == 26
    assert not set(more) & set(puts)
    assert not [p for p in home.iterdir() if 'partial' in p.name]
    for name in ('HR_sub', 'meta_info'):
        assert {p.name: p.read_bytes() for p in (home / name).iterdir()} == {
            p.name: p.read_bytes() for p in Path('whole/DF2K', name).iterdir()
        }
    one, other = (LmdbSource(f'{root}/DF2K/HR_sub.lmdb', 'hr') for root in ('whole', 'datasets'))
    assert one.names == other.names
    assert all((one.read_raw(i) == other.read_raw(i)).all() for i in range(len(one)))

    # and once more, when all is done
    read, encoded, more[:] = stop_after(verify, 'read_facts', 0), stop_after(sub_images, 'encode_png', 0), []
    assert run('pdd', main, command) == 0
    assert (read, encoded, more) == ([], [], [])


def killed_in(work):
    """Runs `work` in a process of its own, which must end by SIGKILL."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def test_killed_while_writing_a_file(place, monkeypatch):
    """What a killed run leaves is not taken for an image."""
    city100(place)
    real, written = Path.write_bytes, []

    def half(self, content):
        if content.startswith(b'\x89PNG'):  # lists and journals are written the same way
            written.append(self)
        if len(written) == 6:
            real(self, content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'write_bytes', half)
        killed_in(lambda: prepare('city100'))
    left = [p for p in Path('datasets').rglob('*') if p.name.endswith('.png')]
    assert len(left) == 5
    assert all(read_raw(p).size for p in left)
    assert prepare('city100') == 0
    assert not list(Path('datasets').rglob('*partial*'))
    assert main(['check', 'datasets/city100']) == 0


def test_killed_while_writing_an_lmdb(place, monkeypatch):
    """What was committed is kept; the rest is done again."""
    files = {str(i): Made(place / f'{i}.png', Facts(96, 128, 3, 8)) for i in range(12)}
    for i, made in enumerate(files.values()):
        write(made.path, scene(i))
    real, puts = sub_images.read_content, []

    def read_to_put(path):
        puts.append(path)
        if len(puts) == 10:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(path)

    def make():
        sub_images.make_lmdb(files, Path('a.lmdb'), Journal(None), batch=4)

    monkeypatch.setattr(sub_images, 'read_content', read_to_put)
    killed_in(make)
    assert not Path('a.lmdb').exists()
    puts += [''] * 20  # no more killing
    make()
    assert len(puts) == 20 + 4  # two batches of four were there
    data = LmdbSource('a.lmdb', 'hr')
    assert data.names == sorted(files)
    for i, name in enumerate(data.names):
        assert (data.read_raw(i) == scene(int(name))).all()


def test_parts_that_clash(place, capsys):
    df2k(place)
    write(place / 'Flickr2K/Flickr2K_HR/0001.png', scene(1))
    err, _ = failure(capsys, 'df2k')
    assert 'Flickr2K_HR/0001.png: has the same name as' in err
    assert 'both go into DF2K/HR' in err


def test_sub_images_of_parts_one_after_the_other(place):
    df2k(place)
    cut = ['--sub-images', '--size', '64', '--step', '64', '--lmdb']
    assert prepare('df2k', '--only', 'DIV2K', *cut) == 0
    assert prepare('df2k', '--only', 'Flickr2K', *cut) == 0
    home = Path('datasets/DF2K')
    assert len(names(home / 'HR')) == 4
    assert len(names(home / 'HR_sub')) == len(LmdbSource(str(home / 'HR_sub.lmdb'), 'hr')) == 2 * 4 + 2 * 6


def test_folder_that_cannot_be_read(place, capsys, monkeypatch):
    ntire2020(place)

    def refuse(path):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr('pdd_arch.images.names.os.scandir', refuse)
    err, _ = failure(capsys, 'ntire2020')
    assert 'the folder cannot be read (Permission denied). Correct its permissions.' in err


def test_no_symbolic_links(place, capsys, monkeypatch):
    """As on exFAT."""
    ntire2020(place)

    def refuse(self, target):
        raise OSError(1, 'Operation not permitted', str(self))

    monkeypatch.setattr(Path, 'symlink_to', refuse)
    err, _ = failure(capsys, 'ntire2020')
    assert 'cannot be made a link (Operation not permitted). Run the same command with --copy' in err
    assert prepare('ntire2020', '--copy') == 0


def test_changed_source_is_read_again(place, capsys):
    ntire2020(place)
    assert prepare('ntire2020') == 0
    with open('datasets/NTIRE2020/.pdd_prepare.jsonl', 'a') as journal:
        journal.write('\n{"key": "read cut o')  # where the machine stopped
    assert prepare('ntire2020') == 0
    spoil(place / 'Corrupted-tr-x/000002.png')
    err, _ = failure(capsys, 'ntire2020')
    assert '000002.png: is a truncated PNG' in err


def test_lmdb_of_names_that_are_not_ascii(place):
    write(place / 'größe.png', scene(1))
    with pytest.raises(DataError, match='names in an LMDB are ASCII'):
        prepare('folder', '--name', 'own', '--lmdb')
