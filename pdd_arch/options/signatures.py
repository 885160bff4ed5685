"""Classes and functions that options name, and their keywords, judged by their signature."""

import importlib
import inspect
import io
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY

from pdd_arch.errors import OptionError
from pdd_arch.options.schema import Optimizer, OtherSchedule
from pdd_arch.utils.registration import registered_as
from pdd_arch.utils.user_modules import HOW_TO_IMPORT
from pdd_arch.utils.wording import did_you_mean, show, show_key

#: classes of torch.optim that need more than a gradient, or are no optimizer
_UNSUITABLE = ('Optimizer', 'LBFGS', 'SparseAdam')
#: steps of a schedule that a check takes one by one; then it looks at the last
_STEPS_TRIED = 10_000
#: schedules of torch that need more than numbers, and what
_UNSUITABLE_SCHEDULES = {
    'LambdaLR': 'needs a function, which an option file cannot hold',
    'MultiplicativeLR': 'needs a function, which an option file cannot hold',
    'SequentialLR': 'needs other schedules, which an option file cannot hold',
    'ChainedScheduler': 'needs other schedules, which an option file cannot hold',
    'ReduceLROnPlateau': 'follows a metric, and the loop steps schedules without one',
}


def check_network(key: str, options: Mapping[str, Any], scale: int | None = None) -> None:
    """The network of a section (`key`: ``network_g``) is registered and takes the options given.

    A scale among them must be `scale`.
    """
    kind = options.get('type', '')
    network = registered_as('network', ARCH_REGISTRY, kind, f'{key}.type')
    check_keywords(key, kind, network, {k: v for k, v in options.items() if k != 'type'})
    parameters = inspect.signature(network).parameters
    for name, value in options.items():
        default = parameters[name].default if name in parameters else None
        if isinstance(value, str) and isinstance(default, int | float) and not isinstance(default, bool):
            raise OptionError(where=f'{key}.{name}', expected='a number', found=show(value))
    for name in ('scale', 'upscale'):
        if scale is not None and name in options and options[name] != scale:
            raise OptionError(
                f'{show(options[name])}, but scale is {scale}',
                where=f'{key}.{name}',
                way_out='They must be the same.',
            )


def check_keywords(
    path: str, kind: str, target: Callable[..., Any], given: Mapping[str, Any], filled: Iterable[str] = ()
) -> None:
    """`target`, named `kind`, takes the keywords `given` and has those it needs; the caller adds `filled`."""
    parameters = inspect.signature(target).parameters
    named = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    settable = [n for n in named if n not in filled]
    for name in given:
        if not isinstance(name, str):
            raise OptionError(where=f'{path}.{show_key(name)}', expected='words as keys')
        if name in settable or (takes_any and not did_you_mean(name, settable)):
            continue
        hint = did_you_mean(name, settable) or f'Known: {", ".join(settable)}.'
        raise OptionError(f'{kind} has no such option', where=f'{path}.{show_key(name)}', way_out=hint)
    for name in settable:
        if name not in given and parameters[name].default is inspect.Parameter.empty:
            raise OptionError(f'missing, {kind} needs it', where=f'{path}.{name}')


