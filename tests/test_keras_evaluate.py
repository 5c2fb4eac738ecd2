"""Real networks, small ones: what is measured of them, and which files they may come from."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from wcodec.errors import ModelFileError, RecipeError, UnsupportedError
from wcodec.learning import user_code
from wcodec.learning.backend import hushed, keras
from wcodec.learning.evaluate import evaluate
from wcodec.learning.examples import Examples
from wcodec.learning.load import load_model, model_inputs

if TYPE_CHECKING:
    from keras import Model

ROOT = Path(__file__).parent.parent
COUNT = 100
RNG = np.random.default_rng(7)
ROWS = RNG.normal(size=(COUNT, 6)).astype(np.float32)
CLASSES = RNG.integers(0, 4, COUNT)
LOGITS_WANTED = RNG.normal(size=(COUNT, 4))


def dense(units: int, activation: str | None = None, inputs: tuple[int, ...] = (6,)) -> Model:
    keras().utils.set_random_seed(units)
    layers = keras().layers
    return keras().Sequential([layers.Input(inputs), layers.Dense(units, activation, name="head")], name="net")


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers: npt.NDArray[np.float64] = np.exp(logits - logits.max(axis=-1, keepdims=True))
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers


def outputs_of(model: Model, inputs: npt.NDArray[np.float32] = ROWS) -> npt.NDArray[np.float64]:
    outputs: npt.NDArray[np.float64] = np.asarray(model(inputs, training=False), np.float64)
    return outputs


# --- measures ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("activation", [None, "softmax"])
@pytest.mark.parametrize("labels", [CLASSES, CLASSES[:, None], np.eye(4)[CLASSES]], ids=["sparse", "column", "one-hot"])
def test_classes_are_scored_from_logits_or_probabilities(activation: str | None, labels: npt.NDArray[np.int64]) -> None:
    model = dense(4, activation)
    y = outputs_of(model)
    chances = y if activation else softmax(y)
    measured = evaluate(model, Examples((ROWS,), labels))
    assert measured.examples == COUNT
    assert measured.accuracy == pytest.approx(100 * np.mean(y.argmax(1) == CLASSES))
    assert measured.loss == pytest.approx(-np.log(chances[np.arange(COUNT), CLASSES]).mean(), rel=1e-5)
    assert measured.baseline_accuracy is None
    assert measured.agreement is None


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_a_single_unit_says_yes_or_no(activation: str | None) -> None:
    model = dense(1, activation)
    y, labels = outputs_of(model)[:, 0], CLASSES % 2
    chance = y if activation else 1 / (1 + np.exp(-y))
    measured = evaluate(model, Examples((ROWS,), labels), model)
    assert measured.accuracy == pytest.approx(100 * np.mean((chance > 0.5) == labels))
    assert measured.loss == pytest.approx(-np.log(np.where(labels, chance, 1 - chance)).mean(), rel=1e-5)
    assert measured.agreement == 100


def test_several_of_many_are_scored_unit_by_unit() -> None:
    model = dense(4, "sigmoid")
    labels = (LOGITS_WANTED > 0).astype(np.float32)
    measured = evaluate(model, Examples((ROWS,), labels))
    assert measured.accuracy == pytest.approx(100 * np.mean((outputs_of(model) > 0.5) == labels))


@pytest.mark.parametrize("units", [1, 4])
def test_regression_has_a_squared_error_and_no_accuracy(units: int) -> None:
    model, wanted = dense(units), LOGITS_WANTED[:, :units]
    measured = evaluate(model, Examples((ROWS,), wanted), model)
    assert measured.accuracy is measured.accuracy_drop is measured.agreement is None
    assert measured.loss == pytest.approx(np.square(outputs_of(model) - wanted).mean())


def test_sequences_are_scored_step_by_step() -> None:
    steps = RNG.normal(size=(COUNT, 5, 6)).astype(np.float32)
    labels = RNG.integers(0, 4, (COUNT, 5))
    model = dense(4, inputs=(5, 6))
    measured = evaluate(model, Examples((steps,), labels), model)
    assert measured.accuracy == pytest.approx(100 * np.mean(outputs_of(model, steps).argmax(-1) == labels))
    assert measured.agreement == 100


def test_the_distance_to_a_baseline_needs_no_labels() -> None:
    model, baseline = dense(4), dense(4)
    model.layers[-1].kernel.assign(np.round(np.asarray(baseline.layers[-1].kernel), 1))
    y, y0 = outputs_of(model), outputs_of(baseline)
    measured = evaluate(model, Examples((ROWS,)), baseline)
    assert measured.accuracy is measured.loss is measured.baseline_accuracy is None
    assert measured.agreement == pytest.approx(100 * np.mean(y.argmax(1) == y0.argmax(1)))
    assert measured.output_error == pytest.approx(np.square(y - y0).sum() / np.square(y0).sum(), rel=1e-4)


def test_the_drop_is_the_baseline_less_the_network() -> None:
    model, baseline = dense(4), dense(4)
    model.layers[-1].kernel.assign(-np.asarray(baseline.layers[-1].kernel))
    labels = outputs_of(baseline).argmax(1)
    measured = evaluate(model, Examples((ROWS,), labels), baseline)
    assert measured.baseline_accuracy == 100
    assert measured.accuracy_drop == pytest.approx(100 - (measured.accuracy or 0))


def test_several_inputs_and_outputs_go_by_the_networks_order() -> None:
    layers = keras().layers
    left, right = keras().Input((6,), name="left"), keras().Input((2,), name="right")
    joined = layers.Concatenate()([left, right])
    model = keras().Model({"left": left, "right": right}, [layers.Dense(4)(joined), layers.Dense(1)(joined)])
    assert [one.name for one in model_inputs(model)] == ["left", "right"]
    measured = evaluate(model, Examples((ROWS, ROWS[:, :2]), CLASSES), model)
    assert measured.accuracy is not None
    assert measured.agreement == 100
    assert measured.output_error == 0


def test_measures_are_the_same_twice_and_for_any_number_of_batches() -> None:
    model, some = dense(4), Examples((ROWS,), CLASSES)
    assert evaluate(model, some, model) == evaluate(model, some, model)
    parts = [evaluate(model, Examples((ROWS[at],), CLASSES[at])) for at in (slice(0, 64), slice(64, COUNT))]
    whole = evaluate(model, some)
    assert whole.accuracy == pytest.approx(0.64 * (parts[0].accuracy or 0) + 0.36 * (parts[1].accuracy or 0))


@pytest.mark.parametrize(
    ("labels", "message"),
    [(CLASSES + 1, "expected classes 0..3, got 1..4"), (np.zeros((COUNT, 3)), "labels: expected shape")],
)
def test_labels_that_do_not_fit_are_refused(labels: npt.NDArray[np.int64], message: str) -> None:
    with pytest.raises(RecipeError) as refused:
        evaluate(dense(4), Examples((ROWS,), labels))
    assert message in str(refused.value)


def test_a_baseline_of_another_shape_is_refused() -> None:
    with pytest.raises(RecipeError, match="baseline: expected outputs of shape"):
        evaluate(dense(4), Examples((ROWS,)), dense(3))


# --- files ---------------------------------------------------------------------------------------------------------
def saved(model: Model, path: Path) -> Path:
    with hushed():
        if path.name.endswith(".weights.h5"):
            model.save_weights(path)
        else:
            model.save(path)
    return path


@pytest.mark.parametrize("name", ["net.keras", "net.h5", "misnamed"])
def test_whole_models_are_loaded_by_what_they_hold(tmp_path: Path, name: str) -> None:
    model = dense(4)
    path = saved(model, tmp_path / (name if "." in name else "net.keras"))
    path = path.rename(tmp_path / name)
    measured = evaluate(path, Examples((ROWS,)), model)
    assert measured.output_error == 0
    assert measured.file_bytes == path.stat().st_size


def test_sizes_and_their_ratio_are_those_of_the_files(tmp_path: Path) -> None:
    small, large = saved(dense(4), tmp_path / "a.keras"), saved(dense(4), tmp_path / "b.h5")
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
    ("net.weights.h5", saved),
    ("net.npz", weights_npz),
    ("named.npz", weights_by_name),
    ("net.safetensors", weights_safetensors),
]


@pytest.mark.parametrize(("name", "save"), WEIGHT_FILES, ids=[name for name, _ in WEIGHT_FILES])
def test_weights_alone_need_an_architecture(tmp_path: Path, name: str, save: Callable[[Model, Path], object]) -> None:
    model, other = dense(4), dense(4)
    other.set_weights([0 * weight for weight in other.get_weights()])
    save(model, tmp_path / name)
    with pytest.raises(RecipeError, match=r"holds weights alone; expected --model ARCH\.keras or --model module"):
        load_model(tmp_path / name)
    architecture = str(saved(other, tmp_path / "arch.keras"))
    assert evaluate(tmp_path / name, Examples((ROWS,)), model, architecture=architecture).output_error == 0


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    weights_npz(dense(3), tmp_path / "net.npz")
    with pytest.raises(ModelFileError, match="expected arrays that fit net"):
        load_model(tmp_path / "net.npz", architecture=str(saved(dense(4), tmp_path / "arch.keras")))


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
    model = user_code.called(f"{users_module}:network")
    weights = saved(model, tmp_path / "net.weights.h5")
    measured = evaluate(weights, Examples((ROWS,)), model, architecture=f"{users_module}:network")
    assert measured.output_error == 0


def test_layers_of_the_users_own_are_found_once_their_module_is_imported(tmp_path: Path, users_module: str) -> None:
    model = user_code.called(f"{users_module}:network")
    path = saved(model, tmp_path / "net.keras")
    keras().saving.get_custom_objects().clear()
    del sys.modules[users_module]
    with pytest.raises(ModelFileError, match=r"net\.keras: expected a file that Keras can load, got .*Twice"):
        load_model(path)
    assert evaluate(path, Examples((ROWS,)), model, imports=[users_module]).output_error == 0


def test_a_factory_of_something_else_is_refused(tmp_path: Path, users_module: str) -> None:
    weights_npz(dense(4), tmp_path / "net.npz")
    with pytest.raises(RecipeError, match="expected a Keras model, got Twice"):
        load_model(tmp_path / "net.npz", architecture=f"{users_module}:Twice")
    with pytest.raises(RecipeError, match="expected a model file or module:function, found neither"):
        load_model(tmp_path / "net.npz", architecture="none.keras")


def test_code_in_a_file_runs_only_when_asked(tmp_path: Path) -> None:
    layers = keras().layers
    model = keras().Sequential([layers.Input((6,)), layers.Lambda(lambda x: 2 * x), layers.Dense(4)])
    path = saved(model, tmp_path / "net.keras")
    with pytest.raises(UnsupportedError, match="expected layers without code of their own; --unsafe runs it"):
        load_model(path)
    assert evaluate(path, Examples((ROWS,)), model, unsafe=True).output_error == 0


def test_a_container_is_decoded_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = ModuleType("wcodec.decoder")
    decoder.__dict__["decode"] = shutil.copyfile
    monkeypatch.setitem(sys.modules, "wcodec.decoder", decoder)
    model = dense(4)
    path = saved(model, tmp_path / "net.keras").rename(tmp_path / "net.keras.wcz")
    assert evaluate(path, Examples((ROWS,)), model).output_error == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected .wcz, .keras, .h5, .npz or .safetensors, got bytes"),
        (b"hello world", "got bytes 68 65 6c 6c 6f"),
        (b"PK\x03\x04 broken", "expected a zip archive"),
        (b"\x89HDF\r\n\x1a\n model_config", "expected a file that Keras can load, got OSError"),
    ],
)
def test_files_that_are_no_models_are_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "net.h5").write_bytes(content)
    with pytest.raises(ModelFileError) as refused:
        load_model(tmp_path / "net.h5")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"none\.h5: expected a model file, found none"):
        load_model(tmp_path / "none.h5")


def test_a_file_of_keras_2_that_does_not_load_names_tf_keras(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "old.keras", "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "2.13.1"}')
        archive.writestr("config.json", '{"class_name": "Dense", "config": {"batch_input_shape": [null, 6]}}')
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(ModelFileError, match="the file is of Keras 2: load it with tf_keras"):
        load_model(tmp_path / "old.keras")


def test_an_old_or_missing_keras_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_evaluating_says_nothing_on_the_terminal(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=ROWS, y=CLASSES)
    model = saved(dense(4), tmp_path / "net.h5")
    program = (
        "import sys; from wcodec.learning.evaluate import evaluate;"
        f"assert evaluate({str(model)!r}, {str(tmp_path / 'd.npz')!r}).accuracy is not None"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
