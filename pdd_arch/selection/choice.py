"""Which checkpoint to take."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pdd_arch.errors import DataError
from pdd_arch.selection.signals import Signals

#: weight of the synthetic pairs, which are downsampled only, against those of the estimated camera. The estimate is
#: never quite right, and mostly too strong: a network should do well on a cleaner camera too. On six domains what is
#: chosen is then 0.03 dB behind the best checkpoint at most; 0.15 without, 0.13 with one half
#: (experiments/results/selection)
HEDGE = 0.2


@dataclass(frozen=True)
class Choice:
    """A checkpoint.

    Attributes:
        key: of the checkpoint (iteration).
        reason: for people.
    """

    key: int
    reason: str


def score(signals: Signals) -> float:
    """What a checkpoint is chosen by: the weighted mean of its PSNR on simulated and on synthetic pairs, in dB."""
    return (1 - HEDGE) * signals.simulated_psnr + HEDGE * signals.synthetic_psnr


def choose(measured: Mapping[int, Signals]) -> Choice:
    """The checkpoint with the best :func:`score`, the earliest of equals.

    Args:
        measured: signals by iteration; without the generalist itself.

    Raises:
        DataError: there is none.
    """
    measured = {key: s for key, s in measured.items() if math.isfinite(score(s))}
    if not measured:
        raise DataError('checkpoints: expected at least one with finite outputs to choose from, found none.')
    key = max(measured, key=lambda k: (score(measured[k]), -k))
    return Choice(
        key,
        f'the best of {len(measured)} checkpoints on HR images that the estimated camera takes '
        f'({measured[key].simulated_psnr:.2f} dB), and to a smaller part on downsampled ones '
        f'({measured[key].synthetic_psnr:.2f} dB)',
    )
