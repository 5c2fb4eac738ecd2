"""encode --data: a budget of accuracy, kept on inputs that the search did not see, or no file at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Run


@pytest.fixture
def tuned(wcodec: Run, samples: Path, tmp_path: Path) -> Path:
    """A small network coded for its inputs by rounding alone."""
    target = tmp_path / "tuned.wcz"
    words = ["--data", f"{samples / 'mnist.npz'}:train", "--limit", "1000", "--max-drop", "0.5", "--tune", "0"]
    done = wcodec("encode", samples / "tutorial_cnn.h5", "-o", target, *words)
    assert done.returncode == 0, done.stderr
    assert "200 of 1,000 inputs were kept apart" in done.stderr
    assert "measured on 200 inputs kept apart" in done.stderr
    return target


def test_a_network_coded_for_its_inputs_is_smaller_and_answers_nearly_alike(
    wcodec: Run, samples: Path, tuned: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain.wcz"
    assert wcodec("encode", samples / "tutorial_cnn.h5", "-o", plain).returncode == 0
    assert tuned.stat().st_size < 0.7 * plain.stat().st_size
    data = f"{samples / 'mnist.npz'}:test"
    words = ["--baseline", samples / "tutorial_cnn.h5", "--max-drop", "1.0", "--json"]
    found = wcodec("evaluate", tuned, "--data", data, *words)
    assert found.returncode == 0
    assert json.loads(found.stdout)["agreement"] > 98.0


def test_a_budget_that_nothing_meets_is_exit_4_and_no_file(wcodec: Run, samples: Path, tmp_path: Path) -> None:
    words = ["--data", f"{samples / 'mnist.npz'}:train", "--limit", "200", "--max-drop", "0", "--tune", "0", "-q"]
    refused = wcodec("encode", samples / "tutorial_cnn.h5", "-o", tmp_path / "m.wcz", *words)
    assert refused.returncode == 4
    assert len(refused.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--max-drop", "1"], ["--tune", "5"], ["--time-limit", "2m"], ["--limit", "9"]])
def test_options_of_learning_want_data(wcodec: Run, samples: Path, tmp_path: Path, words: list[str]) -> None:
    refused = wcodec("encode", samples / "tutorial_cnn.h5", "-o", tmp_path / "m.wcz", *words)
    assert refused.returncode == 2
    assert words[0] in refused.stderr
    assert "--data" in refused.stderr


def test_a_budget_of_accuracy_and_one_of_size_are_not_asked_together(
    wcodec: Run, samples: Path, tmp_path: Path
) -> None:
    words = ["--data", samples / "mnist.npz", "--target-size", "5kB"]
    refused = wcodec("encode", samples / "tutorial_cnn.h5", "-o", tmp_path / "m.wcz", *words)
    assert refused.returncode == 2


@pytest.mark.parametrize("time", ["soon", "-1m", "5d"])
def test_a_time_limit_is_seconds_minutes_or_hours(wcodec: Run, samples: Path, tmp_path: Path, time: str) -> None:
    words = ["--data", samples / "mnist.npz", f"--time-limit={time}"]
    refused = wcodec("encode", samples / "tutorial_cnn.h5", "-o", tmp_path / "m.wcz", *words)
    assert refused.returncode == 2
    assert "time" in refused.stderr
