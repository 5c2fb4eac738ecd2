"""The rules of CONTRIBUTING that a program can check: floors, sizes, names, and forbidden imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "wcodec"
MODULES = sorted(PACKAGE.rglob("*.py"))
KERNELS = sorted(file for file in PACKAGE.glob("kernels/**/*") if file.suffix in {".pyx", ".pxd"})
OWN = [*MODULES, *KERNELS, ROOT / "cli.py", ROOT / "setup.py"]
OWN += [file for folder in ("tests", "formats", "benchmarks", "samples") for file in (ROOT / folder).rglob("*.py")]

FLOORS = (
    ("__main__",),
    ("cli",),
    ("keras", "torch"),
    ("api",),
    ("training",),
    ("structure",),
    ("calibration",),
    ("evaluation",),
    ("reporting",),
    ("pipeline",),
    ("planning",),
    ("codec", "modelfiles"),
    ("container",),
    ("files", "model"),
    ("kernels",),
    ("errors",),
)
"""The rooms of the package, from the roof down. Imports go down; rooms of one floor do not import each other.

`keras.py` and `torch.py` are front doors: `wcodec.keras.load_model` and the like, thin modules over `api`.
"""

CODEC_FLOORS = (
    ("tensor_encoder", "tensor_decoder"),
    ("quantization",),
    ("chunk_levels",),
    ("quantizers", "lossless"),
    ("entropy",),
)
"""The floors inside codec; a module that is not named here may stand anywhere."""

MOST_AT_THE_ROOT = 18
"""Names in `wcodec/` beside `__init__` and `__main__`: rooms and modules."""


def floor_of(module: str, floors: Sequence[Sequence[str]] = FLOORS, depth: int = 1) -> tuple[int, str]:
    """The floor (0 is the roof, -1: none in `floors`) and the room of a dotted module name."""
    parts = module.split(".")
    name = parts[depth] if len(parts) > depth else ""
    return next((floor for floor, rooms in enumerate(floors) if name in rooms), -1), name


def dotted(file: Path) -> str:
    """wcodec/cli/encode.py -> wcodec.cli.encode"""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def nodes(file: Path) -> list[ast.AST]:
    """All nodes of a file's syntax tree; read only."""
    return list(ast.walk(ast.parse(file.read_text("utf-8"))))


@cache
def imports(file: Path) -> frozenset[str]:
    """Every module that a file imports anywhere, as absolute dotted names."""
    return frozenset(imported_by(nodes(file), file))


