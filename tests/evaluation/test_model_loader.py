"""Loading a network from files of each kind, and errors of other files."""

from __future__ import annotations

import importlib.metadata
import logging
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import wcodec
from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.session import prepare_session
from wcodec.calibration.trial import run_trial
from wcodec.errors import ModelFileError, RecipeError, UnsupportedError
from wcodec.evaluation import user_code
from wcodec.evaluation.evaluate import evaluate
from wcodec.evaluation.examples import Examples, hold_out
from wcodec.evaluation.keras_backend import keras, silence_keras
from wcodec.evaluation.model_loader import load_model, model_inputs
from wcodec.training.distillation import distill

if TYPE_CHECKING:
    from keras import Model

from keras_single import CLASSES, ROWS, dense


def save_model(model: Model, path: Path) -> Path:
    with silence_keras():
        if path.name.endswith(".weights.h5"):
            model.save_weights(path)
        else:
            model.save(path)
    return path


@pytest.mark.parametrize("name", ["net.keras", "net.h5", "misnamed"])
def test_whole_models_are_loaded_by_their_content(tmp_path: Path, name: str) -> None:
    model = dense(4)
    path = save_model(model, tmp_path / (name if "." in name else "net.keras"))
    path = path.rename(tmp_path / name)
    measured = evaluate(path, Examples((ROWS,)), model)
    assert measured.output_error == 0
    assert measured.file_bytes == path.stat().st_size


def test_the_ratio_is_that_of_the_file_sizes(tmp_path: Path) -> None:
    small, large = save_model(dense(4), tmp_path / "a.keras"), save_model(dense(4), tmp_path / "b.h5")
    measured = evaluate(small, Examples((ROWS,)), large)
    assert measured.ratio == pytest.approx(large.stat().st_size / small.stat().st_size)


def weights_npz(model: Model, path: Path) -> None:
    np.savez(path, *model.get_weights())


def weights_by_name(model: Model, path: Path) -> None:
    np.savez(path, allow_pickle=False, **{weight.path: np.asarray(weight) for weight in reversed(model.weights)})


def weights_safetensors(model: Model, path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({weight.path.replace("/", "."): np.asarray(weight) for weight in model.weights}, path)


WEIGHT_FILES: list[tuple[str, Callable[[Model, Path], object]]] = [
    ("net.weights.h5", save_model),
    ("net.npz", weights_npz),
    ("named.npz", weights_by_name),
    ("net.safetensors", weights_safetensors),
]


@pytest.mark.parametrize(("name", "save"), WEIGHT_FILES, ids=[name for name, _ in WEIGHT_FILES])
def test_weights_need_an_architecture(tmp_path: Path, name: str, save: Callable[[Model, Path], object]) -> None:
    model, other = dense(4), dense(4)
    other.set_weights([0 * weight for weight in other.get_weights()])
    save(model, tmp_path / name)
    with pytest.raises(RecipeError, match=r"holds weights alone; expected --model ARCH\.keras or --model module"):
        load_model(tmp_path / name)
    architecture = str(save_model(other, tmp_path / "arch.keras"))
    assert evaluate(tmp_path / name, Examples((ROWS,)), model, architecture=architecture).output_error == 0


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    weights_npz(dense(3), tmp_path / "net.npz")
    with pytest.raises(ModelFileError, match="expected arrays that fit net"):
        load_model(tmp_path / "net.npz", architecture=str(save_model(dense(4), tmp_path / "arch.keras")))


MODULE = """
import keras

@keras.saving.register_keras_serializable("mine")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x

def network():
    return keras.Sequential([keras.layers.Input((6,)), Twice(), keras.layers.Dense(4)])
"""


@pytest.fixture
def users_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"layers_of_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return name


def test_a_factory_gives_the_architecture(tmp_path: Path, users_module: str) -> None:
    model = user_code.call_function(f"{users_module}:network")
    weights = save_model(model, tmp_path / "net.weights.h5")
    measured = evaluate(weights, Examples((ROWS,)), model, architecture=f"{users_module}:network")
    assert measured.output_error == 0


def test_custom_layers_are_found_after_an_import_of_their_module(tmp_path: Path, users_module: str) -> None:
    model = user_code.call_function(f"{users_module}:network")
    path = save_model(model, tmp_path / "net.keras")
    keras().saving.get_custom_objects().clear()
    del sys.modules[users_module]
    with pytest.raises(ModelFileError, match=r"net\.keras: expected a file that Keras can load, got .*Twice"):
        load_model(path)
    assert evaluate(path, Examples((ROWS,)), model, imports=[users_module]).output_error == 0


def test_a_factory_of_another_object_is_refused(tmp_path: Path, users_module: str) -> None:
    weights_npz(dense(4), tmp_path / "net.npz")
    with pytest.raises(RecipeError, match=r"expected a Keras model or an nn\.Module, got Twice"):
        load_model(tmp_path / "net.npz", architecture=f"{users_module}:Twice")
    with pytest.raises(RecipeError, match="expected a model file or module:function, found neither"):
        load_model(tmp_path / "net.npz", architecture="none.keras")


def test_code_in_a_file_runs_only_if_unsafe_is_set(tmp_path: Path) -> None:
    layers = keras().layers
    model = keras().Sequential([layers.Input((6,)), layers.Lambda(lambda x: 2 * x), layers.Dense(4)])
    path = save_model(model, tmp_path / "net.keras")
    with pytest.raises(UnsupportedError, match="expected layers without code of their own; --unsafe runs it"):
        load_model(path)
    assert evaluate(path, Examples((ROWS,)), model, unsafe=True).output_error == 0


def test_a_container_is_decoded_and_loaded(tmp_path: Path) -> None:
    model = dense(4)
    wcodec.encode(save_model(model, tmp_path / "net.keras"), tmp_path / "net.keras.wcz", lossless=True)
    assert evaluate(tmp_path / "net.keras.wcz", Examples((ROWS,)), model).output_error == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected .wcz, .keras, .h5, .npz or .safetensors, got an empty file"),
        (b"hello world", "got bytes 68 65 6c 6c 6f"),
        (b"PK\x03\x04 broken", "expected a zip archive"),
        (b"\x89HDF\r\n\x1a\n model_config", "expected HDF5 addresses and lengths of 8 bytes"),
    ],
)
def test_files_that_are_not_models_are_refused_with_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "net.h5").write_bytes(content)
    with pytest.raises(ModelFileError) as refused:
        load_model(tmp_path / "net.h5")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_folders_and_their_containers_are_loaded(tmp_path: Path) -> None:
    model, (net, shards) = dense(4), (tmp_path / name for name in ("net", "shards"))
    with zipfile.ZipFile(save_model(model, tmp_path / "whole.keras")) as archive:
        archive.extractall(net)
    shards.mkdir()
    with silence_keras():
        model.save_weights(shards / "w.weights.json", max_shard_size=1)
    for source, architecture in ((net, None), (shards, str(tmp_path / "whole.keras"))):
        wcodec.encode(source, tmp_path / f"{source.name}.wcz", lossless=True)
        for path in (source, tmp_path / f"{source.name}.wcz"):
            loaded = load_model(path, architecture=architecture)
            assert all(np.array_equal(a, b) for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True))
    with pytest.raises(RecipeError, match="--model"):
        load_model(tmp_path / "shards.wcz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFileError, match="neither"):
        load_model(tmp_path / "empty")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"none\.h5: expected a model file, found none"):
        load_model(tmp_path / "none.h5")


