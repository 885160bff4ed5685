"""Validation sets of different kinds in one run, and options of validations that have no effect."""

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.utils.registry import METRIC_REGISTRY
from helpers import merge, release_logger, run_options, run_options_of_sr_model, write_images

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run
from pdd_arch.commands.pdd_cli import main as pdd
from pdd_arch.errors import OptionError
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.yaml_file import load_options
from pdd_arch.preflight.run import plan_warnings
from pdd_arch.training.record import read_record

OPTIONS = Path(__file__).parents[1] / 'options'
SRVGG = dict(type='SRVGGNetCompact', num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=4, act_type='prelu')
FEATURES = dict(type='alexnet', weights='random')
PSNR = dict(type='calculate_psnr', crop_border=4)
NIQE = dict(type='calculate_niqe', crop_border=0)
PAIRS = dict(dataroot_gt='val_hr', dataroot_lq='val_lr')
PHOTOGRAPHS = dict(name='photographs', type='SingleImageDataset', dataroot_lq='photos', io_backend=dict(type='disk'))


@pytest.fixture
def mixed(workplace):
    """Options of a run with pairs and photographs, large enough for NIQE, and metrics of both kinds."""
    write_images(workplace / 'val_hr', 1, 96, 192, seed=2)
    write_images(workplace / 'val_lr', 1, 24, 48, seed=3)
    write_images(workplace / 'photos', 2, 48, 24, seed=4)
    for i in range(2):
        (workplace / f'photos/{i:03d}.png').rename(workplace / f'photos/photo{i}.png')
    opt = run_options(
        network_g=None, datasets=dict(val_2=PHOTOGRAPHS), val=dict(save_img=True, metrics=dict(psnr=PSNR, niqe=NIQE))
    )
    opt['network_g'] = SRVGG  # its output is no flat image, even untrained
    return opt


@pytest.fixture
def basicsr(workplace, capfd):
    """Write options and run the command on them: exit status, standard output and standard error."""

    def call(opt, *flags, command='train'):
        release_logger()
        Path('run.yml').write_text(yaml.safe_dump(opt, sort_keys=False))
        status = run('basicsr', main, [command, '-opt', 'run.yml', *flags])
        out = capfd.readouterr()
        return status, out.out, out.err

    return call


def validations(folder='experiments/tiny'):
    """Of the record, in order: iteration, set, names of metrics."""
    events = [json.loads(line) for line in Path(folder, 'record.jsonl').read_text().splitlines()]
    return [(e['iteration'], e['dataset'], sorted(e['metrics'])) for e in events if e['event'] == 'validation']


# ---------------------------------------------------------------- sets of different kinds
def test_pairs_and_photographs_in_one_training(basicsr, mixed, workplace):
    mixed['logger'] |= dict(use_tb_logger=True, keep_best='psnr', keep_checkpoints=1)
    status, _, error = basicsr(mixed)
    assert status == 0, error
    both = [(2, 'pairs', ['niqe', 'psnr']), (2, 'photographs', ['niqe'])]
    assert validations() == both * 2  # as BasicSR: at val_freq, and at the end
    for name in ('000', 'photo0', 'photo1'):
        assert Path(f'experiments/tiny/visualization/{name}/{name}_2.png').is_file()
    state = torch.load('experiments/tiny/training_states/2.state', weights_only=True)
    assert {name: sorted(best) for name, best in state['best_metrics'].items()} == {'pairs': ['niqe', 'psnr']}
    log = next(Path('experiments/tiny').glob('train_tiny_*.log')).read_text()
    photographs = log.split('Validation photographs')[1].split('Validation')[0]
    assert '# niqe:' in photographs
    assert '# psnr:' not in photographs
    assert 'only* supported by SRModel' not in log
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = EventAccumulator(str(workplace / 'tb_logger/tiny')).Reload().Tags()['scalars']
    assert {c for c in curves if c.startswith('metrics/')} == {
        'metrics/pairs/psnr',
        'metrics/pairs/niqe',
        'metrics/photographs/niqe',
    }


