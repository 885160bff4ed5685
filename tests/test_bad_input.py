"""Every wrong input ends in one clear line that names the file or key and the way out, before anything starts."""

import os
from unittest.mock import Mock

import pytest
import torch
import yaml
from bad_input_report import note
from helpers import SMALL_LAYERS, TINY_G, merge, options, run_options, write_images

from pdd_arch.commands.basicsr_cli import main
from pdd_arch.commands.errors import run


@pytest.fixture
def basicsr(workplace, capfd):
    """Function of options (or an option file's text): runs ``basicsr train`` and returns status and error text."""

    def call(opt, *flags, command='train'):
        text = opt if isinstance(opt, str) else yaml.safe_dump(opt, sort_keys=False)
        (workplace / 'run.yml').write_text(text)
        status = run('basicsr', main, [command, '-opt', 'run.yml', *flags])
        return status, capfd.readouterr().err

    return call


def assert_refused(outcome, *words, started=False):
    """Non-zero, one line that holds all the words, and (unless it cannot be known) nothing created."""
    status, error = outcome
    line = error.strip().splitlines()[-1]
    assert status == 1
    assert line.startswith('basicsr: error: ')
    note(line)
    assert 'Traceback' not in error
    for word in words:
        assert word in line
    assert os.path.exists('experiments') == started


def test_the_options_of_these_tests_run(basicsr, workplace):
    status, _ = basicsr(run_options())
    assert status == 0
    assert (workplace / 'experiments/tiny/models/net_g_latest.pth').is_file()


# ---------------------------------------------------------------- data
def test_missing_data_folder(basicsr):
    opt = run_options(datasets=dict(train=dict(dataroot_lq='nowhere')))
    assert_refused(basicsr(opt), 'datasets.train.dataroot_lq', 'nowhere')


def test_missing_hr_folder(basicsr):
    opt = run_options(datasets=dict(train=dict(dataroot_gt='nowhere')))
    assert_refused(basicsr(opt), 'datasets.train.dataroot_gt', 'nowhere')


def test_empty_folder(basicsr, workplace):
    (workplace / 'empty').mkdir()
    opt = run_options(datasets=dict(train=dict(dataroot_lq='empty')))
    assert_refused(basicsr(opt), 'datasets.train.dataroot_lq', 'empty')


def test_no_image_in_folder(basicsr, workplace):
    (workplace / 'texts').mkdir()
    (workplace / 'texts' / 'Thumbs.db').write_bytes(b'x')
    opt = run_options(datasets=dict(train=dict(dataroot_gt='texts')))
    assert_refused(basicsr(opt), 'datasets.train.dataroot_gt', 'texts')


def test_truncated_image(basicsr, workplace):
    file = workplace / 'real' / '001.png'
    file.write_bytes(file.read_bytes()[:300])
    assert_refused(basicsr(run_options()), 'real/001.png', 'truncated')


def test_image_smaller_than_the_crop(basicsr):
    opt = run_options(datasets=dict(train=dict(gt_size=128)))
    assert_refused(basicsr(opt), 'datasets.train.gt_size', '.png', '128')


def test_crop_not_a_multiple_of_the_scale(basicsr):
    assert_refused(basicsr(run_options(datasets=dict(train=dict(gt_size=30)))), 'gt_size', '30', '4')


def test_wrong_scale_in_validation(basicsr, workplace):
    write_images(workplace / 'val_lr', 1, 24, 28)
    assert_refused(basicsr(run_options()), 'datasets.val', 'val_lr/000.png', 'val_hr/000.png', '24', '48', 'scale')


def test_unknown_resize(basicsr):
    opt = run_options(datasets=dict(train=dict(lr_synthesis=dict(resize=['bicubc']))))
    assert_refused(basicsr(opt), 'lr_synthesis.resize', "Did you mean 'bicubic'")


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('prefetch', [None, 'cpu'])
def test_file_unreadable_in_the_middle_of_a_run(basicsr, workplace, monkeypatch, workers, prefetch):
    from pdd_arch.models import PDDModel

    plain = PDDModel.optimize_parameters

    def damage(self, current_iter):
        for file in (workplace / 'real').iterdir():
            file.write_bytes(b'no longer an image')
        plain(self, current_iter)

    monkeypatch.setattr(PDDModel, 'optimize_parameters', damage)
    train = dict(num_worker_per_gpu=workers, prefetch_mode=prefetch)
    opt = run_options(datasets=dict(train=train), train=dict(total_iter=40))
    assert_refused(basicsr(opt), '.png', 'real', started=True)


