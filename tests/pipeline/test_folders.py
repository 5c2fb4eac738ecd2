"""Models of several files: one .wcz for each file and an index, with several processes and after interruptions."""

from __future__ import annotations

import json
import os
import signal
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from attack.small_models import weights, write_hdf5
from conftest import Run
from round_trips import checkpoint, contents

import wcodec as package
from wcodec.container.writer import Writer
from wcodec.errors import ContainerError, CorruptError, ModelFileError, RecipeError, TruncatedError
from wcodec.modelfiles.shard_list import pack
from wcodec.modelfiles.shards import folder_of
from wcodec.pipeline.encoder import encode
from wcodec.pipeline.folder_encoder import encode_folder, run
from wcodec.pipeline.folder_jobs import name_part, plan_jobs
from wcodec.planning.parsing import parse_recipe


def test_a_folder_is_restored_with_all_its_files(tmp_path: Path) -> None:
    checkpoint(tmp_path / "m")
    (tmp_path / "m" / "assets").mkdir()
    (tmp_path / "m" / "assets" / "words.txt").write_text("a\nb\n")
    numbers = package.encode(tmp_path / "m", tmp_path / "m.wcz", lossless=True)
    assert numbers.file_bytes == sum(path.stat().st_size for path in (tmp_path / "m.wcz").rglob("*.wcz"))
    assert numbers.parts.total() == numbers.file_bytes
    package.verify(tmp_path / "m.wcz")
    package.decode(tmp_path / "m.wcz", tmp_path / "back")
    assert contents(tmp_path / "back") == contents(tmp_path / "m")


def test_an_index_is_encoded_with_its_shards_and_no_other_files(tmp_path: Path) -> None:
    index = checkpoint(tmp_path / "m")
    package.encode(index, tmp_path / "out", lossless=True)
    package.decode(tmp_path / "out" / "index.wcz", tmp_path / "back")
    expected = contents(tmp_path / "m")
    del expected["config.json"]
    assert contents(tmp_path / "back") == expected


def test_a_lossy_checkpoint_keeps_names_types_and_small_files(tmp_path: Path) -> None:
    checkpoint(tmp_path / "m")
    numbers = package.encode(tmp_path / "m", tmp_path / "out", bits=5, set={r"layers\.1\.": "bits=8"})
    assert 0 < numbers.relative_error < 0.01
    opened = package.open(tmp_path / "out")
    assert len(opened) == 9
    assert len(np.unique(opened["layers.0.a.weight"])) <= 32 < len(np.unique(opened["layers.1.a.weight"]))
    package.decode(tmp_path / "out", tmp_path / "back")
    assert (tmp_path / "back" / "config.json").read_text() == '{"layers": 3}'
    assert contents(tmp_path / "back").keys() == contents(tmp_path / "m").keys()
    with pytest.raises(RecipeError, match="nothing like it"):
        package.encode(tmp_path / "m", tmp_path / "other", exclude="nothing like it")


def test_every_executor_gives_the_same_bytes(tmp_path: Path) -> None:
    checkpoint(tmp_path / "m")
    package.encode(tmp_path / "m", tmp_path / "alone", bits=4)
    for name, executor in (("threads", ThreadPoolExecutor(2)), ("processes", ProcessPoolExecutor(2))):
        with executor:
            package.encode(tmp_path / "m", tmp_path / name, executor=executor, bits=4)
        assert contents(tmp_path / name) == contents(tmp_path / "alone")


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_does_not_change_the_bytes(tmp_path: Path) -> None:
    checkpoint(tmp_path / "m")
    package.encode(tmp_path / "m", tmp_path / "alone", lossless=True)
    with ProcessPoolExecutor(2) as executor:
        executor.submit(kill_itself)
        package.encode(tmp_path / "m", tmp_path / "killed", executor=executor, lossless=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "alone")


