"""How each exported file is used, for the model card."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pdd_arch.export.markdown import code
from pdd_arch.inference.load import LoadedNetwork

if TYPE_CHECKING:
    from pdd_arch.export.job import ExportedFile


def usage(network: LoadedNetwork, files: Sequence['ExportedFile'], in_real_esrgan: bool) -> str:
    """Markdown with an example for each of the files.

    Args:
        network: that was exported.
        files: that were written.
        in_real_esrgan: whether Real-ESRGAN has the architecture.
    """
    names = {file.form: file.path.name for file in files}
    parts = []
    weights = names.get('pth') or names.get('safetensors')
    if weights:
        parts.append(
            f'**chaiNNer, ComfyUI and others that use spandrel**: load {code(weights)} as an upscaling model.\n\n'
            + _python('from spandrel import ModelLoader', '', f'net = ModelLoader().load_from_file({weights!r}).eval()')
            + f'\n\n**pdd_arch**:\n\n```sh\npdd upscale photographs -o upscaled --model {shlex.quote(weights)}\n```'
        )
    if 'pth' in names:
        parts.append(_real_esrgan(network, names['pth']) if in_real_esrgan else _not_in_real_esrgan(network))
    for form in ('onnx', 'onnx-fp16'):
        if form in names:
            parts.append(_onnx(names[form]))
    if 'onnx-fp16' in names:
        parts.append(
            f'{code(names["onnx-fp16"])} was compared on a CPU, where ONNX Runtime computes float16 layers in float32. '
            'A GPU that computes in float16 rounds after every layer as well: compare its output before relying on it.'
        )
    if 'torchscript' in names:
        parts.append(
            '**TorchScript**, which needs no code of the network:\n\n'
            + _python('import torch', '', f'net = torch.jit.load({names["torchscript"]!r})')
        )
    return '\n\n'.join(parts)


def _python(*lines: str) -> str:
    return '\n'.join(['```python', *lines, '```'])


def _real_esrgan(network: LoadedNetwork, name: str) -> str:
    net = network.net
    if type(net).__name__ == 'RRDBNet':
        module = 'basicsr.archs.rrdbnet_arch'
        block = net.body[0].rdb1
        arguments = (
            f'scale={network.scale}, num_feat={net.conv_first.out_channels}, num_block={len(net.body)}, '
            f'num_grow_ch={block.conv1.out_channels}'
        )
    else:
        module = 'realesrgan.archs.srvgg_arch'
        arguments = (
            f"num_feat={net.num_feat}, num_conv={net.num_conv}, upscale={network.scale}, act_type='{net.act_type}'"
        )
    return '**Real-ESRGAN** (`params_ema` holds the weights):\n\n' + _python(
        f'from {module} import {type(net).__name__}',
        'from realesrgan import RealESRGANer',
        '',
        f'net = {type(net).__name__}(3, 3, {arguments})',
        f'upsampler = RealESRGANer(scale={network.scale}, model_path={name!r}, model=net, pre_pad=0)',
        'output, _ = upsampler.enhance(image)  # (H, W, 3) uint8, BGR, as cv2.imread gives it',
    )


def _not_in_real_esrgan(network: LoadedNetwork) -> str:
    return f'**Real-ESRGAN** has no {type(network.net).__name__} of this kind; use spandrel or ONNX Runtime.'


def _onnx(name: str) -> str:
    return f'**ONNX Runtime** ({code(name)}; batch, height and width are free):\n\n' + _python(
        'import numpy as np',
        'import onnxruntime',
        '',
        f'session = onnxruntime.InferenceSession({name!r})',
        'given = session.get_inputs()[0]',
        "kind = np.float16 if given.type == 'tensor(float16)' else np.float32",
        '# image: (h, w, 3) uint8, RGB',
        'values = image.transpose(2, 0, 1)[None].astype(kind) / kind(255)',
        'output = session.run(None, {given.name: values})[0].clip(0, 1)',
    )
