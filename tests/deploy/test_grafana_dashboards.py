"""The dashboards: what is committed is what the panels say, importable anywhere, and every query is one."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.build import stale
from tests.deploy.watching import DASHBOARDS, dashboard_queries, dashboards, panels, ran

PROVISIONING = DASHBOARDS.parent / "provisioning"


def test_the_files_hold_what_the_panels_say() -> None:
    assert not stale(), "python -m deploy.grafana.build writes them anew"
    assert len(dashboards()) == 4


@pytest.mark.parametrize("name", sorted(dashboards()))
def test_a_dashboard_can_be_imported_anywhere(name: str) -> None:
    dashboard = dashboards()[name]
    assert f"{dashboard['uid']}.json" == name
    assert "id" not in dashboard, "an id of one Grafana would overwrite another's dashboard"
    assert dashboard["schemaVersion"] >= 39
    kinds = {variable["name"]: variable["type"] for variable in dashboard["templating"]["list"]}
    assert kinds == {"datasource": "datasource", "site": "query", "instance": "query"}
    for panel in panels(dashboard):
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", sorted(dashboards()))
def test_every_panel_has_a_unit_and_says_what_it_shows(name: str) -> None:
    titles = []
    for panel in panels(dashboards()[name]):
        titles.append(panel["title"])
        assert len(panel["description"]) > 10, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for target in panel["targets"]:
            expr = target["expr"]
            assert "$site" in expr or expr.startswith("ALERTS"), f"{panel['title']} shows every site"
    assert len(titles) >= 10


@pytest.mark.parametrize("name", sorted(dashboards()))
def test_no_two_panels_lie_on_each_other(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboards()[name]["panels"]:
        for cell in _cells(panel["gridPos"]):
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]
            assert cell[0] < 24


def _cells(where: dict[str, int]) -> Any:
    return itertools.product(range(where["x"], where["x"] + where["w"]), range(where["y"], where["y"] + where["h"]))


def test_every_query_is_promql(tmp_path: Path) -> None:
    asked = [{"record": f"asked:{number}", "expr": query.expr} for number, query in enumerate(dashboard_queries())]
    (tmp_path / "asked.yml").write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": asked}]}))
    assert f"{len(asked)} rules found" in ran("promtool", "check", "rules", tmp_path / "asked.yml")
    assert len(asked) > 80


def test_provisioning_points_at_one_datasource_and_one_folder() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "curtaild.yml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "curtaild.yml").read_text())["providers"]
    assert provider["options"]["path"] in (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
