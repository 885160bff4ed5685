"""Reading weight files and training states, and checking that they belong to a network.

Reading never executes code: ``torch.load(weights_only=True)`` or safetensors; the checksums inside a file are verified
first.
"""

import contextlib
import hashlib
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from pdd_arch.errors import MissingFileError, WeightsError
from pdd_arch.utils.resources import resolve_bundled
from pdd_arch.weights import zoo
from pdd_arch.weights.content_kinds import instead_of, kind_of_content, kind_of_network, part_of_several
from pdd_arch.weights.file_kinds import A_WEIGHT_FILE, in_folder, pickled_object, weight_format
from pdd_arch.weights.prefixes import (
    PARAM_KEYS,
    is_state_dict,
    log,
    named_part,
    nearest,
    parts_for,
    removal,
    state_dicts,
)


def weight_file(path: str | Path, where: str = 'weights') -> Path:
    """The file on this machine that a path, ``bundled:NAME`` or ``zoo:NAME`` stands for, downloaded if need be."""
    if zoo.is_zoo(path):
        return zoo.fetch(str(path), where)
    file = Path(resolve_bundled(os.path.expanduser(str(path))))
    if not file.is_file():
        problem = 'is a folder, not a file' if file.is_dir() else 'does not exist'
        if file.exists() and not file.is_dir():
            problem = 'is a pipe or device, not a file'
        raise MissingFileError(
            f'{path} {problem}',
            where=where,
            way_out=in_folder(file) if file.is_dir() else f'Give the path of {A_WEIGHT_FILE}.',
        )
    return file


def read_checkpoint(
    path: str | Path, where: str = 'weights', lazy: bool = False, instead: str = A_WEIGHT_FILE
) -> dict[str, Any]:
    """Read a file of torch's or safetensors' format onto the CPU; of a published network ``{'params': ...}``.

    The content decides, not the extension. With `lazy`, tensors stay in the file until they are used, where its format
    allows it: copy those that are kept. `instead`: what is wanted, for a message about a file of another kind.
    Raises MissingFileError as :func:`weight_file`; WeightsError where it cannot be read, is something else, holds more
    than tensors and plain containers, or is not the published file.
    """
    file = weight_file(path, where)
    try:
        kind = weight_format(file, path, where, instead)
        content = (
            load_file(file)
            if kind == 'safetensors'
            else _load(file, lazy and kind == 'zip' and file.suffix != '.safetensors')
        )
    except WeightsError:
        raise
    except pickle.UnpicklingError as e:
        raise _refused(file, path, where, str(e)) from None
    except Exception as e:  # torch raises RuntimeError, EOFError, KeyError, zip errors ... for damaged files
        reason = re.sub(r'\x1b\[[0-9;]*m|\s+', ' ', str(e)).strip()[:200]
        raise WeightsError(
            f'{path} cannot be read as weights ({type(e).__name__} {reason})',
            where=where,
            way_out='It is probably truncated or not a weight file; download or copy it again.',
        ) from None
    if not isinstance(content, Mapping):
        raise WeightsError(
            f'{path} holds a {type(content).__name__}',
            where=where,
            expected='a dictionary of tensors',
            way_out='Save the state dict of the network, not something else.',
        )
    if not zoo.is_zoo(path):
        return dict(content)
    # authors nest the weights under params_ema (the average, which they deploy), under params, or not at all
    key = next((k for k in ('params_ema', 'params') if k in content), None)
    return {'params': dict(content if key is None else content[key])}


def _load(file: Path, lazy: bool) -> object:
    """Read torch's format, after its records have been compared with their CRC-32, which torch.load ignores."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f'wrong checksum of {damaged}')
    if lazy:
        return torch.load(file, map_location='cpu', weights_only=True, mmap=True)
    with file.open('rb') as stream:  # given a path, torch goes by its extension
        return torch.load(stream, map_location='cpu', weights_only=True)


def _refused(file: Path, path: str | Path, where: str, reason: str) -> WeightsError:
    """The error for a pickle that torch does not load; torch's own advice is to switch the check off."""
    whole = None
    with contextlib.suppress(Exception):  # a pickle that is damaged as well
        whole = pickled_object(file)
    if whole is not None:
        return WeightsError(
            f'{path} is refused: it holds an object as a whole ({whole}), such as a network, and not its tensors, '
            'which could run code when loaded',
            where=where,
            way_out="Where it was made, save the tensors alone: torch.save(net.state_dict(), 'net.pth').",
        )
    found = re.search(r'Unsupported (?:global: GLOBAL|class) \S+|GLOBAL \S+', reason)
    named = found.group() if found else "it is not torch's format"
    return WeightsError(
        f'{path} is refused: it is damaged or holds more than tensors and plain containers, which could run code when '
        f'loaded ({named})',
        where=where,
        way_out='Use a file that holds a state dict only; save it so where code of its origin may run, or download it '
        'again if it should be one.',
    )


