"""HDF5 model files: Keras `.h5` and `.weights.h5`, and any other HDF5 file of numeric datasets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wcodec.model import AnyArray, Model, TensorSpec
from wcodec.modelfiles.hdf5 import skeleton
from wcodec.modelfiles.hdf5.tree import Group, string_attribute


@contextmanager
def read(path: Path, keep_optimizer: bool) -> Iterator[Model]:
    """A context manager of the model of an HDF5 file; tensors can be read until it ends. Inverse: `write`.

    Raises: ModelFileError.
    """
    from wcodec.modelfiles.hdf5 import reader as hdf5_read
    from wcodec.modelfiles.hdf5.layers import annotate
    from wcodec.modelfiles.keras_task import predicted_tasks

    size = path.stat().st_size
    with hdf5_read.open_hdf5(path, str(path)) as (file, longest):
        tree, found, dropped = hdf5_read.read_tree(file, longest, str(path), size, keep_optimizer)
        packed = skeleton.pack(tree, [tensor.facts.dtype for tensor in found])
        config, training = (string_attribute(tree, name) for name in ("model_config", "training_config"))
        tensors, tasks = annotate(tree, found, config), predicted_tasks(config, training)
        yield Model("hdf5", tensors, bytes([_is_weights_only(tree)]) + packed, size, dropped, tasks=tasks)


def write(path: Path, packed: bytes, tensors: Sequence[TensorSpec], values: Iterator[AnyArray]) -> None:
    """Write a new HDF5 file. Inverse: `read`.

    Raises: CorruptError, TruncatedError.
    """
    from wcodec.modelfiles.hdf5 import writer as hdf5_write

    tree = skeleton.parse(packed[1:], [facts.name for facts in tensors], [facts.dtype for facts in tensors])
    with path.open("w+b") as file:
        hdf5_write.write(file, tree, tensors, values)


def _is_weights_only(tree: Group) -> bool:
    """Whether the tree has the layout of a Keras 3 `.weights.h5` file."""
    return not tree.attributes and any(isinstance(c, Group) and c.name in ("vars", "layers") for c in tree.children)
