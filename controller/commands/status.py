"""`curtaild status` and `curtaild explain`: what the site does, and why one miner is where it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

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

View = Mapping[str, Any]


def run_status(socket_path: Path, *, as_json: bool, out: TextIO, errors: TextIO) -> int:
    """Print the site's page; 0 when it was printed, 4 when no daemon answers."""
    return _show(socket_path, "status", {}, as_json, out, errors)


def run_explain(socket_path: Path, miner: str, *, as_json: bool, out: TextIO, errors: TextIO) -> int:
    """Print one miner's page; 0 when it was printed, 3 when there is no such miner, 4 when no daemon answers."""
    return _show(socket_path, "explain", {"miner": miner}, as_json, out, errors)


def run_order(socket_path: Path, op: str, miners: list[str], *, out: TextIO, errors: TextIO) -> int:
    """Adopt or unquarantine miners ([] means all); 0 when taken, 3 when refused, 4 when no daemon answers."""
    try:
        taken = ask(socket_path, op, {"miners": miners})
    except ConsoleUnavailableError as error:
        print(error, file=errors)
        return EXIT_NO_ANSWER
    except ConsoleRefusedError as error:
        print(error, file=errors)
        return EXIT_REFUSED
    print(f"{taken['accepted']}: {taken['miners']} miners", file=out)
    return EXIT_DONE


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
    setpoint, figures = view["setpoint"], view["figures"]
    shedding = ", shedding" if setpoint.get("shed") else ""
    lines = [
        f"{view['site']}  {view['mode']}  cycle {view['cycle']}  {view['wall']}",
        "",
        f"bound by   {setpoint['bound']} ({setpoint['source']}){shedding}",
        f"fail-safe  {view.get('fail_safe', UNKNOWN)}",
        "",
        *_table(_figure_rows(figures)),
    ]
    if figures.get("unallocated_reason", "none") != "none":
        lines.append(f"not placed because of {figures['unallocated_reason']}")
    progress = view.get("progress")
    if progress:
        reached = [f"{share} % {_seconds(progress[f'to_{share}_s'], 'not yet')}" for share in (50, 90, 100)]
        lines += ["", f"last move  {progress['order']}: {', '.join(reached)}"]
    lines += ["", "inputs"]
    lines += _table([[i["name"], i["state"], i["condition"], _seconds(i["age_s"])] for i in view["inputs"]])
    lines += ["", "miners     " + ", ".join(f"{count} {name}" for name, count in _by_count(view["miners"]))]
    if view["quarantined"]:
        lines.append("quarantined  " + ", ".join(view["quarantined"]))
    if view["orders"]:
        lines += ["", "orders"]
        lines += _table([_order_row(order) for order in view["orders"]])
    if view["events"]:
        lines += ["", "events"]
        lines += _table([[e["at"], e["level"], e["name"], e["text"]] for e in view["events"]])
    versions = ", ".join(f"{name} {version}" for name, version in view["versions"].items())
    return [*lines, "", versions]


def explain_page(view: View) -> list[str]:
    """The lines of one miner's page: where it is, where it should be and why, and what was tried."""
    level = view["level"] or "level unknown"
    lines = [
        f"{view['miner']}  {view.get('model', '')}  {view.get('feeder', '')}".rstrip(),
        "",
        f"is         {view['condition']}, {_kw(view['power_kw'])}, {level}",
        f"should be  {view['planned']}, because: {view['why']}",
        f"verdict    {view['verdict']}, unchanged for {_seconds(view['since_s'])}",
    ]
    if "telemetry_age_s" in view:
        lines.append(f"last read  {_seconds(view['telemetry_age_s'])} ago")
    if view.get("prior"):
        lines.append(f"before us  {view['prior']}")
    if view["quarantine"]:
        quarantine = ", ".join(f"{name.removesuffix('_s')} {value}" for name, value in view["quarantine"].items())
        lines.append(f"quarantine {quarantine}")
    lines += ["", "last commands"]
    rows = [
        [c["sent_at"], f"#{c['id']}", c["verb"], c["outcome"] or "no outcome yet", c["verdict"] or "no verdict yet"]
        for c in view["commands"]
    ]
    return [*lines, *(_table(rows) or ["  none"])]


def _figure_rows(figures: View) -> list[list[str]]:
    known = {name.removesuffix("_kw"): value for name, value in figures.items() if name.endswith("_kw")}
    names = [name for name in FIGURES if name in known] + [name for name in known if name not in FIGURES]
    return [[name, _kw(known[name])] for name in names]


def _by_count(miners: Mapping[str, int]) -> list[tuple[str, int]]:
    """States that occur, the most frequent first."""
    return sorted(((name, count) for name, count in miners.items() if count), key=lambda entry: -entry[1])


def _order_row(order: View) -> list[str]:
    reached = "reached" if order.get("reached") else "not reached yet"
    return [order["id"], order["issuer"], order["kind"], _kw(order["kw"]), f"until {order['expires_at']}", reached]


def _table(rows: Sequence[Sequence[object]]) -> list[str]:
    """Columns as wide as their widest text, two spaces apart, indented by two."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(len(texts[0]))] if texts else []
    return ["  " + "  ".join(cell.ljust(widths[i]) for i, cell in enumerate(row)).rstrip() for row in texts]


def _kw(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1f} kW"


def _seconds(value: float | None, otherwise: str = UNKNOWN) -> str:
    return otherwise if value is None else f"{value:.1f} s"
