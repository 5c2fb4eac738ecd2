"""Methods of the literature: each does on a small problem what its paper claims, and the file has its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import Run

from tests.small_problem import classes, train_network
from tests.small_problem import make_examples as examples_of_three
from wcodec.calibration.request import LearningRequest
from wcodec.codec.magnitude_pruning import prune_weights
from wcodec.codec.plan import Prune
from wcodec.errors import BudgetError, RecipeError
from wcodec.evaluation.keras_backend import keras
from wcodec.model import FloatWeights, TunedTensor
from wcodec.pipeline.decoder import open_container
from wcodec.pipeline.encoder import encode
from wcodec.planning.parsing import parse_recipe
from wcodec.planning.recipe import Options, Recipe, Rule
from wcodec.training.finetune import measure_file
from wcodec.training.lambda_control import AccuracyBudget
from wcodec.training.methods.registry import METHODS, Amounts, MethodOptions, parse_methods
from wcodec.training.methods.train import MethodResult, train_by
from wcodec.training.methods.trainer import assign_tuned

if TYPE_CHECKING:
    from keras import Model

MOST = Prune("sparsity", 0.6)


def small() -> Model:
    keras().utils.set_random_seed(4)
    of = keras().layers
    layers = [of.Dense(40, "relu"), of.BatchNormalization(), of.Dense(20, "relu"), of.Dense(3)]
    return keras().Sequential([of.Input((12,)), *layers])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network with BatchNormalization, trained on its examples, and these examples."""
    folder = tmp_path_factory.mktemp("methods")
    given = examples_of_three(1500)
    train_network(small(), given, classes(), epochs=6).save(folder / "model.keras")
    np.savez(folder / "data.npz", **given)
    return folder / "model.keras", folder / "data.npz"


@pytest.fixture(scope="module")
def few_files(files: tuple[Path, Path]) -> tuple[Path, Path]:
    """The network with 250 of its examples, for tests that do not measure accuracy."""
    source, data = files
    with np.load(data) as given:
        np.savez(data.with_name("few_files.npz"), **{name: given[name][:250] for name in given.files})
    return source, data.with_name("few_files.npz")


def train_small(
    files: tuple[Path, Path],
    methods: str,
    amounts: Amounts,
    epochs: int = 6,
    *,
    rules: tuple[Rule, ...] = (),
    exclude: tuple[str, ...] = (),
    options: MethodOptions | None = None,
    **more: object,
) -> MethodResult:
    source, data = files
    asked = LearningRequest(**({"data": str(data), "epochs": epochs, "budget": AccuracyBudget()} | more))
    recipe = Recipe(
        Options(
            prune=amounts.prune,
            bits=None if amounts.clusters else amounts.bits,
            clusters=amounts.clusters,
            per_channel=amounts.per_channel,
            quantizer=amounts.how if amounts.how == "asymmetric" else None,
        ),
        rules,
        exclude=exclude,
    )
    options = options or MethodOptions(all_layers="binary" in methods)
    return train_by(source, asked, methods, recipe, lambda _: None, options)


def measure_accuracy(found: MethodResult, tuned: Mapping[int, TunedTensor] | None = None) -> float:
    """The accuracy in percent, with the weights `tuned` instead of those of the network."""
    model = found.bench.opened.model
    before = model.get_weights()
    names = {name: index for index, all_names in found.bench.opened.table.names.items() for name in all_names}
    assign_tuned(model, tuned or {names[name]: one for name, one in found.tuned.items()})
    percent = found.bench.validation.score(model)[0].accuracy
    model.set_weights(before)
    assert percent is not None
    return percent


def kernels(found: MethodResult) -> list[np.ndarray]:
    return [one.values for one in found.tuned.values() if one.values.ndim > 1]


