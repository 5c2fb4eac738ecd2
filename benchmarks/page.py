"""The output of a benchmark: printed, and written to the page that is committed, with a line of how it was made."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from datetime import date
from pathlib import Path

LOAD = os.getloadavg()[0]
"""Of the machine when the benchmark begins."""


def publish(lines: Iterable[str], page: Path | None) -> None:
    """Print the lines; write them to `page`, where one is given. How they were made is the first paragraph."""
    first, *rest = lines
    origin = describe_run()
    begin = [first, "", origin, *rest] if first.startswith("# ") else [origin, "", first, *rest]
    text = "\n".join([*begin, ""])
    print(text, end="")
    if page:
        page.write_text(text, "utf-8")


def describe_run() -> str:
    """The command, the commit, the day, the processor, the threads of a process and the load of the machine."""
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    threads = os.environ.get("OMP_NUM_THREADS", f"{os.cpu_count()}")
    machine = f"{read_processor()}, {os.cpu_count()} processors, {threads} thread{'s' * (threads != '1')} a process"
    text = f"`{command}`, commit {read_commit()}, {date.today()}, {machine}, load {LOAD:.1f} when it began."
    return textwrap.fill(text, 120, break_on_hyphens=False, break_long_words=False)


def read_processor() -> str:
    """The name of the processor, where the system tells it."""
    known = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.*)$", known.read_text() if known.exists() else "", re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def read_commit() -> str:
    """The commit of the checkout, and whether its files differ from it; pages themselves do not count."""
    here = Path(__file__).resolve().parent.parent

    def ask(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, check=False, capture_output=True, text=True).stdout.strip()

    pages = (":!benchmarks/results", ":!docs", ":!README.md")
    changed = ask("status", "--porcelain", "--untracked-files=no", "--", ".", *pages)
    return (ask("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")
