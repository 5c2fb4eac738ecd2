"""What an ONNX network predicts, from the operators that make its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from wcodec.model import PredictedTask
from wcodec.modelfiles.onnx_roles import LINEAR, Node

PASSING: Final = frozenset({
    "Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Add", "Sub", "Mul", "Div", "Relu",
    "Softplus", "Exp",
})  # fmt: skip
"""Operators behind the last weights whose outputs are values if their inputs are."""
UNITS: Final = {"Conv": slice(1), "ConvTranspose": slice(1, 2), "MatMul": slice(-1, None), "Gemm": slice(None)}
"""Where a kernel has its units; that of Gemm may be transposed."""
DEPTH: Final = 20
"""The largest number of operators that are followed from an output."""


def tasks_of(
    nodes: Sequence[Node], outputs: Sequence[str], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[PredictedTask, ...]:
    """The task of each output: values if it is made by a linear operator with one unit, without a sigmoid behind it.
    More units may be logits, as networks for classes have them in ONNX.

    shapes: of the tensors, by name.
    """
    makers = {name: node for node in nodes for name in node.outputs}

    def has_one_unit(name: str) -> bool:
        for _ in range(DEPTH):
            if (node := makers.get(name)) is None:
                return False
            if node.kind in LINEAR:
                shape = shapes.get(node.inputs[1], ()) if len(node.inputs) > 1 else ()
                return 1 in shape[UNITS[node.kind]]
            made = [one for one in node.inputs if one in makers and makers[one].kind != "Constant"]
            if node.kind not in PASSING or len(made) != 1:
                return False
            name = made[0]
        return False

    return tuple("values" if has_one_unit(name) else "unknown" for name in outputs) or ("unknown",)
