"""Loading of a runnable network of any framework from a model file or a .wcz: Keras, ONNX or PyTorch."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wcodec.container.reader import is_container, open_file, parse
from wcodec.errors import ModelFileError
from wcodec.evaluation import user_code
from wcodec.evaluation.batches import ONE_OUTPUT, FindOutputs
from wcodec.evaluation.examples import Array, ModelInput
from wcodec.evaluation.model_loader import load_model, model_inputs, model_outputs
from wcodec.evaluation.model_loader import predicted_tasks as tasks_of_model
from wcodec.evaluation.onnx_backend import load_onnx
from wcodec.evaluation.runner import Network, is_runner
from wcodec.evaluation.torch_backend import TorchRunner
from wcodec.evaluation.torch_loader import is_module, load_torch
from wcodec.model import PredictedTask
from wcodec.modelfiles.onnx import is_onnx
from wcodec.planning.option_values import parse_limit

if TYPE_CHECKING:
    from keras import Model
    from torch import nn


def load_network(
    path: str | Path,
    *,
    architecture: object = None,
    imports: Sequence[str] = (),
    unsafe: bool = False,
    max_output: int | str | None = None,
) -> Network:
    """The network in `path`: an ONNX model, weights for an `nn.Module`, or a file that `load_model` reads.

    architecture: for files of weights alone: a Keras file, a Keras model, an `nn.Module`, or a function (itself or
        `module:function`) that returns one of these.
    imports, unsafe, max_output: see `load_model`.
    Raises: RecipeError, ModelFileError, UnsupportedError; errors of the container.
    """
    path = Path(path)
    if not path.exists():
        raise ModelFileError(f"{path}: expected a model file, found none")
    built = _build_network(architecture, imports)
    if path.is_file() and not _is_of_keras(path):
        with _unpack(path, parse_limit(max_output)) as (file, name):
            if is_onnx(file):
                return load_onnx(file, name)
            if is_module(built):
                return load_torch(built, file, name)
    given = architecture if built is None else built
    return load_model(path, architecture=given, imports=imports, unsafe=unsafe, max_output=max_output)


def _is_of_keras(path: Path) -> bool:
    """Whether this is a .wcz of a Keras file."""
    if not is_container(path):
        return False
    with open_file(path) as file:
        return parse(file).kind in ("hdf5", "keras")


def _build_network(spec: object, imports: Sequence[str]) -> Model | nn.Module | None:
    """The network that `spec` is or returns; None if it names no function."""
    if spec is None or (isinstance(spec, str) and (Path(spec).exists() or not user_code.is_function_name(spec))):
        return None
    for module in imports:
        user_code.import_module(module)
    if isinstance(spec, str):
        return user_code.call_function(spec)
    if not callable(spec) or is_module(spec) or hasattr(spec, "get_weights"):
        return spec
    return user_code.run_function(getattr(spec, "__qualname__", "model"), spec, wanted="a model")


def network_inputs(network: Network) -> tuple[ModelInput, ...]:
    """The inputs of the network. Raises: RecipeError, see `model_inputs`."""
    return network.inputs if is_runner(network) else model_inputs(network)


def network_outputs(network: Network) -> tuple[tuple[str, ...], ...]:
    """The names of each output of the network, see `model_outputs`."""
    if not is_runner(network):
        return model_outputs(network)
    return tuple((name,) for name in getattr(network, "outputs", ())) or ONE_OUTPUT


def find_outputs(network: Network) -> tuple[tuple[str, ...], ...] | FindOutputs:
    """The names of each output, or for modules of PyTorch a function that finds them by a run on a few examples."""
    if not isinstance(network, TorchRunner):
        return network_outputs(network)

    def find(inputs: tuple[Array, ...]) -> tuple[tuple[str, ...], ...]:
        try:
            return tuple((name,) for name in network.find_outputs(inputs))
        except Exception:  # of the user's module; `inference.predict` tells it
            return ONE_OUTPUT

    return find


def predicted_tasks(network: Network) -> tuple[PredictedTask, ...]:
    """The task that a Keras network says each output has; other networks do not say."""
    return ("unknown",) if is_runner(network) else tasks_of_model(network)


@contextmanager
def _unpack(path: Path, max_output: int | None) -> Iterator[tuple[Path, str]]:
    """The model file that `path` is or contains, and its name."""
    if not is_container(path):
        yield path, path.name
        return
    from wcodec.pipeline.folder_decoder import decode  # noqa: PLC0415 - most networks come from other files

    with tempfile.TemporaryDirectory(prefix="wcodec-") as folder:
        decoded = Path(folder) / path.stem
        decode(path, decoded, max_output=max_output)
        yield decoded, path.name
