"""Every shim for BasicSR 1.4.2 and Real-ESRGAN 0.3.0, each with its reason and the versions it is for.

Nothing in site-packages is edited: modules that are gone are put back under their old name before BasicSR is first
imported, and a few functions of BasicSR are replaced in memory afterwards. ``import pdd_arch`` does both; doing it
twice, or after an ``import basicsr`` that failed, is harmless.
"""

import functools
import importlib
import sys
import types
import warnings


def before_import() -> None:
    """What must be in place before the first ``import basicsr``."""
    _provide_functional_tensor()
    _provide_scipy_filters()


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

    module = types.ModuleType(name)
    module.rgb_to_grayscale = rgb_to_grayscale
    sys.modules[name] = module


def _provide_scipy_filters() -> None:
    """SciPy 1.8 deprecated ``scipy.ndimage.filters`` and SciPy 2 removes it; basicsr/metrics/niqe.py imports it."""
    import scipy.ndimage

    name = 'scipy.ndimage.filters'
    if name not in sys.modules:
        module = types.ModuleType(name)
        module.convolve = scipy.ndimage.convolve
        module.gaussian_filter = scipy.ndimage.gaussian_filter
        sys.modules[name] = module


def after_import() -> None:
    """Replace what is broken in the imported BasicSR. Each function below says what and why."""
    _replace_parse_options()
    _replace_load_resume_state()
    _replace_init_dist()
    _look_up_quietly()
    _pass_on_prefetch_errors()
    _tell_samplers_position()
    _follow_the_loop()
    _name_unreadable_validation_images()


def _replace_parse_options() -> None:
    """BasicSR loads YAML with a loader that runs code, applies ``--force_yml`` with exec, and checks nothing.

    For basicsr 1.4.2. Both pipelines import the name, so it is replaced where they look it up.
    """
    import basicsr.test
    import basicsr.train
    import basicsr.utils.options

    from pdd_arch.options.command_line import parse_options

    for module in (basicsr.utils.options, basicsr.train, basicsr.test):
        module.parse_options = parse_options


def _replace_load_resume_state() -> None:
    """basicsr 1.4.2 resumes on CUDA only, and looks for states below the current directory whatever the root."""
    import basicsr.train

    from pdd_arch.training.resume import load_resume_state

    basicsr.train.load_resume_state = load_resume_state


def _replace_init_dist() -> None:
    """basicsr 1.4.2 hard-wires nccl and ``torch.cuda.set_device``: on the CPU every launcher fails. gloo there.

    It also takes the global rank modulo the GPUs for the device; torchrun and SLURM say the local rank.
    """
    import basicsr.utils.dist_util as dist_util

    from pdd_arch.distributed import launchers

    dist_util.init_dist = launchers.init_dist


def _look_up_quietly() -> None:
    """basicsr 1.4.2 keeps names that Real-ESRGAN registers too under ``NAME_basicsr``, and prints it when looked up."""
    from basicsr.utils.registry import Registry

    def get(self, name: str, suffix: str = 'basicsr'):
        found = self._obj_map.get(name) or self._obj_map.get(f'{name}_{suffix}')
        if found is None:
            raise KeyError(f"No object named '{name}' found in '{self._name}' registry!")
        return found

    Registry.get = get


def _pass_on_prefetch_errors() -> None:
    """``prefetch_mode: cpu`` of basicsr 1.4.2 waits for ever when loading fails: the thread dies with the error."""
    from basicsr.data.prefetch_dataloader import PrefetchGenerator

    class Failure:
        def __init__(self, error: BaseException) -> None:
            self.error = error

    def run(self) -> None:
        try:
            for item in self.generator:
                self.queue.put(item)
        except BaseException as e:  # handed to the thread that waits
            self.queue.put(Failure(e))
        self.queue.put(None)

    def next_item(self):
        item = self.queue.get()
        if isinstance(item, Failure):
            raise item.error
        if item is None:
            raise StopIteration
        return item

    PrefetchGenerator.run, PrefetchGenerator.__next__ = run, next_item


