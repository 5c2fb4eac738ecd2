"""The roles of the float vectors of a model file, by names and shapes: gains, shifts, and vectors that stay exact.

Rounding a gain scales its output; rounding a shift (a bias, a mean) moves the output, which does harm if the shift is
large compared with the spread of the values that it is added to. A vector of unknown role may be either, so it stays
exact. The float tensors of a quantised layer stay exact, too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from wcodec.model import FLOATS, Gain, Role, Shift, Tensor, TensorSpec, is_vector
from wcodec.model.dataclass import replace

CODE_TYPES: Final = frozenset({"int8", "uint8", "int16", "uint16", "int32", "uint32", "float8_e4m3", "float8_e5m2"})
"""Element types of the codes of quantised layers."""
WIDE_CODES: Final = frozenset({"int64", "uint64"})
"""Element types of codes and of counters, positions and labels; they are codes beside floats with such a name."""
FEWEST_CODES: Final = 16
"""Integer tensors with fewer elements are counters and seeds, not codes."""
HELD: Final = re.compile(r"_.*|q?data|int_data|int_repr|packed(_weight)?|tensor_impl|original_weight_tensor")
"""Last parts of names that say how one tensor is held, as torchao, quanto and PyTorch write them: `m.weight._data`."""
OF_CODES: Final = re.compile(
    r"scale|zero|codebook|centroid|absmax|amax|quant|lookup|lut|shift|offset|meta|(^|[._:/])(min|max|map|grid|table|zp)"
)
"""Names of what belongs to codes although it is in a module inside or around theirs: `m.meta.scale`, `m.k_scale`."""
GAINS: Final = frozenset({"gamma", "weight", "scale", "moving_variance", "running_var", "variance", "var"})
ALONE: Final = frozenset({"gamma", "weight"})
"""Gains that are recognised without another vector of their module, as in root mean square normalisation."""
SHIFTS: Final = frozenset({"beta", "bias", "offset", "b", "biases"})
MEANS: Final = frozenset({"moving_mean", "running_mean", "mean"})
VARIANCES: Final = ("moving_variance", "running_var", "variance", "var")
NORMALIZATION: Final = re.compile(r"(.*_)?normalization(_[0-9]+)?")
"""Folders of normalisation layers in Keras 3 files, whose variables are numbered."""
PARTS: Final = {4: ("gamma", "beta", "moving_mean", "moving_variance"), 2: ("gamma", "beta")}
"""Names of the numbered variables of a normalisation layer, by how many there are."""


def with_roles(tensors: Sequence[Tensor], known: Mapping[str, Role | None]) -> tuple[Tensor, ...]:
    """The tensors with the roles of their vectors, and exact if they belong to a quantised layer.

    known: roles by tensor name that the file itself gives (the graph of an ONNX model); None: unknown.
    """
    modules: dict[str, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        modules[module_of(tensor.name)].append(tensor)
    roles: dict[str, Role | None] = dict(known)
    for members in modules.values():
        for name, role in _find_roles(members):
            roles.setdefault(name, role)
    named = tuple(replace(one, role=own) if (own := roles.get(one.name)) else one for one in tensors)
    return with_exact(named, find_quantized_modules(tensors))


def find_quantized_modules(tensors: Sequence[TensorSpec]) -> set[str]:
    """The modules, as `module_of` names them, of quantised layers; their floats must stay exact.

    If the codes are a part of a tensor (`m.weight._data`), the module of that tensor is one of them.
    """
    modules: dict[str, list[TensorSpec]] = defaultdict(list)
    for tensor in tensors:
        modules[module_of(tensor.name)].append(tensor)
    found = {name for name, members in modules.items() if _is_quantized(members)}
    codes = {tensor.name for tensor in tensors if _is_code(tensor)}
    return found | codes | {module for name in codes if (module := _find_holding_module(name))}


def with_exact(tensors: Sequence[Tensor], modules: Collection[str]) -> tuple[Tensor, ...]:
    """The tensors, with the floats marked as exact that are in these modules, or that belong to codes by their names
    and are in modules directly around them or anywhere inside.
    """
    around = {module_of(name) for name in modules} - {""}

    def belongs(name: str) -> bool:
        own = module_of(name)
        if own in modules:
            return True
        if own in around:
            return OF_CODES.search(_take_last_part(name)) is not None
        inside = (at for at in _list_ancestors(own) if at in modules)
        return any(OF_CODES.search(name[len(at) + 1 :]) for at in inside)

    return tuple(
        replace(one, exact=True) if one.dtype in FLOATS and not one.exact and belongs(one.name) else one
        for one in tensors
    )


def _find_holding_module(codes: str) -> str | None:
    """The module of the tensor that these codes are a part of; None if they are a tensor."""
    name = codes
    while HELD.fullmatch(_take_last_part(name)) and re.search(r"[./:]", name):
        name = module_of(name)
    return None if name == codes else module_of(name)


def _list_ancestors(module: str) -> Iterator[str]:
    """The modules that this one is in, by `.`, `:` and `/`."""
    for found in re.finditer(r"[./:]", module):
        yield module[: found.start()]


def module_of(name: str) -> str:
    """The name up to its last `.`, `:` or `/`; if it has none of these, up to its last `_`.

    A suffix `:0`, as Keras 2 writes it, belongs to the last part.
    """
    name = re.sub(r":[0-9]+$", "", name)
    at = max(name.rfind(mark) for mark in ".:/")
    return name[:at] if at >= 0 else name.rpartition("_")[0]


def _take_last_part(name: str) -> str:
    return re.split(r"[./:]", re.sub(r":[0-9]+$", "", name))[-1]


def _is_code(tensor: TensorSpec) -> bool:
    return tensor.dtype in CODE_TYPES and tensor.count >= FEWEST_CODES


def _is_quantized(members: Iterable[TensorSpec]) -> bool:
    """Whether the module has integer codes, or scales and histories of a layer that was trained in float8."""
    every = list(members)
    histories = [tensor for tensor in every if tensor.dtype in FLOATS and len(tensor.shape) == 1]
    lengths = {tensor.count for tensor in histories}
    scalars = sum(tensor.dtype in FLOATS and not tensor.shape for tensor in every)
    is_float8 = scalars >= 3 and any(sum(h.count == length for h in histories) >= 3 for length in lengths)
    has_scales = any(tensor.dtype in FLOATS and OF_CODES.search(_take_last_part(tensor.name)) for tensor in every)
    has_wide_codes = any(tensor.dtype in WIDE_CODES and tensor.count >= FEWEST_CODES for tensor in every)
    return is_float8 or any(_is_code(tensor) for tensor in every) or (has_scales and has_wide_codes)


def _find_roles(members: Sequence[Tensor]) -> Iterable[tuple[str, Role]]:
    vectors = [tensor for tensor in members if tensor.dtype in FLOATS and len(tensor.shape) == 1]
    kernels = [tensor for tensor in members if tensor.dtype in FLOATS and not is_vector(tensor)]
    named = _name_vectors(vectors)
    for name, vector in named.items():
        kernel = next((kernel for kernel in kernels if vector.count in kernel.shape), None)
        gain, variance = _find_first(named, vector, "gamma", "weight", "scale"), _find_first(named, vector, *VARIANCES)
        if name in ALONE or (name in GAINS and len(named) > 1 and not kernels):
            yield vector.name, Gain()
        elif name in MEANS and variance:
            yield vector.name, Shift(variance.name, "root")
        elif kernel:
            yield vector.name, Shift(kernel.name, "norm")
        elif name in SHIFTS and gain:
            yield vector.name, Shift(gain.name, "magnitude")


def _find_first(named: Mapping[str, Tensor], vector: Tensor, *names: str) -> Tensor | None:
    """The first other vector with one of these names and the same length."""
    return next((named[n] for n in names if n in named and named[n].count == vector.count != 0), None)


def _name_vectors(vectors: Sequence[Tensor]) -> dict[str, Tensor]:
    """The vectors of a module by the last part of their names, or by position if a normalisation layer numbers them."""
    names = [_take_last_part(vector.name) for vector in vectors]
    parts = PARTS.get(len(vectors))
    if parts and names == [str(i) for i in range(len(names))] and len({vector.shape for vector in vectors}) == 1:
        folder = module_of(vectors[0].name).removesuffix("/vars").rpartition("/")[2]
        if NORMALIZATION.fullmatch(folder):
            names = list(parts)
    return dict(zip(names, vectors, strict=True))