def test_parts_that_were_finished_before_an_interruption_are_not_encoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint(tmp_path / "m")
    package.encode(tmp_path / "m", tmp_path / "alone", lossless=True)
    started: list[str] = []

    def interrupt(source: Path, *args: object, **words: object) -> object:
        started.append(source.name)
        if len(started) == 3:
            raise KeyboardInterrupt
        return encode(source, *args, **words)  # type-checked where it is defined

    monkeypatch.setattr("wcodec.pipeline.folder_encoder.encode", interrupt)
    folder, recipe = folder_of(tmp_path / "m"), parse_recipe({"lossless": True})
    assert folder
    with pytest.raises(KeyboardInterrupt):
        encode_folder(folder, tmp_path / "out", recipe)
    assert not (tmp_path / "out" / "index.wcz").exists()
    with pytest.raises(TruncatedError, match="interrupted"):
        package.decode(tmp_path / "out", tmp_path / "back")
    finished, again = started[:2], started[2:]
    started[:] = [""] * 9
    encode_folder(folder, tmp_path / "out", recipe)
    assert again[0] in started
    assert not set(finished) & set(started)
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_an_existing_part_is_kept_and_a_damaged_part_is_encoded_again(tmp_path: Path) -> None:
    checkpoint(tmp_path / "m")
    folder = folder_of(tmp_path / "m")
    assert folder
    (tmp_path / "out").mkdir()
    out, recipe = tmp_path / "out", parse_recipe({"lossless": True})
    job = name_part(plan_jobs(folder, out, recipe, None, 1, None)[0][1], out)
    done = run(job)
    before = job.target.stat().st_mtime_ns
    assert run(job) == done
    assert job.target.stat().st_mtime_ns == before
    job.target.write_bytes(job.target.read_bytes()[:-1])
    assert run(job) == done
    os.utime(folder.root / folder.files[1].name, ns=(1, 1))
    again = name_part(plan_jobs(folder, out, recipe, None, 1, None)[0][1], out)
    assert again.target != job.target


def test_keras_models_in_a_folder_and_in_shards_are_decoded(tmp_path: Path) -> None:
    root = tmp_path / "unzipped"
    root.mkdir()
    (root / "config.json").write_text("{}")
    (root / "metadata.json").write_text("{}")
    write_hdf5(root / "model.weights.h5", {"layers/dense/vars/0": weights(1, 50, 40)})
    split = tmp_path / "split"
    split.mkdir()
    for number in (0, 1):
        write_hdf5(split / f"m_{number:05}.weights.h5", {f"layers/dense_{number}/vars/0": weights(number, 50, 40)})
    mapped = {"/layers/dense_0/vars": "m_00000.weights.h5", "/layers/dense_1/vars": ["m_00001.weights.h5"]}
    (split / "m.weights.json").write_text(json.dumps({"metadata": {}, "weight_map": mapped}))
    for number, source in enumerate((root, split / "m.weights.json", split)):
        for words in ({"lossless": True}, {"bits": 4}):
            name = f"{number}-{next(iter(words))}"
            out, back = tmp_path / f"out{name}", tmp_path / f"back{name}"
            package.encode(source, out, **words)
            package.decode(out, back)
            before, after = contents(root if source == root else split), contents(back)
            assert before.keys() == after.keys()
            assert (before == after) == ("lossless" in words)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "missing.safetensors", "a\\b", ""])
def test_shards_outside_of_the_folder_or_missing_are_refused(name: str, tmp_path: Path) -> None:
    index = checkpoint(tmp_path / "m")
    (tmp_path / "outside.safetensors").write_bytes((tmp_path / "m/model-00001-of-00003.safetensors").read_bytes())
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ModelFileError, match="in its folder"):
        folder_of(index)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 3}}', "[" * 100_000])
def test_an_invalid_index_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.index.json").write_text(text)
    with pytest.raises(ModelFileError):
        folder_of(tmp_path / "x.index.json")


def pack_names(*names: str, empty: tuple[str, ...] = ()) -> bytes:
    return pack(names, [(1, bytes(32))] * len(names), empty)


