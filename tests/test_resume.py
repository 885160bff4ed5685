"""A run in pieces is the run in one go, to the last bit."""

import json
import random
import shutil
import signal
import time
import zlib
from pathlib import Path

import pytest
import torch
import yaml
from basicsr.archs import build_network
from child_runs import Child, differences, final_state, losses_by_iteration, resumable_options, write_options
from helpers import TINY_G, merge, write_images

ROOT = 'experiments/tiny'
KILLS = 3  # for each of eight combinations

COMBINATIONS = [
    pytest.param(teacher, with_d, workers, id=f'{teacher}-{"d" if with_d else "no-d"}-{workers}-workers')
    for teacher in ('ema', 'static')
    for with_d in (True, False)
    for workers in (0, 2)
]


@pytest.fixture
def weights(workplace):
    """Pretrained weights, as in real use: a resumed run must not go back to them."""
    torch.manual_seed(3)
    for name in ('student', 'teacher'):
        torch.save({'params': build_network(TINY_G).state_dict()}, workplace / f'{name}.pth')
    return workplace


def options(*args, **changes) -> dict:
    return merge(resumable_options(*args), merge(dict(path=dict(pretrain_network_g='student.pth')), changes))


@pytest.mark.parametrize(('teacher', 'with_d', 'workers'), COMBINATIONS)
def test_killed_and_resumed_is_uninterrupted(weights, teacher, with_d, workers):
    write_options(options(teacher, with_d, workers))
    assert Child().status() == 0
    whole, whole_losses = final_state(ROOT), losses_by_iteration()
    shutil.rmtree('experiments')
    Path('losses.jsonl').unlink()

    rng = random.Random(f'{teacher} {with_d} {workers}')
    child = Child(pause=0.04)
    for _ in range(KILLS):
        child.wait_for(1)
        # somewhere in this iteration, in writing its checkpoint, in its validation or early in the next
        child.wait_for(min(child.iteration + rng.randint(1, 4), 11))
        time.sleep(rng.uniform(0, 0.06))
        child.kill()
        assert child.status() == -signal.SIGKILL
        child = Child('--auto_resume', pause=0.04)
    assert child.status() == 0

    assert differences(final_state(ROOT), whole) == []
    assert losses_by_iteration() == whole_losses
    assert sorted(whole_losses) == list(range(1, 13))