def _tell_samplers_position() -> None:
    """Indices from BasicSR's sampler also carry epoch and position, so that a sample can be drawn from them alone.

    For basicsr 1.4.2, whose random draws depend on the number of workers, and which starts a resumed epoch from its
    first sample. The indices stay integers: datasets that do not know of positions see no difference.
    """
    from basicsr.data.data_sampler import EnlargedSampler

    from pdd_arch.training.loading import remaining_samples

    if getattr(EnlargedSampler.__iter__, 'tells_position', False):
        return
    plain = EnlargedSampler.__iter__

    @functools.wraps(plain)
    def iterate(self):
        return remaining_samples(self, plain(self))

    iterate.tells_position = True
    EnlargedSampler.__iter__ = iterate


def _follow_the_loop() -> None:
    """basicsr 1.4.2 tells nobody how far it has come, miscounts epochs, and cannot be stopped between iterations."""
    import basicsr.data
    import basicsr.train
    import basicsr.utils.misc

    from pdd_arch.training import loading, pipeline

    for name in ('CPUPrefetcher', 'CUDAPrefetcher'):
        plain = getattr(basicsr.train, name)
        if not hasattr(plain, 'plain'):
            setattr(basicsr.train, name, loading.tracked(plain))
    if not hasattr(basicsr.train.create_train_val_dataloader, '__wrapped__'):
        basicsr.train.create_train_val_dataloader = loading.counting_epochs(basicsr.train.create_train_val_dataloader)
    basicsr.data.worker_init_fn = loading.worker_init_fn
    basicsr.train.init_tb_logger = pipeline.init_tb_logger
    if not hasattr(basicsr.train.get_time_str, '__wrapped__'):
        basicsr.train.get_time_str = pipeline.log_time(basicsr.train.get_time_str)
    for module in (basicsr.train, basicsr.utils.misc):
        module.mkdir_and_rename = pipeline.mkdir_and_rename
    if not hasattr(basicsr.train.build_model, '__wrapped__'):
        basicsr.train.build_model = pipeline.remembering(basicsr.train.build_model)
    if not hasattr(basicsr.train.train_pipeline, '__wrapped__'):
        basicsr.train.train_pipeline = pipeline.supervised(basicsr.train.train_pipeline)


def _name_unreadable_validation_images() -> None:
    """basicsr 1.4.2 meets an unreadable image with ``'NoneType' object has no attribute 'astype'`` and no name."""
    import cv2
    from basicsr.data.paired_image_dataset import PairedImageDataset
    from basicsr.data.single_image_dataset import SingleImageDataset

    from pdd_arch.data.paired_check import explain_unreadable

    def wrap(cls) -> None:
        plain = cls.__getitem__
        if getattr(plain, 'names_unreadable', False):
            return

        @functools.wraps(plain)
        def get(self, index):
            try:
                return plain(self, index)
            except (AttributeError, TypeError, cv2.error) as e:
                entry = self.paths[index]
                paths = [v for k, v in entry.items() if k.endswith('_path')] if isinstance(entry, dict) else [entry]
                error = explain_unreadable(e, paths)
                if error is None:
                    raise
                raise error from None

        get.names_unreadable = True
        cls.__getitem__ = get

    wrap(PairedImageDataset)
    wrap(SingleImageDataset)


def apply() -> None:
    """Make BasicSR importable, import it, and repair it. Idempotent."""
    before_import()
    with warnings.catch_warnings():
        # third-party import noise that a user can do nothing about
        warnings.simplefilter('ignore', DeprecationWarning)
        warnings.simplefilter('ignore', FutureWarning)
        importlib.import_module('basicsr')
    _reattach_modules()
    after_import()


def _reattach_modules() -> None:
    """After an ``import basicsr`` that failed, its loaded submodules are known to Python but not to their package."""
    for name, module in list(sys.modules.items()):
        package, _, child = name.rpartition('.')
        if package.split('.')[0] == 'basicsr' and not hasattr(sys.modules[package], child):
            setattr(sys.modules[package], child, module)
