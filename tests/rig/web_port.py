"""Port 80, on which published clients look for a stock Antminer: not every machine lets us have it."""

from __future__ import annotations

import os

from simulators.asic.farm import may_bind_web_port


class WebPortError(Exception):
    """Port 80 is required on this machine and cannot be had."""


def has_web_port(host: str) -> bool:
    """Whether port 80 of `host` can be had. Raises WebPortError instead of saying no where it has to be."""
    if may_bind_web_port(host):
        return True
    if os.environ.get("CURTAILD_REQUIRE_PORT_80") == "1":
        raise WebPortError(f"port 80 of {host} is required here (CURTAILD_REQUIRE_PORT_80=1) and cannot be bound")
    return False
