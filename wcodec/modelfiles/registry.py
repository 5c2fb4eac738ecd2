"""The table of model files: for each kind the module that reads and writes it, and the suffixes of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path

from wcodec.model import AnyArray, Model, TensorSpec
from wcodec.model.dataclass import dataclass

Read = Callable[[Path, bool], AbstractContextManager[Model]]
Write = Callable[[Path, bytes, Sequence[TensorSpec], Iterator[AnyArray]], None]


@dataclass(frozen=True)
class ModelFile:
    """A kind of model file: its module, which defines `read` and `write`, and the suffixes of its files.

    The first suffix is the usual one; the second, if there is one, is for files of weights without a model.
    """

    module: str
    suffixes: tuple[str, ...]

    @property
    def read(self) -> Read:
        """`read(path, keep_optimizer)`, a context manager of the Model."""
        function: Read = import_module(self.module).read
        return function

    @property
    def write(self) -> Write:
        """`write(path, skeleton, tensors, values)`."""
        function: Write = import_module(self.module).write
        return function


MODEL_FILES = {
    "hdf5": ModelFile("wcodec.modelfiles.hdf5.model", (".h5", ".weights.h5")),
    "keras": ModelFile("wcodec.modelfiles.keras_archive", (".keras",)),
    "npz": ModelFile("wcodec.modelfiles.npz", (".npz",)),
    "safetensors": ModelFile("wcodec.modelfiles.safetensors", (".safetensors",)),
    "file": ModelFile("wcodec.modelfiles.extents", (".h5", ".weights.h5", ".keras", ".npz", ".onnx", ".npy")),
}
READ_ONLY = {
    "onnx": ModelFile("wcodec.modelfiles.onnx", (".onnx",)),
    "npy": ModelFile("wcodec.modelfiles.npy", (".npy",)),
    "torch": ModelFile("wcodec.modelfiles.pytorch", (".pt",)),
}
"""Kinds that are read as models of one of the kinds above."""