def test_validation_file_unreadable_in_the_middle_of_a_run(basicsr, workplace, monkeypatch):
    from pdd_arch.models import PDDModel

    plain = PDDModel.optimize_parameters

    def damage(self, current_iter):
        (workplace / 'val_lr' / '000.png').write_bytes(b'no longer an image')
        plain(self, current_iter)

    monkeypatch.setattr(PDDModel, 'optimize_parameters', damage)
    assert_refused(basicsr(run_options()), 'val_lr/000.png', started=True)


# ---------------------------------------------------------------- weights
@pytest.mark.parametrize('key', ['pretrain_network_g', 'pretrain_network_teacher', 'pretrain_network_d'])
def test_missing_weights(basicsr, key):
    opt = run_options(path={key: 'weights/none.pth'})
    if key.endswith('teacher'):
        opt = merge(opt, dict(network_teacher=TINY_G, train=dict(teacher='static')))
    if key.endswith('_d'):
        full = options()
        opt['network_d'] = full['network_d']
        opt['train'] |= {k: full['train'][k] for k in ('gan_opt', 'optim_d')}
    assert_refused(basicsr(opt), f'path.{key}', 'weights/none.pth', 'does not exist')


def test_missing_checkpoint_of_a_spandrel_net(basicsr):
    opt = run_options(network_g=None)
    opt['network_g'] = dict(type='SpandrelNet', path='none.pth')
    assert_refused(basicsr(opt), 'network_g.path', 'none.pth', 'does not exist')


def test_missing_feature_weights(basicsr):
    opt = run_options(train=dict(feature_net=dict(weights='none.pth')))
    assert_refused(basicsr(opt), 'train.feature_net.weights', 'none.pth', 'does not exist')


def test_weights_of_another_architecture(basicsr, workplace):
    from basicsr.archs import build_network

    torch.save({'params': build_network(TINY_G | {'num_feat': 4}).state_dict()}, workplace / 'other.pth')
    outcome = basicsr(run_options(path=dict(pretrain_network_g='other.pth')))
    assert_refused(outcome, 'path.pretrain_network_g', 'other.pth', 'RRDBNet', 'have another shape')


def test_weights_under_another_key(basicsr, workplace):
    from basicsr.archs import build_network

    torch.save({'params_ema': build_network(TINY_G).state_dict()}, workplace / 'ema.pth')
    outcome = basicsr(run_options(path=dict(pretrain_network_g='ema.pth')))
    assert_refused(outcome, 'path.pretrain_network_g', 'ema.pth', 'path.param_key_g: params_ema')


def test_damaged_weights(basicsr, workplace):
    (workplace / 'bad.pth').write_bytes(b'PK\x03\x04 not really')
    outcome = basicsr(run_options(path=dict(pretrain_network_g='bad.pth')))
    assert_refused(outcome, 'path.pretrain_network_g', 'bad.pth')


def test_feature_weights_of_another_network(basicsr, workplace):
    torch.save({'features.0.weight': torch.zeros(64, 3, 11, 11)}, workplace / 'alex.pth')
    opt = run_options(train=dict(feature_net=dict(type='vgg19', weights='alex.pth')))
    opt['train']['distill_opt'] = dict(type='PairwiseDistanceLoss')
    del opt['train']['perceptual_opt']
    assert_refused(basicsr(opt), 'feature_net.weights', 'alex.pth', 'vgg19')


# ---------------------------------------------------------------- options
CONV1 = {'conv1_2': 1.0, 'conv5_4': 1.0, **dict.fromkeys(SMALL_LAYERS)}
COSINE = dict(type='CosineAnnealingRestartLR', milestones=None, gamma=None)
FEATURE_DISTANCE = dict(
    type='calculate_feature_distance', crop_border=4, feature_net=dict(type='alexnet', weights='none.pth')
)
_full = options()
WITH_D = dict(network_d=_full['network_d'], train={k: _full['train'][k] for k in ('gan_opt', 'optim_d')})
PAIRS = dict(type='PairedImageDataset', dataroot_gt='val_hr', dataroot_lq='val_lr', io_backend=dict(type='disk'))

