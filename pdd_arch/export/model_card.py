"""``MODEL_CARD.md``: what a network is, where it comes from, and how each of its files is used."""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import PurePath, PureWindowsPath
from typing import Any

from pdd_arch.export.forms import ExportedFile
from pdd_arch.export.verify import TOLERANCE, Reference, is_real_esrgan_network
from pdd_arch.inference.load import ADAPTATION, ADAPTED_MODEL, LoadedNetwork
from pdd_arch.utils.files import read_json
from pdd_arch.utils.resources import BUNDLED_PREFIX
from pdd_arch.version import __version__
from pdd_arch.weights import zoo
from pdd_arch.weights.checkpoints import state_dict_hash

_NOT_KNOWN = 'Not known'
_TITLES = {
    'generalist': 'Generalist it was adapted from',
    'photographs': 'Photographs it was adapted to',
    'hr': 'High-resolution photographs',
    'options': 'Options',
    'chosen': 'Choice of the checkpoint',
    'metrics': 'Metrics',
}
#: entries of a list and of a dictionary that are shown, levels of containers in containers, and characters of a text
_MOST_ENTRIES, _MOST_KEYS, _MOST_LEVELS, _MOST_CHARACTERS = 12, 100, 8, 1000
#: what starts a link, a tag, a code, an emphasis or a cell anywhere, or a block at the beginning
_MARKUP = re.compile(r'[\\`*\[\]<>|]|^(?:[#~=]|[-+](?=\s|[-+]|$)|\d+(?=[.)]\s))')
_CONTROL = re.compile(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff]')
#: an absolute path inside a text, but no address
_PATH = re.compile(r'(?<![\w:/.])(?:~|[A-Za-z]:)?[/\\](?:[^/\\\s\'"]+[/\\])*([^/\\\s\'"]+)[/\\]?')


def facts_of(network: LoadedNetwork) -> dict[str, str]:
    """What a file says about its network where it can: ``name``, ``architecture``, ``scale``, ``weights`` (a hash of
    names, types, shapes and values) and ``made_by``."""
    return {
        'name': network.name,
        'architecture': type(network.net).__name__,
        'scale': str(network.scale),
        'weights': state_dict_hash(network.net.state_dict()),
        'made_by': f'pdd_arch {__version__}',
    }


def adaptation_of(network: LoadedNetwork) -> dict[str, object] | None:
    """What `pdd adapt` noted about this very file, or None; raises DataError if the note cannot be read."""
    note = network.file.parent / ADAPTATION
    if network.file.name != ADAPTED_MODEL or not note.is_file():
        return None
    return read_json(note, 'Run `pdd adapt` again, or remove it.')


def model_card(reference: Reference, files: Sequence[ExportedFile], adaptation: Mapping[str, object] | None) -> str:
    """The card as Markdown, without absolute paths.

    Args:
        reference: what the files were compared with.
        files: those that were written.
        adaptation: of :func:`adaptation_of`. Whatever it holds becomes text, and long parts are cut.
    """
    network, facts = reference.network, facts_of(reference.network)
    summary = {
        'Task': 'super-resolution of photographs',
        'Architecture': facts['architecture'],
        'Scale': f'{network.scale}x',
        'Parameters': f'{sum(parameter.numel() for parameter in network.net.parameters()):,}',
        'Input': 'RGB in [0, 1], (N, 3, h, w), of any size',
        'Output': f'RGB, (N, 3, {network.scale} h, {network.scale} w), to be clamped to [0, 1]',
        'Weights (hash of names and values)': f'`{facts["weights"]}`',
    }
    packages = [facts['made_by']]
    for package in ('torch', 'spandrel', 'safetensors', 'onnx', 'onnxruntime'):
        with suppress(PackageNotFoundError):  # not installed, or under another name, such as onnxruntime-gpu
            packages.append(f'{package} {version(package)}')
    rows = [
        [_code(f.path.name), f'{f.bytes:,}', f'{f.difference:.4f}', ', '.join(f.read_by), f.note, f'`{f.sha256}`']
        for f in files
    ]
    sizes = ', '.join(dict.fromkeys(f'{window.shape[2]}x{window.shape[3]}' for window in reference.windows))
    parts = [
        f'# {_escaped(network.name)}',
        _table(('', ''), summary.items()),
        '## Files',
        _table(('file', 'bytes', 'largest difference', 'read by', 'remark', 'SHA-256'), rows),
        f'Every file was run by the tools named and compared with PyTorch on {reference.source}, in windows of '
        f'{sizes} pixels (height x width; the last with two images at once). The difference is the largest '
        f'of any pixel, in levels of 255; a file with more than {TOLERANCE:g} is not written.',
        '## Where it comes from',
        _origin(network, adaptation),
        '## Licences',
        _licences(network, adaptation),
        '## Use',
        _usage(network, files),
        '## Made with',
        ', '.join(packages) + '.',
    ]
    return '\n\n'.join(parts) + '\n'


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in (header, ['---'] * len(header), *rows))


