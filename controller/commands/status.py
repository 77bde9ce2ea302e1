"""`curtaild status` and `curtaild explain`: what the site does, and why one miner is where it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from controller.commands.status_classes import class_lines
from controller.commands.tables import table
from controller.config import ConfigError, load_site
from controller.runtime.console import ConsoleRefusedError, ConsoleUnavailableError, ask
from controller.wire.canonical import canonical
from drivers.catalog import known_models

EXIT_DONE = 0
EXIT_REFUSED = 3
EXIT_NO_ANSWER = 4
UNKNOWN = "unknown"
# From what is wanted to what is there to what could be; figures a newer daemon adds come after these.
FIGURES = ("surplus", "cap", "target", "expected", "measured", "residual", "available_up", "available_down", "floor")
SHOWN_APART = ("allocated", "unallocated", "expected_error")  # in the line of the setpoint, or of another figure
BALANCE = {
    "other": "auxiliaries and losses",
    "hashing": "hashing",
    "waking": "booting",
    "asleep": "asleep",
    "quarantined": "quarantined",
    "contradicts": "contradicting the inventory",
    "unreachable": "unreachable",
    "parked": "given back",
    "unknown": "state unknown",
    "unexplained": "unexplained",
}

View = Mapping[str, Any]


def run_status(socket_path: Path, *, as_json: bool, out: TextIO, errors: TextIO) -> int:
    """Print the site's page; 0 when it was printed, 4 when no daemon answers."""
    return _show(socket_path, "status", {}, as_json, out, errors)


def run_explain(socket_path: Path, miner: str, *, as_json: bool, out: TextIO, errors: TextIO) -> int:
    """Print one miner's page; 0 when it was printed, 3 when there is no such miner, 4 when no daemon answers."""
    return _show(socket_path, "explain", {"miner": miner}, as_json, out, errors)


def socket_of_site(config_path: Path, env: Mapping[str, str]) -> Path:
    """Where the daemon of this site answers. Raises ValueError when the site file cannot say."""
    try:
        return load_site(config_path, known_models(), env).console_socket
    except ConfigError as error:
        raise ValueError(f"{error}\nname the socket instead: --socket PATH") from None


def _show(
    socket_path: Path, op: str, arguments: Mapping[str, object], as_json: bool, out: TextIO, errors: TextIO
) -> int:
    try:
        view = ask(socket_path, op, arguments)
    except ConsoleUnavailableError as error:
        print(error, file=errors)
        return EXIT_NO_ANSWER
    except ConsoleRefusedError as error:
        print(error, file=errors)
        return EXIT_REFUSED
    page = status_page(view) if op == "status" else explain_page(view)
    print(canonical(view) if as_json else "\n".join(page), file=out)
    return EXIT_DONE


def status_page(view: View) -> list[str]:
    """The lines of a site's page: first what is wanted and why, then what is known, then what happened."""
    figures = view["figures"]
    lines = [
        f"{view['site']}  {view['mode']}  cycle {view['cycle']}  {view['wall']}",
        "",
        *_setpoint_lines(view),
        f"fail-safe  {view.get('fail_safe', UNKNOWN)}",
        "",
        *table(_figure_rows(figures)),
        *_balance_lines(view["balance"], "would draw" if view.get("shadow") else "measured"),
    ]
    if view.get("shadow"):
        lines += ["", *_shadow_lines(view["shadow"])]
    progress = view.get("progress")
    if progress:
        reached = [f"{share} % {_seconds(progress[f'to_{share}_s'], 'not yet')}" for share in (50, 90, 100)]
        lines += ["", f"last order {progress['order']}: {', '.join(reached)}"]
    lines += ["", "inputs"]
    lines += table([_input_row(entry) for entry in view["inputs"]])
    if view.get("feeders"):
        lines += ["", "feeders with a meter"]
        lines += table([_feeder_row(feeder) for feeder in view["feeders"]])
    lines += ["", "miners     " + ", ".join(f"{count} {name}" for name, count in _by_count(view["miners"]))]
    if len(view.get("families", {})) > 1:
        lines += table([_family_row(name, family) for name, family in view["families"].items()])
    lines += class_lines(view)
    if view["quarantined"]:
        lines.append("quarantined  " + ", ".join(view["quarantined"]))
    if view.get("contradicting"):
        lines.append("contradicting the inventory  " + ", ".join(view["contradicting"]))
    if view["orders"]:
        lines += ["", "orders"]
        lines += table([_order_row(order) for order in view["orders"]])
    if view.get("scheduled"):
        lines += ["", "orders scheduled"]
        lines += table([_scheduled_row(order) for order in view["scheduled"]])
    if view["operator_caps"]:
        lines += ["", "caps of operators"]
        lines += table([_cap_row(cap) for cap in view["operator_caps"]])
    if view["events"]:
        lines += ["", "events"]
        lines += table([[e["at"], e["level"], e["name"], e["text"]] for e in view["events"]])
    versions = ", ".join(f"{name} {version}" for name, version in view["versions"].items())
    return [*lines, "", versions]


