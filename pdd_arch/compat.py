"""What makes BasicSR 1.4.2 and Real-ESRGAN 0.3.0 importable, and repairs them outside of training.

Nothing in site-packages is edited: modules that are gone are put back under their old name before BasicSR is first
imported, and a few methods of BasicSR are replaced in memory afterwards; each function below says why. What bends
BasicSR's pipelines is in `pdd_arch.basicsr_loop`.
"""

import functools
import importlib
import sys
import types
import warnings
from typing import Any


def _provide_functional_tensor() -> None:
    """torchvision 0.17 removed ``transforms.functional_tensor``; basicsr/data/degradations.py imports it."""
    name = 'torchvision.transforms.functional_tensor'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # torchvision 0.15 and 0.16 have it and warn
        try:
            importlib.import_module(name)
            return
        except ImportError:
            pass
    from torchvision.transforms.functional import rgb_to_grayscale

    _provide(name, rgb_to_grayscale=rgb_to_grayscale)


def _provide_scipy_filters() -> None:
    """SciPy 1.8 deprecated ``scipy.ndimage.filters`` and SciPy 2 removes it; basicsr/metrics/niqe.py imports it."""
    if 'scipy.ndimage.filters' not in sys.modules:
        from scipy.ndimage import convolve, gaussian_filter

        _provide('scipy.ndimage.filters', convolve=convolve, gaussian_filter=gaussian_filter)


def _provide(name: str, **content: object) -> None:
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(content)


def _look_up_quietly() -> None:
    """basicsr 1.4.2 keeps names that Real-ESRGAN registers too under ``NAME_basicsr``, and prints it when looked up."""
    from basicsr.utils.registry import Registry

    def get(self: Any, name: str, suffix: str = 'basicsr') -> Any:
        found = self._obj_map.get(name) or self._obj_map.get(f'{name}_{suffix}')
        if found is None:
            raise KeyError(f"No object named '{name}' found in '{self._name}' registry!")
        return found

    Registry.get = get


def _pass_on_prefetch_errors() -> None:
    """``prefetch_mode: cpu`` of basicsr 1.4.2 waits for ever when loading fails: the thread dies with the error."""
    from basicsr.data.prefetch_dataloader import PrefetchGenerator

    def run(self: Any) -> None:
        try:
            for item in self.generator:
                self.queue.put(item)
        except BaseException as e:  # handed to the thread that waits
            self.queue.put(e)
        self.queue.put(None)

    def next_item(self: Any) -> Any:
        item = self.queue.get()
        if item is None:
            raise StopIteration
        if isinstance(item, BaseException):
            raise item
        return item

    PrefetchGenerator.run, PrefetchGenerator.__next__ = run, next_item


def _filter_in_any_memory_format() -> None:
    """``filter2D`` of basicsr 1.4.2 cannot ``view`` channels-last images, and the JPEG before it in Real-ESRGAN's
    models gives such images: on the CPU its padding keeps their format.
    """
    from basicsr.utils import img_process_util

    plain = img_process_util.filter2D
    if hasattr(plain, '__wrapped__'):
        return

    @functools.wraps(plain)
    def filter2D(img: Any, kernel: Any) -> Any:
        return plain(img.contiguous(), kernel)

    for module in list(sys.modules.values()):  # the models have imported it by name
        if getattr(module, '__dict__', {}).get('filter2D') is plain:
            vars(module)['filter2D'] = filter2D


def _build_vgg_without_warnings() -> None:
    """torchvision 0.13 deprecated ``pretrained=``, with which basicsr/archs/vgg_arch.py builds the network of a
    perceptual loss: two warnings in each log, and an error once it is removed.
    """
    from basicsr.archs import vgg_arch
    from torchvision.models import get_model

    def builder(name: str) -> Any:
        return lambda pretrained: get_model(name, weights='IMAGENET1K_V1' if pretrained else None)

    names = [f'vgg{depth}{norm}' for depth in (11, 13, 16, 19) for norm in ('', '_bn')]
    vgg_arch.vgg = types.SimpleNamespace(**{name: builder(name) for name in names})


def _align_without_cuda() -> None:
    """``BasicVSRPlusPlus`` of basicsr 1.4.2 leaves its alignment out where there is no GPU, and warns: the network is
    another one, which no checkpoint fits. Its deformable convolution is torchvision's, which runs on the CPU too.
    """
    import torch
    from basicsr.archs.basicvsrpp_arch import BasicVSRPlusPlus

    plain = BasicVSRPlusPlus.__init__
    if hasattr(plain, '__wrapped__'):
        return

    @functools.wraps(plain)
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        is_available, torch.cuda.is_available = torch.cuda.is_available, lambda: True
        try:
            plain(self, *args, **kwargs)
        finally:
            torch.cuda.is_available = is_available

    BasicVSRPlusPlus.__init__ = construct


def apply() -> None:
    """Make BasicSR importable, import it, and repair it. Doing it again, or after a failed import, is harmless."""
    _provide_functional_tensor()
    _provide_scipy_filters()
    with warnings.catch_warnings():
        # third-party import noise that a user can do nothing about
        warnings.simplefilter('ignore', DeprecationWarning)
        warnings.simplefilter('ignore', FutureWarning)
        importlib.import_module('basicsr')
    _reattach_modules()
    _look_up_quietly()
    _pass_on_prefetch_errors()
    _filter_in_any_memory_format()
    _build_vgg_without_warnings()
    _align_without_cuda()


def _reattach_modules() -> None:
    """After an ``import basicsr`` that failed, its loaded submodules are known to Python but not to their package."""
    for name, module in list(sys.modules.items()):
        package, _, child = name.rpartition('.')
        if package.split('.')[0] == 'basicsr' and not hasattr(sys.modules[package], child):
            setattr(sys.modules[package], child, module)
