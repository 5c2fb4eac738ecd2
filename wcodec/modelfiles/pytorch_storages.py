"""PyTorch checkpoints that are zip archives: the number type of each member. Nothing is unpickled.

`torch.save` writes each storage as a stored member `.../data/KEY`, and its type in the tuple ("storage", type, KEY,
device, elements) of `.../data.pkl`. The opcodes of that pickle are listed (as by `python -m pickletools`), not run. A
hostile pickle can at worst cause a storage to be coded as numbers of another type.
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
    """The tensor type of the numbers in each member, by its name. Empty if the archive is not understood."""
    pickles = [info for info in archive.infolist() if info.filename.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1 or pickles[0].file_size > MAX_PICKLE:
        return {}
    folder = pickles[0].filename.removesuffix("data.pkl")
    orders = [info for info in archive.infolist() if info.filename == f"{folder}byteorder"]
    if not all(map(_is_plain, (*pickles, *orders))) or any(info.file_size != len(LITTLE) for info in orders):
        return {}
    if any(archive.read(info) != LITTLE for info in orders):
        return {}
    return {f"{folder}data/{key}": dtype for key, dtype in _list_storages(archive.read(pickles[0])).items()}


def _is_plain(info: zipfile.ZipInfo) -> bool:
    """Whether it is stored or deflated. Other compressions may raise any error or need any amount of memory."""
    return info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def _list_storages(listing: bytes) -> dict[str, str]:
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
                # The number of elements is no text, so "storage", type, key and device are the last four texts.
                what, kind, key, _device = pushed[-4:]
                dtype = TYPES.get(kind.removeprefix("torch "))
                if what == "storage" and dtype:
                    found[key] = dtype
    except (ValueError, IndexError, KeyError, AttributeError, UnicodeDecodeError):
        return {}
    return found
