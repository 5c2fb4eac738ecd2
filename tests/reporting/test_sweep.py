"""Sweeps without data: the curve, the tensors, the time, and the result after an interrupt."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from attack.small_models import weights, write_npz
from conftest import HANG, Run, command

from wcodec.api.verbs import encode
from wcodec.cli import main
from wcodec.errors import RecipeError
from wcodec.planning.parsing import parse_recipe
from wcodec.reporting.inspection import inspect
from wcodec.reporting.quality_oracle import QualityLoss
from wcodec.reporting.sweep import Commands, sweep
from wcodec.reporting.sweep_tables import tabulate_points


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arrays = {"conv/kernel": weights(1, 3, 3, 8, 16), "dense/kernel": weights(2, 90, 60), "dense/bias": weights(3, 60)}
    return write_npz(tmp_path_factory.mktemp("sweep") / "m.npz", arrays)


@pytest.mark.parametrize("points", [1, 2, 3, 4, 5, 9])
def test_smaller_files_of_a_sweep_have_larger_errors(model: Path, points: int) -> None:
    found = sweep(model, parse_recipe({}), points=points)
    sizes, errors = zip(*((point.file_bytes, point.relative_error) for point in found.points), strict=True)
    assert len(found.points) == points
    assert found.complete
    assert list(sizes) == sorted(sizes, reverse=True)
    for method in ("preset", "step"):  # the vectors, and thus the bytes, differ between methods
        of_method = [error for point, error in zip(found.points, errors, strict=True) if point.method == method]
        assert of_method == sorted(of_method)
    assert "balanced" in {point.name for point in found.points}


def test_encode_with_the_option_of_a_point_gives_the_same_file(model: Path, tmp_path: Path) -> None:
    for point in sweep(model, parse_recipe({}), points=6).points:
        flag, value = point.option.split()
        numbers = encode(model, tmp_path / "m.wcz", **{flag.removeprefix("--"): value})
        assert (numbers.file_bytes, numbers.relative_error) == (point.file_bytes, point.relative_error)


def test_the_option_of_a_tensor_gives_the_bytes_and_the_error_of_its_row(model: Path, tmp_path: Path) -> None:
    for sensitivity in sweep(model, parse_recipe({}), points=1).sensitivities:
        flag, rule = shlex.split(sensitivity.option)
        assert flag == "--set"
        encode(model, tmp_path / "m.wcz", set=rule)
        (row,) = (row for row in inspect(tmp_path / "m.wcz").tensors if row.name == sensitivity.name)
        assert (row.bytes, row.error) == (sensitivity.coarse_bytes, sensitivity.relative_error)


def test_every_weight_tensor_is_varied_alone_in_the_order_of_cost(model: Path) -> None:
    found = sweep(model, parse_recipe({"exclude": "conv"}), points=1)
    assert [sensitivity.name for sensitivity in found.sensitivities] == ["dense/kernel"]
    both = sweep(model, parse_recipe({}), points=1)
    assert {row.name for row in both.sensitivities} == {"conv/kernel", "dense/kernel"}
    assert [row.cost for row in both.sensitivities] == sorted((row.cost for row in both.sensitivities), reverse=True)
    assert all(row.saved == row.fine_bytes - row.coarse_bytes > 0 for row in both.sensitivities)
    assert all(0 < row.share < row.relative_error for row in both.sensitivities)


@pytest.mark.parametrize("has_time", [True, False])
def test_an_oracle_measures_points_and_its_calibrated_weights_are_points(model: Path, has_time: bool) -> None:
    class Oracle:
        examples, accuracy = 7, 50.0

        def measure_file(self, coded: Path) -> QualityLoss:
            assert coded.exists()
            return QualityLoss(0.5, 21.0)

        def measure_tensor(self, name: str, values: object) -> QualityLoss | None:
            return QualityLoss(2.0, 84.0) if name.startswith("conv") else None

        def step_sizes(self, count: int) -> list[float]:
            return [3.0, 4.0][:count]

        def calibrate(self, size: float, until: float) -> dict[str, object] | None:
            return {} if has_time else None

    found = sweep(model, parse_recipe({}), points=2, oracle=Oracle())
    assert found.complete == has_time
    assert [point.method for point in found.points] == ["preset", "preset", *["calibrated"] * (2 if has_time else 0)]
    assert all(point.judged == QualityLoss(0.5, 21.0) for point in found.points)
    assert found.examples == 7
    conv = next(sensitivity for sensitivity in found.sensitivities if sensitivity.name == "conv/kernel")
    assert conv.cost == 2000.0 / conv.saved


def test_a_sweep_without_time_has_one_point(model: Path) -> None:
    found = sweep(model, parse_recipe({}), points=9, seconds=0.0)
    assert [point.name for point in found.points] == ["balanced"]
    assert not found.complete


def test_a_budget_lossless_coding_and_invalid_numbers_of_points_are_refused(model: Path) -> None:
    for words in ({"max_error": 0.1}, {"target_ratio": 5.0}, {"lossless": True}):
        with pytest.raises(RecipeError, match="sweep: expected no budget and nothing lossless"):
            sweep(model, parse_recipe(words))
    for points in (0, -1, 101):
        with pytest.raises(RecipeError, match="points: expected 1 to 100"):
            sweep(model, parse_recipe({}), points=points)


def test_the_command_prints_json_or_a_table(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", str(model), "--points", "3", "--json"]) == 0
    out, err = capsys.readouterr()
    numbers = json.loads(out)
    assert numbers["complete"] is True
    assert [point["name"] for point in numbers["points"]] == ["safe", "balanced", "small"]
    assert numbers["points"][0]["ratio"] == numbers["source_bytes"] / numbers["points"][0]["file_bytes"]
    assert "preset balanced:" in err
    assert main(["sweep", str(model), "--points", "2", "-q"]) == 0
    out, err = capsys.readouterr()
    assert "dense/kernel" in out
    assert err == ""


@pytest.mark.parametrize(
    ("words", "code"), [(["--points", "0"], 2), (["--limit", "5"], 2), (["--time-limit", "soon"], 2), (["--frob"], 2)]
)
def test_usage_errors_have_exit_code_2(model: Path, words: list[str], code: int) -> None:
    assert main(["sweep", str(model), *words]) == code


def test_a_missing_file_has_exit_code_1(tmp_path: Path) -> None:
    assert main(["sweep", str(tmp_path / "none.h5")]) == 1


def test_a_container_is_refused_with_exit_code_5(coded: Path, wcodec: Run) -> None:
    done = wcodec("sweep", coded)
    assert done.returncode == 5
    assert len(done.stderr.splitlines()) == 1


def test_an_interrupt_leaves_no_files(tmp_path: Path, samples: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    line = [*command(), "sweep", str(samples / "tutorial_cnn.h5"), "--best", "--points", "50"]
    environment = os.environ | {"TMPDIR": str(folder)}
    with subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as running:
        deadline = time.monotonic() + HANG
        while not list(folder.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=HANG)
    assert running.returncode == 130
    assert err.splitlines()[-1] == "wcodec: interrupted"
    assert out == ""
    assert not list(folder.iterdir())


def test_each_row_has_its_command_and_each_tensor_its_option(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", str(model), "--points", "5", "--exclude", "conv/k.*l", "--json", "-q"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert {point["label"] for point in numbers["points"]} >= {"safe", "balanced", "small"}
    for point in numbers["points"]:
        words = shlex.split(point["command"])
        assert words[:5] == ["wcodec", "encode", str(model), "--exclude", "conv/k.*l"]
        assert main([*words[1:], "-o", str(tmp_path / "m.wcz"), "-qf"]) == 0
        assert (tmp_path / "m.wcz").stat().st_size == point["file_bytes"]
    (tensor,) = numbers["sensitivities"]
    assert main(["encode", str(model), *shlex.split(tensor["option"]), "-o", str(tmp_path / "m.wcz"), "-qf"]) == 0


def test_losses_have_an_error_bar_and_the_smallest_file_within_the_budget_a_mark(model: Path) -> None:
    class Oracle:
        examples, accuracy = 400, 50.0

        def measure_file(self, coded: Path) -> QualityLoss:
            lost = 1.0 if coded.stem == "small" else 0.25
            return QualityLoss(0.01, 0.4, 99.0, 50.0 - lost, lost)

        def measure_tensor(self, name: str, values: object) -> QualityLoss | None:
            return None

        def step_sizes(self, count: int) -> list[float]:
            return []

        def calibrate(self, size: float, until: float) -> dict[str, object]:
            return {}

    found = sweep(model, parse_recipe({}), points=3, oracle=Oracle())
    assert found.best is not None
    assert found.best.name == "balanced"
    assert found.error_bar(found.best) == pytest.approx(0.5)  # 100 sqrt(0.01 / 400)
    rows = [dict(zip(table.head, row, strict=True)) for table in [tabulate_points(found)] for row in table.rows]
    assert [row["encoding"] for row in rows] == ["safe", "balanced *", "small"]
    assert rows[1]["lost"] == "+0.25 \u00b10.50"


def test_a_table_of_80_characters_omits_columns_and_no_digits(model: Path) -> None:
    commands = Commands("wcodec encode somewhere/far/away/model.npz --exclude 'conv.*'")
    table = tabulate_points(sweep(model, parse_recipe({}), points=3, commands=commands))
    narrow = table.fit_width(80)
    assert narrow.width <= 80
    assert "command" not in narrow.head
    for row in narrow.rows:
        assert row[narrow.head.index("bytes")] in {whole[table.head.index("bytes")] for whole in table.rows}
