"""The tools that exported files are for, each as a function from images to images."""

import math
import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact

from pdd_arch.inference import LoadedNetwork, required_multiple

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


def readers_of(names: Sequence[str], network: LoadedNetwork) -> tuple[str, ...]:
    """Those of the tools that know the architecture of a network."""
    return tuple(name for name in names if name != 'RealESRGANer' or is_real_esrgan_network(network))
