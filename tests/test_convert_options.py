"""Option files of the released code: every value carried over, or named with the reason why not."""

import pytest
import yaml
from helpers import merge

from pdd_arch.commands.pdd_cli import main
from pdd_arch.errors import OptionError
from pdd_arch.options.convert import convert_options, report_lines
from pdd_arch.options.convert_source import Source
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.yaml_file import load_options, parse_yaml
from pdd_arch.preflight.losses import check_losses
from pdd_arch.preflight.networks import check_networks

RESIZE = dict(
    type='RandomResize',
    params=dict(target_size=[48, 48], resize_opt=['bicubic', 'bilinear', 'area'], resize_prob=['1/3', '1/3', '1/3']),
    keys=['lq'],
)
MATLAB = dict(type='MATLABLikeResize', output_shape=[48, 48], keys=['lq'])
RRDBNET = dict(type='RRDBNet', num_in_ch=3, num_out_ch=3, num_feat=64, num_block=23, num_grow_ch=32)
ADAM = dict(type='Adam', lr=1e-4, weight_decay=0, betas=[0.9, 0.99])
INTER = dict(conv2_1=0.25, conv3_1=0.25, conv4_1=0.25, conv5_1=0.25)
INTRA = dict(conv2_2=0.1, conv3_4=0.3, conv4_4=1, conv5_4=1)


def released(resize=RESIZE, **changes):
    """The keys and values of the released EMA file; the other two differ in the places that the tests change."""

    def flip(direction):
        return dict(type='Flip', keys=['gt'], flip_ratio=0.5, direction=direction)

    loader = dict(use_shuffle=True, num_worker_per_gpu=6, batch_size_per_gpu=8, prefetch_mode=None)
    base = dict(
        name='RealESRGAN_x4_EMA',
        model_type='SRGANRefModel',
        scale=4,
        num_gpu=2,
        manual_seed=0,
        datasets=dict(
            train_s=dict(
                name='DF2K',
                type='BlindPairedImageDataset',
                dataroot_gt='datasets/DF2K',
                dataroot_lq='datasets/DF2K',
                filename_tmpl='{}',
                io_backend=dict(type='disk'),
                gt_size=192,
                pipeline=[
                    dict(type='FixedCrop', keys=['gt'], crop_size=[192, 192]),
                    flip('horizontal'),
                    flip('vertical'),
                    dict(type='RandomTransposeHW', keys=['gt'], transpose_ratio=0.5),
                    dict(type='CopyValues', src_keys=['gt'], dst_keys=['lq']),
                    resize,
                    dict(type='Quantize', keys=['lq']),
                    dict(type='Collect', keys=['lq', 'gt']),
                ],
                dataset_enlarge_ratio=100,
                **loader,
            ),
            train_t=dict(
                name='RealSR-Canon',
                type='SingleImageDataset',
                dataroot_lq='datasets/RealSRV3/Canon/Train/4/LR',
                filename_tmpl='{}',
                io_backend=dict(type='disk'),
                lq_size=48,
                use_hflip=True,
                use_rot=True,
                dataset_enlarge_ratio=1775,
                **loader,
            ),
            val=dict(
                name='RealSR',
                type='PairedImageDataset',
                dataroot_gt='datasets/hr',
                dataroot_lq='datasets/lr',
                io_backend=dict(type='disk'),
            ),
        ),
        network_g=RRDBNET,
        network_g_fix=RRDBNET,
        network_d=dict(type='UNetDiscriminatorWithSpectralNorm', num_in_ch=3, num_feat=64, skip_connection=True),
        path=dict(
            pretrain_network_g='RealESRGAN_x4plus.pth',
            param_key_g='params_ema',
            strict_load_g=True,
            resume_state=None,
            pretrain_network_g_fix='ESRGAN.pth',
            param_key_g_fix='params_ema',
            strict_load_g_fix=True,
            ignore_resume_networks='network_g_fix',
        ),
        train=dict(
            use_net_g_ema=True,
            ema_decay=0.999,
            optim_g=ADAM,
            optim_d=ADAM,
            scheduler=dict(type='MultiStepLR', milestones=[25000, 100000, 200000, 300000], gamma=0.5),
            total_iter=100000,
            warmup_iter=-1,
            fix_backbone=False,
            pixel_opt=dict(type='WeightedWvtLoss', loss_weight=0.5, reduction='mean', weights=[1, 0.1, 0.01]),
            domain_opt=dict(
                type='DistillationLoss',
                layer_weights_inter=INTER,
                layer_weights_intra=INTRA,
                model_type='vgg19',
                use_input_norm=True,
                rinter_weight=1.0,
                rintra_weight=1.0,
                range_norm=False,
                delta_inter_type='gram_change',
                cri_inter='fro',
                delta_intra_type='l1',
                cri_intra='ce',
            ),
            perceptual_opt=dict(
                type='PerceptualLoss',
                layer_weights=dict(conv1_2=0.1, conv2_2=0.1, conv3_4=1, conv4_4=1, conv5_4=1),
                vgg_type='vgg19',
                use_input_norm=True,
                perceptual_weight=1.0,
                style_weight=0,
                range_norm=False,
                criterion='l1',
            ),
            gan_opt=dict(type='GANLoss', gan_type='vanilla', real_label_val=1.0, fake_label_val=0.0, loss_weight=1e-2),
            net_d_iters=1,
            net_d_init_iters=300,
            domain_opt_warmup_iters=5,
            domain_opt_detach=False,
            domain_opt_wogan=False,
        ),
        val=dict(
            val_freq=2500.0,
            save_img=True,
            metrics=dict(
                psnr=dict(type='calculate_psnr', crop_border=4, test_y_channel=False),
                lpips=dict(type='calculate_lpips', crop_border=4, test_y_channel=False, better='lower'),
            ),
        ),
        logger=dict(
            print_freq=100, save_checkpoint_freq=5000.0, use_tb_logger=True, wandb=dict(project=None, resume_id=None)
        ),
        dist_params=dict(backend='nccl', port=29500),
        find_unused_parameters=True,
    )
    return merge(base, changes)


