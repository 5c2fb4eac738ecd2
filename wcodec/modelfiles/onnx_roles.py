"""The roles of the vectors of an ONNX model, from the operators that use them. https://onnx.ai/onnx/operators/"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from wcodec.model import Gain, Role, Shift
from wcodec.model.dataclass import dataclass

LINEAR: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators whose second input is a kernel; the third, if there is one, is a bias."""
NORMALIZING: Final = frozenset({"LayerNormalization", "InstanceNormalization", "GroupNormalization"})
SCALING: Final = frozenset({"Mul", "Div"})


@dataclass(frozen=True)
class Node:
    """One operator of a graph: its type and the names of its inputs and outputs, as in the table of tensors."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def roles_of(nodes: Sequence[Node]) -> dict[str, Role | None]:
    """Roles by tensor name. None for a vector that an operator adds to or subtracts from values of unknown spread."""
    kernels = {node.outputs[0]: node.inputs[1] for node in nodes if node.kind in LINEAR and len(node.inputs) > 1}
    roles: dict[str, Role | None] = {}
    for node in nodes:
        for name, role in _find_roles(node, kernels):
            # A tensor that two operators use in different ways gets no role.
            roles[name] = role if roles.get(name, role) == role else None
    return roles


def _find_roles(node: Node, kernels: dict[str, str]) -> Iterator[tuple[str, Role | None]]:
    inputs = node.inputs
    if node.kind in LINEAR and len(inputs) > 2:
        yield inputs[2], Shift(inputs[1], "norm")
    elif node.kind == "BatchNormalization" and len(inputs) == 5:
        _, gain, shift, mean, variance = inputs
        yield from ((gain, Gain()), (shift, Shift(gain, "magnitude")))
        yield from ((mean, Shift(variance, "root")), (variance, Gain()))
    elif node.kind in NORMALIZING and len(inputs) > 1:
        yield inputs[1], Gain()
        if len(inputs) > 2:
            yield inputs[2], Shift(inputs[1], "magnitude")
    elif node.kind in SCALING and len(inputs) == 2:
        yield from ((name, Gain()) for name in inputs)
    elif node.kind in ("Add", "Sub") and len(inputs) == 2:
        for name, other in (inputs, inputs[::-1]):
            yield name, Shift(kernels[other], "norm") if other in kernels else None
