"""Export of a container's tensors, by name, as a model file of another kind: safetensors or npz."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from wcodec.container.dtypes import numpy_type, to_float32
from wcodec.container.records import Container
from wcodec.errors import ModelFileError
from wcodec.model import AnyArray, TensorSpec
from wcodec.modelfiles import suffix, write_model

NARROW = frozenset({"bfloat16", "float8_e4m3", "float8_e5m2"})
"""Types that numpy lacks; bfloat16 becomes float32 in an .npz."""


def is_conversion(container: Container, source: Path, target: Path) -> bool:
    """Whether `target` is named as another kind of file than was encoded, and there are tensors for it.

    A file that was named .npz and is decoded to .npz is not converted, whatever its kind: `source`, X.npz.wcz, has the
    name.
    """
    if target.suffix == Path(source.name.removesuffix(".wcz")).suffix:
        return False
    own = suffix(container.kind, container.skeleton) if container.numbers and target.suffix in _WRITERS else ""
    return own not in ("", target.suffix)


def convert(target: Path, wanted: str, tensors: Sequence[TensorSpec], values: Iterator[AnyArray]) -> None:
    """Write the tensors to `target` as a file with the suffix `wanted`.

    Raises: ModelFileError for a name or type that the kind does not have; errors of the container.
    """
    _WRITERS[wanted](target, tensors, values)


def _write_safetensors(target: Path, tensors: Sequence[TensorSpec], values: Iterator[AnyArray]) -> None:
    from wcodec.modelfiles.safetensors import canonical_skeleton

    write_model(target, "safetensors", canonical_skeleton(tensors), tensors, values)


def _write_npz(target: Path, tensors: Sequence[TensorSpec], values: Iterator[AnyArray]) -> None:
    from wcodec.modelfiles.zip_members import EPOCH, TENSORS, Member, pack

    for facts in tensors:
        if facts.dtype in NARROW - {"bfloat16"}:
            raise ModelFileError(f"{facts.name}: .npz has no type {facts.dtype}; .safetensors has")
        if len(facts.name.encode()) > 60_000 or "\0" in facts.name:
            raise ModelFileError(f"{facts.name[:80]!r}: cannot name an array of an .npz; .safetensors can have it")
    plain = [TensorSpec(t.name, "float32" if t.dtype == "bfloat16" else t.dtype, t.shape) for t in tensors]
    skeleton = pack([Member(f"{facts.name}.npy", EPOCH, False, 0, TENSORS, bytes((0, 1))) for facts in tensors])
    wide = (
        to_float32(one.view(numpy_type("bfloat16")), "bfloat16") if facts.dtype == "bfloat16" else one
        for facts, one in zip(tensors, values, strict=True)
    )
    write_model(target, "npz", skeleton, plain, wide)


_WRITERS: dict[str, Callable[[Path, Sequence[TensorSpec], Iterator[AnyArray]], None]] = {
    ".safetensors": _write_safetensors,
    ".npz": _write_npz,
}