STATIC = dict(train=dict(use_net_g_ema=False, domain_opt_warmup_iters=0, domain_opt_detach=True))


def accepted(conversion):
    """What `basicsr train` checks before it looks for files."""
    options = RunOptions.of(conversion.options)
    check_networks(options.pdd)
    check_losses(options.train)
    return conversion.options


def reasons(conversion):
    return {key: reason for key, _, reason in conversion.not_carried}


def test_ema_file():
    found = convert_options(released())
    opt = accepted(found)
    assert opt['model_type'] == 'PDDModel'
    train = opt['datasets']['train']
    assert train == dict(
        name='DF2K',
        type='UnpairedAdaptationDataset',
        dataroot_gt='datasets/DF2K',
        dataroot_lq='datasets/RealSRV3/Canon/Train/4/LR',
        io_backend=dict(type='disk'),
        gt_size=192,
        lr_synthesis=dict(resize=['bicubic', 'bilinear', 'area']),
        use_hflip=True,
        use_rot=True,
        num_worker_per_gpu=6,
        batch_size_per_gpu=8,
        prefetch_mode=None,
        dataset_enlarge_ratio=100,
    )
    assert opt['train']['distill_opt'] == dict(
        type='PairwiseDistanceLoss',
        inter_layers=INTER,
        intra_layers=INTRA,
        inter_weight=1.0,
        intra_weight=1.0,
        inter_distance='gram_change',
        intra_distance='l1',
        intra_criterion='ce',
    )
    assert opt['train']['pixel_opt'] == dict(type='HaarWaveletLoss', loss_weight=0.5, weights=[1, 0.1, 0.01])
    assert opt['train']['feature_net'] == dict(type='vgg19', weights='imagenet', use_input_norm=True, range_norm=False)
    said = {k: opt['train'][k] for k in ('teacher', 'ema_decay', 'distill_warmup_iters', 'detach_synthetic')}
    assert said == dict(teacher='ema', ema_decay=0.999, distill_warmup_iters=5, detach_synthetic=False)
    assert (opt['train']['gan_on_real'], opt['train']['net_d_init_iters']) == (True, 300)
    assert opt['network_d']['type'] == 'UNetDiscriminatorSN'
    assert 'network_teacher' not in opt
    assert opt['val']['val_freq'] == 2500
    assert opt['logger']['save_checkpoint_freq'] == 5000
    assert opt['val']['metrics']['lpips'] == dict(type='calculate_lpips', crop_border=4, better='lower')
    fix = {f'network_g_fix.{k}' for k in RRDBNET}
    paths = {'path.pretrain_network_g_fix', 'path.param_key_g_fix', 'path.strict_load_g_fix'}
    assert reasons(found).keys() == fix | paths | {
        'datasets.train_s.dataroot_lq',
        'datasets.train_t.name',
        'datasets.train_t.dataset_enlarge_ratio',
        'path.ignore_resume_networks',
        'val.metrics.lpips.test_y_channel',
    }
    assert any('BGR' in r for r in found.remarks)


