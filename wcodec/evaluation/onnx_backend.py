"""ONNX models run by onnxruntime, with weights that can be changed between runs.

The float weights become inputs of the graph and are passed at each run. No session is built again, and no expression
with a weight is folded into a constant.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.errors import ModelFileError, RecipeError
from wcodec.evaluation.examples import Array, ModelInput
from wcodec.evaluation.runner import Observer

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto
    from onnxruntime import InferenceSession


CHUNK: Final = 64
"""The number of examples in a run if the model takes any number."""
FREE: Final = frozenset(
    {
        "Add", "BatchNormalization", "Concat", "Conv", "ConvTranspose", "Div", "Einsum", "Gather", "Gemm", "GRU",
        "Identity", "InstanceNormalization", "GroupNormalization", "LayerNormalization", "LSTM", "MatMul", "Mul",
        "PRelu", "Reshape", "RNN", "Squeeze", "Sub", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
"""Operators whose float inputs may change from run to run; the inputs of other operators stay constants."""
FLOATS: Final = {1: "float32", 10: "float16", 11: "float64"}


@dataclass(eq=False)
class OnnxWeight:
    """A `runner.NetworkWeight`: an initializer or a constant. array: its current values."""

    path: str
    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.array.shape

    @property
    def dtype(self) -> str:
        """The name of a numpy type."""
        return str(self.array.dtype)

    def read(self) -> npt.NDArray[np.float32]:
        """See `NetworkWeight.read`."""
        return self.array.astype(np.float32)

    def assign(self, values: Array) -> None:
        """See `NetworkWeight.assign`."""
        self.array = np.ascontiguousarray(values, self.array.dtype).reshape(self.array.shape)


@dataclass(frozen=True)
class OnnxLayer:
    """The observed values of an operator, by name; None for an empty name."""

    values: tuple[str, ...]


@dataclass(eq=False)
class OnnxRunner:
    """A `Runner`.

    graph:   the model without the weights, which are its last inputs.
    axes:    the axis of the examples in each input; None for a single number.
    fixed:   the number of examples that the model takes; None for any.
    watched: names of values that may be observed; set before the first call of `activations`.
    """

    name: str
    graph: ModelProto
    inputs: tuple[ModelInput, ...]
    weights: list[OnnxWeight]
    axes: tuple[int | None, ...]
    fixed: int | None
    watched: set[str] = field(default_factory=set)
    sessions: dict[bool, InferenceSession] = field(default_factory=dict)

    @property
    def nodes(self) -> Sequence[NodeProto]:
        """The operators of the main graph, in order."""
        nodes: Sequence[NodeProto] = self.graph.graph.node
        return nodes

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs."""
        return tuple(one.name for one in self.graph.graph.output)

    def get_weights(self) -> list[Array]:
        """See `Runner.get_weights`."""
        return [one.array for one in self.weights]

    def set_weights(self, values: Sequence[Array]) -> None:
        """See `Runner.set_weights`."""
        for one, array in zip(self.weights, values, strict=True):
            one.array = array

    def predict(self, inputs: tuple[Array, ...]) -> Sequence[Array]:
        """See `Runner.predict`."""
        parts = [
            self._arrange_outputs(self._run(False, list(self.outputs), fed), count)
            for fed, count in self._split_inputs(inputs)
        ]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def activations(self, layers: Sequence[object], inputs: tuple[Array, ...], see: Observer) -> None:
        """See `Runner.activations`. Layers are observed once for each chunk of the batch."""
        wanted = [one.values for one in layers if isinstance(one, OnnxLayer)]
        given = {one.name for one in self.inputs}
        names = sorted({name for values in wanted for name in values if name} - given)
        for fed, _ in self._split_inputs(inputs):
            found = dict(zip(names, self._run(True, names, fed), strict=True)) if names else {}
            for number, values in enumerate(wanted):
                see(number, tuple((found | fed)[name] if name else None for name in values))

    def reestimate(self, layers: Sequence[object], batches: Sequence[tuple[Array, ...]]) -> None:
        """Nothing: the statistics of ONNX models are constant."""

    def _split_inputs(self, inputs: tuple[Array, ...]) -> Iterator[tuple[dict[str, Array], int]]:
        """The inputs of each run, and the number of its examples without padding."""
        count, size = len(inputs[0]), self.fixed or CHUNK
        for start in range(0, count, size):
            rows = np.arange(start, start + size) if self.fixed else np.arange(start, min(start + size, count))
            rows = np.minimum(rows, count - 1)
            fed = {}
            for want, array, axis in zip(self.inputs, inputs, self.axes, strict=True):
                part = array[rows].astype(want.dtype, copy=False)
                fed[want.name] = part[0] if axis is None else np.ascontiguousarray(np.moveaxis(part, 0, axis))
            yield fed, min(size, count - start)

    def _run(self, observed: bool, names: Sequence[str], fed: dict[str, Array]) -> list[Array]:
        import onnxruntime  # noqa: PLC0415 - large, and an extra

        options = onnxruntime.RunOptions()
        options.only_execute_path_to_fetches = observed
        options.log_severity_level = 4
        if observed not in self.sessions:
            self.sessions[observed] = _open_session(self.name, self.graph, self.watched if observed else set())
        weights = {one.path: one.array for one in self.weights}
        found: list[Array] = self.sessions[observed].run(list(names), weights | fed, options)
        return found

    def _arrange_outputs(self, found: list[Array], count: int) -> list[Array]:
        """The arrays of numbers that have an axis for the examples, which becomes the first."""
        size, outputs = self.fixed or count, []
        for array in found:
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
                continue
            axes = [axis for axis, extent in enumerate(array.shape) if extent == size]
            if axes:
                outputs.append(np.moveaxis(array, axes[0], 0)[:count])
        floats = [one for one in outputs if one.dtype.kind == "f"] or outputs
        if not floats:
            raise RecipeError(f"{self.name}: expected outputs with an example each, got {[a.shape for a in found]}")
        return floats


