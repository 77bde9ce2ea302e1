"""The sections about what lies outside the plan: meters, the broker, restarts, journal, metrics, console and log."""

from __future__ import annotations

from typing import Literal

from controller.config.quantities import Duration, DurationOrZero, Size, SomePower
from controller.config.section import HOST_PATTERN, LISTEN_PATTERN, NAME_PATTERN, Port, Section, key


class MeterSettings(Section):
    """One Modbus TCP device; repeat [[meter]] for each. Following the surplus needs poi_export, site_load and plant."""

    id: str = key("name used in messages, metrics and the journal", why="names the meter", pattern=NAME_PATTERN)
    feeds: Literal["poi_export", "site_load", "plant", "feeder"] = key(
        "what it measures: the point of interconnection, the site's own load, the plant's DCS block, or one feeder",
        why="wiring",
    )
    feeder: str | None = key(
        "the [[feeder]] it measures: proves together the miners that tell no watts, not needed to follow the surplus",
        None,
        derived="none: only a meter that feeds `feeder` has one",
        why="wiring",
        pattern=NAME_PATTERN,
    )
    map: str = key("register map, one of `drivers/modbus/maps`", why="model and variant of the meter", min_length=1)
    host: str = key("address or host name", why="wiring", pattern=HOST_PATTERN)
    port: Port = key("TCP port", 502, why="Modbus TCP")
    unit_id: int = key("Modbus unit identifier", 1, why="what most devices ship with", ge=0, le=255)
    direction: Literal["import", "export"] | None = key(
        "which way power flows when this meter reads positive: export = towards the grid, import = into the load. "
        "Required for all but plant, where it is not allowed",
        None,
        derived="none: the map of a plant block says it",
        why="depends on how the CTs were mounted; never guessed",
    )
    poll: Duration = key("time from one read to the next", "1 s", why="what dispatchers expect of telemetry")
    deadline: Duration = key("one read, all included", "0.5 s", why="a meter on a good network answers in 0.05 s")
    connect_deadline: Duration = key("one connection attempt", "2 s", why="one lost packet is sent again after 1 s")
    reconnect_first: Duration = key(
        "pause after the first failed connection; it doubles", "0.2 s", why="a restart is short"
    )
    reconnect_max: Duration = key(
        "longest pause between connection attempts", "5 s", why="back within one freeze_after"
    )
    resolution: SomePower = key("smallest step of its power reading", "1 kW", why="the coarsest of the maps shipped")


class DispatchSettings(Section):
    """Commands over MQTT. Without a host there is no dispatcher: the site follows its meters alone."""

    lease: Literal["required", "none"] = key(
        "required: start in fail-safe and leave it only on heartbeat and a fresh order",
        "none",
        why="a site on surplus alone is governed by its meters",
    )
    host: str | None = key("the broker", None, derived="no dispatch", why="none is assumed", pattern=HOST_PATTERN)
    port: Port = key("TCP port of the broker", 1883, why="MQTT; with TLS it is usually 8883")
    tls: bool = key("speak TLS to the broker", False, why="a broker on this machine needs none")
    ca_file: str | None = key("certificates to trust (PEM)", None, derived="the system's", why="a private CA needs it")
    certificate_file: str | None = key(
        "our certificate towards the broker (PEM)", None, derived="none shown", why="brokers with passwords need none"
    )
    key_file: str | None = key(
        "path of that certificate's private key (PEM)", None, derived="none", why="goes with certificate_file"
    )
    username: str | None = key("name at the broker", None, derived="anonymous", why="none is assumed", min_length=1)
    password_secret: str | None = key(
        "name of the secret that holds the password",
        None,
        derived="no password",
        why="none is assumed",
        pattern=NAME_PATTERN,
    )
    heartbeat_lost_after: Duration = key(
        "the dispatcher is lost without a heartbeat for this long", "120 s", why="grid practice"
    )
    clock_skew: DurationOrZero = key("how far clocks may differ", "2 s", why="NTP that works is far better")
    issued_at_window: Duration = key("an order issued longer ago is refused", "30 s", why="an old order is a replay")
    lifetime_max: Duration = key("an order valid for longer is refused", "24 h", why="a forgotten order must end")
    active_max: int = key(
        "orders in force, and orders scheduled", 32, why="a screenful; more is a mistake upstream", ge=1, le=1000
    )
    remembered_ids: int = key(
        "ids of past orders kept to refuse duplicates", 10000, why="a day of one order every 9 s", ge=100
    )


class RestartRules(Section):
    """When a daemon that dies again and again starts in safe mode: see docs/safety.md."""

    crash_limit: int = key(
        "ends that were no orderly stop, within crash_window, after which the next start is in safe mode",
        5,
        why="one crash is bad luck, five in a row are a cause that is still there",
        ge=2,
        le=100,
    )
    crash_window: Duration = key("how far back such ends count", "10 min", why="a crash in an early cycle comes in 5 s")


class JournalSettings(Section):
    """The record of inputs, decisions, commands and outcomes (SQLite)."""

    directory: str | None = key(
        "where it lives",
        None,
        derived="$STATE_DIRECTORY (set by systemd), else `state/<site id>` beside the site file",
        why="systemd makes and owns it",
        min_length=1,
    )
    retention: Duration = key(
        "rows older than this are dropped", "90 d", why="the longest log retention found required"
    )
    size_max: Size = key("the oldest rows go when the journal grows beyond this", "4 GB", why="spares small disks")


class MetricsSettings(Section):
    """Prometheus."""

    listen: str = key(
        "address and port of /metrics; port 0 takes any free one",
        "127.0.0.1:9464",
        why="this machine only",
        pattern=LISTEN_PATTERN,
    )


class ConsoleSettings(Section):
    """The local socket of `curtaild status` and `curtaild explain`."""

    socket: str | None = key(
        "path of the UNIX socket",
        None,
        derived="`control.sock` in $RUNTIME_DIRECTORY (set by systemd), else in the journal's directory",
        why="systemd makes and owns it",
        min_length=1,
    )


class LogSettings(Section):
    """What the process writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = key(
        "least level written", "info", why="a line per event, not per cycle"
    )
    format: Literal["auto", "json", "pretty"] = key(
        "auto: pretty on a terminal, JSON elsewhere", "auto", why="fits both"
    )
