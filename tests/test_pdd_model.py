"""What one iteration computes, and what it does not."""

import copy

import pytest
import torch
from basicsr.utils import get_root_logger
from helpers import NO_D, SMALL_LAYERS, TINY_G, batch, build, merge, options, step

from pdd_arch.errors import DataError, OptionError
from pdd_arch.losses import PairwiseDistanceLoss
from pdd_arch.models import PDDModel

N = 2


@pytest.fixture
def passes(monkeypatch):
    """Counts images through the feature network, and forwards of each network, per iteration."""

    class Counter:
        def watch(self, model):
            self.images, self.tracked, self.forwards = 0, 0, dict.fromkeys(('net_g', 'net_teacher', 'net_d'), 0)
            if model.feature_net is not None:
                model.feature_net.register_forward_pre_hook(self._features)
            for name in self.forwards:
                net = getattr(model, name)
                if net is not None:
                    net.register_forward_pre_hook(lambda *_, name=name: self._forward(name))
            return self

        def _features(self, module, args):
            self.images += len(args[0]) // N
            self.tracked += len(args[0]) // N if torch.is_grad_enabled() and args[0].requires_grad else 0

        def _forward(self, name):
            self.forwards[name] += 1

        def reset(self):
            self.images = self.tracked = 0
            self.forwards = dict.fromkeys(self.forwards, 0)

    return Counter()


STATIC = dict(network_teacher=TINY_G, train=dict(teacher='static', distill_warmup_iters=0, detach_synthetic=True))
NO_PERCEPTUAL = dict(train=dict(perceptual_opt=None))
NO_DISTILL = dict(train=dict(distill_opt=None))


@pytest.mark.parametrize(
    ('changes', 'images', 'tracked'),
    [
        # five tensors with everything on: S and G on both domains, and the ground truth
        ({}, 5, 2),
        (STATIC, 5, 2),
        (NO_PERCEPTUAL, 4, 2),
        ({**STATIC, 'train': STATIC['train'] | NO_PERCEPTUAL['train']}, 4, 1),
        (NO_DISTILL, 2, 1),
        (dict(train=dict(distill_opt=dict(inter_weight=0))), 5, 2),
        (dict(train=dict(distill_opt=dict(inter_weight=0, intra_pairing='batch_matrix'))), 4, 2),
        (dict(train=dict(distill_opt=None, perceptual_opt=None)), 0, 0),
    ],
    ids=['all', 'static', 'no-perceptual', 'static-no-perceptual', 'no-distill', 'intra', 'batch-matrix', 'neither'],
)
def test_each_feature_is_computed_once(passes, changes, images, tracked):
    model = build(**changes)
    passes.watch(model)
    for iteration in (1, 2, 3):
        passes.reset()
        step(model, iteration)
    assert (passes.images, passes.tracked) == (images, tracked)


def test_baseline_losses_look_at_real_outputs_only(passes):
    opt = options(train=dict(perceptual_opt=None))
    opt['train']['distill_opt'] = dict(type='FeatureDistillationLoss', layers=SMALL_LAYERS)
    model = PDDModel(opt)
    passes.watch(model)
    step(model, 2)
    assert (passes.images, passes.tracked) == (2, 1)


@pytest.mark.parametrize('kind', ['FeatureDistillationLoss', 'ContrastiveDistillationLoss', 'OutputDistillationLoss'])
def test_baselines_train(kind):
    opt = options()
    opt['train']['distill_opt'] = dict(type=kind)
    if kind != 'OutputDistillationLoss':
        opt['train']['distill_opt']['layers'] = SMALL_LAYERS
    model = PDDModel(opt)
    step(model, 1)
    assert 'l_distill' in step(model, 2)


def test_teacher_does_not_run_before_distillation(passes):
    model = build(train=dict(distill_warmup_iters=2))
    passes.watch(model)
    log = step(model, 2)
    assert passes.forwards == {'net_g': 1, 'net_teacher': 0, 'net_d': 3}
    assert passes.images == 2  # student on synthetic, ground truth
    assert 'l_inter' not in log
    passes.reset()
    log = step(model, 3)
    assert passes.forwards == {'net_g': 1, 'net_teacher': 1, 'net_d': 3}
    assert 'l_inter' in log


