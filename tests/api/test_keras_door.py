"""Keras models in memory: encode, wcodec.keras, and compiled models."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np
import pytest

import wcodec
from wcodec.pipeline.base_chain import chain_of

RANDOM = np.random.default_rng(8)
X = RANDOM.normal(size=(64, 12)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)


@keras.saving.register_keras_serializable("tests")
def own_loss(truth: object, predicted: object) -> object:
    return keras.losses.sparse_categorical_crossentropy(truth, predicted)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(2)
    layers = [keras.Input((12,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(2, "softmax")]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    model.fit(X, Y, epochs=2, verbose=0)
    return model


def test_a_model_in_memory_has_the_same_bytes_each_time_and_is_loaded_compiled(model: keras.Model) -> None:
    coded = wcodec.encode(model)
    assert coded == wcodec.encode(model)
    found = wcodec.load_model(coded)
    assert found.compiled
    assert found.evaluate(X, Y, verbose=0)[1] == pytest.approx(model.evaluate(X, Y, verbose=0)[1], abs=0.05)
    found.fit(X, Y, verbose=0)
    assert not wcodec.load_model(coded, compile=False).compiled


def test_save_model_is_lossless_by_default(model: keras.Model, tmp_path: Path) -> None:
    exact = wcodec.keras.save_model(model, tmp_path / "m.wcz")
    found = wcodec.keras.load_model(tmp_path / "m.wcz")
    for before, after in zip(model.get_weights(), found.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert found.optimizer.iterations == model.optimizer.iterations
    assert wcodec.keras.save_model(model, tmp_path / "small.wcz", preset="small").file_bytes < exact.file_bytes
    with pytest.raises(wcodec.WcodecError, match="exists already"):
        wcodec.keras.save_model(model, tmp_path / "m.wcz", overwrite=False)


def test_a_model_that_cannot_be_compiled_is_loaded_with_a_warning(model: keras.Model, tmp_path: Path) -> None:
    model = keras.models.clone_model(model)
    model.compile("sgd", own_loss)
    coded = wcodec.encode(model)
    assert wcodec.keras.load_model(coded).compiled
    registered = keras.saving.get_custom_objects()
    before = dict(registered)
    registered.clear()
    try:
        with pytest.warns(UserWarning, match=r"loaded without compile\(\)"):
            assert not wcodec.load_model(coded).compiled
        scope = {"tests>own_loss": own_loss, "own_loss": own_loss}
        assert wcodec.keras.load_model(coded, custom_objects=scope).compiled
    finally:
        registered.update(before)


class Batches(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        return X[16 * number : 16 * number + 16], Y[16 * number : 16 * number + 16]


def test_data_in_memory_and_in_a_file_give_the_same_bytes(model: keras.Model, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    words = {"max_drop": 5.0, "tune": 0, "threads": 1}
    events: list[wcodec.ProgressEvent] = []
    by_file = wcodec.encode(model, data=tmp_path / "d.npz", **words)
    assert by_file == wcodec.encode(model, data=(X, Y), progress=events.append, **words)
    assert by_file == wcodec.encode(model, data=Batches(), **words)
    assert any(event.search for event in events)
    assert any("held-out" in event.text for event in events)


def test_sweep_evaluate_and_slim_take_models_and_data_in_memory(model: keras.Model, tmp_path: Path) -> None:
    found = wcodec.sweep(model, data=(X, Y), points=1, time_limit=1, report=tmp_path / "r.html")
    assert found.points[0].file_bytes > 0
    assert (tmp_path / "r.html").stat().st_size > 1000
    assert wcodec.evaluate(model, (X, Y), model).agreement == 100
    slimmed = wcodec.slim(model, tmp_path / "s.keras", width=0.5, data=(X, Y))
    assert slimmed.after.parameters < slimmed.before.parameters
    assert keras.models.load_model(tmp_path / "s.keras").count_params() == slimmed.after.parameters
    with pytest.raises(wcodec.RecipeError, match="low_rank: expected over 0 to 1"):
        wcodec.slim(model, low_rank=2)


def test_the_callback_writes_a_chain_and_keeps_its_last_files(model: keras.Model, tmp_path: Path) -> None:
    model = keras.models.clone_model(model)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    epochs: list[list[np.ndarray]] = []
    copy = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(model.get_weights()))
    checkpoint = wcodec.keras.ModelCheckpoint(tmp_path / "run" / "{epoch:02d}-{loss:.1f}.wcz", keep=3, every=2)
    model.fit(X, Y, epochs=10, verbose=0, callbacks=[checkpoint, copy])
    files = sorted((tmp_path / "run").iterdir())
    assert files == checkpoint.files
    assert [file.name[:2] for file in files] == ["06", "08", "10"]
    assert [len(chain_of(file)) for file in files] == [0, 1, 2]
    for file, weights in zip(files, epochs[5::2], strict=True):
        found = wcodec.keras.load_model(file)
        assert found.compiled
        assert all(np.array_equal(a, b) for a, b in zip(found.get_weights(), weights, strict=True))


def test_the_callback_with_a_budget_writes_files_without_a_base(model: keras.Model, tmp_path: Path) -> None:
    model = keras.models.clone_model(model)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    checkpoint = wcodec.keras.ModelCheckpoint(tmp_path / "{epoch}.wcz", keep=None, max_error=1e-3)
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[checkpoint])
    assert [chain_of(file) for file in checkpoint.files] == [[], []]
    assert all(0 < wcodec.inspect(file).relative_error <= 1e-3 for file in checkpoint.files)
    with pytest.raises(wcodec.RecipeError, match="keep of 1 or more"):
        wcodec.keras.ModelCheckpoint("m.wcz", keep=0)


def test_decode_writes_integer_layers_and_removes_dead_units(tmp_path: Path) -> None:
    layers = keras.layers
    model = keras.Sequential([layers.Input((12,)), layers.Dense(16, "relu"), layers.Dense(4)])
    kernel, bias = model.layers[0].get_weights()
    model.layers[0].set_weights([kernel * (np.arange(16) % 4 > 0), bias])
    coded = wcodec.encode(model, quantizer="symmetric", bits=8)
    (tmp_path / "m.wcz").write_bytes(coded)
    (tmp_path / "m.wcz").chmod(0o600)
    wcodec.decode(tmp_path / "m.wcz", tmp_path / "small.keras", compact=True)
    wcodec.decode(tmp_path / "m.wcz", tmp_path / "plain.keras", as_="int8")
    wcodec.slim(tmp_path / "small.keras", tmp_path / "slim.keras", width=0.5)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert keras.models.load_model(tmp_path / "small.keras").layers[0].units == 12
    (tmp_path / "int8.keras").write_bytes(wcodec.decode(coded, as_="int8"))
    assert str(keras.models.load_model(tmp_path / "int8.keras").layers[0]._kernel.dtype) == "int8"
    for name, words, message in (
        ("a.h5", {"as_": "int8"}, "a.h5: expected .keras"),
        ("a.h5", {}, "a.h5: expected .keras, .npz or .safetensors, as the model in it, got .h5"),
        ("a.keras", {"as_": "int8", "compact": True}, "as_: expected one file to decode to .keras, got compact too"),
    ):
        with pytest.raises(wcodec.RecipeError, match=re.escape(message)):
            wcodec.decode(coded, tmp_path / name, **words)
        assert not (tmp_path / name).exists()
