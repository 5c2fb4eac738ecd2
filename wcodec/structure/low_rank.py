"""Low rank: a dense or convolutional kernel as the product of two thinner ones, by the singular value decomposition.

If inputs are known, L' W is decomposed, L L' = E[x x'], so that the discarded part is exactly the squared error of the
outputs.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wcodec.calibration.linear_ops import LinearOp, find_linear_ops
from wcodec.calibration.time_limit import NO_DEADLINE, Deadline
from wcodec.errors import RecipeError, UnsupportedError
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.keras_backend import silence_keras
from wcodec.structure.observations import readers_of, rows_of

if TYPE_CHECKING:
    from keras import Layer, Model

Float64 = npt.NDArray[np.float64]

DAMPING: Final = 1e-3
ENERGY: Final = 0.98
"""The fraction of the variance of each layer's outputs that `auto` keeps."""


@dataclass(frozen=True)
class Factors:
    """A kernel [rows, outputs] as first [rows, rank] times second [rank, outputs]."""

    first: Float64
    second: Float64

    @property
    def rank(self) -> int:
        """The number of columns of the first."""
        return int(self.first.shape[1])


def low_rank(
    model: Model, ratio: float | None, examples: Examples | None, deadline: Deadline = NO_DEADLINE, where: str = ""
) -> tuple[Model, dict[str, tuple[int, int]]]:
    """The network with thinner layers where these have fewer weights, and by layer its full rank and the new one.

    ratio:    the fraction of these layers' weights that is kept, over 0 to 1; None keeps the fraction ENERGY of the
              variance of each layer's outputs.
    deadline: for reading examples; at least one batch for each layer is read.
    where:    the name of the network in messages, its own name by default.
    Raises: UnsupportedError for networks that are not a chain or functional graph, or without a layer that gets
    smaller.
    """
    where = where or model.name
    if type(model).__name__ not in ("Functional", "Sequential", "Model"):
        raise UnsupportedError(f"{where}: expected a functional or sequential model, got {type(model).__name__}")
    moments = {} if examples is None else _compute_moments(model, examples, deadline)
    functional = model._functional if type(model).__name__ == "Sequential" else model
    calls = Counter(node.operation.name for nodes in functional._nodes_by_depth.values() for node in nodes)
    spectra: dict[str, _Spectrum] = {}
    for layer in model.layers:
        op = _find_op(layer)
        if op is not None and calls[layer.name] == 1:
            weights = op.as_matrix(np.asarray(op.variable, dtype=np.float64))
            spectra[layer.name] = _compute_spectrum(weights, moments.get(layer.name))
    ranks = _choose_ranks(spectra, ratio)
    found = {name: spectra[name].cut(rank) for name, rank in ranks.items()}
    if not found:
        raise UnsupportedError(f"{where}: expected a layer that two thinner ones are smaller than, found none")
    return _rebuild(model, found), {name: (len(spectra[name].values), rank) for name, rank in ranks.items()}


