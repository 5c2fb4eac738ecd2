"""The reference decoder of formats/wcz.md and the package decode every golden file and new files to the same values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import reference_decoder
import reference_files
from conftest import ROOT, Run

from wcodec.pipeline.decoder import decode, open_container

GOLDEN = ROOT / "formats" / "golden"
GOOD = sorted((GOLDEN / "good").glob("*.wcz"))
BAD = json.loads((GOLDEN / "bad" / "expected.json").read_text())


def assert_equal_values(file: Path) -> None:
    """Assert that both decoders give the same bytes for every tensor."""
    found = reference_decoder.decode(file.read_bytes())
    with open_container(file) as opened:
        assert list(found) == list(opened.names())
        for name in opened.names():
            assert found[name].tobytes() == opened[name].tobytes(), name


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_the_reference_decoder_decodes_a_golden_file(file: Path) -> None:
    assert_equal_values(file)


@pytest.mark.parametrize("file", [file for file in GOOD if "identical" in file.stem], ids=lambda file: file.stem)
def test_the_reference_decoder_restores_an_identical_file(file: Path, tmp_path: Path) -> None:
    assert reference_files.main([str(file), str(tmp_path / "by the page")]) == 0
    decode(file, tmp_path / "by the package")
    assert (tmp_path / "by the page").read_bytes() == (tmp_path / "by the package").read_bytes()


@pytest.mark.parametrize("name", BAD)
def test_the_reference_decoder_refuses_a_bad_file(name: str) -> None:
    error = reference_decoder.UnsupportedError if BAD[name] == "UnsupportedError" else reference_decoder.CorruptError
    with pytest.raises(error):
        reference_decoder.decode((GOLDEN / "bad" / name).read_bytes())


@pytest.mark.parametrize("words", [[], ["--bits", "4", "--sparsity", "0.8"], ["--fast"], ["--lossless"]])
def test_the_reference_decoder_decodes_a_new_file(wcodec: Run, tmp_path: Path, words: list[str]) -> None:
    rng = np.random.default_rng(3)
    np.savez(
        tmp_path / "m.npz",
        k=rng.normal(size=(3, 3, 6, 8)).astype(np.float32),
        d=rng.normal(size=(40, 30)),
        b=np.arange(9),
    )
    assert wcodec("encode", tmp_path / "m.npz", "-o", tmp_path / "m.wcz", *words).returncode == 0
    assert_equal_values(tmp_path / "m.wcz")


def test_the_reference_decoder_decodes_a_sample(wcodec: Run, samples: Path, tmp_path: Path) -> None:
    model = tmp_path / "cnn.wcz"
    assert wcodec("encode", samples / "tutorial_cnn.h5", "-o", model, "--preset", "small").returncode == 0
    assert_equal_values(model)
    assert reference_decoder.main([str(model), str(tmp_path / "cnn.npz")]) == 0
    with np.load(tmp_path / "cnn.npz") as found, open_container(model) as opened:
        assert all(found[name].tobytes() == opened[name].tobytes() for name in opened.names())


def test_the_reference_decoder_does_not_import_the_package() -> None:
    for file in (ROOT / "formats").glob("reference_*.py"):
        assert "import wcodec" not in file.read_text("utf-8")
        assert "from wcodec" not in file.read_text("utf-8")


def test_the_example_of_the_specification_is_decoded() -> None:
    page = (ROOT / "formats" / "wcz.md").read_text("utf-8")
    content = bytes.fromhex("".join(page.split("```hex\n")[1].split("```")[0].split()))
    assert len(content) == 94
    weights = reference_decoder.decode(content)["w"]
    rows = [line.split() for line in page.split("## 12.")[1].split("```\n")[1].splitlines()[:4]]
    assert weights.tolist() == [[float(word) for word in row] for row in rows]