OPTION_CASES = {
    'unknown layer': (
        dict(train=dict(distill_opt=dict(inter_layers={'conv2_9': 1.0}))),
        ['train.distill_opt', "unknown layer 'conv2_9'", 'squeezenet1_1', 'features.0'],
    ),
    'unknown layer of the perceptual loss': (
        dict(train=dict(perceptual_opt=dict(layer_weights={'features.99': 1.0}))),
        ['train.perceptual_opt.layer_weights', "unknown layer 'features.99'"],
    ),
    'unknown inter distance': (
        dict(train=dict(distill_opt=dict(inter_distance='gram_chang'))),
        ['train.distill_opt.inter_distance', "'gram_chang'", "Did you mean 'gram_change'?"],
    ),
    'unknown intra criterion': (
        dict(train=dict(distill_opt=dict(intra_criterion='kl'))),
        ['train.distill_opt.intra_criterion', "'kl'", "'ce'"],
    ),
    'scalar distance with cross-entropy': (
        dict(train=dict(distill_opt=dict(intra_distance='fro'))),
        ['train.distill_opt.intra_criterion', 'softmax over channels', 'intra_distance: l1'],
    ),
    'unknown keyword of the loss': (
        dict(train=dict(distill_opt=dict(inter_wieght=1.0))),
        ['train.distill_opt', 'inter_wieght'],
    ),
    'unknown distillation loss': (
        dict(train=dict(distill_opt=dict(type='PairwiseDistanceLos'))),
        ['train.distill_opt.type', "Did you mean 'PairwiseDistanceLoss'?"],
    ),
    'batch matrix with one image': (
        dict(
            datasets=dict(train=dict(batch_size_per_gpu=1)), train=dict(distill_opt=dict(intra_pairing='batch_matrix'))
        ),
        ['datasets.train.batch_size_per_gpu', 'batch_matrix', 'at least 2', 'cross_domain'],
    ),
    'static without teacher': (
        dict(train=dict(teacher='static')),
        ['network_teacher: missing', 'train.teacher is static', 'train.teacher: ema'],
    ),
    'teacher network with ema': (dict(network_teacher=TINY_G), ['network_teacher: given', 'train.teacher: static']),
    'unknown teacher': (dict(train=dict(teacher='emma')), ['train.teacher', "'emma'", "Did you mean 'ema'?"]),
    'ema without warm-up': (
        dict(train=dict(distill_warmup_iters=0)),
        ['train.distill_warmup_iters', 'at least 1', 'the paper uses 5'],
    ),
    'ema without average': (dict(train=dict(ema_decay=0)), ['train.ema_decay', 'train.teacher is ema', '0.999']),
    'decay of one': (dict(train=dict(ema_decay=1.0)), ['train.ema_decay', '[0, 1)']),
    'gan loss without discriminator': (
        dict(train=dict(gan_opt=dict(type='GANLoss', gan_type='vanilla'))),
        ['train.gan_opt', 'no network_d', 'remove train.gan_opt'],
    ),
    'optimizer without discriminator': (
        dict(train=dict(optim_d=dict(type='Adam', lr=1e-4))),
        ['train.optim_d', 'no network_d'],
    ),
    'discriminator without gan loss': (
        dict(network_d=options()['network_d'], train=dict(optim_d=dict(type='Adam', lr=1e-4))),
        ['train.gan_opt: missing', 'network_d'],
    ),
    'no loss at all': (
        dict(train=dict(distill_opt=None, pixel_opt=None, perceptual_opt=None)),
        ['train', 'no loss to train with'],
    ),
    'unknown precision': (dict(train=dict(precision='fp8')), ['train.precision', "'fp8'", "'bf16'"]),
    'unknown network': (dict(network_g=dict(type='RRDBNett')), ['network_g.type', "Did you mean 'RRDBNet'?"]),
    'unknown option of a network': (dict(network_g=dict(num_blocks=3)), ['network_g', 'num_blocks']),
    'unknown feature network': (dict(train=dict(feature_net=dict(type='vgg91'))), ['feature_net.type', "'vgg19'"]),
    'unknown key of the feature network': (
        dict(train=dict(feature_net=dict(wieghts='random'))),
        ['train.feature_net.wieghts', "Did you mean 'weights'?"],
    ),
    'two feature networks': (
        dict(train=dict(distill_opt=dict(feature_net=dict(type='vgg16')))),
        ['train.distill_opt.feature_net', 'share one feature network'],
    ),
    'mistyped key of the train section': (
        dict(train=dict(ema_decy=0.9)),
        ['train.ema_decy: unknown key', "Did you mean 'ema_decay'?"],
    ),
    'scale of the features': (
        dict(train=dict(feature_net=dict(feature_scale=0))),
        ['feature_scale', 'positive number'],
    ),
    'mistyped path': (dict(path=dict(pretrain_netwrok_g='x.pth')), ['path.pretrain_netwrok_g', "'pretrain_network_g'"]),
    'mistyped section': (dict(network_teachr=TINY_G), ['network_teachr', "Did you mean 'network_teacher'?"]),
    'mistyped key of the data': (dict(datasets=dict(train=dict(use_hfilp=False))), ['datasets.train.use_hfilp']),
    'two scales': (dict(network_g=dict(scale=2)), ['network_g.scale: 2', 'scale is 4']),
    'no scale': (dict(scale=None), ['scale: missing, expected a whole number']),
    'name with a slash': (dict(name='a/b'), ['name: expected a word without slashes', "'a/b'"]),
    'name of dots': (dict(name='..'), ['name', "'..'"]),
    'empty name': (dict(name=''), ['name: expected a word']),
    'seed that is a word': (dict(manual_seed='abc'), ['manual_seed', "'abc'"]),
    'no frequency': (dict(logger=dict(print_freq=0)), ['logger.print_freq', 'at least 1', 'found 0']),
    'no iterations': (dict(train=dict(total_iter=0)), ['train.total_iter', 'at least 1']),
    'negative learning rate': (dict(train=dict(optim_g=dict(lr=-1))), ['train.optim_g.lr', 'found -1']),
    'no milestones': (dict(train=dict(scheduler=dict(milestones=None))), ['train.scheduler.milestones']),
    'unknown scheduler': (dict(train=dict(scheduler=dict(type='StepLR'))), ['train.scheduler.type', 'StepLR']),
    'unknown metric': (
        dict(val=dict(metrics=dict(psnr=dict(type='calculate_pnsr')))),
        ['val.metrics.psnr.type', "Did you mean 'calculate_psnr'?"],
    ),
    'metric without its option': (
        dict(val=dict(metrics=dict(psnr=dict(crop_border=None)))),
        ['val.metrics.psnr', 'crop_border'],
    ),
    'metric without ground truth': (
        dict(datasets=dict(val=dict(type='SingleImageDataset', dataroot_gt=None))),
        ['val.metrics.psnr', 'compares with a ground truth', 'datasets.val'],
    ),
    'word for a switch': (dict(val=dict(color_correction='no')), ['val.color_correction', "'no'"]),
    'word for a switch of the features': (
        dict(train=dict(feature_net=dict(use_input_norm='no'))),
        ['train.feature_net.use_input_norm', "'no'"],
    ),
    'unknown dataset': (dict(datasets=dict(val=dict(type='PairedImageDatset'))), ['datasets.val.type', 'Did you mean']),
    'unknown phase': (dict(datasets=dict(valid=PAIRS)), ['datasets.valid: unknown phase', "Did you mean 'val'?"]),
    'unknown prefetch mode': (dict(datasets=dict(train=dict(prefetch_mode='gpu'))), ['datasets.train.prefetch_mode']),
    'workers that are a word': (
        dict(datasets=dict(train=dict(num_worker_per_gpu='two'))),
        ['datasets.train.num_worker_per_gpu', "'two'"],
    ),
    'section that is a number': (dict(val=3), ['val: expected a section, found 3']),
    'network that is a word': (dict(network_g='RRDBNet'), ['network_g: expected a section']),
    'path that is a number': (
        dict(datasets=dict(train=dict(dataroot_gt=5))),
        ['datasets.train.dataroot_gt', 'found 5'],
    ),
    'negative weight': (dict(train=dict(distill_opt=dict(inter_weight=-1))), ['train.distill_opt.inter_weight', '-1']),
    'no optimizer': (dict(train=dict(optim_g=None)), ['train.optim_g: missing']),
    'no train section': (dict(train=None), ['train', 'expected a section']),
    'no name': (dict(name=None), ['name: missing, expected a word']),
    'weights without a network': (
        dict(path=dict(pretrain_network_teacher='x.pth')),
        ['path.pretrain_network_teacher', 'no network_teacher'],
    ),
    # -------------------------------------------------- values of the wrong type or size
    'mistyped key that is unlike any other': (dict(train=dict(speed=3)), ['train.speed: unknown key', 'ema_decay']),
    'key that is a number': (dict(train={7: 1}), ['train.7: expected words as keys']),
    'layer that is a number': (
        dict(train=dict(distill_opt=dict(inter_layers={5: 1.0}))),
        ['train.distill_opt.inter_layers.5: expected words as keys'],
    ),
    'switch for a count': (dict(train=dict(total_iter=True)), ['train.total_iter', 'whole number', 'found True']),
    'count for a switch': (dict(train=dict(recompute=1)), ['train.recompute: expected true or false, found 1']),
    'word for the curves': (dict(logger=dict(use_tb_logger='no')), ['logger.use_tb_logger', "found 'no'"]),
    'not a number': (dict(train=dict(ema_decay=float('nan'))), ['train.ema_decay', '[0, 1)', 'found nan']),
    'infinite weight': (
        dict(train=dict(distill_opt=dict(intra_weight=float('inf')))),
        ['train.distill_opt.intra_weight', 'found inf'],
    ),
    'huge number of iterations': (dict(train=dict(total_iter=10**12)), ['train.total_iter', 'at most']),
    'fraction for a count': (dict(datasets=dict(train=dict(gt_size=32.5))), ['datasets.train.gt_size', '32.5']),
    'several mistakes': (
        dict(train=dict(teacher='emma', compile=3), logger=dict(print_freq=0)),
        ["train.teacher: expected 'ema' or 'static'", 'Also wrong: train.compile, logger.print_freq'],
    ),
    'unknown model': (dict(model_type='PDDModl'), ['model_type', "Did you mean 'PDDModel'?"]),
    # -------------------------------------------------- losses
    'word for the weight of the pixel loss': (
        dict(train=dict(pixel_opt=dict(loss_weight='much'))),
        ['train.pixel_opt.loss_weight: expected a number', "'much'"],
    ),
    'word for the weight of the perceptual loss': (
        dict(train=dict(perceptual_opt=dict(perceptual_weight='much'))),
        ['train.perceptual_opt.perceptual_weight: expected a number', "'much'"],
    ),
    'word for the weight of the adversarial loss': (
        dict(merge(WITH_D, dict(train=dict(gan_opt=dict(loss_weight='much'))))),
        ['train.gan_opt.loss_weight: expected a number', "'much'"],
    ),
    'unknown adversarial loss': (
        dict(merge(WITH_D, dict(train=dict(gan_opt=dict(gan_type='vanila'))))),
        ['train.gan_opt', 'vanila'],
    ),
    'perceptual loss of the pixels': (
        dict(train=dict(pixel_opt=dict(type='PerceptualLoss', weights=None, loss_weight=None))),
        ['train.pixel_opt.type', 'train.perceptual_opt'],
    ),
    'unknown keyword of the pixel loss': (
        dict(train=dict(pixel_opt=dict(loss_wieght=1))),
        ['train.pixel_opt.loss_wieght', "Did you mean 'loss_weight'?"],
    ),
    'crop too small for the features': (
        dict(
            datasets=dict(train=dict(gt_size=8)),
            train=dict(
                feature_net=dict(type='vgg19'),
                distill_opt=dict(inter_layers={'conv5_1': 1.0}, intra_layers=None),
                perceptual_opt=dict(layer_weights=CONV1),
            ),
        ),
        ['datasets.train.gt_size: 8', 'conv5_4', 'at least 16'],
    ),
    # -------------------------------------------------- steps, schedules, optimizers
    'parts that do not divide the batch': (
        dict(train=dict(accumulate=3)),
        ['train.accumulate: 3', 'batch_size_per_gpu: 2'],
    ),
    'parts with a loss that compares images': (
        dict(train=dict(accumulate=2, batch_loss='local', distill_opt=dict(intra_pairing='batch_matrix'))),
        ['batch_size_per_gpu', 'at least 2'],
    ),
    'clipping without discriminator': (dict(train=dict(grad_clip_d=1.0)), ['train.grad_clip_d', 'no network_d']),
    'clipping at zero': (dict(train=dict(grad_clip=0)), ['train.grad_clip: expected a positive number']),
    'no patience': (dict(train=dict(max_nonfinite=0)), ['train.max_nonfinite', 'at least 1']),
    'unknown scope of the losses': (dict(train=dict(batch_loss='all')), ['train.batch_loss', "'global'"]),
    'periods shorter than the run': (
        dict(train=dict(scheduler=COSINE | dict(periods=[1]))),
        ['train.scheduler.periods', 'together 1', 'total_iter is 2'],
    ),
    'weights of other periods': (
        dict(train=dict(scheduler=COSINE | dict(periods=[4, 4]))),
        ['train.scheduler.restart_weights', 'as many as periods (2), found 1'],
    ),
    'key of another schedule': (
        dict(train=dict(scheduler=COSINE | dict(periods=[4], gamma=0.5))),
        ['train.scheduler', 'gamma: unknown key'],
    ),
    'unknown optimizer': (dict(train=dict(optim_g=dict(type='Adma'))), ['train.optim_g.type', "'Adma'", 'torch.optim']),
    'unknown keyword of the optimizer': (dict(train=dict(optim_g=dict(momentm=1))), ['train.optim_g.momentm']),
    'optimizer that needs a closure': (
        dict(train=dict(optim_g=dict(type='LBFGS', betas=None))),
        ['train.optim_g.type', 'LBFGS'],
    ),
    'three decays': (dict(train=dict(optim_g=dict(betas=[0.9, 0.9, 0.9]))), ['train.optim_g.betas', 'two numbers']),
    # -------------------------------------------------- data, validation, log
    'batch larger than an epoch': (
        dict(datasets=dict(train=dict(batch_size_per_gpu=8, dataset_enlarge_ratio=1))),
        ['datasets.train.dataset_enlarge_ratio', 'samples', '3 or more'],
    ),
    'two datasets of one name': (
        dict(datasets=dict(val_2=PAIRS | dict(name='pairs'))),
        ['datasets.val_2.name', "'pairs'", 'datasets.val'],
    ),
    'no frequency of validation': (dict(val=dict(val_freq=None)), ['val.val_freq: missing']),
    'border that is a word': (
        dict(val=dict(metrics=dict(psnr=dict(crop_border='four')))),
        ['val.metrics.psnr.crop_border', "'four'"],
    ),
    'metric without its weights': (
        dict(val=dict(metrics=dict(fd=FEATURE_DISTANCE))),
        ['val.metrics.fd.feature_net.weights', 'none.pth', 'does not exist'],
    ),
    'metric with an unknown feature network': (
        dict(val=dict(metrics=dict(fd=FEATURE_DISTANCE | dict(feature_net=dict(type='vgg91'))))),
        ['val.metrics.fd.feature_net.type', "'vgg19'"],
    ),
    'unknown network of LPIPS': (
        dict(val=dict(metrics=dict(lp=dict(type='calculate_lpips', crop_border=4, net='alexnet')))),
        ['val.metrics.lp.net', "'alex'"],
    ),
    'best in a metric that is not there': (
        dict(logger=dict(keep_best='ssim')),
        ['logger.keep_best', "no metric 'ssim'", "'psnr'"],
    ),
    'best on a dataset that is not there': (
        dict(logger=dict(keep_best='pars/psnr')),
        ['logger.keep_best', "Did you mean 'pairs'?"],
    ),
    'best without validation': (
        dict(val=None, logger=dict(keep_best='psnr')),
        ['logger.keep_best', 'nothing is validated'],
    ),
    'no checkpoint kept': (dict(logger=dict(keep_checkpoints=0)), ['logger.keep_checkpoints', 'at least 1']),
    'project without curves': (
        dict(logger=dict(wandb=dict(project='x'))),
        ['logger.wandb.project', 'use_tb_logger'],
    ),
    'unknown backend': (dict(dist_params=dict(backend='ncl')), ['dist_params.backend', "Did you mean 'nccl'?"]),
    'text for a number': (
        dict(network_g=dict(num_feat='many')),
        ["network_g.num_feat: expected a number, found 'many'"],
    ),
    'network that cannot be built': (dict(network_g=dict(num_feat=-1)), ['network_g: RRDBNet cannot be built']),
    'unknown file of the package': (
        dict(path=dict(pretrain_network_g='bundled:demo.pth')),
        ['path.pretrain_network_g', 'bundled:demo.pth', 'not shipped'],
    ),
}


