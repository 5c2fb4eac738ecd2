"""`dataclass` as the standard library has it, but what it makes of a class is made when that is first used.

A command loads dozens of classes and makes instances of a few; each takes half a millisecond to be made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses
    from functools import partial
    from threading import RLock

    _waiting = {}
    """Classes that are not made yet, and what `dataclass` is to be told of them."""
    _lock = RLock()

    def dataclass(cls=None, /, **words):
        """The decorator. A class is whole before it has an instance, and when it is asked for its fields."""
        if cls is None:
            return partial(dataclass, **words)
        if "__new__" in vars(cls) or words.get("slots"):
            return dataclasses.dataclass(**words)(cls)

        def new(own, *_args, **_words):
            if cls in _waiting:
                _finish(cls)
            return super(cls, own).__new__(own)

        _waiting[cls] = words
        cls.__new__ = new
        cls.__dataclass_fields__ = _Unmade(cls)
        return cls

    def _finish(cls):
        with _lock:
            if cls in _waiting:
                dataclasses.dataclass(**_waiting[cls])(cls)
                del _waiting[cls]  # not before: another thread must not see half of it

    class _Unmade:
        """In the place of a class's fields."""

        def __init__(self, cls):
            self.cls = cls

        def __get__(self, instance, owner):
            _finish(self.cls)
            return owner.__dataclass_fields__


__all__ = ["dataclass"]
