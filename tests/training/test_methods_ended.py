"""A training by methods that is killed, interrupted or out of time is resumed; it uses moved copies of images."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run
from tests.small_problem import classes, make_request, train_network
from wcodec.calibration import pace
from wcodec.codec.plan import Prune
from wcodec.errors import RecipeError
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.keras_backend import keras
from wcodec.evaluation.moved_images import augment_images
from wcodec.planning.recipe import Options, Recipe
from wcodec.training.methods.registry import MethodOptions
from wcodec.training.methods.train import MethodResult, train_by

RECIPE = Recipe(Options(prune=Prune("sparsity", 0.6), bits=3))
EVERY = "gradual,sharing,points,quantized,binary"


def interrupt() -> None:
    raise KeyboardInterrupt


def train_until(
    small_network: tuple[Path, Path],
    state: Path,
    methods: str,
    *,
    then: Callable[[], object] | None = None,
    at: int = 0,
    **more: object,
) -> tuple[MethodResult, list[str]]:
    lines: list[str] = []

    def log(line: str) -> None:
        lines.append(line)
        if then and line.startswith(f"epoch {at} "):
            then()

    request = make_request(small_network[1], state, **({"epochs": 5} | more))
    options = MethodOptions(learn_range="quantized" in methods)
    return train_by(small_network[0], request, methods, RECIPE, log, options), lines


def test_a_resumed_training_by_methods_finds_what_an_uninterrupted_one_finds(
    small_network: tuple[Path, Path], tmp_path: Path
) -> None:
    methods, at, whole_state = EVERY, 3, tmp_path / "whole"
    # A kill after this epoch leaves this state: its file is replaced after each epoch, and there is no other.
    copy = partial(shutil.copy, whole_state, tmp_path / "state")
    whole = train_until(small_network, whole_state, methods, then=copy, at=at)[0].tuned
    found, lines = train_until(small_network, tmp_path / "state", methods, resume=True)
    assert f"epoch {at} of 5" not in " ".join(lines)
    assert whole.keys() == found.tuned.keys()
    assert all(np.array_equal(one.values, found.tuned[name].values) for name, one in whole.items())
    with pytest.raises(RecipeError, match="--resume: expected methods"):
        train_until(small_network, tmp_path / "state", "gradual", resume=True)


def test_an_interrupted_training_by_methods_returns_its_current_weights(
    small_network: tuple[Path, Path], tmp_path: Path
) -> None:
    found, lines = train_until(small_network, tmp_path / "state", "gradual,sharing", then=interrupt, at=2)
    assert not found.finished
    assert len([line for line in lines if line.startswith("epoch")]) == 2
    kernels = [one.values for one in found.tuned.values() if one.values.ndim > 1]
    assert all((kernel == 0).mean() > 0.55 and len(np.unique(kernel)) <= 8 for kernel in kernels)


def test_without_time_for_a_step_the_methods_convert_the_weights_by_the_requested_amounts(
    small_network: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "COMPILING", 1e12)
    found, lines = train_until(small_network, tmp_path / "state", "gradual,sharing", seconds=1e5)
    assert not found.finished
    assert "not trained: a step of training cannot be compiled within the time limit" in lines
    kernels = [one.values for one in found.tuned.values() if one.values.ndim > 1]
    assert all((kernel == 0).mean() > 0.55 and len(np.unique(kernel)) <= 8 for kernel in kernels)


def test_a_time_limit_gives_each_method_as_many_epochs_as_fit(
    small_network: tuple[Path, Path], wcodec: Run, tmp_path: Path
) -> None:
    words = [
        "encode",
        small_network[0],
        "--data",
        small_network[1],
        "-o",
        tmp_path / "x.wcz",
        "--method",
        "gradual,quantized",
    ]
    done = wcodec(*words, "--sparsity", 0.5, "--bits", 4, "--finetune", 100_000, "--time-limit", "1s")
    assert done.returncode == 0, done.stderr
    assert "quantized: loss" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.wcz"]


def test_an_epoch_ends_at_the_time_limit_with_the_requested_amounts(
    small_network: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wcodec.training.methods.trainer.GRACE", 0.0)
    found, lines = train_until(small_network, tmp_path / "state", "gradual", seconds=0.0)
    assert not found.finished
    assert not [line for line in lines if line.startswith("epoch")]
    kernels = [one.values for one in found.tuned.values() if one.values.ndim > 1]
    assert all(np.count_nonzero(kernel == 0) == int(0.6 * kernel.size + 0.5) for kernel in kernels)


# --- moved images ----------------------------------------------------------------------------------------------------
IMAGES = np.random.default_rng(0).uniform(size=(60, 10, 12)).astype(np.float32)


def test_augmented_images_are_shifted_by_up_to_a_pixel_or_warped() -> None:
    smooth = np.cumsum(IMAGES, axis=2) / 12
    examples, versions = augment_images(Examples((smooth,), (np.arange(60),)), seed=3)
    parts = examples.inputs[0].reshape(versions, 60, 10, 12)
    assert np.array_equal(parts[0], smooth)
    assert np.array_equal(examples.labels[0], np.tile(np.arange(60), versions))
    places = [(a, b) for a in (0, 1, 2) for b in (0, 1, 2)]
    inner = smooth[:, 1:-1, 1:-1]
    for before, after in zip(inner, parts[1][:, 1:-1, 1:-1], strict=True):
        assert before.shape == after.shape
    padded = np.pad(smooth, ((0, 0), (1, 1), (1, 1)), "edge")
    known = [padded[:, a : a + 10, b : b + 12] for a, b in places]
    assert all(any(np.array_equal(one[k], parts[1][k]) for one in known) for k in range(60))
    assert 0 < np.abs(parts[2] - smooth).mean() < 0.1
    with pytest.raises(RecipeError, match="--augment images: expected one input of images"):
        augment_images(Examples((IMAGES.reshape(60, -1),)), seed=0)


def test_every_training_can_use_augmented_images(wcodec: Run, tmp_path: Path) -> None:
    of = keras().layers
    given = {"x": np.tile(IMAGES, (4, 1, 1)), "y": np.tile(np.arange(60) % 3, 4)}
    model = keras().Sequential([of.Input((10, 12)), of.Flatten(), of.Dense(8, "relu"), of.Dense(3)])
    train_network(model, given, classes(), epochs=2).save(tmp_path / "m.keras")
    np.savez(tmp_path / "d.npz", **given)
    words = [tmp_path / "m.keras", "--data", tmp_path / "d.npz", "--augment", "images"]
    ways = [["--finetune", 1, "--max-drop", 90], ["--finetune", 1, "--method", "quantized", "--bits", 4]]
    for way in ways:
        plain, moved = (
            wcodec("encode", *(words if more else words[:3]), *way, "-f", "-o", tmp_path / f"{more}.wcz")
            for more in (0, 1)
        )
        assert (plain.returncode, moved.returncode) == (0, 0), plain.stderr + moved.stderr
        losses = [[line for line in one.stderr.splitlines() if "loss in training" in line] for one in (plain, moved)]
        assert losses[0] != losses[1]
    slim = wcodec("slim", *words, "--width", 0.5, "--finetune", 2, "-o", tmp_path / "s.keras")
    assert slim.returncode == 0, slim.stderr
    codebooks = ["--quantizer", "product", "--clusters", 8, "--tune", 20, "--max-drop", 90, "-o", tmp_path / "c.wcz"]
    done = wcodec("encode", *words, *codebooks)
    assert done.returncode == 0, done.stderr
    for way in (["--tune", 0], ["--search", 3], ["--bits", "auto:4"]):
        done = wcodec("encode", *words, *way)
        assert (done.returncode, "--augment: expected training" in done.stderr) == (2, True), done.stderr
