"""Loading a network by what users know it by: a file, a folder or a name."""

import os
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from pdd_arch.archs.spandrel_arch import recognised_network
from pdd_arch.errors import MissingFileError
from pdd_arch.utils.files import similar_file
from pdd_arch.utils.resources import BUNDLED_PREFIX, asset
from pdd_arch.utils.wording import did_you_mean, shown
from pdd_arch.weights import zoo
from pdd_arch.weights.checkpoints import check_finite
from pdd_arch.weights.file_kinds import in_folder

#: the model in a folder that `pdd adapt` has made, and what it notes about it
ADAPTED_MODEL, ADAPTATION = 'model.pth', 'adaptation.json'
_KNOWN = (
    'Give a weight file (.pth or .safetensors), a folder made by `pdd adapt`, or a published network: '
    f'{", ".join(zoo.ZOO)}.'
)


@dataclass(frozen=True)
class LoadedNetwork:
    """A network that is ready to be used.

    Attributes:
        net: maps RGB (N, 3, h, w) in [0, 1] to (N, 3, h * scale, w * scale); float32, on the CPU, in evaluation mode.
        scale: upscaling factor.
        name: short name to display.
        source: the path or name that was asked for.
        file: file that holds the weights.
        notes: what was done to read them, a sentence each: a prefix of the names of tensors was removed, for instance.
    """

    net: nn.Module
    scale: int
    name: str
    source: str
    file: Path
    notes: tuple[str, ...] = ()


def load_network(model: str | Path, where: str = 'model') -> LoadedNetwork:
    """A network for use, with its weights; of two sets in a file, the averaged one (``params_ema``).

    Args:
        model: a weight file (.pth or .safetensors) of any network that spandrel recognises; a folder made by
            ``pdd adapt``; ``bundled:NAME``; ``zoo:NAME`` (`pdd_arch.weights.zoo`), also without ``zoo:`` if there is no
            file of that name. A network of the zoo is downloaded when it is first needed.
        where: argument that named it, for error messages.

    Raises:
        MissingFileError: there is no such file or name, or it cannot be downloaded.
        WeightsError: the file cannot be read, is not a single-image RGB network that spandrel knows, or holds numbers
            that are not finite.
    """
    source = str(model)
    path, name, file = _find(source, where)
    notes: list[str] = []
    net, scale = recognised_network(path, where, notes.append)
    check_finite(net.state_dict(), path, where)
    return LoadedNetwork(net.float().eval().requires_grad_(False), scale, name, source, file, tuple(notes))


def _find(source: str, where: str) -> tuple[str, str, Path]:
    """What to read, its short name, and the file that this is."""
    if source.startswith(BUNDLED_PREFIX):
        try:
            file = asset(source.removeprefix(BUNDLED_PREFIX))
        except MissingFileError as error:
            raise error.within(where, ': ') from None
        return source, file.stem, file
    if not source or zoo.is_address(source):
        found = f'the address {source}' if source else 'an empty text'
        raise MissingFileError(f'{found} is no weight file', where=where, way_out=zoo.instead_of(source) or _KNOWN)
    path = Path(os.path.expanduser(source))
    if zoo.is_zoo(source) or (source in zoo.ZOO and not path.exists()):
        name = source.removeprefix(zoo.ZOO_PREFIX)
        return f'{zoo.ZOO_PREFIX}{name}', name, zoo.generalist(name, where).file
    if path.is_dir():
        file = path / ADAPTED_MODEL
        if not file.is_file():
            raise MissingFileError(
                f'the folder {shown(path)} holds no {ADAPTED_MODEL}, which `pdd adapt` would have written at its end',
                where=where,
                way_out=in_folder(path),
            )
        return str(file), path.resolve().name, file
    if not path.exists():
        raise MissingFileError(
            f'there is no file {shown(path)}',
            where=where,
            way_out=zoo.instead_of(source) or f'{did_you_mean(source, zoo.ZOO) or similar_file(path)} {_KNOWN}'.strip(),
        )
    return str(path), path.stem, path
