"""`curtaild dispatch`: send one order to a site and show its answers as they come."""

from __future__ import annotations

import asyncio
import getpass
import os
import re
import secrets
import socket
import time
from collections.abc import Mapping
from contextlib import aclosing
from datetime import datetime
from enum import StrEnum
from typing import Any, TextIO

from controller.commands.start_time import parse_start
from controller.config.secrets import environment_name, find_secret
from controller.domain.dispatch import Answer, AnswerStatus, Dispatch, DispatchClass, DispatchKind
from controller.runtime.dispatcher import SiteState, send_order
from controller.runtime.mqtt_link import BrokerSettings, LinkLostError, TlsSettings
from controller.wire.canonical import canonical, kw_of, utc_text
from controller.wire.mqtt import encode_answer

EXIT_DONE = 0
EXIT_REFUSED = 3
EXIT_NO_ANSWER = 4
EXIT_ENDED_EARLY = 5

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_POWER = re.compile(r"(\d+(?:\.\d+)?)\s*(W|kW|MW|GW)", re.IGNORECASE)
_POWER_UNITS = {"w": 1, "kw": 1e3, "mw": 1e6, "gw": 1e9}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)")
_DURATION_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class Wait(StrEnum):
    """How long to listen: until the order is taken or refused, until the site is there, or until the order's end."""

    ACCEPTED = "accepted"
    REACHED = "reached"
    END = "end"


def parse_power(text: str) -> int:
    """Watts of "400kW", "1.5 MW", "250000W"; raises ValueError. A bare number is refused: which unit would it be?"""
    found = _POWER.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no power: write it with its unit, as 400kW or 1.5MW")
    return round(float(found[1]) * _POWER_UNITS[found[2].lower()])


def parse_duration(text: str) -> float:
    """Seconds of "15m", "90s", "1.5h"; raises ValueError."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or float(found[1]) == 0:
        raise ValueError(f"{text!r} is no duration: write it with its unit, as 90s, 15m or 2h")
    return float(found[1]) * _DURATION_UNITS[found[2]]


def new_id(wall: float) -> str:
    """A ULID: 48 bits of milliseconds, 80 of chance; sorts by time, unique without asking anyone."""
    number = (int(wall * 1000) << 80) | secrets.randbits(80)
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def default_issuer() -> str:
    """The person at this machine, in the characters an issuer may have."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no name for this user id, as in many containers
        user = f"uid{os.getuid()}"
    return re.sub(r"[^A-Za-z0-9._@-]", "-", f"{user}@{socket.gethostname()}")[:64]


def make_order(
    kind: DispatchKind,
    power_w: int | None,
    *,
    lifetime_s: float,
    issuer: str,
    dispatch_class: DispatchClass,
    priority: int,
    reason: str,
    wall: float,
    not_before: float | None = None,
) -> Dispatch:
    """A new order issued at `wall` (UTC seconds). Its sequence number is that moment in milliseconds, so that it rises
    from one call to the next without a file to remember it in. It holds for `lifetime_s` from when it begins."""
    milliseconds = int(wall * 1000)
    begins = milliseconds / 1000 if not_before is None else not_before
    return Dispatch(
        dispatch_id=new_id(wall),
        issuer=issuer,
        seq=milliseconds,
        issued_at=milliseconds / 1000,
        expires_at=round(begins + lifetime_s, 3),
        dispatch_class=dispatch_class,
        kind=kind,
        power_w=power_w,
        priority=priority,
        reason=reason,
        not_before=not_before,
    )


def dispatch_from_arguments(given: Mapping[str, Any], env: Mapping[str, str], out: TextIO) -> int:
    """Send the order the command line describes; returns the exit code. Raises ValueError for what cannot be sent."""
    kind = DispatchKind(given["kind"])
    power = given["power"]
    if (power is None) != (kind is DispatchKind.RELEASE):
        raise ValueError("a release has no power" if power else f"a {kind.value} needs a power, as in 400kW")
    wall = time.time()
    begins = None if given["begins"] is None else parse_start(given["begins"], wall)
    order = make_order(
        kind,
        None if power is None else parse_power(power),
        lifetime_s=parse_duration(given["lifetime"]),
        issuer=given["issuer"] or default_issuer(),
        dispatch_class=DispatchClass(given["dispatch_class"]),
        priority=given["priority"],
        reason=given["reason"],
        wall=wall,
        not_before=begins,
    )
    wait = Wait(given["wait"])
    waits_for_it = begins is not None and wait is not Wait.ACCEPTED
    within_s = parse_duration(given["within"]) + (max((begins or wall) - wall, 0.0) if waits_for_it else 0.0)
    return run_dispatch(
        broker_of_arguments(given, env),
        given["site"],
        order,
        wait=wait,
        within_s=within_s,
        as_json=given["as_json"],
        out=out,
    )


def broker_of_arguments(given: Mapping[str, Any], env: Mapping[str, str]) -> BrokerSettings:
    """The broker the command line describes, its password from where secrets are kept. Raises ValueError."""
    host, colon, port = str(given["broker"]).rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"{given['broker']!r} is no broker: write host:port, as 127.0.0.1:1883")
    name = given["password_secret"]
    password = None if name is None else find_secret(name, env)
    if name is not None and password is None:
        raise ValueError(f"nobody holds the secret {name!r}: put it into ${environment_name(name)}")
    return BrokerSettings(
        host.strip("[]"),
        int(port),
        given["username"],
        None if password is None else password.get_secret_value(),
        _tls_of_arguments(given),
    )


