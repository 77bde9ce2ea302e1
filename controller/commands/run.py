"""`curtaild run`: load the site, say what is wrong with it, or serve it until told to stop."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from controller.app import StartRefusedError, serve
from controller.config import ConfigError, load_site
from controller.runtime.console import ConsoleUnavailableError
from controller.runtime.journal import JournalInUseError, JournalRefusedError
from controller.runtime.metrics import MetricsUnavailableError
from drivers.catalog import known_models

EXIT_REFUSED = 2
REFUSALS = (
    StartRefusedError,
    JournalInUseError,
    JournalRefusedError,
    ConsoleUnavailableError,
    MetricsUnavailableError,
)


def run_site(path: Path, env: Mapping[str, str]) -> int:
    """The exit code: 0 after a clean stop, 2 when the site was refused at start."""
    try:
        config = load_site(path, known_models(), env)
        for warning in config.warnings:
            sys.stderr.write(f"{warning}\n")
        return serve(config)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n{path}: refused; nothing was started\n")
    except REFUSALS as error:
        sys.stderr.write(f"{path}: {error}\nnothing was started, nothing was moved\n")
    return EXIT_REFUSED