def in_one_go(opt: dict) -> dict:
    """Final state of an uninterrupted run, whose folder is moved to ``whole``."""
    write_options(opt)
    assert Child().status() == 0
    Path(ROOT).rename('whole')
    Path('losses.jsonl').unlink()
    return final_state('whole')


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Interrupted runs that several tests start from, kept aside."""
    return tmp_path_factory.mktemp('interrupted')


@pytest.fixture
def interrupted(runs):
    """Function of options: a run that is killed while its iteration `after` + 1 is under way."""

    def make(opt: dict, after: int) -> None:
        write_options(opt)
        kept = runs / f'{zlib.crc32(json.dumps(opt, sort_keys=True).encode())}_{after}'
        if kept.exists():
            shutil.copytree(kept, '.', dirs_exist_ok=True)
            return
        before = set(Path().iterdir())
        child = Child(pause=0.3)
        child.wait_for(after + 1)
        child.kill()
        assert child.status() == -signal.SIGKILL
        kept.mkdir()
        for path in set(Path().iterdir()) - before:
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, kept / path.name)

    return make


def log_text() -> str:
    return '\n'.join(f.read_text() for f in sorted(Path(ROOT).glob('train_*.log')))


def test_damaged_newest_state_is_passed_over(weights, interrupted):
    opt = options('ema', True, 0)
    whole = in_one_go(opt)
    interrupted(opt, 6)
    newest = Path(ROOT, 'training_states/6.state')
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 0xFF
    newest.write_bytes(data)
    assert Child('--auto_resume').status() == 0
    assert 'training_states/6.state' in log_text()
    assert 'Continuing from the state before it, ' in log_text()
    assert differences(final_state(ROOT), whole) == []


@pytest.mark.parametrize('network', ['net_g', 'net_d'])
@pytest.mark.parametrize('damage', ['flipped', 'missing', 'of another iteration'])
def test_state_without_its_networks_is_passed_over(weights, capfd, network, damage, interrupted):
    opt = options('ema', True, 0)
    interrupted(opt, 4)
    file = Path(ROOT, f'models/{network}_4.pth')
    if damage == 'missing':
        file.unlink()
    elif damage == 'flipped':
        data = bytearray(file.read_bytes())
        data[-200] ^= 1
        file.write_bytes(data)
    else:
        shutil.copy(Path(ROOT, f'models/{network}_2.pth'), file)
    assert Child('--auto_resume').status() == 0
    assert 'Continuing from the state before it, ' in log_text()
    assert f'{network}_4.pth' in log_text()
    assert 'Resuming training from epoch: 0, iter: 2' in log_text()


def test_no_usable_state_is_an_error_not_a_fresh_start(weights, capfd, interrupted):
    opt = options('ema', False, 0)
    interrupted(opt, 4)
    for file in Path(ROOT, 'training_states').iterdir():
        file.write_bytes(b'nothing')
    assert Child('--auto_resume').status() == 1
    line = capfd.readouterr().err.strip().splitlines()[-1]
    assert '4.state' in line
    assert 'None of the 1 states before it' in line
    assert Path(ROOT, 'models/net_g_4.pth').is_file()


def test_state_named_in_the_options_from_another_folder(weights, monkeypatch, interrupted):
    opt = options('static', True, 0)
    whole = in_one_go(opt)
    interrupted(opt, 6)
    Path('elsewhere').mkdir()
    monkeypatch.chdir('elsewhere')
    for link in ('hr', 'real', 'val_hr', 'val_lr', 'student.pth', 'teacher.pth'):
        Path(link).symlink_to(f'../{link}')
    state = f'../{ROOT}/training_states/6.state'
    write_options(merge(opt, dict(path=dict(resume_state=state))))
    assert Child().status() == 0
    assert differences(final_state(ROOT), whole) == []
    assert sorted(losses_by_iteration()) == list(range(7, 13))


def test_more_iterations(weights):
    """A finished run goes on; the change of the options is in the log."""
    whole = in_one_go(options('ema', True, 0))
    write_options(options('ema', True, 0, train=dict(total_iter=7)))
    assert Child().status() == 0
    write_options(options('ema', True, 0))
    assert Child('--auto_resume').status() == 0
    assert 'Option changed since the state was written: train.total_iter: 7 -> 12' in log_text()
    assert differences(final_state(ROOT), whole) == []


def test_finished_run_is_left_alone(weights):
    opt = options('ema', False, 0)
    write_options(opt)
    assert Child().status() == 0
    before = final_state(ROOT)
    assert Child('--auto_resume').status() == 0
    assert differences(final_state(ROOT), before) == []
    assert sorted(losses_by_iteration()) == list(range(1, 13))


def test_resumed_with_another_number_of_workers(weights, interrupted):
    whole = in_one_go(options('ema', False, 0))
    interrupted(options('ema', False, 0), 6)
    write_options(options('ema', False, 2))
    assert Child('--auto_resume').status() == 0
    assert differences(final_state(ROOT), whole) == []


MEANINGLESS = {
    'another network': (dict(network_g=dict(num_feat=4)), ['network_g.num_feat: 4', 'with 8']),
    'another discriminator': (dict(network_d=dict(num_feat=4)), ['network_d.num_feat: 4']),
    'another optimizer': (dict(train=dict(optim_g=dict(type='SGD', betas=None))), ['train.optim_g.type', "'Adam'"]),
    'another teacher': (
        dict(path=dict(pretrain_network_teacher='student.pth')),
        ['pretrain_network_teacher', 'SHA-256'],
    ),
    'no average': (dict(train=dict(ema_decay=0)), ['train.ema_decay: 0']),
}


@pytest.mark.parametrize('case', MEANINGLESS)
def test_resuming_another_run_is_refused(weights, capfd, case):
    changes, words = MEANINGLESS[case]
    opt = options('static', True, 0, train=dict(total_iter=2))
    write_options(opt)
    assert Child().status() == 0
    write_options(merge(opt, merge(changes, dict(path=dict(pretrain_network_g=None)))))
    capfd.readouterr()
    assert Child('--auto_resume').status() == 1
    line = capfd.readouterr().err.strip().splitlines()[-1]
    assert line.startswith('basicsr: error: ')
    for word in words:
        assert word in line


def test_resuming_on_other_images_is_refused(weights, capfd):
    opt = options('ema', False, 0, train=dict(total_iter=2))
    write_options(opt)
    assert Child().status() == 0
    write_images(weights / 'real', 4, 16, 20)
    assert Child('--auto_resume').status() == 1
    assert 'datasets.train: other images' in capfd.readouterr().err.strip().splitlines()[-1]


def test_changes_that_do_not_matter_are_logged(weights):
    opt = options('ema', False, 0, train=dict(total_iter=2))
    write_options(opt)
    assert Child().status() == 0
    changed = dict(
        train=dict(total_iter=4, optim_g=dict(lr=1e-3), distill_opt=dict(inter_weight=0.5)), logger=dict(print_freq=2)
    )
    write_options(merge(opt, changed))
    assert Child('--auto_resume').status() == 0
    text = log_text()
    assert 'logger.print_freq: 1 -> 2' in text
    assert 'train.distill_opt.inter_weight: None -> 0.5' in text
    assert 'train.optim_g.lr: 0.0001 -> 0.001, without effect' in text
    assert losses_by_iteration()[3]['lr'] == [1e-4]


def test_state_of_basicsr_itself(weights, interrupted):
    """It has no generators and no position: the run continues and says that it is not exact."""
    opt = options('ema', False, 0)
    interrupted(opt, 4)
    state = Path(ROOT, 'training_states/4.state')
    content = torch.load(state, weights_only=True)
    torch.save({k: content[k] for k in ('epoch', 'iter', 'optimizers', 'schedulers')}, state)
    assert Child('--auto_resume').status() == 0
    assert 'not written by this package' in log_text()
    assert yaml.safe_load(Path('run.yml').read_text())['train']['total_iter'] == max(losses_by_iteration())


def test_epochs_that_became_longer(weights, interrupted):
    """BasicSR counts the epochs of the whole run anew; it is the iterations that count."""
    interrupted(options('ema', False, 0, datasets=dict(train=dict(batch_size_per_gpu=4))), 8)
    write_options(options('ema', False, 0, datasets=dict(train=dict(batch_size_per_gpu=1, dataset_enlarge_ratio=30))))
    assert Child('--auto_resume').status() == 0
    assert max(losses_by_iteration()) == 12


def test_fewer_iterations_than_are_done(weights, capfd):
    write_options(options('ema', False, 0, train=dict(total_iter=4)))
    assert Child().status() == 0
    write_options(options('ema', False, 0, train=dict(total_iter=3)))
    assert Child('--auto_resume').status() == 1
    assert 'train.total_iter: 3, but the state' in capfd.readouterr().err.strip().splitlines()[-1]


def test_unreadable_data_leaves_a_state(weights, monkeypatch, capfd):
    """Nothing of a long run is lost with the image that ends it."""
    from pdd_arch.data.unpaired_adaptation_dataset import UnpairedAdaptationDataset
    from pdd_arch.errors import DataError

    opt = options('ema', True, 0, logger=dict(save_checkpoint_freq=100))
    whole = in_one_go(opt)
    plain = UnpairedAdaptationDataset.__getitem__

    def fail(self, index):
        if index.epoch == 1 and index.position >= 5:  # in the seventh iteration
            raise DataError('real/001.png: cannot be read')
        return plain(self, index)

    monkeypatch.setattr(UnpairedAdaptationDataset, '__getitem__', fail)
    write_options(opt)
    assert Child().status() == 1
    assert [f.name for f in Path(ROOT, 'training_states').iterdir()] == ['6.state']
    monkeypatch.setattr(UnpairedAdaptationDataset, '__getitem__', plain)
    assert Child('--auto_resume').status() == 0
    assert differences(final_state(ROOT), whole) == []


def test_second_run_in_the_same_folder_is_refused(weights, capfd):
    write_options(options('ema', False, 0))
    child = Child(pause=0.1)
    child.wait_for(3)
    for flags in ((), ('--auto_resume',)):
        assert Child(*flags).status() == 1
        # among the lines of the run that goes on
        assert 'basicsr: error: name: another run is writing to experiments/tiny' in capfd.readouterr().err
    assert child.status() == 0
    assert not list(Path('experiments').glob('*archived*'))


def test_seed_that_nobody_gave_is_kept(weights, interrupted):
    opt = options('ema', False, 0, manual_seed=None)
    interrupted(opt, 6)
    before = losses_by_iteration()
    assert Child('--auto_resume').status() == 0
    seeds = {torch.load(f, weights_only=True)['options'] for f in Path(ROOT, 'training_states').iterdir()}
    assert len({json.loads(s)['manual_seed'] for s in seeds}) == 1
    assert losses_by_iteration()[5] == before[5]