@pytest.mark.parametrize('case', OPTION_CASES)
def test_wrong_options(basicsr, case):
    changes, words = OPTION_CASES[case]
    assert_refused(basicsr(run_options(**changes)), *words)


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has CUDA')
def test_cuda_where_there_is_none(basicsr):
    assert_refused(basicsr(run_options(num_gpu=1)), 'num_gpu: 1', 'this machine has 0', 'num_gpu: 0')


def test_missing_option_file(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status = run('basicsr', main, ['train', '-opt', 'none.yml'])
    assert_refused((status, capfd.readouterr().err), 'none.yml', 'does not exist')


#: a few lines that stand for a billion values
LAUGHS = 'a0: &a0 [x, x]\n' + ''.join(f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]\n' for i in range(1, 10))


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('a: [1', ['run.yml', 'line 1', 'not a valid option file']),
        ('- 1\n- 2\n', ['run.yml', 'expected a mapping', 'list']),
        ('name: a\nname: b\n', ['run.yml', 'line 2', "key 'name' appears twice"]),
        ('name: !!python/object/apply:os.system ["touch ran"]\n', ['run.yml', 'line 1', 'python/object/apply']),
        ('a: ' + '[' * 200, ['run.yml', 'line 1', 'levels deep']),
        (LAUGHS, ['run.yml', 'aliases that stand for more than']),
        ('a: &a [*a]\n', ['run.yml', 'line 1', 'an alias inside']),
        ('name: ' + '9' * 500 + '\n', ['run.yml', 'line 1', 'a number of 500 characters']),
        ('name: !!int x\n', ['run.yml', 'does not fit its tag']),
        ('name: 2024-99-99\n', ['run.yml', 'does not fit its tag']),
        ('a: 1\n---\nb: 2\n', ['run.yml', 'another document']),
        ('name: a\0b', ['run.yml', 'zero bytes']),
        ('#' * 1_000_001, ['run.yml', 'larger than 1000000 bytes']),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else '',
)
def test_text_that_is_not_an_option_file(basicsr, workplace, text, words):
    assert_refused(basicsr(text), *words)
    assert not (workplace / 'ran').exists()


