"""A template as a Model: its extents are tensors that may be lossy, and the file comes back around them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from wcodec.errors import ModelFileError
from wcodec.model import Model, Tensor
from wcodec.modelfiles.template import Template, pack, read

MAX_REST = 1 << 26


def model_of(path: Path, template: Template) -> Model:
    """The model of a file that was cut.

    Raises: ModelFileError where what is left beside the tensors is too large to be a skeleton.
    """
    if template.rest_bytes > MAX_REST:
        raise ModelFileError(f"{path}: expected at most {MAX_REST} bytes beside its tensors, got {template.rest_bytes}")
    with path.open("rb") as file:
        rest = bytearray()
        for begin, end in template.gaps():
            file.seek(begin)
            rest += file.read(end - begin)
    tensors = tuple(
        Tensor(one.facts.name, one.facts.dtype, one.facts.shape, one.layer, one.exact, partial(read, path, one))
        for one in template.extents
    )
    return Model("file", tensors, pack(template, None, bytes(rest)), template.length)
