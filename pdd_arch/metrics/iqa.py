"""Any metric of IQA-PyTorch (pyiqa), an optional extra; mind that its licence is non-commercial."""

import functools
from typing import Any

import numpy as np
import torch
from basicsr.utils.registry import METRIC_REGISTRY

from pdd_arch.errors import MissingFileError, OptionError
from pdd_arch.metrics.images import device, to_tensors
from pdd_arch.utils.registration import register

METRIC = 'calculate_iqa metric'


@functools.lru_cache(maxsize=8)
def network(name: str) -> Any:
    """A metric of pyiqa, built once per process; pyiqa fetches its weights itself, without a hash of ours.

    Raises:
        OptionError: pyiqa is not installed, or knows no such metric.
        MissingFileError: it could not build it, as a rule because its weights cannot be downloaded.
    """
    try:
        import pyiqa
    except ImportError as e:
        raise OptionError(
            'calculate_iqa needs the package pyiqa (non-commercial licence)', way_out='Install it: pip install pyiqa'
        ) from e
    try:
        return pyiqa.create_metric(name, device=device())
    except (KeyError, AssertionError) as e:
        raise OptionError(f'pyiqa knows no metric {name!r}; see pyiqa.list_models()', where=METRIC) from e
    except Exception as e:  # whatever its downloader raises without a network
        reason = ' '.join(str(e).split())[:200]
        raise MissingFileError(
            f'pyiqa could not build {name!r} ({type(e).__name__}: {reason})',
            where=METRIC,
            way_out='It downloads its weights itself: run it once with internet access, and copy its cache.',
        ) from None


@register(METRIC_REGISTRY)
def calculate_iqa(
    img: np.ndarray,
    crop_border: int,
    metric: str,
    img2: np.ndarray | None = None,
    input_order: str = 'HWC',
    **kwargs: object,
) -> float:
    """A metric of pyiqa by name (``dists``, ``musiq``, ``niqe`` ...), built once per process.

    Args:
        img: (H, W, 3), BGR, [0, 255].
        crop_border: pixels cut from each side.
        metric: pyiqa's name.
        img2: ground truth; used by full-reference metrics only.
        input_order: ``HWC`` | ``CHW``.

    Raises:
        OptionError: pyiqa is not installed, knows no such metric, or the metric needs a ground truth.
    """
    model = network(metric)
    images = [img]
    if model.metric_mode == 'FR':
        if img2 is None:
            raise OptionError(f'{metric} compares with a ground truth, which is missing', where=METRIC)
        images.append(img2)
    with torch.no_grad():
        return model(*to_tensors(*images, crop_border=crop_border, input_order=input_order)).item()
