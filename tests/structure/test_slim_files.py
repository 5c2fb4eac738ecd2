"""Interrupted trainings are resumed, and slimmed networks are written in the requested form."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import wcodec
from tests.structure.small_chain import INPUTS, Slim, chain, slim_command  # noqa: F401 - a fixture
from wcodec.cli import main
from wcodec.errors import ModelFileError, RecipeError
from wcodec.evaluation.examples import Examples
from wcodec.evaluation.keras_backend import keras
from wcodec.evaluation.label_check import is_unlabelled
from wcodec.evaluation.model_loader import load_model
from wcodec.structure import fitting, narrowing
from wcodec.structure.bench import prepare
from wcodec.structure.narrowing import settings_of
from wcodec.structure.request import SlimRequest
from wcodec.structure.selection import Amount
from wcodec.structure.training_state import FitState, StateFile, read


def test_an_interrupted_training_keeps_the_best_network_and_is_resumed_exactly(tmp_path: Path) -> None:
    model, examples = chain(10), Examples((INPUTS,))
    apart, rest = examples.take(np.arange(100)), examples.take(np.arange(100, 400))
    targets, wanted = fitting.targets_of(model, rest), fitting.targets_of(model, apart)
    file = StateFile(tmp_path / "state", {"epochs": 4}, np.zeros(0, bool))
    losses: list[float] = []

    def train_until(stop: int, state: FitState | None = None) -> list[np.ndarray]:
        def epoch(number: int, loss: float) -> None:
            losses.append(loss)
            if number == stop:
                raise KeyboardInterrupt

        keras().utils.set_random_seed(11)
        student = keras().models.clone_model(model)
        watch = fitting.TrainingObserver(epoch=epoch, apart=(apart, wanted), file=file, state=state)
        assert fitting.fit(student, rest, targets, 4, watch=watch) == (stop == 4)
        return student.get_weights()

    whole = train_until(4)
    half = train_until(1)
    known = read(file.path, {"epochs": 4})
    assert known is not None
    assert known[1].epochs == 2
    assert all(np.array_equal(a, b) for a, b in zip(half, known[1].best, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(train_until(4, known[1]), whole, strict=True))
    assert losses[:4] == losses[4:]
    with pytest.raises(RecipeError, match="--resume: expected epochs 4 as it began, got 5"):
        read(file.path, {"epochs": 5})
    file.path.write_bytes(file.path.read_bytes()[:200])
    with pytest.raises(ModelFileError, match="remove it to start again"):
        read(file.path, {"epochs": 4})


def test_the_wcz_equals_that_of_encode_and_the_page_has_a_row_for_each_layer(
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--width", 1.5], "--width: expected over 0 to 1"),
        (["--width", 0.5, "--params", 0.5], "expected one way of saying how much"),
        (["--width", 0.5, "--finetune", 2, "--data", "DATA:bare"], "expected labels to train by, got none"),
        (["--student", "none.keras", "--data", "DATA"], "--student none.keras: expected a model file"),
        (["--width", 0.5, "--data", "none.npz"], "--data none.npz: expected a file, found none"),
    ],
)
def test_errors_that_need_no_network_are_found_before_a_framework_starts(
    words: list[object], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "data.npz", x=INPUTS, y=np.zeros(len(INPUTS)), x_bare=INPUTS)
    (tmp_path / "model.keras").write_bytes(b"not read")
    named = [str(word).replace("DATA", str(tmp_path / "data.npz")) for word in words]
    script = (
        "import sys; from wcodec.cli import main; code = main(sys.argv[1:]);"
        "print(code, [name for name in ('tensorflow', 'keras', 'torch') if name in sys.modules])"
    )
    given = ["slim", str(tmp_path / "model.keras"), "-o", str(tmp_path / "small.keras"), *named]
    command = [sys.executable, "-c", script, *given]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "2 []"
    assert message in done.stderr


def test_a_folder_or_split_without_labels_is_recognized_by_its_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_train=INPUTS, y_train=INPUTS, x_test=INPUTS, y_test_out=INPUTS, x_bare=INPUTS)
    spec = str(tmp_path / "d.npz")
    unlabelled = {split: is_unlabelled(f"{spec}:{split}") for split in ("train", "test", "bare")}
    assert unlabelled == {"train": False, "test": False, "bare": True}
    assert not is_unlabelled(spec)
    (tmp_path / "images" / "a").mkdir(parents=True)
    assert not is_unlabelled(tmp_path / "images")
    assert is_unlabelled(tmp_path / "images" / "a")


def test_the_requested_speed_is_reported_with_its_batch(
    slim: Slim, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "seconds_of", lambda models, batch: [float(one.count_params()) for one in models])
    assert slim("--speedup", 2) == 0
    assert "2 times as fast at a batch of 256: " in capsys.readouterr().err
    assert slim("--speedup", 900, "-f") == 4
    assert "expected 900 times the speed at a batch of 256, the most is" in capsys.readouterr().err


def test_a_calibrated_wcz_reports_the_loss_of_slimming_the_rest_and_the_total(
    slim: Slim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded = tmp_path / "out.wcz"
    assert slim("--max-drop", 9, "--data", "DATA", "-o", coded, "--json") == 0
    out, err = capsys.readouterr()
    used = re.search(r"slimming lost (-?[\d.]+) of the 9 points of --max-drop, ([\d.]+) are left", err)
    assert used
    assert float(used[2]) == pytest.approx(9 - max(0.0, float(used[1])), abs=0.011)
    assert re.search(r"budget: a drop of at most \d+(\.\d{1,2})? points\n", err)
    assert "model.keras: loading" in err
    total = re.search(
        r"together, against the original: measured on 60 held-out examples: .*drop ([-+][\d.]+) points", err
    )
    assert total
    assert json.loads(out)["measured"]["accuracy_drop"] == pytest.approx(float(total[1]), abs=0.006)


def test_without_data_the_loss_is_reported_as_unknown(slim: Slim, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = "what the smaller network loses is unknown without data: 'wcodec evaluate' measures it"
    assert slim("--width", 0.5) == 0
    assert unknown in capsys.readouterr().err
    for words in (["--compact"], ["--width", 1], ["--width", 0.5, "--data", "DATA"]):
        assert slim(*words, "-f") == 0
        assert unknown not in capsys.readouterr().err


def test_a_training_is_not_resumed_with_other_augmentation(slim: Slim, tmp_path: Path) -> None:
    assert slim("--width", 1, "-q") == 0
    request = SlimRequest(Amount("width", 0.5), data=str(tmp_path / "data.npz"), epochs=2)
    bench = prepare(tmp_path / "model.keras", request)
    file = StateFile(tmp_path / "state", settings_of(bench), np.zeros(0, bool))
    file.save(FitState(1, 0.0, [], [], []))
    assert read(file.path, settings_of(bench)) is not None
    with pytest.raises(RecipeError, match="--resume: expected augment None as it began, got images"):
        read(file.path, settings_of(replace(bench, request=replace(request, augment="images"))))


def test_a_student_is_encoded_with_labels_as_any_network(
    slim: Slim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain(8).save(tmp_path / "student.keras")
    data = str(tmp_path / "data.npz")
    assert slim("--student", tmp_path / "student.keras", "--data", data, "--finetune", 10, "-q") == 0
    words = ["encode", str(tmp_path / "small.keras"), "--data", data, "--finetune", "4", "--max-drop", "5", "--json"]
    assert main([*words, "-o", str(tmp_path / "student.wcz")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["measured"]["accuracy_drop"] <= 5.5
    assert found["file_bytes"] < (tmp_path / "small.keras").stat().st_size / 4
    assert load_model(tmp_path / "student.wcz").layers[0].units <= 8


def test_python_and_the_command_have_the_same_rank_and_refuse_other_types(tmp_path: Path) -> None:
    model = chain(24, 24)
    kernel = np.outer(np.arange(1, 25), np.ones(24)).astype(np.float32)
    model.layers[-2].kernel.assign(kernel[:, : model.layers[-2].kernel.shape[1]])
    assert wcodec.slim(model, tmp_path / "small.keras", low_rank="auto").after.parameters < model.count_params()
    with pytest.raises(wcodec.RecipeError, match="low_rank: expected a number over 0 to 1, or auto, got half"):
        wcodec.slim(model, tmp_path / "other.keras", low_rank="half")
    with pytest.raises(wcodec.RecipeError, match="width: expected a number, got 'half'"):
        wcodec.slim(model, tmp_path / "other.keras", width="half")
