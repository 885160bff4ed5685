"""The one place where weight files and training states are read and written.

Reading never executes code: ``torch.load(weights_only=True)`` or safetensors; the checksums inside a file are verified
first. Writing is atomic: a reader sees the old file or the new one, never half of one, also after a power failure.
"""

import hashlib
import os
import pickle
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch

from pdd_arch.errors import MissingFileError, WeightsError
from pdd_arch.utils.hashing import sha256_of
from pdd_arch.utils.resources import resolve_bundled
from pdd_arch.weights import key_layouts, zoo

# names under which BasicSR and its relatives nest a state dict in a file
PARAM_KEYS = ('params_ema', 'params', 'state_dict', 'model')


def read_checkpoint(path: str | Path, option: str = 'weights', lazy: bool = False) -> dict:
    """Read a ``.pth``, ``.state`` or ``.safetensors`` file onto the CPU.

    Args:
        path: the file; ``bundled:NAME`` for one shipped with this package; ``zoo:NAME`` for a published network
            (:mod:`pdd_arch.weights.zoo`), which is downloaded once and always comes as ``{'params': state dict}``.
        option: option key that named the file; it appears in error messages.
        lazy: tensors stay in the file until they are looked at, where its format allows it: copy those that are kept.

    Raises:
        MissingFileError: the file does not exist, or cannot be downloaded.
        WeightsError: it cannot be read, holds more than tensors and plain containers, or is not the published file.
    """
    if zoo.is_zoo(path):
        return zoo.state_under_params(read_checkpoint(zoo.fetch(str(path), option), option))
    file = Path(resolve_bundled(os.path.expanduser(str(path))))
    if not file.is_file():
        what = 'is a folder, not a file' if file.is_dir() else 'does not exist'
        raise MissingFileError(f'{option}: {path} {what}. Give the path of a weight file (.pth or .safetensors).')
    try:
        if file.suffix == '.safetensors':
            from safetensors.torch import load_file

            return load_file(file)
        _verify_checksums(file)
        in_place = lazy and zipfile.is_zipfile(file)
        content = torch.load(file, map_location='cpu', weights_only=True, mmap=in_place)
    except pickle.UnpicklingError as e:
        # torch's own advice at this point is to switch the check off: only what it has found is passed on
        found = re.search(r'Unsupported (?:global: GLOBAL|operand|class) \S+|GLOBAL \S+', str(e))
        reason = found.group() if found else "it is not torch's format"
        raise WeightsError(
            f'{option}: {path} is refused: it is damaged or holds more than tensors and plain containers, which '
            f'could run code when loaded ({reason}). Use a file that holds a state dict only, or download it again.'
        ) from None
    except Exception as e:  # torch raises RuntimeError, EOFError, KeyError, zip errors ... for damaged files
        reason = re.sub(r'\x1b\[[0-9;]*m|\s+', ' ', str(e)).strip()[:200]
        raise WeightsError(
            f'{option}: {path} cannot be read as weights ({type(e).__name__} {reason}). '
            'It is probably truncated or not a weight file; download or copy it again.'
        ) from None
    if not isinstance(content, Mapping):
        raise WeightsError(
            f'{option}: {path} holds a {type(content).__name__}, expected a dictionary of tensors. '
            'Save the state dict of the network, not something else.'
        )
    return dict(content)


def state_dict_of(
    content: Mapping, param_key: str | None, path: str | Path, option: str, net: torch.nn.Module | None = None
) -> dict[str, torch.Tensor]:
    """Pick the state dict of a network out of a checkpoint's content.

    Args:
        content: what :func:`read_checkpoint` returned.
        param_key: ``params``, ``params_ema`` ... as BasicSR's ``param_key_*``; None takes the root.
            ``params_ema`` falls back to ``params``, as in BasicSR; the caller learns it from the log.
        path, option: for error messages.
        net: the network that it is for: names that older code gave to the same layers are changed to its own.

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
    odd = next((k for k, v in state.items() if not isinstance(k, str) or _is_odd(v)), None)
    if odd is not None:
        raise WeightsError(
            f'{option}: {path} holds {odd!r}, which is not an ordinary tensor with a name (sparse, quantized, complex, '
            'or without its numbers). Expected the state dict of a network.'
        )
    state = {k.removeprefix('module.'): v for k, v in state.items()}
    return state if net is None else key_layouts.renamed_for(net, state)


def _is_odd(tensor: torch.Tensor) -> bool:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or tensor.is_complex():
        return True
    # one number that claims to be terabytes of them
    return tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size()


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


def check_finite(state: Mapping[str, torch.Tensor], path: str | Path, option: str) -> None:
    """Raise WeightsError if a state dict holds numbers that are infinite or undefined."""
    bad = [k for k, v in state.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if bad:
        raise WeightsError(
            f'{option}: {path} is broken: {len(bad)} of {len(state)} tensors hold numbers that are not finite (e.g. '
            f'{bad[0]}). Use weights from before the training that made them diverged.'
        )


def _verify_checksums(file: Path) -> None:
    """Compare the records of torch's zip format with their stored CRC-32, which torch.load does not look at.

    Raises:
        zipfile.BadZipFile: a record is damaged.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f'wrong checksum of {damaged}')


