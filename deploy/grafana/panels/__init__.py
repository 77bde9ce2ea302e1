"""The four dashboards. Every query is asked of a real Prometheus in tests/deploy."""

from __future__ import annotations

from deploy.grafana.panels.controller import CONTROLLER
from deploy.grafana.panels.dispatch import DISPATCH
from deploy.grafana.panels.fleet import FLEET
from deploy.grafana.panels.site import SITE

DASHBOARDS = (SITE, FLEET, DISPATCH, CONTROLLER)

__all__ = ["DASHBOARDS"]
