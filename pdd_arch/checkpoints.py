"""The one place where weight files and training states are read and written.

Reading never executes code: ``torch.load(weights_only=True)`` or safetensors. Writing is atomic: a reader sees
the old file or the new one, never half of one.
"""

import os
import pickle
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from pdd_arch.errors import MissingFileError, WeightsError
from pdd_arch.utils.resources import resolve_bundled

# names under which BasicSR and its relatives nest a state dict in a file
PARAM_KEYS = ('params_ema', 'params', 'state_dict', 'model')


def read_checkpoint(path: str | Path, option: str = 'weights') -> dict:
    """Read a ``.pth``, ``.state`` or ``.safetensors`` file onto the CPU.

    Args:
        path: the file, or ``bundled:NAME`` for one shipped with this package.
        option: option key that named the file; it appears in error messages.

    Raises:
        MissingFileError: the file does not exist.
        WeightsError: it cannot be read, or holds more than tensors and plain containers.
    """
    file = Path(resolve_bundled(os.path.expanduser(str(path))))
    if not file.is_file():
        what = 'is a folder, not a file' if file.is_dir() else 'does not exist'
        raise MissingFileError(f'{option}: {path} {what}. Give the path of a weight file (.pth or .safetensors).')
    try:
        if file.suffix == '.safetensors':
            from safetensors.torch import load_file

            return load_file(file)
        content = torch.load(file, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as e:
        # torch's own advice at this point is to switch the check off; ours is not
        reason = str(e).split('\n')[0][:200]
        raise WeightsError(
            f'{option}: {path} is refused: it is damaged or holds more than tensors and plain containers, which '
            f'could run code when loaded ({reason}). Use a file that holds a state dict only, or download it again.'
        ) from None
    except Exception as e:  # torch raises RuntimeError, EOFError, KeyError, zip errors ... for damaged files
        raise WeightsError(
            f'{option}: {path} cannot be read as weights ({type(e).__name__} {str(e).strip()[:200]}). '
            'It is probably truncated or not a weight file; download or copy it again.'
        ) from None
    if not isinstance(content, Mapping):
        raise WeightsError(
            f'{option}: {path} holds a {type(content).__name__}, expected a dictionary of tensors. '
            'Save the state dict of the network, not something else.'
        )
    return dict(content)


def state_dict_of(content: Mapping, param_key: str | None, path: str | Path, option: str) -> dict[str, torch.Tensor]:
    """Pick the state dict of a network out of a checkpoint's content.

    Args:
        content: what :func:`read_checkpoint` returned.
        param_key: ``params``, ``params_ema`` ... as BasicSR's ``param_key_*``; None takes the root.
            ``params_ema`` falls back to ``params``, as in BasicSR; the caller learns it from the log.
        path, option: for error messages.

    Raises:
        WeightsError: the key is absent, or what it names is not a state dict.
    """
    suffix = option.rsplit('_', 1)[-1]
    if param_key is not None and param_key not in content:
        if param_key == 'params_ema' and 'params' in content:
            param_key = 'params'
        else:
            nested = [k for k in PARAM_KEYS if k in content]
            found = nested or sorted(map(str, content))[:4]
            use = nested[0] if nested else '~'
            raise WeightsError(
                f'{option}: {path} has no key {param_key!r}; found {found}. Set path.param_key_{suffix}: {use}'
            )
    state = content if param_key is None else content[param_key]
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        nested = [k for k in PARAM_KEYS if isinstance(content.get(k), Mapping)]
        use = nested[0] if nested else 'the key that holds the state dict'
        raise WeightsError(
            f'{option}: {path} holds no state dict under {param_key!r}, expected a dictionary of tensors. '
            f'Set path.param_key_{suffix}: {use}'
        )
    return {k.removeprefix('module.'): v for k, v in state.items()}


def check_fits(net: torch.nn.Module, state: Mapping[str, torch.Tensor], path: str | Path, option: str) -> None:
    """Raise WeightsError with a summary of the differences unless `state` fits `net` exactly."""
    own = net.state_dict()
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    shapes = [k for k in own.keys() & state.keys() if own[k].shape != state[k].shape]
    if not (missing or unexpected or shapes):
        return
    parts = []
    if missing:
        parts.append(f'{len(missing)} tensors of the network are not in the file (e.g. {missing[0]})')
    if unexpected:
        parts.append(f'{len(unexpected)} tensors of the file are not in the network (e.g. {unexpected[0]})')
    if shapes:
        k = min(shapes)
        parts.append(
            f'{len(shapes)} have another shape (e.g. {k}: file {tuple(state[k].shape)}, network {tuple(own[k].shape)})'
        )
    raise WeightsError(
        f'{option}: {path} does not fit {type(net).__name__}: {"; ".join(parts)}. '
        'Make the type and options of the network match the weights, or choose the weights of this network.'
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_checkpoint(content: dict, path: str | Path) -> None:
    """Write atomically: temporary file in the same folder, flushed to disk, then renamed.

    Raises:
        WeightsError: the file cannot be written (disk full, read-only ...); an older file at `path` is untouched.
    """
    path = Path(path)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix='.tmp', delete=False) as f:
            temporary = f.name
            torch.save(content, f)
            f.flush()
            os.fsync(f.fileno())
            os.fchmod(f.fileno(), 0o666 & ~_umask())  # a temporary file is private, a checkpoint is not
        os.replace(temporary, path)
    except (OSError, RuntimeError) as e:  # torch reports a failed write as RuntimeError
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise WeightsError(
            f'{path} could not be written: {e}. Free space or make the folder writable, then start again '
            'with --auto_resume; earlier checkpoints are untouched.'
        ) from e
