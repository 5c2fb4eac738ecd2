"""The preset deep-compression with data: rounds of pruning with retraining, then values trained by summed gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Run

import wcodec as package
from tests.small_problem import classes, train_network
from tests.small_problem import make_examples as examples_of_three
from wcodec.errors import RecipeError
from wcodec.evaluation.keras_backend import keras
from wcodec.reporting.stages import stages_of
from wcodec.training.methods.registry import _divide_epochs


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("preset")
    keras().utils.set_random_seed(4)
    of = keras().layers
    model = keras().Sequential([of.Input((12,)), of.Dense(60, "relu"), of.Dense(40, "relu"), of.Dense(3)])
    given = examples_of_three(1500)
    train_network(model, given, classes(), epochs=6).save(folder / "model.keras")
    np.savez(folder / "data.npz", **given)
    return folder / "model.keras", folder / "data.npz"


def test_kernels_are_pruned_and_share_31_values_and_vectors_have_their_trained_values(
    files: tuple[Path, Path], tmp_path: Path, wcodec: Run
) -> None:
    source, data = files
    target = tmp_path / "x.wcz"
    done = wcodec(
        "encode", source, "-o", target, "--preset", "deep-compression", "--data", data, "--finetune", 4, "-T", 1,
        "--no-compact",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for text in ("epoch 3 of 4, magnitude", "epoch 4 of 4, sharing", "held-out examples", "bytes after each stage"):
        assert text in done.stderr
    assert "without retraining" not in done.stderr
    before, after = keras().models.load_model(source, compile=False).get_weights(), package.open(target)
    for old, name in zip(before, after, strict=False):
        new = after[name]
        if old.ndim == 2:
            assert len(np.unique(new[new != 0])) <= 31
            assert np.mean(new == 0) > 0.8
        else:
            assert not np.array_equal(old, new)
    total = stages_of(target)[-1]
    assert total.raw > 3 * total.coded


def test_the_preset_uses_the_options_of_training_and_data_require_epochs(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    source, data = files
    words = {"preset": "deep-compression", "data": str(data)}
    package.encode(source, tmp_path / "x.wcz", finetune=2, sparsity=0.5, bits=2, compact=False, **words)
    kernels = [values for values in package.open(tmp_path / "x.wcz").values() if values.ndim == 2]
    assert [np.mean(kernel == 0) for kernel in kernels] == pytest.approx([0.5] * 3, abs=0.02)
    assert all(len(np.unique(kernel[kernel != 0])) <= 3 for kernel in kernels)
    with pytest.raises(RecipeError, match="finetune EPOCHS"):
        package.encode(source, tmp_path / "y.wcz", **words)


@pytest.mark.parametrize(
    "methods", [("magnitude", "sharing"), ("sharing", "magnitude"), ("gradual", "points", "sharing")]
)
def test_every_method_has_an_epoch_and_pruning_by_rounds_has_the_most(methods: tuple[str, ...]) -> None:
    for epochs in range(len(methods), 12):
        parts = _divide_epochs(epochs, methods)
        assert [first for first, _ in parts] == [0, *(last for _, last in parts[:-1])]
        assert parts[-1][1] == epochs
        assert all(first < last for first, last in parts)
    assert _divide_epochs(20, ("magnitude", "sharing")) == [(0, 15), (15, 20)]
    assert _divide_epochs(12, ("gradual", "quantized")) == [(0, 6), (6, 12)]