def _origin(network: LoadedNetwork, adaptation: Mapping[str, object] | None) -> str:
    if adaptation is not None:
        parts = []
        for key in dict.fromkeys([*_TITLES, *adaptation]):
            title = _TITLES.get(key, _shown(str(key).replace('_', ' ').capitalize()))
            content = '\n'.join(_entries(adaptation[key])) if adaptation.get(key) else f'{_NOT_KNOWN}.'
            parts.append(f'### {title}\n\n{content}')
        return '\n\n'.join(parts)
    entry = zoo.ZOO.get(network.source.removeprefix(zoo.ZOO_PREFIX))
    if entry is not None and network.file == entry.file:
        return f'Published by its authors at {entry.url}; not adapted to a camera.'
    if network.source.startswith(BUNDLED_PREFIX):
        return f'Shipped with pdd_arch as {network.source}; not adapted to a camera.'
    return (
        f'{_NOT_KNOWN}: it was exported from the weight file {_code(network.file.name)}, which says nothing about the '
        'generalist, the photographs, the options of the training and the metrics. Add what you know here.'
    )


def _licences(network: LoadedNetwork, adaptation: Mapping[str, object] | None) -> str:
    if adaptation is None:
        whose, name, names = 'The network', network.source, [network.source]
    else:
        generalist = adaptation.get('generalist')
        whose, name = 'The generalist', str(generalist.get('name')) if isinstance(generalist, Mapping) else ''
        names = [name, PurePath(name).stem]
    known = next((n for n in (name.removeprefix(zoo.ZOO_PREFIX) for name in names) if n in zoo.ZOO), None)
    if known is not None:
        weights = (
            f"{whose}, {known}, is published under {zoo.ZOO[known].licence}; keep its authors' notice with whatever is "
            'made from it.'
        )
    elif name.startswith(BUNDLED_PREFIX):
        weights = f'{whose} is shipped with pdd_arch, under the MIT licence.'
    else:
        weights = f'{_NOT_KNOWN} for the weights that it started from; ask who published them before you pass it on.'
    photographs = (
        f'{_NOT_KNOWN} for the photographs that it was trained on. If they are not your own, or show people, look up '
        'what their licence says about models trained on them (many datasets are for research only).'
    )
    return f'- {weights}\n- {photographs}'


def _usage(network: LoadedNetwork, files: Sequence[ExportedFile]) -> str:
    """An example for each of the files."""
    names = {file.form: file.path.name for file in files}
    parts = []
    weights = names.get('pth') or names.get('safetensors')
    if weights:
        parts += [
            f'**chaiNNer, ComfyUI and others that use spandrel**: load {_code(weights)} as an upscaling model.',
            _python(f'from spandrel import ModelLoader\n\nnet = ModelLoader().load_from_file({weights!r}).eval()'),
            f'**pdd_arch**:\n\n```sh\npdd upscale photographs -o upscaled --model {shlex.quote(weights)}\n```',
        ]
    if 'pth' in names and is_real_esrgan_network(network):
        parts += ['**Real-ESRGAN** (`params_ema` holds the weights):', _real_esrgan(network, names['pth'])]
    elif 'pth' in names:
        kind = type(network.net).__name__
        parts.append(f'**Real-ESRGAN** has no {kind} of this kind; use spandrel or ONNX Runtime.')
    for name in (names[form] for form in ('onnx', 'onnx-fp16') if form in names):
        parts += [
            f'**ONNX Runtime** ({_code(name)}; batch, height and width are free):',
            _python(f"""\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({name!r})
given = session.get_inputs()[0]
kind = np.float16 if given.type == 'tensor(float16)' else np.float32
# image: (h, w, 3) uint8, RGB
values = image.transpose(2, 0, 1)[None].astype(kind) / kind(255)
output = session.run(None, {{given.name: values}})[0].clip(0, 1)"""),
        ]
    if 'onnx-fp16' in names:
        parts.append(
            f'{_code(names["onnx-fp16"])} was compared on a CPU, where ONNX Runtime computes float16 layers in '
            'float32. A GPU that computes in float16 rounds after every layer as well: compare its output before you '
            'rely on it.'
        )
    if 'torchscript' in names:
        load = _python(f'import torch\n\nnet = torch.jit.load({names["torchscript"]!r})')
        parts += ['**TorchScript**, which needs none of the code of the network:', load]
    return '\n\n'.join(parts)


