"""The web interface of a simulated stock Antminer: HTTP digest in front of everything, scripts below `/cgi-bin/`.

A script's answer has no Content-Type and no length: it comes in chunks, as lighttpd 1.4.32 sends what a script prints
without headers. `set_miner_conf.cgi` is the only way to change the work mode. Inventions, not to be relied on: the
codes of a device error and of a reboot, and status 500 from scripts that find no mining process to ask.
"""

import json
from typing import Any, Final

from simulators.asic.antminer import AntminerStock, ConfRead
from simulators.asic.antminer_conf import SLEEP
from simulators.asic.digest import DigestGate, Verdict
from simulators.asic.http_server import KeepAlive, Request, Response, error_page, web_site
from simulators.asic.response import Answer, Behaviour
from simulators.asic.wire_server import WebProtocol, reboots_on_write
from simulators.asic.wirelog import WireRecord
from simulators.faults import Fault

REALM: Final = "antMiner Configuration"
CHANGED_PASSWORD: Final = "changed"  # noqa: S105
"""What the password is under `Fault.WRONG_PASSWORD`."""

_SCRIPTS: Final = "/cgi-bin/"
_OK: Final = {"stats": "success", "code": "M000", "msg": "OK!"}
_ILLEGAL: Final = {"stats": "error", "code": "M001", "msg": "Illegal request!"}
_BUSY: Final = {"stats": "error", "code": "M001", "msg": "request busy"}
_UNREADABLE: Final = {"stats": "error", "code": "M003", "msg": "load conf err"}
_DEVICE_ERROR: Final = {"stats": "error", "code": "E001", "msg": "device error"}
_REBOOTS: Final = {"stats": "success", "code": "R000", "msg": "OK!"}


def antminer_site(firmware: AntminerStock, *, keep_alive: KeepAlive | None = None) -> WebProtocol:
    """The web port of `firmware`."""
    return web_site(firmware, _Site(firmware), keep_alive or KeepAlive())


def _script(reply: object) -> Response:
    return _printed(json.dumps(reply, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")


def _printed(text: bytes) -> Response:
    return Response(200, text, streamed=True)


class _Site:
    def __init__(self, firmware: AntminerStock) -> None:
        self._miner = firmware
        self._faults = firmware.faults
        seed = firmware.bank.spec.seed * 1_000_003 + firmware.index
        self._gate = DigestGate(REALM, firmware.username, seed=seed)
        self._faults.listen(self._on_fault)

    def connected(self) -> None:
        """See `WebApp`."""
        self._miner.web_connections += 1

    def handle(self, request: Request) -> Response | None:
        """See `WebApp`."""
        if Fault.HTTP_500 in self._faults or Fault.HTTP_403 in self._faults:
            return error_page(500 if Fault.HTTP_500 in self._faults else 403)
        verdict = self._verdict(request)
        if verdict is Verdict.MALFORMED:
            return error_page(400)
        if verdict is not Verdict.GOOD:
            self._miner.challenges += 1
            challenge = self._gate.challenge(stale=verdict is Verdict.STALE)
            return error_page(401, ("WWW-Authenticate", challenge))
        path = request.target.partition("?")[0]
        if path == "/":
            return Response(200, b"<!doctype html><title>Antminer</title>\n", (("Content-Type", "text/html"),))
        if not path.startswith(_SCRIPTS) or not path.endswith(".cgi"):
            return error_page(404)
        return self._run(path.removeprefix(_SCRIPTS).removesuffix(".cgi"), request)

    def _verdict(self, request: Request) -> Verdict:
        if Fault.HTTP_401 in self._faults:
            return Verdict.WRONG
        password = CHANGED_PASSWORD if Fault.WRONG_PASSWORD in self._faults else self._miner.password
        verdict = self._gate.check(request.method, request.target, request.headers.get("authorization"), password)
        if verdict is Verdict.GOOD and Fault.SESSION_ERROR in self._faults and request.method == "POST":
            return Verdict.STALE
        return verdict

    # --- scripts -----------------------------------------------------------------------------------------------

    def _run(self, name: str, request: Request) -> Response | None:
        match name:
            case "set_miner_conf":
                return self._set_conf(request)
            case "reboot":
                return self._reboot(request)
        self._miner.log.add(WireRecord(request.at_s, name, request.body.decode("utf-8", "replace"), is_write=False))
        if Fault.DEVICE_ERROR in self._faults:
            return _script(_DEVICE_ERROR)
        match name:
            case "get_miner_conf":
                return self._conf()
            case "miner_type":
                return _script(
                    {"miner_type": self._miner.bank.models[self._miner.index].wire_name, "subtype": "CVCtrl"}
                )
            case "blink":
                return self._blink(_json_object(request.body))
        fact = self._miner.reads.facts.get(name)
        if fact is not None:
            return _script(fact())
        script = self._miner.reads.scripts.get(name)
        if script is None:
            return error_page(404)
        return _script(script()) if self._miner.process_is_up else error_page(500)

    def _conf(self) -> Response:
        file = self._miner.state.conf.file()
        match self._miner.conf_read:
            case ConfRead.FAILS:
                return error_page(500)
            case ConfRead.NO_POOLS:
                rest = json.loads(file)
                del rest["pools"]
                return _script(rest)
            case ConfRead.CUT:
                return _printed(file[: len(file) // 2])
        return _printed(file)

    def _set_conf(self, request: Request) -> Response | None:
        miner = self._miner
        sent = _json_object(request.body)
        raises = None if sent is None else miner.raises_power(sent)
        text = request.body.decode("utf-8", "replace")
        miner.log.add(WireRecord(request.at_s, "set_miner_conf", text, is_write=True, raises=raises))
        if reboots_on_write(miner):
            return None
        behaviour = int(miner.bank.behaviour[miner.index])
        if Fault.DEVICE_ERROR in self._faults:
            return _script(_DEVICE_ERROR)
        if Fault.FOREIGN_SESSION in self._faults or miner.is_writing:
            return _script(_BUSY)  # one writer at a time: a second one is turned away, not queued
        no_sleep = Fault.REFUSE_SLEEP in self._faults and sent is not None and str(sent.get("miner-mode")) == SLEEP
        if sent is None or no_sleep or behaviour & Behaviour.REFUSES:
            return _script(_ILLEGAL)
        if Fault.IGNORE not in self._faults and not behaviour & Behaviour.IGNORES:
            miner.write(sent)
        reply = _UNREADABLE if Fault.OBEY_WITH_ERROR in self._faults else _OK
        return _script(reply)._replace(after_s=miner.traits.write_s)

    def _reboot(self, request: Request) -> Response | None:
        miner = self._miner
        miner.log.add(WireRecord(request.at_s, "reboot", "", is_write=True))
        if Fault.DEVICE_ERROR in self._faults:
            return _script(_DEVICE_ERROR)
        if reboots_on_write(miner):
            return None
        if Fault.IGNORE not in self._faults and miner.bank.reboot(miner.index) is Answer.REFUSED:
            return _script(_ILLEGAL)
        return _script(_DEVICE_ERROR if Fault.OBEY_WITH_ERROR in self._faults else _REBOOTS)

    def _blink(self, sent: dict[str, Any] | None) -> Response:
        wish = str((sent or {}).get("blink")).lower()
        if wish not in ("true", "false"):
            return _script({"code": "B001"})
        self._miner.state.blinking = wish == "true"
        return _script({"code": "B000" if self._miner.state.blinking else "B100"})

    def _on_fault(self, fault: Fault, is_on: bool) -> None:
        if fault is Fault.STALE_SESSION and is_on:
            self._gate.expire()


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