@dataclass(frozen=True)
class _Spectrum:
    """The decomposition of a kernel [inputs, outputs], its inputs multiplied by `root`."""

    root: Float64
    left: Float64
    values: Float64
    right: Float64

    def cut(self, rank: int) -> Factors:
        """The best two factors of that rank."""
        first: Float64 = np.linalg.solve(self.root.T, self.left[:, :rank] * self.values[:rank]).astype(np.float64)
        return Factors(first, self.right[:rank])

    @property
    def width(self) -> int:
        """Weights of both factors for each rank."""
        return len(self.left) + int(self.right.shape[1])

    @property
    def most(self) -> int:
        """The largest rank at which the factors have fewer weights than the kernel."""
        return min((len(self.left) * int(self.right.shape[1]) - 1) // self.width, len(self.values))

    def tails(self) -> Float64:
        """float64[rank]: relative squared error of the outputs at ranks 0..most."""
        power = np.square(self.values)
        left: Float64 = 1 - np.append(0.0, np.cumsum(power))[: self.most + 1] / max(float(power.sum()), 1e-30)
        return left


def _choose_ranks(spectra: Mapping[str, _Spectrum], ratio: float | None) -> dict[str, int]:
    """The rank of each layer that gets thinner: the least error for a total number of weights.

    One scan of the singular values for each price of a weight (Idelbayev and Carreira-Perpinan 2020).
    """
    if ratio is None:
        needed = {name: int(np.argmax(one.tails() <= 1 - ENERGY)) for name, one in spectra.items()}
        return {name: rank for name, rank in needed.items() if rank}
    whole = sum(len(one.left) * one.right.shape[1] for one in spectra.values())
    low, high = -30.0, 5.0
    for _ in range(60):
        middle = (low + high) / 2
        size = whole - sum(
            _count_saved(spectra[name], rank) for name, rank in _choose_ranks_at(spectra, middle).items()
        )
        low, high = (middle, high) if size > ratio * whole else (low, middle)
    return _choose_ranks_at(spectra, high)


def _choose_ranks_at(spectra: Mapping[str, _Spectrum], log_price: float) -> dict[str, int]:
    """Ranks that minimise error + price * weights, for each layer by itself."""
    price, found = float(np.exp(log_price)), {}
    for name, one in spectra.items():
        costs = one.tails() + price * one.width * np.arange(one.most + 1)
        rank = int(np.argmin(costs[1:])) + 1 if one.most else 0
        if rank and costs[rank] < price * len(one.left) * one.right.shape[1]:
            found[name] = rank
    return found


def _count_saved(one: _Spectrum, rank: int) -> int:
    """The number of weights that the factors save."""
    return len(one.left) * int(one.right.shape[1]) - rank * one.width


def _find_op(layer: Layer) -> LinearOp | None:
    """The kernel of a dense layer or a convolution with one group; None for other layers."""
    if type(layer).__name__ not in ("Dense", "Conv1D", "Conv2D", "Conv3D"):
        return None
    ops = find_linear_ops(layer)
    return ops[0] if len(ops) == 1 and str(layer.kernel.dtype) == "float32" else None


def _compute_moments(model: Model, examples: Examples, deadline: Deadline) -> dict[str, Float64]:
    """By name of a layer: E[x x'] of the rows that its kernel multiplies."""
    found: dict[str, Float64] = {}
    readers = readers_of(model, examples)
    for reader, until in zip(readers, deadline.turns(len(readers)), strict=True):
        parts = [(x.T @ x, len(x)) for x, *_ in until.within(rows_of(model, reader, examples, 0))]
        total: Float64 = np.sum(np.stack([part for part, _ in parts]), axis=0, dtype=np.float64)
        found[str(reader.layer.name)] = total / max(sum(count for _, count in parts), 1)
    return found


def _compute_spectrum(weights: Float64, moments: Float64 | None) -> _Spectrum:
    """Singular values of a kernel, weighted by E[x x'] if it is known."""
    known = np.eye(len(weights)) if moments is None else moments
    root = np.linalg.cholesky(known + (DAMPING * float(np.diag(known).mean()) + 1e-12) * np.eye(len(weights)))
    left, values, right = np.linalg.svd(root.T @ weights, full_matrices=False)
    parts: list[Float64] = [part.astype(np.float64) for part in (root, left, values, right)]
    return _Spectrum(*parts)


def _rebuild(model: Model, factors: Mapping[str, Factors]) -> Model:
    """The network from its configuration, with a linear layer `NAME_first` before each layer that gets thinner."""
    config = copy.deepcopy(model.get_config())
    config.pop("build_input_shape", None)
    made: list[dict[str, object]] = []
    for entry in config["layers"]:
        entry.pop("build_config", None)
        name = entry["config"].get("name")
        if name in factors:
            made.append(_split(entry, factors[name].rank))
        made.append(entry)
    config["layers"] = made
    with silence_keras():
        small: Model = type(model).from_config(config)
        if not small.built:
            small.build(model.input_shape)
    layers = {layer.name: layer for layer in small.layers}
    for layer in model.layers:
        if layer.name not in factors:
            layers[layer.name].set_weights(layer.get_weights())
            continue
        part, op = factors[layer.name], _find_op(layer)
        if op is None:
            raise RecipeError(f"{layer.name}: expected one kernel")
        shape = [layer.kernel.shape[axis] for axis in op.order[: op.input_axes]]
        layers[f"{layer.name}_first"].set_weights([part.first.reshape(*shape, part.rank).astype(np.float32)])
        second = layers[layer.name]
        second.kernel.assign(part.second.reshape(second.kernel.shape).astype(np.float32))
        if layer.use_bias:
            second.bias.assign(layer.bias)
    return small


def _split(entry: dict[str, object], rank: int) -> dict[str, object]:
    """The first of two layers; the second, `entry` itself, becomes pointwise and reads the first."""
    first = copy.deepcopy(entry)
    own, second = first["config"], entry["config"]
    if not isinstance(own, dict) or not isinstance(second, dict):
        raise RecipeError("expected a configuration of a layer")
    name = own["name"]
    own |= {"name": f"{name}_first", "activation": "linear", "use_bias": False, "activity_regularizer": None}
    own["units" if "units" in own else "filters"] = rank
    if "filters" in own:
        ones = [1] * len(own["kernel_size"])
        second |= {"kernel_size": ones, "strides": ones, "dilation_rate": ones, "padding": "valid"}
    if "name" in first:
        first["name"] = f"{name}_first"
    if "inbound_nodes" in entry:
        _redirect(entry["inbound_nodes"], f"{name}_first")
    return first


def _redirect(nodes: object, name: str) -> None:
    """Make the output of the layer with this name the only input of these nodes."""
    if isinstance(nodes, dict):
        if nodes.get("class_name") == "__keras_tensor__":
            nodes["config"]["keras_history"] = [name, 0, 0]
            return
        for inner in nodes.values():
            _redirect(inner, name)
    elif isinstance(nodes, list | tuple):
        for inner in nodes:
            _redirect(inner, name)
