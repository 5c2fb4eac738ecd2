"""Folders of images as `--data`."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, TracebackType

import numpy as np
import numpy.typing as npt
import pytest

from wcodec.errors import RecipeError
from wcodec.evaluation.datasets import load_examples
from wcodec.evaluation.examples import ModelInput


class Picture:
    """The part of a Pillow image that the loader uses; a file has the rows of grey values."""

    def __init__(self, pixels: npt.NDArray[np.uint8]) -> None:
        self.pixels = pixels
        self.height, self.width = pixels.shape[:2]
        self.size = (self.width, self.height)

    def __enter__(self) -> Picture:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def convert(self, mode: str) -> Picture:
        return self if mode == "L" else Picture(np.repeat(self.pixels[..., None], len(mode), axis=2))

    def resize(self, size: tuple[int, int], _: int) -> Picture:
        return Picture(np.resize(self.pixels, (size[1], size[0], *self.pixels.shape[2:])))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[np.uint8]:
        return self.pixels


def open_folder(file: Path) -> Picture:
    rows = file.read_bytes().split(b"/")
    if any(len(row) != len(rows[0]) or not row for row in rows):
        raise OSError("cannot identify image file")
    return Picture(np.array([list(row) for row in rows], np.uint8))


@pytest.fixture
def pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("PIL.Image")
    module.__dict__.update(
        open=open_folder, Resampling=type("Resampling", (), {"BILINEAR": 2}), DecompressionBombError=RuntimeError
    )
    monkeypatch.setitem(sys.modules, "PIL", ModuleType("PIL"))
    monkeypatch.setitem(sys.modules, "PIL.Image", module)


def folder_of(root: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return str(root)


@pytest.mark.usefixtures("pillow")
def test_subfolders_are_classes_in_sorted_order(tmp_path: Path) -> None:
    spec = folder_of(
        tmp_path, {"dog/1.png": b"ab/cd", "cat/2.PNG": b"ef/gh", "cat/1.jpg": b"ij/kl", "cat/note.txt": b""}
    )
    examples = load_examples(spec, [ModelInput("image", (2, 2, 1))])
    assert np.asarray(examples.labels[0]).tolist() == [0, 0, 1]
    assert np.array_equal(
        examples.inputs[0][0, ..., 0], np.array([[105, 106], [107, 108]], np.float32) / np.float32(255)
    )
    assert "classes are the folders cat, dog" in examples.notes


@pytest.mark.usefixtures("pillow")
@pytest.mark.parametrize("shape", [(3, 5, 3), (3, 3, 5), (3, 5), (3, 5, 4)])
def test_images_get_the_size_and_channels_of_the_input(tmp_path: Path, shape: tuple[int, ...]) -> None:
    examples = load_examples(folder_of(tmp_path, {"1.png": b"ab/cd", "2.png": b"abc"}), [ModelInput("image", shape)])
    assert examples.inputs[0].shape == (2, *shape)
    assert not examples.is_labelled


@pytest.mark.usefixtures("pillow")
def test_a_limit_takes_images_evenly_from_the_classes(tmp_path: Path) -> None:
    spec = folder_of(tmp_path, {f"{name}/{i}.png": b"a" for name in "abc" for i in range(3)})
    examples = load_examples(spec, [ModelInput("image", (1, 1, 1))], limit=3)
    assert np.asarray(examples.labels[0]).tolist() == [0, 1, 2]


@pytest.mark.usefixtures("pillow")
@pytest.mark.parametrize(
    ("files", "shape", "message"),
    [
        ({"readme.txt": b""}, (2, 2, 1), "expected images"),
        ({"1.png": b""}, (2, 2, 1), "1.png: expected an image, got OSError: cannot identify image file"),
        ({"1.png": b"a", "2.png": b"ab"}, (None, None, 1), "2.png: expected (1, 1) pixels as in 1.png, got (1, 2)"),
        ({"1.png": b"a"}, (7,), "images expected a network with one input (height, width, 1, 3 or 4), got (7,)"),
    ],
)
def test_folders_without_valid_images_are_refused(
    tmp_path: Path, files: dict[str, bytes], shape: tuple[int | None, ...], message: str
) -> None:
    with pytest.raises(RecipeError) as refused:
        load_examples(folder_of(tmp_path, files), [ModelInput("image", shape)])
    assert message in str(refused.value)


def test_without_pillow_the_error_has_the_command_of_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(RecipeError, match="pip install pillow"):
        load_examples(folder_of(tmp_path, {"1.png": b"a"}), [ModelInput("image", (1, 1, 1))])
