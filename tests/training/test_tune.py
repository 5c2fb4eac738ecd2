"""encode --data keeps a budget of accuracy on inputs that the search did not use, or writes no file."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import THOROUGH, Run

import wcodec as package
from wcodec.api.words import EncodeWords
from wcodec.calibration.budget import AccuracyBudget
from wcodec.calibration.codebook_weights import CodebookRequest
from wcodec.calibration.request import LearningRequest
from wcodec.errors import BudgetError
from wcodec.pipeline.encoder import encode
from wcodec.planning.recipe import Preset, Recipe
from wcodec.training.tune import tune


@pytest.fixture
def tuned(wcodec: Run, samples: Path, tmp_path: Path) -> Path:
    """A small network that is calibrated without training."""
    target = tmp_path / "tuned.wcz"
    words = ["--data", f"{samples / 'mnist.npz'}:train", "--limit", "500", "--max-drop", "0.5", "--tune", "0"]
    done = wcodec("encode", samples / "tutorial_cnn.h5", "-o", target, *words)
    assert done.returncode == 0, done.stderr
    assert "100 of 500 examples are held out" in done.stderr
    assert "reduced by one standard error" in done.stderr
    assert "measured on 100 held-out examples" in done.stderr
    assert "budget: a drop of at most 0.5 points" in done.stderr
    size = target.stat().st_size
    tried = [int(number.replace(",", "")) for number in re.findall(r"about ([\d,]+) bytes", done.stderr)]
    assert min(abs(number - size) for number in tried) <= 0.02 * size
    assert tried[-1] == size  # the chosen file
    return target


def test_calibration_makes_a_network_smaller_with_nearly_the_same_outputs(
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


@pytest.mark.parametrize(
    ("words", "first"), [(["--tune", "0"], "rounding: "), (["--finetune", "1"], "rounded without labels: ")]
)
def test_notes_on_the_data_and_the_budget_are_printed_before_the_search_begins(
    wcodec: Run, small_network: tuple[Path, Path], tmp_path: Path, words: list[str], first: str
) -> None:
    source, data = small_network
    done = wcodec(
        "encode", source, "-o", tmp_path / "m.wcz", "--data", data, "--limit", "200", "--max-drop", "2", *words
    )
    assert done.returncode == 0, done.stderr
    before, found, _ = done.stderr.partition(first)
    assert found
    assert re.search(r"200 of [\d,]+ examples, spread evenly", before)
    assert "40 of 200 examples are held out to measure on" in before
    assert "budget: a drop of at most 2 points" in before


def test_a_calibration_budget_out_of_reach_is_exit_code_4_without_a_file(
    wcodec: Run, small_network: tuple[Path, Path], tmp_path: Path
) -> None:
    source, data = small_network
    words = ["--data", data, "--limit", "50", "--max-drop", "0", "--tune", "0", "-q"]
    refused = wcodec("encode", source, "-o", tmp_path / "m.wcz", *words)
    assert refused.returncode == 4
    assert len(refused.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--max-drop", "1"], ["--tune", "5"], ["--time-limit", "2m"], ["--limit", "9"]])
def test_options_of_calibration_require_data(wcodec: Run, samples: Path, tmp_path: Path, words: list[str]) -> None:
    refused = wcodec("encode", samples / "tutorial_cnn.h5", "-o", tmp_path / "m.wcz", *words)
    assert refused.returncode == 2
    assert words[0] in refused.stderr
    assert "--data" in refused.stderr


def test_a_budget_of_the_outputs_and_one_of_the_weights_exclude_each_other(
    wcodec: Run, samples: Path, tmp_path: Path
) -> None:
    words = ["--data", samples / "mnist.npz", "--max-error", "0.1"]
    refused = wcodec("encode", samples / "tutorial_cnn.h5", "-o", tmp_path / "m.wcz", *words)
    assert refused.returncode == 2


def with_data(small_network: tuple[Path, Path], target: Path) -> list[object]:
    """The words of a command that calibrates the small network for 500 of its inputs."""
    return ["encode", small_network[0], "-o", target, "--data", small_network[1], "--limit", "500", "--tune", "0"]


@pytest.mark.parametrize("size", [["--target-size", "1000"], ["--target-ratio", "RATIO"]], ids=["bytes", "ratio"])
def test_calibration_uses_up_a_budget_of_bytes(
    wcodec: Run, small_network: tuple[Path, Path], tmp_path: Path, size: list[str]
) -> None:
    size = [str(small_network[0].stat().st_size / 1000) if word == "RATIO" else word for word in size]
    done = wcodec(*with_data(small_network, tmp_path / "m.wcz"), *size)
    assert done.returncode == 0, done.stderr
    assert 860 < (tmp_path / "m.wcz").stat().st_size <= 1001


if THOROUGH:  # the same test for a network of convolutions

    @pytest.mark.parametrize("size", [["--target-size", "7000"], ["--target-ratio", "14.4"]], ids=["bytes", "ratio"])
    def test_calibration_uses_up_a_budget_of_bytes_for_convolutions(
        wcodec: Run, samples: Path, tmp_path: Path, size: list[str]
    ) -> None:
        data = ["--data", f"{samples / 'mnist.npz'}:train", "--limit", "60", "--tune", "0"]
        done = wcodec("encode", samples / "tutorial_cnn.h5", "-o", tmp_path / "m.wcz", *data, *size)
        assert done.returncode == 0, done.stderr
        assert 6000 < (tmp_path / "m.wcz").stat().st_size <= 7013


def test_a_size_that_the_budget_of_the_outputs_does_not_allow_is_exit_code_4(
    wcodec: Run, small_network: tuple[Path, Path], tmp_path: Path
) -> None:
    words = ["--target-size", "700", "--max-kl", "1e-5", "-q"]
    refused = wcodec(*with_data(small_network, tmp_path / "m.wcz"), *words)
    assert refused.returncode == 4, refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_budgets_bound_the_divergence_or_the_agreement(
    wcodec: Run, small_network: tuple[Path, Path], tmp_path: Path
) -> None:
    sizes = []
    for name, words in {"a": ["--max-kl", "0.001"], "b": ["--max-kl", "0.02"], "c": ["--min-agreement", "80"]}.items():
        done = wcodec(*with_data(small_network, tmp_path / name), *words)
        assert done.returncode == 0, done.stderr
        sizes.append((tmp_path / name).stat().st_size)
    assert sizes[0] > sizes[1] > sizes[2]
    refused = wcodec(*with_data(small_network, tmp_path / "d"), "--min-agreement", "100")
    assert refused.returncode == 4
    assert "expected 100 % of the predictions to stay, " in refused.stderr


@pytest.mark.parametrize("time", ["soon", "-1m", "5d"])
def test_a_time_limit_in_other_units_is_refused(wcodec: Run, samples: Path, tmp_path: Path, time: str) -> None:
    words = ["--data", samples / "mnist.npz", f"--time-limit={time}"]
    refused = wcodec("encode", samples / "tutorial_cnn.h5", "-o", tmp_path / "m.wcz", *words)
    assert refused.returncode == 2
    assert "time" in refused.stderr


def test_the_file_without_data_is_used_if_no_search_meets_the_budget(small_network: tuple[Path, Path]) -> None:
    source, data = small_network
    books = CodebookRequest("kmeans", 2)
    request = LearningRequest(str(data), budget=AccuracyBudget(drop=1.0), limit=200, codebooks=books)
    presets: list[Preset] = []

    def code(path: Path, preset: Preset) -> int:
        presets.append(preset)
        return encode(source, path, Recipe(preset=preset)).file_bytes

    found = tune(source, request, lambda _: None, code=code)
    assert found.found is None
    assert found.tuned == {}
    assert presets == ["balanced"]
    assert found.plain is not None
    assert found.plain.quality.drop <= 1.0
    with pytest.raises(BudgetError):
        tune(source, request, lambda _: None)


def test_a_calibrated_file_is_never_worse_than_the_file_without_data(
    wcodec: Run, small_network: tuple[Path, Path], tmp_path: Path
) -> None:
    source, data = small_network
    words = ["--data", data, "--limit", "60", "--max-kl", "0.5"]
    done = wcodec("encode", source, "-o", tmp_path / "m.wcz", *words, "--clusters", "32")
    assert done.returncode == 0, done.stderr
    plain = wcodec("encode", source, "-o", tmp_path / "plain.wcz", "--clusters", "32", "-q")
    assert plain.returncode == 0
    assert (tmp_path / "m.wcz").stat().st_size <= (tmp_path / "plain.wcz").stat().st_size


def interrupt_at(*places: str) -> tuple[list[str], Callable[[object], None]]:
    """A list of the lines of progress, and a listener that raises SIGINT at a line with each of these beginnings."""
    lines: list[str] = []
    remaining = list(places)

    def watch(line: object) -> None:
        lines.append(str(line))
        if remaining and str(line).startswith(remaining[0]):
            del remaining[0]
            signal.raise_signal(signal.SIGINT)

    return lines, watch


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("chosen: about", {"max_drop": 1, "tune": 0}),
        ("measured on", {"max_drop": 1, "tune": 0}),
        ("measured on", {"max_drop": 5, "finetune": 1}),
        ("measured on", {"method": "quantized", "bits": 4, "finetune": 1}),
    ],
)
def test_ctrl_c_after_the_search_writes_the_best_file(
    place: str, words: EncodeWords, small_network: tuple[Path, Path], tmp_path: Path
) -> None:
    source, data = small_network
    lines, watch = interrupt_at(place)
    asked: EncodeWords = {**words, "data": str(data), "progress": watch}
    package.encode(source, tmp_path / "m.wcz", **asked)
    package.verify(tmp_path / "m.wcz")
    assert any(line.startswith("interrupted: ") for line in lines)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_stops_without_a_file(small_network: tuple[Path, Path], tmp_path: Path) -> None:
    source, data = small_network
    _, watch = interrupt_at("chosen: about", "measured on")
    with pytest.raises(KeyboardInterrupt):
        package.encode(source, tmp_path / "m.wcz", data=str(data), max_drop=1, tune=0, progress=watch)
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
