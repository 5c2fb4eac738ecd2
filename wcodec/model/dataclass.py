"""`dataclass`, `field` and `replace` as in the standard library, whose own take 15 % of the time of a short command.

The standard library compiles up to six functions for each class; here they are closures. Functions of the standard
library (`asdict`, `fields`) find what they need, which is made when it is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace

    def field_names(kind: type) -> tuple[str, ...]:
        """The names of the fields of a class, in order."""
else:
    import sys
    from functools import partial
    from operator import attrgetter
    from reprlib import recursive_repr

    _NONE = object()
    """Stands for no default."""

    class _Field:
        """What a class says of one field, without its name and type."""

        def __init__(self, default=_NONE, default_factory=_NONE, compare=True, repr=True, kw_only=False):
            self.default, self.default_factory = default, default_factory
            self.compare, self.repr, self.kw_only = compare, repr, kw_only

    field = _Field

    def dataclass(cls=None, /, *, frozen=False, eq=True):
        """The decorator."""
        if cls is None:
            return partial(dataclass, frozen=frozen, eq=eq)
        fields, own = _list_fields(cls), vars(cls)
        cls._fields_by_name = fields
        cls.__match_args__ = tuple(name for name, (_, one) in fields.items() if not one.kw_only)
        cls.__dataclass_fields__ = _Standard("__dataclass_fields__", cls, frozen)
        cls.__dataclass_params__ = _Standard("__dataclass_params__", cls, frozen)
        has_hash = own.get("__hash__") or ("__hash__" in own and "__eq__" not in own)
        if "__repr__" not in own:
            cls.__repr__ = _represent
        if eq:
            values = _make_getter([name for name, (_, one) in fields.items() if one.compare])
            if "__eq__" not in own:
                cls.__eq__ = _make_comparison(values)
            if not has_hash:
                cls.__hash__ = _hash(values) if frozen else None
        if frozen:
            cls.__setattr__, cls.__delattr__ = _make_refusals(cls, fields)

        cls.__init__ = _make_initializer(cls, fields)
        return cls

    def replace(instance, /, **changes):
        """A copy with some fields changed."""
        kind = next(kind for kind in type(instance).__mro__ if "__dataclass_fields__" in vars(kind))
        if "_fields_by_name" not in vars(kind):
            from dataclasses import replace as standard

            return standard(instance, **changes)
        for name in kind._fields_by_name:
            if name not in changes:
                changes[name] = getattr(instance, name)
        return instance.__class__(**changes)

    def field_names(kind):
        return tuple(kind._fields_by_name)

    def _list_fields(cls):
        """(type, _Field) by the name of a field, those of the bases first."""
        fields = {}
        for base in reversed(cls.__mro__[1:]):
            fields |= vars(base).get("_fields_by_name", {})
        for name, kind in vars(cls).get("__annotations__", {}).items():
            if str(kind).startswith(("ClassVar", "typing.ClassVar")):
                continue
            given = vars(cls).get(name, _NONE)
            one = _from_standard(given) if _is_field(given) else _Field(given)
            fields[name] = kind, one
            if one.default is not _NONE:
                setattr(cls, name, one.default)
            elif given is not _NONE:
                delattr(cls, name)
        return fields

    def _is_field(given):
        known = sys.modules.get("dataclasses")
        return isinstance(given, (_Field, known.Field) if known else _Field)

    def _from_standard(given):
        if isinstance(given, _Field):
            return given
        from dataclasses import MISSING

        kw_only = given.kw_only is True
        default, factory = (_NONE if one is MISSING else one for one in (given.default, given.default_factory))
        return _Field(default, factory, given.compare, given.repr, kw_only)

    def _make_initializer(cls, fields):
        """`__init__`, which calls `__post_init__` if there is one."""
        positional, where = cls.__match_args__, f"{cls.__qualname__}.__init__()"
        defaults = {name: one.default for name, (_, one) in fields.items() if one.default is not _NONE}
        makers = {name: one.default_factory for name, (_, one) in fields.items() if one.default_factory is not _NONE}
        has_more = hasattr(cls, "__post_init__")

        def __init__(self, *args, **words):
            values = defaults | dict(zip(positional, args, strict=False)) | words
            for name, make in makers.items():
                if name not in values:
                    values[name] = make()
            if values.keys() != fields.keys() or len(args) > len(positional) or words.keys() & positional[: len(args)]:
                raise TypeError(_describe_misuse(where, fields, positional, args, words, values))
            vars(self).update(values)
            if has_more:
                self.__post_init__()

        return __init__

    def _describe_misuse(where, fields, positional, args, words, values):
        if len(args) > len(positional):
            return f"{where} takes {len(positional)} positional arguments but {len(args)} were given"
        if twice := words.keys() & positional[: len(args)]:
            return f"{where} got multiple values for argument {min(twice)!r}"
        if unknown := values.keys() - fields.keys():
            return f"{where} got an unexpected keyword argument {min(unknown)!r}"
        missing = [name for name in fields if name not in values]
        return f"{where} missing {len(missing)} required arguments: {', '.join(map(repr, missing))}"

    @recursive_repr()
    def _represent(self):
        shown = [name for name, (_, one) in self._fields_by_name.items() if one.repr]
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def _make_getter(names):
        """A function that gives the values of some fields as a tuple."""
        if len(names) > 1:
            return attrgetter(*names)
        return lambda self: tuple(getattr(self, name) for name in names)

    def _make_comparison(values):
        def __eq__(self, other):
            return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

        return __eq__

    def _hash(values):
        def __hash__(self):
            return hash(values(self))

        return __hash__

    def _make_refusals(cls, fields):
        """`__setattr__` and `__delattr__` that refuse."""

        def __setattr__(self, name, value):
            if type(self) is cls or name in fields:
                raise _make_frozen_error(f"cannot assign to field {name!r}")
            super(cls, self).__setattr__(name, value)

        def __delattr__(self, name):
            if type(self) is cls or name in fields:
                raise _make_frozen_error(f"cannot delete field {name!r}")
            super(cls, self).__delattr__(name)

        return __setattr__, __delattr__

    def _make_frozen_error(text):
        from dataclasses import FrozenInstanceError

        return FrozenInstanceError(text)

    class _Standard:
        """What functions of the standard library read from a class, made when it is read."""

        def __init__(self, name, cls, frozen):
            self.name, self.cls, self.frozen = name, cls, frozen

        def __get__(self, instance, owner):
            import dataclasses

            made = {"__annotations__": {}, "__module__": self.cls.__module__}
            for name, (kind, one) in self.cls._fields_by_name.items():
                words = {"default": one.default, "default_factory": one.default_factory}
                given = {word: value for word, value in words.items() if value is not _NONE}
                made["__annotations__"][name] = kind
                made[name] = dataclasses.field(compare=one.compare, repr=one.repr, kw_only=one.kw_only, **given)
            alike = type(self.cls.__name__, (), made)
            dataclasses.dataclass(init=False, repr=False, eq=False, frozen=self.frozen)(alike)
            value = getattr(alike, self.name)
            setattr(self.cls, self.name, value)
            return value


__all__ = ["dataclass", "field", "field_names", "replace"]
