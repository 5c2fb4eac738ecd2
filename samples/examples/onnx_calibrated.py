"""An ONNX model coded by unlabelled inputs: python samples/examples/onnx_calibrated.py   (needs wcodec[onnx])

The model is LeNet-300-100 with the weights of samples/lenet300.h5. Calibration measures what multiplies each weight,
rounds with error feedback, and looks for the largest steps within half a point of accuracy.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import h5py
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import wcodec

SAMPLES = Path(__file__).parent.parent


def write_model(path: Path) -> None:
    """LeNet-300-100 as three Gemm operators."""
    held, nodes, value = [], [], "x"
    with h5py.File(SAMPLES / "lenet300.h5") as file:
        weights = file["model_weights"]
        names = sorted(name for name in weights if weights[name].attrs.get("weight_names") is not None)
        layers = [[weights[name][one] for one in weights[name].attrs["weight_names"]] for name in names]
        for number, (kernel, bias) in enumerate(pair for pair in layers if pair):
            held += [numpy_helper.from_array(kernel[:], f"w{number}"), numpy_helper.from_array(bias[:], f"b{number}")]
            nodes.append(helper.make_node("Gemm", [value, f"w{number}", f"b{number}"], [f"y{number}"]))
            value = f"r{number}"
            nodes.append(helper.make_node("Relu", [f"y{number}"], [value]))
    nodes[-1] = helper.make_node("Softmax", [nodes[-2].output[0]], ["y"])
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 784])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])]
    graph = helper.make_graph(nodes, "lenet300", inputs, outputs, held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def main() -> None:
    """Encode with and without inputs, and compare."""
    with np.load(SAMPLES / "mnist.npz") as data, tempfile.TemporaryDirectory() as folder:
        model, target = Path(folder) / "m.onnx", Path(folder) / "m.onnx.wcz"
        write_model(model)
        test = data["x_test"].reshape(-1, 784), data["y_test"]
        plain = wcodec.encode(model, target).file_bytes
        wcodec.encode(model, target, data=data["x_train"][:2000].reshape(-1, 784), max_drop=0.5, time_limit="20s")
        found = wcodec.evaluate(target, test, baseline=model)
    print(f"{found.source_bytes:,} bytes: {plain:,} without data, {found.file_bytes:,} calibrated")
    print(f"accuracy {found.baseline_accuracy:.2f} % -> {found.accuracy:.2f} %")


if __name__ == "__main__":
    main()
