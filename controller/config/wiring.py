"""What is connected to what: missing meters, addresses used twice, a lease without a broker. Half of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Final

from controller.config.checks import LIMITS, Facts, Finding, Rule, Severity, per_meter, when
from controller.config.outside_sections import MeterSettings
from controller.config.resolve import REQUIRED_FEEDS

UNIX_PATH_MAX: Final = 107  # bytes of a socket path Linux takes, without the closing zero
_LOOPBACK: Final = ("localhost", "127.", "::1")


def _same(key: str, value: Callable[[MeterSettings], object]) -> Callable[[Facts], Iterator[Finding]]:
    """A finding at every meter whose value another, earlier one already has."""

    def look(facts: Facts) -> Iterator[Finding]:
        for first, second in combinations(facts.document.meter, 2):
            if value(first) == value(second):
                yield Finding(f"meter.{second.id}.{key}", f"meter {first.id!r} already has it")

    return look


def _missing_feeds(facts: Facts) -> Iterator[Finding]:
    present = {meter.feeds for meter in facts.document.meter}
    for feed in REQUIRED_FEEDS:
        if feed not in present:
            yield Finding("meter", f"no meter feeds {feed}")


def _lost_feeder(facts: Facts) -> Iterator[Finding]:
    names = {feeder.name for feeder in facts.document.feeder}
    for meter in facts.document.meter:
        if (meter.feeder in names) if meter.feeds == "feeder" else meter.feeder is None:
            continue
        yield Finding(f"meter.{meter.id}.feeder")


def _same_feeder(facts: Facts) -> Iterator[Finding]:
    names = [feeder.name for feeder in facts.document.feeder]
    yield from (Finding(f"feeder.{name}.name") for name in dict.fromkeys(names) if names.count(name) > 1)


def _same_limit(facts: Facts) -> Iterator[Finding]:
    document = facts.document
    names = [feeder.name for feeder in document.feeder] + [limit.name for limit in document.limit]
    yield from (Finding(f"limit.{limit.name}.name") for limit in document.limit if names.count(limit.name) > 1)


def _lost_limit(facts: Facts) -> Iterator[Finding]:
    document = facts.document
    known = {limit.name for limit in document.limit}
    for feeder in document.feeder:
        if feeder.limit is not None and feeder.limit not in known:
            yield Finding(f"feeder.{feeder.name}.limit")
    for limit in document.limit:
        if limit.parent is not None and limit.parent not in known:
            yield Finding(f"limit.{limit.name}.parent")
    for miner in facts.miners:
        for name in miner.limits:
            if name not in known:
                yield Finding("fleet.inventory", f"line {miner.line}: miner {miner.miner_id!r} hangs on {name!r}")


def _ring(facts: Facts) -> Iterator[Finding]:
    parent = {limit.name: limit.parent for limit in facts.document.limit}
    for name in parent:
        above, steps = parent[name], 0
        while above in parent and above != name and steps <= len(parent):
            above, steps = parent[above], steps + 1
        if above == name:
            yield Finding(f"limit.{name}.parent")


def _wider_than_parent(facts: Facts) -> Iterator[Finding]:
    rating_w = {limit.name: limit.rating for limit in facts.document.limit}
    for limit in facts.document.limit:
        if limit.parent in rating_w and limit.rating > rating_w[limit.parent]:
            yield Finding(f"limit.{limit.name}.rating")


def _half_a_certificate(facts: Facts) -> bool:
    dispatch = facts.document.dispatch
    given = [path is not None for path in (dispatch.certificate_file, dispatch.key_file)]
    return any(given) and not (all(given) and dispatch.tls)


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def _listen_clash(facts: Facts) -> Iterator[Finding]:
    """Only addresses of this machine can clash: a port elsewhere is none of ours."""
    host, port = _address(facts.document.metrics.listen)
    dispatch = facts.document.dispatch
    taken: Sequence[tuple[str, int, str]] = [
        *((meter.host, meter.port, f"meter {meter.id!r}") for meter in facts.document.meter),
        *([(dispatch.host, dispatch.port, "the broker")] if dispatch.host else []),
        *((miner.host, miner.port, f"miner {miner.miner_id!r}") for miner in facts.miners),
    ]
    for other_host, other_port, name in taken:
        same_host = other_host == host or (host in ("0.0.0.0", "::") and is_loopback(other_host))  # noqa: S104  # compared only
        if port == other_port and same_host:
            yield Finding("metrics.listen", f"{name} has the same address")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine without asking a name server."""
    return host.startswith(_LOOPBACK)