def state_dict_of(
    content: Mapping[str, Any],
    param_key: str | None,
    path: str | Path,
    where: str,
    net: torch.nn.Module | None = None,
    key_option: str | None = None,
    say: Callable[[str], None] = log,
) -> dict[str, torch.Tensor]:
    """Pick the state dict of a network out of a checkpoint's content. Raises WeightsError where there is none.

    `param_key` is BasicSR's ``param_key_*``: None takes the root, and ``params_ema`` falls back to ``params``; a key
    within another is ``model.state_dict``. Names that older code gave to the layers of `net` are changed to its own,
    and a prefix of all tensors, or of those that belong to `net`, is removed, which `say` is called with. `key_option`
    sets `param_key`, for advice.
    """
    if param_key == 'params_ema' and 'params_ema' not in content and 'params' in content:
        param_key = 'params'
    found = content if param_key is None else named_part(content, param_key)
    if not isinstance(found, Mapping) or not is_state_dict(found):
        raise _no_state_dict(content, param_key, path, where, net, key_option)
    fitting = {} if net is None else parts_for(net, found)
    if len(fitting) > 1:
        raise WeightsError(
            f'{path} holds several such networks, below the prefixes {" and ".join(fitting)}',
            where=where,
            way_out=_key_advice(content, param_key, net, key_option),
        )
    prefix, state = next(iter(fitting.items()), None) or nearest(net, found)
    check_ordinary(state, path, where)
    if text := removal(path, prefix, len(state), len(found)):
        say(text)
    return state


def _no_state_dict(
    content: Mapping[str, Any],
    param_key: str | None,
    path: str | Path,
    where: str,
    net: torch.nn.Module | None,
    key_option: str | None,
) -> WeightsError:
    """The error for a file that has nothing, or something else, under the key that is asked for."""
    if (kind := kind_of_content(content)) is not None and not (net is not None and _keys_for(net, content)):
        wanted = 'the network' if net is None else type(net).__name__
        return WeightsError(f'{path} is {kind}', where=where, way_out=instead_of(kind, path, wanted))
    way_out = _key_advice(content, param_key, net, key_option)
    if param_key is not None and named_part(content, param_key) is None:
        nested = [key for key in state_dicts(content) if key]
        found = str(nested[:4] or sorted(map(str, content))[:4])
        return WeightsError(f'{path} has no key {param_key!r}', where=where, found=found, way_out=way_out)
    return WeightsError(
        f'{path} holds no state dict under {param_key!r}',
        where=where,
        expected='a dictionary of tensors',
        way_out=way_out,
    )


def _key_advice(
    content: Mapping[str, Any], param_key: str | None, net: torch.nn.Module | None, key_option: str | None
) -> str:
    """Which keys can be asked for: those of a state dict that fits. Without an option for it, which file to give."""
    wanted = 'is a state dict' if param_key is None else f'holds a state dict under {param_key!r}'
    if key_option is not None and (keys := _keys_for(net, content)):
        others = f' (or {", ".join(keys[1:4])})' if len(keys) > 1 else ''
        return f'Set {key_option}: {keys[0]}{others}'
    of_network = '' if net is None else f', with weights of {type(net).__name__}'
    return f'Give a file that {wanted}{of_network}.'


def _keys_for(net: torch.nn.Module | None, content: Mapping[str, Any]) -> list[str]:
    """The keys of a file under which there is exactly what fits a network, ``~`` for the root; all without one."""
    keys = []
    for key, state in state_dicts(content).items():
        fitting = {'': state} if net is None else parts_for(net, state)
        if len(fitting) == 1:
            keys.append(key or '~')
        keys += [f'{key}.{prefix}'.strip('.') for prefix in fitting] if len(fitting) > 1 else []
    return keys


def main_state_dict(content: Mapping[str, Any], path: str | Path, where: str) -> dict[str, torch.Tensor]:
    """The state dict of a file that is given without a key: the only one, else the average, else the one trained.

    Raises WeightsError where there is none, or none of the names is known.
    """
    found = state_dicts(content)
    kind = kind_of_content(content) or part_of_several(path)
    if kind is None and not found:
        kind = f'no weight file: its entries ({", ".join(sorted(map(str, content))[:4])}) hold no named tensors'
    if kind is not None:
        raise WeightsError(f'{path} is {kind}', where=where, way_out=instead_of(kind, path))
    found = {key: state for key, state in found.items() if kind_of_network(state) is None} or found
    key, state = next(iter(found.items()))
    if key and len(content) > 1 and not set(PARAM_KEYS).intersection(key.split('.')):
        entries = ', '.join(sorted(str(name) for name, value in content.items() if isinstance(value, Mapping)))
        raise WeightsError(
            f'{path} holds several things ({entries}), and which of them upscales is not known',
            where=where,
            way_out='Save the state dict of that network alone: '
            f'torch.save(torch.load({Path(path).name!r}, weights_only=True)[{key.split(".")[0]!r}], "net.pth").',
        )
    return dict(state)


