"""Loading of a runnable Keras network from a model file or a .wcz."""

from __future__ import annotations

import contextlib
import importlib.util
import mmap
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from wcodec.container.reader import is_container
from wcodec.errors import ModelFileError, RecipeError, UnsupportedError, escape_controls, replace_in_errors
from wcodec.evaluation import user_code
from wcodec.evaluation.examples import ModelInput
from wcodec.evaluation.integer_layers import INTEGER_TYPES, IntegerType, use_integer_layers
from wcodec.evaluation.keras_backend import keras, silence_keras
from wcodec.evaluation.stored_weights import set_weights
from wcodec.model import PredictedTask
from wcodec.modelfiles import open_model
from wcodec.modelfiles.detect import describe_foreign
from wcodec.modelfiles.folder_tree import walk
from wcodec.modelfiles.keras_safety import refuse_unsafe
from wcodec.modelfiles.keras_task import predicted_tasks as tasks_of_config
from wcodec.modelfiles.onnx import is_onnx
from wcodec.pipeline.folder_decoder import INDEX
from wcodec.planning.option_values import parse_limit

if TYPE_CHECKING:
    from keras import Model


T = TypeVar("T")
_TASKS: WeakKeyDictionary[Model, tuple[PredictedTask, ...]] = WeakKeyDictionary()
"""For networks from files, which are loaded without their loss."""
ZIP = b"PK\x03\x04"
HDF5 = b"\x89HDF\r\n\x1a\n"
KERAS_2_MARK = b'"batch_input_shape"'


def load_model(
    path: str | Path,
    *,
    architecture: str | Model | None = None,
    imports: Sequence[str] = (),
    unsafe: bool = False,
    max_output: int | str | None = None,
    as_: IntegerType | None = None,
    log: Callable[[str], None] = lambda _: None,
    base: Path | None = None,
    compiled: bool = False,
) -> Model:
    """The network in `path` (.wcz, .keras, .h5, .weights.h5, .npz, .safetensors).

    architecture: for files of weights alone: a model file, or `module:function` that returns the network.
    imports:      modules that register custom layers; the user's code is run.
    unsafe:       allow the file to run its own code (Lambda layers).
    max_output:   the largest size to which a .wcz may decode, 10**9 or "1GB"; None for any size.
    as_:          "int8" or "int4": layers of a .wcz for which Keras has integers get its levels instead of floats.
    log:          called with the names of these layers.
    base:         the file against which a .wcz was encoded.
    compiled:     compile it if the file says how; if that fails, it stays uncompiled, with a warning.

    Raises: ModelFileError if Keras cannot load it; UnsupportedError if it would run code; RecipeError if an argument is
    missing; errors of the container.
    """
    path = Path(path)
    if not path.exists():
        raise ModelFileError(f"{path}: expected a model file, found none")
    for module in imports:
        user_code.import_module(module)
    packed = (path / INDEX).is_file() if path.is_dir() else path.suffix.lower() == ".wcz" or is_container(path)
    if as_ not in (None, *INTEGER_TYPES):
        raise RecipeError(f"as_: expected {' or '.join(INTEGER_TYPES)}, got {as_!r}")
    if as_ and not (packed and path.is_file()):
        got = "a folder" if path.is_dir() else "another file"
        raise RecipeError(f"{path}: expected one .wcz, whose levels become {as_}, got {got}")
    if importlib.util.find_spec("keras") is None:
        keras()  # which says what to install
    if not packed:
        return _load_any(path, path.name, architecture, unsafe, compiled)
    from wcodec.pipeline.folder_decoder import decode  # noqa: PLC0415 - most networks come from other files

    with tempfile.TemporaryDirectory(prefix="wcodec-") as folder:
        decoded = Path(folder) / path.stem
        decode(path, decoded, base=base, max_output=parse_limit(max_output))
        model = _load_any(decoded, path.name, architecture, unsafe, compiled)
        for note in use_integer_layers(model, path, decoded, as_) if as_ else ():
            log(note)
        return model


def predicted_tasks(model: Model) -> tuple[PredictedTask, ...]:
    """The task that the file of a network, or the network itself, says each output has."""
    if model in _TASKS:
        return _TASKS[model]
    try:
        return tasks_of_config(model.to_json())
    except Exception:  # custom layers, which may have no configuration
        return ("unknown",)


