"""Target domains as declared, seeded sequences of operations."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pdd_arch.degradations.operations import Blur, Downsample, Jpeg, Operation, SensorNoise
from pdd_arch.utils.random_state import global_generators_seeded

# names in declarations that files hold already
_DECLARED_AS = {'Downsample': 'Reduce'}


@dataclass(frozen=True)
class Domain:
    """Operations in their order; one of them is `Downsample`."""

    operations: tuple[Operation, ...]

    def __call__(self, hr: np.ndarray, scale: int, seed: int) -> np.ndarray:
        """An LR image of this domain: (H, W, 3), BGR, float32, [0, 1] -> (H / scale, W / scale, 3).

        The global generators of NumPy and Python, seeded with `seed`, are left as they were.
        """
        with global_generators_seeded(seed):
            for operation in self.operations:
                hr = operation(hr, scale)
        return np.clip(hr, 0, 1)

    def declaration(self) -> list[dict[str, Any]]:
        """The operations as plain data: a name and parameters each."""
        named = [(type(operation).__name__, operation) for operation in self.operations]
        return [{'operation': _DECLARED_AS.get(name, name), **asdict(operation)} for name, operation in named]


DOMAINS = {
    'noise': Domain((Downsample(), SensorNoise(shot=0.004, read=0.004))),
    'blur': Domain((Blur((2.4, 3.2)), Downsample())),
    'jpeg': Domain((Downsample(), Jpeg((35, 45)))),
    'mixed': Domain(
        (Blur((1.6, 2.4), ('iso', 'aniso')), Downsample(), SensorNoise(shot=0.002, read=0.003), Jpeg((55, 65)))
    ),
    # NTIRE 2020 real-world challenge, track 1: clean downsampling, then sensor noise that is alike in all images
    'ntire2020': Domain((Downsample('bicubic'), SensorNoise(shot=0.001, read=0.012))),
}
