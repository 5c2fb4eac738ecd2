"""The static coder's decoder as slow, obvious Python, written from the specification alone."""

from __future__ import annotations

from twins.trellis import following
from wcodec.codec.entropy import symbols


def varint(data: bytes, at: int) -> tuple[int, int]:
    end = next(i for i in range(at, len(data)) if data[i] < 128) + 1
    return sum((byte & 127) << 7 * i for i, byte in enumerate(data[at:end])), end


def signed(z: int) -> int:
    return -(z + 1) // 2 if z % 2 else z // 2


def start(group: int) -> int:
    return group if group < 8 else (4 + group % 4) * 2 ** (group // 4 - 1)


def frequencies(hazards: list[int]) -> dict[int | None, int]:
    """Slots of every level of a table, and of its escape (None), in the order of slots."""
    magnitudes = start(len(hazards))
    spare = 2048 - magnitudes
    left, shares = 1 << 24, [spare]
    for group, hazard in enumerate(hazards):
        for _ in range(start(group), start(group + 1)):
            left = left * 1024 // (1024 + (4 + hazard % 4) * 2 ** (hazard // 4))
            shares.append(left * spare // 2**24)
    own = [shares[a] - shares[a + 1] for a in range(magnitudes)]
    found: dict[int | None, int] = {None: 1 + 2 * shares[-1]}
    found |= {level: 1 + own[abs(level)] * (2 if level == 0 else 1) for level in range(1 - magnitudes, magnitudes)}
    assert sum(found.values()) == 4096
    return found


def slots_of(found: dict[int | None, int]) -> list[tuple[int | None, int, int]]:
    """Level, frequency and first slot of the symbol of every slot."""
    slots: list[tuple[int | None, int, int]] = []
    for level, frequency in found.items():
        slots += [(level, frequency, len(slots))] * frequency
    return slots


class Payload:
    def __init__(self, payload: bytes, shape: tuple[int, int, int], states: int) -> None:
        rows, channels, taps = shape
        self.payload, self.states, self.quantisers = payload, states, 2 if states else 1
        self.classes, at = varint(payload, 0)
        self.first, at = varint(payload, at)
        codes, at = self.stream(at, rows + channels + (taps if taps > 1 else 0))
        self.rows = codes[:rows]
        own = codes[rows + channels :] or [0]
        self.columns = [channel + tap for channel in codes[rows : rows + channels] for tap in own]
        groups, at = self.stream(at, self.classes * self.quantisers)
        differences, at = self.stream(at, sum(groups))
        self.tables: list[list[int]] = []
        for table, count in enumerate(groups):
            before = self.tables[-self.quantisers if table >= self.quantisers else -1] if table else []
            hazards: list[int] = []
            for group in range(count):
                expected = before[group] if group < len(before) else hazards[-1] if group else 28
                hazards.append(expected + signed(differences.pop(0)))
            self.tables.append(hazards)
        escapes, at = varint(payload, at)
        zigzag, at = self.stream(at, escapes) if escapes else ([], at)
        self.escaped = [signed(z) for z in zigzag]
        self.x = [int.from_bytes(payload[at + 4 * i : at + 4 * i + 4], "little") for i in range(8)]
        self.words = payload[at + 32 :]

    def stream(self, at: int, count: int) -> tuple[list[int], int]:
        length, at = varint(self.payload, at)
        return symbols.decode(self.payload[at : at + length], count).tolist(), at + length

    def values(self) -> list[list[int]]:
        values = [[0] * len(self.columns) for _ in self.rows]
        slots = [slots_of(frequencies(table)) for table in self.tables]
        lanes = [list(range(i * len(self.rows) // 8, (i + 1) * len(self.rows) // 8)) for i in range(8)]
        state = [0] * 8
        for t in range(max(map(len, lanes))):
            for column, code in enumerate(self.columns):
                for lane, rows in enumerate(lanes):
                    if t < len(rows):
                        scale = self.rows[rows[t]] + code - self.first
                        odd = state[lane] // 2 if self.states == 4 else state[lane] % 2
                        table = slots[min(max(scale, 0), self.classes - 1) * self.quantisers + odd]
                        level = self.level(table, lane)
                        values[rows[t]][column] = (
                            2 * level - odd * ((level > 0) - (level < 0)) if self.states else level
                        )
                        state[lane] = following(state[lane], level % 2, self.states) if self.states else 0
        assert self.x == [65536] * 8
        assert not self.words
        assert not self.escaped
        return values

    def level(self, table: list[tuple[int | None, int, int]], lane: int) -> int:
        slot = self.x[lane] % 4096
        level, frequency, begin = table[slot]
        self.x[lane] = frequency * (self.x[lane] // 4096) + slot - begin
        if self.x[lane] < 65536:
            self.x[lane] = self.x[lane] * 65536 + int.from_bytes(self.words[:2], "little")
            self.words = self.words[2:]
        return self.escaped.pop(0) if level is None else level


def decode(payload: bytes, shape: tuple[int, int, int], states: int) -> list[int]:
    """The integers that levels[rows, channels, taps] stand for, row by row."""
    if not payload:
        return [0] * (shape[0] * shape[1] * shape[2])
    return [value for row in Payload(payload, shape, states).values() for value in row]