# --- each method -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", [name for name in METHODS if name != "hashed"])  # hashed has test_hashed.py
def test_every_method_keeps_the_accuracy_and_the_file_has_the_trained_weights(
    files: tuple[Path, Path], tmp_path: Path, method: str
) -> None:
    pruning = method in {"magnitude", "gradual", "gradual-linear"}
    options = MethodOptions(initial_sparsity=0.5) if "gradual" in method else None
    amounts = Amounts(MOST if pruning else None, 3, 5 if method == "points" else None)
    found = train_small(files, method, amounts, options=options)
    original = found.bench.validation.scores[0].accuracy
    assert original is not None
    lost = original - measure_accuracy(found)
    one_shot = {i: prune_weights(w, MOST) for i, w in enumerate(found.bench.opened.model.get_weights()) if w.ndim > 1}
    lost_in_one_shot = original - measure_accuracy(found, {i: FloatWeights(w) for i, w in one_shot.items()})
    assert lost <= (0.6 * lost_in_one_shot if pruning else 8 if method in {"binary", "points"} else 5)
    for kernel in kernels(found):
        if pruning:
            assert np.count_nonzero(kernel == 0) == int(0.6 * kernel.size + 0.5)
        elif method == "binary":
            assert max(len(np.unique(np.abs(column))) for column in kernel.T) == 1
        else:
            assert len(np.unique(kernel)) <= (5 if method == "points" else 8)
    words = {"step": 1e-3, "sparsity": 0.6} if pruning else {}
    encode(files[0], tmp_path / "x.wcz", parse_recipe(words), tuned=found.tuned)
    with open_container(tmp_path / "x.wcz") as opened:
        for name, one in found.tuned.items():
            if pruning and one.values.ndim > 1:
                assert np.array_equal(opened[name] == 0, one.values == 0)
            else:
                assert np.array_equal(opened[name], one.values), name
    assert measure_file(found.bench, tmp_path / "x.wcz").accuracy == pytest.approx(measure_accuracy(found), abs=0.7)


def test_more_epochs_restore_accuracy_after_pruning_and_sharing(files: tuple[Path, Path]) -> None:
    for methods, amounts in (("gradual", Amounts(Prune("sparsity", 0.8))), ("sharing", Amounts(clusters=3))):
        trained = [train_small(files, methods, amounts, epochs=epochs) for epochs in (1, 5)]
        assert measure_accuracy(trained[1]) > measure_accuracy(trained[0])


def test_a_second_method_keeps_the_zeros_of_the_first(few_files: tuple[Path, Path]) -> None:
    for second in ("sharing", "quantized", "binary", "points"):
        found = train_small(few_files, f"gradual,{second}", Amounts(MOST, bits=3), epochs=2)
        for kernel in kernels(found):
            assert np.count_nonzero(kernel == 0) >= int(0.6 * kernel.size + 0.5)
            assert len(np.unique(kernel)) <= (2 * kernel.shape[1] + 1 if second == "binary" else 8)


@pytest.mark.parametrize("method", ["quantized", "points"])
def test_the_file_has_the_trained_values_of_buckets(few_files: tuple[Path, Path], tmp_path: Path, method: str) -> None:
    options = MethodOptions(bucket=8, learn_range=method == "quantized")
    found = train_small(few_files, f"gradual,{method}", Amounts(MOST, 2), epochs=2, options=options)
    encode(few_files[0], tmp_path / "x.wcz", parse_recipe({}), tuned=found.tuned)
    with open_container(tmp_path / "x.wcz") as opened:
        assert all(np.array_equal(opened[name], one.values) for name, one in found.tuned.items())
    for kernel in kernels(found):
        assert np.count_nonzero(kernel == 0) >= int(0.6 * kernel.size + 0.5)


def test_a_seed_determines_the_weights_of_a_method_and_the_original_is_restored(few_files: tuple[Path, Path]) -> None:
    first, second, other = (train_small(few_files, "quantized", Amounts(), epochs=1, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one.values, second.tuned[name].values) for name, one in first.tuned.items())
    assert not all(np.array_equal(one.values, other.tuned[name].values) for name, one in first.tuned.items())
    loaded = keras().models.load_model(few_files[0], compile=False)
    assert all(
        np.array_equal(a, b) for a, b in zip(loaded.get_weights(), first.bench.opened.model.get_weights(), strict=True)
    )


