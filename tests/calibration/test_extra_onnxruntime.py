"""ONNX models that are run: evaluated, and calibrated; collected where onnxruntime is installed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import Run
from onnx import TensorProto, helper, numpy_helper

from wcodec.calibration.network_table import make_network_table
from wcodec.calibration.session import prepare_session as prepare
from wcodec.calibration.session import record_originals
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.onnx_backend import OnnxRunner, load_onnx
from wcodec.modelfiles import open_model

FLOAT = TensorProto.FLOAT


def draw(seed: int, *shape: int) -> np.ndarray:
    """Weights whose outputs have the power of the inputs."""
    fan = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
    return (np.random.default_rng(seed).normal(size=shape) / fan**0.5).astype(np.float32)


def save(path: Path, nodes: list[onnx.NodeProto], held: dict[str, np.ndarray], shape: list[object], out: str) -> Path:
    """A model from `x` to `out`."""
    inputs = [helper.make_tensor_value_info("x", FLOAT, shape)]
    outputs = [helper.make_tensor_value_info(out, FLOAT, None)]
    tensors = [numpy_helper.from_array(array, name) for name, array in held.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def convolutional(path: Path) -> Path:
    """Convolutions, one of them depthwise, a Gemm, a MatMul of a transposed constant, and an unknown operator."""
    held = {
        "c1.w": draw(1, 16, 1, 3, 3), "c1.b": draw(2, 16), "dw.w": draw(3, 16, 1, 3, 3), "c2.w": draw(4, 24, 16, 3, 3),
        "f1.w": 2 * draw(5, 384, 64).T.copy(), "f1.b": draw(6, 64), "odd.w": draw(7, 3, 64),
    }  # fmt: skip
    last = numpy_helper.from_array(3 * draw(8, 64, 10).T.copy(), "value")
    nodes = [
        helper.make_node("Conv", ["x", "c1.w", "c1.b"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "dw.w"], ["dw"], group=16, auto_pad="SAME_UPPER"),
        helper.make_node("Conv", ["dw", "c2.w"], ["c2"], strides=[2, 2], pads=[0, 1, 1, 0]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Flatten", ["r2"], ["flat"]),
        helper.make_node("Gemm", ["flat", "f1.w", "f1.b"], ["f1"], transB=1),
        helper.make_node("Sum", ["f1", "odd"], ["f2"]),
        helper.make_node("Relu", ["f2"], ["r3"]),
        helper.make_node("Constant", [], ["last"], value=last),
        helper.make_node("ReduceMean", ["odd.w"], ["odd"], axes=[0], keepdims=1),
        helper.make_node("Transpose", ["last"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["r3", "turned"], ["logits"]),
    ]
    order = [nodes[10], *nodes[:10], *nodes[11:]]
    return save(path, order, held, ["n", 1, 8, 8], "logits")


def recurrent(path: Path, batch: object = "n") -> Path:
    """An LSTM over [examples, steps, channels], then a MatMul of its last state."""
    held = {"w": 2 * draw(1, 1, 96, 12), "r": 2 * draw(2, 1, 96, 24), "b": draw(3, 1, 192), "k": 3 * draw(4, 24, 5)}
    held |= {"zero": np.int64([0])}
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["steps", "w", "r", "b"], ["y", "h"], hidden_size=24),
        helper.make_node("Squeeze", ["h", "zero"], ["state"]),
        helper.make_node("MatMul", ["state", "k"], ["logits"]),
    ]
    return save(path, nodes, held, [batch, 6, 12], "logits")


def inputs_of(*shape: int, count: int = 300) -> np.ndarray:
    """Correlated inputs, like those of real networks."""
    rng = np.random.default_rng(9)
    size = int(np.prod(shape))
    low = rng.normal(size=(count, 6)) @ rng.normal(size=(6, size)) / 6**0.5
    return (low + 0.2 * rng.normal(size=(count, size))).reshape(count, *shape).astype(np.float32)


def open_runner(path: Path, x: np.ndarray) -> tuple[OnnxRunner, Examples]:
    return load_onnx(path, path.name), Examples((x,))


def test_a_runner_has_the_outputs_of_onnxruntime_and_assigns_weights(tmp_path: Path) -> None:
    path, x = convolutional(tmp_path / "m.onnx"), inputs_of(1, 8, 8, count=130)
    runner = load_onnx(path, "m.onnx")
    (expected,) = onnxruntime.InferenceSession(str(path)).run(None, {"x": x})
    np.testing.assert_allclose(runner.predict((x,))[0], expected, atol=1e-5)
    before = runner.get_weights()
    next(one for one in runner.weights if one.path == "last").assign(np.zeros((10, 64)))
    assert not runner.predict((x,))[0].any()
    runner.set_weights(before)
    np.testing.assert_allclose(runner.predict((x,))[0], expected, atol=1e-5)


def test_rows_times_matrix_are_the_outputs_of_each_operator(tmp_path: Path) -> None:
    """The second moments of the recorded rows predict the power of the outputs, for the weights multiply these rows."""
    path, x = convolutional(tmp_path / "m.onnx"), inputs_of(1, 8, 8, count=40)
    runner, examples = open_runner(path, x)
    with open_model(path) as file:
        table = make_network_table(runner, file, (), (x,))
    assert {name for one in table.kernels for name in one.names} == {"c1.w", "dw.w", "c2.w", "f1.w", "last"}
    assert {one.path for one in table.kernels if one.op is None} == {"dw.w"}
    assert table.missed == ("odd.w",)
    session = prepare(runner, examples, examples, most=40, table=table)
    values = {"c1.w": "c1", "c2.w": "c2", "f1.w": "f1", "last": "logits"}
    model = onnx.load(path)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ("c1", "c2", "f1"))
    found = onnxruntime.InferenceSession(model.SerializeToString()).run(list(values.values()), {"x": x})
    biases = {one.path: one.original for one in table.weights if one.kind == "vector"}
    for number, group in enumerate(session.groups):
        for kernel in group.kernels:
            if kernel.op is None:
                continue
            rows = np.concatenate([batch[0] for batch in record_originals(session, number)])
            outputs = rows @ kernel.op.as_matrix(kernel.original)
            bias = biases.get(kernel.path.replace(".w", ".b"), np.float32(0))
            true = found[list(values).index(kernel.path)]
            units = np.moveaxis(true, 1, -1).reshape(-1, true.shape[1])
            np.testing.assert_allclose(np.sort(outputs + bias, axis=0), np.sort(units, axis=0), atol=1e-4)


@pytest.mark.parametrize("batch", ["n", 1, 4])
def test_recurrent_weights_have_moments_of_inputs_and_states(tmp_path: Path, batch: object) -> None:
    path, x = recurrent(tmp_path / "m.onnx", batch), inputs_of(6, 12, count=30)
    runner, examples = open_runner(path, x)
    with open_model(path) as file:
        table = make_network_table(runner, file, (), (x,))
    session = prepare(runner, examples, examples, most=30, table=table)
    rows = {
        group.kernels[0].path: np.concatenate([batch[0] for batch in record_originals(session, number)])
        for number, group in enumerate(session.groups)
    }
    steps = x.transpose(1, 0, 2).reshape(-1, 12)
    assert {tuple(row) for row in rows["w"].round(4).tolist()} == {tuple(row) for row in steps.round(4).tolist()}
    assert rows["r"].shape[1] == 24
    assert np.abs(rows["r"]).max() <= 1


def test_calibration_diverges_less_than_a_data_free_file_of_the_same_size(wcodec: Run, tmp_path: Path) -> None:
    path, x = convolutional(tmp_path / "m.onnx"), inputs_of(1, 8, 8, count=600)
    np.savez(tmp_path / "x.npz", x=x)
    small, plain = tmp_path / "small.onnx.wcz", tmp_path / "plain.onnx.wcz"
    words = ["--data", tmp_path / "x.npz", "--max-kl", "0.01"]
    done = wcodec("encode", path, "-o", small, *words, "--time-limit", "20s")
    assert done.returncode == 0, done.stderr
    assert "1 tensors are not followed and are coded as without data: odd.w" in done.stderr
    assert wcodec("encode", path, "-o", plain, "--target-size", small.stat().st_size).returncode == 0
    errors = []
    for coded in (small, plain):
        done = wcodec("evaluate", coded, "--data", tmp_path / "x.npz", "--baseline", path, "--json")
        assert done.returncode == 0, done.stderr
        errors.append(json.loads(done.stdout)["output_error"])
    assert errors[0] < 0.6 * errors[1]
    assert wcodec("decode", small, "-o", tmp_path / "back.onnx").returncode == 0
    (back,) = onnxruntime.InferenceSession(str(tmp_path / "back.onnx")).run(None, {"x": x})
    assert back.shape == (600, 10)


def test_options_that_only_keras_supports_are_refused(wcodec: Run, tmp_path: Path) -> None:
    path = recurrent(tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=inputs_of(6, 12, count=20), y=np.arange(20) % 5)
    for words, option in ((["--tune", "5"], "--tune"), (["--finetune", "1"], "--finetune")):
        done = wcodec("encode", path, "--data", tmp_path / "x.npz", *words, "-q")
        assert done.returncode == 2
        assert f"{option}: expected a Keras model" in done.stderr
    np.savez(tmp_path / "bad.npz", x=np.zeros((20, 7), np.float32))
    done = wcodec("evaluate", path, "--data", tmp_path / "bad.npz")
    assert done.returncode == 2
    assert "expected examples of shape (6, 12)" in done.stderr