def test_static_and_matlab_files():
    opt = accepted(convert_options(released(resize=MATLAB, **STATIC)))
    assert opt['train']['teacher'] == 'static'
    assert (opt['train']['distill_warmup_iters'], opt['train']['detach_synthetic']) == (0, True)
    assert opt['network_teacher'] == RRDBNET
    assert opt['path']['pretrain_network_teacher'] == 'ESRGAN.pth'
    assert opt['path']['param_key_teacher'] == 'params_ema'
    assert opt['path']['strict_load_teacher'] is True
    assert opt['datasets']['train']['lr_synthesis'] == dict(resize=['matlab_bicubic'])


def test_defaults_of_the_released_code_are_written_out():
    """Where its defaults are not ours."""
    file = released()
    for name in ('ema_decay', 'net_d_init_iters', 'domain_opt_warmup_iters', 'domain_opt_detach', 'use_net_g_ema'):
        del file['train'][name]
    for name in ('cri_intra', 'rinter_weight', 'model_type'):
        del file['train']['domain_opt'][name]
    for name in ('weights', 'loss_weight'):
        del file['train']['pixel_opt'][name]
    train = accepted(convert_options(file))['train']
    assert (train['teacher'], train['ema_decay'], train['net_d_init_iters']) == ('static', 0, 0)
    assert (train['distill_warmup_iters'], train['detach_synthetic']) == (0, True)
    assert (train['distill_opt']['intra_criterion'], train['distill_opt']['inter_weight']) == ('l1', 1.0)
    assert train['pixel_opt'] == dict(type='HaarWaveletLoss', loss_weight=1, weights=[1, 0.5, 0.1])


def test_names_of_the_first_version():
    file = released()
    loss = file['train']['domain_opt']
    for new, old in (('rinter_weight', 'inter_weight'), ('rintra_weight', 'intra_weight'), ('model_type', 'vgg_type')):
        loss[old] = loss.pop(new)
    loss.update(inter_weight=0.5, intra_weight=2, vgg_type='vgg16', cri_intra='cosine_sim')
    file['train']['perceptual_opt']['vgg_type'] = 'vgg16'
    file['train']['domain_opt']['layer_weights_intra'] = dict(conv2_2=0.1)
    file['train']['domain_opt_wogan'] = True
    file['train']['perceptual_opt']['layer_weights'] = dict(conv1_2=1)
    train = accepted(convert_options(file))['train']
    assert (train['distill_opt']['inter_weight'], train['distill_opt']['intra_weight']) == (0.5, 2)
    assert train['distill_opt']['intra_criterion'] == 'cosine_released'
    assert train['feature_net']['type'] == 'vgg16'
    assert train['gan_on_real'] is False


@pytest.mark.parametrize(
    ('changes', 'key', 'value', 'reason'),
    [
        (dict(train=dict(clip=1.0)), 'train.clip', 1.0, 'there is no option for it here'),
        (dict(train=dict(fix_backbone=True)), 'train.fix_backbone', True, 'does nothing with it'),
        (dict(train=dict(pixel_opt=dict(reduction='sum'))), 'train.pixel_opt.reduction', 'sum', 'is a mean'),
        (dict(datasets=dict(train_t=dict(lq_size=32))), 'datasets.train_t.lq_size', 32, 'gt_size / scale'),
        (dict(datasets=dict(train_t=dict(use_rot=False))), 'datasets.train_t.use_rot', False, 'flipped alike'),
        (
            dict(datasets=dict(train_t=dict(batch_size_per_gpu=4))),
            'datasets.train_t.batch_size_per_gpu',
            4,
            'as train_s',
        ),
        (dict(datasets=dict(train_s=dict(gt_size=256))), 'datasets.train_s.gt_size', 256, 'crop_size'),
        (dict(datasets=dict(train_s=dict(mean=[0, 0, 0]))), 'datasets.train_s.mean', [0, 0, 0], 'no option'),
        (dict(val=dict(metrics=dict(own=dict(type='calculate_own')))), 'val.metrics.own.type', 'calculate_own', 'here'),
        (dict(train=dict(perceptual_opt=dict(range_norm=True))), 'train.perceptual_opt.range_norm', True, 'serves all'),
        (dict(extra=dict(deep=[dict(a=1)])), 'extra.deep[0].a', 1, 'no option'),
    ],
)
def test_what_is_not_carried_is_named(changes, key, value, reason):
    found = convert_options(released(**changes))
    accepted(found)
    plain = {k for k, _, _ in convert_options(released()).not_carried}
    new = [(k, v, r) for k, v, r in found.not_carried if k not in plain]
    assert [(k, v) for k, v, _ in new] == [(key, value)]
    assert reason in new[0][2]


