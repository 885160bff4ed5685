"""The classes that an option file names: whose they are, and what they inherit."""

import inspect
from collections.abc import Callable
from typing import Any

from basicsr.utils.registry import DATASET_REGISTRY, MODEL_REGISTRY

from pdd_arch.options.basic import BasicOptions
from pdd_arch.options.run_options import RunOptions
from pdd_arch.utils.registration import registered_as

_PUBLISHED = ('basicsr', 'realesrgan')


def model_of(options: RunOptions) -> type:
    """The class of ``model_type``."""
    found = registered_as('model', MODEL_REGISTRY, options.file.model_type, 'model_type')
    assert inspect.isclass(found)
    return found


def dataset_of(kind: str, where: str) -> Callable[..., Any]:
    """The class of a dataset section at `where`."""
    return registered_as('dataset', DATASET_REGISTRY, kind, f'{where}.type')


def is_published(owner: Callable[..., Any]) -> bool:
    """Whether a class or function is BasicSR's or Real-ESRGAN's."""
    return owner.__module__.partition('.')[0] in _PUBLISHED


def derives_from(cls: type, *names: str) -> bool:
    """Whether a class is, or derives from, one of these names: Real-ESRGAN has classes of the same names twice."""
    return any(base.__name__ in names and is_published(base) for base in inspect.getmro(cls))


def method_of(cls: type, name: str) -> str:
    """``SRModel.setup_schedulers``: the published class from which a method is inherited; empty for one's own."""
    for base in inspect.getmro(cls):
        if name in vars(base):
            return f'{base.__name__}.{name}' if is_published(base) else ''
    return ''


def upscales_images(options: RunOptions) -> bool:
    """Whether the model is known to hand crops of HR and LR images to its networks as they are."""
    if not isinstance(options.file, BasicOptions):
        return True
    model = model_of(options)
    return (
        is_published(model)
        and derives_from(model, 'SRModel')
        and not derives_from(model, 'VideoBaseModel', 'HiFaceGANModel')
    )