def _tls_of_arguments(given: Mapping[str, Any]) -> TlsSettings | None:
    names = ("tls_ca", "tls_certificate", "tls_key")
    authority, certificate, key = (None if given[name] is None else str(given[name]) for name in names)
    if (certificate is None) != (key is None):
        raise ValueError("--tls-certificate and --tls-key go together: a certificate proves nothing without its key")
    if authority is None:
        if certificate is not None:
            raise ValueError("--tls-ca is missing: name the authority whose brokers this certificate may be shown to")
        return None
    return TlsSettings(authority, certificate, key)


def run_dispatch(
    broker: BrokerSettings, site: str, order: Dispatch, *, wait: Wait, within_s: float, as_json: bool, out: TextIO
) -> int:
    """Send the order, print its answers (one line each, JSON lines on demand), return the exit code.

    0: what was waited for came. 3: refused. 4: it did not come within `within_s`, or the broker is not there.
    5: the order ended (expired, superseded) before the site reached it.
    """
    return asyncio.run(send_and_show(broker, site, order, wait=wait, within_s=within_s, as_json=as_json, out=out))


async def send_and_show(
    broker: BrokerSettings, site: str, order: Dispatch, *, wait: Wait, within_s: float, as_json: bool, out: TextIO
) -> int:
    """See run_dispatch."""
    began = time.monotonic()
    online: bool | None = None
    answered = False

    def say(line: str) -> None:
        print(line, file=out, flush=True)

    if not as_json:
        say(describe(order, site))
    try:
        async with asyncio.timeout(within_s), aclosing(send_order(broker, site, order)) as hearing:
            async for heard in hearing:
                if isinstance(heard, SiteState):
                    online = heard.online
                    continue
                answered = True
                elapsed_s = time.monotonic() - began
                say(_json_line(heard, elapsed_s) if as_json else _line(heard, elapsed_s))
                code = exit_code_of(heard, order, wait)
                if code is not None:
                    return code
    except TimeoutError:
        failure = _why_silent(site, online, answered, within_s)
    except LinkLostError as lost:
        failure = f"broker: {lost}"
    say(canonical({"id": order.dispatch_id, "error": failure}) if as_json else failure)
    return EXIT_NO_ANSWER


def exit_code_of(answer: Answer, order: Dispatch, wait: Wait) -> int | None:
    """The exit code once this answer settles the matter; None while there is more to wait for."""
    match answer.status:
        case AnswerStatus.REJECTED:
            return EXIT_REFUSED
        case AnswerStatus.EXPIRED | AnswerStatus.SUPERSEDED:
            return EXIT_DONE if wait is Wait.END else EXIT_ENDED_EARLY
        case AnswerStatus.ACCEPTED | AnswerStatus.CLAMPED:
            # A test order is judged and moves nothing: there is no more to come.
            judged_only = order.dispatch_class is DispatchClass.TEST
            return EXIT_DONE if wait is Wait.ACCEPTED or judged_only or answer.terminal else None
        case AnswerStatus.REACHED:
            return EXIT_DONE if wait is not Wait.END or answer.terminal else None
        case AnswerStatus.RECEIVED:
            return None


def describe(order: Dispatch, site: str) -> str:
    """The order in one line, as it was sent."""
    what = order.kind.value if order.power_w is None else f"{order.kind.value} {order.power_w / 1000:g} kW"
    if order.not_before is not None:
        local = datetime.fromtimestamp(order.not_before).astimezone()
        what += f" at {utc_text(order.not_before)} ({local:%H:%M:%S} here)"
    return f"{order.dispatch_id}  {site}: {what} until {utc_text(order.expires_at)}, {order.dispatch_class.value}"


def _line(answer: Answer, elapsed_s: float) -> str:
    power_kw = kw_of(answer.power_w)
    parts = [f"{elapsed_s:7.2f} s  {answer.status.value:<10}"]
    if power_kw is not None:
        parts.append(f"{power_kw:g} kW")
    if answer.code is not None:
        parts.append(f"{answer.code.value} {answer.code.name}")
    if answer.reason:
        parts.append(answer.reason)
    return "  ".join(parts).rstrip()


def _json_line(answer: Answer, elapsed_s: float) -> str:
    """The answer exactly as it came, with the seconds since the order was sent in front."""
    return f'{{"elapsed_s":{elapsed_s:.3f},{encode_answer(answer).decode()[1:]}'


def _why_silent(site: str, online: bool | None, answered: bool, within_s: float) -> str:
    if answered:
        return (
            f"no answer that settles the order within {within_s:g} s: the site has the order and may need longer "
            "(--within); see `curtaild status` there"
        )
    known = {
        None: f"no daemon has ever spoken for site {site} on this broker: check the site's name and the broker, "
        "and whether its access rules let you hear this site",
        False: f"the daemon of site {site} is not running (its state says offline)",
        True: "its state says online, but it does not answer: the broker's access rules may not let you order this "
        "site (a broker drops such an order without a word), or the site's link to the broker is down",
    }
    return f"no answer within {within_s:g} s: {known[online]}"
