"""``MODEL_CARD.md``: what a network is, where it comes from, and how each of its files is used."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path, PurePath, PureWindowsPath

from pdd_arch.errors import DataError
from pdd_arch.export.exported_file import ExportedFile
from pdd_arch.export.markdown import MOST_CHARACTERS, code, escaped
from pdd_arch.export.usage import usage
from pdd_arch.export.verify import TOLERANCE, Reference
from pdd_arch.inference.load import ADAPTED_MODEL, LoadedNetwork
from pdd_arch.utils.resources import BUNDLED_PREFIX
from pdd_arch.utils.wording import shown
from pdd_arch.version import __version__
from pdd_arch.weights import zoo
from pdd_arch.weights.checkpoints import state_dict_hash

#: what `pdd adapt` notes beside the model
ADAPTATION = 'adaptation.json'
_NOT_KNOWN = 'Not known'
_TITLES = {
    'generalist': 'Generalist it was adapted from',
    'photographs': 'Photographs it was adapted to',
    'hr': 'High-resolution photographs',
    'options': 'Options',
    'chosen': 'Choice of the checkpoint',
    'metrics': 'Metrics',
}
#: entries of a list and of a dictionary that are shown, and levels of containers in containers
_MOST_ENTRIES, _MOST_KEYS, _MOST_LEVELS = 12, 100, 8
#: an absolute path inside a text, but no address
_PATH = re.compile(r'(?<![\w:/.])(?:~|[A-Za-z]:)?[/\\](?:[^/\\\s\'"]+[/\\])*([^/\\\s\'"]+)[/\\]?')
_PACKAGES = ('torch', 'spandrel', 'safetensors', 'onnx', 'onnxruntime')


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


def model_card(reference: Reference, files: Sequence[ExportedFile], adaptation: Mapping[str, object] | None) -> str:
    """The card as Markdown, without absolute paths.

    Args:
        reference: the network that was exported, and what its files were compared on.
        files: the files that were written.
        adaptation: of :func:`adaptation_of`. Whatever it holds becomes text, and long parts are cut.
    """
    network = reference.network
    parts = [
        f'# {escaped(network.name)}',
        _summary(network),
        '## Files',
        _table_of(files),
        f'Every file was run by the tools named and compared with PyTorch on {reference.source}, in windows of '
        f'{reference.sizes} pixels (height x width; the last with two images at once). The difference is the largest '
        f'of any pixel, in levels of 255; a file with more than {TOLERANCE:g} is not written.',
        '## Where it comes from',
        _origin(network, adaptation),
        '## Licences',
        _licences(network, adaptation),
        '## Use',
        usage(network, files),
        '## Made with',
        ', '.join([f'pdd_arch {__version__}', *_versions()]) + '.',
    ]
    return '\n\n'.join(parts) + '\n'


def _summary(network: LoadedNetwork) -> str:
    parameters = sum(parameter.numel() for parameter in network.net.parameters())
    rows = [
        ('Task', 'super-resolution of photographs'),
        ('Architecture', type(network.net).__name__),
        ('Scale', f'{network.scale}x'),
        ('Parameters', f'{parameters:,}'),
        ('Input', 'RGB in [0, 1], (N, 3, h, w), of any size'),
        ('Output', f'RGB, (N, 3, {network.scale} h, {network.scale} w), to be clamped to [0, 1]'),
        ('Weights (hash of names and values)', f'`{facts_of(network)["weights"]}`'),
    ]
    return '\n'.join(['| | |', '|---|---|', *(f'| {name} | {value} |' for name, value in rows)])


def _table_of(files: Sequence[ExportedFile]) -> str:
    lines = ['| file | bytes | largest difference | read by | remark | SHA-256 |', '|---|---|---|---|---|---|']
    for file in files:
        tools = ', '.join(file.read_by)
        name = code(file.path.name)
        lines.append(f'| {name} | {file.bytes:,} | {file.difference:.4f} | {tools} | {file.note} | `{file.sha256}` |')
    return '\n'.join(lines)


def adaptation_of(network: LoadedNetwork) -> dict[str, object] | None:
    """What `pdd adapt` noted about this very file, or None.

    Raises:
        DataError: the ``adaptation.json`` beside the network cannot be read.
    """
    note = network.file.parent / ADAPTATION
    if network.file.name != ADAPTED_MODEL or not note.is_file():
        return None
    try:
        content = json.loads(note.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as e:
        way_out = 'Run `pdd adapt` again, or remove it.'
        raise DataError(f'cannot be read ({e})', where=shown(note), way_out=way_out) from None
    if not isinstance(content, dict):
        found = f'a {type(content).__name__}'
        raise DataError(where=shown(note), expected='a dictionary', found=found, way_out='Remove it.')
    return content


def _origin(network: LoadedNetwork, adaptation: Mapping[str, object] | None) -> str:
    if adaptation is not None:
        parts = []
        for key in [*_TITLES, *(key for key in adaptation if key not in _TITLES)]:
            title = _TITLES.get(key, _shown(str(key).replace('_', ' ').capitalize()))
            content = '\n'.join(_entries(adaptation[key])) if adaptation.get(key) else f'{_NOT_KNOWN}.'
            parts.append(f'### {title}\n\n{content}')
        return '\n\n'.join(parts)
    if zoo.is_zoo(network.source) or (network.source in zoo.ZOO and network.file == zoo.ZOO[network.source].file):
        entry = zoo.ZOO[network.source.removeprefix(zoo.ZOO_PREFIX)]
        return f'Published by its authors at {entry.url}; not adapted to a camera.'
    if network.source.startswith(BUNDLED_PREFIX):
        return f'Shipped with pdd_arch as {network.source}; not adapted to a camera.'
    return (
        f'{_NOT_KNOWN}: it was exported from the weight file {code(network.file.name)}, which says nothing about the '
        'generalist, the photographs, the options of the training and the metrics. Add what you know here.'
    )


def _licences(network: LoadedNetwork, adaptation: Mapping[str, object] | None) -> str:
    names = [network.source] if adaptation is None else _texts(adaptation.get('generalist'))
    known = next((n for n in (name.removeprefix(zoo.ZOO_PREFIX) for name in names) if n in zoo.ZOO), None)
    whose = 'The network' if adaptation is None else 'The generalist'
    if known is not None:
        weights = (
            f"{whose}, {known}, is published under {zoo.ZOO[known].licence}; keep its authors' notice with whatever is "
            'made from it.'
        )
    elif any(name.startswith(BUNDLED_PREFIX) for name in names):
        weights = f'{whose} is shipped with pdd_arch, under the MIT licence.'
    else:
        weights = f'{_NOT_KNOWN} for the weights that it started from; ask who published them before you pass it on.'
    return (
        f'- {weights}\n'
        f'- {_NOT_KNOWN} for the photographs that it was trained on. If they are not your own, or show people, look up '
        'what their licence says about models trained on them (many datasets are for research only).'
    )


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
    text = ' '.join(str(value)[: 2 * MOST_CHARACTERS].split())
    for kind in (PurePath, PureWindowsPath):
        if kind(text).is_absolute():
            return escaped(kind(text).name)
    text = _PATH.sub(r'\1', text)
    return escaped(text) if isinstance(value, str) else text


def _texts(value: object, levels: int = _MOST_LEVELS) -> list[str]:
    """All texts in nested containers; of paths, the name without suffix as well."""
    if isinstance(value, str):
        return [value, Path(value).stem]
    if not levels:
        return []
    contents = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [text for content in contents for text in _texts(content, levels - 1)]


def _versions() -> Iterator[str]:
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):  # not installed, or under another name, such as onnxruntime-gpu
            yield f'{package} {version(package)}'