@pytest.mark.parametrize(
    ('entry', 'words'),
    [
        ('train:ema_decya=0.9', ['train:ema_decya', "Did you mean 'ema_decay'?"]),
        ('trian:ema_decay=0.9', ['no section trian', "Did you mean 'train'?"]),
        ('train:ema_decay', ['section:key=value']),
        ('new_key=1', ['no key new_key']),
        ('train:speed=1', ['no key train:speed']),
        ('datasets:trian:gt_size=64', ['no section datasets:trian', "Did you mean 'train'?"]),
        ('train:feature_net:wieghts=random', ['no key train:feature_net:wieghts', "Did you mean 'weights'?"]),
        ('train:pixel_opt:loss_wieght=1', ['train.pixel_opt.loss_wieght', "Did you mean 'loss_weight'?"]),
        ('train:scheduler:milestones:0=5', ['no section train:scheduler:milestones']),
        ('name=[1', ["'[1' is not a plain YAML value"]),
        (
            'train:ema_decay=__import__("os").system("touch ran")',
            ['train.ema_decay', 'expected a number', '__import__'],
        ),
    ],
)
def test_wrong_overrides(basicsr, workplace, entry, words):
    assert_refused(basicsr(run_options(), '--force_yml', entry), *words)
    assert not (workplace / 'ran').exists()


