"""Where a run of the rig leaves its figures."""

from __future__ import annotations

import json
from pathlib import Path


def write_report(path: Path, figures: object) -> None:
    """As JSON for people and programs; the folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
