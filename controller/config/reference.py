"""The tables of docs/configuration.md, made from the models, the inventory's columns and the table of rules.

`python -m controller.config.reference` writes them into the page between its markers; a test fails when the page and
the models differ.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from controller.config.checks import Severity
from controller.config.inventory import COLUMNS
from controller.config.reflect import Key, keys_of, sections
from controller.config.wiring import RULES

BEGIN = "<!-- generated from the models: {name} -->"
END = "<!-- end of {name} -->"


def keys_markdown() -> str:
    """One table per section: key, value, default, meaning and why."""
    return "\n".join(_section_lines()).strip()


def _section_lines() -> Iterator[str]:
    for name, model, repeats in sections():
        yield f"### {'[[' if repeats else '['}{name}{']]' if repeats else ']'}"
        yield ""
        yield " ".join((model.__doc__ or "").split())
        yield ""
        yield "| key | value | default | meaning | why |"
        yield "|---|---|---|---|---|"
        yield from (_key_row(key) for key in keys_of(name, model))
        yield ""


def _key_row(key: Key) -> str:
    if key.required:
        default = "required"
    elif key.default is not None:
        default = f"`{key.default}`"
    else:
        default = str(key.derived)
    return f"| `{key.name}` | {key.type_name} | {default} | {key.says} | {key.why} |"


def columns_markdown() -> str:
    """The inventory's columns."""
    rows = (f"| `{name}` | {'yes' if required else 'no'} | {says} |" for name, (required, says) in COLUMNS.items())
    return "\n".join(["| column | required | holds |", "|---|---|---|", *rows])


def rules_markdown() -> str:
    """What must hold between the keys."""
    words = {Severity.REFUSE: "refused", Severity.WARN: "warning"}
    rows = [f"| {rule.states} | {words[rule.severity]} | {rule.because} | {rule.advice} |" for rule in RULES]
    return "\n".join(["| what must hold | else | because | what to do |", "|---|---|---|---|", *rows])


TABLES = {"keys": keys_markdown, "columns": columns_markdown, "rules": rules_markdown}


def with_tables(page: str) -> str:
    """The page with every generated part made anew. Raises ValueError when a marker is missing."""
    for name, render in TABLES.items():
        begin, end = BEGIN.format(name=name), END.format(name=name)
        head, found_begin, rest = page.partition(begin)
        _, found_end, tail = rest.partition(end)
        if not found_begin or not found_end:
            raise ValueError(f"the page lacks the markers of {name!r}")
        page = f"{head}{begin}\n{render()}\n{end}{tail}"
    return page


def main() -> int:
    """Write the tables into the page named on the command line."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m controller.config.reference docs/configuration.md\n")
        return 2
    page = Path(sys.argv[1])
    page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
