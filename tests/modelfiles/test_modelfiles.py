"""Model files without Keras: unusual files, refused files, and damage."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from handmade import FILES, arrays_npz, keras2_h5, keras_zip, library_safetensors, odd_safetensors, strange_h5
from hypothesis import given
from hypothesis import strategies as st

from wcodec.errors import ContainerError, ModelFileError, UnsupportedError
from wcodec.model import DTYPES
from wcodec.modelfiles import open_model, suffix, write_model
from wcodec.modelfiles.hdf5 import heap_check as heaps
from wcodec.modelfiles.registry import MODEL_FILES


def rewrite(source: Path, target: Path, keep_optimizer: bool = False) -> None:
    with open_model(source, keep_optimizer) as model:
        write_model(target, model.kind, model.skeleton, model.tensors, (tensor.read() for tensor in model.tensors))


@pytest.fixture(scope="module", params=FILES)
def source(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / request.param
    FILES[request.param](path)
    return path


def test_a_rewritten_file_has_the_same_model(source, tmp_path):
    rewrite(source, tmp_path / "out", keep_optimizer=True)
    with open_model(source, True) as ours, open_model(tmp_path / "out", True) as again:
        assert ours.skeleton == again.skeleton
        assert ours.tensors == again.tensors
        for tensor, twin in zip(ours.tensors, again.tensors, strict=True):
            values = tensor.read()
            assert values.tobytes() == twin.read().tobytes()
            assert values.shape == tensor.shape
            assert values.flags.c_contiguous
            assert values.nbytes == tensor.nbytes
            assert values.dtype.byteorder != ">"


def test_writing_is_deterministic(source, tmp_path):
    rewrite(source, tmp_path / "one")
    time.sleep(1.1 if source.suffix == ".h5" else 0)  # HDF5 has times in seconds
    rewrite(source, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_truncated_skeleton_raises_a_container_error(source, tmp_path):
    with open_model(source) as model:
        values = [tensor.read() for tensor in model.tensors]
        ends = range(0, len(model.skeleton), 1 + len(model.skeleton) // 60)
        for end in ends[:1] if model.kind == "safetensors" else ends:
            with pytest.raises(ContainerError):
                write_model(tmp_path / "out", model.kind, model.skeleton[:end], model.tensors, iter(values))


def test_a_skeleton_with_a_flipped_bit_is_written_or_raises_a_container_error(source, tmp_path):
    with open_model(source) as model:
        values = [tensor.read() for tensor in model.tensors]
        for at in range(0, min(len(model.skeleton), 3000), 1 + min(len(model.skeleton), 3000) // 150):
            for flip in (1, 0x80):
                damaged = bytearray(model.skeleton)
                damaged[at] ^= flip
                try:
                    write_model(tmp_path / "out", model.kind, bytes(damaged), model.tensors, iter(values))
                except ContainerError:
                    continue


def test_a_damaged_file_is_read_or_raises_a_model_file_error(source, tmp_path):
    whole = source.read_bytes()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 1 + seed % 3):
            damaged[at if seed % 2 else at % 4096 % len(whole)] ^= 1 << rng.integers(0, 8)
        if seed % 10 == 9:
            del damaged[rng.integers(0, len(whole)) :]
        path = tmp_path / "damaged"
        path.write_bytes(damaged)
        try:
            with open_model(path) as model:
                for tensor in model.tensors:
                    tensor.read()
        except ModelFileError:
            continue


def test_a_heap_that_hangs_the_hdf5_library_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["names"] = ["one", "two"]
    whole = bytearray((tmp_path / "a.h5").read_bytes())
    first = whole.index(b"GCOL") + 16
    whole[first + 8] = 60  # the size of the first string, which makes the next object a free one of size 0
    (tmp_path / "a.h5").write_bytes(whole)
    with pytest.raises(ModelFileError, match="heap"), open_model(tmp_path / "a.h5"):
        pass


@pytest.mark.parametrize("at", [0, 5, heaps.BLOCK - 8, heaps.BLOCK - 3, heaps.BLOCK, 2 * heaps.BLOCK - 1])
def test_heaps_are_found_at_any_offset(at):
    whole = bytearray(2 * heaps.BLOCK + 40)
    for start in (at, at + 20):
        whole[start : start + 16] = heaps.SIGNATURE + (16).to_bytes(8, "little")
    heaps.check_heaps(io.BytesIO(whole), "here")
    whole[at + 8] = 21
    with pytest.raises(ModelFileError, match=f"heap of strings at byte {at + 20}"):
        heaps.check_heaps(io.BytesIO(whole), "here")


def test_links_external_storage_and_other_types_are_refused_by_name(tmp_path):
    def soft(file):
        file["w"] = h5py.SoftLink("/x")

    def external(file):
        file["w"] = h5py.ExternalLink("other.h5", "/x")

    def elsewhere(file):
        file.create_dataset("w", (4,), "f4", external=[(str(tmp_path / "raw"), 0, 16)])

    def virtual(file):
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
        file.create_virtual_dataset("w", layout)

    def compressed(file):
        file.create_dataset("w", (1 << 40,), "f4", chunks=(1 << 20,), compression="gzip")

    def unwritten(file):
        file.create_dataset("w", (1 << 40,), "f4")

    def named(file):
        file["w"] = np.dtype("f4")

    def reference(file):
        file["w"] = np.array([file.ref], h5py.ref_dtype)

    def cycle(file):
        file.create_group("g")["w"] = file["/"]

    def structured(file):
        file["w"] = np.zeros(3, [("a", "f4"), ("b", "i4")])

    for build in (soft, external, elsewhere, virtual, compressed, unwritten, named, reference, cycle, structured):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            build(file)
        with pytest.raises(ModelFileError, match="w"), open_model(tmp_path / "x.h5"):
            pass


@pytest.mark.parametrize(
    ("head", "advice"),
    [
        (b"GGUF\3\0\0\0", "GGUF"), (b"\x1c\0\0\0TFL3", "TFLite"), (b"\x80\4\x95", "pickle"), (b"\x89WCZ", "decode"),
        (b"\x08\x08\x12", "ONNX"), (b"", "empty"), (b"hello", "68 65"), (b"\x93NUMPY\1\0", "npy"),
    ],
)  # fmt: skip
def test_files_of_other_formats_are_refused_by_name(tmp_path, head, advice):
    (tmp_path / "x").write_bytes(head)
    with pytest.raises(ModelFileError, match=advice), open_model(tmp_path / "x"):
        pass


def test_archives_and_folders_of_other_formats_are_refused_by_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], object))
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()
    for name, advice in (("x.pt", "torch.load"), ("objects.npz", "a.npy"), ("saved", "SavedModel"), ("no", "No such")):
        with pytest.raises(ModelFileError, match=advice), open_model(tmp_path / name):
            pass


def test_numpy_and_h5py_read_the_same_values_from_a_rewritten_file(tmp_path):
    strange_h5(tmp_path / "in.h5")
    rewrite(tmp_path / "in.h5", tmp_path / "out.h5")
    with h5py.File(tmp_path / "in.h5") as a, h5py.File(tmp_path / "out.h5") as b:
        assert list(a) == list(b)
        assert b["again"] == b["a"] == b["zwei/loop"]
        for name in a:
            if isinstance(a[name], h5py.Dataset):
                assert a[name].dtype == b[name].dtype
                assert a[name].id.get_type().equal(b[name].id.get_type())
                assert repr(a[name][()]) == repr(b[name][()])
            for key, value in a[name].attrs.items():
                assert repr(value) == repr(b[name].attrs[key])
    arrays_npz(tmp_path / "in.npz")
    rewrite(tmp_path / "in.npz", tmp_path / "out.npz")
    with np.load(tmp_path / "in.npz") as a, np.load(tmp_path / "out.npz") as b:
        assert list(a) == list(b)
        for name in a:
            assert (a[name].dtype, a[name].flags.f_contiguous) == (b[name].dtype, b[name].flags.f_contiguous)
            assert a[name].tobytes() == b[name].tobytes()
    with zipfile.ZipFile(tmp_path / "in.npz") as a, zipfile.ZipFile(tmp_path / "out.npz") as b:
        assert all(a.read(name) == b.read(name) for name in a.namelist())


@pytest.mark.parametrize("build", [library_safetensors, odd_safetensors])
def test_rewritten_safetensors_have_the_same_bytes(tmp_path, build):
    build(tmp_path / "in.safetensors")
    rewrite(tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    assert (tmp_path / "in.safetensors").read_bytes() == (tmp_path / "out.safetensors").read_bytes()


def test_members_of_a_rewritten_keras_archive_are_the_same(tmp_path):
    keras_zip(tmp_path / "in.keras", deflated=True)
    rewrite(tmp_path / "in.keras", tmp_path / "out.keras")
    with zipfile.ZipFile(tmp_path / "in.keras") as a, zipfile.ZipFile(tmp_path / "out.keras") as b:
        for ours, theirs in zip(b.infolist(), a.infolist(), strict=True):
            assert (ours.filename, ours.date_time) == (theirs.filename, theirs.date_time)
            assert ours.compress_type == theirs.compress_type
            assert ours.filename == "model.weights.h5" or b.read(ours) == a.read(theirs)


def test_tensors_have_the_order_of_the_model_and_their_layers(tmp_path):
    keras2_h5(tmp_path / "a.h5")
    with open_model(tmp_path / "a.h5") as model:
        assert [tensor.name.rpartition("/")[2] for tensor in model.tensors] == ["kernel:0", "bias:0"] * 2
        assert [tensor.layer for tensor in model.tensors] == ["dense_2", "dense_2", "dense_10", "dense_10"]
        assert model.dropped == ("optimizer_weights/adam/m",)
        assert b"dense_2" not in model.skeleton
    keras_zip(tmp_path / "a.keras")
    with open_model(tmp_path / "a.keras") as model:
        assert [(tensor.layer, tensor.exact) for tensor in model.tensors] == [("mine", False), ("normalization", True)]
        assert model.dropped == ("optimizer/vars/0",)


def test_every_kind_has_its_suffix(source):
    with open_model(source) as model:
        assert suffix(model.kind, model.skeleton) == source.suffix
        assert model.kind in MODEL_FILES
        assert all(tensor.dtype in {name for name, _ in DTYPES.values()} for tensor in model.tensors)
        assert model.source_bytes == source.stat().st_size


def test_unknown_kinds_are_refused(tmp_path):
    with pytest.raises(UnsupportedError, match="gguf"):
        write_model(tmp_path / "x", "gguf", b"\0", [], iter([]))


@given(st.binary(max_size=300))
def test_arbitrary_bytes_as_a_skeleton_are_written_or_raise_a_container_error(tmp_path_factory, skeleton):
    target = tmp_path_factory.getbasetemp() / "fuzzed"
    for kind in MODEL_FILES:
        try:
            write_model(target, kind, skeleton, [], iter([]))
        except ContainerError:
            continue
