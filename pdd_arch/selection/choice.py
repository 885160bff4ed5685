"""Which checkpoint to take."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pdd_arch.errors import DataError
from pdd_arch.selection.signals import Signals

__all__ = ['Choice', 'choose']

#: dB; checkpoints nearer to the best than this are not told apart by a dozen images
TOLERANCE = 0.03


@dataclass(frozen=True)
class Choice:
    """A checkpoint.

    Attributes:
        key: of the checkpoint (iteration).
        reason: for people.
    """

    key: int
    reason: str


def choose(measured: Mapping[int, Signals]) -> Choice:
    """The checkpoint with the best PSNR on simulated pairs; of those as good, the one with the least feature distance.

    PSNR alone rises for a while with what the distance loses; the distance alone goes on falling where PSNR falls too.

    Args:
        measured: signals by iteration; without the generalist itself.

    Raises:
        DataError: there is none.
    """
    measured = {key: s for key, s in measured.items() if math.isfinite(s.simulated_psnr)}
    if not measured:
        raise DataError('checkpoints: expected at least one with finite outputs to choose from, found none.')
    best = max(s.simulated_psnr for s in measured.values())
    good = {key: s for key, s in measured.items() if s.simulated_psnr >= best - TOLERANCE}
    key = min(good, key=lambda k: (good[k].simulated_distance, k))
    return Choice(
        key,
        f'{measured[key].simulated_psnr:.2f} dB on simulated pairs, within {TOLERANCE} dB of the best of '
        f'{len(measured)} checkpoints, the least feature distance of those ({measured[key].simulated_distance:.4f})',
    )