WIRING: Final[tuple[Rule, ...]] = (
    Rule(
        "poi_export, site_load and plant each have a meter",
        "the surplus is computed from all three",
        "add a [[meter]] that feeds it",
        _missing_feeds,
    ),
    Rule(
        "no two meters feed the same",
        "two meters feed the same",
        "remove one, or correct feeds",
        _same("feeds", lambda m: (m.feeds, m.feeder)),
    ),
    Rule(
        "no two meters have the same id",
        "two meters share an id",
        "give each an id of its own",
        _same("id", lambda m: m.id),
    ),
    Rule(
        "no two meters have the same host, port and unit_id",
        "two meters share an address",
        "correct host, port or unit_id",
        _same("host", lambda m: (m.host, m.port, m.unit_id)),
    ),
    Rule(
        "a poi_export, site_load or feeder meter states its direction",
        "the sign depends on how the CTs were mounted, and a guess would turn the surplus round",
        "read the meter in a known state and write import or export",
        per_meter(lambda m, _: m.feeds != "plant" and m.direction is None, "direction"),
    ),
    Rule(
        "a plant meter states no direction",
        "the map of a plant block already says it",
        "remove direction",
        per_meter(lambda m, _: m.feeds == "plant" and m.direction is not None, "direction"),
    ),
    Rule(
        "a meter that feeds feeder names a feeder of the site, and no other meter does",
        "a load nobody can place proves nothing",
        "write the name of a [[feeder]] under feeder, or correct feeds",
        _lost_feeder,
    ),
    Rule("there is a feeder", "miners need one", "add a [[feeder]]", when("feeder", lambda f: not f.document.feeder)),
    Rule("no two feeders have the same name", "two feeders share a name", "give each a name of its own", _same_feeder),
    Rule(
        "no limit has the name of another, or of a feeder",
        "two share a name",
        "give each a name of its own",
        _same_limit,
    ),
    Rule(
        "what feeders, limits and miners hang on is a limit of the site",
        "there is no such limit",
        "write the name of a [[limit]], or add it",
        _lost_limit,
    ),
    Rule(
        "no limit hangs below itself",
        "its parents lead back to it",
        "remove parent from the one that stands highest",
        _ring,
    ),
    Rule(
        "a limit may carry at most what its parent may",
        "its rating never matters: the parent is full before",
        "correct one of the two ratings",
        _wider_than_parent,
        Severity.WARN,
    ),
    Rule(
        "the inventory enables at least one miner",
        "there is nothing to control",
        "add a miner to the inventory, or enable one",
        when("fleet.inventory", lambda f: not f.miners and not f.inventory_faulty),
    ),
    Rule(
        "a required lease has a broker",
        "the site would stay in fail-safe for ever",
        "name the broker under dispatch.host, or set lease to none",
        when("dispatch.lease", lambda f: f.document.dispatch.lease == "required" and f.document.dispatch.host is None),
    ),
    Rule(
        "dispatch.username and dispatch.password_secret come together",
        "one without the other opens no broker",
        "set both or neither",
        when(
            "dispatch.username",
            lambda f: (f.document.dispatch.username is None) != (f.document.dispatch.password_secret is None),
        ),
    ),
    Rule(
        "dispatch.ca_file goes with tls = true",
        "without TLS nobody looks at the certificates",
        "set tls to true, or remove ca_file",
        when("dispatch.ca_file", lambda f: f.document.dispatch.ca_file is not None and not f.document.dispatch.tls),
    ),
    Rule(
        "dispatch.certificate_file and dispatch.key_file come together, and with tls = true",
        "one alone proves nothing to the broker, and without TLS neither is shown",
        "set all three or none of the two",
        when("dispatch.certificate_file", _half_a_certificate),
    ),
    Rule(
        "a broker on another machine is spoken to over TLS",
        "anyone on the way can read the password and send orders",
        "set tls to true",
        when(
            "dispatch.tls",
            lambda f: (
                f.document.dispatch.host is not None
                and not f.document.dispatch.tls
                and not is_loopback(f.document.dispatch.host)
            ),
        ),
        Severity.WARN,
    ),
    Rule(
        "metrics.listen is an address nobody else has",
        "only one can listen there",
        "choose another port",
        _listen_clash,
    ),
    Rule(
        "metrics.listen has a port from 0 (any free one) to 65535",
        "this is no TCP port",
        "9464 is usual",
        when("metrics.listen", lambda f: _address(f.document.metrics.listen)[1] > 65535),
    ),
    Rule(
        "metrics.listen is an address of this machine only",
        "/metrics has no password",
        "listen on 127.0.0.1, or let a firewall choose who may read it",
        when("metrics.listen", lambda f: not is_loopback(_address(f.document.metrics.listen)[0])),
        Severity.WARN,
    ),
)

RULES: Final[tuple[Rule, ...]] = (*LIMITS, *WIRING)
