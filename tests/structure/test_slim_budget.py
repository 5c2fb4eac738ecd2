"""A budget of slimming and encoding together: the encoding gets what slimming left, and the file keeps the whole."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.structure.small_chain import INPUTS, Slim, slim_command  # noqa: F401 - a fixture
from wcodec.api.slimming import Left, left_of_budget
from wcodec.calibration import pace
from wcodec.structure import repair
from wcodec.structure.request import SlimRequest


@pytest.mark.parametrize(
    ("bounds", "lost", "labelled", "left"),
    [
        ({"max_drop": 2.0}, (0.5, 3.0), True, Left(drop=1.5)),
        ({"max_drop": 2.0}, (-0.5, 3.0), True, Left(drop=2.0)),
        ({"max_drop": 2.0}, (2.5, 3.0), True, Left(drop=0.0)),
        ({"max_loss": 21.0}, (0.5, 10.0), True, Left(loss=10.0)),
        ({"max_loss": 10.0, "max_drop": 1.0}, (0.25, -5.0), True, Left(drop=0.75, loss=10.0)),
        ({"max_loss": 4.0}, (0.5, 1.0), False, Left(kl=0.03)),
        ({}, (0.5, 1.0), True, Left()),
    ],
)
def test_the_loss_of_slimming_reduces_the_remaining_budget(
    bounds: dict[str, float], lost: tuple[float, float], labelled: bool, left: Left
) -> None:
    found = SimpleNamespace(lost=lost, before=SimpleNamespace(loss=0.4 if labelled else None))
    got = left_of_budget(found, SlimRequest(**bounds))
    for one, other in zip((got.drop, got.loss, got.kl), (left.drop, left.loss, left.kl), strict=True):
        assert one == (None if other is None else pytest.approx(other))


@pytest.mark.parametrize(("option", "most"), [("--max-loss", 30), ("--max-drop", 6), ("--max-drop", 0)])
def test_slimming_and_encoding_together_are_within_the_budget(
    slim: Slim, option: str, most: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded = tmp_path / "out.wcz"
    assert slim("--width", 1, option, most, "--data", "DATA", "-o", coded, "--json") == 0
    out, err = capsys.readouterr()
    assert f"of --max-{option[6:]}" in err
    measured = json.loads(out)["measured"]
    if option == "--max-drop":
        assert measured["accuracy_drop"] <= most
    else:
        assert measured["loss"] <= (1 + most / 100) * measured["baseline_loss"]


def test_points_are_refused_for_a_network_that_predicts_values(
    slim: Slim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "values.npz", x=INPUTS, y=5 + INPUTS[:, :4])
    for more in ([], ["--width", 0.5]):
        assert slim("--max-drop", 1, "--data", tmp_path / "values.npz", *more) == 2
        assert "--max-drop: expected a network that chooses classes, this one predicts" in capsys.readouterr().err
    assert not (tmp_path / "small.keras").exists()


def test_an_encoding_outside_the_budget_writes_nothing(
    slim: Slim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded = tmp_path / "out.wcz"
    assert slim("--width", 1, "--bits", 1, "--max-loss", 0.01, "--data", "DATA", "-o", coded) == 4
    assert "slimming and encoding together lose" in capsys.readouterr().err
    assert not coded.exists()


def test_a_training_is_not_started_if_its_first_step_takes_longer_than_the_limit(
    slim: Slim, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "COMPILING", 1e12)
    assert slim("--width", 0.5, "--data", "DATA", "--finetune", 2, "--time-limit", "9h") == 0
    text = capsys.readouterr().err
    assert "not trained: a step of training cannot be compiled within the time limit" in text
    assert "--resume" not in text


def test_layers_are_fitted_at_once_if_a_sequence_takes_too_long(
    slim: Slim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_turn = []
    monkeypatch.setattr(repair, "_fit_in_turn", lambda *given: in_turn.append(given))
    words = ("--width", 0.7, "--data", "DATA", "--json", "-q", "-f")
    assert slim(*words) == 0  # no time limit: one after the other, which does nothing here
    assert len(in_turn) == 1
    unfitted = (tmp_path / "small.keras").read_bytes()
    monkeypatch.setattr(repair, "SHARE", 1e12)
    assert slim(*words, "--time-limit", "9h") == 0
    assert len(in_turn) == 1
    assert (tmp_path / "small.keras").read_bytes() != unfitted
