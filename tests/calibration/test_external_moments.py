"""--moments: feedback for inputs that were measured elsewhere, on any model file, without a framework."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Run

from wcodec.api.verbs import decode

RNG = np.random.default_rng(11)
SCALES = np.exp(RNG.normal(size=96))
INPUTS = (RNG.normal(size=(2000, 12)) @ RNG.normal(size=(12, 96)) + 0.3 * RNG.normal(size=(2000, 96))) * SCALES
WEIGHTS = RNG.normal(size=(96, 80)).astype(np.float32)
POWER = INPUTS.T @ INPUTS / len(INPUTS)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file of weights in both orders."""
    np.savez(tmp_path / "m.npz", **{"a/kernel": WEIGHTS, "b/kernel": RNG.normal(size=(40, 40)).astype(np.float32)})
    return tmp_path / "m.npz"


def measure_error(coded: Path, name: str = "a/kernel") -> float:
    """Relative squared error of the outputs."""
    decode(coded, coded.with_suffix(".npz"))
    with np.load(coded.with_suffix(".npz")) as arrays:
        error = INPUTS @ (arrays[name] - WEIGHTS)
    return float(np.square(error).sum() / np.square(INPUTS @ WEIGHTS).sum())


@pytest.mark.parametrize(("kind", "better"), [("matrix", 0.4), ("powers", 0.97)])
def test_moments_reduce_the_error_of_the_outputs_at_the_same_size(
    wcodec: Run, model: Path, tmp_path: Path, kind: str, better: float
) -> None:
    given = POWER if kind == "matrix" else POWER.diagonal()
    np.savez(tmp_path / "moments.npz", **{"a/kernel": given})
    words = ["--target-size", "4500"]
    plain, with_moments = tmp_path / "plain.wcz", tmp_path / "with_moments.wcz"
    assert wcodec("encode", model, "-o", plain, *words).returncode == 0
    done = wcodec("encode", model, "-o", with_moments, *words, "--moments", tmp_path / "moments.npz")
    assert done.returncode == 0, done.stderr
    assert "1 tensors rounded for their moments" in done.stderr
    assert with_moments.stat().st_size <= 4500
    assert measure_error(with_moments) < better * measure_error(plain)


def test_tensors_without_moments_keep_their_bytes_and_no_output_has_a_larger_error(wcodec: Run, tmp_path: Path) -> None:
    shapes = {"embedding": (300, 96), "a/kernel": (96, 80), "c/kernel": (96, 96)}
    arrays = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["a/kernel"] = WEIGHTS
    np.savez(tmp_path / "m.npz", **arrays)
    np.savez(tmp_path / "moments.npz", **{"a/kernel": POWER, "c/kernel": np.eye(96)})
    words = ["encode", tmp_path / "m.npz", "--target-size", "11000", "-o"]
    plain, with_moments = tmp_path / "plain.wcz", tmp_path / "with_moments.wcz"
    assert wcodec(*words, plain).returncode == 0
    assert wcodec(*words, with_moments, "--moments", tmp_path / "moments.npz").returncode == 0
    assert 0.97 * plain.stat().st_size < with_moments.stat().st_size <= plain.stat().st_size
    assert measure_error(with_moments) < 0.5 * measure_error(plain)
    decoded = []
    for file in (plain, with_moments):
        decode(file, file.with_suffix(".npz"))
        with np.load(file.with_suffix(".npz")) as found:
            decoded.append(dict(found))
    assert np.array_equal(decoded[0]["embedding"], decoded[1]["embedding"])
    lost = [np.square(one["c/kernel"] - arrays["c/kernel"]).sum() for one in decoded]
    assert lost[1] <= lost[0]


