"""Networks traced for TorchScript and ONNX; batch, height and width are free.

The packages onnx and onnxruntime are optional, so they are imported where they are needed.
"""

import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from pdd_arch.inference import LoadedNetwork, required_multiple

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

#: writes a network to a path, with facts about it for forms that can hold them
Write = Callable[[LoadedNetwork, Path, Mapping[str, str]], None]
#: tensors of fewer numbers stay float32: biases and constants of operators that expect them so
_LEAST_NUMBERS = 256


class _AnySize(nn.Module):
    """`pdd_arch.inference.forward_padded` in operations on tensors only: the padding is computed from the size of each
    image instead of becoming a constant of the trace."""

    def __init__(self, net: nn.Module, scale: int, multiple: int) -> None:
        super().__init__()
        self.net, self.scale, self.multiple = net, scale, multiple

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, h, w) to (N, 3, h * scale, w * scale), for any h and w."""
        height, width = x.shape[2], x.shape[3]
        padded = x.index_select(2, self._continued(height)).index_select(3, self._continued(width))
        return self.net(padded)[:, :, : height * self.scale, : width * self.scale]

    def _continued(self, length: int) -> torch.Tensor:
        """Indices ``0 ... length - 1``, continued by their mirror image to a multiple."""
        indices = torch.arange(length + (-length) % self.multiple)
        # a side shorter than its continuation ends in repetitions of its first pixel
        return torch.where(indices < length, indices, (2 * (length - 1) - indices).clamp(min=0))


def _any_size(network: LoadedNetwork) -> nn.Module:
    multiple = required_multiple(network.net)
    return network.net if multiple == 1 else _AnySize(network.net, network.scale, multiple).eval()


def write_torchscript(network: LoadedNetwork, path: Path, _facts: Mapping[str, str]) -> None:
    """Write a network as TorchScript: (N, 3, h, w) RGB in [0, 1]; the output is not clamped."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # sizes turned into constants would show in the verification
        traced = torch.jit.trace(_any_size(network), torch.zeros(1, 3, 24, 32), check_trace=False)
        content = io.BytesIO()  # given a path, torch does not tell why it cannot write
        torch.jit.save(traced, content)
    path.write_bytes(content.getvalue())


def write_onnx(
    network: LoadedNetwork,
    path: Path,
    facts: Mapping[str, str],
    transform: Callable[['ModelProto'], 'ModelProto'] = lambda model: model,
) -> None:
    """Write a network as ONNX: (N, 3, h, w) RGB in [0, 1]; the output is not clamped.

    `transform` changes the exported graph, whose input and output are float32.
    """
    import onnx

    free = {0: 'batch', 2: 'height', 3: 'width'}
    with torch.no_grad(), warnings.catch_warnings():
        # what tracing warns of (sizes turned into constants) would show in the verification; and the exporter by
        # tracing is called deprecated, but takes the networks with windows, which the new one does not, needs no
        # further package, and is in torch from 2.4 up to now
        warnings.simplefilter('ignore')
        torch.onnx.export(
            _any_size(network),
            # its size does not become part of the graph
            (torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(0)),),
            str(path),
            dynamo=False,
            opset_version=17,  # the first with LayerNormalization; ONNX Runtime has it since 1.12
            input_names=['input'],
            output_names=['output'],
            dynamic_axes={'input': free, 'output': {0: 'batch', 2: 'output_height', 3: 'output_width'}},
        )
    model = transform(onnx.load(path))
    onnx.helper.set_model_props(model, dict(facts))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def in_float16(model: 'ModelProto', **options: object) -> 'ModelProto':
    """The graph in float16, input and output included."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    # both are computed in float16 by every ONNX Runtime of the last years; in float32 they would need conversions
    operators = [operator for operator in DEFAULT_OP_BLOCK_LIST if operator not in ('Resize', 'Upsample')]
    converted = OnnxModel(convert_float_to_float16(model, op_block_list=operators, **options))
    converted.topological_sort()  # conversions are appended at the end
    _remove_round_trips(converted.model)
    return converted.model


def second_half_in_float16(model: 'ModelProto') -> 'ModelProto':
    """The graph in float16 from the middle one of its convolutions on, input and output in float32.

    A network trained to invent detail can amplify the rounding of its input and of its first layers beyond a level.
    """
    nodes = model.graph.node
    positions = [i for i, node in enumerate(nodes) if node.op_type == 'Conv']
    middle = positions[len(positions) // 2] if len(positions) > 1 else 0
    return in_float16(model, keep_io_types=True, node_block_list=[node.name for node in nodes[:middle]])


def with_half_weights(model: 'ModelProto') -> 'ModelProto':
    """The graph with its large tensors stored in float16, each turned into float32 before its use."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _LEAST_NUMBERS:
            continue
        name, half = tensor.name, f'{tensor.name}_fp16'
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), half))
        casts.append(helper.make_node('Cast', [half], [name], name=f'{half}_to_fp32', to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _remove_round_trips(model: 'ModelProto') -> None:
    """Between two nodes that stay float32 the converter goes through float16, which rounds: take the direct way."""
    from onnx import TensorProto

    def target(node: 'NodeProto') -> int | None:
        return next((a.i for a in node.attribute if a.name == 'to'), None) if node.op_type == 'Cast' else None

    to_half = {node.output[0]: node for node in model.graph.node if target(node) == TensorProto.FLOAT16}
    for node in model.graph.node:
        if target(node) == TensorProto.FLOAT and node.input[0] in to_half:
            node.input[0] = to_half[node.input[0]].input[0]
            node.op_type = 'Identity'
            del node.attribute[:]
