"""The commands of README and of the guide that name files of a user: each runs, on small files of these names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, THOROUGH

from wcodec.cli import main
from wcodec.cli.aliases import expand_aliases
from wcodec.cli.parser import build_parser

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
TEXT = "\n".join(page.read_text("utf-8") for page in PAGES if page.stem != "options")
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.M | re.S)
PLAIN = [block for language, block in BLOCK.findall(TEXT) if not language]
LINES = [line for block in PLAIN for line in block.splitlines() if line.startswith("wcodec ")]
COMMANDS = [shlex.split(line, comments=True)[1:] for line in LINES]
SLOW = ("--finetune", "--tune", "slim", "sweep")
"""Words of commands that train, or measure many networks: they run in the thorough run, and are parsed otherwise."""
ELSEWHERE = ("--scheduler", "model.onnx", "--model")
"""Words of commands that need other machines or frameworks: they are parsed."""
FORCED = ("encode", "decode", "slim", "sweep")
CLASSES, FEATURES = 3, 8

SCORE = """
import numpy as np
def cosine(tensors):
    return float(np.mean([np.abs(values).sum() > 0 for values in tensors.values()]))
"""


def make_network(width: int, outputs: int, activation: str | None):
    import keras

    layers = [keras.Input((FEATURES,)), keras.layers.Dense(width, "relu", name="ip1")]
    return keras.Sequential([*layers, keras.layers.Dense(outputs, activation, name="ip2")])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every file that README's commands name."""
    import keras

    folder = tmp_path_factory.mktemp("readme")
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, 700)
    x = (4 * np.eye(CLASSES, FEATURES)[y] + rng.normal(0, 0.3, (700, FEATURES))).astype(np.float32)
    np.savez(folder / "mnist.npz", x_train=x[:500], y_train=y[:500], x_test=x[500:], y_test=y[500:])
    np.savez(folder / "train.npz", x=x[:500], y=y[:500])
    np.savez(folder / "inputs.npz", x=x[:200])
    network = make_network(24, CLASSES, "softmax")
    network.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", jit_compile=False)
    network.fit(x[:500], y[:500], epochs=4, verbose=0)
    for name in ("model.h5", "model.keras", "new.h5", "step2.keras"):
        network.save(folder / name)
    make_network(12, CLASSES, "softmax").save(folder / "narrow.keras")
    (folder / "alleles").mkdir()
    for number, name in enumerate(("old.h5", "step1.keras", "alleles/a.h5", "alleles/b.h5", "alleles/c.h5")):
        moved = [weights + 1e-3 * number * rng.normal(size=weights.shape) for weights in network.get_weights()]
        network.set_weights(moved)
        network.save(folder / name)
    values = make_network(16, 1, None)
    values.compile("adam", "mse", jit_compile=False)
    values.save(folder / "net.keras")
    np.savez(folder / "prices.npz", x=x[:200], y=values.predict(x[:200], verbose=0) + 0.1)
    (folder / "my_task.py").write_text(SCORE, "utf-8")
    (folder / "checkpoint").mkdir()
    for number in (1, 2):
        shard = {f"layers.{number}.weight": rng.normal(size=(16, 16)).astype(np.float32)}
        np.savez(folder / "checkpoint" / f"part{number}.npz", **shard)
    for words in (
        ["encode", "step1.keras", "--lossless"],
        ["encode", "model.h5", "-o", "upload.wcz"],
        ["encode", "net.keras", "-o", "net.wcz", "--preset", "safe"],
        ["decode", "upload.wcz", "-o", "model.safetensors"],
    ):
        names = [str(folder / word) if "." in word else word for word in words]
        assert main([*names, "-q"]) == 0
    return folder


def is_run(words: list[str]) -> bool:
    return not set(words) & set(ELSEWHERE) and (THOROUGH or not set(words) & set(SLOW))


def test_the_commands_run_one_after_another(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.syspath_prepend(str(desk))
    for words in filter(is_run, COMMANDS):
        more = ["-f"] if words[0] in FORCED and "-f" not in words else []
        assert main([*words, *more]) == 0, (words, capsys.readouterr().err)


def test_the_commands_that_take_long_have_options_that_exist() -> None:
    top = build_parser()
    for words in COMMANDS:
        if not is_run(words):
            _, unknown = top.parse_known_args(expand_aliases(words, top.verbs))
            assert not unknown, words


def test_options_and_verbs_of_the_text_exist() -> None:
    top = build_parser()
    known = {word for parser in top.verbs.values() for action in parser._actions for word in action.option_strings}
    inside = {word for span in re.findall(r"`([^`\n]+)`", TEXT) for word in re.findall(r"(?<!\S)--[a-z][a-z-]+", span)}
    others = {"--index-url"}  # of pip
    assert inside - known - others == set()
    assert {words[0] for words in COMMANDS} <= set(top.verbs)
