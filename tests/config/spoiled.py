"""Sites spoiled one edit at a time, and what each refusal says: file, line, key, value, reason, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SITE, FLEET = "site.toml", "fleet.csv"


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
