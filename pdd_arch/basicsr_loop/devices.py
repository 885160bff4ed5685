"""Models that call ``.cuda()`` themselves, on the device that the options ask for."""

import functools
from collections.abc import Callable
from typing import Any

import torch

from pdd_arch.utils.without_cuda import WithoutCuda


def on_the_asked_device(build_model: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """``build_model`` whose models work on the CPU with ``num_gpu: 0``, also those that call ``.cuda()`` themselves."""

    @functools.wraps(build_model)
    def build(opt: dict[str, Any]) -> Any:
        if opt['num_gpu'] != 0 or opt['model_type'] == 'PDDModel':  # which follows num_gpu
            return build_model(opt)
        with WithoutCuda():
            model = build_model(opt)
        model.feed_data = _with_own_tensors(model.feed_data)
        for name in ('feed_data', 'optimize_parameters', 'validation'):
            setattr(model, name, _without_cuda(getattr(model, name)))
        return model

    return build


def _without_cuda(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def on_the_cpu(*args: Any, **kwargs: Any) -> Any:
        with WithoutCuda():
            return method(*args, **kwargs)

    return on_the_cpu


def _with_own_tensors(feed_data: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """``feed_data`` that gives the model tensors of its own, as sending them to a GPU does.

    `VideoRecurrentModel` changes the shape of a clip in place after it has given it to itself.
    """

    @functools.wraps(feed_data)
    def feed(data: dict[str, Any]) -> None:
        feed_data({k: v.view_as(v) if isinstance(v, torch.Tensor) else v for k, v in data.items()})

    return feed
