"""A cache of coded tensors in a temporary file, so that a further attempt codes only tensors whose plans changed."""

from __future__ import annotations

import os
from itertools import accumulate
from typing import BinaryIO

from wcodec.codec.plan import Plan
from wcodec.codec.tensor_encoder import EncodedTensor
from wcodec.model.dataclass import dataclass, field, replace


@dataclass(frozen=True)
class _Place:
    """The position of the sections of a tensor, and its other facts; `coded` has no sections."""

    offset: int
    lengths: tuple[int, ...]
    coded: EncodedTensor


@dataclass
class CodedTensors:
    """The tensors coded so far, by number and plan; may be read from several threads."""

    file: BinaryIO
    _places: dict[tuple[int, Plan], _Place] = field(default_factory=dict)
    _end: int = 0

    def __getitem__(self, key: tuple[int, Plan]) -> EncodedTensor | None:
        """Tensor `number` coded by `plan`; None if it was not coded."""
        place = self._places.get(key)
        if place is None:
            return None
        ends = list(accumulate(place.lengths))
        raw = os.pread(self.file.fileno(), ends[-1], place.offset)
        sections = tuple(raw[end - length : end] for end, length in zip(ends, place.lengths, strict=True))
        return replace(place.coded, stored=replace(place.coded.stored, sections=sections))

    def __setitem__(self, key: tuple[int, Plan], coded: EncodedTensor) -> None:
        if key in self._places:
            return
        sections = coded.stored.sections
        bare = replace(coded, stored=replace(coded.stored, sections=()))
        self._places[key] = _Place(self._end, tuple(map(len, sections)), bare)
        for section in sections:
            self.file.write(section)
            self._end += len(section)
        self.file.flush()
