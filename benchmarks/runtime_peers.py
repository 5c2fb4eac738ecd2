"""Quantisers of weights that come with runtimes: onnxruntime's MatMulNBits and torchao's weight-only integers.

Both store groups of 32 weights with a scale each: float32 in onnxruntime's file of a float32 network, and float16 here
for torchao, whose scales have the type of the weights. Each result is what the runtime's own kernel multiplies by.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
from packages import install
from weight_peers import Make, Tensors

GROUP = 32


def runtimes(matrices: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Make]]:
    """Every quantiser of the two; matrices: rows are the weights of one output, a multiple of 32 of them."""
    for bits in (8, 4):
        yield f"onnxruntime MatMulNBits, {bits} bits", partial(_by_onnxruntime, matrices, bits)
        yield f"torchao int{bits} weight-only", partial(_by_torchao, matrices, bits)


def _by_onnxruntime(matrices: Mapping[str, np.ndarray], bits: int) -> tuple[int, Tensors]:
    """Asymmetric, which loses less than symmetric: bytes, scales and zero points of MatMulNBits."""
    for package in ("mpmath", "sympy", "onnx_ir"):
        install(package)
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer  # noqa: PLC0415

    logging.getLogger("onnxruntime").setLevel(logging.WARNING)
    total, tensors = 0, {}
    for name, array in matrices.items():
        quantizer = MatMulNBitsQuantizer(_product(array), bits=bits, block_size=GROUP)
        quantizer.process()
        codes, scales, zeros = _initializers(quantizer.model.model)
        total += codes.nbytes + scales.nbytes + zeros.nbytes
        groups = len(array), -1, GROUP
        levels = _unpack(codes, bits).reshape(groups).astype(np.float32)
        middle = _unpack(zeros, bits).reshape(len(array), -1)[:, : levels.shape[1]]
        tensors[name] = ((levels - middle[..., None]) * scales.reshape(len(array), -1, 1)).reshape(array.shape)
    return total, tensors


def _product(array: np.ndarray):
    """An ONNX model of one matrix product."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])
        for name, width in (("x", array.shape[1]), ("y", array.shape[0]))
    ]
    weight = numpy_helper.from_array(np.ascontiguousarray(array.T, np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def _initializers(model) -> list[np.ndarray]:
    """Codes, scales and zero points, in the order in which the operator takes them."""
    from onnx import numpy_helper  # noqa: PLC0415

    arrays = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    return [arrays[name] for name in model.graph.node[0].input[1:4]]


def _unpack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Bytes, or the halves of bytes, the lower one first."""
    return codes if bits == 8 else np.stack([codes & 15, codes >> 4], -1)


def _by_torchao(matrices: Mapping[str, np.ndarray], bits: int) -> tuple[int, Tensors]:
    """Symmetric integers in groups of 32."""
    import torch  # noqa: PLC0415

    install("torchao")
    from torchao.quantization import IntxWeightOnlyConfig, quantize_  # noqa: PLC0415
    from torchao.quantization.granularity import PerGroup  # noqa: PLC0415

    config = IntxWeightOnlyConfig(weight_dtype={4: torch.int4, 8: torch.int8}[bits], granularity=PerGroup(GROUP))
    total, tensors = 0, {}
    for name, array in matrices.items():
        layer = torch.nn.Linear(array.shape[1], array.shape[0], bias=False, dtype=torch.float16)
        layer.weight.data.copy_(torch.from_numpy(array))
        network = torch.nn.Sequential(layer)
        quantize_(network, config)
        coded = network[0].weight
        total += coded.qdata.numel() * bits // 8 + coded.scale.numel() * coded.scale.element_size()
        tensors[name] = coded.dequantize().detach().float().numpy()
    return total, tensors