def imported_by(tree: Sequence[ast.AST], file: Path) -> Iterator[str]:
    for node in tree:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            module = node.module or ""
            for alias in node.names:
                inner = PACKAGE.parent.joinpath(*module.split("."), alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").exists()
                yield f"{module}.{alias.name}" if is_module else module


def own_imports(file: Path) -> set[str]:
    return {name for name in imports(file) if name.startswith("wcodec.")}


@pytest.mark.parametrize("file", [file for file in MODULES if file != PACKAGE / "__init__.py"], ids=dotted)
def test_imports_only_go_down_and_neighbours_have_no_doors(file: Path) -> None:
    floor, room = floor_of(dotted(file))
    assert floor >= 0, f"{dotted(file)} has no floor: give its room one in FLOORS"
    for name in own_imports(file):
        other_floor, other_room = floor_of(name)
        assert other_room == room or other_floor > floor, f"{dotted(file)} imports {name}"


def test_imports_inside_codec_go_down() -> None:
    for file in (PACKAGE / "codec").rglob("*.py"):
        floor, room = floor_of(dotted(file), CODEC_FLOORS, 2)
        for name in own_imports(file):
            other_floor, other_room = floor_of(name, CODEC_FLOORS, 2) if name.startswith("wcodec.codec.") else (-1, "")
            assert min(floor, other_floor) < 0 or other_room == room or other_floor > floor, f"{dotted(file)}: {name}"


def test_the_root_holds_rooms_and_few_modules() -> None:
    names = {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in MODULES} - {"__init__", "__main__"}
    assert names == {name for floor in FLOORS for name in floor} - {"__main__"}
    assert len(names) <= MOST_AT_THE_ROOT


def test_no_module_imports_itself_through_others() -> None:
    graph = {dotted(file): own_imports(file) - {dotted(file)} for file in MODULES if dotted(file) != "wcodec"}
    packages = {dotted(file) for file in MODULES if file.stem == "__init__"}
    graph = {name: {other for other in others if other not in packages} for name, others in graph.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_files_are_short_enough_to_read() -> None:
    long = {file.relative_to(ROOT): lines for file in OWN if (lines := len(file.read_text("utf-8").splitlines())) > 300}
    assert not long


def test_functions_are_short_enough_to_read() -> None:
    functions = [(file, node) for file in MODULES for node in nodes(file)
                 if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]  # fmt: skip
    assert not [f"{dotted(file)}.{node.name}" for file, node in functions if (node.end_lineno or 0) - node.lineno >= 50]


def test_names_say_what_is_inside() -> None:
    vague = {"util", "utils", "common", "helper", "helpers", "core", "base", "misc", "manager"}
    assert not [file for file in OWN if file.stem in vague or file.parent.name in vague]


def test_only_the_command_line_prints() -> None:
    for file in MODULES:
        calls = {node.func.id for node in nodes(file)
                 if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
        assert "print" not in calls or file.relative_to(PACKAGE).parts[0] == "cli", file
        assert not calls & {"eval", "exec", "input"}, file


@pytest.mark.parametrize(
    ("modules", "rooms"),
    [
        ({"keras", "tensorflow", "tf_keras", "jax"}, "evaluation calibration structure training keras.py"),
        ({"h5py", "safetensors"}, "modelfiles"),
        ({"torch", "onnx", "onnxruntime"}, "modelfiles evaluation calibration torch.py"),
        ({"rich", "argparse", "shtab"}, "cli"),
        ({"pickle", "cPickle", "dill", "shelve", "marshal", "joblib"}, ""),
    ],
    ids=["frameworks", "file libraries", "other frameworks", "terminal", "code in files"],
)
def test_foreign_libraries_stay_in_their_rooms(modules: set[str], rooms: str) -> None:
    for file in MODULES:
        if file.relative_to(PACKAGE).parts[0] not in rooms.split():
            assert not {name.split(".")[0] for name in imports(file)} & modules, file


def test_numpy_never_unpickles() -> None:
    assert not [file for file in MODULES if "allow_pickle=True" in file.read_text("utf-8")]


CODER_NAMES = {"context", "huffman", "numeric", "planes", "range_coder", "sparse", "symbols"}
CODERS = [file for file in KERNELS if {file.stem, file.parent.name} & CODER_NAMES and file.name != "fit.pyx"]
"""Not context/fit, which is the encoder's: what it finds is rounded to integers and written to the file."""


@pytest.mark.parametrize("kernel", CODERS, ids=[f"{file.parent.name}/{file.name}" for file in CODERS])
def test_coders_have_integer_state_only(kernel: Path) -> None:
    code = re.sub(r'""".*?"""|#.*', "", kernel.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert not re.findall(r"\b(?:float|double|libc\.math)\b", code)


def test_kernels_import_nothing_of_ours_and_keep_their_bounds() -> None:
    for kernel in KERNELS:
        text = kernel.read_text("utf-8")
        outside = [line for line in text.splitlines() if re.match(r"\s*(c?import|from)\s.*wcodec", line)]
        assert all("wcodec.kernels" in line for line in outside), kernel
        assert "ffast-math" not in text


def test_nothing_is_left_undone() -> None:
    words = ["TO~DO", "FIX~ME", "raise Not~ImplementedError", "type: ~ignore"]
    words += ["mark.x~fail", "mark.s~kip", "pytest.s~kip"]
    loose = re.compile("|".join(re.escape(word.replace("~", "")) for word in words))
    assert not [file.relative_to(ROOT) for file in OWN if loose.search(file.read_text("utf-8"))]
