"""A TOML table that remembers where it stands, so that every refusal names file, key and what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

_Choice = TypeVar("_Choice", bound=StrEnum)
_Kind = TypeVar("_Kind")
LAST_ADDRESS = 0xFFFF


class MapError(ValueError):
    """A register map that cannot be used. The text names file, key, reason and what to do."""


class Table:
    """A TOML table that remembers where it stands and which of its keys were asked for."""

    def __init__(self, content: Mapping[str, Any], file: str, path: str) -> None:
        self._content = content
        self._asked: set[str] = set()
        self._file = file
        self._path = path

    def error(self, key: str, problem: str) -> MapError:
        where = f"{self._path}.{key}" if self._path else key
        return MapError(f"{self._file}: {where}: {problem}")

    def required(self, key: str, kind: type[_Kind]) -> _Kind:
        if key not in self._content:
            raise self.error(key, f"is missing; add {key} = <{kind.__name__}>")
        return self._of_kind(key, kind, self._content[key])

    def optional(self, key: str, kind: type[_Kind], default: _Kind) -> _Kind:
        return self._of_kind(key, kind, self._content.get(key, default))

    def _of_kind(self, key: str, kind: type[_Kind], value: object) -> _Kind:
        self._asked.add(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):  # true is no address
            raise self.error(key, f"must be {kind.__name__}, not {value!r}")
        return value

    def number(self, key: str, default: float) -> float:
        self._asked.add(key)
        value = self._content.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(key, f"must be a finite number, not {value!r}")
        return float(value)

    def choice(self, key: str, kind: type[_Choice]) -> _Choice:
        text = self.required(key, str)
        try:
            return kind(text)
        except ValueError:
            raise self.error(key, f"is {text!r}; choose one of {', '.join(kind)}") from None

    def integers(self, key: str) -> tuple[int, ...]:
        values = self.optional(key, list, [])
        if not all(type(value) is int for value in values):
            raise self.error(key, f"must be a list of whole numbers, not {values!r}")
        return tuple(values)

    def strings(self, key: str) -> tuple[str, ...]:
        values = self.required(key, list)
        if not values or not all(isinstance(value, str) for value in values):
            raise self.error(key, f"must be a list of texts with at least one entry, not {values!r}")
        return tuple(values)

    def address(self, key: str = "address") -> int:
        address = self.required(key, int)
        if not 0 <= address <= LAST_ADDRESS:
            raise self.error(key, f"{address} is outside 0..{LAST_ADDRESS} (0-based, as on the wire)")
        return address

    def optional_address(self, key: str) -> int | None:
        self._asked.add(key)
        return self.address(key) if key in self._content else None

    def bit(self, key: str) -> int | None:
        bit = self.optional(key, int, -1)
        if key in self._content and not 0 <= bit <= 15:
            raise self.error(key, f"{bit} is outside 0..15")
        return None if key not in self._content else bit

    def optional_table(self, key: str) -> Table | None:
        self._asked.add(key)
        return self.table(key) if key in self._content else None

    def table(self, key: str) -> Table:
        content = self.required(key, dict)
        return Table(content, self._file, f"{self._path}.{key}" if self._path else key)

    def tables(self, key: str) -> list[Table]:
        entries = self.optional(key, list, [])
        if not all(isinstance(entry, dict) for entry in entries):
            raise self.error(key, f"must be written as [[{key}]] tables")
        path = f"{self._path}.{key}" if self._path else key
        return [Table(entry, self._file, f"{path}[{entry.get('name', at)}]") for at, entry in enumerate(entries)]

    def refuse_the_rest(self) -> None:
        for key in sorted(self._content.keys() - self._asked):
            raise self.error(key, f"unknown key; known here are {', '.join(sorted(self._asked))}")
