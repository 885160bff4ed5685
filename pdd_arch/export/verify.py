"""Whether an exported file does in the tools that it is for what the network does in PyTorch, on photographs."""

import math
import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact

from pdd_arch.data.sources import list_images
from pdd_arch.demo.photographs import demo_images
from pdd_arch.errors import DataError, MissingFileError, WeightsError
from pdd_arch.images.decoding import read_image, to_float32
from pdd_arch.inference import LoadedNetwork, forward_padded, required_multiple
from pdd_arch.utils.wording import shown

#: levels of 255 by which an output may differ
TOLERANCE = 1.0
#: photographs of a folder that are compared, spread over it
_MOST_PHOTOGRAPHS = 4
_LEAST_SIDE = 16
#: a function from (N, 3, h, w) in [0, 1] to (N, 3, h * scale, w * scale), float32, and the multiple of pixels to which
#: the tool continues images by their mirror image
Opened = tuple[Callable[[torch.Tensor], torch.Tensor], int]


def _spandrel(path: Path, network: LoadedNetwork) -> Opened:
    from spandrel import ModelLoader

    model = ModelLoader(device='cpu').load_from_file(path)
    # it asks for more than some networks need
    return model, math.lcm(required_multiple(network.net), model.size_requirements.multiple_of)


def _real_esrganer(path: Path, network: LoadedNetwork) -> Opened:
    from realesrgan import RealESRGANer

    blank = deepcopy(network.net)
    with torch.no_grad():
        for parameter in blank.parameters():
            parameter.fill_(torch.nan)  # so that nothing but the file can give the weights
    # its pre_pad would change the border
    upsampler = RealESRGANer(network.scale, str(path), model=blank, pre_pad=0, half=False, device=torch.device('cpu'))

    def run(images: torch.Tensor) -> torch.Tensor:
        outputs = []
        for image in images:
            upsampler.mod_scale = None
            upsampler.pre_process(image.permute(1, 2, 0).numpy())
            upsampler.process()
            outputs.append(upsampler.post_process())
        return torch.cat(outputs)

    return run, {1: 4, 2: 2}.get(network.scale, 1)


def _onnxruntime(path: Path, network: LoadedNetwork) -> Opened:
    from onnxruntime import InferenceSession

    session = InferenceSession(str(path), providers=['CPUExecutionProvider'])
    given = session.get_inputs()[0]

    def run(images: torch.Tensor) -> torch.Tensor:
        values = images.half() if given.type == 'tensor(float16)' else images
        return torch.from_numpy(session.run(None, {given.name: values.numpy()})[0]).float()

    return run, required_multiple(network.net)


def _torchscript(path: Path, network: LoadedNetwork) -> Opened:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)  # torch 2.15 prefers torch.export
        return torch.jit.load(str(path), map_location='cpu'), required_multiple(network.net)


#: name of a tool -> how it opens a file, given the network that the file was written from
READERS: dict[str, Callable[[Path, LoadedNetwork], Opened]] = {
    'spandrel': _spandrel,
    'RealESRGANer': _real_esrganer,
    'onnxruntime': _onnxruntime,
    'torch.jit': _torchscript,
}


def is_real_esrgan_network(network: LoadedNetwork) -> bool:
    """Whether Real-ESRGAN has this architecture."""
    return type(network.net) in (RRDBNet, SRVGGNetCompact)


