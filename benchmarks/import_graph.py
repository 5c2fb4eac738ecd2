"""The import structure of the package: its rooms by floor, the arrows between them, and circles.

    python benchmarks/import_graph.py [CHECKOUT]

A room is a folder or a module at the root of `wcodec/`. An arrow from A to B is one pair of rooms of which A imports B
anywhere, also inside functions and for types. A floor is the longest chain of arrows below a room; rooms that import
each other in a circle count as one, and are listed.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def read_arrows(package: Path) -> tuple[dict[str, int], Counter[tuple[str, str]]]:
    """Lines of Python by room, and how many modules of one room import another, by (from, to)."""
    lines: Counter[str] = Counter()
    arrows: Counter[tuple[str, str]] = Counter()
    names = {path.stem for path in package.iterdir()}
    for file in sorted(package.rglob("*.py")):
        room = file.relative_to(package).parts[0].removesuffix(".py")
        text = file.read_text("utf-8")
        lines[room] += len(text.splitlines())
        found = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            found |= {module.split(".")[1] for module in modules if module.startswith(f"{package.name}.")}
        arrows.update((room, other) for other in found & names - {room})
    del lines["__init__"]
    return dict(lines), Counter({arrow: count for arrow, count in arrows.items() if "__init__" not in arrow})


def reachable(arrows: Counter[tuple[str, str]], room: str) -> set[str]:
    """The rooms below a room, itself among them where it is part of a circle."""
    found: set[str] = set()
    ahead = [room]
    while ahead:
        new = {other for one, other in arrows if one == ahead[-1]} - found
        ahead.pop()
        found |= new
        ahead += new
    return found


def measure_floors(rooms: list[str], arrows: Counter[tuple[str, str]]) -> dict[str, int]:
    """The longest chain of circles and rooms below each room; 0 is the ground."""
    below = {room: reachable(arrows, room) for room in rooms}
    floors: dict[str, int] = {}
    for room in sorted(rooms, key=lambda one: (len(below[one] | {one}), one)):
        circle = {other for other in below[room] if room in below[other]} | {room}
        under = [floors[other] for other in below[room] - circle]
        for one in circle:
            floors[one] = max(under, default=-1) + 1
    return floors


def main() -> None:
    """Print the rooms from the roof down, then the totals."""
    package = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT) / "wcodec"
    lines, arrows = read_arrows(package)
    floors = measure_floors(list(lines), arrows)
    below = {room: reachable(arrows, room) for room in lines}
    for floor in sorted(set(floors.values()), reverse=True):
        for room in sorted(room for room in lines if floors[room] == floor):
            targets = " ".join(sorted(other for one, other in arrows if one == room))
            print(f"{floor:3} {room:14}{lines[room]:7,} lines -> {targets}")
    circles = {frozenset(one for one in below[room] if room in below[one]) for room in lines if room in below[room]}
    modules = len(list(package.rglob("*.py")))
    print(f"\n{len(lines)} rooms on {len(set(floors.values()))} floors, {len(arrows)} arrows between rooms of", end=" ")
    print(f"{sum(arrows.values())} imports, {len(circles)} circles; {modules} modules, {sum(lines.values()):,} lines")
    for circle in sorted(circles, key=len):
        print("circle:", " ".join(sorted(circle)))


if __name__ == "__main__":
    main()
