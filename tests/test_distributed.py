"""Several processes, and a batch in several parts: the losses and weights of one process with the whole batch."""

import functools
import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from basicsr.archs import build_network
from helpers import SMALL_FEATURES, SMALL_LAYERS, TINY_D, TINY_G, batch, merge, options

from pdd_arch.distributed import processes
from pdd_arch.features import FeatureNet
from pdd_arch.models import PDDModel

ITERATIONS = 3
BATCH = 4

STATIC = dict(network_teacher=TINY_G, train=dict(teacher='static', distill_warmup_iters=0, detach_synthetic=True))


def distill(**changes) -> dict:
    return dict(train=dict(distill_opt=changes))


#: what a loss must not notice; by name, as in the README's table
CASES = {
    'ema, everything': {},
    'static, everything': STATIC,
    **{f'inter {d}': distill(inter_distance=d, intra_weight=0) for d in ('gram_change', 'gram', 'l1', 'l2')},
    **{
        f'intra {d}, {c}': distill(intra_distance=d, intra_criterion=c, inter_weight=0)
        for d, c in [('l1', c) for c in ('ce', 'l1', 'l2', 'fro', 'cosine', 'cosine_released')]
        + [('fro', c) for c in ('l1', 'l2', 'fro')]
    },
    'batch matrix': distill(intra_pairing='batch_matrix'),
    'batch matrix, both domains': distill(intra_pairing='batch_matrix', batch_matrix_domains='both'),
    'FitNets': distill(type='FeatureDistillationLoss', layers=SMALL_LAYERS),
    'CRD': distill(type='ContrastiveDistillationLoss', layers=SMALL_LAYERS),
    'outputs': distill(type='OutputDistillationLoss'),
    'perceptual fro and style': dict(train=dict(perceptual_opt=dict(criterion='fro', style_weight=1.0))),
    'extra losses': dict(
        train=dict(
            extra_losses=[
                dict(type='CharbonnierLoss', loss_weight=0.1),
                dict(type='L1Loss', on='target'),
                dict(type='ContrastiveDistillationLoss', on='target', layers=SMALL_LAYERS),
                dict(type='PerceptualLoss', criterion='fro', layer_weights=SMALL_LAYERS),
            ]
        )
    ),
    'discriminator every second iteration': dict(train=dict(net_d_iters=2, net_d_init_iters=1)),
    'recomputed': dict(train=dict(recompute=True)),
    'clipped': dict(train=dict(grad_clip=0.05, grad_clip_d=0.05)),
}


def case_options(case: str, **changes) -> dict:
    opt = merge(options(train=dict(ema_decay=0.9, distill_warmup_iters=1, total_iter=ITERATIONS)), CASES[case])
    if 'type' in CASES[case].get('train', {}).get('distill_opt', {}):
        opt['train']['distill_opt'] = dict(CASES[case]['train']['distill_opt'])
    return merge(opt, changes)


def train(opt: dict, rank: int = 0, world: int = 1, dtype: torch.dtype = torch.float64) -> dict:
    """Losses of every iteration and all weights at the end, of a few iterations on this process's share."""
    torch.set_default_dtype(torch.float32)  # initial weights depend on it
    torch.manual_seed(0)
    state = {n: build_network(dict(o)).state_dict() for n, o in (('net_g', TINY_G), ('net_d', TINY_D))}
    torch.manual_seed(1)
    teacher = build_network(dict(TINY_G)).state_dict()
    features = FeatureNet(SMALL_LAYERS, **SMALL_FEATURES).state_dict()
    torch.set_default_dtype(dtype)
    model = PDDModel(opt)
    nets = [
        n for n in (model.net_g, model.net_d, model.net_teacher, getattr(model, 'net_g_ema', None)) if n is not None
    ]
    for net in (*nets, model.feature_net):
        net.to(dtype)
    for name in ('net_g', 'net_d'):
        model.get_bare_model(getattr(model, name)).load_state_dict(state[name])
    model.net_g_ema.load_state_dict(state['net_g'])
    model.feature_net.load_state_dict(features)
    if model.net_teacher is not model.net_g_ema:
        model.net_teacher.load_state_dict(teacher)
    losses = []
    for iteration in range(1, opt['train']['total_iter'] + 1):
        whole = {k: v.to(dtype) for k, v in batch(iteration, n=BATCH, dtype=torch.float32).items()}
        model.update_learning_rate(iteration)
        # as the sampler deals them out: every world-th image
        model.feed_data({k: v[rank::world] for k, v in whole.items()})
        model.optimize_parameters(iteration)
        losses.append(model.get_current_log())
    weights = {
        f'{name}.{k}': v
        for name in ('net_g', 'net_d', 'net_g_ema')
        for k, v in model.get_bare_model(getattr(model, name)).state_dict().items()
    }
    return {'losses': losses, 'weights': weights}


