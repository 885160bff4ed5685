"""ONNX files: batch, height and width are free; float32, or float16 as far as the network allows.

The packages onnx and onnxruntime are optional, so they are imported where they are needed.
"""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from pdd_arch.export.any_size import any_size
from pdd_arch.inference import LoadedNetwork

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

#: writes a network to a path, with facts about it for forms that can hold them
Write = Callable[[LoadedNetwork, Path, Mapping[str, str]], None]
#: LayerNormalization is an operator from 17 on; ONNX Runtime knows it since 1.12
OPSET = 17
INPUT, OUTPUT = 'input', 'output'
#: tensors of fewer numbers stay float32: biases and constants of operators that expect them so
_LEAST_NUMBERS = 256


def onnx_writer(transform: Callable[['ModelProto'], 'ModelProto'] = lambda model: model) -> Write:
    """A function that writes a network as ONNX: (N, 3, h, w) RGB in [0, 1]; the output is not clamped.

    Args:
        transform: what is done with the exported graph, which takes and gives float32.
    """

    def write(network: LoadedNetwork, path: Path, facts: Mapping[str, str]) -> None:
        import onnx

        model = transform(_exported(network, path))
        onnx.helper.set_model_props(model, dict(facts))
        onnx.checker.check_model(model)
        onnx.save(model, path)

    return write


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
    """The graph with all from the middle one of its convolutions on in float16, input and output in float32.

    A network trained to invent detail can amplify the rounding of its input and of its first layers beyond a level.
    """
    nodes = model.graph.node
    positions = [i for i, node in enumerate(nodes) if node.op_type == 'Conv']
    middle = positions[len(positions) // 2] if len(positions) > 1 else 0
    return in_float16(model, keep_io_types=True, node_block_list=[node.name for node in nodes[:middle]])


def with_half_weights(model: 'ModelProto') -> 'ModelProto':
    """The graph with its large tensors stored in float16, each turned into float32 before its use."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _LEAST_NUMBERS:
            continue
        name, half = tensor.name, f'{tensor.name}_fp16'
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), half))
        casts.append(helper.make_node('Cast', [half], [name], name=f'{half}_to_fp32', to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _exported(network: LoadedNetwork, path: Path) -> 'ModelProto':
    import onnx

    # the sizes of this input become no part of the graph
    example = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    free = {0: 'batch', 2: 'height', 3: 'width'}
    with torch.no_grad(), warnings.catch_warnings():
        # what tracing warns of (sizes turned into constants) would show in the verification; and the exporter by
        # tracing is called deprecated, but takes the networks with windows, which the new one does not, needs no
        # further package, and is in torch from 2.4 up to now
        warnings.simplefilter('ignore')
        torch.onnx.export(
            any_size(network),
            (example,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: free, OUTPUT: {0: 'batch', 2: 'output_height', 3: 'output_width'}},
        )
    return onnx.load(path)


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
