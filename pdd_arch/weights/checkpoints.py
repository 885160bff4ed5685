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
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from pdd_arch.errors import MissingFileError, WeightsError
from pdd_arch.utils.resources import resolve_bundled
from pdd_arch.weights import key_layouts, zoo

# names under which BasicSR and its relatives nest a state dict in a file
PARAM_KEYS = ('params_ema', 'params', 'state_dict', 'model')


def weight_file(path: str | Path, where: str = 'weights') -> Path:
    """The file on this machine that a path, ``bundled:NAME`` or ``zoo:NAME`` stands for, downloaded if need be."""
    if zoo.is_zoo(path):
        return zoo.fetch(str(path), where)
    file = Path(resolve_bundled(os.path.expanduser(str(path))))
    if not file.is_file():
        raise MissingFileError(
            f'{path} {"is a folder, not a file" if file.is_dir() else "does not exist"}',
            where=where,
            way_out='Give the path of a weight file (.pth or .safetensors).',
        )
    return file


def read_checkpoint(path: str | Path, where: str = 'weights', lazy: bool = False) -> dict[str, Any]:
    """Read a ``.pth``, ``.state`` or ``.safetensors`` file onto the CPU; of a published network ``{'params': ...}``.

    With `lazy`, tensors stay in the file until they are used, where its format allows it: copy those that are kept.
    Raises MissingFileError as :func:`weight_file`; WeightsError where it cannot be read, holds more than tensors and
    plain containers, or is not the published file.
    """
    file = weight_file(path, where)
    try:
        content = load_file(file) if file.suffix == '.safetensors' else _load(file, lazy)
    except pickle.UnpicklingError as e:
        # torch's own advice at this point is to switch the check off: only what it has found is passed on
        found = re.search(r'Unsupported (?:global: GLOBAL|operand|class) \S+|GLOBAL \S+', str(e))
        reason = found.group() if found else "it is not torch's format"
        raise WeightsError(
            f'{path} is refused: it is damaged or holds more than tensors and plain containers, which could run code '
            f'when loaded ({reason})',
            where=where,
            way_out='Use a file that holds a state dict only, or download it again.',
        ) from None
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
    zipped = zipfile.is_zipfile(file)
    if zipped:
        with zipfile.ZipFile(file) as archive:
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f'wrong checksum of {damaged}')
    return torch.load(file, map_location='cpu', weights_only=True, mmap=lazy and zipped)


def state_dict_of(
    content: Mapping[str, Any],
    param_key: str | None,
    path: str | Path,
    where: str,
    net: torch.nn.Module | None = None,
    key_option: str | None = None,
) -> dict[str, torch.Tensor]:
    """Pick the state dict of a network out of a checkpoint's content. Raises WeightsError where there is none.

    `param_key` is BasicSR's ``param_key_*``: None takes the root, and ``params_ema`` falls back to ``params``. Names
    that older code gave to the layers of `net` are changed to its own. `key_option` sets `param_key`, for advice.
    """
    if param_key == 'params_ema' and 'params_ema' not in content and 'params' in content:
        param_key = 'params'
    wanted = 'is a state dict' if param_key is None else f'holds a state dict under {param_key!r}'
    nested = [k for k in PARAM_KEYS if isinstance(content.get(k), Mapping)]

    def advice(key: str) -> str:
        return f'Give a file that {wanted}.' if key_option is None else f'Set {key_option}: {key}'

    if param_key is not None and param_key not in content:
        raise WeightsError(
            f'{path} has no key {param_key!r}',
            where=where,
            found=str(nested or sorted(map(str, content))[:4]),
            way_out=advice(nested[0] if nested else '~'),
        )
    state = content if param_key is None else content[param_key]
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(
            f'{path} holds no state dict under {param_key!r}',
            where=where,
            expected='a dictionary of tensors',
            way_out=advice(nested[0] if nested else 'the key that holds the state dict'),
        )
    odd = next((k for k, v in state.items() if not isinstance(k, str) or _is_odd(v)), None)
    if odd is not None:
        raise WeightsError(
            f'{path} holds {odd!r}, which is not an ordinary tensor with a name (sparse, quantized, complex, or '
            'without its numbers)',
            where=where,
            expected='the state dict of a network',
        )
    state = {k.removeprefix('module.'): v for k, v in state.items()}
    return state if net is None else key_layouts.renamed_for(net, state)


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
    if parts:
        raise WeightsError(
            f'{path} does not fit {type(net).__name__}: {"; ".join(parts)}',
            where=where,
            way_out='Make the type and options of the network match the weights, or choose weights of this network.',
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
