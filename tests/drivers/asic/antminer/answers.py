"""What a stock Antminer says, as the tests write it down: port 4028's documents, the web interface's, whole answers."""

from __future__ import annotations

from typing import Any

OK = {"stats": "success", "code": "M000", "msg": "OK!"}
BUSY = {"stats": "error", "code": "M001", "msg": "request busy"}
CONF: dict[str, Any] = {
    "pools": [
        {"url": "stratum+tcp://pool-a.invalid:3333", "user": "site.w1", "pass": "x"},
        {"url": "stratum+tcp://pool-b.invalid:443", "user": "site.w1", "pass": "d=65536"},
        {"url": "", "user": "", "pass": ""},
    ],
    "api-listen": True,
    "api-network": True,
    "api-groups": "A:stats:pools:devs:summary:version",
    "api-allow": "A:0/0,W:*",
    "bitmain-fan-ctrl": False,
    "bitmain-fan-pwm": "80",
    "bitmain-use-vil": True,
    "bitmain-freq": "525",
    "bitmain-voltage": "1350",
    "bitmain-ccdelay": "1",
    "bitmain-pwth": "1",
    "bitmain-work-mode": "0",
    "bitmain-freq-level": "95",
}

RESET = object()
"""An answer that is none: the connection is reset."""


def conf(mode: object = "0", **changed: Any) -> dict[str, Any]:
    """A configuration in this mode; underscores in names stand for dashes."""
    return CONF | {"bitmain-work-mode": mode} | {name.replace("_", "-"): value for name, value in changed.items()}


def summary(ghs: object = 110_000.0, elapsed: object = 50_000) -> dict[str, Any]:
    """A `summary` of port 4028."""
    return {
        "STATUS": [{"STATUS": "S", "Code": 11, "Msg": "Summary", "Description": "cgminer 1.0.0"}],
        "SUMMARY": [{"Elapsed": elapsed, "GHS 5s": ghs, "GHS av": ghs}],
        "id": 1,
    }


def web_summary(ghs: object = 0.0) -> dict[str, Any]:
    """A `summary.cgi`."""
    return {"STATUS": {"STATUS": "S"}, "SUMMARY": [{"elapsed": 5, "rate_5s": ghs, "rate_unit": "GH/s", "status": []}]}


def version(model: str = "Antminer S19 Pro") -> dict[str, Any]:
    """A `version` of port 4028."""
    return {
        "STATUS": [{"STATUS": "S", "Code": 22, "Msg": "CGMiner versions", "Description": "cgminer 1.0.0"}],
        "VERSION": [{"API": "3.1", "BMMiner": "1.0.0", "Miner": "49.0.1.3", "Type": model}],
        "id": 1,
    }


def http(status: int, body: bytes, more: str = "") -> bytes:
    """A whole answer."""
    return f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body
