"""SVG charts for a page with the styles of `html_page`. They load no resources and have no scripts."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Callable, Sequence

from wcodec.model.dataclass import dataclass
from wcodec.reporting.plain_text import escape_markup as escape

Number = float | int
_DIGITS = ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9))
Mark = tuple[float, float, str, str]
"""x, y, the label beside the mark, and its tooltip."""


@dataclass(frozen=True)
class Series:
    """Points of one colour (1 to 9), joined by a line."""

    name: str
    colour: int
    marks: Sequence[Mark]


@dataclass(frozen=True)
class Dot:
    """A dot of a colour (1 to 9) with a tooltip. radius: in pixels."""

    x: float
    y: float
    radius: float
    colour: int
    tooltip: str


@dataclass(frozen=True)
class Axis:
    """A scale from `low` to `high`; logarithmic ones are of positive numbers. `format` writes a number."""

    label: str
    low: float
    high: float
    format: Callable[[float], str]
    logarithmic: bool = True

    def position(self, value: float) -> float:
        """0 at `low` and below, 1 at `high` and above."""
        if self.logarithmic:
            low, high, value = math.log(self.low), math.log(self.high), math.log(max(value, self.low * 1e-9))
        else:
            low, high = self.low, self.high
        return min(1.0, max(0.0, (value - low) / (high - low)))

    def ticks(self) -> list[float]:
        """Round numbers inside the scale."""
        if not self.logarithmic:
            return _place_evenly(self.low, self.high)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        inside: list[float] = []
        for digits in _DIGITS:
            found = [digit * 10.0**decade for decade in decades for digit in digits]
            inside = [tick for tick in found if self.low * 0.999 <= tick <= self.high * 1.001]
            if len(inside) >= 4:
                break
        return inside[:: max(1, -(-len(inside) // 9))]


def make_log_axis(label: str, values: Sequence[float], format_tick: Callable[[float], str]) -> Axis:
    """A logarithmic scale with a margin around the values; values that are not positive are drawn at its start."""
    positive = [value for value in values if value > 0 and math.isfinite(value)] or [1.0]
    low, high = min(positive), max(positive)
    room = max(1.15, (high / low) ** 0.06)
    return Axis(label, low / room, high * room, format_tick)


def draw_picture(width: Number, height: Number, title: str, body: str) -> str:
    """An SVG element with a title for screen readers."""
    picture = (
        f'<svg viewBox="0 0 {fmt(width)} {fmt(height)}" role="img" aria-label="{escape(title)}" '
        f'style="max-width:{fmt(width)}px"><title>{escape(title)}</title>{body}</svg>'
    )
    return f'<div class="scroll wide">{picture}</div>' if width > 800 else picture


def draw_curve(title: str, x: Axis, y: Axis, series: Sequence[Series], level: tuple[float, str] | None = None) -> str:
    """Lines through marks. level: the height of a horizontal line, and its name."""
    width, height, left, right, top, bottom = 860, 400, 86, 26, 20, 52

    def at(value_x: float, value_y: float) -> tuple[float, float]:
        across, up = x.position(value_x), y.position(value_y)
        return left + across * (width - left - right), height - bottom - up * (height - top - bottom)

    body = []
    for tick in y.ticks():
        _, line = at(x.low, tick)
        body.append(f'<path class="grid" d="M{left} {fmt(line)}H{width - right}"/>')
        body.append(_draw_text(left - 10, line + 4, y.format(tick), "end"))
    for tick in x.ticks():
        across, _ = at(tick, y.low)
        body.append(f'<path class="grid" d="M{fmt(across)} {top}V{height - bottom}"/>')
        body.append(_draw_text(across, height - bottom + 20, x.format(tick), "middle"))
    body.append(_draw_text((left + width - right) / 2, height - 8, x.label, "middle", "label"))
    body.append(
        f'<text class="label" text-anchor="middle" transform="translate(16 {fmt((top + height - bottom) / 2)}) '
        f'rotate(-90)">{escape(y.label)}</text>'
    )
    if level:
        _, line = at(x.low, level[0])
        body.append(f'<path class="level" d="M{left} {fmt(line)}H{width - right}"/>')
        body.append(_draw_text(left + 6, line - 6, level[1], "start"))
    for one in series:
        marks = sorted(one.marks)
        path = "L".join(f"{fmt(a)} {fmt(b)}" for a, b in (at(mark[0], mark[1]) for mark in marks))
        body.append(f'<path class="line s{one.colour}" d="M{path}"/>' if marks else "")
        for mark in marks:
            a, b = at(mark[0], mark[1])
            tooltip = _render_tooltip(mark[3])
            body.append(f'<circle class="f{one.colour} dot" cx="{fmt(a)}" cy="{fmt(b)}" r="5">{tooltip}</circle>')
            if mark[2]:
                body.append(_draw_text(a + 9, b - 8, mark[2], "start", "strong"))
    return draw_picture(width, height, title, "".join(body))


def draw_bars(title: str, rows: Sequence[tuple[str, Sequence[tuple[float, int, str]], str]]) -> str:
    """Stacked bars. A row is a name, its parts (length, colour, tooltip), and a label after them."""
    width, name, word, high = 860, 250, 120, 24
    room = width - name - word - 16
    longest = max((sum(part[0] for part in parts) for _, parts, _ in rows), default=0) or 1.0
    body = []
    for number, (label, parts, behind) in enumerate(rows):
        top, left = number * high, float(name)
        body.append(_draw_name(label, name - 12, top + 16))
        for length, colour, said in parts:
            drawn = room * length / longest
            body.append(
                f'<rect class="f{colour}" x="{fmt(left)}" y="{top + 4}" width="{fmt(max(drawn, 0.4))}" '
                f'height="{high - 8}">{_render_tooltip(said)}</rect>'
            )
            left += drawn
        body.append(_draw_text(left + 8, top + 16, behind, "start"))
    return draw_picture(width, len(rows) * high + 2, title, "".join(body))


def draw_stems(title: str, axis: Axis, rows: Sequence[tuple[str, float, str, str]]) -> str:
    """Dots on a common scale. A row is a name, a number, a tooltip, and a label beside the dot."""
    width, name, high = 860, 250, 24
    bottom = len(rows) * high + 6
    body = []
    for tick in axis.ticks():
        across = name + axis.position(tick) * (width - name - 120)
        body.append(f'<path class="grid" d="M{fmt(across)} 0V{bottom}"/>')
        body.append(_draw_text(across, bottom + 16, axis.format(tick), "middle"))
    for number, (label, value, said, behind) in enumerate(rows):
        middle, across = number * high + 12, name + axis.position(value) * (width - name - 120)
        body.append(_draw_name(label, name - 12, middle + 4))
        body.append(f'<path class="line s1" d="M{name} {middle}H{fmt(across)}"/>')
        body.append(f'<circle class="f1 dot" cx="{fmt(across)}" cy="{middle}" r="5">{_render_tooltip(said)}</circle>')
        body.append(_draw_text(across + 10, middle + 4, behind, "start"))
    body.append(_draw_text((name + width - 120) / 2, bottom + 36, axis.label, "middle", "label"))
    return draw_picture(width, bottom + 42, title, "".join(body))


def draw_histogram(
    title: str,
    ends: tuple[float, float],
    before: Sequence[int] | None,
    after: Sequence[int] | None,
    values: Sequence[tuple[float, int]],
) -> str:
    """Weights before as an area; after as a line, or as stems if there are few values. Heights are square roots."""
    width, height, bottom = 400, 150, 24
    room = height - bottom - 8
    body = []
    if before:
        body.append(f'<path class="area" d="{_draw_outline(before, width, height - bottom, room)}Z"/>')
    if values:
        most = max(count for _, count in values)
        for value, count in values:
            place = (value - ends[0]) / (ends[1] - ends[0])
            if 0 <= place <= 1:
                up = room * math.sqrt(count / most)
                body.append(
                    f'<path class="stem s1" d="M{fmt(width * place)} {height - bottom}V{fmt(height - bottom - up)}">'
                    f"{_render_tooltip(f'{value:.4g}: {count:,} weights')}</path>"
                )
    elif after:
        body.append(f'<path class="line s1" d="{_draw_outline(after, width, height - bottom, room)}"/>')
    body.append(f'<path class="axis" d="M0 {height - bottom}H{width}"/>')
    middle = 0.0 if ends[0] < 0 < ends[1] else (ends[0] + ends[1]) / 2
    for value, anchor in ((ends[0], "start"), (middle, "middle"), (ends[1], "end")):
        place = (value - ends[0]) / (ends[1] - ends[0])
        if anchor != "middle" or 0.2 < place < 0.8:  # not on top of the others
            body.append(_draw_text(width * place, height - 7, f"{value:.3g}", anchor))
    return draw_picture(width, height, title, "".join(body))


def draw_dots(title: str, x: Axis, label: str, dots: Sequence[Dot]) -> str:
    """Dots over the scale `x` and a linear one from 0 with the label; the first dots are drawn below the others."""
    width, height, left, top, bottom = 400, 190, 30, 20, 24
    most = max(1.0, *(dot.y for dot in dots))

    def at(across: float, up: float) -> tuple[float, float]:
        room = height - bottom - top
        return left + 10 + x.position(across) * (width - left - 20), height - bottom - up / most * room

    body = [_draw_text(left - 24, 10, label, "start")]
    for tick in (tick for tick in _place_evenly(0.0, most) if tick == round(tick)):
        _, line = at(x.low, tick)
        body.append(f'<path class="grid" d="M{left} {fmt(line)}H{width}"/>')
        body.append(_draw_text(left - 6, line + 4, f"{tick:.0f}", "end"))
    body += [_draw_text(at(tick, 0)[0], height - 7, x.format(tick), "middle") for tick in x.ticks()]
    for dot in dots:
        across, up = at(dot.x, dot.y)
        body.append(
            f'<circle class="f{dot.colour}" cx="{fmt(across)}" cy="{fmt(up)}" r="{fmt(dot.radius)}">'
            f"{_render_tooltip(dot.tooltip)}</circle>"
        )
    return draw_picture(width, height, title, "".join(body))


def draw_image(title: str, rows: Sequence[bytes], colour: tuple[int, int, int]) -> str:
    """A PNG of one byte a pixel: 0 is transparent, 255 the colour."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 3, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    png = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"PLTE", bytes(colour) * 256)
    png += part(b"tRNS", bytes(range(256))) + part(b"IDAT", pixels) + part(b"IEND", b"")
    return f'<img class="pattern" alt="{escape(title)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def fmt(value: Number) -> str:
    """A number in a drawing."""
    return f"{value:.1f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _draw_outline(counts: Sequence[int], width: float, base: float, room: float) -> str:
    most, each = max(counts) or 1, width / len(counts)
    steps = [f"H{fmt(each * i)}V{fmt(base - room * math.sqrt(count / most))}" for i, count in enumerate(counts)]
    return f"M0 {fmt(base)}" + "".join(steps) + f"H{fmt(width)}V{fmt(base)}"


def _draw_text(x: float, y: float, text: str, anchor: str, style: str = "") -> str:
    return f'<text class="{style}" x="{fmt(x)}" y="{fmt(y)}" text-anchor="{anchor}">{escape(text)}</text>'


def _draw_name(label: str, x: float, y: float) -> str:
    short = label if len(label) <= 36 else "…" + label[-35:]
    return (
        f'<text class="name" x="{fmt(x)}" y="{fmt(y)}" text-anchor="end">{escape(short)}{_render_tooltip(label)}</text>'
    )


def _render_tooltip(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def _place_evenly(low: float, high: float) -> list[float]:
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= rough)
    return [step * i for i in range(math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6) + 1)]
