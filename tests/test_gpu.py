"""What only a GPU shows. Skipped, with the reason, where there is none."""

import warnings

import pytest
import torch
from helpers import batch, build

pytestmark = pytest.mark.gpu


def test_step_agrees_with_the_cpu():
    cpu, gpu = build(), build(num_gpu=1)
    for net in ('net_g', 'net_g_ema', 'net_d'):
        getattr(gpu, net).load_state_dict(getattr(cpu, net).state_dict())
    for iteration in (1, 2, 3):
        for model in (cpu, gpu):
            model.feed_data(batch(iteration))
            model.optimize_parameters(iteration)
        assert gpu.get_current_log() == pytest.approx(cpu.get_current_log(), rel=2e-2, abs=1e-3)


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_a_step_waits_for_the_device_once_a_network(precision):
    """To learn whether the gradient is finite; nothing else may be read in iterations that print nothing."""
    model = build(num_gpu=1, train=dict(precision=precision))
    data = {k: v.pin_memory() for k, v in batch().items()}
    model.feed_data(data)
    model.optimize_parameters(1)  # first use of kernels may synchronise
    torch.cuda.set_sync_debug_mode('warn')
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter('always')
            model.feed_data(data)
            model.optimize_parameters(2)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert len([w for w in seen if 'synchronizing' in str(w.message)]) <= 2
    assert model.get_current_log()['l_inter'] >= 0
