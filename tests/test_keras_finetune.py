"""Training with labels: smaller within the budget, for every kind of network, and the same on every run."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.conftest import Run, command
from wcodec.errors import BudgetError, ModelFileError, RecipeError
from wcodec.learning import checkpoint
from wcodec.learning.backend import keras
from wcodec.learning.evaluate import evaluate
from wcodec.learning.finetune import Budget, stages
from wcodec.learning.finetuning import Finetuned, Lessons, facts_of, train
from wcodec.learning.net import Net, put, shortened, worth

if TYPE_CHECKING:
    from keras import Model


def points(count: int = 1200) -> dict[str, np.ndarray]:
    """Three classes that lines divide, some of them told wrongly."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(count, 12)).astype(np.float32)
    return {"x": x, "y": (x @ rng.normal(size=(12, 3))).argmax(axis=1)}


def taught(model: Model, given: dict[str, np.ndarray], loss: object, epochs: int = 8) -> Model:
    model.compile(keras().optimizers.Adam(5e-3), loss, jit_compile=False)
    model.fit(given["x"], given["y"], epochs=epochs, verbose=0)
    bare = keras().models.clone_model(model)
    bare.set_weights(model.get_weights())
    return bare


def classes() -> object:
    return keras().losses.SparseCategoricalCrossentropy(from_logits=True)