def check_kinds(path: str, target: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Values are of the kind of the parameter's default: a switch, a number, a word.

    Weights and the like are used long after they are set: a word among them would stop the run in the middle.
    """
    parameters = inspect.signature(target).parameters
    for name, value in given.items():
        default = parameters[name].default if name in parameters else None
        if isinstance(default, bool):
            wrong, expected = not isinstance(value, bool), 'true or false'
        elif isinstance(default, int | float) or name.endswith('weight'):
            wrong, expected = not _is_number(value), 'a number'
        elif isinstance(default, str):
            wrong, expected = not isinstance(value, str), 'a word'
        else:
            continue
        if wrong:
            raise OptionError(where=f'{path}.{name}', expected=expected, found=show(value))


def check_arguments(
    path: str, target: Callable[..., Any], options: Mapping[str, Any], filled: Iterable[str] = ()
) -> dict[str, Any]:
    """The keywords in a section for `target`, which its ``type`` names, checked by name and kind."""
    given = {k: v for k, v in options.items() if k != 'type'}
    check_keywords(path, options['type'], target, given, filled)
    check_kinds(path, target, given)
    return given


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def class_at(path: str, where: str) -> type:
    """The class that a dotted path (``torch.optim.Adam``) names; OptionError where it cannot be imported."""
    module_name, _, name = path.rpartition('.')
    if not all(part.isidentifier() for part in path.split('.')):
        expected = 'the path of a class, for example torch.optim.AdamW'
        raise OptionError(where=where, expected=expected, found=show(path))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as e:
        if e.name is None or not f'{module_name}.'.startswith(f'{e.name}.'):
            raise _import_failed(module_name, e, where) from e
        way_out = f'Install its package, or correct the path. {HOW_TO_IMPORT}'
        raise OptionError(f'there is no module {show(e.name)}', where=where, way_out=way_out) from None
    except (Exception, SystemExit) as e:
        raise _import_failed(module_name, e, where) from e
    found = getattr(module, name, None)
    if not isinstance(found, type):
        hint = did_you_mean(name, (n for n, value in vars(module).items() if isinstance(value, type)))
        raise OptionError(f'{module_name} has no class {show(name)}', where=where, way_out=hint)
    return found


def _import_failed(module: str, error: BaseException, where: str) -> OptionError:
    reason = ' '.join(f'{type(error).__name__}: {error}'.split())[:300]
    return OptionError(f'importing {module} fails ({reason})', where=where)


def optimizer_class(kind: str, where: str) -> type[torch.optim.Optimizer]:
    """The class of ``torch.optim``, or at a path, that the optimizer section at `where` names."""
    known = {name: cls for name, cls in vars(torch.optim).items() if isinstance(cls, type) and name not in _UNSUITABLE}
    if '.' in kind:
        found = class_at(kind, f'{where}.type')
        unsuitable = any(found is getattr(torch.optim, name) for name in _UNSUITABLE)
        if issubclass(found, torch.optim.Optimizer) and not unsuitable:
            return found
    if kind not in known:
        raise OptionError(
            f'unknown optimizer {kind!r}' if '.' not in kind else f'{kind} is no such optimizer',
            where=f'{where}.type',
            expected='a class of torch.optim that works on gradients alone, for example Adam, or the path of another',
            way_out=did_you_mean(kind, known),
        )
    return known[kind]


def scheduler_class(kind: str, where: str) -> type[torch.optim.lr_scheduler.LRScheduler]:
    """The class of a schedule at a path; OptionError for one that an option file cannot describe."""
    found, schedulers = class_at(kind, f'{where}.type'), torch.optim.lr_scheduler
    if not issubclass(found, schedulers.LRScheduler) or found is schedulers.LRScheduler:
        raise OptionError(f'{kind} is no schedule of a learning rate', where=f'{where}.type')
    for name, reason in _UNSUITABLE_SCHEDULES.items():
        if issubclass(found, getattr(schedulers, name)):
            raise OptionError(
                f'{kind} {reason}',
                where=f'{where}.type',
                way_out='Derive a class of your own that needs no such argument, and give its path.',
            )
    return found


def check_optimizer(options: Optimizer, where: str, device: str = 'cpu') -> torch.optim.Optimizer:
    """The optimizer of the section at `where` exists, takes the options given, and steps; gives one of a tiny network.

    Raises:
        OptionError: what of this is not so, or its state cannot be kept in a training state.
    """
    optimizer = optimizer_class(options.type, where)
    given = check_arguments(where, optimizer, options.given(), filled=('params',))
    if optimizer.__module__.startswith('torch.') and len(options.betas) != 2:
        raise OptionError(where=f'{where}.betas', expected='two numbers in [0, 1)', found=show(options.betas))
    # of a convolution and its bias
    parameters = [torch.nn.Parameter(torch.ones(*shape, device=device)) for shape in ((2, 2, 3, 3), (2,))]
    try:
        built = optimizer(parameters, **given)
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, 0.1)
        if switches(built):
            built.train()  # type: ignore[attr-defined]
        built.step()
    except Exception as e:  # whatever an optimizer makes of wrong values
        raise _does_not_work(options.type, e, where) from None
    _check_can_be_saved(options.type, built.state_dict(), where)
    return built


def check_schedule_class(options: OtherSchedule, optimizer: torch.optim.Optimizer, steps: int, where: str) -> None:
    """The schedule of the section at `where` takes the options given and goes on for `steps`; as `check_optimizer`."""
    scheduler = scheduler_class(options.type, where)
    given = check_arguments(where, scheduler, options.given(), filled=('optimizer', 'last_epoch'))
    try:
        built = scheduler(optimizer, **given)
        optimizer.step()  # torch warns of a schedule that moves before it
        for reached in (*range(min(steps, _STEPS_TRIED)), *([steps - 1] if steps > _STEPS_TRIED else [])):
            built.last_epoch = reached  # the last one: some schedules refuse to go on beyond their own end
            built.step()
            rates = [group['lr'] for group in optimizer.param_groups]
            if not all(0 <= float(rate) < math.inf for rate in rates):
                raise ValueError(f'the learning rate becomes {rates[0]}')
    except Exception as e:  # whatever a schedule makes of wrong values
        raise _does_not_work(options.type, e, where) from None
    _check_can_be_saved(options.type, built.state_dict(), where)


def switches(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimizer trains other weights than are to be used, and switches between them (schedulefree's)."""
    return all(callable(getattr(optimizer, name, None)) for name in ('train', 'eval'))


def _does_not_work(kind: str, error: Exception, where: str) -> OptionError:
    reason = ' '.join(str(error).split())[:200] or type(error).__name__
    return OptionError(f'{kind}: {reason}', where=where)


def _check_can_be_saved(kind: str, state: dict[str, Any], where: str) -> None:
    """Training states are read without running code: they hold tensors, numbers, texts and containers of them."""
    buffer = io.BytesIO()
    try:
        torch.save(state, buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True)
    except Exception as e:  # whatever cannot be pickled
        reason = ' '.join(str(e).split())[:200]
        raise OptionError(
            f'{kind}: its state_dict() holds more than tensors, numbers, texts and containers ({reason})',
            where=f'{where}.type',
            way_out='A run could not be resumed: choose another, or give it a state_dict() without them.',
        ) from None
