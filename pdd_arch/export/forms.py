"""The forms of a network that can be written, and the tools that verify each."""

import importlib.util
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save

from pdd_arch.errors import OptionError
from pdd_arch.export.any_size import any_size
from pdd_arch.export.onnx_form import Write, in_float16, onnx_writer, second_half_in_float16, with_half_weights
from pdd_arch.inference import LoadedNetwork
from pdd_arch.utils.wording import one_of
from pdd_arch.weights.writing import write_checkpoint


@dataclass(frozen=True)
class Form:
    """A kind of file.

    Attributes:
        suffix: what its name ends in.
        candidates: a note for the user (may be empty) -> what writes a network to a path. The first whose file agrees
            with PyTorch is kept.
        readers: names in `pdd_arch.export.readers.READERS` of the tools that must read it.
        packages: packages needed beyond those that pdd_arch always needs.
    """

    suffix: str
    candidates: Mapping[str, Write]
    readers: tuple[str, ...]
    packages: tuple[str, ...] = ()


def _state(network: LoadedNetwork) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone().contiguous() for name, value in network.net.state_dict().items()}


def _write_pth(network: LoadedNetwork, path: Path, _facts: Mapping[str, str]) -> None:
    write_checkpoint({'params_ema': _state(network)}, path)


def _write_safetensors(network: LoadedNetwork, path: Path, facts: Mapping[str, str]) -> None:
    # save_file would make it private to its owner
    path.write_bytes(save(_state(network), metadata={'format': 'pt', **facts}))


def _write_torchscript(network: LoadedNetwork, path: Path, _facts: Mapping[str, str]) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # sizes turned into constants would show in the verification
        traced = torch.jit.trace(any_size(network), torch.zeros(1, 3, 24, 32), check_trace=False)
        torch.jit.save(traced, str(path))


_ONNX = ('onnx', 'onnxruntime')
FORMS = {
    'pth': Form('.pth', {'': _write_pth}, ('spandrel', 'RealESRGANer')),
    'safetensors': Form('.safetensors', {'': _write_safetensors}, ('spandrel',)),
    'onnx': Form('.onnx', {'': onnx_writer()}, ('onnxruntime',), _ONNX),
    'onnx-fp16': Form(
        '_fp16.onnx',
        {
            'input and output float16': onnx_writer(in_float16),
            'first half of the layers, input and output float32: all in float16 it is not close enough': (
                onnx_writer(second_half_in_float16)
            ),
            'weights stored in float16, computed in float32: in float16 it is not close enough': (
                onnx_writer(with_half_weights)
            ),
        },
        ('onnxruntime',),
        _ONNX,
    ),
    'torchscript': Form('.torchscript.pt', {'': _write_torchscript}, ('torch.jit',)),
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
        raise OptionError(where='--to', expected=one_of([*FORMS, 'all']), found=found)
    forms = {name: form for name, form in FORMS.items() if name in names or 'all' in names}
    for name, form in forms.items():
        missing = [package for package in form.packages if importlib.util.find_spec(package) is None]
        if missing:
            without = ' '.join(other for other, form in FORMS.items() if not form.packages)
            raise OptionError(
                f'--to {name} needs {" and ".join(missing)}: pip install "pdd_arch[export]"',
                way_out=f'Without: --to {without}',
            )
    return forms
