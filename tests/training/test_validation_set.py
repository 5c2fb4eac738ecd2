"""--validation V: separate examples choose and measure, in every verb that runs a network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import wcodec as package
from tests.conftest import Run
from tests.small_problem import make_examples
from wcodec.errors import RecipeError


@pytest.fixture(scope="module")
def files(small_network: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("validation")
    source, data = small_network
    given = make_examples(1600)
    others = {name: values[1300:] for name, values in given.items()}
    np.savez(folder / "others.npz", **others)
    np.savez(folder / "unlabelled.npz", x=others["x"])
    return {"source": source, "data": data, **{name: folder / f"{name}.npz" for name in ("others", "unlabelled")}}


TRAINED = {"finetune": ["--finetune", 1], "data": ["--tune", 0, "--time-limit", 1], "bits": ["--bits", "auto:5"]}
TRAINED |= {"method": ["--finetune", 1, "--method", "quantized", "--bits", "6"]}


@pytest.mark.parametrize("option", TRAINED)
def test_with_a_validation_set_training_uses_all_of_the_data(
    option: str, files: dict[str, Path], wcodec: Run, tmp_path: Path
) -> None:
    words = ["--data", files["data"], "--validation", files["others"], *TRAINED[option]]
    done = wcodec("encode", files["source"], "-o", tmp_path / "x.wcz", *words)
    assert done.returncode == 0, done.stderr
    assert "300 examples of --validation choose and measure" in done.stderr
    assert "measured on 300 held-out examples" in done.stderr
    assert "changed copies" not in done.stderr


def test_without_a_validation_set_the_drop_on_changed_copies_is_logged(
    files: dict[str, Path], wcodec: Run, tmp_path: Path
) -> None:
    words = ["--data", files["data"], *TRAINED["method"]]
    done = wcodec("encode", files["source"], "-o", tmp_path / "x.wcz", *words)
    assert done.returncode == 0, done.stderr
    assert "slightly changed copies of them:" in done.stderr
    assert "--validation V names examples to measure on" in done.stderr


def test_slim_and_sweep_measure_on_the_validation_set(files: dict[str, Path], wcodec: Run, tmp_path: Path) -> None:
    words = ["--data", files["data"], "--validation", files["others"], "--json"]
    slimmed = wcodec("slim", files["source"], "-o", tmp_path / "s.keras", "--width", 0.8, *words)
    assert json.loads(slimmed.stdout)["examples"] == 300
    found = package.sweep(files["source"], data=str(files["data"]), validation=str(files["others"]), points=1)
    assert found.to_json()["examples"] == 300


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("unlabelled", "--validation: expected labels (y), as --data has them, found none"),
        ("missing.npz", "--validation missing.npz: expected a file, found none"),
        ("nonsense", "--validation nonsense: expected FILE.npz"),
    ],
)
def test_an_unusable_validation_set_is_refused(
    given: str, message: str, files: dict[str, Path], wcodec: Run, tmp_path: Path
) -> None:
    words = ["--data", files["data"], "--validation", files.get(given, given), "--finetune", 1]
    done = wcodec("encode", files["source"], "-o", tmp_path / "x.wcz", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_validation_set_requires_data(files: dict[str, Path], wcodec: Run, tmp_path: Path) -> None:
    for words in (("encode", files["source"]), ("slim", files["source"], "-o", tmp_path / "s.keras", "--width", 0.5)):
        done = wcodec(*words, "--validation", files["others"])
        assert done.returncode == 2
        assert "--validation: expected --data D with it" in done.stderr
    with pytest.raises(RecipeError, match="validation: expected data"):
        package.sweep(files["source"], validation=str(files["others"]))
