"""PyTorch checkpoints as archives: which member holds numbers of which type. Nothing is unpickled.

`torch.save` writes each storage as a stored member `.../data/KEY` and names its type in the tuples ("storage", type,
KEY, device, elements) of `.../data.pkl`. The opcodes of that pickle are listed (as `python -m pickletools` does), not
run, so a hostile one can at worst get a storage coded as numbers of another type.
"""

from __future__ import annotations

import pickletools
import zipfile

TYPES = {
    "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16", "DoubleStorage": "float64",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
}  # fmt: skip
MAX_PICKLE = 1 << 26
LITTLE = b"little"


def storage_types(archive: zipfile.ZipFile) -> dict[str, str]:
    """By name of a member: the tensor type of its numbers. Empty where the archive is not understood."""
    pickles = [info for info in archive.infolist() if info.filename.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1 or pickles[0].file_size > MAX_PICKLE:
        return {}
    folder = pickles[0].filename.removesuffix("data.pkl")
    orders = [info for info in archive.infolist() if info.filename == f"{folder}byteorder"]
    if not all(map(_is_plain, (*pickles, *orders))) or any(info.file_size != len(LITTLE) for info in orders):
        return {}
    if any(archive.read(info) != LITTLE for info in orders):
        return {}
    return {f"{folder}data/{key}": dtype for key, dtype in _storages(archive.read(pickles[0])).items()}


def _is_plain(info: zipfile.ZipInfo) -> bool:
    """Stored or deflated: what other compressions raise, and need of memory, nobody knows."""
    return info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def _storages(listing: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    memo: dict[int, str] = {}
    pushed = ["", "", "", ""]
    try:
        for opcode, argument, _ in pickletools.genops(listing):
            if opcode.name in ("BINPUT", "LONG_BINPUT"):
                memo[int(argument or 0)] = pushed[-1]
            elif opcode.name == "MEMOIZE":
                memo[len(memo)] = pushed[-1]
            elif opcode.name in ("BINGET", "LONG_BINGET"):
                pushed.append(memo.get(int(argument or 0), ""))
            elif opcode.name in ("BINUNICODE", "SHORT_BINUNICODE", "GLOBAL"):
                pushed.append(str(argument))
            elif opcode.name == "BINPERSID":
                # The elements are a number: "storage", its type, its key and its device are the last four texts.
                what, kind, key, _device = pushed[-4:]
                dtype = TYPES.get(kind.removeprefix("torch "))
                if what == "storage" and dtype:
                    found[key] = dtype
    except (ValueError, IndexError, KeyError, AttributeError, UnicodeDecodeError):
        return {}
    return found