def check_ordinary(state: Mapping[str, torch.Tensor], path: str | Path, where: str) -> None:
    """Raise WeightsError for a tensor that is sparse, quantized, complex, or without its numbers."""
    odd = next((k for k, v in state.items() if _is_odd(v)), None)
    if odd is not None:
        raise WeightsError(
            f'{path} holds {odd!r}, which is not an ordinary tensor with a name (sparse, quantized, complex, or '
            'without its numbers)',
            where=where,
            expected='the state dict of a network',
            way_out='Give its weights before they were quantized or pruned, in float32, float16 or bfloat16.',
        )


def _is_odd(tensor: torch.Tensor) -> bool:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or tensor.is_complex():
        return True
    # one number that claims to be terabytes of them
    return tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size()


def check_fits(net: torch.nn.Module, state: Mapping[str, torch.Tensor], path: str | Path, where: str) -> None:
    """Raise WeightsError with a summary of the differences unless a state dict fits a network exactly."""
    own = net.state_dict()
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    shapes = sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)
    parts = []
    if missing:
        parts.append(f'{len(missing)} tensors of the network are not in the file (e.g. {missing[0]})')
    if unexpected:
        parts.append(f'{len(unexpected)} tensors of the file are not in the network (e.g. {unexpected[0]})')
    if shapes:
        k = shapes[0]
        parts.append(
            f'{len(shapes)} have another shape (e.g. {k}: file {tuple(state[k].shape)}, network {tuple(own[k].shape)})'
        )
    if not parts:
        check_numbers_are_of_weights(own, state, path, where)
        return
    way_out = 'Make the type and options of the network match the weights, or choose weights of this network.'
    kind, name = kind_of_network(state) or part_of_several(path), type(net).__name__
    if kind is not None and kind != kind_of_network(own):
        parts.insert(0, f'it is {kind}')
        way_out = instead_of(kind, path, name)
    raise WeightsError(f'{path} does not fit {name}: {"; ".join(parts)}', where=where, way_out=way_out)


def check_numbers_are_of_weights(
    own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], path: str | Path, where: str
) -> None:
    """Raise WeightsError where a file has whole numbers for what are real ones in a network, as quantized weights."""
    bad = [k for k in own.keys() & state.keys() if own[k].is_floating_point() and not state[k].is_floating_point()]
    if bad:
        raise WeightsError(
            f'{path} holds whole numbers for {len(bad)} tensors (e.g. {min(bad)}: {state[min(bad)].dtype}), as '
            'quantized weights do',
            where=where,
            expected='numbers in float32, float16 or bfloat16',
            way_out='Give the weights before they were quantized.',
        )


def check_finite(state: Mapping[str, torch.Tensor], path: str | Path, where: str) -> None:
    """Raise WeightsError if a state dict holds numbers that are infinite or undefined."""
    bad = [k for k, v in state.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if bad:
        raise WeightsError(
            f'{path} is broken: {len(bad)} of {len(state)} tensors hold numbers that are not finite (e.g. {bad[0]})',
            where=where,
            way_out='Use weights from before the training diverged.',
        )


class OpenedWeights:
    """Content of weight files that several parts of a run need, kept until it is released."""

    def __init__(self) -> None:
        self._held: dict[tuple[object, ...], dict[str, Any]] = {}

    def read(self, path: str | Path, where: str) -> dict[str, Any]:
        """As :func:`read_checkpoint`, but once unless the file changes. The content is shared: do not change it."""
        file = weight_file(path, where)
        status = file.stat()
        key = (zoo.is_zoo(path), file.resolve(), status.st_size, status.st_mtime_ns)
        if key not in self._held:
            self._held[key] = read_checkpoint(path, where)
        return self._held[key]

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Within the block, networks that bring their own weights take them from here, see :func:`read_shared`."""
        token = _SHARED.set(self)
        try:
            yield
        finally:
            _SHARED.reset(token)

    def release(self) -> None:
        """Forget everything, so that the memory is free."""
        self._held.clear()


_SHARED: ContextVar[OpenedWeights | None] = ContextVar('opened weights', default=None)


def read_shared(path: str | Path, where: str) -> dict[str, Any]:
    """As :func:`read_checkpoint`, from what the run around this call has opened; do not change the content."""
    opened = _SHARED.get()
    return read_checkpoint(path, where) if opened is None else opened.read(path, where)


def state_dict_hash(state: Mapping[str, torch.Tensor]) -> str:
    """Hexadecimal SHA-256 of names, types, shapes and values: the identity of a network, whatever file it is in."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f'{name} {value.dtype} {tuple(value.shape)};'.encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b'')
    return digest.hexdigest()
