"""`pdd adapt` from beginning to end: a tiny generalist, and photographs that a known camera took."""

import json
import os
import shutil
import signal
import time
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from adapt_material import GENERALIST, make_folders
from programs import Program
from spandrel import ModelLoader

from pdd_arch.adaptation import child_training, judge
from pdd_arch.adaptation import job as adaptation
from pdd_arch.adaptation.preset import PRESETS
from pdd_arch.commands.basicsr_cli import main as basicsr
from pdd_arch.commands.errors import run
from pdd_arch.commands.pdd_cli import main
from pdd_arch.inference import load_network
from pdd_arch.selection import camera, signals
from pdd_arch.training.speed_trial import Conditions, Measured
from pdd_arch.utils.signals import Stopped

STEPS = 10
GIVEN = ['photos', '--hr', 'hr', '--generalist', GENERALIST, '--feature-weights', 'features.pth', '--iterations', STEPS]


def pdd(*arguments) -> int:
    return run('pdd', main, ['adapt', *map(str, arguments)])


@pytest.fixture(scope='module')
def quick():
    """A rough estimate of the camera and no NIQE are enough here; signals arrive where nobody has switched them off."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(camera, '_TRIED', 4)
        patch.setattr(camera, '_EVALUATIONS', 4)
        patch.setattr(child_training, '_POLL_SECONDS', 0.1)
        patch.setitem(PRESETS, 'fast', replace(PRESETS['fast'], checkpoints=5))
        patch.setattr(signals, '_niqe', lambda images: float(images.mean()))
        # what is faster on a busy machine changes from one moment to the next
        patch.setattr(adaptation, 'fastest', lambda *_: Measured(Conditions('fp32', 1), {}, 'a processor'))
        yield


@pytest.fixture(scope='module')
def place(tmp_path_factory, quick):
    """A folder with `photos`, `hr` and a finished adaptation, `whole`."""
    root = tmp_path_factory.mktemp('adapt')
    make_folders(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert pdd(*GIVEN, '-o', 'whole') == 0
    return root


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


def test_what_a_finished_adaptation_leaves(here):
    left = {p.name for p in Path('whole').iterdir() if p.name != '.lock'}
    assert left == {
        *('model.pth', 'report.html', 'adaptation.json', 'checkpoints.csv', 'preview.png'),
        *('settings.json', 'adapt.yml', 'adapt_output.txt', 'adapt_signals.json', 'camera.json'),
        *('data', 'experiments', 'photographs'),
    }
    table = Path('whole/checkpoints.csv').read_text().splitlines()
    assert table[0].startswith('iteration,simulated_psnr,')
    assert [line.split(',')[0] for line in table[1:]] == [str(i) for i in range(0, STEPS + 1, STEPS // 5)]
    assert sum(line.endswith(',yes') for line in table) == 1
    assert 'astronaut' not in Path('whole/adaptation.json').read_text()
    page = Path('whole/report.html').read_text()
    assert 'Adapted to your photographs' in page
    assert 'IMPROVEMENT' in page or 'better than the generalist' in page


def test_model_loads_everywhere_and_is_the_chosen_average(here):
    content = torch.load('whole/model.pth', weights_only=True)
    assert list(content) == ['params_ema']  # as RealESRGANer looks for
    chosen = json.loads(Path('whole/adaptation.json').read_text())['chosen']['iteration']
    saved = torch.load(f'whole/experiments/adapt/models/net_g_{chosen}.pth', weights_only=True)['params_ema']
    assert all(torch.equal(content['params_ema'][name], saved[name]) for name in saved)
    assert load_network('whole').scale == 4
    assert ModelLoader('cpu').load_from_file('whole/model.pth').scale == 4
    generalist = load_network(GENERALIST).net.state_dict()
    assert any(not torch.equal(generalist[name], saved[name]) for name in saved)


def test_record_has_no_paths_and_no_names_of_photographs(here):
    text = Path('whole/adaptation.json').read_text()
    record = json.loads(text, parse_constant=pytest.fail)  # strict JSON
    assert str(here) not in text
    assert '/' not in text.replace('https://', '').replace('and/or', '')
    assert record['generalist']['name'] == 'demo_generalist.pth'
    assert record['options']['features'] == ['squeezenet1_0', 'features.pth']
    assert record['options']['precision'] == 'fp32'
    assert record['options']['threads'] == 1
    assert record['options']['channels_last'] is True
    assert record['photographs']['usable'] == 10
    assert record['metrics']['adapted'].keys() == record['metrics']['generalist'].keys()


def test_option_file_repeats_the_run(here, monkeypatch, capsys):
    monkeypatch.chdir('whole')
    assert 'basicsr train -opt adapt.yml' in Path('adapt.yml').read_text().splitlines()[1]
    assert basicsr(['train', '-opt', 'adapt.yml', '--check']) == 0
    told = capsys.readouterr().out
    assert 'No error found' in told
    assert '6 HR, 9 target LR' in told


@pytest.mark.parametrize('preset', ['fast', 'paper'])
def test_option_files_of_presets_are_valid(here, monkeypatch, capsys, preset):
    """As they are: with their own number of iterations, and all other options at their defaults."""

    def stop(*_):
        raise Stopped(signal.SIGTERM, 'here')

    monkeypatch.setattr(adaptation, 'train', stop)
    given = [*GIVEN[:-2], '--preset', preset, '--features', 'squeezenet1_0', '-o', preset]
    assert pdd(*given) == 128 + signal.SIGTERM
    monkeypatch.chdir(preset)
    assert basicsr(['train', '-opt', 'adapt.yml', '--check']) == 0
    told = capsys.readouterr().out
    assert 'No error found' in told
    assert 'WARNING' not in told
    assert ('discriminator' in told) is (preset == 'paper')


def test_again_nothing_is_done(here, capsys, monkeypatch):
    def fail(*_args, **_kwargs):
        pytest.fail('trained or judged again')

    monkeypatch.setattr(adaptation, 'train', fail)
    monkeypatch.setattr(adaptation.Judge, 'prepare', fail)
    before = {p: p.stat().st_mtime_ns for p in Path('whole').iterdir() if p.is_file() and p.name != '.lock'}
    assert pdd(*GIVEN, '-o', 'whole') == 0
    told = capsys.readouterr().out
    assert 'whole is finished; nothing is left to do' in told
    assert 'model: whole/model.pth' in told
    assert {p: p.stat().st_mtime_ns for p in before} == before


@pytest.mark.parametrize('finished', [True, False])
def test_photographs_that_cannot_be_read_show_in_the_exit_status(trained, capsys, finished):
    out = Path('whole') if finished else trained('unreadable')
    bad = [Path('photos/x.heic'), Path('hr/broken.png')]
    try:
        for path in bad:
            path.write_bytes(b'\0\0\0\x18ftypheic\0\0\0\0mif1heic' if path.suffix == '.heic' else b'\x89PNG\r\n\x1a\n')
        assert pdd(*GIVEN, '-o', out) == 1
    finally:
        for path in bad:
            path.unlink()
    told = capsys.readouterr()
    assert f'model: {out}/model.pth' in told.out
    first, second = told.err.splitlines()[-2:]
    assert first.startswith('pdd adapt: LEFT OUT: photos/x.heic: is in the format HEIC, which is not read here')
    assert second.startswith('pdd adapt: LEFT OUT: hr/broken.png: is a truncated or damaged PNG')


def test_three_lines_of_python(here):
    from pdd_arch import adapt

    given = dict(generalist=GENERALIST, feature_weights='features.pth', iterations=STEPS)
    result = adapt('photos', 'hr', here / 'whole', **given)
    assert result.model.is_file()
    assert result.before.structure == 1
    assert result.statement


def start_training(arguments, log, device=None, folder=None):
    """In the place of the function of that name."""
    return Program('-m', 'pdd_arch', *arguments, folder=folder, output=log)


def test_stopped_and_continued_is_uninterrupted(here, monkeypatch, capfd):
    plain, stops = adaptation.outcome.write_preview, []

    def stop(*args):
        plain(*args)
        if not stops:
            stops.append(os.kill(os.getpid(), signal.SIGTERM))

    monkeypatch.setattr(adaptation.outcome, 'write_preview', stop)
    monkeypatch.setattr(child_training, 'start_training', start_training)
    assert pdd(*GIVEN, '-o', 'parts') == 128 + signal.SIGTERM
    told = capfd.readouterr().err
    assert 'pdd: stopped by SIGTERM while training. Give the same command to continue.' in told
    assert 'Traceback' not in told
    assert not Path('parts/model.pth').exists()
    states = sorted(int(p.stem) for p in Path('parts/experiments/adapt/training_states').iterdir())
    assert states[-1] < STEPS
    assert pdd(*GIVEN, '-o', 'parts') == 0
    assert 'continuing in parts' in capfd.readouterr().out
    whole, parts = (torch.load(f'{name}/model.pth', weights_only=True)['params_ema'] for name in ('whole', 'parts'))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert Path('parts/checkpoints.csv').read_text() == Path('whole/checkpoints.csv').read_text()


def test_a_stop_does_not_wait_for_the_work_beside_the_training(here, monkeypatch, capsys):
    ended = []

    def estimate(_photographs, _hr_images, _scale, check):
        try:
            for _ in range(1000):
                check()
                time.sleep(0.01)
        except CancelledError:
            ended.append('early')
            raise

    def stopped(*_):
        raise Stopped(signal.SIGTERM, 'while training.')

    monkeypatch.setattr(judge, 'estimate_camera', estimate)
    monkeypatch.setattr(adaptation, 'train', stopped)
    assert pdd(*GIVEN, '-o', 'stopped') == 128 + signal.SIGTERM
    assert ended == ['early']
    assert capsys.readouterr().err == 'pdd: stopped by SIGTERM while training.\n'
    assert not Path('stopped/camera.json').exists()


@pytest.fixture
def trained(here):
    """Function of a name: a copy of the finished adaptation that has yet to be judged."""

    def make(name: str) -> Path:
        shutil.copytree('whole', name, symlinks=True)
        for file in ('adaptation.json', 'model.pth'):
            Path(name, file).unlink()
        return Path(name)

    return make


def test_a_damaged_checkpoint_is_named_and_can_be_removed(trained, capsys):
    out = trained('damaged')
    file = out / 'experiments/adapt/models/net_g_6.pth'
    file.write_bytes(file.read_bytes()[:1000])
    assert pdd(*GIVEN, '-o', out) == 1
    told = capsys.readouterr().err
    assert 'net_g_6.pth' in told
    assert 'Or remove damaged/experiments/adapt/models/net_g_6.pth' in told
    file.unlink()
    assert pdd(*GIVEN, '-o', out) == 0
    assert 'judging 4 checkpoints' in capsys.readouterr().out
    assert 'the best of 4 checkpoints' in Path(out, 'adaptation.json').read_text()


@pytest.mark.parametrize('name', ['camera.json', 'adapt_signals.json'])
def test_damaged_notes_are_named_and_can_be_removed(trained, capsys, name):
    out = trained(f'notes_{name}')
    (out / name).write_text('{"a')
    assert pdd(*GIVEN, '-o', out) == 1
    assert f'{name}: cannot be read' in capsys.readouterr().err
    (out / name).unlink()
    assert pdd(*GIVEN, '-o', out) == 0


def test_images_that_have_changed_since_are_noticed(here, capsys):
    shutil.copytree('photos', 'more')
    given = ['more', *GIVEN[1:]]
    shutil.copytree('whole', 'changed', symlinks=True)
    settings = json.loads(Path('changed/settings.json').read_text())
    Path('changed/settings.json').write_text(json.dumps({**settings, 'photographs': str(here / 'more')}))
    assert pdd(*given, '-o', 'changed') == 0
    next(Path('more').iterdir()).unlink()
    assert pdd(*given, '-o', 'changed') == 1
    assert 'the images in the folders have changed' in capsys.readouterr().err


def test_tune_tries_ratios_and_takes_the_best(here, monkeypatch, capsys):
    monkeypatch.setattr(adaptation, 'RATIOS', (0.1, 4.0))
    monkeypatch.setattr(adaptation, 'train', _pretend_to_train)
    assert pdd(*GIVEN[:-1], 4, '-o', 'tuned', '--tune') == 0
    record = json.loads(Path('tuned/adaptation.json').read_text())
    assert set(record['tuning']) == {'0.1', '4.0'}
    best = max(record['tuning'], key=lambda r: record['tuning'][r]['simulated_psnr'])
    assert record['options']['inter_weight'] == float(best)
    options = yaml.safe_load(Path('tuned/adapt.yml').read_text())
    assert options['train']['distill_opt']['inter_weight'] == float(best)
    assert yaml.safe_load(Path('tuned/adapt_ratio_4.yml').read_text())['train']['total_iter'] == 2


def _pretend_to_train(workspace, name, iterations, _preview, _label):
    """The higher ratio has learned more."""
    folder = workspace.run_folder(name) / 'models'
    folder.mkdir(parents=True)
    shutil.copy(f'whole/experiments/adapt/models/net_g_{10 if name.endswith("4") else 2}.pth', folder / 'net_g_2.pth')
