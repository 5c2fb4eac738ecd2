"""All units are found: a network with masked units and one without them have the same outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import THOROUGH

from tests.structure.generated_graphs import answers, draw_network, inputs_of, mask_units, some_kept
from wcodec.errors import UnsupportedError
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.keras_backend import keras
from wcodec.structure.cost import cost_of
from wcodec.structure.graph import trace
from wcodec.structure.obs import scores_by_obs
from wcodec.structure.rebuild import without
from wcodec.structure.repair import repair
from wcodec.structure.selection import Amount, select


@pytest.mark.parametrize("seed", range(160 if THOROUGH else 20))
def test_masked_and_removed_units_give_the_same_outputs(seed: int, tmp_path: Path) -> None:
    model = draw_network(seed)
    graph, inputs = trace(model), inputs_of(model, seed)
    kept = some_kept(graph, np.random.default_rng(seed))
    assert not kept.all()
    small = without(graph, kept)
    assert small.count_params() == cost_of(graph, kept).parameters < model.count_params()
    if seed % 5 == 0:  # of each family one at least
        small.save(tmp_path / "small.keras")
        small = keras().models.load_model(tmp_path / "small.keras")
    zeros = mask_units(graph, kept)
    for variable in model.weights:
        if id(variable) in zeros:
            variable.assign(zeros[id(variable)])
    for whole, part in zip(answers(model, inputs), answers(small, inputs), strict=True):
        assert np.abs(whole - part).max() <= 1e-5 * max(1.0, float(np.abs(whole).max()))


def test_a_network_that_keeps_all_units_is_unchanged() -> None:
    model = draw_network(3)
    graph = trace(model)
    same = without(graph, np.ones(graph.count, bool))
    assert [tuple(w.shape) for w in same.weights] == [tuple(w.shape) for w in model.weights]
    assert [layer.name for layer in same.layers] == [layer.name for layer in model.layers]


def find_reasons(*middle: object, shape: tuple[int, ...] = (6,)) -> set[str]:
    """Why units of a dense layer stay, with these layers behind it."""
    layers = keras().layers
    model = keras().Sequential([layers.Input(shape), layers.Dense(6), *middle, layers.Dense(3, name="last")])
    return set(trace(model).frozen.values())


def test_layers_without_a_rule_are_frozen_and_named() -> None:
    layers = keras().layers
    last = "the network's output"
    assert find_reasons() == {last}
    assert find_reasons(layers.LayerNormalization(name="norm")) == {last, "norm (LayerNormalization)"}
    assert find_reasons(layers.Lambda(lambda x: x[:, ::-1], name="turn")) == {last, "turn (Lambda)"}
    assert find_reasons(layers.Softmax(name="soft")) == {last, "soft (Softmax)"}
    assert find_reasons(layers.Activation(lambda x: x, name="own")) == {last, "own (Activation)"}
    assert find_reasons(layers.Reshape((2, 3), name="cut"), layers.Flatten()) == {last, "cut (Reshape)"}


def test_units_of_the_output_are_frozen_also_before_an_activation_that_mixes_them() -> None:
    layers = keras().layers
    model = keras().Sequential([layers.Input((6,)), layers.Dense(6), layers.Dense(3, "softmax", name="last")])
    assert set(trace(model).frozen.values()) == {"the network's output"}


def test_a_residual_stream_from_the_input_is_frozen() -> None:
    layers = keras().layers
    x = inputs = layers.Input((5,))
    y = layers.Dense(5, name="second")(layers.Dense(8, name="first")(x))
    graph = trace(keras().Model(inputs, layers.Dense(2)(layers.Add(name="sum")([x, y]))))
    assert [int(graph.removable[group].sum()) for group in graph.groups] == [8, 0, 0]
    assert "sum (Add), beside what cannot be removed" in graph.frozen.values()


def test_two_uses_of_a_tensor_share_its_units() -> None:
    layers = keras().layers
    x = layers.Dense(4)(inputs := layers.Input((3,)))
    graph = trace(keras().Model(inputs, layers.Dense(2)(layers.Concatenate()([x, x]))))
    assert graph.weights[3].units.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


def test_a_network_of_the_users_own_class_is_refused() -> None:
    class Own(keras().Model):
        def call(self, x: object) -> object:
            return x

    with pytest.raises(UnsupportedError, match="expected a functional or sequential model, got Own"):
        trace(Own())


@pytest.mark.parametrize("mode", ["concat", "sum"])
def test_both_directions_of_a_recurrent_layer_keep_as_many_units(mode: str) -> None:
    layers = keras().layers
    both = layers.Bidirectional(layers.GRU(6, return_sequences=True), merge_mode=mode)
    model = keras().Sequential([layers.Input((5, 3)), both, layers.LSTM(4), layers.Dense(2)])
    graph = trace(model)
    small = without(graph, some_kept(graph, np.random.default_rng(0)))
    there, back = small.layers[0].forward_layer.units, small.layers[0].backward_layer.units
    assert there == back < 6
    assert small(np.zeros((2, 5, 3), np.float32)).shape == (2, 2)


def transformer(norm: str, width: int = 12) -> object:
    """A block of attention and dense layers around a residual stream that is normalised before each."""
    layers = keras().layers
    keras().utils.set_random_seed(4)
    words = layers.Input((6,), dtype="int32")
    x = layers.Embedding(20, width, name="words")(words)
    y = getattr(layers, norm)()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 6)(y, y)])
    x = layers.Add()([x, layers.Dense(width)(layers.Dense(16, "gelu")(getattr(layers, norm)()(x)))])
    x = layers.GlobalAveragePooling1D()(getattr(layers, norm)()(x))
    return keras().Model(words, layers.Dense(4)(x))


@pytest.mark.parametrize("norm", ["LayerNormalization", "RMSNormalization", "UnitNormalization"])
def test_a_residual_stream_is_narrowed_if_removal_may_be_inexact(norm: str, tmp_path: Path) -> None:
    model = transformer(norm)
    exact, graph = trace(model), trace(model, is_exact=False)
    assert any(norm in why for why in exact.frozen.values())
    assert set(graph.frozen.values()) == {"the network's output"}
    assert graph.removable.sum() == exact.removable.sum() + 12
    rng = np.random.default_rng(2)
    examples = Examples((rng.integers(0, 20, (300, 6)).astype("int32"),))
    kept = select(graph, scores_by_obs(graph, examples), Amount("width", 0.6, uniform=True))
    small, fitted = without(graph, kept), without(graph, kept)
    repair(graph, kept, fitted, examples)
    assert fitted.get_layer("words").output_dim < 12
    fitted.save(tmp_path / "small.keras")
    fitted = keras().models.load_model(tmp_path / "small.keras")
    wanted = answers(model, list(examples.inputs))[0]
    errors = [float(np.square(answers(one, list(examples.inputs))[0] - wanted).sum()) for one in (small, fitted)]
    assert errors[1] < 0.7 * errors[0]


def test_groups_of_a_normalization_are_removed_as_a_whole() -> None:
    layers = keras().layers
    normed = layers.Dense(12), layers.GroupNormalization(4, name="norm"), layers.Dense(3)
    model = keras().Sequential([layers.Input((5, 7)), *normed])
    graph = trace(model)
    assert [int(graph.removable[group].sum()) for group in graph.groups] == [4, 0]
    kept = np.ones(graph.count, bool)
    kept[1] = False
    small = without(graph, kept)
    assert (small.layers[0].units, small.get_layer("norm").groups) == (9, 3)
    assert "norm (GroupNormalization)" in find_reasons(layers.GroupNormalization(1, name="norm"), shape=(4, 6))


def test_attention_has_one_group_of_queries_and_keys_and_one_of_values() -> None:
    layers = keras().layers
    x = layers.Input((5, 7))
    query, value, key = (layers.Dense(4, name=name)(x) for name in ("query", "value", "key"))
    model = keras().Model(x, layers.Dense(3)(layers.Attention()([query, value, key])))
    graph = trace(model)
    assert sorted(int(graph.removable[group].sum()) for group in graph.groups) == [0, 4, 4]
    assert "score (Attention)" in freeze_by_scores("concat")


def freeze_by_scores(mode: str) -> set[str]:
    layers = keras().layers
    x = layers.Input((5, 7))
    y = layers.Dense(4)(x)
    return set(trace(keras().Model(x, layers.Attention(score_mode=mode, name="score")([y, y]))).frozen.values())


def test_masked_sequences_are_followed(tmp_path: Path) -> None:
    layers = keras().layers
    words = layers.Input((8,), dtype="int32")
    x = layers.Embedding(9, 6, mask_zero=True)(words)
    x = layers.Bidirectional(layers.GRU(8, return_sequences=True))(x)
    x = layers.LSTM(8, return_sequences=True)(x)
    x = layers.TimeDistributed(layers.Dense(6, "relu"))(x)
    model = keras().Model(words, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
    graph, inputs = trace(model), [np.random.default_rng(0).integers(0, 9, (20, 8)).astype(np.int32)]
    kept = some_kept(graph, np.random.default_rng(1))
    small = without(graph, kept)
    assert small.count_params() < model.count_params()
    for variable in model.weights:
        if (value := mask_units(graph, kept).get(id(variable))) is not None:
            variable.assign(value)
    for whole, part in zip(answers(model, inputs), answers(small, inputs), strict=True):
        np.testing.assert_allclose(whole, part, atol=1e-5)


def test_a_masking_layer_freezes_its_inputs_and_not_the_states_after_it() -> None:
    layers = keras().layers
    steps = layers.Input((None, 4))
    graph = trace(keras().Model(steps, layers.Dense(2)(layers.LSTM(16)(layers.Masking()(steps)))))
    assert graph.removable.sum() == 16
