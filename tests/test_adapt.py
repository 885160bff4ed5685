"""The parts of `pdd adapt`: its folder, its options, its training and what it says. No network is trained here."""

import errno
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from adapt_material import GENERALIST, make_folders

from pdd_arch.adaptation import adapt
from pdd_arch.adaptation.outcome import result_of_record, statement
from pdd_arch.adaptation.photographs import Photograph
from pdd_arch.adaptation.preset import PRESETS, Machine, run_options, write_options
from pdd_arch.adaptation.workspace import Settings, Workspace
from pdd_arch.commands.errors import run
from pdd_arch.commands.pdd_cli import main
from pdd_arch.errors import DataError, MissingFileError, OptionError
from pdd_arch.selection import Signals

SETTINGS = {'pdd_arch': '1', 'hr': '/hr', 'batch': None, 'images': 'abc', 'weights': ['1', None]}
GIB = 2**30


@pytest.fixture
def space(tmp_path):
    return Workspace(tmp_path / 'out')


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Two folders with an image each, which no test gets to look at."""
    for name in ('photos', 'hr'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'a.png').write_bytes(b'')
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---------------------------------------------------------------- the folder
def begin(space, overwrite=False, **changes):
    with space.held():
        return space.begin({**SETTINGS, **changes}, overwrite)


def test_the_same_settings_continue_also_by_another_version(space):
    assert begin(space) is False
    (space.root / 'adapt.yml').write_text('x')
    assert begin(space) is True
    assert begin(space, pdd_arch='2') is True
    assert (space.root / 'adapt.yml').is_file()


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (dict(batch=4), r'batch: not given, now 4'),
        (dict(hr='/other'), r'hr: /hr, now /other'),
        (dict(images='abd'), r'the images in the folders have changed'),
        (dict(weights=['2', None]), r'the weights of the generalist or the features have changed'),
    ],
)
def test_other_settings_are_refused_before_anything_is_lost(space, change, said):
    begin(space)
    (space.root / 'model.pth').write_text('x')
    with pytest.raises(OptionError, match=rf'-o: .*out was begun with other settings \({said}\)\. .*--overwrite'):
        begin(space, **change)
    assert space.model.is_file()


def test_overwrite_removes_what_an_adaptation_has_written_and_nothing_else(space):
    begin(space)
    mine = [space.model, space.record, space.root / 'adapt.yml', space.root / 'adapt_ratio_1.yml']
    mine += [space.root / 'adapt_signals.json', space.run_folder('adapt') / 'models' / 'net_g_1.pth']
    other = [space.root / 'notes.txt', space.root / 'adapt_notes.txt']
    for path in mine + other:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('x')
    assert begin(space, overwrite=True, batch=4) is False
    assert not [path for path in mine if path.exists()]
    assert all(path.exists() for path in other)
    assert json.loads(space.settings.read_text())['batch'] == 4


def test_foreign_folders_and_files_are_left_alone(space, tmp_path):
    space.root.mkdir()
    (space.root / 'holiday.jpg').write_text('x')
    file = tmp_path / 'file'
    file.write_text('x')
    for place in (space, Workspace(file)):
        for overwrite in (False, True):
            with pytest.raises(DataError, match='was not made by `pdd adapt`, so it is left alone'):
                place.check(SETTINGS, overwrite)
    assert [p.name for p in space.root.iterdir()] == ['holiday.jpg']


def test_a_folder_that_cannot_be_read_is_said_so(space, monkeypatch):
    def refused(_):
        raise PermissionError(errno.EACCES, 'Permission denied', str(space.root))

    space.root.mkdir()
    monkeypatch.setattr(Path, 'iterdir', refused)
    with pytest.raises(DataError, match=r'out: cannot be written .Permission denied.\. .*correct its permissions'):
        space.check(SETTINGS, False)


@pytest.mark.parametrize('partial', ['settings.json.pdd-partial', '.a1b2c3d4.pdd-partial'])
def test_a_start_that_was_broken_off_is_no_foreign_folder(space, partial):
    with space.held():
        (space.root / partial).write_text('{')
    assert begin(space) is False


@pytest.mark.parametrize('content', ['', '[', '3', 'null'])
def test_damaged_notes_are_named(space, content):
    begin(space)
    space.settings.write_text(content)
    with pytest.raises(DataError, match=r'settings\.json: cannot be read .* remove the folder'):
        begin(space)


def test_two_at_once(space):
    begin(space)
    child = os.fork()
    if not child:
        with space.held():
            Path(space.root / 'ready').write_text('')
            signal.pause()
    try:
        while not (space.root / 'ready').exists():
            pass
        with pytest.raises(OptionError, match='another `pdd adapt` is at work in'):
            begin(space)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert begin(space) is True


def test_links_are_absolute_numbered_and_made_anew(space, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ['ein Bild, schön.JPG', 'two\nlines.png']
    for name in names:
        Path(name).write_text(name)
    for _ in range(2):
        space.link('photographs', [Photograph(Path(name), 9, 9) for name in names])
        links = sorted(space.images('photographs').iterdir())
        assert [link.name for link in links] == ['00001.jpg', '00002.png']
        assert [link.read_text() for link in links] == names
        assert os.readlink(links[0]) == str(tmp_path / names[0])
    space.link('photographs', [Photograph(Path(names[0]), 9, 9)])
    assert len(list(space.images('photographs').iterdir())) == 1
    assert Path(names[1]).read_text() == names[1]


def test_copies_where_there_are_no_links(space, tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.EPERM, 'Operation not permitted')

    monkeypatch.setattr(Path, 'symlink_to', refused)
    (tmp_path / 'a.png').write_text('a')
    space.link('hr', [Photograph(tmp_path / 'a.png', 9, 9)])
    (link,) = space.images('hr').iterdir()
    assert (link.is_symlink(), link.read_text()) == (False, 'a')


def test_a_full_disk_is_said_so(space, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Path, 'symlink_to', full)
    with pytest.raises(DataError, match=r'cannot be written .No space left on device.\. Free space'):
        space.link('hr', [Photograph(tmp_path / 'a.png', 9, 9)])


# ---------------------------------------------------------------- options
CPU = Machine('cpu', 8 * GIB, 8 * GIB, 4)
GPU = Machine('cuda', 40 * GIB, 64 * GIB, 12)


def options(machine, preset='fast', pixels=10**6, batch=None, inter_weight=None, features=None):
    from pdd_arch.utils.resources import asset

    chosen = PRESETS[preset]
    features = features or [chosen.features, 'random']
    weights = str(asset('demo_generalist.pth'))
    settings = Settings(
        '1',
        '/photos',
        '/hr',
        weights,
        preset,
        features,
        [],
        chosen.iterations,
        batch,
        inter_weight,
        False,
        machine.device,
    )
    opt = run_options(settings, 4, machine, 'adapt', pixels)
    data = opt['datasets']['train']
    return opt, (data['gt_size'] // 4, data['batch_size_per_gpu'], data['cache'], data['num_worker_per_gpu'])


def test_patch_batch_cache_and_workers_follow_the_machine():
    assert options(CPU)[1] == (32, 2, 'ram', 0)
    assert options(GPU)[1] == (48, 8, 'ram', 8)
    assert options(CPU, pixels=10**9)[1] == (32, 2, 'none', 3)
    assert options(replace(GPU, memory=GIB))[1][1] < 8
    assert options(replace(GPU, memory=GIB), batch=8)[1][1] == 8  # as asked for
    with pytest.raises(DataError, match=r'takes more than the 0\.2 GiB that are free'):
        options(replace(CPU, memory=GIB // 5))


def test_options_of_the_run(tmp_path):
    opt, _ = options(CPU, inter_weight=0.0)
    assert (opt['num_gpu'], opt['train']['distill_opt']['inter_weight']) == (0, 0.0)
    assert 'val' not in opt
    assert opt['logger']['save_checkpoint_freq'] == 40
    opt, _ = options(GPU, 'paper', features=['squeezenet1_0', 'random'])
    assert opt['num_gpu'] == 'auto'
    assert next(iter(opt['train']['distill_opt']['inter_layers'])) == 'features.0'
    assert opt['train']['total_iter'] == 100_000
    write_options(opt, tmp_path / 'x.yml', 'first\nsecond')
    text = (tmp_path / 'x.yml').read_text()
    assert text.startswith('# first\n# second\n')
    assert yaml.safe_load(text) == opt


# ---------------------------------------------------------------- what is said
def pdd(*arguments) -> int:
    return run('pdd', main, ['adapt', *map(str, arguments)])


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['photos', '-o', 'out'], '--hr: is missing. HR photographs are needed: sharp, clean images'),
        (['photos', '--hr', 'photos', '-o', 'out'], '--hr: photos is the folder of the photographs itself'),
        (['photos', '--hr', 'hr', '-o', 'photos'], '-o: photos lies in the folder of PHOTOS, where nothing is written'),
        (['photos', '--hr', 'hr', '-o', 'photos/x/y'], '-o: photos/x/y lies in the folder of PHOTOS'),
        (['photos', '--hr', 'hr', '-o', 'hr/out'], '-o: hr/out lies in the folder of --hr'),
        (['photos', '--hr', 'hr', '-o', '.'], 'PHOTOS: photos lies in the output folder .'),
        (['photos/a.png', '--hr', 'hr', '-o', 'out'], 'photos/a.png is a file; a folder is expected'),
        (['photo', '--hr', 'hr', '-o', 'out'], 'did you mean'),
        (
            ['photos', '--hr', 'hr', '-o', 'out', '--preset', 'fats'],
            "--preset: expected 'fast' or 'paper', found 'fats'",
        ),
        (['photos', '--hr', 'hr', '-o', 'out', '--device', 'tpu'], "--device: expected 'cpu' or 'cuda', found 'tpu'"),
        (['photos', '--hr', 'hr', '-o', 'out', '--generalist', 'no.pth'], '--generalist: there is no file no.pth'),
        (
            ['photos', '--hr', 'hr', '-o', 'out', '--generalist', GENERALIST, '--features', 'vgg'],
            '--features: expected',
        ),
        (
            ['photos', '--hr', 'hr', '-o', 'out', '--generalist', GENERALIST, '--feature-weights', 'no.pth'],
            '--feature-weights: there is no file',
        ),
    ],
)
def test_wrong_arguments_are_one_line_and_nothing_is_written(here, capsys, arguments, said):
    assert pdd(*arguments) == 1
    told = capsys.readouterr().err
    assert said.lower() in told.lower()
    assert told.count('\n') == 1
    assert sorted(p.name for p in here.rglob('*')) == ['a.png', 'a.png', 'hr', 'photos']


def test_one_photograph_is_too_few(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_folders(tmp_path)
    for path in sorted(Path('photos').iterdir())[1:]:
        path.unlink()
    assert (
        pdd('photos', '--hr', 'hr', '-o', 'out', '--generalist', GENERALIST, '--feature-weights', 'features.pth') == 1
    )
    assert 'expected at least two different images' in capsys.readouterr().err
    assert not Path('out').exists()


@pytest.mark.parametrize(
    'given', [dict(iterations=0), dict(batch=-1), dict(batch=1.5), dict(inter_weight=float('nan'))]
)
def test_numbers_are_checked_in_python_as_well(here, given):
    with pytest.raises(OptionError, match=next(iter(given))):
        adapt('photos', 'hr', 'out', **given)
    with pytest.raises(MissingFileError, match='--hr: is missing'):
        adapt('photos', None, 'out')


BEFORE = Signals(20.0, 0.8, 0.1, 25.0, 30.0, 1.0, 0.0, 1.0, 5.0)


@pytest.mark.parametrize(
    ('gain', 'improved', 'said'),
    [
        (0.5, True, 'The adapted model is better than the generalist, by 0.50 dB.'),
        (0.01, False, 'NO CLEAR IMPROVEMENT'),
        (-0.5, False, 'NO IMPROVEMENT: the adapted model is worse'),
    ],
)
def test_statement(gain, improved, said):
    after = replace(BEFORE, simulated_psnr=20 + gain, simulated_distance=0.05, consistency=29.0)
    found, lines = statement(BEFORE, after, 1, 4)
    assert found is improved
    assert lines[0].startswith(said)
    assert any(line.startswith('better: ') and 'perceptual distance 0.1000 -> 0.0500' in line for line in lines)
    assert any(line.startswith('worse: ') and '30.00 -> 29.00 dB' in line for line in lines)
    assert 'SSIM 0.8000 -> 0.8000' in next(line for line in lines if line.startswith('about the same'))
    assert '1 HR image not' in lines[-1]
    assert '4 photographs' in lines[-1]


def test_a_record_without_what_is_needed(space):
    with pytest.raises(DataError, match=r"adaptation\.json: lacks .*'metrics'.* Remove it"):
        result_of_record(space, {})
