"""Keras loads rewritten files: their predictions are the same, and a lossy edit equals the same edit through Keras."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import keras
import keras_zoo
import numpy as np
import pytest
from conftest import pairs_of

from wcodec.model import AnyArray, Tensor
from wcodec.modelfiles import open_model, suffix, write_model
from wcodec.pipeline.encoder import encode
from wcodec.planning.recipe import Options, Recipe
from wcodec.reporting.inspection import inspect

pytestmark = pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")

ENDINGS = (".h5", ".keras", ".weights.h5")
AS_H5 = [name for name in keras_zoo.ZOO if name not in keras_zoo.NOT_AS_H5]
CASES = [*product(AS_H5, ENDINGS), *product(sorted(keras_zoo.NOT_AS_H5), ENDINGS[1:])]
SOME = [*pairs_of(AS_H5, ENDINGS), *pairs_of(sorted(keras_zoo.NOT_AS_H5), ENDINGS[1:])]


def same(_: Tensor, values: AnyArray) -> AnyArray:
    return values


def round_values(tensor: Tensor, values: AnyArray) -> AnyArray:
    if tensor.dtype == "float32" and values.ndim > 1 and not tensor.exact:
        return np.round(values.view(np.float32), 1)
    return values


Edit = Callable[[Tensor, AnyArray], AnyArray]


def rewrite(source: Path, target: Path, edit: Edit = same, keep_optimizer: bool = False) -> None:
    with open_model(source, keep_optimizer) as model:
        values = (edit(tensor, tensor.read()) for tensor in model.tensors)
        write_model(target, model.kind, model.skeleton, model.tensors, values)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A function that builds each model once and saves it in all formats."""
    folder, built = tmp_path_factory.mktemp("zoo"), {}

    def get(name: str, ending: str) -> tuple[keras.Model, Path]:
        if name not in built:
            model = built[name] = keras_zoo.build(name)
            for suffix in (".h5", ".keras"):
                model.save(folder / f"{name}{suffix}")
            model.save_weights(folder / f"{name}.weights.h5")
        return built[name], folder / f"{name}{ending}"

    return get


def reload(model: keras.Model, path: Path, ending: str) -> keras.Model:
    if ending != ".weights.h5":
        return keras.models.load_model(path)
    twin = keras.models.clone_model(model)
    if model.name.startswith("quantized"):
        twin.layers[0].quantize("int8")
    twin.load_weights(path)
    return twin


def assert_same_predictions(ours: keras.Model, theirs: keras.Model) -> None:
    for output, expected in zip(keras_zoo.predictions(ours), keras_zoo.predictions(theirs), strict=True):
        assert output.tobytes() == expected.tobytes()


@pytest.mark.parametrize(("name", "ending"), SOME)
def test_a_rewritten_file_loads_in_keras_with_the_same_predictions(zoo, tmp_path, name, ending):
    model, source = zoo(name, ending)
    target = tmp_path / f"out{ending}"
    rewrite(source, target)
    assert_same_predictions(reload(model, target, ending), model)


@pytest.mark.parametrize(("name", "ending"), SOME)
def test_a_lossy_edit_of_the_file_is_the_same_edit_through_keras(zoo, tmp_path, name, ending):
    model, source = zoo(name, ending)
    target = tmp_path / f"out{ending}"
    rewrite(source, target, round_values)
    twin = reload(model, source, ending)
    for layer in twin._flatten_layers(include_self=False, recursive=True):
        if not isinstance(layer, keras.layers.Normalization) and "int8" not in layer.dtype_policy.name:
            for weight in layer._trainable_variables + layer._non_trainable_variables:
                if weight.dtype == "float32" and len(weight.shape) > 1:
                    weight.assign(np.round(weight.numpy(), 1))
    assert_same_predictions(reload(model, target, ending), twin)


@pytest.mark.parametrize("ending", [".h5", ".keras", ".weights.h5"])
def test_the_optimizer_is_left_out_by_default(zoo, tmp_path, ending):
    _, source = zoo("compiled", ending)
    with open_model(source) as lean, open_model(source, keep_optimizer=True) as whole:
        assert lean.dropped
        assert not whole.dropped
        assert {t.name for t in lean.tensors} | set(lean.dropped) == {t.name for t in whole.tensors}
    rewrite(source, tmp_path / f"lean{ending}")
    rewrite(source, tmp_path / f"whole{ending}", keep_optimizer=True)
    assert (tmp_path / f"lean{ending}").stat().st_size < (tmp_path / f"whole{ending}").stat().st_size


