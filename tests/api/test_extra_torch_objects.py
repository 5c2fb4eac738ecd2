"""Models and data in memory, of several frameworks, for encode, evaluate and sweep; they need torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import wcodec

X = np.random.default_rng(5).normal(size=(160, 12)).astype(np.float32)
CLASSES = (X[:, :3] @ np.eye(3)).argmax(1).astype(np.int64)
QUICK: dict[str, object] = {"max_drop": 5, "time_limit": "1s"}


@cache
def module() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3)).eval()


@cache
def onnx_model() -> object:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, initializers, nodes, value = onnx.helper, [], [], "x"
    for number, layer in enumerate((module()[0], module()[2])):
        for name, tensor in (("w", layer.weight), ("b", layer.bias)):
            initializers.append(onnx.numpy_helper.from_array(tensor.detach().numpy(), f"{name}{number}"))
        out = "y" if number else "h"
        nodes.append(helper.make_node("Gemm", [value, f"w{number}", f"b{number}"], [out], transB=1))
        if not number:
            nodes.append(helper.make_node("Relu", ["h"], ["r"]))
        value = "r"
    values = [helper.make_tensor_value_info(*fields) for fields in (("x", 1, ["n", 12]), ("y", 1, ["n", 3]))]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@cache
def keras_model() -> object:
    from wcodec.evaluation.keras_backend import keras

    layers = keras().layers
    model = keras().Sequential([layers.Input((12,)), layers.Dense(32, "relu", name="a"), layers.Dense(3, name="b")])
    linear = module()[0], module()[2]
    model.set_weights([part.detach().numpy().T for layer in linear for part in (layer.weight, layer.bias)])
    return model


def loader() -> object:
    return DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(CLASSES)), batch_size=32)


def tf_data() -> object:
    tensorflow = pytest.importorskip("tensorflow")
    return tensorflow.data.Dataset.from_tensor_slices((X, CLASSES)).batch(32)


def py_dataset() -> object:
    from wcodec.evaluation.keras_backend import keras

    class Batches(keras().utils.PyDataset):
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            rows = slice(32 * index, 32 * index + 32)
            return X[rows], CLASSES[rows]

    return Batches()


MODELS: dict[str, Callable[[], object]] = {"torch": module, "onnx": onnx_model, "keras": keras_model}
DATA: dict[str, Callable[[], object]] = {
    "DataLoader": loader, "tf.data": tf_data, "PyDataset": py_dataset, "pair": lambda: (X, CLASSES),
}  # fmt: skip


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("model", MODELS)
def test_a_model_in_memory_is_evaluated_with_data_of_every_kind(model: str, data: str) -> None:
    network, coded = MODELS[model](), wcodec.encode(MODELS[model](), bits=8)
    words = {"architecture": network} if model == "torch" else {}
    found = wcodec.evaluate(coded, DATA[data](), baseline=network, **words)
    with torch.no_grad():
        expected = 100 * float(np.mean(module()(torch.from_numpy(X)).numpy().argmax(1) == CLASSES))
    assert found.examples == len(X)
    assert found.baseline_accuracy == pytest.approx(expected)
    assert found.agreement is not None
    assert found.agreement > 95
    assert found.file_bytes == len(coded)
    assert wcodec.evaluate(network, DATA[data]()).accuracy == pytest.approx(expected)


@pytest.mark.parametrize(("model", "data"), [("torch", "DataLoader"), ("onnx", "pair"), ("keras", "tf.data")])
def test_a_model_in_memory_is_calibrated_and_swept(model: str, data: str) -> None:
    network = MODELS[model]()
    coded = wcodec.encode(network, data=DATA[data](), **QUICK)
    assert len(coded) < len(wcodec.encode(network, lossless=True))
    sweep = wcodec.sweep(network, data=DATA[data](), points=2, time_limit="1s")
    assert all(point.judged is not None for point in sweep.points)


def test_a_state_dict_is_calibrated_through_its_module(tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in module().state_dict().items()}
    wcodec.encode(module().state_dict(), tmp_path / "m.wcz", data=X, model=module(), **QUICK)
    assert list(wcodec.load(tmp_path / "m.wcz")) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module().state_dict().items())


def test_an_object_of_another_type_is_refused_with_the_types_of_models() -> None:
    with pytest.raises(wcodec.RecipeError, match=r"a ModelProto of ONNX or an nn.Module, got int"):
        wcodec.encode(3)
    with pytest.raises(wcodec.ModelFileError, match="expected an array"):
        wcodec.encode(torch.nn.ModuleDict({"a": WithText()}))


class WithText(nn.Module):
    """A module whose state has a text beside its tensors."""

    def get_extra_state(self) -> str:
        return "text"
