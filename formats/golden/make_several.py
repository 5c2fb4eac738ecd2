"""python formats/golden/make_several.py: containers that need another file, or are several, with what comes of them.

based/   old.safetensors, and .wcz of a later version against it: exactly, and lossy
folder/  a sharded model: index.wcz and a .wcz for each of its files
numbered/  a folder whose parts are called by number
based/expected.json, folder.json and numbered.json have the SHA-256 of the files that decoding gives. What is there is
never changed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path += [str(ROOT), str(ROOT / "tests")]

from attack.small_models import weights, write_safetensors

import wcodec


def versions() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """An earlier and a later one: rows that moved each at its pace, bits and integers that did, and what did not."""
    pace = np.float32(10) ** np.linspace(-6, -1, 30, dtype=np.float32)[:, None]
    counts = np.arange(40, dtype=np.int32).reshape(8, 5)
    old = {"a/moved": weights(1, 30, 20), "b/half": weights(2, 12, 10).astype(np.float16), "c/count": counts}
    old |= {"d/same": weights(3, 20, 10), "e/double": weights(4, 10, 8).astype(np.float64)}
    new = {"a/moved": old["a/moved"] + pace * weights(5, 30, 20), "b/half": old["b/half"] * np.float16(1.01)}
    new |= {"c/count": counts + 3, "d/same": old["d/same"], "e/double": old["e/double"] + 1e-9, "f/new": weights(6, 9)}
    return old, new


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by its path inside."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


def make_based(target: Path, scratch: Path) -> None:
    """Write `target`/*.wcz and what they decode to."""
    old, new = versions()
    target.mkdir()
    base = write_safetensors(target / "old.safetensors", old)
    source = write_safetensors(scratch / "new.safetensors", new)
    expected = {}
    for name, words in (("exact", {"lossless": True}), ("lossy", {}), ("few", {"bits": 3})):
        wcodec.encode(source, target / f"{name}.wcz", base=base, threads=1, **words)
        wcodec.decode(target / f"{name}.wcz", scratch / name, base=base)
        expected[f"{name}.wcz"] = hashlib.sha256((scratch / name).read_bytes()).hexdigest()
    (target / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def folder(target: Path, scratch: Path) -> None:
    """Write `target`, a container of kind 5."""
    model = scratch / "model"
    (model / "words").mkdir(parents=True)
    (model / "words" / "list.txt").write_text("one\ntwo\n")
    mapped = {}
    for number in (1, 2):
        name = f"model-{number:05}-of-00002.safetensors"
        arrays = {f"layers.{number}.{part}.weight": weights(10 * number + i, 16, 12) for i, part in enumerate("ab")}
        write_safetensors(model / name, arrays)
        mapped |= dict.fromkeys(arrays, name)
    (model / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": mapped}))
    wcodec.encode(model, target, lossless=True, threads=1)
    (HERE / "folder.json").write_text(json.dumps(digests(model), indent=1) + "\n")


def make_numbered(target: Path, scratch: Path) -> None:
    """Write `target`, a container of kind 5 with an odd name and an empty folder."""
    model = scratch / "model"
    (model / "variables").mkdir(parents=True)
    (model / "assets").mkdir()
    (model / "variables" / "w:0").write_bytes(weights(9, 10, 10).tobytes())
    write_safetensors(model / "m.safetensors", {"w": weights(8, 16, 12)})
    wcodec.encode(model, target, lossless=True, threads=1)
    (HERE / "numbered.json").write_text(json.dumps(digests(model), indent=1) + "\n")


def main() -> None:
    """Write what is not there."""
    for make in (make_based, folder, make_numbered):
        target, scratch = HERE / make.__name__, Path(tempfile.mkdtemp())
        if not target.exists():
            make(target, scratch)
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
