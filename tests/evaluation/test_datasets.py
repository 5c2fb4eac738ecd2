"""`--data`: formats, conversions, and errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from wcodec.errors import RecipeError
from wcodec.evaluation import batches
from wcodec.evaluation.datasets import load_examples, load_split
from wcodec.evaluation.examples import Array, ModelInput

IMAGE = (ModelInput("image", (4, 4, 1)),)
ROW = (ModelInput("row", (3,)),)
TWO = (ModelInput("left", (3,)), ModelInput("right", (4, 4)))
PIXELS = np.arange(10 * 16, dtype=np.uint8).reshape(10, 4, 4)
CLASSES = np.arange(10) % 3
ROWS = np.linspace(-1, 1, 30, dtype=np.float32).reshape(10, 3)


def save(folder: Path, **arrays: Array) -> str:
    np.savez(folder / "d.npz", allow_pickle=True, **arrays)
    return str(folder / "d.npz")


@pytest.fixture
def keras_file(tmp_path: Path) -> str:
    return save(tmp_path, x_train=PIXELS, y_train=CLASSES, x_test=PIXELS[:4], y_test=CLASSES[:4])


@pytest.fixture
def users_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], object]]:
    """A function that writes mine.py to an empty working directory."""
    monkeypatch.chdir(tmp_path)
    yield lambda text: (tmp_path / "mine.py").write_text(f"import numpy as np\n{text}\n")
    sys.modules.pop("mine", None)


def test_x_and_y_are_read_unchanged(tmp_path: Path) -> None:
    examples = load_examples(save(tmp_path, x=ROWS, y=CLASSES), ROW)
    assert np.array_equal(examples.inputs[0], ROWS)
    assert np.array_equal(examples.labels[0], CLASSES)
    assert examples.notes == ()


def test_labels_are_optional(tmp_path: Path) -> None:
    assert not load_examples(save(tmp_path, x=ROWS), ROW).is_labelled


@pytest.mark.parametrize(("split", "count"), [(":train", 10), (":test", 4)])
def test_a_split_in_the_layout_of_keras_is_chosen_by_name(keras_file: str, split: str, count: int) -> None:
    assert load_examples(keras_file + split, IMAGE).count == count


def test_without_a_split_the_test_examples_are_taken_with_a_note(keras_file: str) -> None:
    examples = load_examples(keras_file, IMAGE)
    assert examples.count == 4
    assert examples.notes[0] == "d.npz: no split named, took test"


def test_without_a_split_training_takes_train_and_validation_takes_test(keras_file: str) -> None:
    training, validation = load_split(keras_file, keras_file, IMAGE)
    assert (training.count, training.notes[0]) == (10, "d.npz: no split named, took train")
    assert validation is not None
    assert validation.count == 4


def test_training_does_not_take_test_examples_without_their_split(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"expected x or x0 or x_row or x_train, found x_test"):
        load_split(save(tmp_path, x_test=ROWS), None, ROW)


def test_uint8_images_are_divided_by_255_and_get_a_channel_axis_with_notes(keras_file: str) -> None:
    examples = load_examples(keras_file + ":train", IMAGE)
    assert np.array_equal(examples.inputs[0], (PIXELS / np.float32(255))[..., None])
    assert examples.inputs[0].dtype == np.float32
    assert examples.notes == ("x_train divided by 255", "x_train given a channel axis")


def test_rescale_overrides_the_division(keras_file: str) -> None:
    assert np.array_equal(
        load_examples(keras_file + ":train", IMAGE, rescale=2).inputs[0][..., 0], PIXELS * np.float32(2)
    )


def test_a_network_with_a_rescaling_layer_gets_pixels(keras_file: str) -> None:
    examples = load_examples(keras_file + ":train", [ModelInput("image", (4, 4, 1), rescales=True)])
    assert np.array_equal(examples.inputs[0][..., 0], PIXELS.astype(np.float32))


def test_integer_inputs_are_never_scaled(tmp_path: Path) -> None:
    tokens = np.arange(30, dtype=np.uint8).reshape(10, 3)
    examples = load_examples(save(tmp_path, x=tokens), [ModelInput("tokens", (None,), dtype="int32")])
    assert np.array_equal(examples.inputs[0], tokens)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((4, 4), (4, 4)), ((1, 4, 4), (1, 4, 4)), ((16,), (16,)), ((None, 4, 1), (4, 4, 1)), ((4, 4, 1), (4, 4, 1))],
)
def test_images_get_the_shape_of_the_input(
    keras_file: str, shape: tuple[int | None, ...], expected: tuple[int, ...]
) -> None:
    assert load_examples(keras_file + ":train", [ModelInput("image", shape)]).inputs[0].shape == (10, *expected)


def test_a_limit_takes_examples_evenly_from_the_file(tmp_path: Path) -> None:
    examples = load_examples(save(tmp_path, x=ROWS, y=CLASSES), ROW, limit=4)
    assert np.array_equal(examples.inputs[0], ROWS[[0, 3, 6, 9]])
    assert np.array_equal(examples.labels[0], CLASSES[[0, 3, 6, 9]])
    assert examples.notes == ("4 of 10 examples, spread evenly",)


@pytest.mark.parametrize("names", [("x0", "x1"), ("x_left", "x_right")])
def test_several_inputs_are_found_by_number_or_by_name(tmp_path: Path, names: tuple[str, str]) -> None:
    arrays: dict[str, Array] = {names[0]: ROWS, names[1]: PIXELS, "y": CLASSES}
    examples = load_examples(save(tmp_path, **arrays), TWO)
    assert [array.shape for array in examples.inputs] == [(10, 3), (10, 4, 4)]


NUMBERED = ("x0_{}", "x1_{}", "y0_{}", "y1_{}")
NAMED = ("x_left_{}", "x_right_{}", "y_kind_{}", "y_more_{}")


@pytest.mark.parametrize("names", [NUMBERED, NAMED])
@pytest.mark.parametrize(("split", "count"), [(":train", 10), (":test", 4), ("", 4)])
def test_several_inputs_and_outputs_have_splits(tmp_path: Path, names: tuple[str, ...], split: str, count: int) -> None:
    whole = (ROWS, PIXELS, CLASSES, CLASSES[::-1])
    arrays = {name.format("train"): array for name, array in zip(names, whole, strict=True)}
    arrays |= {name.format("test"): array[:4] for name, array in zip(names, whole, strict=True)}
    examples = load_examples(save(tmp_path, **arrays) + split, TWO, (("kind",), ("more",)))
    assert [array.shape for array in examples.inputs] == [(count, 3), (count, 4, 4)]
    assert [np.asarray(array).tolist() for array in examples.labels] == [list(labels[:count]) for labels in whole[2:]]
    assert not any("not used" in note for note in examples.notes)
    assert ("d.npz: no split named, took test" in examples.notes) == (not split)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (":test", "d.npz: expected x0_test+x1_test or x_left_test+x_right_test, found x0_test, x0_train, x1_train"),
        (":val", "d.npz: expected x_val, found x0_test, x0_train, x1_train (of several inputs: x0_val, x1_val or"),
        ("", "d.npz: expected x0+x1 or x_left+x_right or x0_test+x1_test or x_left_test+x_right_test, found x0_test"),
    ],
)
def test_a_split_without_all_inputs_is_refused_with_the_keys_expected(
    tmp_path: Path, split: str, expected: str
) -> None:
    with pytest.raises(RecipeError) as refused:
        load_examples(save(tmp_path, x0_test=ROWS, x0_train=ROWS, x1_train=PIXELS) + split, TWO)
    assert expected in str(refused.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": ROWS, "y": CLASSES}, "d.npz: expected x or x0 or x_row or x_test, found images, y"),
        ({"x": ROWS[:, :2]}, "d.npz: x: expected examples of shape (3) for input row, got (2,)"),
        ({"x": ROWS, "y": CLASSES[:9]}, "d.npz: expected as many examples everywhere, and one at least"),
        ({"x": ROWS[:0]}, "d.npz: expected as many examples everywhere, and one at least, got {'x': 0}"),
        ({"x": np.array([{"a": 1}], dtype=object)}, "d.npz: expected an .npz archive of plain arrays, got objects"),
        ({"x": np.array([["a"]])}, "d.npz: x: expected numbers, got <U1"),
        ({"x": ROWS, "y": CLASSES.astype(str)}, "d.npz: labels: expected numbers, got <U"),
        (
            {"x": ROWS, "y": np.where(CLASSES[3] == CLASSES, np.nan, 1.0)},
            "d.npz: labels: expected finite numbers, got NaN or infinity in",
        ),
        ({"x": np.array(1.0)}, "d.npz: x: expected an array with examples first, got a single number"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, Array], message: str) -> None:
    with pytest.raises(RecipeError) as refused:
        load_examples(save(tmp_path, **arrays), ROW)
    assert message in str(refused.value)


def test_a_missing_split_is_refused_with_the_existing_keys(keras_file: str) -> None:
    with pytest.raises(RecipeError, match="expected x_val, found x_train, y_train, x_test, y_test"):
        load_examples(keras_file + ":val", IMAGE)


def test_a_file_that_is_not_an_archive_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"hello", b"PK\x03\x04 broken", b"\x93NUMPY\x01\x00"):
        (tmp_path / "d.npz").write_bytes(content)
        with pytest.raises(RecipeError, match=r"d\.npz: expected an \.npz archive"):
            load_examples(str(tmp_path / "d.npz"), ROW)


def test_a_name_that_is_not_a_file_a_folder_or_a_function_is_refused(tmp_path: Path) -> None:
    for spec in (str(tmp_path / "none.npz"), "photos.tar", ""):
        with pytest.raises(RecipeError, match=r"--data .*: expected"):
            load_examples(spec, ROW)


def test_a_limit_of_0_is_refused(keras_file: str) -> None:
    with pytest.raises(RecipeError, match="--limit: expected 1 or more, got 0"):
        load_examples(keras_file, IMAGE, limit=0)


def test_rescaling_an_integer_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="--rescale expected a network with float inputs, got int32"):
        load_examples(save(tmp_path, x=CLASSES), [ModelInput("tokens", (), dtype="int32")], rescale=2)


# --- module:function -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "returned",
    ["X, Y", "X", "{'row': X}, Y", "((X[i:i + 3], Y[i:i + 3]) for i in range(0, 10, 3))", "iter([X[:5], X[5:]])"],
)
def test_a_function_can_return_arrays_or_batches(users_module: Callable[[str], object], returned: str) -> None:
    users_module(f"X = np.ones((10, 3)); Y = np.arange(10)\ndef examples(): return {returned}")
    examples = load_examples("mine:examples", ROW)
    assert np.array_equal(examples.inputs[0], np.ones((10, 3)))
    assert examples.is_labelled == ("Y" in returned)


def test_a_sequence_of_batches_is_concatenated(users_module: Callable[[str], object]) -> None:
    users_module(
        "class Batches:\n"
        "    def __len__(self): return 4\n"
        "    def __getitem__(self, i): return np.full((2, 3), i), np.full(2, i)\n"
    )
    examples = load_examples("mine:Batches", ROW)
    assert np.asarray(examples.labels[0]).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_function_can_return_several_inputs_in_a_list(users_module: Callable[[str], object]) -> None:
    users_module("def examples(): return [np.ones((5, 3)), np.ones((5, 4, 4))], np.ones(5)")
    assert [array.shape for array in load_examples("mine:examples", TWO).inputs] == [(5, 3), (5, 4, 4)]


def test_an_endless_generator_is_stopped_with_a_note(
    users_module: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "STREAM_LIMIT", 10)
    users_module("def examples():\n    while True: yield np.ones((4, 3)), np.ones(4)")
    examples = load_examples("mine:examples", ROW)
    assert examples.count == 10
    assert examples.notes == ("mine:examples: stopped after 10 examples; --limit changes it",)
    assert load_examples("mine:examples", ROW, limit=6).count == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mine:examples: expected a function examples in mine, found none"),
        ("examples = 3", "mine:examples: expected a function, got int"),
        ("def examples(): return 1 / 0", "ZeroDivisionError: division by zero"),
        ("def examples(): return 5", "mine:examples: expected x, (x, y) or batches of them, got int"),
        ("def examples(): return 1, 2, 3", "mine:examples: expected x or (x, y), got a tuple of 3"),
        ("def examples(): return {'a': np.ones((3, 3))}", "mine:examples: expected inputs row, got a"),
        ("def examples(): return np.array([None])", "mine:examples: expected an array of numbers"),
        ("def examples(): return iter([])", "mine:examples: expected batches of equal shape"),
        ("def examples(): return iter([np.ones((2, 3)), np.ones((2, 4))])", "expected batches of equal shape"),
        ("def examples(): return [[1, 2], [3]]", "mine:examples: expected an array"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_functions_that_do_not_return_examples_are_refused(
    users_module: Callable[[str], object], text: str, message: str
) -> None:
    users_module(text)
    with pytest.raises(RecipeError) as refused:
        load_examples("mine:examples", ROW)
    assert message in str(refused.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_not_finite_are_refused_with_the_number_of_their_example(tmp_path: Path, value: float) -> None:
    rows = ROWS.copy()
    rows[3, 1] = value
    with pytest.raises(RecipeError, match=r"x: expected finite numbers, got .* 1 of 10 examples, .* number 3"):
        load_examples(save(tmp_path, x=rows, y=CLASSES), ROW)


@pytest.mark.parametrize("factor", [0.0, float("nan"), float("inf")])
def test_a_factor_of_0_or_without_a_finite_value_is_refused(keras_file: str, factor: float) -> None:
    with pytest.raises(RecipeError, match="--rescale: expected a finite number"):
        load_examples(keras_file, IMAGE, rescale=factor)
