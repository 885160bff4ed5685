"""The forms of a network that can be written, and by what each is verified."""

import importlib.util
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save

from pdd_arch.errors import OptionError
from pdd_arch.export.any_size import any_size
from pdd_arch.export.onnx_form import write_onnx, write_onnx_fp16, write_onnx_half_weights, write_onnx_mixed
from pdd_arch.export.readers import ONNXRUNTIME, SPANDREL, TORCHSCRIPT, Reader, weight_file_readers
from pdd_arch.inference.load import LoadedNetwork
from pdd_arch.utils.wording import one_of
from pdd_arch.weights.writing import write_checkpoint

Write = Callable[[LoadedNetwork, Path, dict[str, str]], None]


@dataclass(frozen=True)
class Form:
    """A kind of file.

    Attributes:
        suffix: what its name ends in.
        candidates: a note for the user (may be empty) -> what writes a network to a path. The first whose file agrees
            with PyTorch is kept. It also takes facts about the network, as text, for forms that can hold them.
        readers: the tools that must read it, for a network.
        packages: beyond those that this package always needs.
    """

    suffix: str
    candidates: Mapping[str, Write]
    readers: Callable[[LoadedNetwork], tuple[Reader, ...]]
    packages: tuple[str, ...] = ()


def _state(network: LoadedNetwork) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone().contiguous() for name, value in network.net.state_dict().items()}


def _write_pth(network: LoadedNetwork, path: Path, _facts: dict[str, str]) -> None:
    write_checkpoint({'params_ema': _state(network)}, path)


def _write_safetensors(network: LoadedNetwork, path: Path, facts: dict[str, str]) -> None:
    # save_file would make it private to its owner
    path.write_bytes(save(_state(network), metadata={'format': 'pt', **facts}))


def _write_torchscript(network: LoadedNetwork, path: Path, _facts: dict[str, str]) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # sizes turned into constants would show in the verification
        traced = torch.jit.trace(any_size(network), torch.zeros(1, 3, 24, 32), check_trace=False)
        torch.jit.save(traced, str(path))


_ONNX = ('onnx', 'onnxruntime')
FORMS = {
    'pth': Form('.pth', {'': _write_pth}, weight_file_readers),
    'safetensors': Form('.safetensors', {'': _write_safetensors}, lambda _: (SPANDREL,)),
    'onnx': Form('.onnx', {'': write_onnx}, lambda _: (ONNXRUNTIME,), _ONNX),
    'onnx-fp16': Form(
        '_fp16.onnx',
        {
            'input and output float16': write_onnx_fp16,
            'first half of the layers, input and output float32: all in float16 it is not close enough': (
                write_onnx_mixed
            ),
            'weights stored in float16, computed in float32: in float16 it is not close enough': (
                write_onnx_half_weights
            ),
        },
        lambda _: (ONNXRUNTIME,),
        _ONNX,
    ),
    'torchscript': Form('.torchscript.pt', {'': _write_torchscript}, lambda _: (TORCHSCRIPT,)),
}


def chosen_forms(names: Iterable[str]) -> dict[str, Form]:
    """The forms of these names, ``all`` for all of them, in the order of `FORMS`.

    Raises:
        OptionError: a name is unknown, or a package that a form needs is not installed.
    """
    names = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in names if name not in FORMS and name != 'all']
    if unknown or not names:
        found = repr(unknown[0]) if unknown else 'none'
        raise OptionError(f'--to: expected {one_of([*FORMS, "all"])}, found {found}')
    forms = {name: form for name, form in FORMS.items() if name in names or 'all' in names}
    for name, form in forms.items():
        missing = [package for package in form.packages if importlib.util.find_spec(package) is None]
        if missing:
            without = ' '.join(other for other, form in FORMS.items() if not form.packages)
            raise OptionError(
                f'--to {name} needs {" and ".join(missing)}: pip install "pdd_arch[export]". Without: --to {without}'
            )
    return forms
