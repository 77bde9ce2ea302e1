"""`curtaild run`: load the site, say what is wrong with it, or serve it until told to stop."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from controller.app import REFUSALS, serve
from controller.config import ConfigError, load_site
from controller.runtime import memory
from drivers.catalog import known_models

EXIT_GOOD, EXIT_REFUSED = 0, 2


def run_site(path: Path, env: Mapping[str, str]) -> int:
    """The exit code: 0 after a clean stop, 2 when the site was refused at start."""
    # Until there is something to reload, and between two runs of one process, a SIGHUP must not end us.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        config = load_site(path, known_models(), env)
        for warning in config.warnings:
            sys.stderr.write(f"{warning}\n")
        memory.settle()
        if serve(config):
            _begin_again()
        return EXIT_GOOD
    except ConfigError as error:
        sys.stderr.write(f"{error}\n{path}: refused; nothing was started\n")
    except REFUSALS as error:
        sys.stderr.write(f"{path}: {error}\nnothing was started, nothing was moved\n")
    return EXIT_REFUSED


def _begin_again() -> None:
    """A reload: the same process, with the same arguments, on files that were just found good. Does not return.

    The miners, the journal and systemd see a restart that took no new process.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what is ignored stays so in the new run
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # no shell, and none is wanted
