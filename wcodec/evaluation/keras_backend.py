"""Keras, imported when it is needed, without output on the terminal."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from wcodec.errors import RecipeError, UnsupportedError

if TYPE_CHECKING:
    from keras import Layer, Model, Variable
    from tensorflow import Tensor

Network: TypeAlias = "Model"
"""A Keras model, for rooms that do not import Keras."""
Arguments = tuple[object, ...]
Call = Callable[[Callable[..., object], Arguments, dict[str, object]], object]

OLDEST: Final = (3, 11, 3)
"""Older versions run code from a model file even in safe mode (CVE-2025-9905)."""


def keras() -> ModuleType:
    """The module keras, of a version that loads files safely.

    Raises: RecipeError if Keras or its backend is missing; UnsupportedError if Keras is too old.
    """
    logging.getLogger("tensorflow").addFilter(_is_wanted)
    if loaded := sys.modules.get("keras"):
        return loaded
    try:
        version = importlib.metadata.version("keras")
    except importlib.metadata.PackageNotFoundError as exc:
        raise RecipeError("evaluate: expected Keras, it is missing: pip install 'wcodec[keras]'") from exc
    if _parse_version(version) < OLDEST:
        raise UnsupportedError(f"keras: expected version {'.'.join(map(str, OLDEST))} or later, got {version}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with silence_keras(), _without_stderr():
            module = importlib.import_module("keras")
    except ImportError as exc:
        raise RecipeError(f"keras: expected it to import, got {exc}: pip install 'wcodec[keras]'") from exc
    return module


def _is_wanted(record: logging.LogRecord) -> bool:
    """Whether a line of TensorFlow's log is for the user; a GRU's loop leaves an object that nothing uses."""
    return "Object was never used" not in str(record.msg)


def _parse_version(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for part in version.split(".")[:3] if (digits := "".join(filter(str.isdigit, part))))


@contextlib.contextmanager
def silence_keras() -> Iterator[None]:
    """A context that suppresses the warnings and log messages of Keras and TensorFlow below errors."""
    loggers = [logging.getLogger(name) for name in ("absl", "tensorflow", "keras")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Redirect descriptor 2 to the null device: TensorFlow's C++ code writes there before its log level can be set."""
    try:
        kept = os.dup(2)
    except OSError:
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def tensorflow() -> ModuleType:
    """The module tensorflow. Raises: RecipeError if Keras runs on another backend."""
    backend = keras().backend.backend()
    if backend != "tensorflow":
        raise RecipeError(f"tuning: expected Keras to run on tensorflow, got {backend}")
    module = sys.modules.get("tensorflow")  # also called in graphs, where an import makes TensorFlow warn
    return module or importlib.import_module("tensorflow")


def pack_inputs(model: Model, inputs: tuple[npt.NDArray[np.generic], ...]) -> object:
    """One array for each input, in the structure (dict, list) with which the network was built."""
    structure = getattr(model, "input", None)
    packing: object = inputs[0] if structure is None else keras().tree.pack_sequence_as(structure, inputs)
    return packing


def read_values(variable: Variable) -> npt.NDArray[np.float32]:
    """The values of a variable as float32."""
    values: npt.NDArray[np.float32]
    if hasattr(variable, "read"):  # a `runner.NetworkWeight`
        values = variable.read()
    else:
        values = keras().ops.convert_to_numpy(keras().ops.cast(variable, "float32"))
    return values


@contextlib.contextmanager
def keep_weights(model: Model) -> Iterator[list[npt.NDArray[np.generic]]]:
    """A context that yields the weights of the network, and restores them at its end."""
    before: list[npt.NDArray[np.generic]] = model.get_weights()
    try:
        yield before
    finally:
        model.set_weights(before)


# --- private API of Keras ------------------------------------------------------------------------------------------
def list_layers(model: Model) -> list[Layer]:
    """Every layer inside the network, at any depth, once."""
    return list({id(layer): layer for layer in model._flatten_layers(include_self=False)}.values())


def list_created_weights(model: Model) -> list[Variable]:
    """The weights that a layer created to be trained, also in frozen layers."""
    return [weight for layer in list_layers(model) for weight in layer._trainable_variables]


def list_inner_layers(layer: Layer) -> list[Layer]:
    """The direct layers of a layer or a network."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def list_chain(model: Model) -> list[Layer]:
    """The layers of a network in which each has the output of the one before as its only input, without masks; [] of
    any other.
    """
    if any(
        isinstance(layer, keras().layers.Masking) or getattr(layer, "mask_zero", False) for layer in list_layers(model)
    ):
        return []
    network = getattr(model, "_functional", None) or model
    chain = []
    for _, nodes in sorted(getattr(network, "_nodes_by_depth", {}).items(), reverse=True):
        node = nodes[0]
        plain = len(nodes) == len(node.arguments.args) == 1 and not node.arguments.kwargs
        if not node.is_input and not (plain and len(node.input_tensors) == len(node.output_tensors) == 1):
            return []
        if len(nodes) > 1 or not isinstance(node.operation, keras().Layer):
            return []
        if not node.is_input:
            chain.append(node.operation)
    return chain


def list_own_weights(layer: Layer) -> list[Variable]:
    """The weights of a layer, without those of the layers inside."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def keep_types(layer: Layer) -> None:
    """Include the types of the inner layers in a layer's configuration, which would be rebuilt with its own type."""
    own, inner = layer.dtype_policy, list_inner_layers(layer)
    types = keras().dtype_policies.DTypePolicyMap(default_policy=own.name)
    for one in inner:
        if one.dtype_policy.name != own.name:
            types[one.path] = one.dtype_policy
    if len(types):
        layer._dtype_policy = types


@contextlib.contextmanager
def intercept_calls(layer: Layer, call: Call) -> Iterator[None]:
    """A context in which each call of `layer` becomes `call(its own call, positional arguments, named arguments)`."""
    own = layer.call
    # Keras tracks attributes that are assigned.
    object.__setattr__(layer, "call", lambda *given, **named: call(own, given, named))
    try:
        yield
    finally:
        object.__delattr__(layer, "call")


def loss_and_gradients(loss: Callable[[], Tensor], weights: Sequence[Variable]) -> tuple[Tensor, list[Tensor | None]]:
    """A loss, in a graph, and its gradient for each weight, trainable or not; None if it does not depend on it."""
    values = [weight._value for weight in weights]
    with tensorflow().GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        found = loss()
    return found, tape.gradient(found, values)


def apply_adam(state: Sequence[Tensor], gradient: Tensor, rate: Tensor | float, count: Tensor, beta2: float) -> None:
    """One step of Adam in a graph, as one operation. state: values, first and second moments; count: of this step."""
    tf = tensorflow()
    tf.raw_ops.ResourceApplyAdam(
        var=state[0].handle,
        m=state[1].handle,
        v=state[2].handle,
        beta1_power=tf.pow(0.9, count),
        beta2_power=tf.pow(beta2, count),
        lr=rate,
        beta1=0.9,
        beta2=beta2,
        epsilon=1e-12,
        grad=gradient,
    )
