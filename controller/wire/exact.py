"""Values to JSON and back, to the bit: every float, every array, infinities and all.

`wire.canonical` writes what people and dispatchers read, where a number that is not there is null. A replay has to
begin with the very state the run had, so here nothing is rounded, renamed or left out.
"""

from __future__ import annotations

import base64
import math
import zlib
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, get_args, get_type_hints

import numpy as np


class Exact:
    """Writes and reads values of the dataclasses and enums that the annotations of `roots` lead to."""

    def __init__(self, *roots: type) -> None:
        self._known: dict[str, type] = {}
        for root in roots:
            self._learn(root)

    def written(self, value: object) -> object:
        """JSON-able; raises TypeError for a type no root leads to."""
        if isinstance(value, Enum):
            return {"e": [self._name(value), value.value]}
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | str | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"f": str(value)}
        if isinstance(value, np.ndarray):
            packed = base64.b64encode(zlib.compress(np.ascontiguousarray(value).tobytes(), 1)).decode()
            return {"a": [value.dtype.str, *value.shape, packed]}
        if isinstance(value, tuple):
            return {"t": [self.written(item) for item in value]}
        if isinstance(value, dict):  # as pairs: the order of a dictionary is part of it
            return {"d": [[self.written(key), self.written(item)] for key, item in value.items()]}
        if isinstance(value, frozenset):
            return {"s": sorted((self.written(item) for item in value), key=repr)}
        if is_dataclass(value):
            members = {entry.name: self.written(getattr(value, entry.name)) for entry in fields(value)}
            return {"o": [self._name(value), members]}
        raise TypeError(f"{type(value).__name__} has no exact form")

    def read(self, text: Any) -> Any:
        """The value that was written. Raises ValueError for one that another version of the program wrote."""
        if not isinstance(text, dict):
            return text
        ((kind, body),) = text.items()
        match kind:
            case "e":
                return self._type(body[0])(body[1])
            case "f":
                return float(body)
            case "a":
                dtype, *shape, packed = body
                flat = np.frombuffer(zlib.decompress(base64.b64decode(packed)), dtype=np.dtype(dtype))
                return flat.reshape(shape).copy()
            case "t":
                return tuple(self.read(item) for item in body)
            case "d":
                return {self.read(key): self.read(item) for key, item in body}
            case "s":
                return frozenset(self.read(item) for item in body)
            case "o":
                return self._object(*body)
            case _:
                raise ValueError(f"a value of the unknown kind {kind!r}")

    def _object(self, name: str, members: dict[str, Any]) -> Any:
        kind = self._type(name)
        expected = {entry.name for entry in fields(kind)}
        if differing := sorted(expected ^ set(members)):
            raise ValueError(f"{name} was written by another version: it differs in {', '.join(differing)}")
        return kind(**{member: self.read(item) for member, item in members.items()})

    def _name(self, value: object) -> str:
        name = type(value).__name__
        if self._known.get(name) is not type(value):
            raise TypeError(f"{name} has no exact form")
        return name

    def _type(self, name: str) -> Any:
        if name not in self._known:
            raise ValueError(f"{name} is not known to this version")
        return self._known[name]

    def _learn(self, annotation: Any) -> None:
        for part in get_args(annotation):
            self._learn(part)
        if not isinstance(annotation, type) or annotation.__name__ in self._known:
            return
        if issubclass(annotation, Enum):
            self._known[annotation.__name__] = annotation
        elif is_dataclass(annotation):
            self._known[annotation.__name__] = annotation
            for hint in get_type_hints(annotation).values():
                self._learn(hint)
