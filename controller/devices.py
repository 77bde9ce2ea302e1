"""From the site's configuration to what talks to the world: drivers, pollers, the dispatcher's mailbox, sockets."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable

from controller.config import SiteConfig
from controller.config.outside_sections import MeterSettings
from controller.config.resolve import POINTS_OF_FEED, direction_sign
from controller.config.site import Broker
from controller.core import flight
from controller.domain.command import Command
from controller.domain.dispatch import Received
from controller.domain.fleet import Fleet
from controller.domain.metering import MeterError, Point, Readings, Sample
from controller.domain.plan import Event
from controller.domain.policy import Mode
from controller.ports import Load, Meter
from controller.runtime.inbox import InboxLimits, MqttInbox
from controller.runtime.journal import JournalLimits, SqliteJournal
from controller.runtime.journal_lock import DISK_FAILED
from controller.runtime.mqtt_link import BrokerSettings, TlsSettings
from controller.runtime.poller import Poller
from drivers import catalog
from drivers.catalog import known_models

__all__ = [
    "StartRefusedError",
    "build_inbox",
    "build_loads",
    "build_miners",
    "build_pollers",
    "known_models",
    "open_journal",
    "raise_socket_limit",
    "refuse_what_cannot_start",
    "settle_time",
]

SOCKETS_PER_MINER = 2  # a read that was abandoned may still be closing while the command goes out
SOCKETS_BESIDE = 128  # meters, broker, journal, metrics, console, and what Python holds open


class StartRefusedError(Exception):
    """The daemon cannot start; the text says what is wrong and what to do."""


def build_miners(config: SiteConfig, spent: Callable[[int], int] = lambda index: 0) -> list[catalog.Miner]:
    """One driver per miner, in the fleet's order; sends nothing.

    spent: by the miner's index, what commands of the last 24 h have already cost of `fleet.restarts_per_day`.
    """
    rules = config.document.fleet
    miners: list[catalog.Miner] = []
    for index, miner in enumerate(config.miners):
        credential = config.credential_of(miner)
        miners.append(
            catalog.build_miner(
                miner_id=miner.miner_id,
                index=index,
                model=miner.model_name,
                firmware=miner.firmware,
                host=miner.host,
                port=miner.port,
                username=None if credential is None else credential.username,
                password=None if credential is None else credential.password.get_secret_value(),
                deadline_s=rules.call_deadline,
                web_port=miner.web_port,
                writes_per_day=rules.restarts_per_day,
                wear_today=spent(index),
            )
        )
    return miners


def build_loads(config: SiteConfig, mode: Mode, spent: Callable[[int], int]) -> list[Load]:
    """What the actuator drives, in the fleet's order; outside control mode none of it sends a command."""
    miners = build_miners(config, spent)
    if mode is Mode.CONTROL:
        return list(miners)
    return [catalog.build_dry_run(miner, index=index) for index, miner in enumerate(miners)]


def build_pollers(
    config: SiteConfig,
    put: Callable[[Readings], None],
    put_feeder: Callable[[int, Sample], None],
    failed: Callable[[str, MeterError], None],
) -> list[Poller]:
    """One per meter, staggered over the shortest beat; a feeder's load goes to `put_feeder` with the feeder's index.

    Raises StartRefusedError.
    """
    settings = config.meters
    shortest = min((entry.poll for entry in settings), default=1.0)
    feeders = [feeder.name for feeder in config.document.feeder]

    def destination(entry: MeterSettings) -> Callable[[Readings], None]:
        if entry.feeder is None:
            return put
        index = feeders.index(entry.feeder)
        return lambda readings: put_feeder(index, readings[Point.FEEDER_LOAD_W])

    return [
        Poller(
            meter, period_s=entry.poll, phase_s=number * shortest / len(settings), put=destination(entry), failed=failed
        )
        for number, (entry, meter) in enumerate(zip(settings, build_meters(config), strict=True))
    ]