def dense(of: ModuleType) -> Model:
    keras().utils.set_random_seed(2)
    layers = [of.Dense(48, "relu"), of.BatchNormalization(), of.Dropout(0.2), of.Dense(24, "relu"), of.Dense(3)]
    return keras().Sequential([of.Input((12,)), *layers])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network with BatchNormalization that is good at its examples, and these."""
    folder = tmp_path_factory.mktemp("finetune")
    given = points()
    taught(dense(keras().layers), given, classes()).save(folder / "model.keras")
    np.savez(folder / "data.npz", **given)
    return folder / "model.keras", folder / "data.npz"


WITHIN = Budget(drop=2.0)


def asked(data: Path, state: Path, epochs: int = 6, budget: Budget = WITHIN, **more: object) -> Lessons:
    return Lessons(**({"data": str(data), "epochs": epochs, "budget": budget, "state": state} | more))


def trained(source: Path, data: Path, folder: Path, **more: object) -> tuple[Finetuned, list[str]]:
    told: list[str] = []
    return train(source, asked(data, folder / "state", **more), told.append), told


# --- what is promised ----------------------------------------------------------------------------------------------
def test_the_file_gets_smaller_within_the_budget_and_the_network_is_as_it_was(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    found, told = trained(*files, tmp_path)
    best = found.nets[0]
    assert best.bytes < found.nets[-1].bytes
    assert found.exam.drop(best) <= 2.0
    assert len([line for line in told if line.startswith("epoch")]) == 6
    assert worth(found.model, found.held_out, found.exam.truth)[0] == found.exam.accuracy
    put(found.model, best)
    assert worth(found.model, found.held_out, found.exam.truth) == (best.accuracy, best.loss)


def test_the_same_seed_gives_the_same_network_and_another_one_another(files: tuple[Path, Path], tmp_path: Path) -> None:
    first, second, other = (trained(*files, tmp_path, epochs=2, seed=seed)[0].nets for seed in (1, 1, 2))
    assert all(same(a, b) for a, b in zip(first, second, strict=True))
    assert not all(same(a, b) for a, b in zip(first, other, strict=False))


def same(one: Net, other: Net) -> bool:
    pairs = zip(one.rounded, other.rounded, strict=True)
    return all(np.array_equal(a.levels, b.levels) and a.step == b.step for a, b in pairs)


def test_a_size_is_kept_to(files: tuple[Path, Path], wcodec: Run, tmp_path: Path) -> None:
    source, data = files
    words = ["encode", source, "--data", data, "-o", tmp_path / "x.wcz", "--finetune", 4, "--target-size", 1500]
    done = wcodec(*words)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.wcz").stat().st_size <= 1500
    assert "epoch 4 of 4" in done.stderr
    assert os.listdir(tmp_path) == ["x.wcz"]
    loaded = evaluate(tmp_path / "x.wcz", str(data), source)
    assert loaded.accuracy_drop is not None
    assert loaded.accuracy_drop < 15


def test_a_budget_that_cannot_be_met_is_exit_code_4_and_nothing_stays(
    files: tuple[Path, Path], wcodec: Run, tmp_path: Path
) -> None:
    source, data = files
    words = ["encode", source, "--data", data, "-o", tmp_path / "x.wcz", "--finetune", 1, "--target-size", 900]
    done = wcodec(*words, "--max-drop", 0)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()[-1]) < 200
    assert not os.listdir(tmp_path)


def test_stages_take_all_epochs_and_the_last_is_the_longest() -> None:
    for total in range(1, 100):
        lengths = stages(total)
        assert sum(lengths) == total
        assert lengths[-1] == max(lengths)
        assert min(lengths) > 0


# --- a training that is ended --------------------------------------------------------------------------------------
def test_a_killed_training_goes_on_as_if_nothing_had_happened(
    files: tuple[Path, Path], wcodec: Run, tmp_path: Path
) -> None:
    source, data = files
    words = ["encode", source, "--data", data, "--finetune", 6, "--max-drop", 2]
    whole = wcodec(*words, "-o", tmp_path / "whole.wcz")
    assert whole.returncode == 0, whole.stderr
    told = [str(word) for word in (*command(), *words, "-o", tmp_path / "x.wcz")]
    process = subprocess.Popen(told, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 3"):
            break
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    process.stderr.close()
    assert not (tmp_path / "x.wcz").exists()
    wrong = wcodec(*words[:-1], 3, "-o", tmp_path / "x.wcz", "--resume")
    assert wrong.returncode == 2
    assert "max drop 2" in wrong.stderr
    done = wcodec(*words, "-o", tmp_path / "x.wcz", "--resume")
    assert done.returncode == 0, done.stderr
    assert "resumed after epoch" in done.stderr
    assert "epoch 6 of 6" in done.stderr
    assert "epoch 2 of 6" not in done.stderr
    assert (tmp_path / "x.wcz").read_bytes() == (tmp_path / "whole.wcz").read_bytes()
    assert not list(tmp_path.glob(".*training"))


def test_an_interrupt_keeps_the_best_so_far(files: tuple[Path, Path], tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        if line.startswith("epoch 3"):
            raise KeyboardInterrupt

    found = train(files[0], asked(files[1], tmp_path / "state"), interrupt)
    assert found.nets
    assert not found.finished
    assert (tmp_path / "state").exists()


def test_the_state_of_a_training_that_is_damaged_is_one_clear_error(files: tuple[Path, Path], tmp_path: Path) -> None:
    found, _ = trained(*files, tmp_path, epochs=1)
    state = tmp_path / "state"
    whole, facts = state.read_bytes(), checkpoint_facts(files[0], found)
    assert checkpoint.read(state, facts) is not None
    for part in (whole[:100], whole[: len(whole) // 2], b"", b"PK\x03\x04" + whole[40:]):
        state.write_bytes(part)
        with pytest.raises(ModelFileError, match="expected the state of a training"):
            checkpoint.read(state, facts)


def checkpoint_facts(source: Path, found: Finetuned) -> checkpoint.Facts:
    return facts_of(source, found.lessons)


# --- kinds of networks ---------------------------------------------------------------------------------------------
def rows(of: ModuleType) -> Model:
    return keras().Sequential([of.Input((6, 4)), of.Bidirectional(of.LSTM(8)), of.Dense(3, "softmax")])


def words(of: ModuleType) -> Model:
    return keras().Sequential([of.Input((5,), dtype="int32"), of.Embedding(20, 8), of.GRU(6), of.Dense(3)])


def attention(of: ModuleType) -> Model:
    given = of.Input((6, 4))
    x = of.LayerNormalization()(of.Dense(8)(given))
    x = of.Add()([x, of.MultiHeadAttention(2, 4)(x, x)])
    return keras().Model(given, of.Dense(3)(of.GlobalAveragePooling1D()(x)))


def nested(of: ModuleType) -> Model:
    inner = keras().Sequential([of.Input((6, 4)), of.Conv1D(6, 3), of.BatchNormalization(), of.ReLU(), of.Flatten()])
    given = of.Input((6, 4))
    return keras().Model(given, of.Dense(3)(inner(given)))


def yes_or_no(of: ModuleType) -> Model:
    return keras().Sequential([of.Input((6, 4)), of.Flatten(), of.Dense(9, "relu"), of.Dense(1, "sigmoid")])


def values(of: ModuleType) -> Model:
    return keras().Sequential([of.Input((6, 4)), of.Flatten(), of.Dense(9, "relu"), of.Dense(2)])


RNG = np.random.default_rng(6)
SEQUENCES = RNG.normal(size=(300, 6, 4)).astype(np.float32)
KINDS: dict[str, tuple[Callable[[ModuleType], Model], np.ndarray, np.ndarray]] = {
    "lstm": (rows, SEQUENCES, RNG.integers(0, 3, 300)),
    "words": (words, RNG.integers(0, 20, (300, 5)), np.eye(3)[RNG.integers(0, 3, 300)]),
    "attention": (attention, SEQUENCES, RNG.integers(0, 3, (300, 1))),
    "nested": (nested, SEQUENCES, RNG.integers(0, 3, 300)),
    "yes or no": (yes_or_no, SEQUENCES, RNG.integers(0, 2, 300)),
    "values": (values, SEQUENCES, RNG.normal(size=(300, 2))),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_kind_of_network_is_trained(
    kind: tuple[Callable[[ModuleType], Model], np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    build, x, y = kind
    model = build(keras().layers)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    found, told = trained(tmp_path / "model.keras", tmp_path / "data.npz", tmp_path, epochs=3, budget=Budget(drop=50.0))
    assert len(told) == 3
    best = found.nets[0]
    assert {one.index for one in best.rounded} >= {i for i, w in enumerate(model.weights) if w.trainable}
    assert best.bytes < found.nets[-1].bytes


# --- what is refused -----------------------------------------------------------------------------------------------
def test_examples_without_labels_are_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    np.savez(tmp_path / "bare.npz", x=points()["x"])
    with pytest.raises(RecipeError, match=r"expected labels \(y\) to train by"):
        trained(files[0], tmp_path / "bare.npz", tmp_path)


def test_few_examples_and_no_epochs_are_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", **points(30))
    with pytest.raises(RecipeError, match="expected 50 examples or more, got 30"):
        trained(files[0], tmp_path / "few.npz", tmp_path)
    with pytest.raises(RecipeError, match="--finetune: expected 1 epoch or more, got 0"):
        trained(*files, tmp_path, epochs=0)


def test_nothing_within_the_budget_is_said(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="expected a drop of at most -50 points, found no such network"):
        trained(*files, tmp_path, epochs=1, budget=Budget(drop=-50.0))
    assert not (tmp_path / "state").exists()


def test_contradictions_are_usage_errors(files: tuple[Path, Path], wcodec: Run, tmp_path: Path) -> None:
    source, data = files
    for words in (["--tune", 3], ["--max-error", 0.1], ["--time-limit", "3m"]):
        done = wcodec("encode", source, "--data", data, "-o", tmp_path / "x.wcz", "--finetune", 2, *words)
        assert done.returncode == 2, words
        assert "--finetune: expected" in done.stderr
    done = wcodec("encode", source, "-o", tmp_path / "x.wcz", "--finetune", 2)
    assert done.returncode == 2
    assert "expected --data D with it" in done.stderr


# --- small things --------------------------------------------------------------------------------------------------
def test_numbers_are_shortened_to_the_nearest() -> None:
    given = np.array([1.0, 1.06, 1.07, -3.3, 0.0], np.float32)
    assert shortened(given, 3).tolist() == [1.0, 1.0, 1.125, -3.25, 0.0]


def test_a_drop_of_values_is_in_hundredths_of_their_variance(files: tuple[Path, Path], tmp_path: Path) -> None:
    exam = replace(trained(*files, tmp_path, epochs=1)[0].exam, accuracy=None, loss=1.0, variance=4.0)
    assert exam.drop(Net((), (), 0, None, 1.2)) == pytest.approx(5.0)
