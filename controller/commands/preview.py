"""`curtaild preview`: what an order would do, asked of the running daemon. Nothing is moved, and no order is given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from controller.commands.dispatch import default_issuer, parse_duration, parse_power
from controller.commands.status import EXIT_DONE, EXIT_NO_ANSWER, EXIT_REFUSED
from controller.domain.dispatch import AnswerStatus, DispatchKind
from controller.runtime.console import ConsoleRefusedError, ConsoleUnavailableError, ask
from controller.runtime.previewer import WITHIN_S
from controller.wire.canonical import canonical

NAMES_SHOWN = 8
ASSUMES = "Nothing was moved. It takes the plant as it is now, and miners that obey as their response classes say."

View = Mapping[str, Any]


def run_preview(socket_path: Path, given: Mapping[str, Any], *, out: TextIO, errors: TextIO) -> int:
    """0: here is what it would do. 3: the order would be refused, or cannot be previewed. 4: no daemon answers.

    Raises ValueError for a power or a duration that is none.
    """
    kind, power = DispatchKind(given["kind"]), given["power"]
    if (power is None) != (kind is DispatchKind.RELEASE):
        raise ValueError("a release has no power" if power else f"a {kind.value} needs a power, as in 400kW")
    wanted = {
        "kind": kind.value,
        "power_w": None if power is None else parse_power(power),
        "for_s": parse_duration(given["lifetime"]),
        "class": given["dispatch_class"],
        "issuer": given["issuer"] or default_issuer(),
    }
    try:
        view = ask(socket_path, "preview", wanted, within_s=WITHIN_S)
    except ConsoleUnavailableError as error:
        print(error, file=errors)
        return EXIT_NO_ANSWER
    except ConsoleRefusedError as error:
        print(error, file=errors)
        return EXIT_REFUSED
    print(canonical(view) if given["as_json"] else "\n".join(preview_page(view)), file=out)
    return EXIT_REFUSED if _refused(view) else EXIT_DONE


def preview_page(view: View) -> list[str]:
    """The order and its answer, the power over time, who moves and who is left out."""
    order, answer = view["order"], view["answer"]
    what = order["kind"] if order["kw"] is None else f"{order['kind']} {order['kw']:.1f} kW"
    answered = answer["status"] if answer["kw"] is None else f"{answer['status']} {answer['kw']:.1f} kW"
    lines = [f"{what}, {order['class']}, by {order['issuer']}: would be {answered}"]
    if answer["reason"]:
        lines.append(f"  {answer['reason']}")
    if _refused(view):
        return lines
    reached_s = view["reached_after_s"]
    reached = "not reached within 300 s" if reached_s is None else f"reached after {reached_s:.1f} s"
    lines += [f"{reached}; nothing lowers the site below {_kw(view['floor_kw'])}", ""]
    lines += [
        f"  {mark['after_s']:5.0f} s  {_kw(mark['kw']):>12}  of {_kw(mark['setpoint_kw'])}, bound by {mark['bound']}"
        for mark in view["power"]
    ]
    lines.append("")
    for verb in ("sleep", "trim", "wake"):
        lines.append(_moves_line(verb, view[f"{verb}s"]))
    left_out: dict[str, list[str]] = defaultdict(list)
    for entry in view["skipped"]:
        left_out[entry["why"]].append(entry["miner"])
    lines += [f"left out  {why}: {len(names)} miners: {_names(names)}" for why, names in left_out.items()]
    if view["unallocated_kw"] and view["unallocated_reason"] != "none":
        lines.append(f"unallocated  {_kw(view['unallocated_kw'])} ({view['unallocated_reason']})")
    return [*lines, "", ASSUMES]


def _refused(view: View) -> bool:
    return bool(view["answer"]["status"] == AnswerStatus.REJECTED)


def _moves_line(verb: str, moves: Sequence[View]) -> str:
    if not moves:
        return f"{verb:<8}  nobody"
    change_kw = sum(move["to_kw"] - move["from_kw"] for move in moves)
    return f"{verb:<8}  {len(moves)} miners, {change_kw:+.1f} kW: {_names([move['miner'] for move in moves])}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _kw(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} kW"
