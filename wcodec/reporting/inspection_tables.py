"""The tables of an inspection: rows of text, shown alike by the terminal, the HTML page, Python and notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from wcodec.model.dataclass import dataclass
from wcodec.reporting.number_format import format_error, format_ratio, format_size
from wcodec.reporting.plain_text import count_columns

if TYPE_CHECKING:
    from wcodec.reporting.byte_breakdown import ByteBreakdown


class TensorSizes(Protocol):
    """The size of one tensor, as `inspection.TensorNumbers` is."""

    @property
    def name(self) -> str: ...
    @property
    def user_name(self) -> str: ...
    @property
    def shown(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def weights(self) -> int: ...
    @property
    def raw_bytes(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def kept(self) -> int | None: ...
    @property
    def error(self) -> float | None: ...
    @property
    def duplicate_of(self) -> str | None: ...
    @property
    def bits_per_weight(self) -> float: ...


class Sizes(Protocol):
    """The sizes of a file, as `inspection.Inspection` is."""

    @property
    def file_bytes(self) -> int: ...
    @property
    def source_bytes(self) -> int: ...
    @property
    def tensor_bytes(self) -> int: ...
    @property
    def relative_error(self) -> float: ...
    @property
    def parts(self) -> ByteBreakdown: ...
    @property
    def tensors(self) -> Sequence[TensorSizes]: ...
    @property
    def format_version(self) -> int | None: ...
    @property
    def is_lossless(self) -> bool: ...


@dataclass(frozen=True)
class Table:
    """A head and rows with as many cells. The first `names` columns are names, the others are numbers.

    spare: heads of the columns that are left out first if there is not enough room.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1
    spare: Sequence[str] = ()

    def without(self, head: str) -> Table:
        """The table without a column."""
        at = list(self.head).index(head)
        rows = [[*row[:at], *row[at + 1 :]] for row in self.rows]
        return Table([*self.head[:at], *self.head[at + 1 :]], rows, self.names - (at < self.names), self.spare)

    def fit_width(self, width: int) -> Table:
        """The table with as many columns as fit, with two spaces between; numbers are never cut.

        width: columns of the terminal.
        """
        found = self
        for head in self.spare:
            if head in found.head and found.width > width:
                found = found.without(head)
        return found

    @property
    def width(self) -> int:
        """Columns of a terminal that the widest row takes, with names of the first column folded."""
        first, *others = (max(map(count_columns, column)) for column in zip(self.head, *self.rows, strict=True))
        return min(first, FOLDED if self.names else first) + sum(others) + 2 * len(others)


FOLDED: Final = 24
"""The width that names keep before columns of numbers are left out."""


def tabulate_tensors(inspection: Sizes, order: str | None = None) -> Table:
    """Every tensor of a file, in the order of the file or by "size", "ratio" or "error" (see `sort_tensors`)."""
    tensors = sort_tensors(inspection.tensors, order)
    shown = {one.name: one.shown for one in tensors}
    if inspection.format_version is None:
        plain = [(*_format_names(one, shown), f"{one.bytes:,}") for one in tensors]
        few = ("tensor", IN_THE_FILE, "shape", "type", "bytes")
        return _drop_equal_names(Table(few, plain, 4, (IN_THE_FILE, "type", "shape")))
    rows = [
        (
            *_format_names(one, shown),
            f"{100 * (one.weights if one.kept is None else one.kept) / one.weights:.1f} %" if one.weights else "-",
            f"{one.bits_per_weight:.2f}",
            f"{one.bytes:,}",
            format_ratio(one.raw_bytes, one.bytes),
            format_error(one.error),
        )
        for one in tensors
    ]
    head = ("tensor", IN_THE_FILE, "shape", "type", "kept", "bits/weight", "bytes", "ratio", "error")
    return _drop_equal_names(Table(head, rows, 4, (IN_THE_FILE, "type", "ratio", "shape", "kept")))


IN_THE_FILE = "in the file"
"""The head of the column with names in the file, if these differ from the user's."""


def _drop_equal_names(table: Table) -> Table:
    return table if any(row[1] for row in table.rows) else table.without(IN_THE_FILE)


def tabulate_parts(inspection: Sizes) -> Table:
    """The use of every byte of a .wcz."""
    total = inspection.file_bytes
    counts = {part: count for part, count in inspection.parts.as_dict().items() if count}
    rows = [(part, f"{count:,}", f"{100 * count / total:.1f} %") for part, count in counts.items()]
    return Table(("part", "bytes", "share"), [*rows, ("file", f"{total:,}", "100.0 %")])


def compare_sizes(inspection: Sizes, measured: str = "") -> str:
    """The sizes before and after, and the loss; for a model file its size and that of its tensors.

    measured: the loss of the outputs, if it is known; it replaces the error of the weights.
    """
    before, after = inspection.source_bytes, inspection.file_bytes
    if inspection.format_version is None:
        return f"{format_size(after)}, of which {format_size(inspection.tensor_bytes)} are tensors"
    ratios = f"{format_ratio(before, after)} of the file, {format_ratio(inspection.tensor_bytes, after)} of its tensors"
    rounded = f"relative error {inspection.relative_error:.2e}" if inspection.relative_error else "vectors rounded"
    lost = "lossless" if inspection.is_lossless else measured or rounded
    return f"{format_size(before)} -> {format_size(after)} ({ratios}), {lost}"


def align(table: Table) -> str:
    """The table as lines of text with aligned columns."""
    lines = [table.head, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number < table.names else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def sort_tensors(tensors: Sequence[TensorSizes], order: str | None) -> Sequence[TensorSizes]:
    """The tensors by "size" (bytes, largest first), "ratio" (worst first) or "error" (largest first)."""
    keys = {
        "size": lambda t: -t.bytes,
        "ratio": lambda t: t.raw_bytes / max(1, t.bytes),
        "error": lambda t: -(t.error or 0.0),
    }
    return sorted(tensors, key=keys[order]) if order else tensors


def _format_names(tensor: TensorSizes, shown: Mapping[str, str]) -> tuple[str, str, str, str]:
    twin = tensor.duplicate_of
    name = tensor.shown if twin is None else f"{tensor.shown} (as {shown.get(twin, twin)})"
    in_the_file = tensor.name if tensor.user_name else ""
    return name, in_the_file, "x".join(map(str, tensor.shape)) or "scalar", tensor.dtype