@pytest.mark.parametrize("method", ["gradual,sharing", "binary"])
def test_methods_train_convolutions_and_recurrent_layers(tmp_path: Path, method: str) -> None:
    keras().utils.set_random_seed(5)
    of = keras().layers
    inputs = of.Input((8, 8, 2))
    x = of.BatchNormalization()(of.Conv2D(6, 3, padding="same")(inputs))
    x = of.DepthwiseConv2D(3)(x)
    outputs = of.Dense(2)(of.GRU(5)(of.Reshape((6, 36))(x)))
    keras().Model(inputs, outputs).save(tmp_path / "m.keras")
    rng = np.random.default_rng(6)
    np.savez(tmp_path / "d.npz", x=rng.normal(size=(80, 8, 8, 2)).astype(np.float32), y=rng.integers(0, 2, 80))
    found = train_small((tmp_path / "m.keras", tmp_path / "d.npz"), method, Amounts(MOST, bits=2), epochs=2)
    encode(tmp_path / "m.keras", tmp_path / "x.wcz", parse_recipe({}), tuned=found.tuned)
    with open_container(tmp_path / "x.wcz") as opened:
        assert all(np.array_equal(opened[name], one.values) for name, one in found.tuned.items())
        assert len(found.tuned) == len(opened.names()) - 1 * any("seed" in name for name in opened.names())


def test_rules_set_the_sparsity_of_tensors_and_exclude_others(few_files: tuple[Path, Path], tmp_path: Path) -> None:
    rules = (Rule("^dense_1", Options(prune=Prune("sparsity", 0.2))),)
    found = train_small(few_files, "gradual", Amounts(MOST), epochs=1, rules=rules, exclude=("dense_2", "batch"))
    sparsities = [float(np.mean(kernel == 0)) for kernel in kernels(found)]
    assert sparsities == [pytest.approx(0.6, abs=0.01), pytest.approx(0.2, abs=0.01)]
    assert len(found.tuned) == 4
    with pytest.raises(RecipeError, match="sparsity"):
        train_small(few_files, "gradual", Amounts(), epochs=1)


# --- options ---------------------------------------------------------------------------------------------------------
def test_amounts_that_a_method_cannot_reach_are_refused(few_files: tuple[Path, Path]) -> None:
    for methods, amounts, epochs in (
        ("gradual", Amounts(), 2), ("magnitude", Amounts(), 2), ("gradual", Amounts(Prune("absolute", 0.1)), 2),
        ("gradul", Amounts(MOST), 2), ("gradual,sharing", Amounts(MOST), 1), ("binary", Amounts(), 0),
        *((one, Amounts(bits=1), 2) for one in ("sharing", "sharing-mean", "points", "quantized")),
    ):  # fmt: skip
        with pytest.raises(RecipeError):
            train_small(few_files, methods, amounts, epochs)
    assert parse_methods("gradual, sharing") == ("gradual", "sharing")
    with pytest.raises(RecipeError, match="--bucket: expected up to 40 weights, as many as an output of a kernel has"):
        train_small(few_files, "quantized", Amounts(bits=2), 1, options=MethodOptions(bucket=64))


def test_a_file_outside_the_budget_is_an_error(few_files: tuple[Path, Path], tmp_path: Path) -> None:
    found = train_small(few_files, "binary", Amounts(), epochs=1, budget=AccuracyBudget(-50.0))
    encode(few_files[0], tmp_path / "x.wcz", parse_recipe({}), tuned=found.tuned)
    with pytest.raises(BudgetError, match="a drop of at most -50"):
        measure_file(found.bench, tmp_path / "x.wcz")


def test_the_command_line_trains_by_a_method(wcodec: Run, few_files: tuple[Path, Path], tmp_path: Path) -> None:
    source, data = few_files
    words = ["encode", source, "-o", tmp_path / "x.wcz", "--data", data, "--method"]
    done = wcodec(*words, "gradual,quantized", "--finetune", "2", "--sparsity", "0.7", "--bits", "3")
    assert done.returncode == 0, done.stderr
    assert "epoch 2 of 2, quantized" in done.stderr
    assert "held-out examples" in done.stderr
    for more in (["gradual"], ["nobody", "--finetune", "2"], ["binary", "--finetune", "2", "--tune", "3"]):
        done = wcodec(*words, *more, "-f")
        assert (done.returncode, "--method" in done.stderr) == (2, True), done.stderr
