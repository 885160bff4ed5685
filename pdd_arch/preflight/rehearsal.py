"""A training step and a validation of a model of any kind, in memory and without numbers, before the run.

The model is built, and takes a batch of the sizes that its data has, on fake tensors: they have shapes and no values,
so that this takes seconds and little memory, whatever the network. What a class of BasicSR or of the user says about
its options, losses, optimizers, networks and batch is found so, in the words of that class. Where the step needs
values, and to confirm that an error is not one of fake tensors, two images are taken instead, with values. Folders of
outputs are empty temporary ones meanwhile: classes of the user's own may write there, in their constructors, too.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.data import default_collate

from pdd_arch.errors import OptionError, PDDError
from pdd_arch.options.run_options import RunOptions
from pdd_arch.options.tracked import Asked, TrackedOptions
from pdd_arch.preflight.classes import derives_from, model_of
from pdd_arch.preflight.outputs import OUTPUT_FOLDERS
from pdd_arch.preflight.trial import NotAtHandError, explained, trial
from pdd_arch.utils.without_cuda import WithoutCuda

#: what a dataset gives for one index
Sample = Mapping[str, Any]


class _NeedsValuesError(Exception):
    """A class looks at values, which fake tensors have not."""


class _MissingEntryError(Exception):
    """A model asks a batch for an entry that its dataset does not give."""


class _Batch(dict[str, Any]):
    def __missing__(self, key: str) -> Any:
        raise _MissingEntryError(key)


class _OnTheCpu(WithoutCuda):
    """As its base, with ``num_gpu: 0``; without `values` a number stands for each value of a tensor."""

    def __init__(self, values: bool) -> None:
        super().__init__()
        self.values = values

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, '__name__', '')
        if not self.values:
            if name in ('item', '__float__'):
                return 1.0
            if name in ('__bool__', '__int__', '__index__'):
                return name == '__bool__' or 1
            if name in ('numpy', 'tolist', '__array__'):
                raise _NeedsValuesError(name)
        return super().__torch_function__(func, types, args, kwargs)


@contextlib.contextmanager
def _modules_stay() -> Iterator[None]:
    """Modules are not moved: parameters of fake tensors cannot be."""
    before = nn.Module.to, nn.Module.cuda

    def same(self: nn.Module, *_: object, **__: object) -> nn.Module:
        return self

    nn.Module.to = nn.Module.cuda = same  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        nn.Module.to, nn.Module.cuda = before  # type: ignore[method-assign]


class _Stage:
    """How far the model has come, for messages."""

    what, where, phase = 'cannot be built with these options', '', 'train'


def rehearse(options: RunOptions, samples: Mapping[str, Sample], asked: Asked) -> str | None:
    """Build the model of a run of any kind, let it train for one step and upscale an image of each validation set.

    Args:
        options: checked as far as that is possible without the model.
        samples: what the datasets give, by phase; those that could not be asked are left out.
        asked: gets what the model has asked its options for.

    Returns:
        What could not be tried, for a message; None where all was.

    Raises:
        PDDError: the model cannot be built with these options, or fails in the step.
    """
    _start_autograd()
    with tempfile.TemporaryDirectory() as folder:
        return _rehearse(options, samples, asked, os.path.realpath(folder))


def _rehearse(options: RunOptions, samples: Mapping[str, Sample], asked: Asked, folder: str) -> str | None:
    """`rehearse`, with a folder for what the model writes."""
    name, stage = options.file.model_type, _Stage()
    try:
        with trial(), _modules_stay(), FakeTensorMode(allow_non_fake_inputs=True), _OnTheCpu(values=False):
            _run(_options(options, asked, folder), options, samples, stage, _fake)
        return None
    except (_MissingEntryError, PDDError) as e:
        raise _error_of(e, options, asked, stage) from e
    except Exception:
        stage = _Stage()  # it may be an error of fake tensors: once more with real ones
    try:
        with trial(), _OnTheCpu(values=True):
            _run(_options(options, asked, folder), options, samples, stage, _two)
    except NotAtHandError as e:
        return f'a training step of {name}, which would download {e}'
    except Exception as e:
        if isinstance(e, OSError) and str(e.filename).startswith(folder):
            return f'a training step of {name}, which reads what was written to its folder before'
        raise _error_of(e, options, asked, stage) from e
    return f'steps of {name} with more than two images'


def _start_autograd() -> None:
    """Let the first gradient of this process be one of real tensors.

    Where it is one of fake tensors, torch starts threads for devices that are not there, and from then on no process
    that is forked from this one can compute gradients.
    """
    torch.zeros((), requires_grad=True).backward()


def _run(
    opt: TrackedOptions,
    options: RunOptions,
    samples: Mapping[str, Sample],
    stage: _Stage,
    batch_of: Callable[[Sample, int], _Batch],
) -> None:
    cls = model_of(options)
    model = cls(opt)
    if options.is_train and 'train' in samples:
        stage.what, stage.where = 'fails in a training step on samples of datasets.train', 'train'
        for iteration in (1, 2):  # some learning rates move from the second on
            model.update_learning_rate(iteration, warmup_iter=opt['train'].get('warmup_iter', -1))
        model.feed_data(batch_of(samples['train'], options.file.datasets['train'].batch_size_per_gpu or 1))
        model.optimize_parameters(1)
        model.get_current_log()
    if derives_from(cls, 'RealESRNetModel', 'RealESRGANModel'):
        model.is_train = False  # as in their validation
    for phase, sample in samples.items():
        if phase != 'train' or not options.is_train:
            stage.what, stage.where, stage.phase = 'fails with its first sample', f'datasets.{phase}', phase
            model.feed_data(batch_of(sample, 1))
            model.test()


def _options(options: RunOptions, asked: Asked, folder: str) -> TrackedOptions:
    """The options of a run on the CPU that writes to `folder`, without weights, which are checked elsewhere."""
    opt = options.for_basicsr() | {'num_gpu': 0, 'dist': False, 'rank': 0, 'world_size': 1}
    for key in opt['path']:
        if key.startswith('pretrain_'):
            opt['path'][key] = None
        elif key in OUTPUT_FOLDERS:
            below = os.path.relpath(opt['path'][key], options.output_folder)
            opt['path'][key] = os.path.normpath(os.path.join(folder, below))
            os.makedirs(opt['path'][key], exist_ok=True)  # as in a run
    for key in ('gaussian_noise_prob', 'gaussian_noise_prob2'):
        if key in opt:  # Real-ESRGAN's Poisson noise counts the values of an image
            opt[key] = 1
    return TrackedOptions(opt, asked)


def _fake(sample: Sample, count: int) -> _Batch:
    """A batch of `count` such samples, without values."""
    return _Batch(
        {
            k: torch.empty((count, *v.shape), dtype=v.dtype) if isinstance(v, torch.Tensor) else _collated(v, count)
            for k, v in sample.items()
        }
    )


def _two(sample: Sample, count: int) -> _Batch:
    """A batch of this sample, twice where batches are not of single samples, which some layers cannot normalize."""
    return _Batch({k: _collated(v, min(count, 2)) for k, v in sample.items()})


def _collated(value: Any, count: int) -> Any:
    """What a data loader makes of an entry that `count` samples have in common.

    A list where torch's knows nothing of such entries: the dataset has a `collate` of its own then.
    """
    try:
        return default_collate([value] * count)
    except TypeError:
        return [value] * count


def _error_of(error: Exception, options: RunOptions, asked: Asked, stage: _Stage) -> PDDError:
    name = options.file.model_type
    if isinstance(error, _MissingEntryError):
        kind = options.file.datasets[stage.phase].type
        return OptionError(
            f'{kind} gives no {error.args[0]!r} in a sample, which {name} takes',
            where=f'datasets.{stage.phase}.type',
            way_out='Use a dataset that the model is for.',
        )
    return explained(error, name, asked, stage.what, stage.where)