@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_without_its_optimizer_a_compiled_model_can_still_be_trained(zoo, tmp_path, ending):
    model, source = zoo("compiled", ending)
    rewrite(source, tmp_path / f"out{ending}")
    loaded = keras.models.load_model(tmp_path / f"out{ending}")
    assert loaded.optimizer is not None
    inputs = keras_zoo.examples(model)
    loaded.train_on_batch(inputs, np.zeros((len(inputs), 3), np.float32))


@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_a_kept_optimizer_has_the_same_state(tmp_path, ending):
    model = keras_zoo.compiled()
    for _ in range(2):
        model.train_on_batch(keras_zoo.examples(model), np.ones((4, 3), np.float32))
    model.save(tmp_path / f"in{ending}")
    rewrite(tmp_path / f"in{ending}", tmp_path / f"out{ending}", keep_optimizer=True)
    loaded, original = (keras.models.load_model(tmp_path / f"{name}{ending}") for name in ("out", "in"))
    for ours, theirs in zip(loaded.optimizer.variables, original.optimizer.variables, strict=True):
        assert ours.numpy().tobytes() == theirs.numpy().tobytes()


@pytest.mark.parametrize("ending", [".h5", ".keras", ".weights.h5"])
def test_writing_twice_gives_the_same_skeleton_and_the_same_bytes(zoo, tmp_path, ending):
    _, source = zoo("recurrent", ending)
    rewrite(source, tmp_path / f"a{ending}")
    rewrite(tmp_path / f"a{ending}", tmp_path / f"b{ending}")
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()
    with open_model(source) as model, open_model(tmp_path / f"a{ending}") as again:
        assert (model.skeleton, model.tensors) == (again.skeleton, again.tensors)
        assert suffix(model.kind, model.skeleton) == ending


def test_a_network_of_many_long_names_with_split_attributes_is_rewritten(tmp_path):
    model = keras_zoo.deep(70)
    for ending in (".h5", ".keras"):
        model.save(tmp_path / f"deep{ending}")
        rewrite(tmp_path / f"deep{ending}", tmp_path / f"out{ending}")
    with open_model(tmp_path / "deep.h5") as source, open_model(tmp_path / "out.h5") as target:
        assert (source.skeleton, source.tensors) == (target.skeleton, target.tensors)
        assert b"layer_names1" in source.skeleton
    model.load_weights(tmp_path / "out.h5")


@pytest.mark.parametrize("ending", [".h5", ".keras", ".weights.h5"])
def test_tensors_have_the_names_of_their_layers(zoo, ending):
    with open_model(zoo("recurrent", ending)[1]) as model:
        assert {tensor.layer for tensor in model.tensors} == {"memory", "bidirectional", "simple_rnn"}
    with open_model(zoo("sequential", ending)[1]) as model:
        assert {tensor.layer for tensor in model.tensors} == {"dense", "été"}
    with open_model(zoo("nested", ending)[1]) as model:
        assert {"dense", "other"} <= {tensor.layer for tensor in model.tensors}


@pytest.mark.parametrize("ending", [".h5", ".keras", ".weights.h5"])
def test_weights_of_quantised_and_normalization_layers_are_exact(zoo, ending):
    with open_model(zoo("quantized", ending)[1]) as model:
        exact = {tensor.layer: tensor.exact for tensor in model.tensors}
        assert exact["coarse"]
        assert not exact[next(layer for layer in exact if layer != "coarse")]
    with open_model(zoo("normalized", ending)[1]) as model:
        assert all(tensor.exact == (tensor.layer == "normalization") for tensor in model.tensors)


@pytest.mark.parametrize(("name", "ending"), CASES)
def test_tensors_have_the_names_of_the_weights_in_keras(zoo, tmp_path, name, ending):
    network, file = zoo(name, ending)
    encode(file, tmp_path / "m.wcz", Recipe())
    encode(file, tmp_path / "same.wcz", Recipe(options=Options(lossless=True)))
    with open_model(file) as model:
        found = {tensor.user_name or tensor.name for tensor in model.tensors}
        layers = [tensor.layer for tensor in model.tensors]
    expected = {variable.path.removeprefix(f"{network.name}/") for variable in network.weights}
    if name == "custom" and ending != ".h5":  # the file does not have the names of its variables
        expected = {f"ours/{number}" for number in range(4)} | {path for path in expected if "dense" in path}
    if name == "quantized" and ending == ".weights.h5":  # the file does not show that the layer is quantised
        expected = {f"coarse/{number}" for number in range(3)} | {path for path in expected if "dense" in path}
    assert found == expected
    coded = inspect(tmp_path / "m.wcz")
    assert ({tensor.shown for tensor in coded.tensors}, [tensor.layer for tensor in coded.tensors]) == (found, layers)
    if name in {"sequential", "branching", "nested"} and ending != ".weights.h5":
        assert {tensor.shown for tensor in inspect(tmp_path / "same.wcz").tensors} == expected