def explain_page(view: View) -> list[str]:
    """The lines of one miner's page: where it is, where it should be and why, and what was tried."""
    level, setpoint = view["level"] or "level unknown", view["setpoint"]
    feeder_kw, rating_kw, room_kw = (_kw(view[f"feeder_{name}"]) for name in ("kw", "rating_kw", "room_kw"))
    held_by = f" ({view['held_by']} is full)" if view.get("held_by") else ""
    above = [
        f"{limit['kind']:<10} {limit['name']}: {_kw(limit['kw'])} of {_kw(limit['rating_kw'])}"
        for limit in view.get("limits", [])
    ]
    lines = [
        f"{view['miner']}  {view['model']}",
        "",
        f"site       {_kw(setpoint['kw'])}, bound by {setpoint['bound']} ({setpoint['source']})",
        f"feeder     {view['feeder']}: {feeder_kw} of {rating_kw}, room for {room_kw}{_group_of(view)}",
        *above,
        f"merit      {view['merit']} of {view['miners']}, {view['joule_per_th']:g} J/TH",
        f"is         {view['condition']}, {_own_power(view)}, {level}",
        f"should be  {view['planned']}, because: {view['why']}{held_by}",
        f"expected   {_kw(view['expected_kw'])}" + (", a command is on its way" if view["in_flight"] else ""),
        f"verdict    {view['verdict']}; last told to sleep or wake {_ago(view['since_s'])}",
        f"last read  {_ago(view['telemetry_age_s'])}",
        f"before us  {view['prior'] or UNKNOWN}",
    ]
    if view.get("contradiction"):
        lines.append(f"contradicts the inventory: {view['contradiction']}")
    quarantine = view["quarantine"]
    if quarantine:
        lines.append(f"quarantine {quarantine['for_s'] / 60:.1f} min left, time {quarantine['times']}")
    lines += ["", "last commands"]
    return [*lines, *(table([_command_row(command) for command in view["commands"]]) or ["  none"])]


def _setpoint_lines(view: View) -> list[str]:
    """What the site should draw, as the sum of what was and was not placed, and what sets it."""
    setpoint, figures = view["setpoint"], view["figures"]
    wanted = f"setpoint   {_kw(setpoint['kw'])}"
    if setpoint["kw"] is not None:
        reason = figures["unallocated_reason"]
        left_kw = figures["unallocated_kw"]
        rest = f"+ {_kw(left_kw)} unallocated" if left_kw >= 0 else f"- {_kw(-left_kw)} ahead of the ramp"
        wanted += f" = {_kw(figures['allocated_kw'])} allocated {rest}"
        wanted += "" if reason == "none" else f" ({reason})"
    until = "" if setpoint["expires_at"] is None else f" until {setpoint['expires_at']}"
    shedding = ", shedding" if setpoint["shed"] else ""
    return [wanted, f"bound by   {setpoint['bound']} ({setpoint['source']}){until}{shedding}"]


def _shadow_lines(shadow: View) -> list[str]:
    """What it would have done, beside what the site did."""
    commands = ", ".join(f"{count} {verb}" for verb, count in _by_count(shadow["commands"])) or "none"
    rows = [["", "absorbed", "unused", "above the cap", "", "switches"]]
    for whose, words in (("shadow", "in our hands"), ("site", "as it is")):
        side = shadow[whose]
        energies = [f"{side[f'{part}_kwh']:.1f} kWh" for part in ("absorbed", "unused", "above_cap")]
        rows.append([words, *energies, _seconds(side["above_cap_s"]), side["switches"]])
    hours = shadow["compared_s"] / 3600.0
    return [
        f"shadow     would draw {_kw(shadow['load_kw'])}; compared for {hours:.2f} h; told nobody: {commands}",
        *table(rows),
    ]


