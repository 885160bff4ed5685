"""Schedules that are compared: a long one after the paper, and shorter ones."""

import json
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Schedule:
    """Iterations, learning rate and average of a run.

    Attributes:
        iterations: length of the run.
        changes: changes of the section ``train``.
        measured: number of checkpoints, equally spaced, that are measured.
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


def short(iterations: int, decay: float, lr: float = 1e-4, scheduler: dict | None = None, **more) -> Schedule:
    """A learning rate and a decay of the average, halved as in the paper unless a scheduler is given."""
    changes = dict(lr=lr, ema_decay=decay, scheduler=scheduler or halved_at_a_quarter(iterations), **more)
    return Schedule(iterations, changes)


LONG = 2000
SCHEDULES = {
    # the paper's schedule and average in 1/50 of its iterations; with a shorter average
    'long': Schedule(LONG, dict(ema_decay=0.999, scheduler=halved_at_a_quarter(LONG)), measured=10),
    'long_97': Schedule(LONG, dict(ema_decay=0.97, scheduler=halved_at_a_quarter(LONG)), measured=5),
    # the presets: 1/10 and 1/20 of the long ones
    'fast10': short(LONG // 10, 0.97),
    'fast20': short(LONG // 20, 0.97),
    'fast10_bf16': short(LONG // 10, 0.97, precision='bf16'),
    # tried: a shorter average without halving, and the cosine from several rates
    'const_9': Schedule(LONG // 10, dict(lr=1e-4, ema_decay=0.9, scheduler=halved_at_a_quarter(LONG)), measured=2),
    'cosine_1e-4': short(LONG // 10, 0.97, 1e-4, cosine(LONG // 10)),
    'cosine_2e-4': short(LONG // 10, 0.97, 2e-4, cosine(LONG // 10)),
    'cosine_4e-4': short(LONG // 10, 0.97, 4e-4, cosine(LONG // 10)),
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
