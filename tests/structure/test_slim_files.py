"""Trainings that are interrupted go on, and what is slimmed is written as it was asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.structure.small_chain import INPUTS, Slim, chain, slim_command  # noqa: F401 - a fixture
from wcodec.cli import main
from wcodec.errors import ModelFileError, RecipeError
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.keras_backend import keras
from wcodec.evaluation.model_loader import load_model
from wcodec.structure import fitting
from wcodec.structure.training_state import FitState, StateFile, read


def test_a_training_that_is_interrupted_keeps_the_best_and_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    model, examples = chain(10), Examples((INPUTS,))
    apart, rest = examples.take(np.arange(100)), examples.take(np.arange(100, 400))
    targets, wanted = fitting.targets_of(model, rest), fitting.targets_of(model, apart)
    file = StateFile(tmp_path / "state", {"epochs": 4}, np.zeros(0, bool))
    losses: list[float] = []

    def trained(stop: int, state: FitState | None = None) -> list[np.ndarray]:
        def epoch(number: int, loss: float) -> None:
            losses.append(loss)
            if number == stop:
                raise KeyboardInterrupt

        keras().utils.set_random_seed(11)
        pupil = keras().models.clone_model(model)
        watch = fitting.Watch(epoch=epoch, apart=(apart, wanted), file=file, state=state)
        assert fitting.fit(pupil, rest, targets, 4, watch=watch) == (stop == 4)
        return pupil.get_weights()

    whole = trained(4)
    half = trained(1)
    known = read(file.path, {"epochs": 4})
    assert known is not None
    assert known[1].epochs == 2
    assert all(np.array_equal(a, b) for a, b in zip(half, known[1].best, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(trained(4, known[1]), whole, strict=True))
    assert losses[:4] == losses[4:]
    with pytest.raises(RecipeError, match="--resume: expected epochs 4 as it began, got 5"):
        read(file.path, {"epochs": 5})
    file.path.write_bytes(file.path.read_bytes()[:200])
    with pytest.raises(ModelFileError, match="remove it to begin anew"):
        read(file.path, {"epochs": 4})


def test_a_wcz_is_encoded_as_encode_would_and_the_page_has_a_row_a_layer(
    slim: Slim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded, page = tmp_path / "small.wcz", tmp_path / "page.html"
    assert slim("--width", 0.5, "--bits", 4, "-o", coded, "--report", page, "--json") == 0
    out, err = capsys.readouterr()
    numbers = json.loads(out)
    assert numbers["file_bytes"] == coded.stat().st_size
    assert load_model(coded).count_params() == numbers["parameters"]
    assert slim("--width", 0.5, "-q") == 0
    assert main(["encode", str(tmp_path / "small.keras"), "--bits", "4", "-q"]) == 0
    assert coded.read_bytes() == (tmp_path / "small.keras.wcz").read_bytes()
    assert "small.wcz: " in err
    text = page.read_text("utf-8")
    assert all(f">{row['name']}</td>" in text for row in numbers["layers"])
    assert "frozen by the network" in text
    assert "batch of 256" in text
    assert slim("--width", 0.5, "--bits", 4, "-f") == 2
    assert "--bits: expected OUT.wcz, which it encodes, got small.keras" in capsys.readouterr().err
    assert slim("--width", 0.5, "--data", "DATA", "-o", coded, "-f") == 0
    assert "drop" in capsys.readouterr().err
