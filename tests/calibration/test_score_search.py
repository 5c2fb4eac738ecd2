"""--score: the user's own measure in encode, evaluate and sweep, without a framework, and its errors."""

from __future__ import annotations

import json
import textwrap
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from attack.small_models import weights, write_npz
from conftest import Run

from wcodec.api.verbs import decode

NUMBERS = count()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    arrays = {"dense/kernel": weights(2, 90, 60), "dense/bias": weights(3, 60)}
    return write_npz(tmp_path / "m.npz", arrays)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user in the working directory, with many measures."""
    name = f"my_scores_{next(NUMBERS)}"
    np.save(tmp_path / "x.npy", np.random.default_rng(4).normal(size=(200, 90)).astype(np.float32))
    code = """
        from pathlib import Path
        import numpy as np
        X = np.load("x.npy")
        with np.load("m.npz") as original:
            Y = X @ original["dense/kernel"]

        def cosine(tensors):
            y = X @ tensors["dense/kernel"]
            return 100 * float((y * Y).sum() / np.sqrt((y * y).sum() * (Y * Y).sum()))

        def by_path(file):
            assert Path(file).name == "m.npz"
            with np.load(file) as arrays:
                return cosine(arrays)

        def annotated(there: Path):
            return by_path(there)

        def several(tensors):
            return {"cosine": cosine(tensors), "tensors": len(tensors)}

        def exact(tensors):
            with np.load("m.npz") as original:
                return int((tensors["dense/kernel"] == original["dense/kernel"]).all())

        def raises(tensors):
            return helper(tensors)

        def helper(tensors):
            return tensors["no such tensor"]

        def leaves(tensors):
            raise SystemExit(3)

        nan = lambda tensors: float("nan")
        pair = lambda tensors: np.ones(2)
        word = lambda tensors: "good"
        nothing = lambda tensors: None
        seven = 7
    """
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(code))
    monkeypatch.chdir(tmp_path)
    return name


def cosine(coded: Path) -> float:
    """The measure of this module."""
    decode(coded, coded.with_suffix(".npz"))
    x = np.load("x.npy")
    with np.load(coded.with_suffix(".npz")) as now, np.load("m.npz") as before:
        y, y0 = x @ now["dense/kernel"], x @ before["dense/kernel"]
    return 100 * float((y * y0).sum() / np.sqrt((y * y).sum() * (y0 * y0).sum()))


def test_a_larger_drop_gives_a_smaller_file_within_it(wcodec: Run, model: Path, module: str, tmp_path: Path) -> None:
    sizes = []
    for drop in (0.1, 2):
        target = tmp_path / f"{drop}.wcz"
        done = wcodec("encode", model, "-o", target, "--score", f"{module}:cosine", "--max-drop", drop)
        assert done.returncode == 0, done.stderr
        assert cosine(target) >= 100 - drop
        shown = [line for line in done.stderr.splitlines() if line.startswith("steps x ")]
        assert 2 <= len(shown) <= 12
        assert any(line.endswith("not in the budget") for line in shown)
        sizes.append(target.stat().st_size)
    assert sizes[1] < 0.7 * sizes[0]


def test_moments_make_a_file_with_a_score_smaller(wcodec: Run, model: Path, module: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    x = (rng.normal(size=(200, 9)) @ rng.normal(size=(9, 90)) + 0.3 * np.load("x.npy")).astype(np.float32)
    np.save("x.npy", x)
    np.savez("moments.npz", **{"dense/kernel": x.T @ x / len(x)})
    words = ["--score", f"{module}:cosine", "--max-drop", "0.5", "-q", "-o"]
    assert wcodec("encode", model, *words, "plain.wcz").returncode == 0
    assert wcodec("encode", model, *words, "fed.wcz", "--moments", "moments.npz").returncode == 0
    assert cosine(tmp_path / "fed.wcz") >= 99.5
    assert Path("fed.wcz").stat().st_size < 0.8 * Path("plain.wcz").stat().st_size


@pytest.mark.parametrize("function", ["cosine", "by_path", "annotated"])
def test_evaluate_compares_the_score_with_the_original(wcodec: Run, model: Path, module: str, function: str) -> None:
    assert wcodec("encode", model, "-o", "m.npz.wcz").returncode == 0
    words = ["evaluate", "m.npz.wcz", "--score", f"{module}:{function}", "--baseline", model]
    done = wcodec(*words, "--json")
    assert done.returncode == 0, done.stderr
    numbers = json.loads(done.stdout)
    assert numbers["baseline_score"] == pytest.approx(100)
    assert numbers["score"] == pytest.approx(cosine(Path("m.npz.wcz")), abs=1e-3)
    assert numbers["score_drop"] == pytest.approx(100 - numbers["score"], abs=1e-3)
    assert numbers["source_bytes"] == model.stat().st_size
    assert wcodec(*words, "--max-drop", "1e-9").returncode == 4
    assert wcodec(*words, "--max-drop", "50").returncode == 0


def test_a_score_of_several_figures_requires_a_name(wcodec: Run, model: Path, module: str) -> None:
    words = ["evaluate", model, "--score", f"{module}:several"]
    done = wcodec(*words, "--score-name", "cosine")
    assert done.returncode == 0
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"score", "cosine", "tensors"}
    for more, message in ([], "--score-name"), (["--score-name", "f1"], "named f1"):
        done = wcodec(*words, *more)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert "cosine, tensors" in done.stderr


def test_a_sweep_has_the_score_of_every_file(wcodec: Run, model: Path, module: str) -> None:
    done = wcodec("sweep", model, "--points", "3", "--score", f"{module}:cosine", "--json", "--report", "r.html")
    assert done.returncode == 0, done.stderr
    points = json.loads(done.stdout)["points"]
    assert len(points) == 3
    for point in points:
        assert point["judged"]["score"] == pytest.approx(100 - point["judged"]["score_drop"], abs=1e-3)
        assert point["judged"]["divergence"] is None
    table = wcodec("sweep", model, "--points", "2", "--score", f"{module}:cosine").stdout
    assert "score lost" in table
    assert "nats" not in table


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("raises", "KeyError"), ("leaves", "SystemExit"), ("nan", "nan"), ("pair", "shape (2,)"), ("word", "str"),
        ("nothing", "NoneType"), ("seven", "expected a function"), ("absent", "found none"),
    ],
)  # fmt: skip
def test_an_unusable_score_is_refused_in_one_line_and_nothing_is_written(
    wcodec: Run, model: Path, module: str, function: str, message: str
) -> None:
    before = set(Path().iterdir())
    done = wcodec("encode", model, "--score", f"{module}:{function}", "--max-drop", "1", "-q")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"{module}:{function}" in done.stderr
    assert message in done.stderr
    assert set(Path().iterdir()) - before <= {Path("__pycache__")}


def test_an_error_in_the_users_code_has_its_file_and_line(wcodec: Run, model: Path, module: str) -> None:
    line = 1 + (Path(f"{module}.py").read_text().splitlines().index('    return tensors["no such tensor"]'))
    done = wcodec("evaluate", model, "--score", f"{module}:raises")
    assert f"{module}.py:{line}: KeyError" in done.stderr
    assert "Traceback" not in done.stderr
    done = wcodec("evaluate", model, "--score", f"{module}:raises", "--debug")
    assert "Traceback" in done.stderr
    assert "in helper" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "--max-drop"),
        (["--max-drop", "-1"], 2, "0 or more"),
        (["--max-drop", "1", "--bits", "4"], 2, "--bits"),
        (["--max-drop", "1", "--quantizer", "kmeans"], 2, "kmeans"),
        (["--max-drop", "1", "--max-error", "0.1"], 2, "budget"),
        (["--max-drop", "1", "--data", "x.npz"], 2, "--data"),
        (["--max-drop", "1", "--base", "m.npz"], 2, "--base"),
    ],
)
def test_options_that_leave_nothing_to_search_are_refused(
    wcodec: Run, model: Path, module: str, words: list[str], code: int, message: str
) -> None:
    done = wcodec("encode", model, "--score", f"{module}:cosine", *words, "-q")
    assert done.returncode == code
    assert message in done.stderr
    assert not Path("m.npz.wcz").exists()


def test_a_score_that_no_file_keeps_is_a_budget_error(wcodec: Run, model: Path, module: str) -> None:
    done = wcodec("encode", model, "--score", f"{module}:exact", "--max-drop", "0.5", "-q")
    assert done.returncode == 4
    assert "expected a score of 0.5 or more (1 less 0.5), got 0 at best" in done.stderr
    assert not Path("m.npz.wcz").exists()


def test_a_score_of_minus_zero_is_printed_as_zero(model: Path) -> None:
    from wcodec.evaluation.score import ScoreFunction

    assert f"{ScoreFunction.named(lambda tensors: -0.0 * len(tensors)).measure(model).value:g}" == "0"
