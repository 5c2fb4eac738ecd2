"""python model_storm.py [CASES]: inspect, encode and decode mutated model files of every kind.

A case must give a result or a ModelFileError, and a lossless result must equal the file. Its limits are 300 MB and
5 CPU seconds. Each kind runs in its own process; a case that kills the process is reported, and the next case runs.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from attack.model_mutations import SEEDS, SUFFIXES, mutate, seeds

MEGABYTES, SECONDS = 300, 5
ADDRESS_SPACE = 4 << 30


@dataclass
class ModelReport:
    """The results of the cases of a kind. wrong: one line for each failure."""

    cases: int = 0
    done: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0
    peak: float = 0.0


def peak_megabytes() -> float:
    """The peak memory of this process since `forget_peak`, in megabytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def forget_peak() -> None:
    """Reset the peak memory of this process."""
    Path("/proc/self/clear_refs").write_text("5")


def attempt(source: Path, how: int) -> bool:
    """Inspect a file, or encode and decode it; return whether it was accepted.

    Raises: AssertionError if it is not restored; any other exception is a failure too.
    """
    import wcodec

    packed, back = source.with_name("x.wcz"), source.with_name("back")
    try:
        if how == 0:
            wcodec.inspect(source)
            return True
        wcodec.encode(source, packed, threads=1, effort="fast", lossless=how == 2)
    except wcodec.ModelFileError:
        assert not packed.exists(), "an output is left behind"
        return False
    wcodec.decode(packed, back, threads=1)
    found = back / source.name if back.is_dir() else back
    assert how != 2 or found.read_bytes() == source.read_bytes(), "another file comes back"
    return True


def work(kind: str, first: int, cases: int, folder: Path) -> None:
    """Attempt cases `first` to `cases`; print the number of each before it starts, and its result."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    files = seeds(kind)
    for number in range(first, cases):
        chance = random.Random(f"{kind} {number}")
        case = folder / "case"
        case.mkdir()
        source = case / f"m{SUFFIXES[kind]}"
        source.write_bytes(mutate(kind, chance.choice(files), chance))
        print(number, flush=True)
        forget_peak()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        start = time.process_time()
        try:
            result = "done" if attempt(source, number % 3) else "refused"
        except Exception as error:
            result = f"{type(error).__name__}: {error}"[:300].replace("\n", " ")
        seconds = time.process_time() - start
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps([result, seconds, peak_megabytes()]), flush=True)
        shutil.rmtree(case)


def storm(kind: str, cases: int) -> ModelReport:
    """Attempt that many cases; a new process continues after one that was killed."""
    report = ModelReport()
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
    first = 0
    while first < cases:
        with tempfile.TemporaryDirectory() as folder:
            words = [sys.executable, __file__, kind, str(first), str(cases), folder]
            child = subprocess.run(words, stdout=subprocess.PIPE, text=True, env=env, check=False)
        lines = child.stdout.splitlines()
        for number, line in zip(lines[::2], lines[1::2], strict=False):
            result, seconds, megabytes = json.loads(line)
            first = int(number) + 1
            _count(report, f"{kind} {number}", result, seconds, megabytes)
        if child.returncode:
            first = int(lines[-1]) + 1 if len(lines) % 2 else cases
            report.cases += 1
            report.wrong.append(f"{kind} {first - 1}: ended by signal {-child.returncode}")
    return report


def _count(report: ModelReport, case: str, result: str, seconds: float, megabytes: float) -> None:
    report.cases += 1
    report.done += result == "done"
    report.refused += result == "refused"
    report.slowest, report.peak = max(report.slowest, seconds), max(report.peak, megabytes)
    if result not in ("done", "refused"):
        report.wrong.append(f"{case}: {result}")
    if seconds > SECONDS or megabytes > MEGABYTES:
        report.wrong.append(f"{case}: {seconds:.1f} s, {megabytes:.0f} MB")


def main(cases: int) -> int:
    """Print a table of all kinds, and the failures."""
    wrong = []
    print(f"{'kind':12}{'cases':>8}{'done':>8}{'refused':>8}{'slowest, s':>12}{'most, MB':>10}")
    for kind in SEEDS:
        found = storm(kind, cases // len(SEEDS))
        wrong += found.wrong
        row = f"{found.slowest:12.2f}{found.peak:10.0f}"
        print(f"{kind:12}{found.cases:8}{found.done:8}{found.refused:8}{row}", flush=True)
    print("\n".join(wrong) or "nothing went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) > 2:
        work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
