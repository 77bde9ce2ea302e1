"""Which program ran which site by which files: for the journal, /metrics and `status`."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform

from controller.config import SiteConfig


def versions() -> dict[str, str]:
    """What runs here, as name -> version."""
    found = {name: importlib.metadata.version(name) for name in ("curtaild", "pyasic", "pymodbus", "aiomqtt")}
    return {**found, "python": platform.python_version()}


def identity(config: SiteConfig) -> dict[str, object]:
    """For the start row: an audit compares the digest with the files it was given."""
    files = config.path.read_bytes() + config.inventory_path.read_bytes()
    return {"site": config.site_id, "config_sha256": hashlib.sha256(files).hexdigest(), "versions": versions()}
