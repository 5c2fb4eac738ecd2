"""Tensors are found by the user's names, by those of the file, and by unambiguous ends of both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Run

import wcodec
from wcodec.errors import RecipeError
from wcodec.modelfiles import open_model
from wcodec.modelfiles.hdf5.tree import Attribute, Group, Slot, Values
from wcodec.modelfiles.hdf5.user_names import user_names
from wcodec.modelfiles.names import find_tensor
from wcodec.planning.parsing import parse_recipe
from wcodec.planning.patterns import options_by_tensor

NAMES = {
    "layers/dense/vars/0": "brightness/kernel",
    "layers/dense/vars/1": "brightness/bias",
    "layers/dense_1/vars/0": "dense/kernel",
    "layers/dense_1/vars/1": "dense/bias",
    "layers/scaled/vars/0": "ours/0",
    "plain.weight": "",
}


def group(name: str, *children: Group | Slot, layer_name: str = "") -> Group:
    text = layer_name.encode()
    attributes = (Attribute("name", Values(f"snu{len(text)}", (), (text,))),) if layer_name else ()
    return Group(name, children, attributes)


def variables(count: int, layer_name: str = "") -> Group:
    return group("vars", *(Slot(str(number), "<f4") for number in range(count)), layer_name=layer_name)


def layer(kind: str, name: str, **config: object) -> dict[str, object]:
    return {"class_name": kind, "config": {"name": name, **config}}


def test_the_configuration_gives_the_names_that_groups_do_not_have() -> None:
    layers = group(
        "layers",
        group("dense", variables(1)),
        group("dense_1", variables(2)),
        group("gru", group("cell", variables(3))),
    )
    config = layer("Sequential", "net", layers=[
        layer("InputLayer", "in"), layer("Dense", "brightness", use_bias=False), layer("GRU", "memory"),
        layer("zoo>Dense", "out"),
    ])  # fmt: skip
    assert user_names(group("", layers), json.dumps(config)) == {
        "layers/dense/vars/0": "brightness/kernel",
        "layers/dense_1/vars/0": "out/kernel",
        "layers/dense_1/vars/1": "out/bias",
        "layers/gru/cell/vars/0": "memory/cell/kernel",
        "layers/gru/cell/vars/1": "memory/cell/recurrent_kernel",
        "layers/gru/cell/vars/2": "memory/cell/bias",
    }


def test_a_layer_with_only_a_number_has_no_name() -> None:
    layers = group("layers", group("dense", variables(2, "first")), group("dense_1", variables(2)))
    assert user_names(group("", layers), None) == {
        "layers/dense/vars/0": "first/kernel",
        "layers/dense/vars/1": "first/bias",
    }


@pytest.mark.parametrize(
    "config", [None, "{", "[]", '{"class_name": 3}', json.dumps(layer("Dense", "d", layers=3)), "[" * 9999]
)
def test_an_invalid_configuration_gives_no_names(config: str | None) -> None:
    assert user_names(group("", group("layers", group("dense", variables(2)))), config) == {}


def test_two_weights_with_the_same_name_have_the_names_of_the_file() -> None:
    layers = group("layers", group("dense", variables(2, "a")), group("dense_1", variables(2, "a")))
    assert user_names(group("", layers), None) == {}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("brightness/kernel", "layers/dense/vars/0"),
        ("layers/dense/vars/0", "layers/dense/vars/0"),
        ("dense/vars/1", "layers/dense/vars/1"),
        ("dense/kernel", "layers/dense_1/vars/0"),
        ("weight", "plain.weight"),
        ("ours/0", "layers/scaled/vars/0"),
    ],
)
def test_a_tensor_is_found_by_either_name_and_by_its_end(name: str, found: str) -> None:
    assert find_tensor(name, NAMES) == found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kernel", "expected one tensor 'kernel', found brightness/kernel, dense/kernel"),
        ("vars/0", "expected one tensor"),
        ("brightnes/kernel", "the nearest are brightness/kernel"),
        ("xyz", "expected a tensor 'xyz', found brightness/kernel, brightness/bias, dense/kernel, dense/bias, ..."),
    ],
)
def test_the_error_of_an_ambiguous_or_unknown_name_has_the_existing_names(name: str, message: str) -> None:
    with pytest.raises(KeyError) as caught:
        find_tensor(name, NAMES)
    assert message in caught.value.args[0]


def test_patterns_match_the_users_names_first(samples: Path) -> None:
    with open_model(samples / "lenet5.keras") as model:

        def bits(**words: object) -> dict[str, int | None]:
            by_tensor = options_by_tensor(model.tensors, parse_recipe(words))
            return {name: 32 if options.lossless else options.bits for name, (options, _) in by_tensor.items()}

        assert bits(set="ip2/kernel:bits=3")["layers/dense_1/vars/0"] == 3
        assert bits(set="layers/dense_1/:bits=3")["layers/dense_1/vars/0"] == 3
        assert [name for name, value in bits(exclude="bias").items() if value == 32] == [
            tensor.name for tensor in model.tensors if tensor.name.endswith("vars/1")
        ]
        assert options_by_tensor(model.tensors, parse_recipe({"set": "ip2/bias:bits=3"}))["layers/dense_1/vars/1"][1]
        with pytest.raises(RecipeError, match="the nearest are conv1/kernel"):
            bits(set="conv1/kernl:bits=3")


def test_encode_inspect_and_decode_accept_the_users_names(wcodec: Run, samples: Path, tmp_path: Path) -> None:
    packed, array = tmp_path / "m.wcz", tmp_path / "array.npy"
    assert (
        wcodec("encode", samples / "lenet5.keras", "-o", packed, "--set", "conv1/kernel:bits=3", "-q").returncode == 0
    )
    shown = wcodec("inspect", packed).stdout
    assert "conv1/kernel" in shown
    assert "layers/conv2d/vars/0" in shown
    for name in ("conv1/kernel", "layers/conv2d/vars/0"):
        assert wcodec("decode", packed, "--tensor", name, "-o", array, "-qf").returncode == 0
        assert len(np.unique(np.load(array))) <= 8
    wrong = wcodec("decode", packed, "--tensor", "conv1/kernl", "-o", array, "-f")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "the nearest are conv1/kernel" in wrong.stderr


def test_open_accepts_the_users_names_and_those_of_the_file(coded: Path) -> None:
    weights = wcodec.open(coded)
    name = "model_weights/conv2d_1/tutorial_cnn/conv2d_1/kernel"
    assert weights["conv2d_1/kernel"].tobytes() == weights[name].tobytes()
    assert next(iter(weights)) == name


def test_a_narrow_table_omits_columns_and_no_digits(samples: Path) -> None:
    from wcodec.reporting.inspection import inspect
    from wcodec.reporting.inspection_tables import tabulate_tensors

    table = tabulate_tensors(inspect(samples / "lenet5.keras"))
    assert "in the file" in table.head
    narrow = table.fit_width(40)
    assert narrow.width <= 40
    assert [row[-1] for row in narrow.rows] == [row[-1] for row in table.rows]
