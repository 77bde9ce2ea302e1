"""What is shipped for Prometheus and Grafana, as the tests of this folder read it, and where its tools are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
OPERATIONS = ROOT / "docs" / "operations.md"
UNPACKED = ROOT / ".tools" / "usr" / "bin"  # where .ci/run puts them

# What Prometheus adds to every series it scrapes, by deploy/prometheus/.
TARGET_LABELS = frozenset({"job", "instance", "site"})
SELECTOR = re.compile(r"\b(?P<name>(?:site:)?curtaild_[a-z0-9_]+(?::[a-z0-9_]+)?)\s*(?:\{(?P<matchers>[^}]*)\})?")
BY_PATTERN = re.compile(r'\{__name__=~"(?P<pattern>[^"]+)"\}')
MATCHER = re.compile(r'(?P<label>\w+)\s*(?P<how>=~|!=|!~|=)\s*"(?P<value>[^"]*)"')
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\((?P<labels>[^)]*)\)")


def tool(name: str) -> Path:
    """promtool, prometheus or amtool; skips the test where it is missing - fails it where it has to be there."""
    found = shutil.which(name) or shutil.which(name, path=str(UNPACKED))
    if found is None:
        if os.environ.get("CURTAILD_REQUIRE_PROMTOOL") == "1":
            pytest.fail(f"{name} is required here (CURTAILD_REQUIRE_PROMTOOL=1) and not installed")
        pytest.skip(f"{name} is not installed")
    return Path(found)


def ran(name: str, *arguments: str | Path) -> str:
    """What a tool prints; fails with it when the tool is not content."""
    done = subprocess.run([tool(name), *arguments], capture_output=True, text=True, timeout=60, cwd=PROMETHEUS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def rules() -> list[dict[str, Any]]:
    """Every recording and alert rule."""
    return [
        rule
        for file in sorted((PROMETHEUS / "rules").glob("*.yml"))
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def dashboards() -> dict[str, dict[str, Any]]:
    """By file name."""
    return {file.name: json.loads(file.read_text()) for file in sorted(DASHBOARDS.glob("*.json"))}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One query and where it stands; the variables of a dashboard are filled in."""

    where: str
    expr: str


def dashboard_queries() -> Iterator[Asked]:
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield Asked(f"{name}: {panel['title']}", filled_in(target["expr"]))
        for note in dashboard["annotations"]["list"]:
            yield Asked(f"{name}: {note['name']}", filled_in(note["expr"]))
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                selector = re.fullmatch(r"label_values\((.+), \w+\)", variable["query"]["query"])
                assert selector, variable
                yield Asked(f"{name}: ${variable['name']}", filled_in(selector[1]))


def all_queries() -> Iterator[Asked]:
    yield from dashboard_queries()
    for rule in rules():
        yield Asked(f"rule {rule.get('alert') or rule['record']}", rule["expr"])


def filled_in(expr: str) -> str:
    """The query as Grafana would send it with every site chosen."""
    for variable, value in (
        ("$__rate_interval", "20s"),
        ("$__range", "1h"),
        ("$site", ".+"),
        ("$instance", ".+"),
    ):
        expr = expr.replace(variable, value)
    assert "$" not in expr, f"a variable nobody fills in: {expr}"
    return expr