def _balance_lines(balance: View, whose: str) -> list[str]:
    """Where the measured watts are; groups nobody is in are left out."""
    names = [*BALANCE, *(key.removesuffix("_kw") for key in balance if key.removesuffix("_kw") not in BALANCE)]
    parts = [(BALANCE.get(name, name), balance.get(f"{name}_kw", 0.0)) for name in names if name != "measured"]
    rows = [[words, _kw(kw)] for words, kw in parts if kw is None or kw]
    return ["", f"{whose:<11}{_kw(balance['measured_kw'])}, of which", *table(rows)]


def _input_row(entry: View) -> list[str]:
    meters = "+".join(entry["meters"])
    return [entry["name"], meters, entry["state"], entry["condition"], _seconds(entry["age_s"])]


def _family_row(name: str, family: View) -> list[str]:
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in _by_count(family["verdicts"]))
    commands = sum(family["commands"].values())
    return [name, f"{family['miners']} miners", f"{commands} commands", verdicts or "no verdict yet"]


def _feeder_row(feeder: View) -> list[str]:
    proved = f"agreed {_ago(feeder['proved_ago_s'])}" if feeder["proved_ago_s"] is not None else "never agreed"
    excess = f"{_kw(feeder['excess_kw'])} too much" if feeder["excess_kw"] else ""
    unproved = f"{feeder['unproved']} asleep by their own word alone" if feeder["unproved"] else ""
    shown = f"{_kw(feeder['load_kw'])} of which miners {_kw(feeder['believed_kw'])}"
    return [feeder["name"], shown, feeder["verdict"], proved, ", ".join(text for text in (excess, unproved) if text)]


def _cap_row(cap: View) -> list[str]:
    until = "until the daemon stops" if cap["expires_at"] is None else f"until {cap['expires_at']}"
    return [cap["operator"], _kw(cap["kw"]), until]


def _command_row(command: View) -> list[str]:
    verb = command["verb"] if command["level"] is None else f"{command['verb']} {command['level']}"
    outcome = command["outcome"] or "no outcome yet"
    detail = f" ({command['detail']})" if command["detail"] else ""
    verdict = command["verdict"] or "no verdict yet"
    return [_ago(command["ago_s"]), f"#{command['id']}", verb, f"for {command['reason']}", outcome + detail, verdict]


def _figure_rows(figures: View) -> list[list[str]]:
    known = {name.removesuffix("_kw"): value for name, value in figures.items() if name.endswith("_kw")}
    others = [name for name in known if name not in FIGURES and name not in SHOWN_APART]
    names = [name for name in FIGURES if name in known] + others
    error_kw = known.get("expected_error")
    plus_minus = {"expected": f" +- {_kw(error_kw)}, where power is estimated"} if error_kw else {}
    return [[name, _kw(known[name]) + plus_minus.get(name, "")] for name in names]


def _group_of(view: View) -> str:
    """What the feeder's meter shows, and proves of this miner if it tells no watts itself."""
    if view.get("feeder_verdict") is None:
        return ""
    text = f"; its meter shows {_kw(view['feeder_metered_kw'])}, group {view['feeder_verdict']}"
    if view.get("caught"):
        return f"{text}, and that this one draws though it says that it sleeps"
    return f"{text}, this one among them" if view.get("sleep_proved") else text


def _own_power(view: View) -> str:
    """What the miner says it draws, or what its hash rate makes of it."""
    power_kw, error_kw = view["power_kw"], view.get("estimate_error_kw")
    if power_kw is None or error_kw is None:
        return _kw(power_kw)
    return f"estimated {1000 * power_kw:.0f} W +- {1000 * error_kw:.0f} W"


def _by_count(miners: Mapping[str, int]) -> list[tuple[str, int]]:
    """States that occur, the most frequent first."""
    return sorted(((name, count) for name, count in miners.items() if count), key=lambda entry: -entry[1])


def _order_row(order: View) -> list[str]:
    reached = "reached" if order.get("reached") else "not reached yet"
    return [order["id"], order["issuer"], order["kind"], _kw(order["kw"]), f"until {order['expires_at']}", reached]


def _scheduled_row(order: View) -> list[str]:
    begins = f"starts in {_span(order['starts_in_s'])}, at {order['not_before']}"
    return [order["id"], order["issuer"], order["kind"], _kw(order["kw"]), begins, f"until {order['expires_at']}"]


def _span(seconds: float) -> str:
    """As people say it."""
    if seconds < 90.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.1f} min" if seconds < 5_400.0 else f"{seconds / 3600.0:.1f} h"


def _kw(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1f} kW"


def _seconds(value: float | None, otherwise: str = UNKNOWN) -> str:
    return otherwise if value is None else f"{value:.1f} s"


def _ago(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s ago"
