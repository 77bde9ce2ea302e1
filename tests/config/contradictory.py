"""Sites whose keys are fine one by one and contradict each other, and what each refusal says."""

from __future__ import annotations

from tests.config.spoiled import add, site

WATCHDOG = {"WATCHDOG_USEC": "1000000"}

LIMIT_T = '[[limit]]\nname = "t"\nrating = "10 kW"\n'
FEEDER_METERS = "".join(
    f'[[meter]]\nid = "fa{n}"\nfeeds = "feeder"\nfeeder = "a"\nmap = "siemens_pac2200"\nhost = "10.0.0.{8 + n}"\n'
    'direction = "import"\n'
    for n in (1, 2)
)

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
