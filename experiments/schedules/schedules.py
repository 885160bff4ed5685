"""Schedules that are compared: a long one after the paper, and shorter ones."""

import json
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Schedule:
    """Iterations, learning rate and average of a run.

    Attributes:
        iterations: length of the run.
        changes: of the section ``train``.
        measured: checkpoints at these many equal distances are measured.
    """

    iterations: int
    changes: dict = field(default_factory=dict)
    measured: int = 4


def halved_at_a_quarter(iterations: int) -> dict:
    """The paper's learning rate: 1e-4, halved after a quarter of 100,000 iterations."""
    return {'type': 'MultiStepLR', 'milestones': [iterations // 4], 'gamma': 0.5}


def cosine(iterations: int) -> dict:
    """Falls to nothing at the end."""
    return {'type': 'CosineAnnealingRestartLR', 'periods': [iterations], 'restart_weights': [1], 'eta_min': 1e-7}


def fast(iterations: int, lr: float, decay: float, warmup: int = -1, **more) -> Schedule:
    return Schedule(iterations, dict(lr=lr, ema_decay=decay, scheduler=cosine(iterations), warmup_iter=warmup, **more))


LONG = 2000
SCHEDULES = {
    'long': Schedule(LONG, dict(ema_decay=0.999, scheduler=halved_at_a_quarter(LONG)), measured=10),
    'long_97': Schedule(LONG, dict(ema_decay=0.97, scheduler=halved_at_a_quarter(LONG)), measured=5),
    'const10': Schedule(200, dict(ema_decay=0.97, scheduler=halved_at_a_quarter(200))),
    'cos1e4_97': fast(200, 1e-4, 0.97),
    'cos2e4_97': fast(200, 2e-4, 0.97),
    'cos4e4_97': fast(200, 4e-4, 0.97),
    'cos4e4_95': fast(200, 4e-4, 0.95),
    'cos4e4_98': fast(200, 4e-4, 0.98),
    'cos8e4_97': fast(200, 8e-4, 0.97, 10),
    'cos8e4_95': fast(200, 8e-4, 0.95, 10),
}


def options_of(opt: dict, schedule: Schedule) -> dict:
    """The option file with a schedule."""
    opt = json.loads(json.dumps(opt))
    changes = dict(schedule.changes)
    if 'lr' in changes:
        opt['train']['optim_g']['lr'] = changes.pop('lr')
    opt['train'] |= changes
    opt['train']['total_iter'] = schedule.iterations
    opt['logger']['save_checkpoint_freq'] = schedule.iterations // schedule.measured
    opt['val']['val_freq'] = 10**9  # the curve is measured afterwards
    opt['val']['save_img'] = False
    return opt