def test_discriminator_only_iterations(passes):
    model = build(train=dict(net_d_init_iters=2))
    passes.watch(model)
    before = copy.deepcopy(model.net_g.state_dict())
    log = step(model, 1)
    assert list(log) == ['l_d_real', 'out_d_real', 'l_d_fake', 'out_d_fake']
    assert passes.forwards == {'net_g': 1, 'net_teacher': 0, 'net_d': 2}
    assert passes.images == 0
    assert all(torch.equal(v, before[k]) for k, v in model.net_g.state_dict().items())


def test_net_d_iters_skips_student_updates():
    model = build(train=dict(net_d_iters=2))
    assert 'l_g_pix' not in step(model, 1)
    assert 'l_g_pix' in step(model, 2)


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({}, ['l_inter', 'l_intra', 'l_g_pix', 'l_g_percep']),
        (dict(pixel_opt=None), ['l_inter', 'l_intra', 'l_g_percep']),
        (dict(perceptual_opt=None), ['l_inter', 'l_intra', 'l_g_pix']),
        (dict(distill_opt=None), ['l_g_pix', 'l_g_percep']),
        (dict(distill_opt=dict(intra_weight=0)), ['l_inter', 'l_g_pix', 'l_g_percep']),
        (dict(distill_opt=dict(inter_weight=0)), ['l_intra', 'l_g_pix', 'l_g_percep']),
        (
            dict(perceptual_opt=dict(style_weight=1.0)),
            ['l_inter', 'l_intra', 'l_g_pix', 'l_g_percep', 'l_g_style'],
        ),
    ],
)
def test_every_term_can_be_absent(changes, expected):
    model = build(network_d=None, train=NO_D['train'] | changes)
    step(model, 1)
    assert list(step(model, 2)) == expected


def test_gan_on_real_shows_t_to_the_discriminator():
    def shown(**changes):
        model = build(**changes)
        sizes = []
        model.net_d.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
        step(model, 2)
        return sizes

    assert shown() == [2 * N, N, N]
    assert shown(train=dict(gan_on_real=False)) == [N, N, N]


def test_ema_teacher_is_the_average_and_starts_as_the_student():
    model = build(train=dict(ema_decay=0.5))
    assert model.net_teacher is model.net_g_ema
    start = copy.deepcopy(dict(model.net_g.named_parameters()))
    assert all(torch.equal(p, start[k]) for k, p in model.net_g_ema.named_parameters())
    step(model, 1)
    student = dict(model.net_g.named_parameters())
    for key, p in model.net_g_ema.named_parameters():
        torch.testing.assert_close(p, 0.5 * start[key] + 0.5 * student[key])


def test_static_teacher_never_changes():
    model = build(**STATIC)
    before = copy.deepcopy(model.net_teacher.state_dict())
    for iteration in (1, 2):
        step(model, iteration)
    assert all(torch.equal(v, before[k]) for k, v in model.net_teacher.state_dict().items())
    assert model.net_teacher is not model.net_g_ema


def test_static_without_average():
    model = build(**{**STATIC, 'train': STATIC['train'] | dict(ema_decay=0)})
    step(model, 1)
    assert not hasattr(model, 'net_g_ema')
    model.feed_data(batch())
    model.test()
    assert model.output.shape == (2, 3, 32, 32)


def test_log_is_read_only_when_asked(monkeypatch):
    """Reading waits for the GPU: an iteration that prints nothing reads whether each step can be taken, no more."""
    model = build()
    verdicts = []
    plain = torch.Tensor.tolist

    def read_verdict(self):
        assert self.dtype is torch.bool
        verdicts.append(self)
        return plain(self)

    def forbidden(self):
        raise AssertionError('a tensor was read during an iteration')

    with monkeypatch.context() as m:
        for name in ('item', 'cpu', 'numpy', '__bool__', '__float__', '__int__'):
            m.setattr(torch.Tensor, name, forbidden)
        m.setattr(torch.Tensor, 'tolist', read_verdict)
        for optimizer in model.optimizers:
            m.setattr(optimizer, 'step', lambda: None)  # Adam keeps its step count on the CPU and reads it there
        model.feed_data(batch())
        model.optimize_parameters(2)
        with pytest.raises(AssertionError, match='was read'):
            torch.zeros(1).item()
    assert len(verdicts) == 2  # net_g and net_d
    assert isinstance(model.get_current_log()['l_inter'], float)


