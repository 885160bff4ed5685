"""Batches that hold more, or fewer, images of the target domain than synthetic ones."""

from pathlib import Path

import pytest
import torch
import yaml
from helpers import NO_D, SMALL_LAYERS, batch, build, merge, release_logger, run_options
from torch.utils.data import DataLoader

from pdd_arch import UnpairedAdaptationDataset
from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run
from pdd_arch.data.positioned_index import positioned
from pdd_arch.errors import DataError, OptionError
from pdd_arch.options.run_options import RunOptions
from pdd_arch.preflight.run import check_plan

OUTPUTS = dict(type='OutputDistillationLoss', inter_layers=None, intra_layers=None)
PAIRWISE = dict(type='PairwiseDistanceLoss', on='target', inter_layers=SMALL_LAYERS, intra_layers=SMALL_LAYERS)


def sizes(own, target):
    return dict(datasets=dict(train=dict(batch_size_per_gpu=own, batch_size_target_per_gpu=target)))


def section(own, target, workers=0):
    opt = RunOptions.of(merge(run_options(), sizes(own, target))).for_basicsr()['datasets']['train']
    return opt | dict(num_worker_per_gpu=workers)


class Places(torch.utils.data.Sampler):
    """Indices of one of two processes, from the place on at which a run is resumed."""

    def __init__(self, start=0):
        self.start = start

    def __iter__(self):
        return positioned([0, 1, 2] * 4, epoch=1, rank=1, world_size=2, start=self.start)

    def __len__(self):
        return 12


def batches(own, target, start=0, workers=0):
    dataset = UnpairedAdaptationDataset(section(own, target))
    loader = DataLoader(dataset, own, sampler=Places(start), num_workers=workers, collate_fn=dataset.collate)
    return list(loader)


@pytest.mark.parametrize(('own', 'target'), [(2, 5), (2, 4), (4, 1), (3, 2), (1, 3), (2, 2), (4, 6)])
@pytest.mark.parametrize('start', [0, 1, 5])
def test_every_batch_has_what_is_asked(workplace, own, target, start):
    for found in batches(own, target, start):
        assert found['lq'].shape == (own, 3, 8, 8)
        assert found['lq_real'].shape == (target, 3, 8, 8)
        assert len(found['lq_real_path']) == target
        assert len(found['gt_path']) == own


def test_synthetic_pairs_do_not_depend_on_it(workplace):
    plain, more = batches(2, None), batches(2, 5, workers=2)
    for a, b in zip(plain, more, strict=True):
        assert torch.equal(a['lq'], b['lq'])
        assert torch.equal(a['gt'], b['gt'])
        assert torch.equal(a['lq_real'][0], b['lq_real'][0])
        assert a['gt_path'] == b['gt_path']


@pytest.mark.parametrize(('own', 'target'), [(2, 6), (4, 2)])
@pytest.mark.parametrize('accumulate', [1, 2])
@pytest.mark.parametrize(
    'distill',
    [
        OUTPUTS,
        dict(intra_pairing='batch_matrix', inter_weight=0),
        dict(intra_pairing='batch_matrix', inter_weight=0, batch_matrix_domains='both'),
    ],
)
def test_losses_that_allow_it(workplace, own, target, accumulate, distill):
    changes = dict(train=dict(distill_opt=distill, accumulate=accumulate))
    check_plan(RunOptions.of(merge(merge(run_options(), sizes(own, target)), changes)))
    model = build(**changes)
    model.feed_data(batch(n=own) | {'lq_real': batch(seed=1, n=target)['lq_real']})
    for i in (1, 2):
        model.update_learning_rate(i)
        model.optimize_parameters(i)
    assert {'l_distill', 'l_intra'} & model.get_current_log().keys()


def test_mean_over_the_images_of_the_target_domain():
    data = batch(n=2) | {'lq_real': batch(seed=1, n=6)['lq_real']}
    model = build(**merge(NO_D, dict(train=dict(distill_opt=OUTPUTS))))
    for i in (1, 2):
        with torch.no_grad():
            student, teacher = model.net_g(data['lq_real']), model.net_teacher(data['lq_real'])
        model.feed_data(data)
        model.optimize_parameters(i)
    assert model.get_current_log()['l_distill'] == pytest.approx((student - teacher).abs().mean().item(), rel=1e-5)


@pytest.mark.parametrize(
    ('train', 'target', 'words'),
    [
        (
            {},
            4,
            r'batch_size_target_per_gpu: 4, but train.distill_opt \(PairwiseDistanceLoss\) compares the domains image',
        ),
        (
            dict(distill_opt=OUTPUTS, extra_losses=[PAIRWISE]),
            4,
            r'train.extra_losses\[0\] \(PairwiseDistanceLoss\) compares the domains image by image',
        ),
        (dict(distill_opt=OUTPUTS, accumulate=2), 3, r'2 does not divide the 3 images .*batch_size_target_per_gpu: 3'),
        (
            dict(distill_opt=dict(intra_pairing='batch_matrix', inter_weight=0)),
            1,
            'batch_size_target_per_gpu: 1, but train.distill_opt compares the images of a batch',
        ),
        (dict(distill_opt=OUTPUTS), 0, 'batch_size_target_per_gpu: expected a whole number .*, found 0'),
        (dict(distill_opt=OUTPUTS), '4', "batch_size_target_per_gpu: expected .*, found '4'"),
    ],
)
def test_what_does_not_allow_it_is_said(workplace, train, target, words):
    opt = merge(merge(run_options(), sizes(2, target)), dict(train=train))
    with pytest.raises(OptionError, match=words):
        check_plan(RunOptions.of(opt))


def test_loss_that_compares_by_position_is_told_at_the_step():
    model = build()
    model.feed_data(batch(n=2) | {'lq_real': batch(seed=1, n=3)['lq_real']})
    model.optimize_parameters(1)
    with pytest.raises(DataError, match='a batch has 2 synthetic and 3 target-domain images'):
        model.optimize_parameters(2)


def test_run(workplace, capfd):
    opt = merge(merge(run_options(), sizes(2, 3)), dict(train=dict(distill_opt=OUTPUTS)))
    Path('run.yml').write_text(yaml.safe_dump(opt))
    release_logger()
    assert run('basicsr', main, ['train', '-opt', 'run.yml', '--check']) == 0
    assert 'batch 2 and 3 of the target domain' in capfd.readouterr().out
    assert run('basicsr', main, ['train', '-opt', 'run.yml']) == 0
    assert 'l_distill' in capfd.readouterr().err