def model_inputs(model: Model) -> tuple[ModelInput, ...]:
    """The inputs of the network, in the order of `model.inputs`.

    Raises: RecipeError for a network that neither declares its inputs nor was built for a shape.
    """
    inputs = getattr(model, "inputs", None)
    rescales = any(type(layer).__name__ in ("Rescaling", "Normalization") for layer in model.layers)
    if not inputs:
        return (ModelInput("inputs", _find_built_shape(model), str(model.variable_dtype), rescales),)
    return tuple(ModelInput(x.name, tuple(x.shape[1:]), str(x.dtype), rescales) for x in inputs)


def model_outputs(model: Model) -> tuple[tuple[str, ...], ...]:
    """The names of each output: its key if outputs are a dict, and the name of its layer."""
    outputs = getattr(model, "output", None) if getattr(model, "inputs", None) else None
    if outputs is None:
        return (("output",),)
    layers = list(model.output_names)
    keys = sorted(outputs) if isinstance(outputs, dict) and len(outputs) == len(layers) else layers
    return tuple((str(key), layer) if key != layer else (layer,) for key, layer in zip(keys, layers, strict=True))


def _find_built_shape(model: Model) -> tuple[int | None, ...]:
    """The shape of an example for a network of a custom class, from the shape with which it was built.

    Raises: RecipeError if that is not the shape of one input.
    """
    try:
        shape = (model.get_build_config() or {}).get("input_shape")
    except Exception:  # a custom class; Keras loads it anyway
        shape = None
    if not isinstance(shape, list | tuple) or not all(size is None or isinstance(size, int) for size in shape):
        raise RecipeError(
            f"{model.name}: expected a network with declared inputs, or built for one, got {shape}; "
            "keras.Input or get_build_config() tells its shape"
        )
    return tuple(shape[1:])


def _load_any(path: Path, name: str, architecture: str | Model | None, unsafe: bool, compiled: bool = False) -> Model:
    """Load by the content of the file, for any name."""
    if path.is_dir():
        return _load_folder(path, name, architecture, unsafe, compiled)
    with path.open("rb") as file:
        head = file.read(9)
    hdf5 = head.startswith(HDF5)
    if head.startswith(ZIP) and _has_config(path, name):
        return _load_whole(path, ".keras", name, unsafe, compiled)
    if hdf5 and _contains(path, b"model_config"):
        return _load_whole(path, ".h5", name, unsafe, compiled)
    if is_onnx(path):
        raise ModelFileError(
            f"{name}: is an ONNX network, which Keras cannot load: decode it to .onnx, which onnxruntime runs"
        )
    if message := describe_foreign(path, head):
        raise ModelFileError(f"{name}: is {message}")
    if not hdf5 and not head.startswith(ZIP) and head[8:] != b"{":
        got = f"bytes {head.hex(' ')}" if head else "an empty file"
        raise ModelFileError(f"{name}: expected .wcz, .keras, .h5, .npz or .safetensors, got {got}")
    if architecture is None:
        raise RecipeError(f"{name}: holds weights alone; expected --model ARCH.keras or --model module:function")
    model = _load_architecture(architecture, unsafe)
    if hdf5:
        _check_values(path, name)
        with _copy_with_suffix(path, ".h5" if _contains(path, b"layer_names") else ".weights.h5") as file_of_weights:
            _translate(name, lambda: model.load_weights(file_of_weights))
    else:
        set_weights(model, path, name)
    return model


def _load_folder(path: Path, name: str, architecture: str | Model | None, unsafe: bool, compiled: bool) -> Model:
    """An unzipped .keras, or Keras' weights in several files."""
    index = next(iter(sorted(path.glob("*.weights.json"))), None)
    if (path / "config.json").exists():
        with tempfile.TemporaryDirectory(prefix="wcodec-") as folder:
            zipped = Path(folder) / "model.keras"
            with zipfile.ZipFile(zipped, "w") as archive:
                for inside in walk(path).files:
                    archive.write(path / inside, inside)
            return _load_whole(zipped, ".keras", name, unsafe, compiled)
    if message := describe_foreign(path, b""):
        raise ModelFileError(f"{name}: is {message}")
    if index is None:
        raise ModelFileError(f"{name}: expected a folder with config.json or *.weights.json in it, found neither")
    if architecture is None:
        raise RecipeError(f"{name}: holds weights alone; expected --model ARCH.keras or --model module:function")
    model = _load_architecture(architecture, unsafe)
    for part in sorted(path.glob("*.h5")):
        _check_values(part, f"{name}/{part.name}")
    _translate(name, lambda: model.load_weights(index))
    return model


