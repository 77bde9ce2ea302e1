"""What is wrong with a configuration, said so that a person can mend it: file, line, key, value, reason, advice."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from controller.config.quantities import RefusedValueError

PROBLEMS_SHOWN: Final = 20
_SECRET_LIKE: Final = re.compile(r"passw|secret|token|credential|api_?key|private", re.IGNORECASE)

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `line` is None when it is about something that is not in the file; `value` likewise."""

    file: Path
    line: int | None
    key: str
    value: str | None
    reason: str
    advice: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else f"{self.file}"
        what = self.key if self.value is None else f"{self.key} = {self.value}"
        return f"{place}: {what}: {self.reason}. {self.advice[:1].upper()}{self.advice[1:]}."


class ConfigError(Exception):
    """Nothing starts with this configuration. `problems` holds every finding, `str()` the first twenty."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        shown = [str(problem) for problem in self.problems[:PROBLEMS_SHOWN]]
        if len(self.problems) > PROBLEMS_SHOWN:
            shown.append(f"... and {len(self.problems) - PROBLEMS_SHOWN} more; mend these first")
        super().__init__("\n".join(shown))


def lines_of(toml_text: str) -> dict[Location, int]:
    """Line numbers (from 1) of the tables and keys of a TOML text that has parsed; tomllib does not tell them."""
    lines: dict[Location, int] = {}
    counts: dict[str, int] = {}
    table: Location = ()
    for number, line in enumerate(toml_text.splitlines(), start=1):
        if array := re.match(r"\s*\[\[\s*([\w.-]+)\s*\]\]", line):
            name = array[1]
            table = (name, counts.get(name, 0))
            counts[name] = counts.get(name, 0) + 1
            lines.setdefault((name,), number)
        elif header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
            table = tuple(header[1].split("."))
        elif assignment := re.match(r"\s*\"?([\w.-]+)\"?\s*=", line):
            lines.setdefault((*table, assignment[1]), number)
            continue
        else:
            continue
        lines.setdefault(table, number)
    return lines


def shown_value(value: object) -> str:
    """A value as TOML would write it, cut to a readable length."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value[:57]}..."' if len(value) > 60 else f'"{value}"'
    if isinstance(value, dict | list):
        return "{...}" if isinstance(value, dict) else "[...]"
    return str(value)


def key_of(location: Location, raw: Mapping[str, object]) -> str:
    """`control.cycle`; entries of lists go by their id or name, `meter.poi.poll`, or else by their number."""
    if len(location) < 2 or not isinstance(location[1], int):
        return ".".join(str(part) for part in location)
    name, index, *rest = location
    entries = raw.get(str(name))
    entry = entries[index] if isinstance(entries, list) and isinstance(index, int) and index < len(entries) else {}
    label = (entry.get("id") or entry.get("name")) if isinstance(entry, dict) else None
    head = f"{name}.{label}" if isinstance(label, str) else f"{name}[{int(index) + 1}]"
    return ".".join([head, *(str(part) for part in rest)])


def problems_of(
    error: ValidationError, file: Path, raw: Mapping[str, object], lines: Mapping[Location, int], model: type[BaseModel]
) -> list[Problem]:
    """Every error pydantic found, in our words."""
    return [_problem_of(detail, file, raw, lines, model) for detail in error.errors()]


def _problem_of(
    detail: ErrorDetails, file: Path, raw: Mapping[str, object], lines: Mapping[Location, int], model: type[BaseModel]
) -> Problem:
    location: Location = detail["loc"]
    reason, advice = _words_for(detail, location, model)
    missing = detail["type"] == "missing"
    line = lines.get(location) or lines.get(location[:-1])
    given = detail["input"]
    secret = detail["type"] == "extra_forbidden" and _SECRET_LIKE.search(str(location[-1])) is not None
    # user:password@host is refused as a host name, and must not reach a log on its way out
    secret = secret or (isinstance(given, str) and "@" in given)
    value = None if missing else '"***"' if secret else shown_value(given)
    return Problem(file, line, key_of(location, raw), value, reason, advice)


def _words_for(detail: ErrorDetails, location: Location, model: type[BaseModel]) -> tuple[str, str]:
    context = detail.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, RefusedValueError):
        return cause.reason, cause.advice
    match detail["type"]:
        case "missing":
            if len(location) == 1:
                return "this section is missing and has no defaults", f"add [{location[0]}] with its required keys"
            return "this key is missing and has no default", f"add {location[-1]} under [{location[0]}]"
        case "extra_forbidden":
            return _words_for_unknown(location, model)
        case "literal_error":
            return "this is not one of the values allowed here", f"write one of {context['expected']}"
        case "string_pattern_mismatch":
            return "these characters are not allowed here", f"it must match {context['pattern']}"
        case "greater_than_equal":
            return "this is too small", f"write at least {context['ge']}"
        case "less_than_equal":
            return "this is too large", f"write at most {context['le']}"
        case "bool_type":
            return "true or false is expected", "write true or false, without quotes"
        case "int_type":
            return "a whole number is expected", "write the number without quotes, unit or fraction"
        case "string_type":
            return "a text is expected", "put it in quotes"
        case "float_type":
            return "a number is expected", "write the number without quotes"
        case "tuple_type":
            return "this section repeats", f"write double brackets, [[{location[0]}]]"
        case "model_type":
            return "a table of keys is expected here", f"write it as a section of its own, [{location[0]}]"
    return detail["msg"], "see docs/configuration.md"


def _words_for_unknown(location: Location, model: type[BaseModel]) -> tuple[str, str]:
    key = str(location[-1])
    if _SECRET_LIKE.search(key):
        return (
            "this looks like a secret, and secrets do not stand in configuration files",
            "put the secret into the credentials directory or the environment and write its name under password_secret",
        )
    known = _keys_beside(location, model)
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"perhaps {close[0]} is meant" if close else f"known here: {', '.join(known)}"
    return "this key is not known", hint


def _keys_beside(location: Location, model: type[BaseModel]) -> list[str]:
    """The keys the model knows at the place where an unknown one was found."""
    if len(location) == 1:
        return list(model.model_fields)
    annotation = model.model_fields[str(location[0])].annotation
    arguments = getattr(annotation, "__args__", ())
    section = arguments[0] if arguments else annotation
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []
