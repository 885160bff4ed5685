"""Any metric of IQA-PyTorch (pyiqa), an optional extra; mind that its licence is non-commercial."""

import functools

import numpy as np
import torch
from basicsr.utils.registry import METRIC_REGISTRY

from pdd_arch.errors import OptionError
from pdd_arch.metrics.images import check_same_shape, device, to_tensor
from pdd_arch.utils.registration import register


@functools.lru_cache(maxsize=8)
def _metric(name: str):
    try:
        import pyiqa
    except ImportError as e:
        raise OptionError(
            'calculate_iqa needs the package pyiqa (non-commercial licence). Install it with: pip install pyiqa'
        ) from e
    try:
        return pyiqa.create_metric(name, device=device())
    except (KeyError, AssertionError) as e:
        raise OptionError(f'calculate_iqa metric: pyiqa knows no metric {name!r}; see pyiqa.list_models()') from e


@register(METRIC_REGISTRY)
def calculate_iqa(
    img: np.ndarray,
    crop_border: int,
    metric: str,
    img2: np.ndarray | None = None,
    input_order: str = 'HWC',
    **kwargs,
) -> float:
    """A metric of pyiqa by name (``dists``, ``musiq``, ``niqe`` ...), built once per process.

    Args:
        img: (H, W, 3), BGR, [0, 255].
        crop_border: pixels cut from each side.
        metric: pyiqa's name.
        img2: ground truth; used by full-reference metrics only.
        input_order: ``HWC`` | ``CHW``.
        **kwargs: ignored, as in BasicSR's metrics (``better``).

    Raises:
        OptionError: pyiqa is not installed, knows no such metric, or the metric needs a ground truth.
    """
    model = _metric(metric)
    a = to_tensor(img, crop_border, input_order)
    with torch.no_grad():
        if model.metric_mode != 'FR':
            return model(a).item()
        if img2 is None:
            raise OptionError(f'calculate_iqa metric: {metric} compares with a ground truth, which is missing')
        b = to_tensor(img2, crop_border, input_order)
        check_same_shape(a, b)
        return model(a, b).item()
