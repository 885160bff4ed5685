"""The random generators of one process: their state in a form that a file can hold, and blocks that leave it alone."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

#: by library: ``python``, ``numpy``, ``torch`` and, where it is in use, ``cuda``; tensors and plain values only
RandomState = dict[str, Any]


def random_state() -> RandomState:
    """State of Python's, numpy's and torch's generators, the latter on the CPU and on every visible CUDA device."""
    version, internal, gauss = random.getstate()
    numpy: dict[str, Any] = np.random.get_state(legacy=False)
    state = {
        'python': {'version': version, 'internal': torch.tensor(internal, dtype=torch.int64), 'gauss': gauss},
        'numpy': {
            'kind': str(numpy['bit_generator']),
            'keys': torch.from_numpy(numpy['state']['key'].astype(np.int64)),
            'position': int(numpy['state']['pos']),
            'has_gauss': int(numpy['has_gauss']),
            'cached': float(numpy['gauss']),
        },
        'torch': torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state['cuda'] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: RandomState) -> None:
    """Continue the generators from :func:`random_state`. Devices that the state knows nothing of are left alone."""
    python, numpy = state['python'], state['numpy']
    random.setstate((python['version'], tuple(python['internal'].tolist()), python['gauss']))
    keys = numpy['keys'].numpy().astype(np.uint32)
    np.random.set_state((numpy['kind'], keys, numpy['position'], numpy['has_gauss'], numpy['cached']))
    torch.set_rng_state(state['torch'])
    if torch.cuda.is_available():
        for device, saved in zip(range(torch.cuda.device_count()), state.get('cuda', ()), strict=False):
            torch.cuda.set_rng_state(saved, device)


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """After the block the generators go on from where they were before it."""
    before = random_state()
    try:
        yield
    finally:
        restore_random_state(before)


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
