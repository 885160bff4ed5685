"""Whether an exported file does what the network does, on photographs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pdd_arch.data.sources import list_images
from pdd_arch.demo.photographs import demo_images
from pdd_arch.errors import DataError, MissingFileError, WeightsError
from pdd_arch.export.readers import Reader
from pdd_arch.images.decoding import read_image, to_float32
from pdd_arch.images.names import is_image_name
from pdd_arch.inference import forward_padded
from pdd_arch.inference.load import LoadedNetwork

#: levels of 255 by which an output may differ
TOLERANCE = 1.0
#: photographs of a folder that are looked at, spread over it
MOST_PHOTOGRAPHS = 4
_LEAST_SIDE = 16


@dataclass(frozen=True)
class Windows:
    """What outputs are compared on.

    Attributes:
        batches: each (N, 3, h, w), float32, RGB in [0, 1]; the largest sides first, then odd ones, then two at once.
        source: of them, in words.
    """

    batches: tuple[torch.Tensor, ...]
    source: str

    @property
    def sizes(self) -> str:
        """``64x80, 63x79 ...``: heights and widths in pixels, each once."""
        return ', '.join(dict.fromkeys(f'{b.shape[2]}x{b.shape[3]}' for b in self.batches))


def windows_of(images: Sequence[np.ndarray], source: str, side: int = 128) -> Windows:
    """Windows from the middle of photographs.

    Args:
        images: (H, W, 3) float32 BGR in [0, 1].
        source: of them, for people.
        side: of a window at most, in pixels; 0: all of the photograph.

    Raises:
        DataError: a photograph has a side of less than 16 pixels.
    """
    wholes = []
    for image in images:
        height, width = image.shape[:2]
        if min(height, width) < _LEAST_SIDE:
            raise DataError(
                f'--verify: expected photographs of at least {_LEAST_SIDE}x{_LEAST_SIDE} pixels, found one of '
                f'{width}x{height} in {source}'
            )
        rgb = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))
        wholes.append(_middle(torch.from_numpy(rgb)[None], side or height, side or width))
    first = wholes[0]
    height, width = first.shape[2:]
    odd = _middle(first, (height - 2) | 1, (width - 4) | 1)
    part = _middle(first, height // 2, width // 2)
    return Windows((*wholes, odd, torch.cat([part, part.flip(3)])), source)


def _middle(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    top, left = max(0, images.shape[2] - height) // 2, max(0, images.shape[3] - width) // 2
    return images[..., top : top + height, left : left + width].contiguous()


def photographs(path: str | Path | None) -> tuple[list[np.ndarray], str]:
    """(H, W, 3) float32 BGR images in [0, 1], and what they are in words.

    Args:
        path: an image; a folder, of which `MOST_PHOTOGRAPHS` are taken; None: LR photographs made of those that come
            with scikit-image.

    Raises:
        MissingFileError, DataError: there is nothing at `path`, or it cannot be read.
    """
    if path is None:
        images = [to_float32(image) for name, image in demo_images().items() if name.startswith('test_lr/')]
        return images[:2], '2 photographs of scikit-image, reduced by 4'
    path = Path(path)
    if path.is_dir():
        names = list_images(str(path), '--verify')
        count = min(MOST_PHOTOGRAPHS, len(names))
        taken = [names[i * len(names) // count] for i in range(count)]
        return [read_image(path / name) for name in taken], f'{count} of {len(names)} photographs given'
    if not path.exists():
        raise MissingFileError(f'--verify: there is no file or folder {path}. Give a photograph or a folder of them.')
    if not is_image_name(path.name):
        raise DataError(f'--verify: expected a photograph or a folder of them, found {path.name}')
    return [read_image(path)], 'the photograph given'


class Reference:
    """What PyTorch makes of the windows; computed once for each way of padding."""

    def __init__(self, network: LoadedNetwork, windows: Windows) -> None:
        self.network, self.windows = network, windows
        self._outputs: dict[int, list[torch.Tensor]] = {}

    def outputs(self, multiple: int) -> list[torch.Tensor]:
        """One for each of the windows' batches, clamped to [0, 1]."""
        if multiple not in self._outputs:
            with torch.inference_mode():
                self._outputs[multiple] = [
                    forward_padded(self.network.net, batch, multiple).clamp(0, 1) for batch in self.windows.batches
                ]
        return self._outputs[multiple]


def largest_difference(path: Path, reader: Reader, reference: Reference) -> float:
    """Between the output of a tool with a file and PyTorch's, in levels of 255; both clamped to [0, 1].

    Returns:
        The difference; infinite where an output is not finite.

    Raises:
        WeightsError: the tool refuses the file or an image, or its output has another size.
    """
    largest = 0.0
    try:
        run, multiple = reader.open(path, reference.network)
        for batch, wanted in zip(reference.windows.batches, reference.outputs(multiple), strict=True):
            with torch.no_grad():
                found = run(batch)
            if found.shape != wanted.shape:
                raise WeightsError(
                    f'{reader.name} makes {tuple(found.shape)} out of {tuple(batch.shape)}, expected '
                    f'{tuple(wanted.shape)}'
                )
            if not torch.isfinite(found).all():
                return math.inf
            largest = max(largest, 255 * (found.clamp(0, 1) - wanted).abs().max().item())
    except WeightsError:
        raise
    except Exception as e:  # every tool has its own
        raise WeightsError(f'{reader.name} cannot use it ({type(e).__name__}: {first_line(e)})') from e
    return largest


def first_line(error: Exception) -> str:
    """Of a message that may be a page long."""
    return (str(error).strip().splitlines() or [''])[0][:200]
