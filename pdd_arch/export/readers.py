"""The tools that exported files are for, each as a function from images to images."""

import math
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact

from pdd_arch.inference import LoadedNetwork, required_multiple


class Opened(NamedTuple):
    """A file that a tool has opened.

    Attributes:
        run: maps (N, 3, h, w) in [0, 1], float32, to (N, 3, h * scale, w * scale), float32.
        multiple: number of pixels to a multiple of which the tool continues images by their mirror image.
    """

    run: Callable[[torch.Tensor], torch.Tensor]
    multiple: int


class Reader(NamedTuple):
    """A tool: its name, and what opens a file, given the network that the file was written from."""

    name: str
    open: Callable[[Path, LoadedNetwork], Opened]


def _spandrel(path: Path, network: LoadedNetwork) -> Opened:
    from spandrel import ModelLoader

    model = ModelLoader(device='cpu').load_from_file(path)
    # it asks for more than some networks need
    return Opened(model, math.lcm(required_multiple(network.net), model.size_requirements.multiple_of))


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

    return Opened(run, {1: 4, 2: 2}.get(network.scale, 1))


def _onnxruntime(path: Path, network: LoadedNetwork) -> Opened:
    from onnxruntime import InferenceSession

    session = InferenceSession(str(path), providers=['CPUExecutionProvider'])
    given = session.get_inputs()[0]
    half = given.type == 'tensor(float16)'

    def run(images: torch.Tensor) -> torch.Tensor:
        values = images.half() if half else images
        return torch.from_numpy(session.run(None, {given.name: values.numpy()})[0]).float()

    return Opened(run, required_multiple(network.net))


def _torchscript(path: Path, network: LoadedNetwork) -> Opened:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)  # torch 2.15 prefers torch.export
        return Opened(torch.jit.load(str(path), map_location='cpu'), required_multiple(network.net))


SPANDREL = Reader('spandrel', _spandrel)
REAL_ESRGANER = Reader('RealESRGANer', _real_esrganer)
ONNXRUNTIME = Reader('onnxruntime', _onnxruntime)
TORCHSCRIPT = Reader('torch.jit', _torchscript)


def is_real_esrgan_network(network: LoadedNetwork) -> bool:
    """Whether Real-ESRGAN has this architecture."""
    return type(network.net) in (RRDBNet, SRVGGNetCompact)


def weight_file_readers(network: LoadedNetwork) -> tuple[Reader, ...]:
    """The tools for a ``.pth`` of this network."""
    return (SPANDREL, REAL_ESRGANER) if is_real_esrgan_network(network) else (SPANDREL,)
