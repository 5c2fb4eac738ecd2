"""ONNX models as the library writes them, lossless and lossy; the tests need `onnx`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from attack.small_models import weights
from onnx import TensorProto, helper, numpy_helper
from round_trips import assert_identical

import wcodec as package
from wcodec.errors import ModelFileError
from wcodec.modelfiles import open_model
from wcodec.pipeline.decoder import decode, open_container
from wcodec.pipeline.encoder import encode
from wcodec.pipeline.folder_encoder import encode_any
from wcodec.planning.parsing import parse_recipe


def branch(name: str, seed: int) -> onnx.GraphProto:
    """A subgraph with its own initializer and constant."""
    kernel = numpy_helper.from_array(weights(seed, 30, 8), "kernel")
    value = numpy_helper.from_array(weights(seed + 1, 40, 3))
    constant = helper.make_node("Constant", [], [f"{name}_c"], value=value)
    output = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)
    return helper.make_graph(
        [constant, helper.make_node("Identity", ["kernel"], [f"{name}_out"])], name, [], [output], [kernel]
    )


def network(path: Path) -> dict[str, np.ndarray]:
    """Write a model with tensors in every place; return their values."""
    kernel, half = weights(1, 64, 48), weights(2, 20, 30).astype(np.float16)
    doubles = weights(3, 9, 9).astype(np.float64)
    floats = helper.make_tensor("floats", TensorProto.FLOAT, (10, 12), weights(4, 10, 12).ravel().tolist())
    packed = helper.make_tensor("doubles", TensorProto.DOUBLE, (9, 9), doubles.ravel().tolist())
    integers = helper.make_tensor("integers", TensorProto.INT64, (3,), [1, -1, 7])
    scale = numpy_helper.from_array(weights(5, 48), "scale")
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(weights(6, 50, 20))),
        helper.make_node("Constant", [], ["sizes"], value=numpy_helper.from_array(np.float32([1, 1, 2, 2]))),
        helper.make_node("If", ["p"], ["y"], then_branch=branch("yes", 7), else_branch=branch("no", 9)),
        helper.make_node("DequantizeLinear", ["q", "scale"], ["k"]),
    ]
    initializers = [
        numpy_helper.from_array(kernel, "kernel"),
        numpy_helper.from_array(half, "half"),
        floats,
        packed,
        integers,
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [], [output], [*initializers, scale])
    onnx.save(helper.make_model(graph), path)
    return {"kernel": kernel, "half": half, "floats": weights(4, 10, 12), "doubles": doubles, "scale": weights(5, 48),
            "c": weights(6, 50, 20),
            "y/then_branch/kernel": weights(7, 30, 8), "y/then_branch/yes_c": weights(8, 40, 3),
            "y/else_branch/kernel": weights(9, 30, 8), "sizes": np.float32([1, 1, 2, 2])}  # fmt: skip


def test_every_tensor_is_found_and_the_file_is_restored(tmp_path: Path) -> None:
    expected = network(tmp_path / "m.onnx")
    packed = assert_identical(tmp_path / "m.onnx", *expected)
    with open_container(packed) as opened:
        for name, values in expected.items():
            assert np.array_equal(opened[name], values), name


@pytest.mark.parametrize("words", [{}, {"bits": 4}, {"exclude": "."}], ids=str)
def test_onnx_loads_a_lossy_model(words: dict[str, object], tmp_path: Path) -> None:
    expected = network(tmp_path / "m.onnx")
    encode(tmp_path / "m.onnx", tmp_path / "m.wcz", parse_recipe(words))
    decode(tmp_path / "m.wcz", tmp_path / "back.onnx")
    before, after = onnx.load(tmp_path / "m.onnx"), onnx.load(tmp_path / "back.onnx")
    for decoded, source in zip(after.graph.initializer, before.graph.initializer, strict=True):
        a, b = numpy_helper.to_array(decoded), numpy_helper.to_array(source)
        assert (decoded.name, a.dtype, a.shape) == (source.name, b.dtype, b.shape)
        assert np.abs(a - b).max() <= 0.3 * np.abs(b).max()
        if decoded.name in ("scale", "integers") or "exclude" in words:
            assert np.array_equal(a, b)
    if "exclude" not in words:
        assert not np.array_equal(numpy_helper.to_array(after.graph.initializer[0]), expected["kernel"])
        assert (tmp_path / "m.wcz").stat().st_size < 0.5 * (tmp_path / "m.onnx").stat().st_size
    assert [node.op_type for node in after.graph.node] == [node.op_type for node in before.graph.node]


def external(folder: Path, location: str, offset: int = 0) -> Path:
    """A model whose only tensor has external data."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[20, 10], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", str(offset))):
        tensor.external_data.add(key=key, value=value)
    graph = helper.make_graph([], "g", [], [], [tensor])
    (folder / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    return folder / "m.onnx"


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "a/../../w", "C:\\w", "", "w\0"])
def test_external_data_outside_of_the_folder_are_refused(location: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="inside the model's folder"), open_model(external(tmp_path, location)):
        pass


def test_a_damaged_model_is_read_or_raises_a_model_file_error(tmp_path: Path) -> None:
    network(tmp_path / "m.onnx")
    whole = (tmp_path / "m.onnx").read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 5):
            damaged[at] ^= 1 << int(rng.integers(8))
        cut = int(rng.integers(1, len(whole))) if rng.random() < 0.2 else len(whole)
        (tmp_path / "x.onnx").write_bytes(damaged[:cut])
        try:
            with open_model(tmp_path / "x.onnx") as model:
                for tensor in model.tensors:
                    assert tensor.read().shape == tensor.shape
        except ModelFileError:
            refused += 1
    assert 20 < refused < 300


@pytest.mark.parametrize("lossless", [True, False])
def test_external_data_are_found_by_a_relative_path(
    lossless: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = weights(7, 20, 10)
    external(tmp_path, "w.bin")
    (tmp_path / "w.bin").write_bytes(values.tobytes())
    monkeypatch.chdir(tmp_path)
    encode_any(Path("m.onnx"), Path("m.wcz"), parse_recipe({"lossless": lossless}))
    package.decode("m.wcz", "back")
    back = np.frombuffer((tmp_path / "back" / "w.bin").read_bytes(), np.float32).reshape(20, 10)
    assert np.array_equal(back, values) is lossless
    assert np.abs(back - values).max() < 0.3 * np.abs(values).max()
