"""Training with labels: smaller within the budget, for every kind of network, and the same on every run."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run
from tests.small_problem import WITHIN, classes, finetune_files, make_examples, train_network
from wcodec.api.request import EncodeRequest
from wcodec.api.trained_compaction import compact_trained
from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.quantizable_weights import estimate_bytes
from wcodec.container.dtypes import round_mantissa
from wcodec.errors import BudgetError, RecipeError
from wcodec.evaluation.evaluate import evaluate
from wcodec.evaluation.keras_backend import keras
from wcodec.evaluation.model_loader import load_model
from wcodec.pipeline.decoder import open_container
from wcodec.pipeline.encoder import encode
from wcodec.planning.recipe import Recipe
from wcodec.training import finetune as finetuning
from wcodec.training import initialization
from wcodec.training.candidate import Candidate, assign_weights
from wcodec.training.finetune import FinetuneResult, weights_to_code
from wcodec.training.lambda_control import next_lambda
from wcodec.training.training_loop import learning_rate_factor
from wcodec.training.validation import OutputScore


@pytest.fixture(scope="module")
def brief(small_network: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> FinetuneResult:
    """The result of one epoch of training; read only."""
    return finetune_files(*small_network, tmp_path_factory.mktemp("brief"), epochs=1)[0]


# --- results ---------------------------------------------------------------------------------------------------------
def test_training_finds_a_smaller_network_within_the_budget_and_restores_the_original(
    small_network: tuple[Path, Path], tmp_path: Path
) -> None:
    found, lines = finetune_files(*small_network, tmp_path)
    best = found.candidates[0]
    assert best.bytes < found.candidates[-1].bytes
    assert found.validation.drop(best) <= 2.0
    assert len([line for line in lines if line.startswith("epoch")]) == 6
    assert found.validation.score(found.opened.model) == found.validation.scores
    assign_weights(found.opened.model, best)
    assert found.validation.score(found.opened.model) == best.scores


def test_a_seed_determines_the_trained_network(small_network: tuple[Path, Path], tmp_path: Path) -> None:
    first, second, other = (
        finetune_files(*small_network, tmp_path, epochs=1, seed=seed, budget=AccuracyBudget(9.0))[0].candidates
        for seed in (1, 1, 2)
    )
    assert all(same(a, b) for a, b in zip(first, second, strict=True))
    assert not all(same(a, b) for a, b in zip(first, other, strict=False))


def test_training_without_labels_finds_a_smaller_network_than_an_epoch_with_labels(
    small_network: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Candidate] = []

    def train_without_labels(*given: object) -> tuple[Candidate, ...]:
        trained.extend(initialization.train_without_labels(*given))
        return tuple(trained)

    monkeypatch.setattr(finetuning, "train_without_labels", train_without_labels)
    monkeypatch.setattr(finetuning, "SURE", 0.0)
    monkeypatch.setattr(initialization, "TRAINABLE", 500)
    np.savez(tmp_path / "validation.npz", **make_examples(new=4000))
    found = finetune_files(*small_network, tmp_path, epochs=1, validation=str(tmp_path / "validation.npz"))[0]
    best, *others = found.candidates
    assert best is trained[0]
    assert best.bytes < min(one.bytes for one in others)
    assert found.validation.drop(best) <= 2.0
    assert found.validation.score(found.opened.model) == found.validation.scores


def test_dead_units_are_removed_from_the_file_without_a_change_of_the_outputs(
    small_network: tuple[Path, Path], brief: FinetuneResult, tmp_path: Path
) -> None:
    tuned = dict(next(weights_to_code(brief)))
    kernel = next(name for name, one in tuned.items() if one.values.shape == (48, 24))
    emptied = tuned[kernel].values.copy()
    emptied[:, :9] = emptied[40:] = 0
    tuned[kernel] = replace(tuned[kernel], values=emptied)
    target = tmp_path / "whole.wcz"
    whole = encode(small_network[0], target, Recipe(), tuned=tuned)
    before = load_model(target)
    kept = EncodeRequest(data=str(small_network[1]), compact=False)
    assert compact_trained(kept, small_network[0], target, Recipe(), brief, tuned, whole) is whole
    made = compact_trained(replace(kept, compact=None), small_network[0], target, Recipe(), brief, tuned, whole)
    after = load_model(target)
    assert after.layers[-1].get_weights()[0].shape[0] <= 15
    assert after.layers[0].get_weights()[0].shape[1] <= 40
    assert made.file_bytes == target.stat().st_size < whole.file_bytes
    assert made.error == whole.error
    assert f"a network of {after.count_params():,} parameters in place of {before.count_params():,}" in made.notes[-1]
    with open_container(target) as opened:
        assert opened.container.source_bytes == small_network[0].stat().st_size
    inputs = make_examples()["x"]
    np.testing.assert_allclose(after.predict(inputs, verbose=0), before.predict(inputs, verbose=0), atol=2e-5)


@pytest.mark.parametrize("is_fixed", [True, False])
def test_units_of_a_tensor_that_stays_as_it_is_are_not_removed(
    small_network: tuple[Path, Path], brief: FinetuneResult, tmp_path: Path, is_fixed: bool
) -> None:
    tuned = dict(next(weights_to_code(brief)))
    of_shape = {one.values.shape: name for name, one in tuned.items()}
    first, second = (
        of_shape[48, 24],
        next(name for shape, name in of_shape.items() if shape[0] == 24 and len(shape) == 2),
    )
    tuned[first] = replace(tuned[first], values=tuned[first].values * (np.arange(24) > 8).astype(np.float32))
    opened = brief.opened
    if is_fixed:
        tuned.pop(second)
        opened = replace(opened, table=replace(opened.table, exact=(second,)))
    target = tmp_path / "whole.wcz"
    whole = encode(small_network[0], target, Recipe(), tuned=tuned)
    asked = EncodeRequest(data=str(small_network[1]))
    made = compact_trained(asked, small_network[0], target, Recipe(), replace(brief, opened=opened), tuned, whole)
    shapes = [one.shape for one in load_model(target).get_weights()]
    assert ((24, 3) in shapes) == (made is whole) == is_fixed


def same(one: Candidate, other: Candidate) -> bool:
    pairs = zip(one.rounded, other.rounded, strict=True)
    return all(np.array_equal(a.levels, b.levels) and a.step == b.step for a, b in pairs)


def test_the_trained_file_has_the_requested_size(small_network: tuple[Path, Path], wcodec: Run, tmp_path: Path) -> None:
    source, data = small_network
    words = ["encode", source, "--data", data, "-o", tmp_path / "x.wcz", "--finetune", 4, "--target-size", 1500]
    done = wcodec(*words)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.wcz").stat().st_size <= 1500
    assert "epoch 4 of 4" in done.stderr
    assert os.listdir(tmp_path) == ["x.wcz"]
    loaded = evaluate(tmp_path / "x.wcz", str(data), source)
    assert loaded.accuracy_drop is not None
    assert loaded.accuracy_drop < 15


@pytest.mark.parametrize("words", [("--finetune", 3), ("--tune", 150)])
def test_excluded_tensors_keep_their_values_and_all_others_are_trained(
    words: tuple[str, int], small_network: tuple[Path, Path], wcodec: Run, tmp_path: Path
) -> None:
    source, data = small_network
    before = load_model(source)
    left = "|".join(f"{layer.name}$" for layer in (before.layers[1], before.layers[3]))
    budget = ["--exclude", left, "--max-drop", 2]
    done = wcodec("encode", source, "--data", data, "-o", tmp_path / "x.wcz", *budget, *words)
    assert done.returncode == 0, done.stderr
    after = load_model(tmp_path / "x.wcz")
    same = {
        one.path: np.array_equal(one.numpy(), other.numpy())
        for one, other in zip(before.weights, after.weights, strict=True)
    }
    assert all(kept for path, kept in same.items() if re.search(left, path.rpartition("/")[0]))
    assert not any(
        kept for path, kept in same.items() if path.endswith("kernel") and not re.search(left, path.rpartition("/")[0])
    )
    loaded = evaluate(tmp_path / "x.wcz", str(data), source)
    assert loaded.accuracy_drop is not None
    assert loaded.accuracy_drop < 4


def test_an_unreachable_budget_is_exit_code_4_and_leaves_no_file(
    small_network: tuple[Path, Path], wcodec: Run, tmp_path: Path
) -> None:
    source, data = small_network
    words = ["encode", source, "--data", data, "-o", tmp_path / "x.wcz", "--finetune", 1, "--target-size", 900]
    done = wcodec(*words, "--max-drop", 0)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()[-1]) < 200
    assert not os.listdir(tmp_path)


def test_lambda_rises_within_the_budget_and_falls_beyond_it(brief: FinetuneResult) -> None:
    validation = brief.validation
    accuracy = validation.scores[0].accuracy
    assert accuracy is not None
    nets = {lost: Candidate((), (), 1000, (OutputScore(accuracy - lost, 1.0),)) for lost in (-5.0, 1.0, 2.5, 50.0)}

    def after(
        lost: float, budget: AccuracyBudget = WITHIN, learning_rate_factor: float = 0.0, before: int = 1000
    ) -> float:
        return next_lambda(1e-5, nets[lost], validation, budget, learning_rate_factor, 10, before)

    prices = [after(lost) for lost in nets]
    assert prices == sorted(prices, reverse=True)
    assert prices[1] > 1e-5 > prices[2] > prices[3] >= 1e-5 / 4
    assert after(2.5, learning_rate_factor=1.0) > prices[2]
    # If the bytes fall fast, they will fall further. That does not slow the fall of a lambda that is too high.
    assert prices[1] > after(1.0, before=1500) > after(1.0, before=3000) == 1e-5
    assert after(2.5, before=3000) == prices[2]
    sizes = [after(50.0, AccuracyBudget(bytes=most)) for most in (2000, 1000, 500)]
    assert sizes[0] < 1e-5 < sizes[1] < sizes[2]


def test_the_learning_rate_falls_during_the_training() -> None:
    speeds = [learning_rate_factor(over / 20) for over in range(21)]
    assert speeds == sorted(speeds, reverse=True)
    assert speeds[0] == 1 > speeds[10] > speeds[20] > 0


def test_the_units_of_a_chain_are_sorted_if_that_is_smaller(tmp_path: Path) -> None:
    of = keras().layers
    keras().utils.set_random_seed(2)
    model = keras().Sequential([of.Input((12,)), of.Dense(90, "relu"), of.Dense(3)])
    train_network(model, make_examples(600), classes(), epochs=1).save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", **make_examples(600))
    found, _ = finetune_files(
        tmp_path / "model.keras", tmp_path / "data.npz", tmp_path, epochs=1, budget=AccuracyBudget(drop=5.0)
    )
    alive = np.random.default_rng(1).random(90) < 0.5
    first, bias, last, own = next(net.rounded for net in found.candidates if len(net.rounded) == 4)
    emptied = [
        replace(first, levels=first.levels * alive),
        replace(bias, levels=bias.levels * alive),
        replace(last, levels=last.levels * alive[:, None]),
        own,
    ]
    size = sum(estimate_bytes(one.levels) for one in emptied)
    net = replace(found.candidates[-1], rounded=tuple(emptied), others=(), bytes=size)
    assign_weights(found.opened.model, net)
    answers = np.asarray(found.opened.model(make_examples()["x"]))
    (coded,) = weights_to_code(
        replace(
            found,
            candidates=(net,),
            opened=replace(found.opened, request=replace(found.opened.request, budget=AccuracyBudget())),
        )
    )
    assert sum(estimate_bytes(np.rint(one.values / one.step).astype(np.int32)) for one in coded.values()) < size
    for index, names in found.opened.table.names.items():
        found.opened.model.weights[index].assign(coded[names[0]].values)
    assert np.allclose(np.asarray(found.opened.model(make_examples()["x"])), answers, atol=1e-4)


# --- errors ----------------------------------------------------------------------------------------------------------
def test_examples_without_labels_are_refused(small_network: tuple[Path, Path], tmp_path: Path) -> None:
    np.savez(tmp_path / "bare.npz", x=make_examples()["x"])
    with pytest.raises(RecipeError, match=r"expected labels \(y\) to train by"):
        finetune_files(small_network[0], tmp_path / "bare.npz", tmp_path)


def test_few_examples_and_no_epochs_are_refused(small_network: tuple[Path, Path], tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", **make_examples(30))
    with pytest.raises(RecipeError, match="expected 50 examples or more, got 30"):
        finetune_files(small_network[0], tmp_path / "few.npz", tmp_path)
    with pytest.raises(RecipeError, match="--finetune: expected 1 epoch or more, got 0"):
        finetune_files(*small_network, tmp_path, epochs=0)


def test_a_training_without_a_network_within_the_budget_is_an_error(
    small_network: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(BudgetError, match="expected a drop of at most -50 points, found no such network"):
        finetune_files(*small_network, tmp_path, epochs=1, budget=AccuracyBudget(drop=-50.0))
    assert not (tmp_path / "state").exists()


def test_contradicting_options_are_usage_errors(small_network: tuple[Path, Path], wcodec: Run, tmp_path: Path) -> None:
    source, data = small_network
    for words, message in (
        (["--tune", 3], "--tune: cannot be combined"),
        (["--max-error", 0.1], "--finetune: expected"),
    ):
        done = wcodec("encode", source, "--data", data, "-o", tmp_path / "x.wcz", "--finetune", 2, *words)
        assert done.returncode == 2, words
        assert message in done.stderr
    done = wcodec("encode", source, "--data", data, "-o", tmp_path / "x.wcz", "--finetune", 2, "--exclude", "nothing")
    assert done.returncode == 2
    assert "nothing" in done.stderr
    assert "epoch" not in done.stderr
    done = wcodec("encode", source, "-o", tmp_path / "x.wcz", "--finetune", 2)
    assert done.returncode == 2
    assert "expected --data D with it" in done.stderr


# --- parts -----------------------------------------------------------------------------------------------------------
def test_mantissas_are_rounded_to_the_nearest() -> None:
    given = np.array([1.0, 1.06, 1.07, -3.3, 0.0], np.float32)
    assert round_mantissa(given, 3).tolist() == [1.0, 1.0, 1.125, -3.25, 0.0]
