"""Room for the sockets of a thousand miners."""

from __future__ import annotations

import resource

FILES = 8_192


def allow_files() -> None:
    """Allow this process FILES open files, or as many as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