HOSTILE = {
    "nothing": b"", "another kind": b"\1\0", "cut": b"\0\2\1a", "many": b"\0\xff\xff\xff\xff\7",
    "above": pack_names("../a"), "absolute": pack_names("/a"), "twice": pack_names("a", "a"),
    "and more": pack([], []) + b"!",
    "a file as a folder": pack_names("a", "a/b"), "no name": pack_names(""), "missing": pack_names("a"),
    "a device": b"\0\1\4C:\\a\1" + bytes(32), "not UTF-8": b"\0\1\1\xff\1" + bytes(32),
    "an empty folder above": pack_names("a", empty=("../b",)),
    "an empty folder twice": pack_names("a", empty=("b", "b")),
    "an empty folder in a file": pack_names("a", empty=("a/b",)),
    "a file in an empty folder": pack_names("a/b", empty=("a",)),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_index_is_refused_and_leaves_no_files(name: str, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with (tmp_path / "m" / "index.wcz").open("w+b") as file:
        Writer(file).finish("shards", (), HOSTILE[name], 0, 0.0)
    for attempt in (package.verify, lambda path: package.decode(path, tmp_path / "out"), package.open):
        with pytest.raises(ContainerError):
            attempt(tmp_path / "m")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_replaced_or_missing_part_is_an_error(tmp_path: Path) -> None:
    checkpoint(tmp_path / "m")
    package.encode(tmp_path / "m", tmp_path / "out", lossless=True)
    first, second = sorted((tmp_path / "out").glob("model-*.wcz"))[:2]
    first.write_bytes(second.read_bytes())
    for attempt in (package.verify, lambda path: package.decode(path, tmp_path / "back")):
        with pytest.raises(CorruptError, match="is not the part"):
            attempt(tmp_path / "out")
    first.unlink()
    with pytest.raises(TruncatedError, match="found none"):
        package.verify(tmp_path / "out")
    assert not (tmp_path / "back").exists()


def test_the_command_accepts_folders(wcodec: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint(tmp_path / "m")
    assert wcodec("encode", tmp_path / "m", "--lossless").returncode == 0
    again = wcodec("encode", tmp_path / "m", "--lossless")
    assert (again.returncode, "-f" in again.stderr) == (1, True)
    assert wcodec("encode", tmp_path / "m", "--lossless", "-f").returncode == 0
    assert wcodec("verify", tmp_path / "m.wcz").returncode == 0
    assert json.loads(wcodec("inspect", tmp_path / "m.wcz", "--json").stdout)["tensors"][8]["shape"] == [80, 60]
    assert wcodec("decode", tmp_path / "m.wcz").returncode == 1
    assert wcodec("decode", tmp_path / "m.wcz", "-o", tmp_path / "m.safetensors").returncode == 2
    assert wcodec("decode", tmp_path / "m.wcz", "-o", tmp_path / "back").returncode == 0
    assert contents(tmp_path / "back") == contents(tmp_path / "m")
    array = tmp_path / "array.npy"
    assert wcodec("decode", tmp_path / "m.wcz", "--tensor", "layers.2.b.weight", "-o", array).returncode == 0
    assert np.array_equal(np.load(array), weights(21, 80, 60))
    monkeypatch.setattr("wcodec.cli.dask_executor.ANSWER_SECONDS", 1)
    assert wcodec("encode", tmp_path / "m", "--scheduler", "tcp://127.0.0.1:1", "-f").returncode in (1, 2)


def test_a_snapshot_of_links_in_the_cache_of_hugging_face_is_encoded(wcodec: Run, tmp_path: Path) -> None:
    repository = tmp_path / "models--a--b"
    snapshot = repository / "snapshots" / "m"
    checkpoint(snapshot)
    (repository / "blobs").mkdir()
    for number, path in enumerate(sorted(snapshot.iterdir())):
        path.rename(repository / "blobs" / str(number))
        path.symlink_to(f"../../blobs/{number}")
    for source in (snapshot, snapshot / "model.safetensors.index.json"):
        assert wcodec("encode", source, "--lossless", "-o", tmp_path / f"{source.name}.o").returncode == 0
    assert wcodec("decode", tmp_path / "m.o", "-o", tmp_path / "back").returncode == 0
    assert contents(tmp_path / "back") == contents(snapshot)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "empty" / "words.zip", "w") as archive:
        archive.writestr("words", "words")
    with pytest.raises(ModelFileError, match="directory"):
        folder_of(tmp_path / "empty")


def test_an_index_with_some_missing_shards_is_refused_and_one_with_all_missing_is_ignored(tmp_path: Path) -> None:
    checkpoint(tmp_path / "m")
    (tmp_path / "m" / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "pytorch_model.bin"}}')
    (tmp_path / "m" / "other.index.json").write_text("[]")
    assert folder_of(tmp_path / "m") is not None
    (tmp_path / "m" / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ModelFileError, match="model-00002-of-00003"):
        folder_of(tmp_path / "m")
