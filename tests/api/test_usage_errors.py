"""Errors in Python name the argument by its keyword, before a framework is imported."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from attack.small_models import encode_small, two_layers, weights

import wcodec
from wcodec.errors import ContainerError, CorruptError, ModelFileError, RecipeError, TruncatedError, UnsupportedError

if TYPE_CHECKING:
    from wcodec.evaluation.integer_layers import IntegerType

HTML = b"<html><body>404 Not Found</body></html>"
READERS: list[Callable[[bytes], object]] = [
    wcodec.load_model, wcodec.load, wcodec.open, wcodec.inspect, wcodec.decode, wcodec.verify,
]  # fmt: skip


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"", CorruptError), (b"abc", TruncatedError), (b"\x89WCZ", TruncatedError), (HTML, CorruptError)],
)
def test_invalid_bytes_raise_the_same_error_in_memory_and_in_a_file(
    read: Callable[[object], object], content: bytes, kind: type[ContainerError], tmp_path: Path
) -> None:
    (tmp_path / "x.wcz").write_bytes(content)
    for source in (content, io.BytesIO(content), *([tmp_path / "x.wcz"] if len(content) > 3 else [])):
        with pytest.raises(ContainerError) as caught:
            read(source)
        assert type(caught.value) is kind
        assert "wcodec-" not in str(caught.value)


@pytest.mark.parametrize("read", [wcodec.load_model, wcodec.load, wcodec.open, wcodec.inspect, wcodec.decode])
def test_errors_of_bytes_in_memory_name_the_source_and_not_a_temporary_file(
    read: Callable[..., object], tmp_path: Path
) -> None:
    packed = encode_small(tmp_path, "npz", two_layers()).read_bytes()
    with pytest.raises(UnsupportedError, match=r"^source: expected to decode to at most 10 bytes"):
        read(packed, max_output=10)
    assert repr(wcodec.open(packed)).startswith("<source: ")
    with pytest.raises(RecipeError, match=r"^source: holds weights alone"):
        wcodec.load_model(packed)


def test_the_error_of_an_onnx_network_has_the_name_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"\x08\x0a\x3a\x00")
    wcodec.encode(tmp_path / "net.onnx", tmp_path / "net.onnx.wcz", lossless=True)
    for name in ("net.onnx", "net.onnx.wcz"):
        with pytest.raises(ModelFileError, match=rf"^{name}: is an ONNX network.*onnxruntime runs"):
            wcodec.load_model(tmp_path / name)


def test_errors_in_python_have_keywords_of_python(tmp_path: Path) -> None:
    packed = encode_small(tmp_path, "npz", {"w": weights(1, 90, 70)})
    expected = (
        r'^model.npz.wcz: holds weights alone; expected architecture="ARCH.keras" or architecture="module:function"$'
    )
    for run in (wcodec.load_model, lambda path: wcodec.evaluate(path, np.ones((3, 90)))):
        with pytest.raises(RecipeError, match=expected):
            run(packed)
    with pytest.raises(RecipeError, match=r'^model.npz: .* expected model="ARCH.keras"'):
        wcodec.encode(tmp_path / "model.npz", data=np.ones((3, 90)))
    with pytest.raises(RecipeError, match=r"^as_: expected int8 or int4, got 'int9'$"):
        wcodec.load_model(packed, as_=cast("IntegerType", "int9"))
    with pytest.raises(
        RecipeError, match=r"model\.npz: expected one \.wcz, whose levels become int8, got another file"
    ):
        wcodec.load_model(tmp_path / "model.npz", as_="int8")


WITHOUT_A_FRAMEWORK = """
import sys
from wcodec.cli.main import main
code = main(sys.argv[1:])
assert not {"keras", "tensorflow", "torch", "onnx"} & sys.modules.keys(), sys.argv
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            "evaluate model.npz.wcz --data d.npz:test",
            2,
            "model.npz.wcz: holds weights alone; expected --model ARCH.keras",
        ),
        ("evaluate model.npz --data d.npz:test", 2, "model.npz: holds weights alone; expected --model ARCH.keras"),
        ("encode model.npz -o x.wcz --data d.npz:test", 2, "model.npz: holds weights alone"),
        ("evaluate model.npz --model none:model --data d.npz:tset", 2, "d.npz: expected x_tset, found x_test"),
        (
            "encode model.npz -o x.wcz --data d.npz:test --validation d.npz:tset",
            2,
            "d.npz: expected x_tset, found x_test",
        ),
        ("decode model.npz.wcz -o o.keras --as int8 --max-output 10", 5, "expected to decode to at most 10 bytes"),
        (
            "decode model.npz.wcz -o o.h5 --as int8",
            2,
            "o.h5: expected .keras, which has the integer layers of --as int8",
        ),
    ],
)
def test_usage_errors_need_no_framework(words: str, code: int, message: str, tmp_path: Path) -> None:
    encode_small(tmp_path, "npz", two_layers())
    np.savez(tmp_path / "d.npz", x_test=np.ones((3, 90), np.float32))
    run = [sys.executable, "-c", WITHOUT_A_FRAMEWORK, *words.split()]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr


def test_a_closed_standard_error_is_no_error_in_python(tmp_path: Path) -> None:
    """`sys.stderr` is None: Keras is imported without output, and progress is not printed."""
    code = (
        "import wcodec, numpy; from wcodec.evaluation.keras_backend import keras; keras(); "
        "wcodec.encode({'a': numpy.ones(9)}, progress=True); print('done')"
    )
    line = f'"{sys.executable}" -c "{code}" 2>&-'
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n")
