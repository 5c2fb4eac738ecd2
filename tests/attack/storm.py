"""python storm.py MODE WCZ...: decode modified containers in this process, and print a report as JSON.

Files with wrong checksums (flips, truncations) must be refused. Modified files with correct checksums (sections,
metadata) can be decoded or raise an error of the package, and no other error.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path

from attack.file_fields import HEADER, dissect
from wcodec.errors import ContainerError, ModelFileError
from wcodec.pipeline.decoder import decode

EVERY = 1 if os.environ.get("THOROUGH") == "1" else 7
"""One in `EVERY` attempts is made; it is odd, so that all bits and both changes of a byte occur."""


@dataclass
class Report:
    """The results of all attempts.

    decoded: names of attempts that gave a file; leaks: those with an exception that is an internal error;
    left: those that left a file behind;
    slowest: CPU seconds; peak: megabytes of this process.
    """

    attempts: int = 0
    decoded: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0
    peak: float = 0.0


def flips(file: bytes, bits: int) -> Iterator[tuple[str, bytes]]:
    """The file with one bit flipped: `bits` bits of every byte, which differ from byte to byte."""
    for at in range(len(file)):
        for k in range(bits):
            bit = (at + 3 * k) % 8
            yield f"bit {bit} of byte {at}", file[:at] + bytes((file[at] ^ 1 << bit,)) + file[at + 1 :]


def truncations(file: bytes) -> Iterator[tuple[str, bytes]]:
    """All truncations of the file, and the file with an additional byte."""
    for size in range(len(file)):
        yield f"{size} bytes", file[:size]
    yield "a byte more", file + b"\0"


def sections(file: bytes) -> Iterator[tuple[str, bytes]]:
    """The file with changes to each section; its checksum is correct, the digest of the values is the old one."""
    fields = dissect(file)
    for tensor, entry in enumerate(fields.entries):
        for number, section in enumerate(entry.sections):
            for how, changed in changes(section):
                yield (
                    f"tensor {tensor}, section {number}, {how}",
                    fields.with_section(tensor, number, changed).to_bytes(),
                )


def metadata(file: bytes) -> Iterator[tuple[str, bytes]]:
    """The file with changes to table, skeleton and index; checksums are correct."""
    fields = dissect(file)
    for how, changed in changes(fields.table):
        yield f"table, {how}", replace(fields, table=changed).to_bytes()
    for how, changed in changes(fields.skeleton):
        yield f"skeleton, {how}", replace(fields, skeleton=changed).to_bytes()
    whole = replace(fields, features=HEADER.unpack_from(file)[3])
    length = HEADER.unpack_from(file)[5]
    body, index = file[HEADER.size + 4 : -length], file[-length:]
    for how, changed in changes(index):
        yield f"index, {how}", whole.join_parts(body, changed)


def changes(part: bytes) -> Iterator[tuple[str, bytes]]:
    """The part with each byte changed, truncated, and extended."""
    for at, byte in enumerate(part):
        for value in sorted({byte ^ 1 << at % 8, 255} - {byte}):
            yield f"byte {at} is {value}", part[:at] + bytes((value,)) + part[at + 1 :]
    for size in range(0, len(part), max(1, len(part) // 40)):
        yield f"cut to {size}", part[:size]
    yield "a byte more", part + b"\0"
    yield "twice", part + part


def attack(attempts: Iterator[tuple[str, bytes]], folder: Path, report: Report, prefix: str) -> None:
    """Decode one in `EVERY` attempts and add the results to the report."""
    source, target = folder / "hostile.wcz", folder / "out"
    for name, file in islice(attempts, 0, None, EVERY):
        source.write_bytes(file)
        start = time.process_time()
        try:
            decode(source, target, threads=1)
        except (ContainerError, ModelFileError) as error:
            kind = type(error).__name__
            report.kinds[kind] = report.kinds.get(kind, 0) + 1
            if [path for path in folder.iterdir() if path != source]:
                report.left.append(f"{prefix}: {name}")
        except Exception as error:
            report.leaks.append(f"{prefix}: {name}: {type(error).__name__}: {error}"[:300])
        else:
            report.decoded.append(f"{prefix}: {name}")
            target.unlink()
        report.slowest = max(report.slowest, time.process_time() - start)
        report.attempts += 1


def peak_megabytes() -> float:
    """The peak memory of this process, in megabytes."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss of a child includes the memory of its parent at the fork
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1 << 20)


MODES: dict[str, Callable[[bytes], Iterator[tuple[str, bytes]]]] = {
    "flips": lambda file: flips(file, 2), "truncations": truncations, "sections": sections, "metadata": metadata,
    "as it is": lambda file: iter([("", file)]),
}  # fmt: skip


def main(mode: str, *paths: str) -> None:
    """Decode modified containers and print the report."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            attack(MODES[mode](Path(path).read_bytes()), Path(folder), report, Path(path).name)
    report.peak = peak_megabytes()
    json.dump(asdict(report), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
