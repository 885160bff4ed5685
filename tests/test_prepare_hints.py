"""`pdd prepare` on what is not where, or not called as, it is expected."""

import os
import shutil
import subprocess
import sys

import pytest
from dataset_trees import drealsr, failure, ntire2020, prepare, realsr, scene, write

from pdd_arch.errors import DataError, OptionError
from pdd_arch.prepare.write import only_run


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'downloads'


def test_folder_that_lies_deeper(place, capsys):
    realsr(place / 'a/b')
    err, _ = failure(capsys, 'realsr')
    assert 'There is downloads/a/b/RealSR(V3)/Canon/Train/4: name downloads/a/b/RealSR(V3) as a source.' in err


def test_archive_that_was_not_unpacked(place, capsys):
    ntire2020(place)
    shutil.rmtree(place / 'Corrupted-tr-x')
    (place / 'Corrupted-tr-x.zip').touch()
    err, _ = failure(capsys, 'ntire2020')
    assert 'There is an archive, downloads/Corrupted-tr-x.zip: unpack it.' in err


def test_what_macos_adds_is_no_place(place, capsys):
    ntire2020(place)
    (place / '__MACOSX').mkdir()
    (place / 'Corrupted-tr-x').rename(place / '__MACOSX/Corrupted-tr-x')
    err, _ = failure(capsys, 'ntire2020')
    assert 'the folder Corrupted-tr-x of part Train is missing' in err


def test_optional_part_that_is_named_must_be_there(place, capsys):
    ntire2020(place)
    err, _ = failure(capsys, 'ntire2020', '--only', 'Clean')
    assert 'the folder Corrupted-tr-y of part Clean is missing' in err


def test_hr_and_lr_swapped(place, capsys):
    test = drealsr(place) / 'Test_x4'
    (test / 'test_HR').rename(test / 'kept')
    (test / 'test_LR').rename(test / 'test_HR')
    (test / 'kept').rename(test / 'test_LR')
    err, _ = failure(capsys, 'drealsr')
    assert 'is 96x128 pixels (height x width) and its HR image 24x32: HR and LR are swapped' in err


def test_images_none_of_which_is_named_as_expected(place, capsys):
    write(place / 'a.png', scene(1))
    err, _ = failure(capsys, 'folder', '--lr', '.', '--lr-template', 'x{}')
    assert 'no image of part lr is there; files named xNAME are expected' in err


def test_images_in_a_sub_folder(place, capsys):
    write(place / 'inner/a.png', scene(1))
    err, _ = failure(capsys, 'folder')
    assert 'There are images in downloads/inner.' in err


@pytest.mark.parametrize('name', [' a.png', 'a, b.png', 'a\nb.png', 'a .png', b'\xff.png'])
def test_names_that_no_list_can_hold(place, capsys, name):
    write(place / 'a.png', scene(1))
    shutil.copy(place / 'a.png', os.path.join(os.fsencode(place), os.fsencode(name)))
    err, _ = failure(capsys, 'folder')
    assert 'cannot stand in a list of images' in err
    assert prepare('folder', '--skip-bad') == 0
    assert (place.parent / 'datasets/downloads/meta_info/meta_info_lr.txt').read_text() == 'a.png (96,128,3)\n'


@pytest.mark.parametrize('name', ['', '..', '../evil', 'a/b', '/tmp/x'])
def test_name_that_leads_elsewhere(place, name):
    write(place / 'a.png', scene(1))
    with pytest.raises(OptionError, match=r'--name: expected the name of one folder'):
        prepare('folder', '--name', name)


def test_two_at_once(place):
    write(place / 'a.png', scene(1))
    assert prepare('folder') == 0
    home = place.parent / 'datasets/downloads'
    hold = 'import fcntl,sys; f = open(sys.argv[1], "w"); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True); input()'
    command = [sys.executable, '-c', hold, str(home / '.lock')]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(DataError, match='another `pdd prepare` is writing to it'), only_run(home):
            pass
        other.communicate(b'\n')
    assert prepare('folder') == 0