def test_options_of_the_caller_are_left_alone():
    opt = options()
    before = copy.deepcopy(opt)
    PDDModel(opt)
    assert opt == before


def test_batch_without_target_images():
    model = build()
    data = batch()
    del data['lq_real']
    model.feed_data(data)
    model.optimize_parameters(1)  # not needed yet
    with pytest.raises(DataError, match=r'datasets\.train: .*lq_real.*UnpairedAdaptationDataset'):
        model.optimize_parameters(2)


def test_random_start_is_said_loudly(caplog):
    get_root_logger().propagate = True  # to where caplog listens
    with caplog.at_level('WARNING', logger='basicsr'):
        build(**STATIC)
    assert 'path.pretrain_network_g is not set: the student starts from RANDOM weights' in caplog.text
    assert 'path.pretrain_network_teacher is not set: the static teacher has RANDOM weights' in caplog.text
    assert 'UNTRAINED network' in caplog.text


@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_reduced_precision_trains_with_float32_losses(precision):
    model = build(train=dict(precision=precision))
    reference = build()
    for iteration in (1, 2):
        log, expected = step(model, iteration), step(reference, iteration)
    assert set(log) == set(expected)
    assert log['l_g_pix'] == pytest.approx(expected['l_g_pix'], rel=0.05)
    assert all(p.dtype == torch.float32 for p in model.net_g.parameters())


def test_channels_last_changes_nothing_but_the_layout():
    plain, last = build(), build(train=dict(channels_last=True))
    weight = last.net_g.conv_first.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    for iteration in (1, 2):
        expected, log = step(plain, iteration), step(last, iteration)
    assert log == pytest.approx(expected, rel=1e-3)


def test_loss_gets_the_models_features():
    """The shared network gives the same value as the loss by itself."""
    model = build(**NO_D)
    step(model, 1)
    model.feed_data(batch(7))
    with torch.no_grad():
        out, ref = (net(torch.cat((model.lq, model.lq_real))) for net in (model.net_g, model.net_teacher))
    loss = PairwiseDistanceLoss(inter_layers=SMALL_LAYERS, intra_layers=SMALL_LAYERS, feature_net=model.feature_net)
    l_inter, l_intra = loss(out[N:], ref[N:], out[:N], ref[:N])
    model.optimize_parameters(2)
    log = model.get_current_log()
    assert log['l_inter'] == pytest.approx(l_inter.item(), rel=1e-5)
    assert log['l_intra'] == pytest.approx(l_intra.item(), rel=1e-5)


def test_optimizers_by_name():
    model = build(train=dict(optim_g=dict(type='AdamW', weight_decay=0.01)))
    assert isinstance(model.optimizer_g, torch.optim.AdamW)
    with pytest.raises(OptionError, match=r"unknown optimizer 'Adamm', .* Did you mean 'Adam'"):
        build(train=dict(optim_g=dict(type='Adamm')))


def test_without_distillation_nothing_sees_the_target_domain():
    model = build(train=dict(distill_opt=None))
    sizes = []
    model.net_d.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    step(model, 2)
    assert sizes == [N, N, N]


def test_log_of_an_iteration_that_trained_nothing_is_empty():
    model = build(network_d=None, train=NO_D['train'] | dict(net_d_iters=2))
    assert step(model, 2)
    assert step(model, 3) == {}


def test_ground_truth_is_not_kept_from_another_batch():
    model = build()
    model.feed_data(batch())
    model.feed_data({'lq': batch()['lq']})
    assert not hasattr(model, 'gt')


@pytest.mark.parametrize('changes', [{}, STATIC, NO_D, NO_DISTILL], ids=['ema', 'static', 'no-d', 'no-distill'])
def test_recomputing_changes_nothing_but_memory(changes):
    """Also with random layers: dropout draws the same again."""
    kept, recomputed = (build(**merge(changes, dict(train=dict(recompute=r)))) for r in (False, True))
    for model in (kept, recomputed):
        model.net_g.conv_first = torch.nn.Sequential(model.net_g.conv_first, torch.nn.Dropout(0.5))
    for iteration in (1, 2, 3):
        logs = []
        for model in (kept, recomputed):
            torch.manual_seed(iteration)
            logs.append(step(model, iteration))
        assert logs[0] == logs[1]
    for a, b in zip(kept.net_g.parameters(), recomputed.net_g.parameters(), strict=True):
        assert torch.equal(a, b)
