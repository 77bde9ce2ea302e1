"""Each way to get a site wrong, and the words a person gets: file, line, key, value, reason, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from controller.config.checks import Severity
from controller.config.wiring import RULES

if TYPE_CHECKING:
    from tests.config.conftest import Disk

SITE, FLEET = "site.toml", "fleet.csv"
WATCHDOG = {"WATCHDOG_USEC": "1000000"}


LIMIT_T = '[[limit]]\nname = "t"\nrating = "10 kW"\n'
FEEDER_METERS = "".join(
    f'[[meter]]\nid = "fa{n}"\nfeeds = "feeder"\nfeeder = "a"\nmap = "siemens_pac2200"\nhost = "10.0.0.{8 + n}"\n'
    'direction = "import"\n'
    for n in (1, 2)
)


@dataclass(frozen=True)
class Spoiled:
    """One edit of a good file and what the refusal must say, in this order."""

    file: str
    old: str
    new: str
    says: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    rule: str | None = None


def site(old: str, new: str, *says: str, env: Mapping[str, str] | None = None, rule: str | None = None) -> Spoiled:
    return Spoiled(SITE, old, new, says, env or {}, rule)


def add(section: str, lines: str, *says: str, env: Mapping[str, str] | None = None, rule: str | None = None) -> Spoiled:
    return site(f"[{section}]\n", f"[{section}]\n{lines}\n", *says, env=env, rule=rule)


def fleet(old: str, new: str, *says: str, env: Mapping[str, str] | None = None) -> Spoiled:
    return Spoiled(FLEET, old, new, says, env or {})


FORM = {
    "a bare number": site(
        'cycle = "1 s"',
        "cycle = 1",
        "site.toml:8: control.cycle = 1: a bare int has no unit, and a duration",
        'example "10 s"',
    ),
    "a number without unit": site('cycle = "1 s"', 'cycle = "1"', 'control.cycle = "1": a number without its unit'),
    "a power for a duration": site(
        'cycle = "1 s"', 'cycle = "5 kW"', 'site.toml:8: control.cycle = "5 kW": kW is a unit of power, and a duration'
    ),
    "an energy for a power": site(
        '"20 kW"',
        '"20 kWh"',
        'site.toml:3: site.rated = "20 kWh": kWh is a unit of energy, and a power',
        'example "420 kW"',
    ),
    "a capital too many": site('"20 kW"', '"20 KW"', 'site.rated = "20 KW"', "did you mean kW?"),
    "a missing key": site(
        'rated = "20 kW"\n', "", "site.toml:1: site.rated: this key is missing", "Add rated under [site]"
    ),
    "a missing section": site("[site]\n", "[control.x]\n", "site: this section is missing", "Add [site]"),
    "an unknown key": site(
        "cycle =", "cylce =", 'site.toml:8: control.cylce = "1 s": this key is not known', "cycle is meant"
    ),
    "an unknown key of a meter": site(
        'map = "siemens', 'mapp = "siemens', "site.toml:25: meter.poi.mapp", "this key is not known", "map is meant"
    ),
    "an unknown section": site(
        "[ramp]", "[rmap]", "site.toml:10: rmap = {...}: this key is not known", "ramp is meant"
    ),
    "a choice that is none": add(
        "control", 'mode = "watch"', 'mode = "watch": ', "Write one of 'control', 'observe' or 'shadow'"
    ),
    "a switch in quotes": add("control", 'trim = "yes"', 'trim = "yes": true or false is expected', "without quotes"),
    "a number in quotes": add("dispatch", 'port = "1883"', 'dispatch.port = "1883": a whole number is expected'),
    "a port out of range": add("dispatch", "port = 99999", "dispatch.port = 99999: this is too large", "at most 65535"),
    "a miner that may not restart": add("fleet", "restarts_per_day = 1", "restarts_per_day = 1", "at least 2"),
    "no attempts at all": add("verify", "attempts = 0", "verify.attempts = 0: this is too small", "at least 1"),
    "a site id with a space": site(
        '"hill"', '"Hill 1"', 'site.toml:2: site.id = "Hill 1"', "characters are not allowed"
    ),
    "a secret in the file": add(
        "dispatch",
        'password = "hunter2"',
        'dispatch.password = "***": this looks like a secret',
        "under password_secret",
    ),
    "a secret in a host": add(
        "dispatch", 'host = "u:hunter2@broker"', 'dispatch.host = "***": these characters are not'
    ),
    "a single bracket": site("[[feeder]]", "[feeder]", "feeder = {...}: this section repeats", "[[feeder]]"),
    "no TOML": site("[site]", "[site", "site.toml: site file: this is not TOML", "line 1", "Mend the syntax"),
}

CONTRADICTIONS = {
    "a cap above the rating": add(
        "site", 'cap = "21 kW"', 'site.cap = "21 kW"', 'site.rated = "20 kW"', "Lower the cap"
    ),
    "auxiliaries that fill the cap": add(
        "site", 'cap = "1 kW"', 'site.auxiliary = "1 kW": no watt is left', 'cap = "1 kW"'
    ),
    "a fallback above the cap": add(
        "site",
        'cap = "9 kW"\nfallback = "10 kW"',
        'site.toml:3: site.fallback = "10 kW"',
        'site.cap = "9 kW"',
        "Lower the",
    ),
    "a span below the rating": site('"150 kW"', '"15 kW"', "site.rated", "implausible", 'power_span = "15 kW"'),
    "a margin of everything": add("control", 'surplus_margin = "100 %"', "control.surplus_margin", "no surplus"),
    "a deadband above the margin": add(
        "control", 'deadband_down = "2 %"', 'deadband_down = "2 %"', 'surplus_margin = "1 %"'
    ),
    "a tolerance within rounding": add(
        "control", 'household_tolerance = "1 kW"', "rounding alone", "meters' resolution"
    ),
    "a cycle as slow as stale": site('cycle = "1 s"', 'cycle = "3 s"', 'control.cycle = "3 s"', 'hold_after = "3 s"'),
    "a cycle as slow as the watchdog": site(
        "[ramp]", "[ramp]", 'site.toml:8: control.cycle = "1 s": systemd would kill', "raise WatchdogSec", env=WATCHDOG
    ),
    "hold after freeze": add(
        "failsafe", 'hold_after = "11 s"', 'hold_after = "11 s": doubt grows', 'freeze_after = "10 s"'
    ),
    "freeze after fallback": add(
        "failsafe", 'freeze_after = "31 s"', "failsafe.freeze_after", 'fallback_after = "30 s"'
    ),
    "frozen before stale": add("failsafe", 'frozen_after = "2 s"', "failsafe.hold_after", 'frozen_after = "2 s"'),
    "a guard that never trips": add("failsafe", 'frequency_min = "49.5 Hz"', "the guard could never trip"),
    "a guard at the nominal": add("failsafe", 'frequency_guard = "50 Hz"', 'frequency_guard = "50 Hz"', "emergency"),
    "a grid never believed": add("failsafe", 'frequency_max = "49.9 Hz"', "site.frequency", "would not be believed"),
    "15 s up beyond the minute": add("ramp", 'up_15s = "50 %"', 'ramp.up_15s = "50 %"', 'ramp.up = "1.6 kW/min"'),
    "15 s down beyond the minute": add(
        "ramp", 'down = "2 %/min"\ndown_15s = "3 %"', "ramp.down_15s", 'down = "2 %/min"'
    ),
    "a deadline beyond the sweep": add(
        "fleet", 'call_deadline = "10 s"', "fleet.call_deadline", 'sweep_period = "10 s"'
    ),
    "telemetry stale before the sweep": add(
        "verify", 'telemetry_stale = "10 s"', "fleet.sweep_period", "to some sweeps"
    ),
    "a window that a sweep does not fit into": add(
        "fleet", 'mass_disconnect_window = "9 s"', "fleet.sweep_period", "one by one", 'mass_disconnect_window = "9 s"'
    ),
    "a mass of nobody": add("fleet", 'mass_disconnect_share = "1 %"', 'mass_disconnect_share = "1 %"', "2 %"),
    "more wakes than commands": add(
        "fleet", "commands_per_cycle = 1", "fleet.wakes_per_cycle = 2: a wake is a command"
    ),
    "a skew beyond the window": add(
        "dispatch", 'clock_skew = "30 s"', "dispatch.clock_skew", 'issued_at_window = "30 s"'
    ),
    "dwell below the boot": add("fleet", 'dwell_on = "44 s"', 'fleet.dwell_on = "44 s"', "before it ever hashed"),
    "a tolerance that hides a miner": add(
        "verify", 'tolerance_min = "1 kW"', "asleep and hashing", "Lower tolerance_min"
    ),
    "a poll as slow as stale": site(
        "map =",
        'poll = "5 s"\nmap =',
        'site.toml:25: meter.poi.poll = "5 s"',
        'failsafe.hold_after = "3 s"',
        "Poll more often",
    ),
    "a deadline as long as the poll": site(
        "map =", 'deadline = "1 s"\nmap =', "meter.poi.deadline", "Shorten the deadline"
    ),
    "pauses that shrink": site("map =", 'reconnect_first = "6 s"\nmap =', "meter.poi.reconnect_first", "only grows"),
    "a heartbeat outrun": add("failsafe", 'dcs_heartbeat_after = "1.5 s"', "meter.dcs.poll", "dead plant controller"),
    "no site meter": site('feeds = "site_load"', 'feeds = "poi_export"', "no meter feeds site_load", "Add a [[meter]]"),
    "two meters of one feed": site(
        'feeds = "site_load"', 'feeds = "poi_export"', "meter.load.feeds", "meter 'poi' already"
    ),
    "two meters of one id": site('id = "load"', 'id = "poi"', "site.toml:30: meter.poi.id", "share an id"),
    "two meters at one address": site(
        "10.0.0.2", "10.0.0.1", "site.toml:33: meter.load.host", "meter 'poi' already has it"
    ),
    "a meter without direction": site(
        'direction = "export"\n', "", "meter.poi.direction", "turn the surplus round", "known state"
    ),
    "a plant block with direction": site(
        '"10.0.0.3"', '"10.0.0.3"\ndirection = "export"', "meter.dcs.direction", "already says it", "Remove direction"
    ),
    "a feeder meter of no feeder": site(
        'feeds = "site_load"', 'feeds = "feeder"', "meter.load.feeder", "nobody can place", "[[feeder]]"
    ),
    "a feeder meter of another site's feeder": site(
        'feeds = "site_load"', 'feeds = "feeder"\nfeeder = "b"', 'meter.load.feeder = "b"', "correct feeds"
    ),
    "a plant block on a feeder": site('feeds = "plant"', 'feeds = "plant"\nfeeder = "a"', "meter.dcs.feeder"),
    "two meters of one feeder": site(
        "[dispatch]", FEEDER_METERS + "[dispatch]", "meter.fa2.feeds", "meter 'fa1' already has it"
    ),
    "a feeder meter without direction": site(
        "[dispatch]", FEEDER_METERS.replace('direction = "import"', "") + "[dispatch]", "meter.fa1.direction"
    ),
    "no feeder": site('[[feeder]]\nname = "a"\nrating = "20 kW"\n', "", "feeder: miners need one", "Add a [[feeder]]"),
    "two feeders of one name": site(
        "[dispatch]", '[[feeder]]\nname = "a"\nrating = "1 kW"\n[dispatch]', "feeder.a.name", "share a name"
    ),
    "two limits of one name": site("[dispatch]", 2 * LIMIT_T + "[dispatch]", "limit.t.name", "share a name"),
    "a limit called like a feeder": site("[dispatch]", LIMIT_T.replace('"t"', '"a"') + "[dispatch]", "limit.a.name"),
    "a feeder on no limit": site(
        'rating = "20 kW"\n\n[[m', 'rating = "20 kW"\nlimit = "t"\n\n[[m', 'feeder.a.limit = "t"', "no such limit"
    ),
    "a limit on no limit": site(
        "[dispatch]", LIMIT_T + 'parent = "u"\n[dispatch]', 'limit.t.parent = "u"', "name of a [[limit]]"
    ),
    "a limit below itself": site(
        "[dispatch]", LIMIT_T + 'parent = "t"\n[dispatch]', 'limit.t.parent = "t"', "lead back to it"
    ),
    "a lease without a broker": add("dispatch", 'lease = "required"', 'dispatch.lease = "required"', "dispatch.host"),
    "a name without a password": add("dispatch", 'username = "u"', 'dispatch.username = "u"', "Set both or neither"),
    "certificates without TLS": add("dispatch", 'ca_file = "ca.pem"', "dispatch.ca_file", "Set tls to true"),
    "half a certificate": add(
        "dispatch", 'tls = true\ncertificate_file = "c.pem"', "dispatch.certificate_file", "come together"
    ),
    "a certificate without TLS": add(
        "dispatch",
        'certificate_file = "c.pem"\nkey_file = "k.pem"',
        'certificate_file = "c.pem": one alone',
        "Set all three",
    ),
    "a listener on a meter's address": add(
        "metrics", 'listen = "10.0.0.1:502"', "metrics.listen", "meter 'poi'", "another port"
    ),
    "a listener without a port": add("metrics", 'listen = "127.0.0.1:70000"', "metrics.listen", "no TCP port"),
    "a socket path too long": site(
        "[metrics]",
        f'[console]\nsocket = "/{"x" * 107}"\n[metrics]',
        "console.socket",
        "at most 107 bytes",
        "shorter path",
    ),
    "a watchdog that is no number": site(
        "[ramp]", "[ramp]", '$WATCHDOG_USEC = "soon": this is no number', env={"WATCHDOG_USEC": "soon"}
    ),
    "a secret nobody holds": add(
        "dispatch",
        'username = "u"\npassword_secret = "mqtt-password"',
        'dispatch.password_secret = "mqtt-password": nobody holds this secret',
        "LoadCredential=mqtt-password",
        "$CURTAILD_SECRET_MQTT_PASSWORD",
    ),
}

INVENTORY = {
    "an unknown column": fleet(",feeder,", ",feedr,", 'fleet.csv:1: column = "feedr": this column is not known'),
    "a missing column": fleet(
        ",feeder,", ",feedr,", 'column = "feeder": this column is missing', "Add it to the header"
    ),
    "a column twice": fleet(",credential,", ",feeder,", 'column = "feeder": this column stands there twice'),
    "semicolons": fleet(
        "id,model,firmware,host,port,feeder,credential,cap_profile,enabled", "id;model;host", "not separated"
    ),
    "an id twice": fleet("m-2,", "m-1,", 'fleet.csv:3: id = "m-1": line 2 already uses this id'),
    "an id with a slash": fleet("m-2,", "m/2,", 'fleet.csv:3: id = "m/2": this is no name'),
    "an address twice": fleet("10.0.1.2", "10.0.1.1", 'fleet.csv:3: host = "10.0.1.1:4028": line 2 already uses'),
    "an unfinished address": fleet("10.0.1.2", "10.0.1.", 'fleet.csv:3: host = "10.0.1.": this is no IP address'),
    "a host name": fleet("10.0.1.2", "miner-2", 'host = "miner-2": this is no IP address'),
    "every address": fleet("10.0.1.2", "0.0.0.0", "no miner can have this address"),
    "port zero": fleet("1.2,4028", "1.2,0", 'fleet.csv:3: port = "0": this is no TCP port'),
    "a web port beyond the last": fleet(
        "credential,cap_profile,enabled\nm-1,Big,LuxOS,10.0.1.1,4028,a,,,",
        "credential,cap_profile,web_port\nm-1,Big,LuxOS,10.0.1.1,4028,a,,,65536",
        'fleet.csv:2: web_port = "65536": this is no TCP port',
    ),
    "a port in words": fleet("1.2,4028", "1.2,api", 'fleet.csv:3: port = "api"'),
    "an unknown feeder": fleet(
        ",a,,low", ",b,,low", 'fleet.csv:3: feeder = "b": the site file defines no such', "are: a."
    ),
    "an unknown model": fleet("m-2,Big", "m-2,Bog", 'fleet.csv:3: model = "Bog": no driver', "Known are: Big, Small"),
    "an unknown firmware": fleet("m-2,Big,LuxOS", "m-2,Big,lux", 'firmware = "lux"', "Known are: LuxOS, Other"),
    "an unknown profile": fleet(",a,,low", ",a,,lo", 'cap_profile = "lo"', "Write one of: low, default, hot"),
    "a secret in the inventory": fleet(
        ",a,,low", ",a,s3cret!,low", 'credential = "***": this is no name', "never the secret"
    ),
    "a credential nobody holds": fleet(
        ",a,,low", ",a,luxos-1,low", 'fleet.csv:3: credential = "luxos-1": nobody holds'
    ),
    "neither yes nor no": fleet("low,yes", "low,maybe", 'enabled = "maybe": this is neither', "Write yes or no"),
    "a row too short": fleet("low,yes", "low", "fleet.csv:3: row", "8 fields and the header has 9"),
    "an open quote": fleet("m-3,", '"m-3,', "fleet.csv:4: row", "Check the quotes"),
    "no miner enabled": fleet(
        "m-1,Big,LuxOS,10.0.1.1,4028,a,,,\nm-2,Big,LuxOS,10.0.1.2,4028,a,,low,yes\n",
        "",
        "site.toml",
        "fleet.inventory",
        "nothing to",
    ),
}

ROWS = {**FORM, **CONTRADICTIONS, **INVENTORY}


@pytest.mark.parametrize("name", ROWS)
def test_a_spoiled_site_is_refused_in_words_that_say_what_to_mend(disk: Disk, name: str) -> None:
    row = ROWS[name]
    disk.edit(disk.site if row.file == SITE else disk.fleet, row.old, row.new)
    text = str(disk.refused(row.env))
    position = 0
    for part in row.says:
        found = text.find(part, position)
        assert found >= 0, f"{part!r} is not in, or not in this order in: {text}"
        position = found


def test_every_rule_that_refuses_has_a_row_that_breaks_it(disk: Disk) -> None:
    good = (disk.site.read_text(), disk.fleet.read_text())
    seen = ""
    for row in ROWS.values():
        disk.write(*good)
        disk.edit(disk.site if row.file == SITE else disk.fleet, row.old, row.new)
        seen += str(disk.refused(row.env)) + "\n"
    unbroken = [
        rule.states for rule in RULES if rule.severity is Severity.REFUSE and f"(rule: {rule.states}" not in seen
    ]
    assert unbroken == []


def test_all_problems_of_a_file_come_at_once_up_to_twenty(disk: Disk) -> None:
    rows = "".join(f"x-{n},Big,LuxOS,10.0.2.{n},0,zz,,,\n" for n in range(1, 16))
    disk.fleet.write_text(disk.fleet.read_text() + rows)
    error = disk.refused()
    assert len(error.problems) == 30
    lines = str(error).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "... and 10 more; mend these first"


def test_a_missing_site_file_and_a_missing_inventory_are_said_so(disk: Disk) -> None:
    disk.fleet.unlink()
    assert "fleet.csv: inventory: this file does not exist" in str(disk.refused())
    disk.site.unlink()
    assert "site.toml: site file: this file does not exist" in str(disk.refused())
