"""What a person on the machine may order: lower the site for a while, and take or give back miners."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from controller.commands.dispatch import parse_duration, parse_power
from controller.commands.status import EXIT_DONE, EXIT_NO_ANSWER, EXIT_REFUSED
from controller.runtime.console import ConsoleRefusedError, ConsoleUnavailableError, ask

EXIT_NOT_ALL = 5
GIVEN_BACK = ("applied", "acknowledged")


def run_cap(socket_path: Path, power: str, lifetime: str, *, out: TextIO, errors: TextIO) -> int:
    """Hold the site at or below a power for a while; 0 when taken, 3 when refused, 4 when no daemon answers.

    Raises ValueError for a power or a duration that is none.
    """
    wanted = {"power_w": parse_power(power), "for_s": parse_duration(lifetime)}
    taken = _ask(socket_path, "cap", wanted, errors)
    if isinstance(taken, int):
        return taken
    print(f"cap {taken['kw']:.1f} kW until {taken['expires_at']} by {taken['operator']}", file=out)
    floor_kw = taken["floor_kw"]
    if floor_kw is not None and taken["kw"] < floor_kw:
        print(f"nothing lowers the site below {floor_kw:.1f} kW: auxiliaries and miners not ours to move", file=out)
    return EXIT_DONE


def run_release(socket_path: Path, *, out: TextIO, errors: TextIO) -> int:
    """End every cap of a person; 0 when taken, 3 when refused, 4 when no daemon answers."""
    taken = _ask(socket_path, "release", {}, errors)
    if isinstance(taken, int):
        return taken
    print(f"release: {taken['ended']} caps ended", file=out)
    return EXIT_DONE


def run_order(socket_path: Path, op: str, miners: list[str], *, out: TextIO, errors: TextIO) -> int:
    """Adopt or unquarantine miners ([] means all); 0 when taken, 3 when refused, 4 when no daemon answers."""
    taken = _ask(socket_path, op, {"miners": miners}, errors)
    if isinstance(taken, int):
        return taken
    print(f"{taken['accepted']}: {taken['miners']} miners", file=out)
    return EXIT_DONE


def run_restore(socket_path: Path, miners: list[str], *, out: TextIO, errors: TextIO) -> int:
    """Give miners back ([] means all) and say what became of each.

    0: every miner took its profile. 3: refused. 4: no daemon answers. 5: some did not take it, or are still under way.
    """
    taken = _ask(socket_path, "restore", {"miners": miners}, errors)
    if isinstance(taken, int):
        return taken
    for told in taken["outcomes"]:
        print(f"{told['miner']}  {told['outcome']}  {told['detail']}".rstrip(), file=out)
    for miner in taken["under_way"]:
        print(f"{miner}  still under way: see `curtaild explain {miner}`", file=out)
    for miner in taken["never_read"]:
        print(f"{miner}  never read: what it ran before is not known", file=out)
    print(f"restore: {taken['miners']} miners, left alone until `curtaild adopt`", file=out)
    all_done = not taken["under_way"] and not taken["never_read"]
    given = all(told["outcome"] in GIVEN_BACK for told in taken["outcomes"])
    return EXIT_DONE if all_done and given else EXIT_NOT_ALL


def _ask(socket_path: Path, op: str, arguments: Mapping[str, object], errors: TextIO) -> dict[str, Any] | int:
    """The daemon's answer, or the exit code once the reason was printed."""
    try:
        return ask(socket_path, op, arguments)
    except ConsoleUnavailableError as error:
        print(error, file=errors)
        return EXIT_NO_ANSWER
    except ConsoleRefusedError as error:
        print(error, file=errors)
        return EXIT_REFUSED