@functools.cache
def in_one(case: str) -> dict:
    """Results of a case's options from one process with the whole batch."""
    return train(case_options(case))


def free_port() -> int:
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def _worker(rank: int, world: int, port: int, jobs: dict, folder: str, dtype: torch.dtype) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(world))
    dist.init_process_group('gloo')
    processes.open_control_group()
    for name, opt in jobs.items():
        torch.set_default_dtype(torch.float32)
        result = train(opt | dict(dist=True, rank=rank, world_size=world), rank, world, dtype)
        torch.save(result, f'{folder}/{name}.{rank}.pth')
    processes.close()


def train_in_two(jobs: dict[str, dict], folder: Path, dtype: torch.dtype = torch.float64) -> dict[str, list[dict]]:
    """Results of each job's options from both of two processes."""
    mp.start_processes(_worker, (2, free_port(), jobs, str(folder), dtype), nprocs=2, start_method='fork')
    return {job: [torch.load(folder / f'{job}.{rank}.pth') for rank in (0, 1)] for job in jobs}


@pytest.fixture(scope='module')
def two_processes(tmp_path_factory):
    """Results of all cases from two processes: ``{case: [rank 0, rank 1]}``."""
    folder = tmp_path_factory.mktemp('two')
    jobs = {case: case_options(case) for case in CASES}
    jobs['local'] = case_options('ema, everything', train=dict(batch_loss='local'))
    jobs['accumulated too'] = case_options('ema, everything', train=dict(accumulate=2))
    return train_in_two(jobs, folder)


def same_weights_options(case: str) -> dict:
    """One iteration from the same weights: what is compared is the loss, not what rounding makes of weights later."""
    first = merge(STATIC, dict(train=dict(net_d_iters=1, net_d_init_iters=0, total_iter=1)))
    return case_options(case, **first)


@pytest.fixture(scope='module')
def two_processes_float32(tmp_path_factory):
    """The same in float32: one iteration from the same weights."""
    jobs = {case: same_weights_options(case) for case in CASES}
    return train_in_two(jobs, tmp_path_factory.mktemp('float32'), torch.float32)


@pytest.fixture
def default_dtype():
    yield
    torch.set_default_dtype(torch.float32)


def assert_same(found: dict, wanted: dict, rtol: float = 1e-9) -> None:
    for iteration, (a, b) in enumerate(zip(found['losses'], wanted['losses'], strict=True), 1):
        assert a.keys() == b.keys()
        for name in b:
            assert a[name] == pytest.approx(b[name], rel=rtol, abs=1e-12), f'iteration {iteration}, {name}'
    for name, value in wanted['weights'].items():
        torch.testing.assert_close(
            found['weights'][name], value, rtol=rtol, atol=rtol * float(value.abs().max()) + 1e-15
        )


@pytest.mark.parametrize('case', CASES)
def test_two_processes_are_one(two_processes, default_dtype, case):
    whole = in_one(case)
    assert len(whole['losses'][-1]) > 2
    first, second = two_processes[case]
    assert_same(first, whole)
    assert all(torch.equal(first['weights'][k], second['weights'][k]) for k in first['weights'] if '_u' not in k)


@pytest.mark.parametrize('case', CASES)
def test_two_processes_are_one_in_float32(two_processes_float32, default_dtype, case):
    whole = train(same_weights_options(case), dtype=torch.float32)
    found = two_processes_float32[case][0]
    for name, value in whole['losses'][0].items():
        # the mean score of an untrained discriminator is near 0
        assert found['losses'][0][name] == pytest.approx(value, rel=1e-6, abs=1e-6 if 'out_' in name else 0), name
    a, b = (torch.cat([run['weights'][k].flatten() for k in whole['weights']]) for run in (found, whole))
    assert (a - b).norm() < 1e-6 * b.norm()


@pytest.mark.parametrize('case', CASES)
def test_accumulated_parts_are_the_whole(default_dtype, case):
    assert_same(train(case_options(case, train=dict(accumulate=2))), in_one(case))


def test_processes_and_parts_together(two_processes, default_dtype):
    assert_same(two_processes['accumulated too'][0], in_one('ema, everything'))


def test_local_form_is_another_objective(two_processes, default_dtype):
    """The mean of the processes' own norms is smaller than the norm of the whole by about the root of their number."""
    whole = in_one('ema, everything')['losses'][1]
    local = two_processes['local'][0]['losses'][1]
    assert local['l_inter'] < 0.9 * whole['l_inter']
    assert local['l_intra'] == pytest.approx(whole['l_intra'], rel=1e-9)


def test_parts_must_divide_the_batch():
    from pdd_arch.errors import DataError

    model = PDDModel(options(train=dict(accumulate=3)))
    model.feed_data(batch(1, n=4))
    with pytest.raises(DataError, match=r'train\.accumulate: 3, but a batch has 4'):
        model.optimize_parameters(2)
