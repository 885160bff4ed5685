"""What a machine can do at most: the floor of every measurement."""

import platform
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from pdd_arch.utils.host import processor_name

DTYPES = {'float32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}


def synchronise(device: str) -> None:
    """Wait for the device."""
    if device == 'cuda':
        torch.cuda.synchronize()


def best_time(function: Callable[[], object], device: str, repeats: int = 5) -> float:
    """Seconds of the fastest of several calls, after one that does not count."""
    function()
    times = []
    for _ in range(repeats):
        synchronise(device)
        start = time.perf_counter()
        function()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return min(times)


def ceilings(device: str, dtype: str = 'float32') -> dict[str, float]:
    """Largest measured rates: multiplications of matrices and 3x3 convolutions (flop/s), copies (bytes/s)."""
    n = 4096 if device == 'cuda' else 1024
    kind = DTYPES[dtype]
    a, b = (torch.randn(n, n, device=device, dtype=kind) for _ in range(2))
    side, images = (192, 16) if device == 'cuda' else (96, 2)
    x = torch.randn(images, 64, side, side, device=device, dtype=kind).to(memory_format=torch.channels_last)
    w = torch.randn(64, 64, 3, 3, device=device, dtype=kind).to(memory_format=torch.channels_last)
    big = torch.randn(2**27 if device == 'cuda' else 2**24, device=device)
    with torch.no_grad():
        return {
            'matmul_flops': 2 * n**3 / best_time(lambda: a @ b, device),
            'conv_flops': 2 * images * side**2 * 64 * 64 * 9 / best_time(lambda: F.conv2d(x, w, padding=1), device),
            # each number is read once and written once
            'bytes': 2 * big.numel() * 4 / best_time(lambda: big.clone(), device),
        }


def description(device: str) -> dict[str, str | int]:
    """The machine in words."""
    found = {
        'device': torch.cuda.get_device_name() if device == 'cuda' else processor_name(),
        'threads': torch.get_num_threads(),
        'python': platform.python_version(),
        'torch': torch.__version__,
    }
    if device == 'cuda':
        found |= {'cuda': torch.version.cuda or '', 'tf32': str(torch.backends.cudnn.allow_tf32)}
    return found
