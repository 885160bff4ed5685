"""Random numbers of libraries that know only the global generators."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def global_generators_seeded(seed: int) -> Iterator[None]:
    """Within the block the generators of NumPy and Python start from `seed`; afterwards they go on where they were.

    BasicSR's degradations draw from both.
    """
    before = np.random.get_state(), random.getstate()
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before[0])
        random.setstate(before[1])
