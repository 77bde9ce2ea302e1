"""Looks at the models: which keys there are, what a key's value is and where it came from.

Messages, the print-out of `curtaild check` and the reference are made from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from controller.config.problems import Location, shown_value
from controller.config.quantities import Kind, written
from controller.config.resolve import Numbers
from controller.config.sections import Document

LABEL_OF_LIST = {"feeder": "name", "limit": "name", "meter": "id"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key as the models define it. `default` is as a user would write it, None when required or derived."""

    section: str
    name: str
    kind: Kind | None
    type_name: str
    required: bool
    default: str | None
    derived: str | None
    says: str
    why: str


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of one site: its value as text, None when it has none, and its origin (`set`, `default`, `derived`).

    resolved: what a share of the rating comes to.
    """

    key: str
    location: Location
    shown: str | None
    origin: str
    resolved: str | None


def sections() -> Iterator[tuple[str, type[BaseModel], bool]]:
    """Every section: its name, its model and whether it repeats."""
    for name, field in Document.model_fields.items():
        arguments = getattr(field.annotation, "__args__", ())
        model = arguments[0] if arguments else field.annotation
        assert isinstance(model, type) and issubclass(model, BaseModel)  # noqa: S101  # Document holds sections only
        yield name, model, bool(arguments)


def keys_of(section: str, model: type[BaseModel]) -> Iterator[Key]:
    """Every key of one section."""
    for name, field in model.model_fields.items():
        extra: Mapping[str, Any] = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        kind = kind_of(field)
        default = None if field.is_required() or field.default is None else shown_value(field.default)
        yield Key(
            section=section,
            name=name,
            kind=kind,
            type_name=kind.expected if kind else _type_name(field),
            required=field.is_required(),
            default=default,
            derived=extra.get("derived"),
            says=field.description or "",
            why=str(extra.get("why", "")),
        )


def kind_of(field: FieldInfo) -> Kind | None:
    """The kind of quantity a key takes, None for plain text, numbers and switches."""
    return next((entry for entry in field.metadata if isinstance(entry, Kind)), None)


def settings_of(raw: Mapping[str, Any], document: Document, numbers: Numbers) -> Iterator[tuple[str, list[Setting]]]:
    """The effective configuration: per table of the file its header and its settings."""
    for section, model, repeats in sections():
        if not repeats:
            settings = [
                _setting((section, key.name), f"{section}.{key.name}", key, raw, numbers)
                for key in keys_of(section, model)
            ]
            yield f"[{section}]", settings
            continue
        for index, entry in enumerate(getattr(document, section)):
            head = f"{section}.{getattr(entry, LABEL_OF_LIST[section])}"
            yield (
                f"[[{section}]]",
                [
                    _setting((section, index, key.name), f"{head}.{key.name}", key, raw, numbers)
                    for key in keys_of(section, model)
                ],
            )


def find_field(key: str, raw: Mapping[str, Any], document: Document, numbers: Numbers) -> Setting:
    """The setting of `control.cycle` or `meter.poi.poll`; a whole section (`meter`) has a place and no value.

    Of two entries with one name it is the later one, the one to blame.
    """
    named = [entry for _, group in settings_of(raw, document, numbers) for entry in group if entry.key == key]
    return named[-1] if named else Setting(key, (key,), None, "section", None)


def _setting(location: Location, key: str, spec: Key, raw: Mapping[str, Any], numbers: Numbers) -> Setting:
    given: Any = raw
    for part in location:
        if isinstance(given, Mapping):
            given = given.get(str(part))
        elif isinstance(given, list) and isinstance(part, int):
            given = given[part]
    number = numbers.get(key)
    value = written(number, spec.kind) if number is not None and spec.kind is not None else None
    text = shown_value(given) if given is not None else spec.default
    if text is not None:
        return Setting(
            key,
            location,
            text,
            "default" if given is None else "set",
            value if "%" in text and spec.kind and spec.kind.shares else None,
        )
    derived = f'"{value}"' if value else (f"{number:g}" if number is not None else None)
    return Setting(key, location, derived, "derived", None)


def _type_name(field: FieldInfo) -> str:
    annotation = field.annotation
    parts = [annotation, *getattr(annotation, "__args__", ())]
    options = [value for part in parts for value in (part, *getattr(part, "__args__", ())) if isinstance(value, str)]
    if options:
        return " or ".join(f"`{value}`" for value in dict.fromkeys(options))
    for candidate, name in ((bool, "true or false"), (int, "a whole number"), (float, "a number"), (str, "a text")):
        if candidate in parts:
            return name
    raise TypeError(f"a key of a type the reference cannot name: {annotation!r}")
