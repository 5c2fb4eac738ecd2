"""NaN and infinities, which JSON does not have, are written as null."""

from __future__ import annotations

import json

from wcodec.reporting.json_numbers import format_json


def test_nan_and_infinities_are_null() -> None:
    numbers = {"a": [1.5, float("nan"), {"b": float("-inf")}], "c": (float("inf"), None, "NaN", True), "d": 3}
    found = json.loads(format_json(numbers), parse_constant=lambda word: 1 / 0)
    assert found == {"a": [1.5, None, {"b": None}], "c": [None, None, "NaN", True], "d": 3}
    assert format_json(numbers, compact=True) == '{"a":[1.5,null,{"b":null}],"c":[null,null,"NaN",true],"d":3}'
    assert format_json({"a": 1}) == '{\n "a": 1\n}'