def test_the_value_is_that_of_the_saved_image(basicsr, mixed):
    from basicsr.metrics import calculate_niqe

    assert basicsr(mixed)[0] == 0
    saved = [cv2.imread(f'experiments/tiny/visualization/photo{i}/photo{i}_2.png') for i in range(2)]
    expected = np.mean([calculate_niqe(image, 0) for image in saved])
    assert read_record('experiments/tiny').validation['photographs']['niqe'][2] == pytest.approx(expected, rel=1e-5)


def test_each_set_is_measured_as_it_says(basicsr, mixed):
    opt = merge(mixed, dict(datasets=dict(val=dict(metrics=['psnr']), val_2=dict(metrics=[]))))
    opt['datasets']['val_3'] = dict(opt['datasets']['val'], name='again', metrics=['niqe'])
    status, out, _ = basicsr(opt, '--check')
    assert status == 0
    for line in (
        'metrics:        psnr (calculate_psnr), niqe (calculate_niqe)',
        'measured:       pairs: psnr',
        'measured:       photographs: nothing, its images are only upscaled',
        'measured:       again: niqe',
    ):
        assert line in out
    assert basicsr(opt)[0] == 0
    assert validations()[:3] == [(2, 'pairs', ['psnr']), (2, 'photographs', []), (2, 'again', ['niqe'])]


def test_the_check_says_what_is_measured_on_what(basicsr, mixed):
    status, out, _ = basicsr(mixed, '--check')
    assert status == 0
    assert 'val_2:          photographs: 2 images' in out
    assert 'measured:       pairs: psnr, niqe\n' in out
    assert 'measured:       photographs: niqe\n' in out


def test_a_test_of_both_kinds(basicsr, mixed):
    assert basicsr(mixed)[0] == 0
    opt = merge(
        mixed,
        dict(
            name='tested',
            train=None,
            logger=None,
            path=dict(pretrain_network_g='experiments/tiny/models/net_g_2.pth', param_key_g='params_ema'),
        ),
    )
    opt['datasets'] = dict(test_1=mixed['datasets']['val'], test_2=PHOTOGRAPHS)
    status, _, error = basicsr(opt, command='test')
    assert status == 0, error
    assert '# psnr:' not in error.split('Validation photographs')[1]
    assert Path('results/tested/visualization/photographs/photo1_tested.png').is_file()
    assert basicsr(opt, '--check', command='test')[1].count('measured:') == 2


def test_models_of_basicsr_as_well(basicsr, mixed):
    """Also its own model, which would end with a TypeError: photographs have no `img2`."""
    plain = run_options_of_sr_model()
    opt = mixed | {key: plain[key] for key in ('model_type', 'train')}
    opt['datasets'] = {**mixed['datasets'], 'train': plain['datasets']['train']}
    status, _, error = basicsr(opt)
    assert status == 0, error
    assert validations()[:2] == [(2, 'pairs', ['niqe', 'psnr']), (2, 'photographs', ['niqe'])]
    assert 'only* supported by SRModel' not in error


def test_the_warning_stays_for_other_models(monkeypatch):
    from pdd_arch.basicsr_loop.pipeline import _no_false_warning
    from pdd_arch.training.run_state import TrainingRun

    seen = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())
    logger = logging.getLogger('basicsr')
    logger.addHandler(handler)
    try:
        with _no_false_warning(TrainingRun()):
            logger.warning('Multiple validation datasets are *only* supported by SRModel.')
    finally:
        logger.removeHandler(handler)
    assert len(seen) == 1


