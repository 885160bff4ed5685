"""Code that sends tensors to a GPU by itself, on a machine or for a run without one."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class WithoutCuda(TorchFunctionMode):
    """Within it what is sent to a GPU stays on, or is made on, the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.cuda:
            return args[0]
        kwargs = kwargs or {}
        if str(kwargs.get('device')).startswith('cuda'):
            kwargs = kwargs | {'device': 'cpu'}
        return func(*args, **kwargs)
