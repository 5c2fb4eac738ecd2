"""The installed command on real model files: its outputs, their paths, and its messages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Run


@pytest.fixture
def model(samples: Path, tmp_path: Path) -> Path:
    """A copy of a small model, the only file of its folder."""
    copy = tmp_path / "tutorial_cnn.h5"
    copy.write_bytes((samples / "tutorial_cnn.h5").read_bytes())
    return copy


def test_encode_and_decode_name_their_outputs_and_keep_the_source(wcodec: Run, model: Path) -> None:
    original = model.read_bytes()
    assert wcodec("encode", model, "--lossless", cwd=model.parent).returncode == 0
    packed = model.with_name("tutorial_cnn.h5.wcz")
    assert packed.stat().st_size < len(original)
    assert model.read_bytes() == original
    model.unlink()
    assert wcodec("decode", packed, cwd=model.parent).returncode == 0
    assert sorted(path.name for path in model.parent.iterdir()) == ["tutorial_cnn.h5", "tutorial_cnn.h5.wcz"]


def test_existing_files_are_not_overwritten_without_force(wcodec: Run, model: Path) -> None:
    packed = model.with_name("p.wcz")
    packed.write_bytes(b"precious")
    refused = wcodec("encode", model, "-o", packed)
    assert (refused.returncode, packed.read_bytes()) == (1, b"precious")
    assert len(refused.stderr.splitlines()) == 1
    assert "-f overwrites" in refused.stderr
    assert wcodec("encode", model, "-o", packed, "-f").returncode == 0
    assert wcodec("decode", packed, "-o", model).returncode == 1
    assert wcodec("decode", packed, "-o", packed, "-f").returncode == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["encode", "missing.h5"], 1, "missing.h5"),
        (["encode", "MODEL", "-o", "no/such/folder.wcz"], 1, "no/such"),
        (["encode", "MODEL", "--bits", "99"], 2, "bits"),
        (["encode", "MODEL", "--sparsity", "2"], 2, "sparsity"),
        (["encode", "MODEL", "--threshold", "1.5sigma"], 2, "threshold"),
        (["encode", "MODEL", "--target-size", "2 parsecs"], 2, "size"),
        (["encode", "MODEL", "--set", "nothing_is_called_so:bits=4"], 2, "nothing_is_called_so"),
        (["encode", "MODEL", "--exclude", "("], 2, "regular expression"),
        (["encode", "MODEL", "--config", "missing.toml"], 2, "missing.toml"),
        (["encode", "MODEL", "--bits", "1", "--max-error", "1e-12"], 4, "1e-12"),
        (["encode", "TEXT"], 5, "text.h5"),
        (["encode", "MODEL", "-o", "-", "--json"], 2, "standard output"),
        (["decode", "MODEL", "--tensor", "w", "-o", "-"], 2, "-:"),
        (["encode", "MODEL", "--base", "MODEL", "--data", "d.npz"], 2, "--base"),
        (["encode", "MODEL", "--base", "MODEL", "--moments", "m.npz"], 2, "--base"),
        (["encode", "MODEL", "--lossless", "--data", "d.npz"], 2, "lossless"),
        (["decode", "MODEL"], 3, "tutorial_cnn.h5"),
        (["verify", "TEXT"], 3, "text.h5"),
        (["verify", "missing.wcz"], 1, "missing.wcz"),
        (["evaluate", "MODEL", "--data", "missing.npz", "--max-drop", "1"], 2, "--baseline"),
    ],
)
def test_every_error_has_one_line_and_its_exit_code(
    wcodec: Run, model: Path, words: list[str], code: int, message: str
) -> None:
    text = model.with_name("text.h5")
    text.write_text("not a model")
    before = sorted(model.parent.iterdir())
    places = {"MODEL": str(model), "TEXT": str(text)}
    done = wcodec(*(places.get(word, word) for word in words), cwd=model.parent)
    assert (done.returncode, done.stdout) == (code, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("wcodec: ")
    assert message in done.stderr
    assert sorted(model.parent.iterdir()) == before


def test_debug_prints_the_traceback_of_an_error(wcodec: Run, model: Path) -> None:
    done = wcodec("decode", model, "--debug")
    assert done.returncode == 3
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("wcodec: ")


def test_the_json_of_encode_has_all_figures_and_its_parts_sum_to_the_file(wcodec: Run, model: Path) -> None:
    done = wcodec("encode", model, "--json", "-q", "--bits", "5")
    numbers = json.loads(done.stdout)
    assert done.stderr == ""
    assert numbers["source_bytes"] == model.stat().st_size
    assert numbers["file_bytes"] == sum(numbers["parts"].values()) == Path(f"{model}.wcz").stat().st_size
    assert {"schema_version", "format_version", "tensor_bytes", "weight_bytes"} <= set(numbers)
    assert {"seconds", "relative_error"} <= set(numbers)
    keys = {"name", "layer", "shape", "dtype", "weights", "kept", "bits_per_weight", "bytes", "parts"}
    assert all(keys <= set(tensor) for tensor in numbers["tensors"])


def test_inspect_prints_every_tensor_and_the_total(wcodec: Run, coded: Path) -> None:
    numbers = json.loads(wcodec("inspect", coded, "--json").stdout)
    text = wcodec("inspect", coded, "--sort", "size").stdout
    assert all(tensor["name"] in text for tensor in numbers["tensors"])
    assert f"{numbers['file_bytes']:,}" in text


def test_inspect_reads_model_files(wcodec: Run, model: Path) -> None:
    numbers = json.loads(wcodec("inspect", model, "--json").stdout)
    assert numbers["file_bytes"] == numbers["source_bytes"] == model.stat().st_size
    assert numbers["tensors"]
    assert wcodec("inspect", model).returncode == 0


def test_a_dry_run_writes_no_file_and_prints_its_exact_size(wcodec: Run, model: Path) -> None:
    dry = json.loads(wcodec("encode", model, "--dry-run", "--json").stdout)
    assert [path.name for path in model.parent.iterdir()] == [model.name]
    written = json.loads(wcodec("encode", model, "--json").stdout)
    assert dry["file_bytes"] == written["file_bytes"]


def test_verify_prints_one_line(wcodec: Run, coded: Path) -> None:
    done = wcodec("verify", coded)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (0, "", 1)


def test_single_tensors_are_decoded_to_npy_and_npz(wcodec: Run, coded: Path, tmp_path: Path) -> None:
    first, second = (tensor["name"] for tensor in json.loads(wcodec("inspect", coded, "--json").stdout)["tensors"][:2])
    assert wcodec("decode", coded, "--tensor", first, "--tensor", second, "-o", tmp_path / "t.npz").returncode == 0
    assert wcodec("decode", coded, "--tensor", first, "-o", tmp_path / "t.npy").returncode == 0
    with np.load(tmp_path / "t.npz") as arrays:
        assert sorted(arrays) == sorted([first, second])
        np.testing.assert_array_equal(arrays[first], np.load(tmp_path / "t.npy"))
    short = first.split("/", 1)[1]
    assert wcodec("decode", coded, "--tensor", short, "-o", tmp_path / "short.npy").returncode == 0
    np.testing.assert_array_equal(np.load(tmp_path / "short.npy"), np.load(tmp_path / "t.npy"))
    unknown = wcodec("decode", coded, "--tensor", "nope", "-o", tmp_path / "u.npz")
    assert (unknown.returncode, len(unknown.stderr.splitlines())) == (2, 1)
    assert not (tmp_path / "u.npz").exists()


def test_the_number_of_threads_does_not_change_the_bytes(wcodec: Run, model: Path) -> None:
    contents = []
    for number, threads in enumerate((1, 2, 2)):
        packed = model.with_name(f"{number}.wcz")
        assert wcodec("encode", model, "-o", packed, "-T", threads, "--bits", "4").returncode == 0
        contents.append(packed.read_bytes())
    assert contents[0] == contents[1] == contents[2]


def test_the_file_is_within_the_requested_size(wcodec: Run, model: Path) -> None:
    packed = Path(f"{model}.wcz")
    assert wcodec("encode", model, "--target-size", "8kB", "-f").returncode == 0
    assert packed.stat().st_size <= 8000
    assert wcodec("encode", model, "--target-ratio", "10", "-f").returncode == 0
    assert packed.stat().st_size * 10 <= model.stat().st_size


def test_a_configuration_and_the_same_options_give_the_same_bytes(wcodec: Run, model: Path) -> None:
    config = model.with_name("c.toml")
    config.write_text('bits = 4\nsparsity = 0.5\n\n[[set]]\npattern = "bias"\nlossless = true\n')
    first, second = model.with_name("1.wcz"), model.with_name("2.wcz")
    assert wcodec("encode", model, "-o", first, "--config", config).returncode == 0
    words = ("--bits", "4", "--sparsity", "0.5", "--set", "bias:lossless")
    assert wcodec("encode", model, "-o", second, *words).returncode == 0
    assert first.read_bytes() == second.read_bytes()


def test_completions_have_the_verbs(wcodec: Run) -> None:
    for shell in ("bash", "zsh"):
        done = wcodec("completion", shell)
        assert done.returncode == 0
        assert all(verb in done.stdout for verb in ("encode", "decode", "inspect", "verify", "evaluate"))


def test_a_device_is_not_replaced_by_a_file(wcodec: Run, model: Path) -> None:
    refused = wcodec("encode", model, "-o", "/dev/full", "-f")
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert not Path("/dev/full").is_file()


def test_an_output_through_a_link_does_not_replace_the_link(wcodec: Run, model: Path) -> None:
    link = model.with_name("link.wcz")
    link.symlink_to(model.with_name("real.wcz"))
    assert wcodec("encode", model, "-o", link).returncode == 0
    assert link.is_symlink()
    assert wcodec("verify", link).returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--target-ratio", "inf"],
        ["--lossless", "--bits", "4"],
        ["--lossless", "--max-error", "1e-3"],
        ["--lossless", "--preset", "small"],
        ["--set", ":bits=2"],
        ["--global"],
        ["--global", "--threshold", "0.1"],
        ["--start", "density"],
        ["--seed", "-1"],
        ["-T", "-3"],
        ["-T", "999999999"],
    ],
)
def test_contradicting_options_and_invalid_values_are_usage_errors(wcodec: Run, model: Path, words: list[str]) -> None:
    refused = wcodec("encode", model, *words)
    assert refused.returncode == 2
    assert "internal" not in refused.stderr
    assert not model.with_name("tutorial_cnn.h5.wcz").exists()


def test_a_binary_configuration_and_an_empty_folder_are_refused(wcodec: Run, model: Path) -> None:
    assert wcodec("encode", model, "--config", model).returncode == 2
    (model.parent / "empty").mkdir()
    refused = wcodec("encode", ".", cwd=model.parent / "empty")
    assert refused.returncode in {1, 5}
    assert "internal" not in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
