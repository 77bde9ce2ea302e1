"""`curtaild check`: validate a site and print its effective configuration, or everything that is wrong with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from controller.config import ConfigError, effective_text, load_site
from controller.devices import StartRefusedError, build_meters
from controller.domain.fleet import MinerModel
from drivers.catalog import known_models

EXIT_GOOD = 0
EXIT_REFUSED = 2


def check(
    path: Path,
    *,
    models: Mapping[str, MinerModel] | None = None,
    env: Mapping[str, str] | None = None,
    miners: bool = False,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Check the site file at `path`; returns the exit code: 0 good (warnings included), 2 refused.

    miners: also ask every miner whether it is what the inventory says; 3 when one is not.
    models, env, out and err are the drivers' catalogue, the process's environment and its streams unless given.
    """
    try:
        config = load_site(path, known_models() if models is None else models, os.environ if env is None else env)
    except ConfigError as error:
        return _refused(path, str(error), len(error.problems), err or sys.stderr)
    try:
        build_meters(config)
    except StartRefusedError as error:
        return _refused(path, str(error), len(str(error).splitlines()), err or sys.stderr)
    (out or sys.stdout).write(f"{effective_text(config)}\n")
    if miners:
        from controller.commands.check_miners import (
            check_miners,  # brings the drivers: 0.7 s most checks can do without
        )

        return check_miners(config, out or sys.stdout)
    return EXIT_GOOD


def _refused(path: Path, why: str, count: int, err: TextIO) -> int:
    err.write(f"{why}\n{path}: refused, {count} problem{'s' if count > 1 else ''}\n")
    return EXIT_REFUSED