def test_pipeline_steps_that_are_not_here():
    file = released()
    pipeline = file['datasets']['train_s']['pipeline']
    pipeline[0]['crop_pos'] = [0, 0]
    pipeline[5]['params'].update(resize_opt=['bicubic', 'lanczos'], resize_prob=[0.7, 0.3])
    pipeline.insert(6, dict(type='RandomNoise', params=dict(noise_type=['gaussian']), keys=['lq']))
    del pipeline[3]
    found = convert_options(file)
    data = accepted(found)['datasets']['train']
    assert data['lr_synthesis'] == dict(resize=['bicubic'])
    assert (data['use_hflip'], data['use_rot']) == (True, False)
    said = reasons(found)
    where = 'datasets.train_s.pipeline'
    assert f'{where}[0].crop_pos' in said
    assert 'equally likely' in said[f'{where}[4].params.resize_prob']
    assert 'known kernels' in said[f'{where}[4].params.resize_opt']
    assert 'no such step' in said[f'{where}[5].type']
    assert f'{where}[5].params.noise_type' in said
    assert 'vertical flips and transposition' in said[where]
    assert 'datasets.train_t.use_rot' in said


def test_every_value_is_accounted_for():
    """Nothing is left over, and each value of the file is in ours, in the list, or fixed in our code."""
    file = released()
    source = Source(file)
    leaves = dict(source._left)
    found = convert_options(file)
    listed = {k for k, _, _ in found.not_carried}
    ours = dict(Source(found.options)._left)
    carried = [k for k in leaves if k not in listed]
    values = [repr(v) for v in ours.values()]
    implied = (
        'pipeline[',
        'use_shuffle',
        'lq_size',
        'filename_tmpl',
        'type',
        'fix_backbone',
        'reduction',
        'cri_inter',
        'wogan',
    )
    for key in carried:
        if not any(word in key for word in (*implied, 'use_net_g_ema')):
            value = leaves[key]
            assert repr(value) in values or repr(int(value)) in values, key


def test_bsrgan_network():
    bsrgan = dict(type='BSRGANRRDBNet', in_nc=3, out_nc=3, nf=64, nb=23, gc=32, sf=4)
    file = released()
    file['network_g'] = bsrgan
    assert accepted(convert_options(file))['network_g'] == RRDBNET
    file['network_g'] = bsrgan | dict(sf=2)
    with pytest.raises(OptionError, match=r'network_g\.sf: BSRGANRRDBNet with another factor'):
        convert_options(file)


@pytest.mark.parametrize('change', [dict(model_type='ESRGANModel'), dict(datasets=dict(train_s=None))])
def test_other_files_are_refused(change):
    with pytest.raises(OptionError, match='expected a training file of the released code'):
        convert_options(released(**change))


def test_command(tmp_path, capsys):
    (tmp_path / 'released.yml').write_text(yaml.safe_dump(released(train=dict(clip=1.0)), sort_keys=False))
    out = tmp_path / 'ours.yml'
    assert main(['convert-options', str(tmp_path / 'released.yml'), '-o', str(out)]) == 0
    printed = capsys.readouterr()
    assert 'not carried: train.clip: 1.0 (there is no option for it here)' in printed.err
    assert 'values not carried over.' in printed.err
    text = out.read_text()
    assert text.startswith('# From released.yml')
    comments = [line[2:] for line in text.splitlines() if line.startswith('# not carried: ')]
    conversion = convert_options(released(train=dict(clip=1.0)))
    assert comments == [line for line in report_lines(conversion) if line.startswith('not carried')]
    assert load_options(out) == conversion.options
    RunOptions.of(load_options(out))
    with pytest.raises(OptionError, match=r'ours\.yml exists'):
        main(['convert-options', str(tmp_path / 'released.yml'), '-o', str(out)])
    assert main(['convert-options', str(tmp_path / 'released.yml'), '-o', str(out), '--overwrite']) == 0
    assert [p.name for p in tmp_path.iterdir() if p.suffix != '.yml'] == []
    capsys.readouterr()
    assert main(['convert-options', str(tmp_path / 'released.yml')]) == 0
    assert parse_yaml(capsys.readouterr().out) == conversion.options


def test_command_says_what_a_run_would_refuse(tmp_path, capsys):
    file = released()
    file['network_g'] = dict(type='TheirNet')
    (tmp_path / 'released.yml').write_text(yaml.safe_dump(file))
    assert main(['convert-options', str(tmp_path / 'released.yml')]) == 0
    assert (
        "remark: basicsr train would refuse this file: network_g.type: no network 'TheirNet'" in capsys.readouterr().err
    )
