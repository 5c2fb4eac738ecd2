"""Static levels, written from wcz.md (sections 8 and 13) alone; names are those of the page."""

from __future__ import annotations

from reference_coders import LEVEL_LIMIT, Reader, require, symbols
from reference_context import Trellis


def stream(reader: Reader, count: int) -> list[int]:
    return symbols(reader.take(reader.varint()), count)


def signed(z: int) -> int:
    return z // 2 if z % 2 == 0 else -(z + 1) // 2


def magnitude(group: int) -> int:
    """The first magnitude of a group."""
    return group if group < 8 else (4 + (group & 3)) << ((group >> 2) - 1)


def hazards(differences: list[int], groups: list[int], quantisers: int) -> list[list[int]]:
    """The hazards of every table."""
    left = iter(differences)
    tables: list[list[int]] = []
    for t, count in enumerate(groups):
        before = tables[t - quantisers if t >= quantisers else t - 1] if t else []
        own: list[int] = []
        for g in range(count):
            expected = before[g] if g < len(before) else own[g - 1] if g else 28
            own.append(expected + signed(next(left)))
            require(0 <= own[g] <= 63, "hazard")
        tables.append(own)
    return tables


def symbols_of(own: list[int]) -> list[tuple[int | None, int, int]]:
    """For each slot of a table the symbol: its level (None: escape), frequency and start."""
    n = magnitude(len(own))
    s = 2048 - n
    left, above = 2**24, s
    frequency = {}
    for g, h in enumerate(own):
        for a in range(magnitude(g), magnitude(g + 1)):
            left = left * 1024 // (1024 + ((4 + (h & 3)) << (h >> 2)))
            below = left * s >> 24
            frequency[a] = frequency[-a] = 1 + above - below
            if a == 0:
                frequency[a] = 1 + 2 * (above - below)
            above = below
    order: list[tuple[int | None, int]] = [(None, 1 + 2 * above)]
    order += [(level, frequency[level]) for level in range(1 - n, n)]
    slots: list[tuple[int | None, int, int]] = []
    for level, f in order:
        slots += [(level, f, len(slots))] * f
    require(len(slots) == 4096, "frequencies")
    return slots


def static(payload: bytes, rows: int, channels: int, taps: int, states: int) -> list[int]:
    """The integers of levels[R, C, K]."""
    count = rows * channels * taps
    if not payload:
        return [0] * count
    require(count > 0, "a payload of no levels")
    reader = Reader(payload)
    quantisers = 2 if states else 1
    classes, first = reader.varint(), reader.varint()
    require(1 <= classes <= 64 and first <= 765, "classes")
    codes = stream(reader, rows + channels + (taps if taps > 1 else 0))
    require(max(codes) <= 255, "codes of scales")
    of_rows, of_channels, of_taps = codes[:rows], codes[rows : rows + channels], codes[rows + channels :] or [0]
    groups = stream(reader, classes * quantisers)
    require(min(groups) >= 1 and max(groups) <= 24, "groups")
    tables = [symbols_of(own) for own in hazards(stream(reader, sum(groups)), groups, quantisers)]
    escapes = reader.varint()
    require(escapes <= count, "escapes")
    escaped = [signed(z) for z in (stream(reader, escapes) if escapes else [])]
    require(all(abs(level) <= LEVEL_LIMIT for level in escaped), "escaped level")
    x = [reader.u(4) for _ in range(8)]
    require(min(x) >= 65536, "states")
    trellises = [Trellis(states) for _ in range(8)]
    firsts = [i * rows // 8 for i in range(9)]
    values = [0] * count
    for t in range(-(-rows // 8)):
        for j in range(channels * taps):
            for i in range(8):
                r = firsts[i] + t
                if r >= firsts[i + 1]:
                    continue
                own = min(max(of_rows[r] + of_channels[j // taps] + of_taps[j % taps] - first, 0), classes - 1)
                slot = x[i] & 4095
                level, frequency, start = tables[own * quantisers + (trellises[i].odd() if states else 0)][slot]
                x[i] = frequency * (x[i] >> 12) + slot - start
                if x[i] < 65536:
                    x[i] = x[i] << 16 | reader.u(2)
                if level is None:
                    require(len(escaped) > 0, "escapes")
                    level = escaped.pop(0)
                values[r * channels * taps + j] = trellises[i].value(level)
    reader.end()
    require(not escaped and set(x) == {65536}, "the end of static levels")
    return values
