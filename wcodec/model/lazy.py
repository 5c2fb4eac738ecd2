"""`dataclass` of the standard library, whose generated methods are made at the first use of the class."""

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
        """The decorator. A class is completed before its first instance, and when its fields are requested."""
        if cls is None:
            return partial(dataclass, **words)
        if "__new__" in vars(cls) or words.get("slots"):
            return dataclasses.dataclass(**words)(cls)

        def new(own, *_args, **_words):
            if cls in _waiting:
                _finish(cls)
            return before(own)

        before = cls.__new__  # that of a base
        _waiting[cls] = words
        cls.__new__ = new
        cls.__dataclass_fields__ = _Unmade(cls)
        return cls

    def _finish(cls):
        with _lock:
            if cls in _waiting:
                dataclasses.dataclass(**_waiting[cls])(cls)
                del _waiting[cls]  # last, so that no other thread sees an incomplete class

    class _Unmade:
        """The placeholder of a class's fields."""

        def __init__(self, cls):
            self.cls = cls

        def __get__(self, instance, owner):
            _finish(self.cls)
            return owner.__dataclass_fields__


__all__ = ["dataclass"]