def _real_esrgan(network: LoadedNetwork, name: str) -> str:
    net: Any = network.net
    kind = type(net).__name__
    if kind == 'RRDBNet':
        module = 'basicsr.archs.rrdbnet_arch'
        arguments = (
            f'scale={network.scale}, num_feat={net.conv_first.out_channels}, num_block={len(net.body)}, '
            f'num_grow_ch={net.body[0].rdb1.conv1.out_channels}'
        )
    else:
        module = 'realesrgan.archs.srvgg_arch'
        arguments = (
            f"num_feat={net.num_feat}, num_conv={net.num_conv}, upscale={network.scale}, act_type='{net.act_type}'"
        )
    return _python(f"""\
from {module} import {kind}
from realesrgan import RealESRGANer

net = {kind}(3, 3, {arguments})
upsampler = RealESRGANer(scale={network.scale}, model_path={name!r}, model=net, pre_pad=0)
output, _ = upsampler.enhance(image)  # (H, W, 3) uint8, BGR, as cv2.imread gives it""")


def _python(source: str) -> str:
    return f'```python\n{source}\n```'


def _entries(value: object, indent: str = '') -> Iterator[str]:
    """Nested containers as Markdown lists."""
    if len(indent) >= 2 * _MOST_LEVELS:
        yield f'{indent}- ...'
        return
    if not isinstance(value, Mapping | list):
        value = [value]
    keyed = isinstance(value, Mapping)
    most = _MOST_KEYS if keyed else _MOST_ENTRIES
    for entry in islice(value, most):
        content = value[entry] if keyed else entry
        start = f'{indent}- {_shown(entry)}:' if keyed else f'{indent}-'
        if isinstance(content, Mapping | list) and content:
            yield start
            yield from _entries(content, indent + '  ')
        else:
            yield f'{start} {_shown(content)}'
    if len(value) > most:
        yield f'{indent}- and {len(value) - most} more'


def _shown(value: object) -> str:
    """A single value in one line; of a path only the name is shown, as folders tell who and where somebody is."""
    if value is None or value in ({}, []):
        return '-'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, float):
        return f'{value:.6g}'
    # before paths are looked for, which takes long in megabytes
    text = ' '.join(str(value)[: 2 * _MOST_CHARACTERS].split())
    for kind in (PurePath, PureWindowsPath):
        if kind(text).is_absolute():
            return _escaped(kind(text).name)
    text = _PATH.sub(r'\1', text)
    return _escaped(text) if isinstance(value, str) else text


def _escaped(text: str) -> str:
    """Text from elsewhere in one line of `_MOST_CHARACTERS` at most, without markup and what UTF-8 cannot hold."""
    text = _CONTROL.sub('?', ' '.join(text.split()))
    if len(text) > _MOST_CHARACTERS:
        text = f'{text[:_MOST_CHARACTERS]} ...'
    return _MARKUP.sub(lambda m: f'{m[0]}\\' if m[0].isdigit() else f'\\{m[0]}', text)


def _code(text: str) -> str:
    """The text as code, unless something in it would end the code or the cell of a table."""
    return _escaped(text) if text != _escaped(text) else f'`{text}`'
