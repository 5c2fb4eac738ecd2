"""`.keras` archives: all members are stored unchanged, except the HDF5 file of weights, whose tensors are coded."""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from wcodec.errors import CorruptError, ModelFileError
from wcodec.model import AnyArray, Model, Tensor, TensorSpec
from wcodec.modelfiles import zip_members as members
from wcodec.modelfiles.hdf5 import reader as hdf5_read
from wcodec.modelfiles.hdf5 import skeleton
from wcodec.modelfiles.hdf5 import writer as hdf5_write
from wcodec.modelfiles.hdf5.layers import annotate
from wcodec.modelfiles.keras_task import predicted_tasks
from wcodec.modelfiles.zip_members import Window

WEIGHTS, CONFIG = "model.weights.h5", "config.json"
BLOCK = 1 << 20


@contextmanager
def read(path: Path, keep_optimizer: bool) -> Iterator[Model]:
    """A context manager of the model of a `.keras` archive; tensors can be read until it ends. Inverse: `write`.

    Raises: ModelFileError.
    """
    with ExitStack() as stack:
        tensors: tuple[Tensor, ...] = ()
        dropped: tuple[str, ...] = ()
        kept: list[members.Member] = []
        with members.translate_errors(str(path)):
            archive = stack.enter_context(members.open_archive(path))
            infos = members.check_members(archive, path, (WEIGHTS,))
            names = {info.filename for info in infos}
            config = archive.read(CONFIG).decode("utf-8", "replace") if CONFIG in names else None
            for info in infos:
                if info.filename != WEIGHTS:
                    kept.append(members.raw_member(archive, info))
                    continue
                weights = stack.enter_context(_open_weights(archive, info, path))
                where = f"{path}, {WEIGHTS}"
                file, longest = stack.enter_context(hdf5_read.open_hdf5(weights, where))
                tree, found, dropped = hdf5_read.read_tree(file, longest, where, info.file_size, keep_optimizer)
                tensors = annotate(tree, found, config)
                packed = skeleton.pack(tree, [tensor.dtype for tensor in tensors])
                kept.append(members.member_of(info, members.TENSORS, packed))
        if not any(member.kind == members.TENSORS for member in kept):
            raise ModelFileError(f"{path}: expected a member {WEIGHTS}; sharded and .npz weights are not supported")
        tasks = predicted_tasks(config)
        yield Model("keras", tensors, members.pack(kept), path.stat().st_size, dropped, tasks=tasks)


def write(path: Path, packed: bytes, tensors: Sequence[TensorSpec], values: Iterator[AnyArray]) -> None:
    """Write a new `.keras` archive, with the same bytes every time. Inverse: `read`.

    Raises: CorruptError, TruncatedError.
    """
    parsed = members.parse(packed)
    if sum(member.kind == members.TENSORS for member in parsed) != 1:
        raise CorruptError("skeleton: expected one member with tensors")
    with zipfile.ZipFile(path, "w") as archive, tempfile.TemporaryFile(dir=path.parent) as weights:
        for member in parsed:
            info = member.info()
            if member.kind == members.RAW:
                archive.writestr(info, member.content)
                continue
            tree = skeleton.parse(member.content, [facts.name for facts in tensors], [facts.dtype for facts in tensors])
            hdf5_write.write(weights, tree, tensors, values)
            info.file_size = weights.seek(0, 2)
            weights.seek(0)
            with archive.open(info, "w") as out:
                shutil.copyfileobj(weights, out, BLOCK)


@contextmanager
def _open_weights(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Iterator[IO[bytes]]:
    """The HDF5 file inside, seekable: in place if stored, otherwise inflated to an unnamed file. Checks its CRC-32."""
    with ExitStack() as stack, archive.open(info) as member:
        if info.compress_type == zipfile.ZIP_STORED:
            while member.read(BLOCK):
                pass
            yield stack.enter_context(io.BufferedReader(Window(path, info), BLOCK))
        else:
            inflated = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(member, inflated, BLOCK)
            yield inflated