def load_onnx(path: Path, name: str) -> OnnxRunner:
    """The network of an ONNX file. name: for messages.

    Raises: RecipeError if onnx or onnxruntime is missing; ModelFileError if they cannot load the file.
    """
    try:
        import onnx  # noqa: PLC0415 - large, and an extra
        import onnxruntime  # noqa: F401, PLC0415
    except ImportError as exc:
        raise RecipeError(f"{name}: expected onnx and onnxruntime, missing: pip install 'wcodec[onnx]'") from exc
    with _translate_errors(name):
        model = onnx.load(str(path))
        weights = _free_weights(model.graph)
    declared = [one for one in model.graph.input if one.name not in {weight.path for weight in weights}]
    held = {one.name for one in model.graph.initializer}
    inputs: list[ModelInput] = []
    axes: list[int | None] = []
    fixed: set[int] = set()
    for one in declared:
        if one.name in held:
            continue
        dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in one.type.tensor_type.shape.dim]
        axis = _find_batch_axis(dims)
        if axis is not None and (size := dims[axis]):
            fixed.add(size)
        axes.append(axis)
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type))
        inputs.append(ModelInput(one.name, tuple(size or None for i, size in enumerate(dims) if i != axis), dtype))
    if not inputs or len(fixed) > 1:
        raise RecipeError(f"{name}: expected inputs with one number of examples, got {sorted(fixed) or 'none'}")
    found = OnnxRunner(name, model, tuple(inputs), weights, tuple(axes), next(iter(fixed), None))
    found.sessions[False] = _open_session(name, model, set())
    return found


def _find_batch_axis(dims: Sequence[int | None]) -> int | None:
    """The first axis, or the first axis of any length if that one has a fixed size above one."""
    if not dims:
        return None
    free = [axis for axis, size in enumerate(dims) if not size]
    return free[0] if free and (dims[0] or 0) > 1 else 0


def _open_session(name: str, model: ModelProto, watched: set[str]) -> InferenceSession:
    """A session with the values `watched` as additional outputs. Custom operators are not loaded, so no code is run."""
    import onnx  # noqa: PLC0415
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0") or 0)
    known = {one.name for one in (*model.graph.output, *model.graph.input)}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.extend(onnx.ValueInfoProto(name=value) for value in sorted(watched - known))
    with _translate_errors(name):
        return onnxruntime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    """A context that turns errors of the libraries into one line."""
    try:
        yield
    except Exception as exc:
        words = " ".join(str(exc).split())
        words = words if len(words) <= 200 else f"{words[:200]} ..."
        raise ModelFileError(
            f"{name}: expected a file that onnxruntime can load, got {type(exc).__name__}: {words}"
        ) from exc


def _free_weights(graph: GraphProto) -> list[OnnxWeight]:
    """Remove the float weights of the main graph, and make them inputs."""
    import onnx  # noqa: PLC0415

    takers: dict[str, set[str]] = {}
    for node in graph.node:
        for value in node.input:
            takers.setdefault(value, set()).add(node.op_type if not node.domain else f"{node.domain}.{node.op_type}")
    weights = []
    for holder, tensor, name in _list_tensors(graph):
        kinds = takers.get(name, set())
        if tensor.data_type not in FLOATS or not kinds or not kinds <= FREE or len(tensor.dims) < 1:
            continue
        weights.append(OnnxWeight(name, onnx.numpy_helper.to_array(tensor)))
        holder.remove()
    declared = {one.name for one in graph.input}
    graph.input.extend(
        onnx.helper.make_tensor_value_info(one.path, onnx.helper.np_dtype_to_tensor_dtype(one.array.dtype), one.shape)
        for one in weights
        if one.path not in declared
    )
    return weights


@dataclass(frozen=True)
class _Holder:
    """The place of a tensor: an initializer, or a node."""

    graph: GraphProto
    initializer: TensorProto | None = None
    node: NodeProto | None = None

    def remove(self) -> None:
        """Remove it from the graph."""
        if self.initializer is not None:
            self.graph.initializer.remove(self.initializer)
        if self.node is not None:
            self.graph.node.remove(self.node)


def _list_tensors(graph: GraphProto) -> Iterator[tuple[_Holder, TensorProto, str]]:
    """The initializers and the tensors of Constant nodes, with the names of their values."""
    for tensor in list(graph.initializer):
        yield _Holder(graph, initializer=tensor), tensor, tensor.name
    for node in list(graph.node):
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
            yield _Holder(graph, node=node), node.attribute[0].t, node.output[0]
