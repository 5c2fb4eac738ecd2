"""Networks become smaller by the requested amount with nearly the same outputs; impossible requests are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.structure.generated_graphs import answers, draw_network, inputs_of
from tests.structure.small_chain import INPUTS, Slim, chain, slim_command  # noqa: F401 - a fixture
from wcodec.cli import main
from wcodec.errors import BudgetError
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.keras_backend import keras
from wcodec.structure import criteria, merging
from wcodec.structure.assumed_moments import VARIANCE, assume_moments, repair_without_data, score_without_data
from wcodec.structure.cost import cost_of
from wcodec.structure.graph import Mask, trace
from wcodec.structure.low_rank import low_rank
from wcodec.structure.obs import scores_by_obs
from wcodec.structure.rebuild import without
from wcodec.structure.repair import repair
from wcodec.structure.selection import Amount, select


def error_of(model: object, small: object) -> float:
    """Relative squared error of the answers."""
    before, after = answers(model, [INPUTS])[0], answers(small, [INPUTS])[0]
    return float(np.square(before - after).sum() / np.square(before).sum())


def half(graph: object, scores: np.ndarray) -> Mask:
    return select(graph, scores, Amount("width", 0.5))


def test_repair_restores_most_of_the_outputs_and_obs_loses_less_than_norms() -> None:
    model, examples = chain(24, 24), Examples((INPUTS,))
    graph = trace(model)
    errors = {}
    for name, scores in (("l1", criteria.scores_by_weights(graph, "l1")), ("obs", scores_by_obs(graph, examples))):
        kept = half(graph, scores)
        small = without(graph, kept)
        cut = error_of(model, small)
        repair(graph, kept, small, examples)
        errors[name] = error_of(model, small)
        assert errors[name] < 0.5 * cut
    assert errors["obs"] < errors["l1"]


def test_a_unit_that_is_a_multiple_of_another_is_merged_without_loss() -> None:
    model = chain(6)
    kernel, bias = model.layers[0].get_weights()
    kernel[:, 3:], bias[3:] = 0.5 * kernel[:, :3], 0.5 * bias[:3]
    model.layers[0].set_weights([kernel, bias])
    graph = trace(model)
    kept = half(graph, criteria.scores_by_weights(graph, "l2"))
    assert kept[:6].tolist() == [True] * 3 + [False] * 3
    assert (
        error_of(model, without(graph, kept, merging.merge(graph, kept)))
        < 1e-10
        < error_of(model, without(graph, kept))
    )


def test_batch_normalization_is_part_of_what_is_merged() -> None:
    layers = keras().layers
    keras().utils.set_random_seed(3)
    normed = layers.Dense(4, use_bias=False), layers.BatchNormalization(), layers.ReLU()
    model = keras().Sequential([layers.Input((12,)), *normed, layers.Dense(4)])
    kernel = model.layers[0].get_weights()[0]
    kernel[:, 2:] = 3 * kernel[:, :2]
    model.layers[0].set_weights([kernel])
    statistics = [[1, 2, 1, 2], [0.1, 0.2, 0.1, 0.2], [0.1, 0, 0.3, 0], [1, 2, 9, 18]]
    model.layers[1].set_weights([np.array(one, np.float32) for one in statistics])
    model.layers[1].epsilon = 0.0
    graph = trace(model)
    kept = np.array([True, True, False, False, True, True, True, True])
    assert error_of(model, without(graph, kept, merging.merge(graph, kept))) < 1e-10


@pytest.mark.parametrize("of", ["width", "params", "macs"])
def test_the_network_has_the_requested_size(of: str) -> None:
    graph = trace(chain(30, 20))
    scores = criteria.scores_by_weights(graph, "l2")
    kept = select(graph, scores, Amount(of, 0.4))
    whole, part = cost_of(graph, np.ones(graph.count, bool)), cost_of(graph, kept)
    got = {"width": kept[graph.removable].mean(), "params": part.parameters / whole.parameters,
           "macs": part.macs / whole.macs}[of]  # fmt: skip
    assert 0.3 < got <= 0.4


def test_uniform_keeps_the_same_fraction_of_every_layer_and_at_least_one_unit() -> None:
    graph = trace(chain(30, 20))
    kept = select(graph, criteria.scores_by_weights(graph, "l1"), Amount("width", 0.5, uniform=True))
    assert [int(kept[group].sum()) for group in graph.groups] == [15, 10, 4]
    kept = select(graph, np.where(np.arange(graph.count) < 30, 0.0, 1.0), Amount("width", 0.01))
    assert [int(kept[group].sum()) for group in graph.groups] == [3, 2, 4]
    with pytest.raises(BudgetError, match=r"expected 0\.001 of the params, the least that the layers allow is"):
        select(graph, np.arange(graph.count, dtype=float), Amount("params", 0.001))


def test_blocks_of_channels_stay_whole_and_the_size_is_still_met() -> None:
    graph = trace(chain(80, 40))
    scores = criteria.scores_by_weights(graph, "l2")
    kept = select(graph, scores, Amount("macs", 0.5, blocks=True))
    widths = [int(kept[group].sum()) for group in graph.groups]
    assert widths[0] % 16 == widths[1] % 8 == 0 < min(widths)
    assert widths[2] == 4
    assert cost_of(graph, kept).macs <= 0.5 * cost_of(graph, np.ones(graph.count, bool)).macs
    order = np.argsort(scores[graph.groups[0]])
    assert kept[graph.groups[0]][order].tolist() == [False] * (80 - widths[0]) + [True] * widths[0]


@pytest.mark.parametrize("seed", range(4))
def test_every_kind_of_network_is_scored_by_obs_and_repaired(seed: int) -> None:
    model = draw_network(seed)
    examples, graph = Examples(tuple(inputs_of(model, seed, 40))), trace(model)
    scores = scores_by_obs(graph, examples)
    assert np.nanmin(scores) >= 0
    kept = select(graph, scores, Amount("width", 0.7))
    small = without(graph, kept)
    repair(graph, kept, small, examples)
    assert all(np.isfinite(one).all() for one in answers(small, list(examples.inputs)))


def test_low_rank_is_exact_if_the_rank_is_low_and_gives_two_convolutions() -> None:
    layers = keras().layers
    keras().utils.set_random_seed(2)
    image = layers.Input((6, 6, 4))
    x = layers.Conv2D(16, 3, 2, "same", activation="relu", name="conv")(image)
    model = keras().Model(image, layers.Dense(3)(layers.Flatten()(x)))
    rng = np.random.default_rng(2)
    thin = (rng.normal(size=(36, 2)) @ rng.normal(size=(2, 16))).reshape(3, 3, 4, 16)
    model.get_layer("conv").set_weights([thin, rng.normal(size=16)])
    small, ranks = low_rank(model, None, None)
    assert ranks["conv"] == (16, 2)
    images = rng.normal(size=(5, 6, 6, 4)).astype("float32")
    np.testing.assert_allclose(answers(model, [images])[0], answers(small, [images])[0], rtol=1e-3, atol=1e-3)
    thinner, _ = low_rank(chain(30, 30), 0.5, Examples((INPUTS,)))
    assert thinner.count_params() < 0.6 * chain(30, 30).count_params()


def test_the_command_writes_a_plain_model_and_describes_it(
    slim: Slim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert slim("--width", 0.5, "--data", "DATA", "--finetune", 2, "--json") == 0
    out, err = capsys.readouterr()
    numbers = json.loads(out)
    small = keras().models.load_model(tmp_path / "small.keras")
    assert small.count_params() == numbers["parameters"] < numbers["parameters_before"]
    assert [row["width"] for row in numbers["layers"]][-1] == 4
    assert sum(row["width"] for row in numbers["layers"]) == 16 + 4
    assert numbers["examples"] == 60
    assert "frozen by the network's output" in err
    assert slim("--width", 0.5) == 1
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("criterion", ["geometric-median", "taylor", "fisher", "random"])
def test_every_criterion_gives_a_narrower_network(slim: Slim, criterion: str, tmp_path: Path) -> None:
    assert slim("--macs", 0.5, "--criterion", criterion, "--data", "DATA", "-q", "--tune", 5) == 0
    assert (tmp_path / "small.keras").exists()


def test_the_narrowest_network_within_a_budget_is_found_or_none_is_written(slim: Slim, tmp_path: Path) -> None:
    assert slim("--max-loss", 0.0, "--data", "DATA:bare", "-q") == 4
    assert slim("--width", 0.2, "--max-drop", 0, "--data", "DATA", "-q") == 4
    assert not (tmp_path / "small.keras").exists()
    assert slim("--max-drop", 30, "--data", "DATA", "-q") == 0
    assert keras().models.load_model(tmp_path / "small.keras").count_params() < 540


def test_without_time_one_batch_serves_the_choice_and_the_repair_and_an_overrun_is_reported(
    slim: Slim, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wcodec.calibration.time_limit.CLOSE", 0.0)
    assert slim("--width", 0.5, "--data", "DATA", "--finetune", 50, "--time-limit", 0) == 0
    text = capsys.readouterr().err
    assert "the training ended early" in text
    assert "--time-limit: 0 s were overrun by" in text
    assert keras().models.load_model(tmp_path / "small.keras").count_params() < 540
    assert slim("--max-drop", 30, "--data", "DATA", "--time-limit", 0, "-f") == 4
    assert "the time limit ended the search after 0 of 6 widths" in capsys.readouterr().err


def test_a_student_starts_with_the_best_units_of_the_original(
    slim: Slim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow = keras().Sequential.from_config(_narrower(keras().models.load_model(tmp_path / "model.keras").get_config()))
    narrow.save(tmp_path / "student.keras")
    assert slim("--student", tmp_path / "student.keras", "--data", "DATA", "--tune", 10) == 0
    assert "starts from the original's units" in capsys.readouterr().err
    wrong = keras().Sequential([keras().layers.Input((12,)), keras().layers.Dense(5)])
    wrong.save(tmp_path / "wrong.keras")
    assert slim("--student", tmp_path / "wrong.keras", "--data", "DATA", "-f") == 2
    assert "expected outputs of shape [(4,)]" in capsys.readouterr().err


def _narrower(config: dict[str, object]) -> dict[str, object]:
    for entry in config["layers"]:
        entry.pop("build_config", None)
        if entry["config"].get("units") == 16:
            entry["config"]["units"] = 8
    return config


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--width", 1.5], 2, "--width: expected over 0 to 1, got 1.5"),
        (["--width", 0.5, "--macs", 0.5], 2, "--macs: expected one way of saying how much, got --width too"),
        (["--width", 0.5, "--low-rank", 0.5], 2, "--low-rank: expected one way of saying how much"),
        (["--width", 0.5, "--finetune", 2], 2, "--finetune: expected --data D with it"),
        (["--width", 0.5, "--finetune", 2, "--data", "DATA:bare"], 2, "expected labels to train by, got none"),
        (["--width", 0.5, "--criterion", "taylor"], 2, "--criterion taylor: expected --data D with it"),
        (["--width", 0.5, "--criterion", "bn-scale"], 2, "expected layers of BatchNormalization, found none"),
        (["--low-rank", "much"], 2, "--low-rank: expected a number over 0 to 1, or auto, got much"),
        ([], 2, "slim: expected how much"),
        (["--uniform"], 2, "--uniform: expected --width, --params or --macs with it"),
        (["--speedup", 0.5], 2, "--speedup: expected 1 to 1000, got 0.5"),
        (["--width", 0.5, "--resume"], 2, "--resume: expected an output, how much"),
        (["--compact", "--tune", 5, "--data", "DATA"], 2, "--compact: expected nothing else, got a training"),
        (["--params", 0.0001], 4, "expected 0.0001 of the params, the least that the layers allow is"),
    ],
)  # fmt: skip
def test_invalid_requests_are_refused_before_training(
    slim: Slim, words: list[object], code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert slim(*words) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "small.keras").exists()


def test_a_network_without_removable_units_is_refused_with_the_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = keras().layers
    model = keras().Sequential([layers.Input((4,)), layers.Dense(3), layers.Softmax(name="soft")])
    model.save(tmp_path / "model.keras")
    words = ["slim", str(tmp_path / "model.keras"), "-o", str(tmp_path / "small.keras")]
    assert main([*words, "--width", "0.5"]) == 5
    assert "all are frozen by soft (Softmax)" in capsys.readouterr().err
    keras().Sequential([layers.Input((4,)), layers.LayerNormalization(name="norm")]).save(tmp_path / "model.keras")
    assert main([*words, "--width", "0.5"]) == 5
    assert "expected units that can be removed, found none in norm" in capsys.readouterr().err


def test_decode_and_encode_can_remove_dead_units(tmp_path: Path) -> None:
    model, whole, coded = chain(40, 30), tmp_path / "whole.keras", tmp_path / "whole.wcz"
    for layer in model.layers[:2]:
        kernel, bias = layer.get_weights()
        kernel[:, 5:], bias[5:] = 0.0, 0.0
        layer.set_weights([kernel, bias])
    model.save(whole)
    assert main(["encode", str(whole), "-o", str(coded), "-q"]) == 0
    assert main(["decode", str(coded), "-o", str(tmp_path / "small.keras"), "--compact", "-q"]) == 0
    small = keras().models.load_model(tmp_path / "small.keras")
    assert [layer.units for layer in small.layers] == [5, 5, 4]
    assert main(["encode", str(whole), "--compact", "-o", str(tmp_path / "compact.wcz"), "-q"]) == 0
    assert (tmp_path / "compact.wcz").stat().st_size <= coded.stat().st_size
    assert main(["encode", str(whole), "--compact", "--lossless", "-q"]) == 2


def test_without_data_the_next_layers_are_fitted_to_assumed_inputs() -> None:
    model = chain(24, 24)
    graph = trace(model)
    kept = half(graph, score_without_data(graph))
    cut, fitted = without(graph, kept), without(graph, kept, repair_without_data(graph, kept))
    assert error_of(model, fitted) < 0.5 * error_of(model, cut)


def test_assumed_moments_include_batch_normalization_of_a_nested_model() -> None:
    layers = keras().layers
    inner = keras().Sequential([layers.Input((6,)), layers.Dense(8), layers.BatchNormalization(), layers.ReLU()])
    image = layers.Input((6,))
    model = keras().Model(image, layers.Dense(2)(inner(image)))
    scores = score_without_data(trace(model))
    assert np.isfinite(scores).sum() == 8


def test_assumed_moments_are_those_of_normal_inputs() -> None:
    model = chain(5)
    (first, *_) = assume_moments(trace(model))
    kernel, _ = model.layers[0].get_weights()
    model.layers[0].set_weights([kernel, np.zeros(5, np.float32)])
    (first, *_) = assume_moments(trace(model))
    inputs = np.random.default_rng(1).normal(0, VARIANCE**0.5, (200_000, 12))
    hidden = np.maximum(inputs @ kernel, 0)
    np.testing.assert_allclose(first.mean, hidden.mean(axis=0), rtol=0.02)
    np.testing.assert_allclose(first.second, hidden.T @ hidden / len(hidden), rtol=0.05, atol=1e-3)
