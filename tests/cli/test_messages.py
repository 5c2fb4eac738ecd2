"""Messages name the user's file, the cause and a remedy."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from attack.file_fields import dissect
from attack.small_models import encode_small, two_layers, weights, write_npz
from conftest import Run

import wcodec as package
from wcodec.cli.pipes import DASH, open_input
from wcodec.errors import CorruptError, ModelFileError, RecipeError, TruncatedError, UnsupportedError, WcodecError
from wcodec.evaluation import user_code
from wcodec.evaluation.datasets import open_npz
from wcodec.evaluation.model_loader import load_model
from wcodec.files import whole_file
from wcodec.modelfiles.detect import detect_kind
from wcodec.reporting.html_page import render_tile


def test_a_temporary_file_is_never_named(tmp_path: Path) -> None:
    target = tmp_path / "model.h5"
    for kind in (CorruptError, ModelFileError):
        with pytest.raises(kind, match=rf"^{target}: cannot be written, model\.h5$"), whole_file(target) as temporary:
            raise kind(f"{temporary}: cannot be written, {temporary.name}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.mlmodel", b"\x08\x05\x12\x02ab", "a Core ML model: encode the model that it was converted from"),
        ("frozen.pb", b"\x0a\x05abcde", "a TensorFlow graph: encode the Keras model that it was made from"),
        ("saved_model.pb", b"\x08\x01\x12\x02ab", "the graph of a SavedModel: Keras 3 cannot load it; tf_keras can"),
        ("m.onnx", b"\x08\x05\x12\x02ab", "a damaged ONNX model: a message without a graph"),
        ("m.bin", b"\x08\x05\x12\x02ab", "a protocol buffer without a graph, no ONNX model"),
    ],
)
def test_protocol_buffers_other_than_onnx_are_named(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"{name}: is {words}.*--lossless keeps any file"):
        detect_kind(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.gguf", b"GGUF\x03\0\0\0", "a GGUF file"),
        ("a.tflite", b"\x1c\0\0\0TFL3", "a TFLite model"),
        ("a.pkl", b"\x80\x04\x95ab", "a Python pickle"),
        ("a.gz", b"\x1f\x8b\x08\0", "gzip-compressed"),
        ("frozen.pb", b"\x0a\x05abcde", "a TensorFlow graph"),
        ("saved/saved_model.pb", b"\x08\x01", "a SavedModel: Keras 3 cannot load it; tf_keras can"),
    ],
)
def test_evaluate_and_encode_name_an_unsupported_format_in_the_same_words(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    path = tmp_path / name.partition("/")[0]
    with pytest.raises(ModelFileError, match=f"^{path.name}: is {words}"):
        load_model(path)


def test_an_error_of_a_file_from_standard_input_names_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"no model")))
    with pytest.raises(ModelFileError, match=r"^standard input: expected \.h5, \.keras"), open_input(DASH) as path:
        detect_kind(path)


def test_a_folder_without_a_wcz_and_an_interrupted_one_have_different_errors(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"")
    with pytest.raises(UnsupportedError, match=r"expected a \.wcz, found a folder without one; encode makes one"):
        package.verify(tmp_path)
    (tmp_path / "a.safetensors.wcz").write_bytes(b"")
    with pytest.raises(TruncatedError, match="found none; was encoding interrupted"):
        package.verify(tmp_path)


def test_missing_examples_and_those_of_another_format_are_refused(tmp_path: Path) -> None:
    for name, words in (("none.npz", "none"), (".", "a folder")):
        with pytest.raises(RecipeError, match=f"expected an .npz file, found {words}"), open_npz(tmp_path / name):
            pass
    (tmp_path / "m.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(RecipeError, match="got bytes 08 00 00"), open_npz(tmp_path / "m.safetensors"):
        pass


def test_a_path_instead_of_a_module_is_refused_with_the_name_of_the_module(tmp_path: Path) -> None:
    for name in ("layers.py", "./layers", f"{tmp_path}/mine.py"):
        with pytest.raises(RecipeError, match=r"expected the name of a module, got a path; (layers|mine) is its name"):
            user_code.import_module(name)


def test_a_base_that_is_not_needed_causes_a_note(wcodec: Run, tmp_path: Path) -> None:
    packed = encode_small(tmp_path, "npz", two_layers())
    done = wcodec("decode", packed, "--base", tmp_path / "model.npz", "-o", tmp_path / "back.npz")
    assert done.returncode == 0
    assert "model.npz.wcz: needs no --base" in done.stderr


def test_missing_data_are_refused_before_a_framework_is_imported(wcodec: Run, tmp_path: Path) -> None:
    source = write_npz(tmp_path / "m.npz", two_layers())
    for words in (["evaluate", source], ["encode", source]):
        done = wcodec(*words, "--data", "missing.npz:test")
        assert (done.returncode, "--data missing.npz: expected a file, found none" in done.stderr) == (2, True)
        done = wcodec(*words, "--data", "nonsense")
        assert (done.returncode, "--data nonsense: expected FILE.npz" in done.stderr) == (2, True)


def test_a_container_that_is_replaced_while_it_is_open_is_not_called_corrupt(tmp_path: Path) -> None:
    packed = encode_small(tmp_path, "npz", {"w": weights(1, 90, 70), "v": weights(2, 90, 70)}, lossless=True)
    opened = package.open(packed)
    assert opened["w"].shape == (90, 70)
    other = tmp_path / "other"
    other.mkdir()
    os.replace(encode_small(other, "npz", {"w": weights(3, 90, 70), "v": weights(4, 9, 7)}), packed)
    with pytest.raises(WcodecError, match=r"was replaced or written since it was opened") as caught:
        _ = opened["v"]
    assert type(caught.value) is WcodecError


def test_a_container_that_is_written_while_it_is_decoded_is_not_called_corrupt(tmp_path: Path) -> None:
    from wcodec.pipeline.decoder import decode

    packed = encode_small(tmp_path, "npz", {f"{i}": weights(i, 90, 70) for i in range(4)}, lossless=True)
    whole = packed.read_bytes()
    last = dissect(whole).entries[-1].sections[0]
    at = whole.index(last)

    def damage(facts: object) -> None:
        with packed.open("r+b") as file:
            file.seek(at + 9)
            file.write(b"\0\1\2\3")
        os.utime(packed, ns=(1, 1))

    with pytest.raises(WcodecError, match=r"model\.npz\.wcz: changed while it was read") as caught:
        decode(packed, tmp_path / "out.npz", threads=1, progress=damage)
    assert type(caught.value) is WcodecError
    packed.write_bytes(whole[: at + 9] + b"\0\1\2\3" + whole[at + 13 :])
    with pytest.raises(CorruptError):
        decode(packed, tmp_path / "out.npz", threads=1)


@pytest.mark.parametrize("character", ["\x1b", "\u202e", "\u2066", "\x07", "\u200b"])
def test_a_page_has_no_control_characters(character: str) -> None:
    assert character not in render_tile(f"a{character}b", f"<c{character}>")
    assert "&lt;c" in render_tile("1", "<c>")


@pytest.mark.parametrize("character", ["\x1b", "\u202e", "\x07"])
def test_errors_and_progress_in_python_have_no_control_characters(character: str) -> None:
    from wcodec.api.progress import ProgressEvent
    from wcodec.errors import ModelFileError

    text = f"m.pt: torch refuses it: {character}[2J"
    numbers = package.inspect(package.encode({f"a{character}b": np.ones((30, 20), np.float32)}))
    assert character not in str(numbers)
    assert str(ModelFileError(text)) == str(ProgressEvent(text)) == "m.pt: torch refuses it: \ufffd[2J"


def test_a_source_without_read_permission_is_an_error_and_not_called_corrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from wcodec.cli.main import main

    np.savez(tmp_path / "m.npz", w=np.ones((3, 3), np.float32))
    shutil.copy(tmp_path / "m.npz", tmp_path / "m.wcz")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for words in (["encode", "m.npz"], ["inspect", "m.wcz"], ["verify", "m.wcz"]):
        assert main([words[0], str(tmp_path / words[1])]) == 1
        assert "cannot be read: Permission denied" in capfd.readouterr().err


def test_an_unknown_or_ambiguous_tensor_is_a_usage_error_of_decode_and_of_inspect(wcodec: Run, tmp_path: Path) -> None:
    packed = encode_small(tmp_path, "npz", {"a/kernel": weights(1, 90, 70), "b/kernel": weights(2, 90, 70)})
    for verb, *words in (["decode", "-o", tmp_path / "t.npz"], ["inspect"]):
        for name, message in (("kernel", "one tensor 'kernel', found a/kernel, b/kernel"), ("c", "a tensor 'c'")):
            done = wcodec(verb, packed, "--tensor", name, *words)
            assert (done.returncode, f"--tensor: expected {message}" in done.stderr) == (2, True)


def test_an_error_of_the_base_names_only_the_base(wcodec: Run, tmp_path: Path) -> None:
    packed = encode_small(tmp_path, "npz", two_layers())
    (tmp_path / "old.wcz").write_bytes(packed.read_bytes()[:60])
    done = wcodec("encode", tmp_path / "model.npz", "--base", tmp_path / "old.wcz", "-o", tmp_path / "new.wcz")
    assert done.returncode == 3
    assert "old.wcz" in done.stderr
    assert "model.npz" not in done.stderr


def test_a_newline_in_a_file_name_is_not_printed(wcodec: Run, samples: Path, tmp_path: Path) -> None:
    model, coded = tmp_path / "a\nb\t.h5", tmp_path / "c\n.wcz"
    model.write_bytes((samples / "tutorial_cnn.h5").read_bytes())
    for words in (
        ["encode", model, "-o", coded], ["verify", coded], ["decode", coded, "-o", tmp_path / "d\n.h5"],
        ["rebase", coded, "-f"],
    ):  # fmt: skip
        done = wcodec(*words)
        assert (done.returncode, len(done.stderr.splitlines())) == (0, 1)
        assert "\ufffd" in done.stderr
    assert len(wcodec("sweep", model, "--points", 1, "--time-limit", 0, "-q").stdout.split("\n\n")[0].splitlines()) == 2


@pytest.mark.parametrize("word", ["--tune", "--max-kl", "--min-agreement"])
def test_options_that_cannot_be_combined_with_finetune_are_named(wcodec: Run, samples: Path, word: str) -> None:
    words = ["--data", samples / "mnist.npz:train", "--finetune", 4, "--max-drop", 5, word, 1]
    done = wcodec("encode", samples / "tutorial_cnn.h5", "--dry-run", *words)
    assert done.returncode == 2
    assert f"\nwcodec: {word}: cannot be combined with --finetune" in done.stderr
