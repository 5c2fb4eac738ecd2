"""`--search N`: no result is larger than that of calibration, and a journal can be resumed."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import wcodec as package
from wcodec.calibration.kept_parts import KeptParts, make_mask
from wcodec.calibration.policy import RANGES, PolicyOrigin
from wcodec.calibration.session import prepare_session
from wcodec.calibration.trial import run_trial
from wcodec.errors import RecipeError
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.keras_backend import keras, silence_keras
from wcodec.evaluation.model_loader import load_model

RNG = np.random.default_rng(6)
INPUTS = RNG.normal(size=(300, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network, and inputs for it."""
    folder = tmp_path_factory.mktemp("search")
    keras().utils.set_random_seed(2)
    of = keras().layers
    layers = [of.Input((12,)), of.Dense(40, "relu"), of.Dense(30, "relu"), of.Dense(5)]
    with silence_keras():
        keras().Sequential(layers).save(folder / "net.keras")
    np.savez(folder / "x.npz", x=INPUTS)
    return folder / "net.keras", folder / "x.npz"


def encode(files: tuple[Path, Path], target: Path, **words: object) -> tuple[int, list[str]]:
    """The bytes of the file, and the lines of progress."""
    lines: list[str] = []
    asked = {"data": str(files[1]), "max_kl": 0.01, "threads": 1, "progress": lambda event: lines.append(str(event))}
    return package.encode(files[0], target, **{**asked, **words}).file_bytes, lines


def read_gain(lines: list[str]) -> tuple[int, int]:
    """Bytes of the weights before and after the search."""
    (line,) = [line for line in lines if "search: " in line]
    before, after = line.split(" trials, ")[1].split(" bytes")[0].split(" -> ")
    return int(before.replace(",", "")), int(after.replace(",", ""))


def test_a_search_finds_a_smaller_file_and_is_reproducible(files: tuple[Path, Path], tmp_path: Path) -> None:
    size, lines = encode(files, tmp_path / "a.wcz", search=12, report=tmp_path / "a.html")
    before, after = read_gain(lines)
    assert after <= before
    assert encode(files, tmp_path / "b.wcz", search=12)[0] == size
    page = (tmp_path / "a.search.html").read_text("utf-8")
    assert "within the budget" in page
    assert "group 1" in page
    assert "units 1" in page


def test_a_journal_is_resumed_only_by_the_search_that_wrote_it(files: tuple[Path, Path], tmp_path: Path) -> None:
    target = tmp_path / "a.wcz"
    encode(files, target, search=2)
    _, lines = encode(files, target, search=4, resume=True)
    assert any("search: 4 trials" in line for line in lines)
    with pytest.raises(RecipeError, match="expected the journal of this search, got one with another budget"):
        encode(files, target, search=4, resume=True, max_kl=0.02)
    (tmp_path / ".a.wcz.search").write_text("no journal\n")
    with pytest.raises(RecipeError, match="expected the journal of a search, got"):
        encode(files, target, search=4, resume=True)


def test_workers_share_the_journal(files: tuple[Path, Path], tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as executor:
        _, lines = encode(files, tmp_path / "a.wcz", search=3, sampler="cmaes", executor=executor)
    assert any("search: 3 trials" in line for line in lines)
    assert set(RANGES) == {"scale", "group", "damping", "weights", "units"}


def test_a_policy_prunes_the_weights_and_units_with_the_lowest_cost() -> None:
    origin = PolicyOrigin(1.0, 0.1, (1.0, 2.0), (0, 1), (0, 2), (True, False), 100, 0.01)
    assert origin.at({}) == (1.0, 0.1, (1.0, 2.0), {0: KeptParts(), 2: KeptParts()})
    asked = {"weights 0": -1.0, "units 0": -0.4, "units 1": -0.4, "weights 1": 0.7, "group 1": 1.0}
    _, _, factors, kept = origin.at(asked)
    assert factors == (1.0, 4.0)
    assert kept == {0: KeptParts(0.5, 2**-0.4), 2: KeptParts()}
    matrix, power = RNG.normal(size=(20, 10)).astype(np.float32), np.diag(np.arange(1.0, 21.0))
    mask = make_mask(matrix, [slice(0, 20)], [power], KeptParts(0.5, 0.7))
    assert mask is not None
    costs = matrix**2 * np.arange(1, 21)[:, None]
    dead = ~mask.any(axis=0)
    assert dead.sum() == 3
    assert costs.sum(axis=0)[dead].max() < costs.sum(axis=0)[~dead].min()
    alive = mask[:, ~dead]
    assert costs[:, ~dead][~alive].max() < costs[:, ~dead][alive].min()
    assert make_mask(matrix, [slice(0, 20)], [power], KeptParts()) is None


def test_a_trial_keeps_zeros_and_corrects_the_other_weights(files: tuple[Path, Path]) -> None:
    model = load_model(files[0])
    session = prepare_session(model, Examples((INPUTS[:200],)), Examples((INPUTS[200:],)), most=200)
    first = session.kernels[0].index
    found = run_trial(session, 0.02, 0.01, kept={first: KeptParts(0.6, 0.8)})
    levels = next(one.levels for one in found.rounded if one.index == first)
    assert (levels == 0).all(axis=0).sum() == 8
    assert 0.4 <= (levels == 0).mean() < 0.6
    model.weights[first].assign(session.kernels[0].original * (levels != 0))
    assert found.kl < 0.9 * session.divergence()


def test_an_interrupted_search_writes_the_best_file(files: tuple[Path, Path], tmp_path: Path) -> None:
    trials: list[object] = []

    def interrupt(event: object) -> None:
        if str(event).startswith("searching"):
            trials.append(event)
            if len(trials) == 3:
                raise KeyboardInterrupt

    plain, _ = encode(files, tmp_path / "plain.wcz", tune=0)
    size, _ = encode(files, tmp_path / "a.wcz", search=40, progress=interrupt)
    assert len(trials) == 3
    assert size <= plain
    _, lines = encode(files, tmp_path / "a.wcz", search=4, resume=True)
    assert any("search: 4 trials" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"search": 0}, "expected 1 to 100,000 trials, got 0"),
        ({"search": 3, "sampler": "grid"}, "expected tpe or cmaes"),
        ({"search": 3, "finetune": 2}, "which trains"),
        ({"search": 3, "bits": 4}, "expected a budget of outputs"),
        ({"search": 3, "exclude": "kernel"}, "expected weights of two or more dimensions"),
    ],
)
def test_unusable_options_of_a_search_are_refused(
    files: tuple[Path, Path], tmp_path: Path, words: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        encode(files, tmp_path / "no.wcz", **words)
    assert not (tmp_path / "no.wcz").exists()


def test_a_missing_optuna_is_named_with_its_extra(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(RecipeError, match=r"pip install 'wcodec\[search\]'"):
        encode(files, tmp_path / "no.wcz", search=2)
