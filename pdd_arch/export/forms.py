"""The forms of a network that can be written, and the tools that verify each."""

import importlib.util
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save

from pdd_arch.errors import OptionError
from pdd_arch.export import traced
from pdd_arch.inference import LoadedNetwork
from pdd_arch.utils.wording import one_of


@dataclass(frozen=True)
class Form:
    """A kind of file."""

    suffix: str  #: what its name ends in
    #: a note for the user (may be empty) -> writer of the file; the first whose file agrees with PyTorch is kept
    candidates: Mapping[str, traced.Write]
    readers: tuple[str, ...]  #: names in `pdd_arch.export.verify.READERS` of the tools that must read it
    packages: tuple[str, ...] = ()  #: needed beyond those that pdd_arch always needs


@dataclass(frozen=True)
class ExportedFile:
    """What became of a form that was asked for."""

    form: str  #: name in `FORMS`
    path: Path
    bytes: int = 0
    sha256: str = ''
    difference: float = 0.0  #: the largest from PyTorch's output, in levels of 255, over all tools that read it
    read_by: tuple[str, ...] = ()  #: names of those tools
    note: str = ''  #: what users must know of this file, such as the type of its input; may be empty
    problem: str | None = None  #: why it was not written; None for one that was


def _state(network: LoadedNetwork) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone().contiguous() for name, value in network.net.state_dict().items()}


def _write_pth(network: LoadedNetwork, path: Path, _facts: Mapping[str, str]) -> None:
    content = io.BytesIO()  # given a file, torch does not tell why it cannot write
    torch.save({'params_ema': _state(network)}, content)
    path.write_bytes(content.getvalue())


def _write_safetensors(network: LoadedNetwork, path: Path, facts: Mapping[str, str]) -> None:
    # save_file would make it private to its owner
    path.write_bytes(save(_state(network), metadata={'format': 'pt', **facts}))


_ONNX = dict(readers=('onnxruntime',), packages=('onnx', 'onnxruntime'))
FORMS = {
    'pth': Form('.pth', {'': _write_pth}, ('spandrel', 'RealESRGANer')),
    'safetensors': Form('.safetensors', {'': _write_safetensors}, ('spandrel',)),
    'onnx': Form('.onnx', {'': traced.write_onnx}, **_ONNX),
    'onnx-fp16': Form(
        '_fp16.onnx',
        {
            'input and output float16': partial(traced.write_onnx, transform=traced.in_float16),
            'second half of the layers float16, input and output float32: float16 throughout is too imprecise': (
                partial(traced.write_onnx, transform=traced.second_half_in_float16)
            ),
            'weights stored in float16, computed in float32: float16 throughout is too imprecise': (
                partial(traced.write_onnx, transform=traced.with_half_weights)
            ),
        },
        **_ONNX,
    ),
    'torchscript': Form('.torchscript.pt', {'': traced.write_torchscript}, ('torch.jit',)),
}


def chosen_forms(names: Sequence[str]) -> dict[str, Form]:
    """The forms of these names, ``all`` for all of them, in the order of `FORMS`.

    Raises OptionError where a name is unknown, or a package that a form needs is not installed.
    """
    unknown = [repr(name) for name in names if name not in FORMS and name != 'all']
    if unknown or not names:
        raise OptionError(where='--to', expected=one_of([*FORMS, 'all']), found=unknown[0] if unknown else 'none')
    forms = {name: form for name, form in FORMS.items() if name in names or 'all' in names}
    for name, form in forms.items():
        missing = [package for package in form.packages if importlib.util.find_spec(package) is None]
        if missing:
            without = ' '.join(other for other, form in FORMS.items() if not form.packages)
            what = f'--to {name} needs {" and ".join(missing)}: pip install "pdd_arch[export]"'
            raise OptionError(what, way_out=f'Without: --to {without}')
    return forms