def test_the_error_of_a_file_of_keras_2_recommends_tf_keras(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "old.keras", "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "2.13.1"}')
        archive.writestr("config.json", '{"class_name": "Dense", "config": {"batch_input_shape": [null, 6]}}')
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(ModelFileError, match="the file is of Keras 2: load it with tf_keras"):
        load_model(tmp_path / "old.keras")


def test_an_old_or_missing_keras_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "3.11.2")
    with pytest.raises(UnsupportedError, match=r"keras: expected version 3\.11\.3 or later, got 3\.11\.2"):
        keras()

    def missing(_: str) -> str:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(RecipeError, match=r"pip install 'wcodec\[keras\]'"):
        keras()
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "3.12.0rc1")
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(RecipeError, match=r"pip install 'wcodec\[keras\]'"):
        keras()


def test_evaluate_prints_nothing(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=ROWS, y=CLASSES)
    model = save_model(dense(4), tmp_path / "net.h5")
    program = (
        "import atexit, gc; from wcodec.evaluation.evaluate import evaluate;"
        "gc.disable(); atexit.register(gc.freeze);"  # half of what an import of Keras costs
        f"assert evaluate({str(model)!r}, {str(tmp_path / 'd.npz')!r}).accuracy is not None"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_subclassed_model_has_the_inputs_that_it_was_built_for() -> None:
    class Own(keras().Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = keras().layers.Dense(30, "relu"), keras().layers.Dense(3)

        def call(self, inputs: object) -> object:
            return self.second(self.first(inputs))

    model = Own()
    with pytest.raises(RecipeError, match="built for one, got None"):
        model_inputs(model)
    model(np.zeros((2, 7), np.float32))
    (found,) = model_inputs(model)
    assert (found.shape, found.dtype, found.rescales) == ((7,), "float32", False)
    inputs = np.random.default_rng(0).normal(size=(300, 7)).astype(np.float32)
    session = prepare_session(model, *hold_out(Examples((inputs,))), most=300)
    start = run_trial(session, 0.5, 0.1)
    assert len(start.rounded) == 2
    assert distill(session, start, AccuracyBudget(kl=1.0), steps=60, seconds=None, seed=0).bytes < start.bytes


def test_warnings_of_tensorflow_about_unused_objects_are_not_logged() -> None:
    keras()
    logger = logging.getLogger("tensorflow")
    for text, is_wanted in (("Object was never used (type <Operation>)", False), ("out of memory", True)):
        record = logger.makeRecord("tensorflow", logging.ERROR, __file__, 1, text, (), None)
        assert bool(logger.filter(record)) == is_wanted