def state_dict_hash(state: Mapping[str, torch.Tensor]) -> str:
    """Hexadecimal SHA-256 of names, types, shapes and values: who a network is, whatever file it came from."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f'{name} {value.dtype} {tuple(value.shape)};'.encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b'')
    return digest.hexdigest()


TEMPORARY = '.tmp'


class CheckpointWriter:
    """Writes files that belong together: all of them are on disk before the first becomes visible.

    Use it as a context: :meth:`add` every file, then :meth:`publish`. Whatever goes wrong in between, no temporary
    file is left and nothing that was there before is touched.
    """

    def __init__(self) -> None:
        self._staged: list[tuple[str, Path]] = []

    def __enter__(self) -> 'CheckpointWriter':
        return self

    def __exit__(self, *_) -> None:
        for temporary, _path in self._staged:
            if os.path.exists(temporary):
                os.unlink(temporary)
        self._staged.clear()

    def add(self, content: Mapping, path: str | Path) -> str:
        """Write `content` beside its final place and flush it to disk.

        Returns:
            SHA-256 of the file.

        Raises:
            WeightsError: it cannot be written (disk full, read-only ...).
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=path.parent, prefix=f'.{path.name}.', suffix=TEMPORARY, delete=False
            ) as f:
                self._staged.append((f.name, path))
                torch.save(dict(content), f)
                f.flush()
                os.fsync(f.fileno())
                os.fchmod(f.fileno(), 0o666 & ~_umask())  # a temporary file is private, a checkpoint is not
            return sha256_of(f.name)
        except (OSError, RuntimeError) as e:  # torch reports a failed write as RuntimeError
            raise _not_written(path, e) from e

    def publish(self, replacing: str | Path | None = None) -> None:
        """Give every file its name, in the order of :meth:`add`.

        Args:
            replacing: an older file that vouches for the others (a training state): it goes before they change.

        Raises:
            WeightsError: a file cannot be renamed.
        """
        path = None
        try:
            if replacing is not None and os.path.exists(replacing):
                os.unlink(replacing)
                _flush_folder(Path(replacing).parent)
            while self._staged:
                temporary, path = self._staged[0]
                os.replace(temporary, path)
                self._staged.pop(0)
                # the name must be on disk before that of a file that vouches for it
                _flush_folder(path.parent)
        except OSError as e:
            raise _not_written(path or Path(replacing), e) from e


def write_checkpoint(content: Mapping, path: str | Path) -> None:
    """Write one file atomically: temporary file in the same folder, flushed to disk, then renamed.

    Raises:
        WeightsError: the file cannot be written (disk full, read-only ...); an older file at `path` is untouched.
    """
    with CheckpointWriter() as writer:
        writer.add(content, path)
        writer.publish()


def remove_temporary_files(folder: str | Path) -> list[str]:
    """Remove what a killed process left of a checkpoint that it was writing; the names of the files removed."""
    left = sorted(Path(folder).glob(f'.*{TEMPORARY}')) if Path(folder).is_dir() else []
    for file in left:
        file.unlink(missing_ok=True)
    return [file.name for file in left]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush_folder(folder: Path) -> None:
    """Have the names in a folder written to disk, where the system can do that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # not possible on every file system
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def _not_written(path: Path, error: Exception) -> WeightsError:
    # torch wraps the reason of the system in its own complaint
    cause = error if isinstance(error, OSError) else error.__context__ or error
    reason = str(cause).strip().split('\n')[0]
    return WeightsError(
        f'{path} could not be written: {reason}. Free space or make the folder writable, then start again with '
        '--auto_resume; earlier checkpoints are untouched.'
    )
