"""The roles of vectors (gains and shifts) and the tensors that belong to codes, by names only and by a graph."""

from __future__ import annotations

import pytest

from wcodec.model import Gain, Role, Shift, Tensor
from wcodec.modelfiles.onnx_roles import Node, roles_of
from wcodec.modelfiles.roles import module_of, with_roles


def roles(*found: Tensor) -> dict[str, Role | None]:
    return {tensor.name: tensor.role for tensor in with_roles(found, {})}


def test_the_vectors_of_a_normalisation_of_pytorch_have_their_roles() -> None:
    names = ("weight", "bias", "running_mean", "running_var")
    found = roles(*(Tensor(f"bn1.{name}", "float32", (8,)) for name in names))
    assert found == {
        "bn1.weight": Gain(),
        "bn1.bias": Shift("bn1.weight", "magnitude"),
        "bn1.running_mean": Shift("bn1.running_var", "root"),
        "bn1.running_var": Gain(),
    }


@pytest.mark.parametrize("suffix", ["", ":0"])
def test_the_vectors_of_a_normalisation_of_keras_2_have_their_roles(suffix: str) -> None:
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    found = roles(*(Tensor(f"bn/{name}{suffix}", "float32", (8,)) for name in names))
    assert found[f"bn/moving_mean{suffix}"] == Shift(f"bn/moving_variance{suffix}", "root")
    assert found[f"bn/beta{suffix}"] == Shift(f"bn/gamma{suffix}", "magnitude")


def test_numbered_variables_of_keras_3_have_roles_by_their_folder() -> None:
    found = roles(*(Tensor(f"layers/batch_normalization_2/vars/{i}", "float32", (8,)) for i in range(4)))
    folder = "layers/batch_normalization_2/vars"
    assert found[f"{folder}/2"] == Shift(f"{folder}/3", "root")
    assert found[f"{folder}/0"] == Gain()
    other = roles(*(Tensor(f"layers/scaler/vars/{i}", "float32", (8,)) for i in range(4)))
    assert set(other.values()) == {None}


def test_a_bias_is_a_shift_of_its_kernel() -> None:
    found = roles(Tensor("d/vars/0", "float32", (5, 8)), Tensor("d/vars/1", "float32", (8,)))
    assert found["d/vars/1"] == Shift("d/vars/0", "norm")
    assert found["d/vars/0"] is None


def test_a_vector_without_a_kernel_or_of_another_length_has_no_role() -> None:
    kernel = Tensor("d.kernel", "float32", (5, 4))
    found = roles(Tensor("a.mean", "float32", (8,)), kernel, Tensor("d.x", "float32", (8,)))
    assert found["a.mean"] is None
    assert found["d.x"] is None


@pytest.mark.parametrize(
    ("codes", "dtype", "scale"),
    [
        ("l.weight_packed", "int32", "l.weight_scale"),
        ("l.weight", "uint8", "l.weight.absmax"),
        ("l.weight._data", "int8", "l.weight._scale"),
        ("l.weight:_data", "int8", "l.weight:_scale"),
        ("l/weight", "float8_e4m3", "l/weight_scale_inv"),
        ("w_q", "uint8", "w_scale"),
        ("m.W_q", "uint8", "m.zero"),
    ],
)
def test_scales_beside_codes_are_exact(codes: str, dtype: str, scale: str) -> None:
    every = [Tensor(codes, dtype, (16, 8)), Tensor(scale, "float16", (16, 4)), Tensor("o.kernel", "float32", (4, 4))]
    exact = {tensor.name: tensor.exact for tensor in with_roles(every, {})}
    assert exact == {codes: False, scale: True, "o.kernel": False}