@pytest.mark.parametrize('encoding', ['utf-16', 'latin-1'])
def test_option_file_in_another_encoding(workplace, capfd, encoding):
    (workplace / 'run.yml').write_bytes('name: é\n'.encode(encoding))
    status = run('basicsr', main, ['train', '-opt', 'run.yml'])
    assert_refused((status, capfd.readouterr().err), 'run.yml', 'UTF-8')


def test_option_file_that_may_not_be_read(basicsr, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr('pdd_arch.options.yaml_file.open', refuse, raising=False)
    assert_refused(basicsr(run_options()), 'run.yml', 'cannot be read', 'Permission denied')


def test_outputs_where_a_file_is(basicsr, workplace):
    (workplace / 'experiments').write_text('x')
    assert_refused(basicsr(run_options()), 'experiments/tiny', 'experiments is a file', started=True)


def test_outputs_that_may_not_be_written(basicsr, monkeypatch):
    monkeypatch.setattr('pdd_arch.preflight.outputs.os.access', lambda *_: False)
    assert_refused(basicsr(run_options()), 'experiments/tiny', 'not writable')


def test_metric_of_a_package_that_is_not_installed(basicsr, monkeypatch):
    from importlib.util import find_spec

    monkeypatch.setattr('importlib.util.find_spec', lambda name: None if name == 'pyiqa' else find_spec(name))
    opt = run_options(val=dict(metrics=dict(iqa=dict(type='calculate_iqa', crop_border=4, metric='niqe'))))
    assert_refused(basicsr(opt), 'val.metrics.iqa', 'pip install pyiqa')


def test_metric_weights_of_another_network(basicsr, workplace):
    torch.save({'features.0.weight': torch.zeros(1)}, workplace / 'none.pth')
    opt = run_options(val=dict(metrics=dict(fd=FEATURE_DISTANCE)))
    assert_refused(basicsr(opt), 'val.metrics.fd', 'none.pth', 'alexnet')


def test_nothing_would_be_distilled(basicsr):
    status, error = basicsr(run_options(train=dict(distill_warmup_iters=2)))
    assert status == 0
    assert 'basicsr: warning: train.total_iter: 2' in error
    assert 'nothing would be distilled' in error


def test_new_keys_that_are_known(basicsr):
    known = ('train:grad_clip=1.0', 'logger:keep_checkpoints=1', 'network_g:num_grow_ch=4', 'manual_seed=3')
    status, error = basicsr(run_options(), '--force_yml', *known)
    assert status == 0, error


def test_folder_for_an_option_file(capfd, workplace):
    status = run('basicsr', main, ['train', '-opt', 'hr'])
    assert_refused((status, capfd.readouterr().err), 'hr is a folder')


def test_training_dataset_in_a_test(basicsr):
    assert_refused(basicsr(run_options(), command='test'), 'datasets.train.type', 'for training only')


def test_launcher_without_torchrun(basicsr):
    assert_refused(basicsr(run_options(), '--launcher', 'pytorch'), 'start with torchrun')


def test_state_that_is_none(basicsr, workplace):
    torch.save({'params': {}}, workplace / 'weights.pth')
    opt = run_options(path=dict(resume_state='weights.pth'))
    assert_refused(basicsr(opt), 'path.resume_state', 'weights.pth', 'not a training state')


def test_bug_is_one_line_and_shows_its_traceback_with_debug(basicsr, monkeypatch):
    monkeypatch.setattr('pdd_arch.basicsr_options.check', Mock(side_effect=ZeroDivisionError('division by zero')))
    assert_refused(basicsr(run_options()), 'unexpected ZeroDivisionError: division by zero', '--debug')
    with pytest.raises(ZeroDivisionError):
        basicsr(run_options(), '--debug')


def test_bug_in_the_middle_of_a_run_leaves_its_traceback_in_the_log(basicsr, workplace, monkeypatch):
    bug = ZeroDivisionError('division by zero')
    monkeypatch.setattr('pdd_arch.models.training_step.TrainingStep.run', Mock(side_effect=bug))
    assert_refused(basicsr(run_options()), 'unexpected ZeroDivisionError', started=True)
    (log,) = (workplace / 'experiments/tiny').glob('*.log')
    assert 'Traceback' in log.read_text()
    assert 'ZeroDivisionError: division by zero' in log.read_text()


def test_layers_of_a_distillation_loss_must_be_numbers(basicsr):
    opt = run_options(train=dict(distill_opt=dict(inter_layers={next(iter(SMALL_LAYERS)): 'much'})))
    assert_refused(basicsr(opt), 'train.distill_opt.inter_layers.features.0', "'much'")