def test_weights_with_outputs_first_are_transposed(wcodec: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", **{"a.weight": np.ascontiguousarray(WEIGHTS.T)})
    np.savez(tmp_path / "moments.npz", weight=POWER)
    done = wcodec("encode", tmp_path / "m.npz", "-o", tmp_path / "m.wcz", "--moments", tmp_path / "moments.npz")
    assert done.returncode == 0, done.stderr
    decode(tmp_path / "m.wcz", tmp_path / "back.npz")
    with np.load(tmp_path / "back.npz") as arrays:
        error = arrays["a.weight"].T - WEIGHTS
    outputs = np.square(INPUTS @ error).sum() / np.square(INPUTS @ WEIGHTS).sum()
    assert outputs < 0.5 * np.square(error).sum() / np.square(WEIGHTS).sum()


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        ({"c/kernel": POWER}, "c/kernel: expected the name of one tensor, found 0"),
        ({"kernel": POWER}, "kernel: expected the name of one tensor, found 2"),
        ({"a/kernel": POWER[:5, :5]}, "expected moments of the inputs of"),
        ({"a/kernel": -POWER}, "expected finite moments"),
        ({"a/kernel": 0 * POWER + np.nan}, "expected finite moments"),
        ({"a/kernel": np.triu(POWER)}, "a/kernel: expected moments E[x x'], a symmetric matrix"),
        ({"a/kernel": np.ones((96, 96)) - 0.5 * np.eye(96)}, "a/kernel: expected moments E[x x'], a symmetric matrix"),
        ({"a/kernel": POWER * 1j}, "moments.npz: a/kernel: expected real numbers, got complex128"),
        ({"a/kernel": np.array(["a"])}, "moments.npz: a/kernel: expected real numbers, got <U1"),
    ],
)
def test_moments_that_do_not_fit_are_refused_in_one_line(
    wcodec: Run, model: Path, tmp_path: Path, moments: dict[str, object], message: str
) -> None:
    np.savez(tmp_path / "moments.npz", **moments)
    refused = wcodec("encode", model, "-o", tmp_path / "x.wcz", "--moments", tmp_path / "moments.npz")
    assert refused.returncode == 2
    assert message in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not (tmp_path / "x.wcz").exists()


def test_a_file_that_is_no_archive_is_refused_in_one_line(wcodec: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "moments.npz").write_bytes(b"nothing")
    for path in (tmp_path / "moments.npz", tmp_path / "none.npz"):
        refused = wcodec("encode", model, "-o", tmp_path / "x.wcz", "--moments", path)
        assert refused.returncode == 2
        assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [["--sparsity", "0.9"], ["--bits", "3"], ["--quantizer", "float16"]])
def test_moments_without_an_effect_are_refused(wcodec: Run, model: Path, tmp_path: Path, words: list[str]) -> None:
    np.savez(tmp_path / "moments.npz", **{"a/kernel": POWER})
    done = wcodec("encode", model, "-o", tmp_path / "m.wcz", "--moments", tmp_path / "moments.npz", *words)
    assert (done.returncode, (tmp_path / "m.wcz").exists()) == (2, False)
    assert "moments.npz: expected a tensor that is rounded to steps, found none" in done.stderr


def test_moments_of_tokens_reduce_the_error_of_frequent_tokens(wcodec: Run, tmp_path: Path) -> None:
    often = 1 / np.arange(1, 601) * (np.arange(600) < 300)  # half of the words do not occur
    arrays = {"words": RNG.normal(size=(600, 64)).astype(np.float32), "a/kernel": WEIGHTS}
    np.savez(tmp_path / "m.npz", **arrays)
    np.savez(tmp_path / "moments.npz", **{"words": often / often.sum(), "a/kernel": POWER})
    words = ["encode", tmp_path / "m.npz", "--target-size", "20000", "-o"]
    plain, with_moments = tmp_path / "plain.wcz", tmp_path / "with_moments.wcz"
    assert wcodec(*words, plain).returncode == 0
    done = wcodec(*words, with_moments, "--moments", tmp_path / "moments.npz")
    assert done.returncode == 0, done.stderr
    assert "2 tensors rounded for their moments" in done.stderr
    assert with_moments.stat().st_size <= plain.stat().st_size
    lost, unseen = [], []
    for file in (plain, with_moments):
        decode(file, file.with_suffix(".npz"))
        with np.load(file.with_suffix(".npz")) as found:
            error = np.square(found["words"] - arrays["words"]).sum(1)
        lost.append(often @ error)
        unseen.append(error[300:].sum())
    assert lost[1] < 0.5 * lost[0]
    assert unseen[1] < 0.2 * np.square(arrays["words"][300:]).sum()
    assert measure_error(with_moments) < 0.4 * measure_error(plain)
    inspected = wcodec("inspect", with_moments, "--json")
    assert inspected.returncode == 0