def build_inbox(
    config: SiteConfig, on_received: Callable[[Received], None], on_link: Callable[[bool, str], None]
) -> MqttInbox | None:
    """The dispatcher's mailbox; None for a site without a broker."""
    broker = config.broker
    if broker is None:
        return None
    password = None if broker.password is None else broker.password.get_secret_value()
    settings = BrokerSettings(broker.host, broker.port, broker.username, password, _tls(broker))
    return MqttInbox(settings, config.site_id, on_received=on_received, on_link=on_link, limits=InboxLimits())


def open_journal(config: SiteConfig, tell: Callable[[Event], None]) -> SqliteJournal:
    """The site's journal, its directory made where it is missing. Raises StartRefusedError and the journal's own."""
    settings, path = config.document.journal, config.journal_path
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        if error.errno not in DISK_FAILED:  # a disk that failed is an alarm, a path that cannot be is a mistake
            detail = f"{path.parent}, the journal's directory, cannot be made: {error.strerror}"
            raise StartRefusedError(detail) from None
    return SqliteJournal(path, JournalLimits(keep_s=settings.retention, keep_bytes=settings.size_max), tell)


def refuse_what_cannot_start(running: SiteConfig, new: SiteConfig) -> None:
    """What a reload would fail on or lose, found out while the old files still serve. Raises StartRefusedError.

    The configuration's own checks have passed; this is about the world: register maps, sockets, places.
    """
    for key, before, after in (
        ("site.id", running.site_id, new.site_id),
        ("journal.directory", running.journal_directory, new.journal_directory),
        ("console.socket", running.console_socket, new.console_socket),
    ):
        if before != after:
            raise StartRefusedError(f"{key} is {before} and cannot become {after} while we run; restart the service")
    raise_socket_limit(len(new.miners))
    build_meters(new)
    if new.metrics_address != running.metrics_address and new.metrics_address[1]:
        host, port = new.metrics_address
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        except OSError as error:
            raise StartRefusedError(f"metrics.listen {host}:{port}: {error.strerror or error}") from None


def settle_time(facts: Fleet) -> Callable[[Command], float]:
    """Seconds after which a command's effect should show, so that the next read can prove it: dead time and most of
    the way."""

    def settle_s(command: Command) -> float:
        dead_s, to_90_s = flight.response_s(facts, command.verb)
        return float(dead_s[command.miner] + 1.5 * to_90_s[command.miner])

    return settle_s


def raise_socket_limit(miners: int) -> None:
    """Make room for every socket this fleet may need at once. Raises StartRefusedError with the number needed."""
    needed = SOCKETS_PER_MINER * miners + SOCKETS_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise StartRefusedError(
            f"{miners} miners need up to {needed} open files, this process may have {hard}: "
            f"set LimitNOFILE={needed} in the unit, or raise `ulimit -Hn`"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def build_meters(config: SiteConfig) -> list[Meter]:
    """One driver per meter, in the configuration's order; opens nothing. Raises StartRefusedError with a line for each
    that cannot be built."""
    meters: list[Meter] = []
    problems: list[str] = []
    for entry in config.meters:
        try:
            meters.append(_build_meter(config, entry))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise StartRefusedError("\n".join(problems))
    return meters


def _build_meter(config: SiteConfig, entry: MeterSettings) -> Meter:
    return catalog.build_meter_for(
        meter_id=entry.id,
        feeds=POINTS_OF_FEED[entry.feeds],
        map_name=entry.map,
        host=entry.host,
        port=entry.port,
        unit_id=entry.unit_id,
        direction=1 if direction_sign(entry) > 0 else -1,
        span_w=config.document.site.power_span,
        deadline_s=entry.deadline,
        connect_deadline_s=entry.connect_deadline,
        reconnect_first_s=entry.reconnect_first,
        reconnect_max_s=entry.reconnect_max,
    )


def _tls(broker: Broker) -> TlsSettings | None:
    if not broker.tls:
        return None
    files = (broker.ca_file, broker.certificate_file, broker.key_file)
    return TlsSettings(*(None if file is None else str(file) for file in files))
