"""How each exported file is used, for the model card."""

import shlex
from collections.abc import Sequence
from typing import Any

from pdd_arch.export.exported_file import ExportedFile
from pdd_arch.export.markdown import code
from pdd_arch.export.readers import is_real_esrgan_network
from pdd_arch.inference import LoadedNetwork


def usage(network: LoadedNetwork, files: Sequence[ExportedFile]) -> str:
    """Markdown with an example for each of the files that were written of a network."""
    names = {file.form: file.path.name for file in files}
    parts = []
    weights = names.get('pth') or names.get('safetensors')
    if weights:
        parts += [
            f'**chaiNNer, ComfyUI and others that use spandrel**: load {code(weights)} as an upscaling model.',
            _python('from spandrel import ModelLoader', '', f'net = ModelLoader().load_from_file({weights!r}).eval()'),
            f'**pdd_arch**:\n\n```sh\npdd upscale photographs -o upscaled --model {shlex.quote(weights)}\n```',
        ]
    if 'pth' in names and is_real_esrgan_network(network):
        parts += ['**Real-ESRGAN** (`params_ema` holds the weights):', _real_esrgan(network, names['pth'])]
    elif 'pth' in names:
        kind = type(network.net).__name__
        parts.append(f'**Real-ESRGAN** has no {kind} of this kind; use spandrel or ONNX Runtime.')
    for name in (names[form] for form in ('onnx', 'onnx-fp16') if form in names):
        parts += [f'**ONNX Runtime** ({code(name)}; batch, height and width are free):', _onnx(name)]
    if 'onnx-fp16' in names:
        parts.append(
            f'{code(names["onnx-fp16"])} was compared on a CPU, where ONNX Runtime computes float16 layers in float32. '
            'A GPU that computes in float16 rounds after every layer as well: compare its output before you rely on it.'
        )
    if 'torchscript' in names:
        load = _python('import torch', '', f'net = torch.jit.load({names["torchscript"]!r})')
        parts += ['**TorchScript**, which needs none of the code of the network:', load]
    return '\n\n'.join(parts)


def _python(*lines: str) -> str:
    return '\n'.join(['```python', *lines, '```'])


def _real_esrgan(network: LoadedNetwork, name: str) -> str:
    net: Any = network.net
    if type(net).__name__ == 'RRDBNet':
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
    return _python(
        f'from {module} import {type(net).__name__}',
        'from realesrgan import RealESRGANer',
        '',
        f'net = {type(net).__name__}(3, 3, {arguments})',
        f'upsampler = RealESRGANer(scale={network.scale}, model_path={name!r}, model=net, pre_pad=0)',
        'output, _ = upsampler.enhance(image)  # (H, W, 3) uint8, BGR, as cv2.imread gives it',
    )


def _onnx(name: str) -> str:
    return _python(
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