def _photographs(path: str | Path | None) -> tuple[list[np.ndarray], str]:
    """(H, W, 3) float32 BGR images in [0, 1], and where they come from, in words."""
    if path is None:
        images = [to_float32(image) for name, image in demo_images().items() if name.startswith('test_lr/')]
        return images[:2], '2 photographs of scikit-image, downsampled by 4'
    path = Path(path)
    if path.is_dir():
        names = list_images(str(path), '--verify')
        count = min(_MOST_PHOTOGRAPHS, len(names))
        taken = [names[i * len(names) // count] for i in range(count)]
        return [read_image(path / name) for name in taken], f'{count} of {len(names)} photographs given'
    if not path.exists():
        what = f'there is no file or folder {shown(path)}'
        raise MissingFileError(what, where='--verify', way_out='Give a photograph or a folder of them.')
    return [read_image(path)], 'the photograph given'


class Reference:
    """PyTorch's outputs for windows from the middle of photographs, which the outputs of other tools are compared with.

    `photographs` is an image, or a folder of which some are taken; None: LR photographs made from those that come with
    scikit-image. `side` is the largest side of a window, in pixels; 0: the whole photograph.

    Attributes:
        source: where the photographs come from, in words.
        windows: batches, each (N, 3, h, w), float32, RGB in [0, 1]; the largest sides first, then odd ones, then two
            images at once.

    Raises:
        MissingFileError, DataError: there are no photographs, one cannot be read, or has a side of less than 16 pixels.
    """

    def __init__(self, network: LoadedNetwork, photographs: str | Path | None, side: int = 128) -> None:
        self.network = network
        self.windows: list[torch.Tensor] = []
        self._outputs: dict[int, list[torch.Tensor]] = {}
        images, self.source = _photographs(photographs)
        for image in images:
            height, width = image.shape[:2]
            if min(height, width) < _LEAST_SIDE:
                expected = f'photographs of at least {_LEAST_SIDE}x{_LEAST_SIDE} pixels'
                found = f'one of {width}x{height} in {self.source}'
                raise DataError(where='--verify', expected=expected, found=found)
            rgb = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))
            self.windows.append(_middle(torch.from_numpy(rgb)[None], side or height, side or width))
        first = self.windows[0]
        height, width = first.shape[2:]
        part = _middle(first, height // 2, width // 2)
        self.windows += [_middle(first, (height - 2) | 1, (width - 4) | 1), torch.cat([part, part.flip(3)])]

    def outputs(self, multiple: int) -> list[torch.Tensor]:
        """Outputs for the windows, padded to a `multiple` and clamped to [0, 1]; computed once."""
        if multiple not in self._outputs:
            with torch.inference_mode():
                outputs = [forward_padded(self.network.net, window, multiple) for window in self.windows]
                self._outputs[multiple] = [output.clamp(0, 1) for output in outputs]
        return self._outputs[multiple]


def _middle(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    top, left = max(0, images.shape[2] - height) // 2, max(0, images.shape[3] - width) // 2
    return images[..., top : top + height, left : left + width].contiguous()


def verified_difference(path: Path, readers: Sequence[str], reference: Reference) -> float:
    """:func:`largest_difference` over all tools. Raises WeightsError as there, and for more than `TOLERANCE`."""
    largest = 0.0
    for reader in readers:
        difference = largest_difference(path, reader, reference)
        if not difference <= TOLERANCE:
            by = f'{difference:.2f} levels of 255, more than {TOLERANCE:g}'
            raise WeightsError(f'its output in {reader} differs from that of PyTorch by {by}')
        largest = max(largest, difference)
    return largest


def largest_difference(path: Path, reader: str, reference: Reference) -> float:
    """The largest difference between a tool's output and PyTorch's, both clamped to [0, 1], in levels of 255.

    It is infinite where an output is not finite. Raises WeightsError if the tool refuses the file or an image, or if
    its output has another size.
    """
    largest = 0.0
    try:
        run, multiple = READERS[reader](path, reference.network)
        for window, wanted in zip(reference.windows, reference.outputs(multiple), strict=True):
            with torch.no_grad():
                found = run(window)
            if found.shape != wanted.shape:
                raise WeightsError(
                    f'{reader} makes {tuple(found.shape)} out of {tuple(window.shape)}, expected {tuple(wanted.shape)}'
                )
            if not torch.isfinite(found).all():
                return math.inf
            largest = max(largest, 255 * (found.clamp(0, 1) - wanted).abs().max().item())
    except WeightsError:
        raise
    except Exception as e:  # every tool has its own
        reason = ' '.join(str(e).split())[:200]
        raise WeightsError(f'{reader} cannot use it ({type(e).__name__}: {reason})') from e
    return largest
