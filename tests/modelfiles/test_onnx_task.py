"""The task of an ONNX network by its graph; the default has smaller steps for networks that predict values."""

from __future__ import annotations

import pytest

from wcodec.modelfiles.onnx_roles import Node
from wcodec.modelfiles.onnx_task import tasks_of

SHAPES = {"one": (8, 1), "many": (8, 9), "filter": (1, 8, 3, 3), "upward": (8, 1, 2, 2), "scale": (1,)}


@pytest.mark.parametrize(
    ("nodes", "task"),
    [
        ([("Gemm", "x one b", "y")], "values"),
        ([("MatMul", "x one", "m"), ("Add", "m b", "y")], "values"),
        ([("Gemm", "x one", "m"), ("Squeeze", "m", "s"), ("Mul", "s scale", "y")], "values"),
        ([("Conv", "x filter b", "c"), ("Relu", "c", "y")], "values"),
        ([("ConvTranspose", "x upward", "y")], "values"),
        ([("Gemm", "x one b", "m"), ("Sigmoid", "m", "y")], "unknown"),
        ([("Gemm", "x many b", "y")], "unknown"),
        ([("Gemm", "x one", "m"), ("Gemm", "x many", "n"), ("Add", "m n", "y")], "unknown"),
        ([("Conv", "x upward", "y")], "unknown"),
        ([("Add", "y b", "y")], "unknown"),
        ([("MatMul", "x transposed", "y")], "unknown"),
        ([("Gemm", "x", "y")], "unknown"),
        ([], "unknown"),
    ],
)
def test_one_linear_unit_predicts_values(nodes: list[tuple[str, str, str]], task: str) -> None:
    graph = [Node(kind, tuple(inputs.split()), tuple(outputs.split())) for kind, inputs, outputs in nodes]
    assert tasks_of(graph, ["y"], SHAPES) == (task,)
    assert tasks_of(graph, ["y", "z"], SHAPES) == (task, "unknown")
    assert tasks_of(graph, [], SHAPES) == ("unknown",)
