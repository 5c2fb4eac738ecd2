"""`--as int8` and `--as int4`: quantised layers of Keras with the levels of the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import wcodec as package
from wcodec.errors import RecipeError
from wcodec.evaluation.keras_backend import keras, silence_keras

if TYPE_CHECKING:
    from conftest import Run
    from keras import Model

SYMMETRIC = {"quantizer": "symmetric", "per_channel": True}
LAYERS = ("table", "query", "key", "value", "attention_output", "spread", "inner", "head")


def network() -> Model:
    """A network with a layer of each kind that takes integers, two of them nested, and one that keeps floats."""
    keras().utils.set_random_seed(1)
    of = keras().layers
    tokens = keras().Input((6,), dtype="int32", name="tokens")
    x = of.Embedding(30, 12, name="table")(tokens)
    x = of.MultiHeadAttention(3, 5, name="attention")(x, x)
    x = of.EinsumDense("abc,cde->abed", (None, 7, 4), bias_axes="e", name="spread")(x)
    x = of.Reshape((6, 28))(x)
    x = of.TimeDistributed(of.Dense(9, "relu", name="each"))(x)
    x = of.Conv1D(8, 3, name="conv")(x)
    x = keras().Sequential([of.Input((4, 8)), of.Flatten(), of.Dense(11, name="inner")], name="block")(x)
    return keras().Model(tokens, of.Dense(3, name="head")(x))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("integers") / "net.keras"
    with silence_keras():
        network().save(path)
    return path


TOKENS = np.random.default_rng(2).integers(0, 30, (20, 6)).astype(np.int32)
LOAD_WITHOUT_WCODEC = """
import atexit, gc, sys
gc.disable()  # with the next line, half of what an import of Keras costs
atexit.register(gc.freeze)
import keras, numpy
for whole in sys.argv[2:]:
    model = keras.models.load_model(whole)
    kinds = {layer.name: str(layer._kernel.dtype) for layer in model._flatten_layers() if hasattr(layer, "_kernel")}
    assert kinds["head"] == kinds["query"] == "int8" and kinds["conv"] == "float32", kinds
    numpy.save(whole + ".npy", model.predict(numpy.load(sys.argv[1]), verbose=0))
"""


def test_keras_loads_integer_layers_with_the_outputs_of_the_floats(saved: Path, wcodec: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "tokens.npy", TOKENS)
    for kind, bits in (("int8", 8), ("int4", 4)):
        package.encode(saved, tmp_path / f"{kind}.wcz", bits=bits, **SYMMETRIC)
        done = wcodec("decode", tmp_path / f"{kind}.wcz", "-o", tmp_path / f"{kind}.keras", "--as", kind)
        assert done.returncode == 0, done.stderr
        assert f"weights are {kind}" in done.stderr
        assert f"conv: floats, since Keras has no {kind} weights of Conv1D" in done.stderr
        assert "each: floats, since Keras runs integers only in a layer of their own" in done.stderr  # TimeDistributed
    # One process without wcodec loads both.
    script = [sys.executable, "-c", LOAD_WITHOUT_WCODEC, "tokens.npy", "int8.keras", "int4.keras"]
    subprocess.run(script, check=True, capture_output=True, cwd=tmp_path)
    for kind, most in (("int8", 0.03), ("int4", 1e-5)):  # int8 layers round their inputs, int4 ones do not
        floats = np.asarray(package.load_model(tmp_path / f"{kind}.wcz")(TOKENS))
        error = np.abs(np.load(tmp_path / f"{kind}.keras.npy") - floats).max() / np.abs(floats).max()
        assert error < most


@pytest.mark.parametrize(("kind", "bits"), [("int8", 8), ("int4", 4)])
def test_layers_have_the_levels_of_the_file(saved: Path, tmp_path: Path, kind: str, bits: int) -> None:
    packed = tmp_path / "net.wcz"
    package.encode(saved, packed, bits=bits, **SYMMETRIC)
    floats, model = package.load_model(packed), package.load_model(packed, as_=kind)
    before = {layer.name: layer for layer in floats._flatten_layers()}
    after = {layer.name: layer for layer in model._flatten_layers()}
    assert [name for name in LAYERS if after[name].quantization_mode == kind] == list(LAYERS)
    for name in LAYERS:
        table = name == "table"
        weights = np.asarray(before[name].embeddings if table else before[name].kernel)
        levels = np.asarray(after[name].embeddings if table else after[name].kernel)
        scales = np.asarray(after[name].embeddings_scale if table else after[name].kernel_scale)
        assert levels.dtype == np.int8
        assert np.abs(levels).max() == (1 << bits - 1) - 1
        zeros = levels == 0
        np.testing.assert_array_equal(weights[zeros], 0.0)
        ratios = levels[~zeros] / weights[~zeros]
        found = np.unique(np.round(np.log(ratios), 5))
        np.testing.assert_allclose(found, np.unique(np.round(np.log(scales), 5)), atol=2e-5)


def test_a_tensor_with_one_step_has_integers_and_notes_name_the_others(saved: Path, tmp_path: Path) -> None:
    packed, notes = tmp_path / "net.wcz", list[str]()
    rules = {"^head$": {"quantizer": "kmeans", "clusters": 5}, "table": {"quantizer": "symmetric", "bits": 10}}
    package.encode(saved, packed, quantizer="symmetric", set=rules)
    model = package.load_model(packed, as_="int8", log=notes.append)
    assert next(layer for layer in model._flatten_layers() if layer.name == "inner").quantization_mode == "int8"
    assert any(note.startswith("head: floats, since the values are no integers") for note in notes), notes
    assert any(note == "table: floats, since the levels reach 511 and int8 ends at 127" for note in notes)


def test_a_file_without_integers_is_refused_without_an_output(saved: Path, wcodec: Run, tmp_path: Path) -> None:
    packed = tmp_path / "net.wcz"
    package.encode(saved, packed, lossless=True)
    done = wcodec("decode", packed, "-o", tmp_path / "out.keras", "--as", "int8")
    assert done.returncode == 2
    assert done.stderr.startswith("wcodec: --as int8: expected a layer that takes integers, got")
    assert done.stderr.count("\n") == 1
    other = wcodec("decode", packed, "-o", tmp_path / "out.h5", "--as", "int8")
    assert other.returncode == 2
    assert "out.h5: expected .keras, which has the integer layers of --as int8" in other.stderr
    assert list(tmp_path.iterdir()) == [packed]
    with pytest.raises(RecipeError, match="got another file"):
        package.load_model(saved, as_="int8")


def test_layers_with_float16_computations_keep_floats(tmp_path: Path) -> None:
    of, path = keras().layers, tmp_path / "half.keras"
    with silence_keras():
        layers = of.Dense(8, dtype="float16", name="half"), of.Dense(3, dtype="float32", name="whole")
        keras().Sequential([of.Input((4,)), *layers]).save(path)
    package.encode(path, tmp_path / "half.wcz", bits=8, **SYMMETRIC)
    model = package.load_model(tmp_path / "half.wcz", as_="int8")
    assert [layer.quantization_mode for layer in model.layers] == [None, "int8"]