def test_a_metric_of_a_set_of_sr_model(basicsr, mixed):
    del mixed
    status, _, error = basicsr(run_options_of_sr_model(datasets=dict(val=dict(metrics=['pnsr']))), '--check')
    assert status == 1
    assert "datasets.val.metrics: no metric 'pnsr' in val.metrics" in error


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (
            dict(datasets=dict(val=dict(metrics=['pnsr']))),
            ["datasets.val.metrics: no metric 'pnsr' in val.metrics", "Did you mean 'psnr'?"],
        ),
        (
            dict(datasets=dict(val_2=dict(metrics=['psnr']))),
            ['datasets.val_2.metrics: psnr (calculate_psnr) compares with a ground truth'],
        ),
        (dict(datasets=dict(val=dict(metrics='psnr'))), ['datasets.val.metrics: expected a list']),
        (
            dict(datasets=dict(val=None)),
            ['val.metrics.psnr: calculate_psnr compares with a ground truth, which datasets.val_2'],
        ),
        (
            dict(logger=dict(keep_best='photographs/psnr')),
            ["logger.keep_best: 'photographs' is not measured with 'psnr', expected 'niqe'"],
        ),
        (
            dict(val=None, datasets=dict(val=dict(metrics=['psnr']))),
            ["datasets.val.metrics: no metric 'psnr' in val.m"],
        ),
        (dict(logger=dict(keep_best='niqe')), ['there are 2 validation datasets', 'Write pairs/niqe']),
        (
            dict(datasets=dict(val=dict(metrics=[])), logger=dict(keep_best='psnr')),
            ['logger.keep_best', "no validation dataset is measured with 'psnr'"],
        ),
        (dict(datasets=dict(val_2=dict(name='../../x'))), ["datasets.val_2.name: '../../x' leads out of the output"]),
        (
            dict(datasets=dict(val=dict(persistent_workers=True))),
            ['datasets.val.persistent_workers: true, but images for validation are loaded without workers'],
        ),
        (
            dict(val=dict(metrics=dict(psnr=dict(type='calculate_psnr_pt')))),
            ['val.metrics.psnr.type: calculate_psnr_pt takes tensors', 'Use calculate_psnr.'],
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_before_the_run(basicsr, mixed, changes, words):
    opt = merge(mixed, changes)
    for flags in ((), ('--check',)):
        status, _, error = basicsr(opt, *flags)
        assert status == 1
        assert all(word in error for word in words), error
        assert error.strip().count('\n') == 0
    assert not Path('experiments').exists()


@pytest.mark.parametrize('name', ['photographs', 'real/photographs'])
def test_images_of_one_name_in_two_sets_do_not_replace_each_other(basicsr, mixed, workplace, name):
    (workplace / 'photos/photo0.png').rename(workplace / 'photos/000.png')
    mixed['datasets']['val_2']['name'] = name
    status, _, error = basicsr(mixed)
    assert status == 0
    shapes = {
        one: cv2.imread(f'experiments/tiny/visualization/{one}/000/000_2.png').shape[:2] for one in ('pairs', name)
    }
    assert shapes == {'pairs': (96, 192), name: (192, 96)}
    assert f'folders of their own: pairs, {name}' in error
    assert pdd(['report', 'experiments/tiny']) == 0
    pictures = page()['pictures']
    assert sorted((p['dataset'], p['name']) for p in pictures) == [('pairs', '000'), (name, '000'), (name, 'photo1')]


def test_images_of_one_name_in_one_set_are_said(basicsr, mixed, workplace):
    cv2.imwrite('photos/photo0.bmp', cv2.imread('photos/photo1.png'))
    status, _, error = basicsr(mixed)
    assert status == 0
    assert 'Validation photographs: several images are called photo0; of those only the last is saved' in error


def page(folder='experiments/tiny'):
    """What the report holds."""
    from report_material import embedded

    return embedded(Path(folder, 'report.html'), 'data')


def test_the_report_shows_both_kinds(basicsr, mixed):
    assert basicsr(mixed)[0] == 0
    assert pdd(['report', 'experiments/tiny']) == 0
    data = page()
    assert sorted((p['dataset'], p['name']) for p in data['pictures']) == [
        ('pairs', '000'),
        ('photographs', 'photo0'),
        ('photographs', 'photo1'),
    ]
    curves = {c['title']: c['series'].keys() for c in data['curves'] if c['group'] == 'validation'}
    assert curves == {'psnr': {'pairs'}, 'niqe': {'pairs', 'photographs'}}
    means = {(r['dataset'], r['name']): [v is not None for v in r['mean']] for r in data['rows']}
    assert means[('pairs', 'iteration 2')] == [True, True]
    assert means[('photographs', 'iteration 2')] == [False, True]
    assert data['problems'] == []


def test_the_report_of_a_run_that_measures_nothing_says_so(basicsr, mixed):
    assert basicsr(merge(mixed, dict(val=dict(metrics=None))))[0] == 0
    assert pdd(['report', 'experiments/tiny']) == 0
    assert any('The record holds no validation' in problem for problem in page()['problems'])


def test_best_results_of_a_resumed_run_are_those_of_each_set(basicsr, mixed):
    assert basicsr(mixed)[0] == 0
    opt = merge(mixed, dict(train=dict(total_iter=4), logger=dict(keep_best='pairs/psnr')))
    status, _, error = basicsr(opt, '--auto_resume')
    assert status == 0, error
    state = torch.load('experiments/tiny/training_states/4.state', weights_only=True)['best_metrics']
    assert {name: sorted(best) for name, best in state.items()} == {'pairs': ['niqe', 'psnr'], 'photographs': ['niqe']}


def test_lower_values_of_niqe_are_better_unless_the_options_say_otherwise(basicsr, mixed):
    assert basicsr(merge(mixed, dict(train=dict(total_iter=4))))[0] == 0
    state = torch.load('experiments/tiny/training_states/4.state', weights_only=True)['best_metrics']
    assert state['pairs']['niqe']['better'] == 'lower'
    status, out, _ = basicsr(merge(mixed, dict(val=dict(metrics=dict(niqe=dict(better='higher'))))), '--check')
    assert status == 0
    assert 'WARNING:        val.metrics.niqe.better: higher, but lower values of calculate_niqe are better' in out


def test_a_metric_of_pyiqa_without_reference_is_for_both(monkeypatch):
    import importlib.machinery
    import sys
    import types

    from pdd_arch.metrics.assignment import metrics_of_set

    package, configs = types.ModuleType('pyiqa'), types.ModuleType('pyiqa.default_model_configs')
    package.__spec__ = importlib.machinery.ModuleSpec('pyiqa', None)
    configs.DEFAULT_CONFIGS = dict(musiq=dict(metric_mode='NR'), dists=dict(metric_mode='FR'))
    monkeypatch.setitem(sys.modules, 'pyiqa', package)
    monkeypatch.setitem(sys.modules, 'pyiqa.default_model_configs', configs)
    iqa = dict(type='calculate_iqa', crop_border=0)
    metrics = dict(musiq=iqa | dict(metric='musiq'), dists=iqa | dict(metric='dists'))
    assert list(metrics_of_set(metrics, PHOTOGRAPHS, 'datasets.val')) == ['musiq']
    assert list(metrics_of_set(metrics, dict(type='PairedImageDataset'), 'datasets.val')) == ['musiq', 'dists']


def test_the_best_checkpoint_by_photographs_alone(basicsr, mixed, monkeypatch):
    """Lower NIQE is better: the third validation is the best, and nobody asked for a checkpoint there."""
    from pdd_arch.models.set_validation import SetValidation

    values = {1: 9.0, 2: 5.0, 3: 2.0, 4: 7.0}

    def measure(self, _images, options):
        iteration = basicsr_iteration(self)
        return values[iteration] if options['type'] == 'calculate_niqe' else 20.0

    def basicsr_iteration(own):
        return next(i for i in range(4, 0, -1) if list(Path('experiments/tiny/visualization').rglob(f'*_{i}.png')))

    monkeypatch.setattr(SetValidation, 'measure', measure)
    opt = merge(mixed, dict(train=dict(total_iter=4), val=dict(val_freq=1)))
    opt['logger'] |= dict(keep_best='photographs/niqe', keep_checkpoints=1)
    status, _, error = basicsr(opt)
    assert status == 0, error
    assert {p.name for p in Path('experiments/tiny/training_states').iterdir()} == {'3.state', '4.state'}


def test_a_set_that_is_measured_otherwise_after_resuming(basicsr, mixed):
    """What is not measured any more on a set cannot be its best result, nor be taken for that of another set."""
    opt = merge(mixed, dict(datasets=dict(val_2=dict(type='PairedImageDataset', **PAIRS))))
    assert basicsr(opt)[0] == 0
    opt = merge(opt, dict(datasets=dict(val=dict(metrics=['niqe'])), train=dict(total_iter=4)))
    opt['logger']['keep_best'] = 'psnr'
    status, _, error = basicsr(opt, '--auto_resume')
    assert status == 0, error
    best = torch.load('experiments/tiny/training_states/4.state', weights_only=True)['best_metrics']
    assert {name: sorted(records) for name, records in best.items()} == {
        'pairs': ['niqe'],
        'photographs': ['niqe', 'psnr'],
    }


def test_a_set_of_ones_own_without_ground_truth(basicsr, mixed, monkeypatch):
    from basicsr.data.single_image_dataset import SingleImageDataset
    from basicsr.utils.registry import DATASET_REGISTRY

    monkeypatch.setitem(DATASET_REGISTRY._obj_map, 'MyPhotographs', type('MyPhotographs', (SingleImageDataset,), {}))
    opt = merge(mixed, dict(datasets=dict(val_2=dict(type='MyPhotographs'))))
    status, _, error = basicsr(opt)
    assert status == 1
    assert (
        'val.metrics.psnr: calculate_psnr compares with a ground truth, which photo0 of the set photographs has'
        in error
    )
    assert (
        error.strip()
        .splitlines()[-1]
        .endswith('List the metrics that this set can be measured with in its section, under `metrics`.')
    )
    status, _, error = basicsr(merge(opt, dict(datasets=dict(val_2=dict(metrics=['niqe'])))))
    assert status == 0, error


def test_a_progress_bar_and_a_metric_listed_twice(basicsr, mixed):
    opt = merge(mixed, dict(val=dict(pbar=True), datasets=dict(val_2=dict(metrics=['niqe', 'niqe']))))
    status, _, error = basicsr(opt)
    assert status == 0, error
    assert validations()[1] == (2, 'photographs', ['niqe'])


def test_a_table_is_measured_on_the_pairs(mixed, monkeypatch, capsys):
    from table_material import LIST, tables

    from pdd_arch.report.table_file import read_table

    opt = mixed | dict(
        datasets={'train': mixed['datasets']['train'], 'val': PHOTOGRAPHS, 'val_2': mixed['datasets']['val']}
    )
    opt['datasets']['val_2']['metrics'] = ['psnr']
    opt['val']['metrics']['psnr']['better'] = 'higher'
    Path('tiny.yml').write_text(yaml.safe_dump(opt))
    plan = {**LIST, 'rows': LIST['rows'][:1], 'baseline': 'bicubic', 'datasets': {'a': {}}}
    Path('list.yml').write_text(yaml.safe_dump(plan))
    assert tables() == 0, capsys.readouterr().err
    table = read_table(Path('out/table.json'))
    assert [m.name for m in table.metrics] == ['psnr']
    assert list(table.rows[0].seeds[0].scores) == ['000']
    # the list's own metrics, whatever the file says of its sets
    plan['metrics'] = {'SSIM': dict(type='calculate_ssim', crop_border=4)}
    Path('list.yml').write_text(yaml.safe_dump(plan))
    Path('out/cells/a_bicubic.json').unlink()
    assert tables() == 0, capsys.readouterr().err
    assert [m.name for m in read_table(Path('out/table.json')).metrics] == ['SSIM']
    opt['datasets'].pop('val_2')
    Path('tiny.yml').write_text(yaml.safe_dump(opt))
    with pytest.raises(OptionError, match=r'datasets\.val: missing, expected LR images and their ground truth'):
        tables()


# ---------------------------------------------------------------- images that a metric has no number for
@pytest.mark.parametrize(
    ('metric', 'reason'),
    [
        (NIQE, 'NIQE needs two blocks of 96x96 pixels'),
        (dict(type='calculate_ssim', crop_border=20), 'not a number'),
        (dict(type='calculate_psnr', crop_border=24), 'crop_border 24 leaves nothing'),
        (dict(type='calculate_feature_distance', crop_border=24, feature_net=FEATURES), 'crop_border 24 leaves'),
    ],
)
def test_images_too_small_for_a_metric_are_found_by_the_check(basicsr, workplace, metric, reason):
    opt = run_options(val=dict(metrics=dict(m=metric)))
    for flags in ((), ('--check',)):
        status, _, error = basicsr(opt, *flags)
        assert status == 1
        assert f'val.metrics.m: {metric["type"]} has no number for 1 of 1 images of datasets.val' in error
        assert 'val_lr/000.png, upscaled to 48x56 pixels' in error
        assert reason in error
        assert error.strip().count('\n') == 0
    assert not Path('experiments').exists()


def test_one_image_without_a_number_does_not_end_the_run(basicsr, mixed, monkeypatch):
    """Flat outputs have no NIQE, which nobody can know before."""
    from pdd_arch.models.validator import Validator

    upscale = Validator.upscale
    monkeypatch.setattr(Validator, 'upscale', lambda self, lq: upscale(self, lq) * (lq.shape[-1] != 24))
    status, _, error = basicsr(mixed)
    assert status == 0, error
    assert 'Validation photographs: niqe has no number for 2 of 2 images (the first: photo0: NIQE needs two' in error
    assert 'did not converge), so there is no mean.' in error
    values = read_record('experiments/tiny').validation
    assert np.isfinite(values['pairs']['niqe'][2])
    assert np.isnan(values['photographs']['niqe'][2])


def test_an_image_too_small_for_a_network_does_not_end_the_run(basicsr, workplace):
    """What a network needs is not known before: it may be any."""
    write_images(workplace / 'val_hr', 1, 16, 16)
    write_images(workplace / 'val_lr', 1, 4, 4)
    distance = dict(type='calculate_feature_distance', crop_border=0, feature_net=FEATURES)
    status, _, error = basicsr(run_options(val=dict(metrics=dict(distance=distance))))
    assert status == 0, error
    assert 'distance has no number for 1 of 1 images (the first: 000: RuntimeError Given input size' in error


def test_a_border_that_leaves_too_little_for_niqe(basicsr, mixed):
    status, _, error = basicsr(merge(mixed, dict(val=dict(metrics=dict(niqe=dict(crop_border=4))))), '--check')
    assert status == 1
    assert 'val.metrics.niqe: calculate_niqe has no number for 1 of 1 images of datasets.val' in error


def test_a_metric_that_gives_something_else(basicsr, mixed, monkeypatch):
    monkeypatch.setitem(METRIC_REGISTRY._obj_map, 'calculate_mine', lambda img, img2, crop_border: None)
    mine = dict(type='calculate_mine', crop_border=0)
    status, _, error = basicsr(merge(mixed, dict(val=dict(metrics=dict(mine=mine)))))
    assert status == 1
    assert 'calculate_mine: expected a number for an image, found None' in error
    assert 'bug' not in error


def test_a_no_reference_metric_of_ones_own_is_for_both_kinds(basicsr, mixed, monkeypatch):
    """It need not know of a ground truth, which BasicSR hands to every metric."""
    monkeypatch.setitem(METRIC_REGISTRY._obj_map, 'calculate_level', lambda img: float(img.mean()))
    status, _, error = basicsr(merge(mixed, dict(val=dict(metrics=dict(level=dict(type='calculate_level'))))))
    assert status == 0, error
    assert validations()[:2] == [(2, 'pairs', ['level', 'niqe', 'psnr']), (2, 'photographs', ['level', 'niqe'])]


def test_a_metric_need_not_know_better(basicsr, mixed, monkeypatch):
    def calculate_mine(img, img2, crop_border):
        return float(np.abs(img.astype(float) - img2).mean())

    monkeypatch.setitem(METRIC_REGISTRY._obj_map, 'calculate_mine', calculate_mine)
    mine = dict(type='calculate_mine', crop_border=0, better='lower')
    status, _, error = basicsr(merge(mixed, dict(val=dict(metrics=dict(mine=mine)))))
    assert status == 0, error
    assert validations()[1] == (2, 'photographs', ['niqe'])


# ---------------------------------------------------------------- what has no effect
SILENT = {
    'datasets.val without val': (dict(val=None), 'datasets.val is given, but there is no section val'),
    'val without datasets.val': (dict(datasets=dict(val=None)), 'val is given, but there is no datasets.val'),
    'val_freq beyond the end': (
        dict(val=dict(val_freq=5000)),
        'val.val_freq: 5000, but train.total_iter is 2: there is one validation only, at the end.',
    ),
    'print_freq beyond the end': (dict(logger=dict(print_freq=3)), 'logger.print_freq: 3, but train.total_iter is 2'),
    'nothing comes of a set': (
        dict(val=dict(metrics=None)),
        'datasets.val has no metric and val.save_img is false',
    ),
    'suffix in training': (dict(val=dict(suffix='x')), "val.suffix: 'x' has an effect in `basicsr test` only."),
    'overlap of no tiles': (dict(val=dict(tile_overlap=8)), 'val.tile_overlap: 8 has an effect with val.tile only.'),
    'metric of no set': (
        dict(datasets=dict(val=dict(metrics=[])), val=dict(save_img=True)),
        'val.metrics.psnr: no set is measured with it',
    ),
    'batch of a validation set': (
        dict(datasets=dict(val=dict(batch_size_per_gpu=4))),
        'datasets.val.batch_size_per_gpu: 4 has no effect: images are validated one by one.',
    ),
}


SLOW = {
    'half precision on a CPU': (dict(precision='fp16'), "train.precision: 'fp16' on a CPU is many times slower"),
    'more threads than cores': (dict(threads=4096), 'train.threads: 4096, but '),
}


@pytest.mark.parametrize('case', SLOW)
def test_options_for_speed_that_take_time_are_said(basicsr, case):
    train, words = SLOW[case]
    status, out, error = basicsr(run_options(num_gpu=0, train=train), '--check')
    assert status == 0, error
    assert f'WARNING:        {words}' in out


def test_the_plan_tells_the_threads(basicsr):
    out = basicsr(run_options(num_gpu=0, train=dict(threads='auto', precision='auto')), '--check')[1]
    assert 'threads:        auto (one or all, measured when the run starts)' in out
    assert 'WARNING' not in out


@pytest.mark.parametrize('case', SILENT)
@pytest.mark.parametrize('model', ['PDDModel', 'SRModel'])
def test_options_without_effect_are_said(basicsr, case, model):
    changes, words = SILENT[case]
    opt = (run_options if model == 'PDDModel' else run_options_of_sr_model)(**changes)
    status, out, error = basicsr(opt, '--check')
    assert status == 0, error
    assert f'WARNING:        {words}' in out
    if model == 'PDDModel':
        status, _, error = basicsr(opt)
        assert status == 0, error
        assert f'basicsr: warning: {words}' in error


def test_options_without_effect_in_a_test(basicsr):
    opt = run_options(val=dict(suffix='x', metrics=None), train=None, logger=None)
    opt['datasets'] = dict(test_1=opt['datasets']['val'])
    status, out, error = basicsr(opt, '--check', command='test')
    assert status == 0, error
    assert "val.suffix: 'x' has an effect with val.save_img: true only." in out
    assert 'datasets.test_1 has no metric and val.save_img is false' in out
    opt['datasets'] = {}
    assert 'datasets is empty: nothing is tested' in basicsr(opt, '--check', command='test')[1]


@pytest.mark.parametrize('file', sorted(OPTIONS.rglob('*.yml')), ids=lambda path: path.stem)
def test_option_files_of_the_package_are_not_warned(file):
    assert plan_warnings(RunOptions.of(load_options(file))) == []


def test_a_sound_run_is_not_warned(basicsr, mixed):
    assert 'WARNING' not in basicsr(mixed, '--check')[1]
    assert 'warning' not in basicsr(mixed)[2]