def _load_whole(path: Path, suffix: str, name: str, unsafe: bool, compiled: bool) -> Model:
    load = keras().models.load_model
    if not unsafe:
        refuse_unsafe(path, name)
    with _copy_with_suffix(path, suffix) as file:
        try:
            tasks = _check_values(path, name, compiled)
            model = _compile(name, lambda: load(file, safe_mode=not unsafe)) if compiled else None
            if model is None:
                model = _translate(name, lambda: load(file, compile=False, safe_mode=not unsafe))
            _TASKS[model] = tasks
            return model
        except ModelFileError as exc:
            if _contains(path, KERAS_2_MARK):
                raise ModelFileError(f"{exc}; the file is of Keras 2: load it with tf_keras and save it again") from exc
            raise


def _check_values(path: Path, name: str, keep_optimizer: bool = False) -> tuple[PredictedTask, ...]:
    """The tasks of a model file, which is read here first.

    Keras reads values of other files, and sizes that the file does not have, in versions before 3.13.2.
    Raises: ModelFileError, UnsupportedError.
    """
    with replace_in_errors(str(path), name), open_model(path, keep_optimizer) as opened:
        return opened.tasks


def _compile(name: str, load: Callable[[], Model]) -> Model | None:
    """The network, compiled as the file says; None, with a warning, if that fails (a custom loss, for example)."""
    try:
        return _translate(name, load)
    except (ModelFileError, UnsupportedError) as error:
        said = str(error)
    warnings.warn(escape_controls(f"{name}: loaded without compile(), because of: {said}"), stacklevel=5)
    return None


def _load_architecture(spec: str | Model, unsafe: bool) -> Model:
    if not isinstance(spec, str):
        return _check_kind("--model", spec)
    if Path(spec).exists():
        return _load_any(Path(spec), Path(spec).name, None, unsafe)
    if not user_code.is_function_name(spec):
        raise RecipeError(f"--model {spec}: expected a model file or module:function, found neither")
    return _check_kind(f"--model {spec}", user_code.call_function(spec))


def _check_kind(where: str, model: object) -> Model:
    if not isinstance(model, keras().Model):
        raise RecipeError(f"{where}: expected a Keras model or an nn.Module, got {type(model).__name__}")
    return model


def _translate(name: str, load: Callable[[], T]) -> T:
    """The result of `load()`, with Keras' errors as one line."""
    try:
        with silence_keras():
            return load()
    except Exception as exc:
        words = " ".join(str(exc).split())
        if "safe_mode" in words or "unsafe" in words:
            raise UnsupportedError(f"{name}: expected layers without code of their own; --unsafe runs it") from exc
        words = words.rpartition("Exception encountered: ")[2]
        words = words if len(words) <= 200 else f"{words[:200]} ..."
        if "Could not locate class" in words:
            words = f"a layer of your own (--import MODULE registers it); {words}"
        raise ModelFileError(f"{name}: expected a file that Keras can load, got {type(exc).__name__}: {words}") from exc


@contextlib.contextmanager
def _copy_with_suffix(path: Path, suffix: str) -> Iterator[Path]:
    """`path`, or a copy of it with the suffix that Keras expects."""
    if path.name.endswith(suffix) and (suffix != ".h5" or not path.name.endswith(".weights.h5")):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="wcodec-") as folder:
        copy = Path(folder) / f"model{suffix}"
        shutil.copyfile(path, copy)
        yield copy


def _has_config(path: Path, name: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "config.json" in archive.namelist()
    except (OSError, zipfile.BadZipFile) as exc:
        raise ModelFileError(f"{name}: expected a zip archive, got {exc}") from exc


def _contains(path: Path, mark: bytes) -> bool:
    """Whether the file contains `mark`: HDF5 and .keras store names and configurations uncompressed."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return view.find(mark) >= 0