@pytest.mark.parametrize(
    ("codes", "floats"),
    [
        ({"m.q._data": "int8"}, ["m.q_scale", "m.q_zero_point"]),
        ({"l.weight._data": "int8"}, ["l.weight._scale", "l.weight._shift", "l.input_scale", "l.bias"]),  # quanto
        ({"l.weight._data._data": "uint8"}, ["l.weight._scale", "l.weight._shift", "l.bias"]),  # quanto, four bits
        ({"l.weight:_qdata": "int8"}, ["l.weight:_scale", "l.weight:_zero_point"]),  # torchao
        ({"l._weight_qdata": "int8"}, ["l._weight_scale", "l.bias"]),  # torchao, later
        ({"l.weight.tensor_impl.int_data": "int8"}, ["l.weight.tensor_impl.scale", "l.weight.scale"]),  # torchao
        ({"l.weight.tensor_impl.packed_weight": "int32"}, ["l.weight.tensor_impl.scale_and_zero"]),  # torchao
        ({"l.W_q": "uint8"}, ["l.scale", "l.zero", "l.meta.scale", "l.meta.meta_scale.zero"]),  # HQQ
        ({"l.weight": "uint8"}, ["l.weight.quant_map", "l.weight.quant_state.state2.absmax"]),  # bitsandbytes
        ({"l.weight": "int8"}, ["l.SCB"]),  # bitsandbytes
        ({"l.qweight": "int32", "l.qzeros": "int32"}, ["l.scales", "l.bias"]),  # GPTQ, AWQ
        ({"a.k_proj.weight_packed": "int32"}, ["a.k_proj.weight_scale", "a.k_scale"]),  # compressed-tensors
        ({"l.weight": "uint32"}, ["l.scales", "l.biases"]),  # MLX
        ({"l.indices": "int32"}, ["l.centroids.weight", "l.res_centroids.weight", "l.weight_scale"]),  # VPTQ
        ({"l.Qidxs": "int64"}, ["l.Wscale", "l.SU"]),  # QuIP#
        ({"l.weight": "int8"}, ["l.weight_quantizer._scale", "l.input_quantizer._amax"]),
        ({"conv1_weight_codes": "uint8"}, ["conv1_weight_codebook", "conv1_scale"]),
        ({"l/codes": "int64"}, ["l/codebook"]),
    ],
)
def test_scales_with_the_names_of_every_tool_are_exact(codes: dict[str, str], floats: list[str]) -> None:
    every = [Tensor(name, dtype, (64, 8)) for name, dtype in codes.items()]
    every += [Tensor(name, "float16", (64, 4)) for name in floats]
    others = ["other.weight", "l.lora_A.default.weight", "a.norm_layer.weight"]
    every += [Tensor(name, "float32", (8, 4)) for name in others]
    assert [tensor.name for tensor in with_roles(every, {}) if tensor.exact] == floats


def test_position_ids_beside_weights_are_not_codes() -> None:
    every = [Tensor("a.position_ids", "int64", (1, 512)), Tensor("a.weight", "float32", (512, 8))]
    assert not any(tensor.exact for tensor in with_roles(every, {}))


def test_a_counter_is_not_a_code() -> None:
    every = [Tensor("bn.num_batches_tracked", "int64", ()), Tensor("bn.weight", "float32", (8,))]
    assert not any(tensor.exact for tensor in with_roles(every, {}))


def test_a_layer_with_histories_of_float8_is_exact() -> None:
    shapes: list[tuple[int, ...]] = [(4, 6), (6,), *[(), (1024,)] * 3]
    every = [Tensor(f"d/vars/{i}", "float32", shape) for i, shape in enumerate(shapes)]
    assert all(tensor.exact for tensor in with_roles(every, {}))


def test_a_graph_gives_the_roles_of_operands() -> None:
    nodes = [
        Node("Sub", ("x", "offset"), ("centred",)),
        Node("Div", ("centred", "deviation"), ("scaled",)),
        Node("MatMul", ("scaled", "w"), ("product",)),
        Node("Add", ("product", "b"), ("sum",)),
        Node("BatchNormalization", ("sum", "g", "s", "m", "v"), ("y",)),
    ]
    found = roles_of(nodes)
    assert found["offset"] is None
    assert found["deviation"] == Gain()
    assert found["b"] == Shift("w", "norm")
    assert (found["m"], found["s"]) == (Shift("v", "root"), Shift("g", "magnitude"))


def test_a_tensor_of_two_roles_has_none() -> None:
    nodes = [Node("Mul", ("x", "c"), ("y",)), Node("Sub", ("y", "c"), ("z",))]
    assert roles_of(nodes)["c"] is None


def test_the_module_is_the_name_up_to_the_last_separator() -> None:
    assert [module_of(name) for name in ("a.b.c", "a/b:0", "a:_b", "w_scale", "plain")] == ["a.b", "a", "a", "w", ""]


def test_floats_beside_codes_without_modules_are_exact() -> None:
    every = [Tensor("qweight", "int32", (8, 8)), Tensor("scales", "float32", (8,))]
    assert with_roles(every, {})[1].exact
