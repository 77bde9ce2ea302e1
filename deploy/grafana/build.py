"""Writes the Grafana dashboards beside this file from the panels listed in panels/.

    python -m deploy.grafana.build            # rewrite dashboards/*.json
    python -m deploy.grafana.build --check    # say which one is out of date; exit 1 if one is

The JSON is Grafana's classic model, which every Grafana since 10 imports and provisions.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from deploy.grafana.model import Dashboard, Panel, Row
from deploy.grafana.panels import DASHBOARDS

FOLDER = Path(__file__).parent / "dashboards"
SCHEMA_VERSION = 41  # Grafana 12; an older one reads what it knows, a newer one migrates
GRID_COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WATCHED = 'up{job="curtaild"}'


def rendered(dashboard: Dashboard) -> str:
    """One dashboard as Grafana reads it."""
    others = [other for other in DASHBOARDS if other is not dashboard]
    document = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.text,
        "tags": ["curtaild"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [
            {"title": other.title, "type": "link", "url": f"/d/{other.uid}?${{__all_variables}}", "keepTime": True}
            for other in others
        ],
        "templating": {"list": _variables()},
        "annotations": {"list": [_restarts()]},
        "panels": list(_laid_out(dashboard.rows)),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _variables() -> list[dict[str, Any]]:
    def asked(name: str, label: str, query: str) -> dict[str, Any]:
        return {
            "name": name,
            "label": label,
            "type": "query",
            "datasource": DATASOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".+",
            "current": {"text": ["All"], "value": ["$__all"]},
        }

    source = {"name": "datasource", "label": "data source", "type": "datasource", "query": "prometheus", "refresh": 1}
    return [
        source,
        asked("site", "site", f"label_values({WATCHED}, site)"),
        asked("instance", "instance", 'label_values(up{job="curtaild", site=~"$site"}, instance)'),
    ]


def _restarts() -> dict[str, Any]:
    return {
        "name": "starts of the daemon",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "orange",
        "expr": 'changes(curtaild_process_start_time_seconds{site=~"$site", instance=~"$instance"}[1m]) > 0',
        "titleFormat": "started",
        "textFormat": "{{site}}",
        "step": "15s",
    }


def _laid_out(rows: Iterable[Row]) -> Iterable[dict[str, Any]]:
    """Panels from left to right, a new line when one does not fit."""
    number, y = 0, 0
    for row in rows:
        number += 1
        where = {"h": 1, "w": GRID_COLUMNS, "x": 0, "y": y}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": where, "panels": []}
        x, y, line_height = 0, y + 1, 0
        for panel in row.panels:
            number += 1
            if x + panel.width > GRID_COLUMNS:
                x, y, line_height = 0, y + line_height, 0
            where = {"h": panel.height, "w": panel.width, "x": x, "y": y}
            yield {"id": number, **_panel(panel), "gridPos": where}
            x, line_height = x + panel.width, max(line_height, panel.height)
        y += line_height


def _panel(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "custom": dict(panel.custom)}
    if panel.steps:
        colours = [{"color": colour, "value": value} for value, colour in panel.steps]
        defaults["thresholds"] = {"mode": "absolute", "steps": colours}
        defaults["color"] = {"mode": "thresholds" if panel.kind in ("stat", "state-timeline") else "palette-classic"}
        if panel.kind == "timeseries":
            defaults["custom"]["thresholdsStyle"] = {"mode": "dashed"}
    if panel.words:
        options = {str(value): {"text": text, "index": value} for value, text in panel.words.items()}
        defaults["mappings"] = [{"type": "value", "options": options}]
    if panel.least is not None:
        defaults["min"] = panel.least
    instant = panel.kind in ("stat", "table")
    targets = [
        {
            "refId": chr(ord("A") + place),
            "datasource": DATASOURCE,
            "expr": query.expr,
            "legendFormat": query.legend,
            "instant": instant,
            "range": not instant,
            "format": "table" if panel.kind == "table" else "heatmap" if panel.kind == "heatmap" else "time_series",
        }
        for place, query in enumerate(panel.queries)
    ]
    made: dict[str, Any] = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": dict(panel.options),
        "targets": targets,
    }
    if panel.kind == "table":
        made["transformations"] = [{"id": "organize", "options": {"excludeByName": {"Time": True, "__name__": True}}}]
    return made


def stale() -> Mapping[str, str]:
    """Files that do not hold what they should, with what they should hold."""
    wanted = {f"{dashboard.uid}.json": rendered(dashboard) for dashboard in DASHBOARDS}
    return {
        name: text
        for name, text in wanted.items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_text() != text
    }


def main() -> int:
    out_of_date = stale()
    for name, text in out_of_date.items():
        if "--check" in sys.argv[1:]:
            print(f"deploy/grafana/dashboards/{name} is out of date: python -m deploy.grafana.build")
        else:
            (FOLDER / name).write_text(text)
    return 1 if out_of_date and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
